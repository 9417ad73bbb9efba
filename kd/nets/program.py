"""A stored program as a module: each part of it is checked, and none is compiled, unpickled or evaluated.

torch's own reader of exported programs unpickles example inputs and evaluates expressions of whoever wrote the file. Here the
graph is read as data: operators of an allowlist (:mod:`kd.nets.operators`) on named values, carried out one after the other.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from kd.nets.operators import find_operator, is_check

_LOOP: Final = "torch.ops.higher_order.while_loop"
_WITHOUT_GRADIENTS: Final = "torch.ops.higher_order.wrap_with_set_grad_enabled"

# torch/_export/serde/schema.py: the numbers by which a file names types of numbers and orders of memory.
DTYPES: Final = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    10: torch.complex64,
    11: torch.complex128,
    12: torch.bool,
    13: torch.bfloat16,
}
MAX_ROUNDS: Final = 10_000
"""Rounds of a loop, after which it is taken for one without an end; Eq. 5 has 50 at most."""
STRIDED: Final = 7
"""The number by which a file names the layout of usual tensors."""
_MEMORY_FORMATS: Final = {1: torch.contiguous_format, 2: torch.channels_last, 4: torch.preserve_format}


@dataclass(frozen=True)
class _Name:
    """The name of a value."""

    text: str


class _Device:
    """The device on which the program runs, whatever the one of its export."""


@dataclass(frozen=True)
class _Step:
    """One operator, its arguments, and where its results go."""

    operator: Callable[..., Any]
    positional: Sequence[Any]
    by_name: Mapping[str, Any]
    results: Sequence[Any]
    done_with: Sequence[str]
    """Values that nothing needs after this step."""


class Graph:
    """Operators on named values, in order."""

    def __init__(self, stored: Mapping[str, Any]) -> None:
        """Read a graph.

        Raises:
            ValueError: it has a part that a program may not have.
        """
        self.inputs = [_input_name(value) for value in stored["inputs"]]
        self.outputs = [_argument(value) for value in stored["outputs"]]
        nodes = [node for node in stored["nodes"] if not is_check(node["target"])]
        self._steps = [_step(node) for node in nodes]
        self._free_values_early()

    def __call__(self, *values: Any, device: torch.device) -> list[Any]:  # noqa: ANN401 - tensors and sizes
        """Run the graph on the values of its inputs, and return those of its outputs."""
        known = dict(zip(self.inputs, values, strict=True))
        for step in self._steps:
            positional = [_filled(value, known, device) for value in step.positional]
            by_name = {name: _filled(value, known, device) for name, value in step.by_name.items()}
            _store(step.results, step.operator(*positional, **by_name), known)
            for name in step.done_with:
                known.pop(name, None)
        return [_filled(output, known, device) for output in self.outputs]

    def has_operator(self, name: str) -> bool:
        """Return whether an operator has a name in its own, one of the graphs within it too."""
        return any(
            name in str(step.operator) or any(graph.has_operator(name) for graph in _graphs([step.positional, step.by_name]))
            for step in self._steps
        )

    def _free_values_early(self) -> None:
        """Note for each value after which step it is needed no more: activations would add up otherwise."""
        needed = set(_names(self.outputs))
        for number in reversed(range(len(self._steps))):
            step = self._steps[number]
            touched = {*_names(step.positional), *_names(list(step.by_name.values())), *_names(step.results)}
            last_use = tuple(touched - needed)
            needed |= touched
            self._steps[number] = _Step(step.operator, step.positional, step.by_name, step.results, last_use)


class Program(nn.Module):
    """A stored program with its weights, which have the names that they had before the export."""

    def __init__(self, stored: Mapping[str, Any], weights: Mapping[str, Tensor], constants: Mapping[str, Tensor]) -> None:
        """Read a program.

        Args:
            stored: the graph and its signature, as torch writes them in ``model.json``.
            weights: parameters and buffers by name.
            constants: other tensors by name.

        Raises:
            ValueError: it has a part that a program may not have, or lacks one that it needs.
        """
        super().__init__()
        module = stored["graph_module"]
        self._graph = Graph(module["graph"])
        self._held: dict[str, tuple[nn.Module, str]] = {}
        images = [self._input(spec, weights, constants) for spec in module["signature"]["input_specs"]]
        self._images = [name for name in images if name is not None]
        if len(self._images) != 1 or len(self._graph.outputs) != 1:
            raise ValueError("it does not map one batch of images to one tensor")
        about = module["graph"]["tensor_values"][self._images[0]]
        self.image_dtype = DTYPES[about["dtype"]]
        """Type of the images that it takes."""
        self.image_sizes = tuple(_fixed_size(size) for size in about["sizes"])
        """Sizes of the batch that it takes; None: any, as a file says by an expression, which is not read."""
        self.requires_grad_(requires_grad=False)

    def has_operator(self, name: str) -> bool:
        """Return whether one of its operators has a name in its own."""
        return self._graph.has_operator(name)

    def forward(self, images: Tensor) -> Tensor:
        """Run the program on a batch of images."""
        held = {name: getattr(owner, attribute) for name, (owner, attribute) in self._held.items()}
        known = {**held, self._images[0]: images}
        (answer,) = self._graph(*(known[name] for name in self._graph.inputs), device=images.device)
        result: Tensor = answer
        return result

    def _input(self, spec: Mapping[str, Any], weights: Mapping[str, Tensor], constants: Mapping[str, Tensor]) -> str | None:
        """Hold the tensor of an input; return the input's name where it is none of the program's own tensors."""
        ((kind, about),) = spec.items()
        if kind == "user_input":
            return _input_name(about["arg"])
        if kind == "parameter":
            place = self._hold(about["parameter_name"], weights, "parameter")
        elif kind == "buffer" and about["persistent"]:
            place = self._hold(about["buffer_name"], weights, "buffer")
        elif kind == "buffer":
            place = self._hold(about["buffer_name"], constants, "constant")
        elif kind == "tensor_constant":
            place = self._hold(about["tensor_constant_name"], constants, "constant")
        else:
            raise ValueError(f"its input {kind[:40]!r} is not one that kd reads")
        self._held[str(about["arg"]["name"])] = place
        return None

    def _hold(self, path: str, tensors: Mapping[str, Tensor], kind: str) -> tuple[nn.Module, str]:
        """Register a tensor under its dotted name, in modules that are made where they are missing."""
        owner: nn.Module = self
        *above, last = path.split(".")
        for part in above:
            if part not in owner._modules:  # noqa: SLF001 - get_submodule would find methods too
                owner.add_module(part, nn.Module())
            owner = owner.get_submodule(part)
        if path not in tensors:
            raise ValueError(f"its {kind} {path[:80]!r} is missing")
        if not _is_finite(tensors[path], masks=kind != "parameter"):
            raise ValueError(f"its {kind} {path[:80]!r} holds values that are not finite numbers")
        if kind == "parameter":
            owner.register_parameter(last, nn.Parameter(tensors[path], requires_grad=False))
        else:
            owner.register_buffer(last, tensors[path], persistent=kind == "buffer")
        return owner, last


def _is_finite(tensor: Tensor, *, masks: bool) -> bool:
    """Return whether all values are finite numbers; among those of masks negative infinity hides a place."""
    return not tensor.is_floating_point() or bool((tensor.isfinite() | (tensor.isneginf() & masks)).all())


def _step(node: Mapping[str, Any]) -> _Step:
    target, inputs = node["target"], node["inputs"]
    results = [_result(output) for output in node["outputs"]]
    if target in {_LOOP, _WITHOUT_GRADIENTS}:
        run = _while_loop if target == _LOOP else _without_gradients
        return _Step(run, [_argument(given["arg"]) for given in inputs], {"device": _Device()}, results, ())
    found = find_operator(target)
    if isinstance(found, torch._ops.OpOverload):  # noqa: SLF001 - the only name of its class
        return _Step(found, (), {str(given["name"]): _argument(given["arg"]) for given in inputs}, results, ())
    return _Step(found, [_argument(given["arg"]) for given in inputs], {}, results, ())


def _while_loop(condition: Graph, body: Graph, state: Sequence[Any], beside: Sequence[Any], *, device: torch.device) -> Any:  # noqa: ANN401
    """Carry out a loop; while a model is exported again, as torch's own operator, which stays a loop."""
    from torch._higher_order_ops import while_loop  # noqa: PLC0415 - a slow import

    def to_do(*values: Any) -> Any:  # noqa: ANN401 - as above
        (answer,) = condition(*values, device=device)
        return answer

    def step(*values: Any) -> tuple[Any, ...]:  # noqa: ANN401 - as above
        return tuple(body(*values, device=device))

    if torch.compiler.is_exporting():
        return while_loop(lambda *now: to_do(*now, *beside), lambda *now: step(*now, *beside), tuple(state))  # type: ignore[no-untyped-call]
    for _ in range(MAX_ROUNDS):
        if not to_do(*state, *beside):
            return state
        state = step(*state, *beside)
    raise ValueError(f"its loop does not end within {MAX_ROUNDS} rounds")


