"""The generalist's and the specialists' predictions as one distribution: the paper's Eq. 5, and the model that serves it.

Hinton, Vinyals and Dean (2015), section 5.4: the answer for an image is the distribution q over all classes that minimises

    KL(p_g || q) + sum over the active specialists m of KL(p_m || q^m)

where q^m keeps q on the specialist's own classes S_m and sums q over all others into its dustbin. The paper finds q by
gradient descent, image by image. This module solves it as follows.

**The problem.** Write a_c = p_g(c) + sum of p_m(c) over the active m with c in S_m, d_m for the probability of m's dustbin,
lambda = 1 + the number of active specialists, and s_m for the sum of q outside S_m. Up to a constant, Eq. 5 is
``-sum_c a_c log q_c - sum_m d_m log s_m``: convex in q. Its dual has one unknown t_m > 0 per specialist and the slacks
u_c = lambda - (sum of t_m over the m that lack c). A point (q, t) is the optimum exactly when

    q_c u_c = a_c for every class c,    s_m t_m = d_m for every active specialist m.

**The certificate.** For every q > 0 and t with u > 0 the duality gap is ``sum of w (r - log(1 + r))``, r = (product - w) / w,
over these equations, with product for the left-hand side and w for the right-hand side. It is never negative, it is zero at
the optimum alone, and the objective at q exceeds its minimum by no more than the gap. Hence the error of q itself:
``sum_c u*_c |q_c - q*_c| <= sqrt(2 lambda gap)``.

**The method.** Newton's method on those equations, for the whole batch at once; eliminating q leaves a system of M x M
per image. The gap is convex in (q, t), the direction always descends on it, and one of the tried step lengths is short
enough for a proven decrease (``_step_length``). So the method converges for every valid input, and quadratically at the end.
Steps end when the gap of every image is at the limit of float64; the gap that is left comes with the answer
(``Solution.gap``).

**One specialist.** Where at most one specialist is active on an image, the equations have a solution in closed form
(:func:`solve_one`), in operators that ONNX has too: with groups that share no class and n = 1 of step 1, that is every image.

Probabilities of exactly 0 are allowed: each distribution is first mixed with ``MIXED_IN`` of the uniform one (the generalist)
or of the dustbin (a specialist), which moves the minimum of Eq. 5 by less than ``lambda * MIXED_IN`` nats.
"""

from typing import NamedTuple

import torch
from torch import Tensor

GAP_TOLERANCE = 1e-10
"""Duality gap in nats that every image reaches: the objective of Eq. 5 is at most this far above its minimum."""


MIXED_IN = 1e-12
"""Share of every distribution that is spread out first, so that no probability is exactly 0."""


GAP_AIMED_AT = 1e-20
"""Steps end where all gaps are below: q is then exact to about ten digits. Rounding can keep a gap above for ever."""


MAX_STEPS = 50
"""Steps at most, whatever the gap. Trained nets need about 8; the hardest inputs that a search found needed 21."""


TO_BOUNDARY = 0.95
"""Largest share of the way to the boundary, where a variable is 0, that a step takes. With 0.99 some inputs stall."""


CHUNK = 2048
"""Images solved at a time: few enough that their numbers stay in the processor's cache."""


class Solution(NamedTuple):
    """The minimiser of Eq. 5 for each image, in float64, with its certificate."""

    probabilities: Tensor
    """(B, C), each row sums to one."""
    gap: Tensor
    """(B,): the duality gap in nats, an upper bound on the gain that is left in Eq. 5."""


class _Problem(NamedTuple):
    """The equations x y = w of every image: those of the C classes first, then those of the M specialists; V = C + M.

    x holds (q, s) and y holds (u, t). A specialist that is inactive or lacks no class is not ``live``; its equation is then
    1 * 1 = 1.
    """

    weight: Tensor  # w: (B, V)
    total: Tensor  # lambda: (B, 1)
    live: Tensor  # (B, M), 1.0 or 0.0
    outside: Tensor  # (M, C), 1.0 where the specialist lacks the class

    def outside_sums(self, mass: Tensor) -> Tensor:
        """Sum (B, C) over the classes that each live specialist lacks: (B, M), 0 where not live."""
        return mass @ self.outside.t() * self.live  # not .T: while_loop of torch 2.11 takes that for one more tensor


class _Point(NamedTuple):
    """A point of the iteration, all positive; or a direction in which it moves."""

    x: Tensor  # (q, s): (B, V)
    y: Tensor  # (u, t): (B, V)


