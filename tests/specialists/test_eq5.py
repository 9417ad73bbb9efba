"""Eq. 5 against gradient descent, its properties, and the combined model."""

import io
import math
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from kd.specialists import eq5 as module
from kd.specialists.combined import CombinedModel, Specialist
from kd.specialists.eq5 import GAP_TOLERANCE, active_set, combine, solve, solve_one
from kd.specialists.kind import TaskKind


class Problem(NamedTuple):
    """The arguments of `combine`."""

    generalist: Tensor  # (B, C)
    inside: Tensor  # (B, M, C)
    dustbin: Tensor  # (B, M)
    member: Tensor  # (M, C)
    active: Tensor  # (B, M)


def objective(q: Tensor, problem: Problem) -> Tensor:
    """Eq. 5 as the paper writes it, one image and one specialist at a time: (B,)."""
    values = []
    for image in range(len(q)):
        value = _kl(problem.generalist[image], q[image])
        for number, member in enumerate(problem.member):
            if problem.active[image, number]:
                own = [*problem.inside[image, number][member], problem.dustbin[image, number]]
                of_q = [*q[image][member], q[image][~member].sum()]
                if bool(member.all()):  # no dustbin
                    own, of_q = own[:-1], of_q[:-1]
                value = value + _kl(torch.stack(own), torch.stack(of_q))
        values.append(value)
    return torch.stack(values)


def _kl(p: Tensor, q: Tensor) -> Tensor:
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum()


def descended(problem: Problem) -> Tensor:
    """The paper's way: q = softmax(z), z found by gradient descent, image by image."""
    found = []
    for image in range(len(problem.generalist)):
        generalist, inside, dustbin, active = (problem[place][image : image + 1] for place in (0, 1, 2, 4))
        one = Problem(generalist, inside, dustbin, problem.member, active)
        z = one.generalist.log().clone().requires_grad_()
        optimizer = torch.optim.LBFGS(
            [z], max_iter=500, tolerance_grad=1e-11, tolerance_change=0, history_size=30, line_search_fn="strong_wolfe"
        )

        def closure(one: Problem = one, z: Tensor = z, optimizer: torch.optim.Optimizer = optimizer) -> Tensor:
            optimizer.zero_grad()
            loss = objective(z.softmax(dim=1), one).sum()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimizer.step(closure)  # type: ignore[no-untyped-call]
        found.append(z.detach().softmax(dim=1))
    return torch.cat(found)


def made(seed: int, images: int, classes: int, specialists: int, scale: float) -> Problem:
    """Overlapping groups of any size from 1 to all classes; probabilities are softmaxes of normal logits times `scale`."""
    generator = torch.Generator().manual_seed(seed)
    member = torch.rand(specialists, classes, generator=generator) < torch.rand(specialists, 1, generator=generator)
    member[torch.arange(specialists), torch.randint(classes, (specialists,), generator=generator)] = True
    known = torch.cat([member, ~member.all(dim=1, keepdim=True)], dim=1)  # the dustbin last
    logits = scale * torch.randn(images, specialists, classes + 1, generator=generator, dtype=torch.float64)
    opinions = logits.masked_fill(~known, -math.inf).softmax(dim=2)
    generalist = (scale * torch.randn(images, classes, generator=generator, dtype=torch.float64)).softmax(dim=1)
    active = torch.rand(images, specialists, generator=generator) < 0.75
    return Problem(generalist, opinions[:, :, :-1], opinions[:, :, -1], member, active)


seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=30)
@given(seed=seeds, classes=st.integers(2, 7), specialists=st.integers(1, 5), scale=st.floats(0.1, 3))
def test_q_is_where_gradient_descent_ends(seed: int, classes: int, specialists: int, scale: float) -> None:
    problem = made(seed, 2, classes, specialists, scale)
    found, oracle = combine(*problem), descended(problem)
    torch.testing.assert_close(found, oracle, atol=1e-5, rtol=1e-4)
    assert (objective(found, problem) <= objective(oracle, problem) + 1e-10).all()


def test_one_specialist_by_hand() -> None:
    """Its dustbin is shared out as the generalist would; what is outside is the mean of both, and so is each own class."""
    problem = Problem(
        generalist=torch.tensor([[0.4, 0.3, 0.2, 0.1]], dtype=torch.float64),
        inside=torch.tensor([[[0.1, 0.2, 0.0, 0.0]]], dtype=torch.float64),
        dustbin=torch.tensor([[0.7]], dtype=torch.float64),
        member=torch.tensor([[True, True, False, False]]),
        active=torch.tensor([[True]]),
    )
    expected = torch.tensor([[0.25, 0.25, 0.5 * 2 / 3, 0.5 / 3]], dtype=torch.float64)
    torch.testing.assert_close(combine(*problem), expected, atol=1e-9, rtol=0)
    torch.testing.assert_close(solve_one(*problem), expected, atol=1e-9, rtol=0)