def _without_gradients(enabled: bool, graph: Graph, *values: Any, device: torch.device) -> Any:  # noqa: ANN401, FBT001 - torch's order
    """Carry out what stood under ``torch.no_grad``; a program has no gradients at all."""
    del enabled
    answers = graph(*values, device=device)
    return answers[0] if len(answers) == 1 else answers


def _input_name(stored: Mapping[str, Any]) -> str:
    """Return the name of an input, a tensor or a size."""
    found = _argument(stored)
    if not isinstance(found, _Name):
        raise ValueError(f"its input {str(stored)[:80]} is not one that kd reads")  # noqa: TRY004 - what the file holds
    return found.text


def _argument(stored: Mapping[str, Any]) -> Any:  # noqa: ANN401 - whatever an operator takes
    """Return an argument: a value, or the name of one, or a list of them.

    Raises:
        ValueError: it is of a kind that a program may not have.
    """
    ((kind, value),) = stored.items()
    try:
        return _ARGUMENTS[kind](value)
    except (KeyError, TypeError):
        raise ValueError(f"its argument {kind[:40]} {str(value)[:40]} is not one that kd reads") from None


def _plain(*types: type) -> Callable[[Any], Any]:
    """Return a reader of values, and of lists of them, that JSON holds as they are."""

    def read(value: object) -> object:
        for one in value if isinstance(value, list) else [value]:
            if type(one) not in types:
                raise TypeError
        return value

    return read