def combine(generalist: Tensor, inside: Tensor, dustbin: Tensor, member: Tensor, active: Tensor) -> Tensor:
    """Return the distribution q that minimises Eq. 5 of the paper, for each image of a batch.

    Args:
        generalist: probabilities p_g, (B, C).
        inside: probabilities of the specialists' own classes at the places of these classes, (B, M, C); values at classes
            outside the group are ignored.
        dustbin: probability of each specialist's dustbin, (B, M); ignored where the specialist lacks no class.
        member: whether class c belongs to specialist m, (M, C) bool.
        active: whether specialist m has a say on the image, (B, M) bool.

    Returns:
        (B, C) in the dtype of ``generalist``, solved in float64 to ``GAP_TOLERANCE``. Without an active specialist it is p_g;
        where no active specialist lacks a class it is the arithmetic mean (both to within ``MIXED_IN``).
    """
    parts = (torch.split(part, CHUNK) for part in (generalist, inside, dustbin, active))
    solutions = [solve(p_g, own, rest, member, has_say).probabilities for p_g, own, rest, has_say in zip(*parts, strict=True)]
    return torch.cat(solutions).to(device=generalist.device, dtype=generalist.dtype)


def solve(generalist: Tensor, inside: Tensor, dustbin: Tensor, member: Tensor, active: Tensor) -> Solution:
    """Solve Eq. 5 for a whole batch in one go, in float64.

    The arguments are those of ``combine``. This can be exported with a dynamic batch.
    """
    if member.shape[0] == 0:
        probabilities = float64(generalist)
        probabilities = probabilities / probabilities.sum(dim=1, keepdim=True)
        return Solution(probabilities, torch.zeros_like(probabilities[:, 0]))
    problem = _problem(float64(generalist), float64(inside), float64(dustbin), member, active)
    point = _start(problem)
    gap = _gap(problem.weight, point.x * point.y / problem.weight - 1.0)
    point, gap = _all_steps(problem, point, gap)
    q, _ = _split(problem, point.x)
    return Solution(q / q.sum(dim=1, keepdim=True), gap)


def solve_one(generalist: Tensor, inside: Tensor, dustbin: Tensor, member: Tensor, active: Tensor) -> Tensor:
    """Solve Eq. 5 for images on which at most one specialist is active: in closed form, (B, C) in float64.

    Inside its group q is the mean of both. Outside q keeps the generalist's proportions, and sums to the mean of what the
    generalist gives to these classes and of the dustbin. For there u is the same for all classes, and so q_c = p_g(c) / u;
    with t = 2 - u, and r the generalist's sum, s u = r and s t = d give s = (r + d) / 2.

    The arguments are those of ``combine``; of rows of ``active`` with two or more specialists the answer is not the minimiser.
    """
    problem = _problem(float64(generalist), float64(inside), float64(dustbin), member, active)
    class_weight, dustbin_weight = _split(problem, problem.weight)
    outside = problem.live @ problem.outside  # (B, C), 1.0 where the active specialist lacks the class
    rest = (class_weight * outside).sum(dim=1, keepdim=True)  # (B, 1), r
    left = (dustbin_weight * problem.live).sum(dim=1, keepdim=True)  # (B, 1), d
    grown = torch.where(rest > 0, (rest + left) / rest.clamp(min=torch.finfo(rest.dtype).tiny), 1.0)
    return class_weight * torch.where(outside > 0, grown, 1.0) / problem.total


def active_set(generalist: Tensor, member: Tensor, top_n: int) -> Tensor:
    """Return which specialists hold one of the generalist's ``top_n`` most probable classes (paper, section 5.4, step 1).

    Args:
        generalist: probabilities or logits, (B, C).
        member: whether class c belongs to specialist m, (M, C) bool.
        top_n: n of the paper, at least 1.

    Returns:
        (B, M) bool; a row can be all False.
    """
    if not 1 <= top_n <= generalist.shape[1]:
        msg = f"top_n must be in [1, {generalist.shape[1]}], not {top_n}"
        raise ValueError(msg)
    top = generalist.topk(top_n, dim=1).indices  # (B, n)
    return member.to(top.device).T[top].any(dim=1)  # (B, n, M) -> (B, M)


def float64(tensor: Tensor) -> Tensor:
    """Return the tensor in float64 and without gradient, on the CPU where its device has no float64."""
    return tensor.detach().to(device="cpu" if tensor.device.type == "mps" else tensor.device, dtype=torch.float64)