@settings(max_examples=60)
@given(seed=seeds, classes=st.integers(2, 12), specialists=st.integers(1, 5), scale=st.sampled_from([0.3, 6.0, 20.0, 100.0]))
def test_where_one_specialist_is_active_the_closed_form_is_what_is_solved(
    seed: int, classes: int, specialists: int, scale: float
) -> None:
    problem = made(seed, 6, classes, specialists, scale)
    chosen = torch.randint(specialists + 1, (6, 1), generator=torch.Generator().manual_seed(seed))  # the last: none of them
    one = problem._replace(active=torch.arange(specialists) == chosen)
    found = solve_one(*one)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(6, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(found, combine(*one), atol=1e-5, rtol=0)
    assert (objective(found, one) <= objective(combine(*one), one) + 1e-9).all()


def test_a_generalist_that_is_sure_of_the_group_leaves_the_dustbin_shared_out() -> None:
    """Nothing says how: any of the classes outside may have it, which sum to half of what the dustbin has."""
    problem = Problem(
        generalist=torch.tensor([[1.0, 0.0, 0.0, 0.0]], dtype=torch.float64),
        inside=torch.tensor([[[0.1, 0.2, 0.0, 0.0]]], dtype=torch.float64),
        dustbin=torch.tensor([[0.7]], dtype=torch.float64),
        member=torch.tensor([[True, True, False, False]]),
        active=torch.tensor([[True]]),
    )
    expected = torch.tensor([[0.55, 0.1, 0.175, 0.175]], dtype=torch.float64)
    torch.testing.assert_close(solve_one(*problem), expected, atol=1e-9, rtol=0)


def test_two_specialists_by_hand() -> None:
    """Each class but the last two is told apart by one of them; by symmetry these two stay equal."""
    problem = Problem(
        generalist=torch.full((1, 3), 1 / 3, dtype=torch.float64),
        inside=torch.tensor([[[0.8, 0.0, 0.0], [0.0, 0.1, 0.1]]], dtype=torch.float64),
        dustbin=torch.tensor([[0.2, 0.8]], dtype=torch.float64),
        member=torch.tensor([[True, False, False], [False, True, True]]),
        active=torch.tensor([[True, True]]),
    )
    first = (1 / 3 + 0.8 + 0.8) / 3
    expected = torch.tensor([[first, (1 - first) / 2, (1 - first) / 2]], dtype=torch.float64)
    torch.testing.assert_close(combine(*problem), expected, atol=1e-9, rtol=0)


@settings(max_examples=40)
@given(seed=seeds, classes=st.integers(2, 12), specialists=st.integers(1, 8), scale=st.sampled_from([1.0, 6.0, 20.0, 100.0]))
def test_every_q_is_a_distribution_with_its_certificate(seed: int, classes: int, specialists: int, scale: float) -> None:
    """Also where probabilities are as good as one-hot, and the generalist and specialists contradict each other."""
    problem = made(seed, 20, classes, specialists, scale)
    q, gap = solve(*problem)
    assert (gap >= 0).all()
    assert (gap <= GAP_TOLERANCE).all()
    assert (q > 0).all()
    torch.testing.assert_close(q.sum(dim=1), torch.ones(20, dtype=torch.float64), atol=1e-12, rtol=0)


EXTREMES = st.sampled_from([0.0, 1e-300, 1e-40, 1e-12, 1e-6, 0.3, 1.0])


@settings(max_examples=60)
@given(st.data())
def test_probabilities_of_exactly_0_and_1_are_fine(data: st.DataObject) -> None:
    classes, specialists = data.draw(st.integers(2, 5)), data.draw(st.integers(1, 4))

    def distribution(known: list[bool]) -> list[float]:
        sizes = [data.draw(EXTREMES) if known[place] else 0.0 for place in range(len(known))]
        sizes[data.draw(st.sampled_from([place for place in range(len(known)) if known[place]]))] = 1.0
        return [size / sum(sizes) for size in sizes]

    members, opinions = [], []
    for _ in range(specialists):
        group = data.draw(st.frozensets(st.integers(0, classes - 1), min_size=1, max_size=classes))
        members.append([number in group for number in range(classes)])
        opinions.append(distribution([*members[-1], len(group) < classes]))
    opinion = torch.tensor([opinions], dtype=torch.float64)
    problem = Problem(
        generalist=torch.tensor([distribution([True] * classes)], dtype=torch.float64),
        inside=opinion[:, :, :-1],
        dustbin=opinion[:, :, -1],
        member=torch.tensor(members),
        active=torch.ones(1, specialists, dtype=torch.bool),
    )
    q, gap = solve(*problem)
    assert q.isfinite().all()
    assert gap.item() <= GAP_TOLERANCE
    assert q.sum().item() == pytest.approx(1, abs=1e-12)
    # No other distribution does better: not those that were combined, their mean, nor what gradient descent makes of q.
    spread = problem.inside[0] + torch.where(
        problem.member, 0.0, problem.dustbin[0, :, None] / (~problem.member).sum(dim=1, keepdim=True).clamp(min=1)
    )
    others = torch.cat([problem.generalist, spread, q + 0.01])
    others = torch.cat([others, (problem.generalist + spread.sum(dim=0)) / (1 + specialists)])
    best = objective(q, problem).item()
    assert math.isfinite(best)
    for other in others / others.sum(dim=1, keepdim=True):
        assert best <= objective(other[None], problem).item() + (1 + specialists) * 2 * module.MIXED_IN + 1e-10


@settings(max_examples=25)
@given(seed=seeds, specialists=st.integers(1, 4))
def test_without_dustbins_q_is_the_arithmetic_mean(seed: int, specialists: int) -> None:
    problem = made(seed, 3, 5, specialists, 3)
    generator = torch.Generator().manual_seed(seed)
    full = torch.randn(3, specialists, 5, generator=generator, dtype=torch.float64).mul(3).softmax(dim=2)
    everything = torch.ones(specialists, 5, dtype=torch.bool)
    q = combine(problem.generalist, full, torch.zeros_like(problem.dustbin), everything, problem.active)
    for image in range(3):
        opinions = [problem.generalist[image], *full[image][problem.active[image]]]
        torch.testing.assert_close(q[image], torch.stack(opinions).mean(dim=0), atol=1e-11, rtol=0)


@settings(max_examples=25)
@given(seed=seeds)
def test_without_an_active_specialist_q_is_the_generalists(seed: int) -> None:
    problem = made(seed, 4, 6, 3, 3)
    q = combine(*problem[:4], torch.zeros_like(problem.active))
    torch.testing.assert_close(q, problem.generalist, atol=1e-11, rtol=0)


def test_without_any_specialist_q_is_the_generalists() -> None:
    generalist = torch.tensor([[0.2, 0.8], [1.0, 0.0]])
    none = torch.zeros(2, 0)
    q = combine(generalist, torch.zeros(2, 0, 2), none, torch.zeros(0, 2, dtype=torch.bool), none.bool())
    assert q.tolist() == generalist.tolist()


@settings(max_examples=25)
@given(seed=seeds, scale=st.floats(0.1, 10))
def test_q_follows_a_permutation_of_classes_and_of_specialists(seed: int, scale: float) -> None:
    problem = made(seed, 3, 7, 4, scale)
    generator = torch.Generator().manual_seed(seed)
    order, rank = torch.randperm(7, generator=generator), torch.randperm(4, generator=generator)
    moved = Problem(
        problem.generalist[:, order],
        problem.inside[:, rank][:, :, order],
        problem.dustbin[:, rank],
        problem.member[rank][:, order],
        problem.active[:, rank],
    )
    torch.testing.assert_close(combine(*moved), combine(*problem)[:, order], atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("copies", [2, 20])
def test_specialists_with_the_same_group_are_no_trouble(copies: int) -> None:
    """Their rows of the Newton matrix are equal. q is that of one which counts as many times over."""
    member = torch.tensor([[True, True, False, False, False, False]])
    problem = made(3, 5, 6, 1, 4)._replace(member=member, active=torch.ones(5, 1, dtype=torch.bool))
    own = problem.inside[:, 0, :2] / (problem.inside[:, 0, :2].sum(dim=1, keepdim=True) + problem.dustbin)
    inside = torch.cat([own, torch.zeros(5, 4, dtype=torch.float64)], dim=1)[:, None]
    dustbin = 1 - inside.sum(dim=2)
    q = combine(
        problem.generalist,
        inside.repeat(1, copies, 1),
        dustbin.repeat(1, copies),
        problem.member.repeat(copies, 1),
        problem.active.repeat(1, copies),
    )
    outside = problem.generalist[:, 2:].sum(dim=1, keepdim=True)
    expected_own = (problem.generalist[:, :2] + copies * inside[:, 0, :2]) / (1 + copies)
    expected_rest = problem.generalist[:, 2:] / outside * (outside + copies * dustbin) / (1 + copies)
    torch.testing.assert_close(q, torch.cat([expected_own, expected_rest], dim=1), atol=1e-8, rtol=1e-6)


def test_what_does_not_count_is_not_read() -> None:
    """Values of inactive specialists, outside a group, and of a dustbin where there is none."""
    problem = made(8, 6, 5, 3, 2)
    member = problem.member.clone()
    member[0] = True
    problem = problem._replace(member=member, active=torch.tensor([[True, True, False]]).expand(6, 3))
    inside, dustbin = problem.inside.clone(), problem.dustbin.clone()
    inside[:, 0], dustbin[:, 0] = problem.generalist.flip(1), 0.0
    expected = combine(problem.generalist, inside, dustbin, member, problem.active)
    inside = torch.where(member, inside, 7.0)
    inside[:, 2], dustbin[:, 2], dustbin[:, 0] = math.nan, math.nan, 3.0
    # `inside` of the second specialist still sums to what it did over its own classes.
    torch.testing.assert_close(combine(problem.generalist, inside, dustbin, member, problem.active), expected)


def test_a_large_batch_in_float32_is_as_its_images_in_float64() -> None:
    problem = made(5, module.CHUNK + 3, 4, 2, 2)
    q = combine(problem.generalist.float(), problem.inside.float(), problem.dustbin.float(), problem.member, problem.active)
    assert q.dtype == torch.float32
    assert q.shape == (module.CHUNK + 3, 4)
    torch.testing.assert_close(q.double(), solve(*problem).probabilities, atol=1e-6, rtol=1e-5)


@settings(max_examples=25)
@given(seed=seeds, scale=st.floats(0.5, 30))
def test_every_step_lowers_the_gap_which_bounds_what_is_left(seed: int, scale: float) -> None:
    problem = made(seed, 4, 6, 3, scale)
    best = objective(combine(*problem), problem)
    equations = module._problem(*problem)
    point = module._start(equations)
    gap = module._gap(equations.weight, point.x * point.y / equations.weight - 1)
    for _ in range(4):
        q = point.x[:, :6] / point.x[:, :6].sum(dim=1, keepdim=True)
        assert (objective(q, problem) - best <= gap + 1e-9).all()
        point, after = module._step(equations, point, gap)
        torch.testing.assert_close(
            module._gap(equations.weight, point.x * point.y / equations.weight - 1), after, atol=1e-9, rtol=1e-6
        )
        assert (after <= gap).all()
        assert (after[gap > 1e-6] < gap[gap > 1e-6]).all()
        gap = after


def test_the_top_classes_call_the_specialists() -> None:
    member = torch.tensor([[True, True, False, False], [False, True, True, False]])
    generalist = torch.tensor([[0.7, 0.0, 0.1, 0.2], [0.1, 0.6, 0.3, 0.0], [0.0, 0.1, 0.2, 0.7]])
    assert active_set(generalist, member, 1).tolist() == [[True, False], [True, True], [False, False]]
    assert active_set(generalist, member, 2).tolist() == [[True, False], [True, True], [False, True]]
    assert active_set(generalist, member, 4).all()


@pytest.mark.parametrize("top_n", [0, 5])
def test_a_top_n_out_of_range_is_refused(top_n: int) -> None:
    with pytest.raises(ValueError, match=rf"top_n must be in \[1, 4\], not {top_n}"):
        active_set(torch.full((1, 4), 0.25), torch.ones(1, 4, dtype=torch.bool), top_n)
    with pytest.raises(ValueError, match="top_n"):
        CombinedModel(Net(4, 0), [], 4, top_n)


@pytest.mark.parametrize("group", [(1, 0), (1, 1), (2, 4), (-1, 2)])
def test_a_group_that_is_none_is_refused(group: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="not of ascending classes below 4"):
        CombinedModel(Net(4, 0), [Specialist(Net(3, 1), group)], 4)


class Net(nn.Module):
    """uint8 images to logits."""

    def __init__(self, outputs: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.convolution = nn.Conv2d(3, 6, 3)
            self.linear = nn.Linear(6, outputs)

    def forward(self, images: Tensor) -> Tensor:
        features = self.convolution(images.to(self.linear.weight.dtype) / 255).relu().mean(dim=(2, 3))
        logits: Tensor = 15 * self.linear(features)
        return logits


def _images(count: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def _model(top_n: int = 2) -> CombinedModel:
    specialists = [
        Specialist(Net(4, 1), (1, 3, 4), TaskKind.DUSTBIN, correction=0.7),
        Specialist(Net(3, 2), (0, 1, 2), TaskKind.OWN, correction=5.0),
        Specialist(Net(6, 3), (4, 5), TaskKind.FULL, correction=5.0),
    ]
    return CombinedModel(Net(6, 0), specialists, 6, top_n).eval()


@pytest.mark.parametrize("top_n", [1, 2, 6])
@torch.no_grad()
def test_the_model_does_what_the_paper_says_step_by_step(top_n: int) -> None:
    images, model = _images(9), _model(top_n)
    generalist = model.generalist(images).double().softmax(dim=1)
    logits = [net(images).double() for net in model.specialists]
    logits[0][:, -1] += 0.7
    outputs = [each.softmax(dim=1) for each in logits]
    inside, dustbin = torch.zeros(9, 3, 6, dtype=torch.float64), torch.zeros(9, 3, dtype=torch.float64)
    inside[:, 0, [1, 3, 4]], dustbin[:, 0] = outputs[0][:, :3], outputs[0][:, 3]
    inside[:, 1, :3] = outputs[1] * generalist[:, :3].sum(dim=1, keepdim=True)
    dustbin[:, 1] = generalist[:, 3:].sum(dim=1)
    inside[:, 2] = outputs[2]
    member = torch.tensor([[0, 1, 0, 1, 1, 0], [1, 1, 1, 0, 0, 0], [1] * 6]).bool()
    groups = [{1, 3, 4}, {0, 1, 2}, {4, 5}]
    top = generalist.argsort(dim=1, descending=True)[:, :top_n].tolist()
    active = torch.tensor([[bool(group & set(row)) for group in groups] for row in top])
    found = model(images)
    assert found.dtype == torch.float32
    expected = descended(Problem(generalist, inside, dustbin, member, active))
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_groups_that_share_no_class_and_one_class_that_calls_are_solved_in_closed_form() -> None:
    parts = [Specialist(Net(4, 1), (1, 3, 4), correction=0.7), Specialist(Net(2, 2), (0, 2), TaskKind.OWN)]
    model = CombinedModel(Net(6, 0), parts, 6, 1).eval()
    assert model.one_has_a_say
    assert not CombinedModel(Net(6, 0), parts, 6, 2).one_has_a_say
    assert not CombinedModel(Net(6, 0), [*parts, Specialist(Net(3, 3), (4, 5))], 6, 1).one_has_a_say
    answers = set()
    for seed in range(4):
        model.generalist, model.one_has_a_say = Net(6, seed), True
        found = model(_images(8))
        model.one_has_a_say = False
        torch.testing.assert_close(found, model(_images(8)))
        answers |= {*model.generalist(_images(8)).argmax(dim=1).tolist()}
    assert len(answers) > 1


def test_a_model_without_specialists_is_the_generalist() -> None:
    generalist = Net(5, 0)
    found = CombinedModel(generalist, [], 5)(_images(3))
    torch.testing.assert_close(found, generalist(_images(3)).softmax(dim=1))


@torch.no_grad()
def test_an_image_gets_the_same_answer_in_any_batch() -> None:
    model = _model().double()  # where sums in another order are the same to more digits than are compared
    together = model(_images(8))
    for image in range(8):
        torch.testing.assert_close(model(_images(8)[image : image + 1]), together[image : image + 1])


@torch.no_grad()
def test_weights_and_groups_survive_a_state_dict() -> None:
    model = _model()
    kinds = [TaskKind.DUSTBIN, TaskKind.OWN, TaskKind.FULL]
    other = CombinedModel(
        Net(6, 10),
        [
            Specialist(Net(outputs, 11), group, kind, correction=0.7)
            for outputs, group, kind in zip((4, 3, 6), ((1, 3, 4), (0, 1, 2), (4, 5)), kinds, strict=True)
        ],
        6,
        2,
    )
    assert not torch.allclose(other(_images(4)), model(_images(4)))
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(_images(4)), model(_images(4)))


@torch.no_grad()
def test_the_model_is_exported_for_batches_of_any_size() -> None:
    model = _model().double()
    shapes = ({0: torch.export.Dim("batch", min=1)},)
    file = io.BytesIO()
    torch.export.save(torch.export.export(model, (_images(2),), dynamic_shapes=shapes), file)
    file.seek(0)
    program = torch.export.load(file).module()
    for count in (1, 2, 5, 40):
        images = _images(count, seed=count)
        torch.testing.assert_close(program(images), model(images))