def _tensor(stored: Mapping[str, Any]) -> _Name | None:
    """Return a tensor of a list, which may lack some."""
    if "name" in stored:
        return _Name(str(stored["name"]))
    ((_, value),) = stored.items()
    return None if value is True or value is None else _Name(str(value["name"]))


def _size(stored: Mapping[str, Any]) -> _Name | int:
    """Return a number, or the name of one that is known when the program runs."""
    ((kind, value),) = stored.items()
    if kind == "as_name":
        return _Name(str(value))
    number: int = _plain(int, bool)(value)
    return number


def _fixed_size(stored: Mapping[str, Any]) -> int | None:
    size = stored.get("as_int")
    return size if type(size) is int else None


def _strided(number: int) -> torch.layout:
    return {STRIDED: torch.strided}[number]


_ARGUMENTS: Final[dict[str, Callable[[Any], Any]]] = {
    "as_none": lambda _: None,
    "as_int": _plain(int),
    "as_ints": _plain(int),
    "as_float": _plain(int, float),
    "as_floats": _plain(int, float),
    "as_bool": _plain(bool),
    "as_bools": _plain(bool),
    "as_string": _plain(str),
    "as_tensor": lambda value: _Name(str(value["name"])),
    "as_tensors": lambda values: [_tensor(one) for one in values],
    "as_optional_tensors": lambda values: [_tensor(one) for one in values],
    "as_sym_int": _size,
    "as_sym_bool": _size,
    "as_sym_ints": lambda values: [_size(one) for one in values],
    "as_scalar_type": lambda number: DTYPES[number],
    "as_memory_format": lambda number: _MEMORY_FORMATS[number],
    "as_layout": _strided,
    "as_device": lambda _: _Device(),
    "as_graph": lambda value: Graph(value["graph"]),
}
"""Readers of arguments by their kind in torch/_export/serde/schema.py."""


def _result(stored: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a name or a list of names
    ((kind, _),) = stored.items()
    if kind not in {"as_tensor", "as_tensors", "as_sym_int", "as_sym_bool", "as_none"}:
        raise ValueError(f"its result {kind[:40]} is not one that kd reads")
    return _argument(stored)


def _filled(value: Any, known: Mapping[str, Any], device: torch.device) -> Any:  # noqa: ANN401 - whatever an operator takes
    """Return an argument with values in place of their names."""
    if isinstance(value, _Name):
        return known[value.text]
    if isinstance(value, list):
        return [_filled(one, known, device) for one in value]
    return device if isinstance(value, _Device) else value


def _store(results: Sequence[Any], answer: Any, known: dict[str, Any]) -> None:  # noqa: ANN401 - whatever an operator gives
    """Give the names of an operator's results to its answer."""
    answers = [answer] if len(results) == 1 else answer
    for result, one in zip(results, answers, strict=False):
        if isinstance(result, list):
            known.update({name.text: part for name, part in zip(result, one, strict=True)})
        elif result is not None:
            known[result.text] = one


def _graphs(value: Any) -> Iterator[Graph]:  # noqa: ANN401 - as _filled
    """Yield all graphs in arguments."""
    if isinstance(value, Graph):
        yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        yield from _graphs(one)


def _names(value: Any) -> list[str]:  # noqa: ANN401 - as _filled
    """Return all names in arguments."""
    if isinstance(value, _Name):
        return [value.text]
    return [name for one in value for name in _names(one)] if isinstance(value, list | tuple) else []