def _problem(generalist: Tensor, inside: Tensor, dustbin: Tensor, member: Tensor, active: Tensor) -> _Problem:
    member, active = member.to(generalist.device), active.to(generalist.device)
    live = active & ~member.all(dim=1)  # (B, M)
    inside = torch.where(active[:, :, None] & member, inside, 0.0)  # (B, M, C)
    dustbin = torch.where(live, dustbin, 0.0)  # (B, M)
    # Inactive specialists have no mass left; dividing by one keeps them at zero.
    scale = torch.where(active, inside.sum(dim=2) + dustbin, 1.0).reciprocal()  # (B, M)
    kept = torch.where(live, 1.0 - MIXED_IN, 1.0)  # (B, M): a specialist without a dustbin needs no mixing
    generalist = generalist / generalist.sum(dim=1, keepdim=True) * (1.0 - MIXED_IN) + MIXED_IN / generalist.shape[1]
    class_weight = generalist + ((scale * kept)[:, None] @ inside)[:, 0]  # (B, C)
    dustbin_weight = torch.where(live, dustbin * scale * kept + MIXED_IN, 1.0)  # (B, M)
    return _Problem(
        weight=torch.cat((class_weight, dustbin_weight), dim=1),
        total=1.0 + active.sum(dim=1, keepdim=True, dtype=torch.float64),
        live=live.to(torch.float64),
        outside=(~member).to(torch.float64),
    )


def _split(problem: _Problem, values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the part (B, C) of the classes and the part (B, M) of the specialists."""
    classes = problem.outside.shape[1]
    return values[:, :classes], values[:, classes:]


def _primal(problem: _Problem, q: Tensor) -> Tensor:
    """Return (q, s): (B, V)."""
    return torch.cat((q, problem.outside_sums(q) + (1.0 - problem.live)), dim=1)


def _start(problem: _Problem) -> _Point:
    """Return q with each dustbin spread evenly over its classes, and t = d, for which every u is at least 1."""
    class_weight, t = _split(problem, problem.weight)
    dustbin = t * problem.live  # (B, M)
    spread = dustbin / problem.outside.sum(dim=1).clamp(min=1.0)  # (B, M)
    q = (class_weight + spread @ problem.outside) / problem.total  # (B, C)
    u = problem.total - dustbin @ problem.outside  # (B, C)
    return _Point(_primal(problem, q), torch.cat((u, t), dim=1))


def _all_steps(problem: _Problem, point: _Point, gap: Tensor) -> tuple[_Point, Tensor]:
    """Take steps until all gaps are small enough; an exported graph has an operator for the loop."""

    def to_do(done: Tensor, x: Tensor, y: Tensor, gap: Tensor) -> Tensor:  # noqa: ARG001 - the operator wants all of them
        return (done < MAX_STEPS) & (gap > GAP_AIMED_AT).any()

    def step(done: Tensor, x: Tensor, y: Tensor, gap: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        point, gap = _step(problem, _Point(x, y), gap)
        return done + 1, point.x, point.y, gap

    state = (torch.zeros((), dtype=torch.int64, device=gap.device), point.x, point.y, gap)
    if torch.compiler.is_exporting():
        from torch._higher_order_ops import while_loop  # noqa: PLC0415 - a slow import, needed for an export alone

        state = while_loop(to_do, step, state)  # type: ignore[no-untyped-call]
    else:
        while to_do(*state):
            state = step(*state)
    _, x, y, gap = state
    return _Point(x, y), gap


def _step(problem: _Problem, point: _Point, gap: Tensor) -> tuple[_Point, Tensor]:
    direction = _newton_direction(problem, point)
    length, gap = _step_length(problem, point, direction, gap)
    q, _ = _split(problem, torch.addcmul(point.x, length, direction.x))
    # s is summed again. u is moved: computed from t, a small u would be a difference of large numbers, and lose its digits.
    return _Point(_primal(problem, q), torch.addcmul(point.y, length, direction.y)), gap


def _newton_direction(problem: _Problem, point: _Point) -> _Point:
    """Return the direction that solves the equations linearised at the point, in which q determines s, and t determines u."""
    needed = (problem.weight - point.x * point.y) / point.y  # (B, V): how much x lacks at this y
    ratio = point.x / point.y  # (B, V)
    class_needed, dustbin_needed = _split(problem, needed)
    class_ratio, dustbin_ratio = _split(problem, ratio)
    right = dustbin_needed - problem.outside_sums(class_needed)  # (B, M)
    t_move = _solve_positive_definite(_newton_matrix(problem, class_ratio, dustbin_ratio), right)  # (B, M)
    u_move = -(t_move @ problem.outside)  # (B, C)
    q_move = class_needed - class_ratio * u_move  # (B, C)
    return _Point(
        torch.cat((q_move, problem.outside_sums(q_move)), dim=1),
        torch.cat((u_move, t_move), dim=1),
    )


def _newton_matrix(problem: _Problem, class_ratio: Tensor, dustbin_ratio: Tensor) -> Tensor:
    """Return diag(s / t) + N diag(q / u) N^T, N the (M, C) matrix of the classes that each specialist lacks: (B, M, M)."""
    specialists, classes = problem.outside.shape
    pairs = (problem.outside[:, None] * problem.outside).reshape(specialists**2, classes)  # (M * M, C)
    matrix = (class_ratio @ pairs.T).reshape(-1, specialists, specialists)  # (B, M, M)
    return matrix * problem.live[:, :, None] * problem.live[:, None] + torch.diag_embed(dustbin_ratio)


def _solve_positive_definite(matrix: Tensor, right: Tensor) -> Tensor:
    """Solve (B, M, M) x = (B, M). The diagonal is scaled to one first: its entries differ by many orders of magnitude."""
    scale = matrix.diagonal(dim1=1, dim2=2).rsqrt()  # (B, M)
    scaled = matrix * scale[:, :, None] * scale[:, None]  # (B, M, M)
    # Specialists with equal groups can make the matrix singular to rounding; a diagonal of this size is far above that.
    ridge = 1e-13 * torch.eye(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
    factor, failed = torch.linalg.cholesky_ex(scaled + ridge)
    solution = torch.cholesky_solve((right * scale)[:, :, None], factor)[:, :, 0] * scale  # (B, M)
    return torch.where(failed[:, None] == 0, solution, 0.0)


def _step_length(problem: _Problem, point: _Point, direction: _Point, gap: Tensor) -> tuple[Tensor, Tensor]:
    """Return the length (B, 1) of the step that lowers the gap most among four, and the gap (B,) that it reaches.

    The four are: no step; Newton's full step, cut short of the boundary; twice that, for the linear convergence of Newton's
    method where a product vanishes; and a safe one. Newton's direction moves the products by w - product at first, and with it
    the gap falls at the rate of the sum of (w - product)^2 / product. As -log(1 + z) <= -z + z^2 for |z| <= 1/2, a step whose
    relative changes z of all variables are no larger than 1/2 loses at most the sum of w z^2 of that decrease. The safe step
    is so short that half of the decrease is always left.
    """
    weight, tiny = problem.weight, torch.finfo(gap.dtype).tiny
    x_change, y_change = direction.x / point.x, direction.y / point.y  # (B, V)
    falling = -torch.minimum(x_change.amin(dim=1), y_change.amin(dim=1)).clamp(max=-tiny)  # (B,)
    largest = torch.maximum(falling, torch.maximum(x_change.amax(dim=1), y_change.amax(dim=1)))  # (B,)
    # x y / w - 1 along the step is a polynomial of its length.
    ratio = point.x * point.y / weight  # (B, V)
    excess = ratio - 1.0
    linear = ratio * (x_change + y_change)
    square = ratio * x_change * y_change
    decrease = -(weight * excess * (x_change + y_change)).sum(dim=1)  # (B,)
    loss = (weight * (x_change.square() + y_change.square())).sum(dim=1)  # (B,)
    best = torch.zeros_like(gap)  # (B,)
    for length in (
        (TO_BOUNDARY / falling).clamp(max=1.0),
        (TO_BOUNDARY / falling).clamp(max=2.0),
        torch.minimum(0.5 / largest, 0.5 * decrease / loss.clamp(min=tiny)).clamp(min=0.0, max=1.0),
    ):
        step = length[:, None]
        reached = _gap(weight, torch.addcmul(excess, step, torch.addcmul(linear, step, square)))
        best = torch.where(reached < gap, length, best)
        gap = torch.minimum(reached, gap)
    return best[:, None], gap


def _gap(weight: Tensor, excess: Tensor) -> Tensor:
    """Return the duality gap in nats, (B,), from w and x y / w - 1."""
    return (weight * (excess - excess.log1p())).sum(dim=1)
