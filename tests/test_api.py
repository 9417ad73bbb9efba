"""The public names: what `import kd` offers, that it costs nothing before it is used, and that it needs no platform."""

import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import kd

CLASSES = {"Classifier", "Dataset", "Recipe", "Split", "Teacher", "Trainer", "UserError"}
FUNCTIONS = {
    *("load_dataset", "train", "fit", "distil", "cached_targets", "find_groups", "specialise", "combine"),
    *("predict", "score", "compare", "load", "save", "track", "show_progress"),
}
MODULES = {"lab", "losses", "nets"}
VERDICT = re.compile(r"[+-][\d.]+ % points \[[-\d.]+, [-\d.]+\], n = \d+ images: (gain|loss|null result)")


def run(code: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200, cwd=folder)


def test_the_exported_names_are_these() -> None:
    assert set(kd.__all__) == CLASSES | FUNCTIONS | MODULES
    assert kd.__all__ == sorted(kd.__all__)
    assert dir(kd) == sorted([*kd.__all__, "__version__"])


def test_each_exported_name_is_what_it_is_said_to_be() -> None:
    assert all(inspect.isclass(getattr(kd, name)) for name in CLASSES)
    assert all(inspect.isfunction(getattr(kd, name)) for name in FUNCTIONS)
    assert all(isinstance(getattr(kd, name), ModuleType) for name in MODULES)
    for module in MODULES:
        names = importlib.import_module(f"kd.{module}").__all__
        assert all(hasattr(getattr(kd, module), name) for name in names)


def test_another_name_is_an_attribute_error_as_everywhere() -> None:
    with pytest.raises(AttributeError, match=r"^module 'kd' has no attribute 'distill'$"):
        kd.distill  # noqa: B018


def public_callables() -> dict[str, Callable[..., object]]:
    """Return the exported functions and classes, and the methods of the classes that are kd's own, by name."""
    found: dict[str, Callable[..., object]] = {name: getattr(kd, name) for name in CLASSES | FUNCTIONS}
    for module in MODULES:
        members = {name: getattr(getattr(kd, module), name) for name in getattr(kd, module).__all__}
        found |= {f"{module}.{name}": member for name, member in members.items() if callable(member)}
    for name, member in list(found.items()):
        for method, function in vars(member).items() if inspect.isclass(member) else ():
            given = function.fget if isinstance(function, property) else getattr(function, "__func__", function)
            if inspect.isfunction(given) and not method.startswith("_"):
                found[f"{name}.{method}"] = given
    return found


@pytest.mark.parametrize("name", sorted(public_callables()))
def test_each_public_callable_says_what_it_does_and_of_which_types(name: str) -> None:
    member = public_callables()[name]
    assert len(inspect.getdoc(member) or "") > 20
    assert inspect.getdoc(member) != inspect.getdoc(object)
    if not inspect.isfunction(member):
        return
    signature = inspect.signature(member)
    assert signature.return_annotation is not inspect.Signature.empty
    given = [parameter for parameter in signature.parameters.values() if parameter.name not in {"self", "cls"}]
    assert [parameter.name for parameter in given if parameter.annotation is inspect.Parameter.empty] == []


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_each_public_function_names_its_arguments_and_its_errors(name: str) -> None:
    function = getattr(kd, name)
    described = re.findall(r"^    (\w+): ", inspect.getdoc(function) or "", flags=re.MULTILINE)
    assert [*inspect.signature(function).parameters] == [argument for argument in described if argument[0].islower()]
    assert "UserError: " in (inspect.getdoc(function) or "")


def test_the_package_tells_type_checkers_that_it_has_types(root: Path) -> None:
    assert (root / "kd" / "py.typed").read_text(encoding="utf-8") == ""


def test_importing_kd_loads_no_library(tmp_path: Path) -> None:
    code = "import sys; before = set(sys.modules); import kd; dir(kd); print(*sorted(set(sys.modules) - before))"
    result = run(code, tmp_path)
    loaded = {name.partition(".")[0] for name in result.stdout.split()} - set(sys.stdlib_module_names)
    assert loaded == {"kd"}, result.stderr


def test_a_name_is_loaded_when_it_is_used_and_nothing_of_tracking_before_track_is(tmp_path: Path) -> None:
    code = (
        "import sys, kd\n"
        "kd.UserError, kd.Recipe\n"
        "print('torch' in sys.modules)\n"
        "kd.distil, kd.specialise, kd.compare, kd.load, kd.fit\n"
        "print('torch' in sys.modules, {'mlflow', 'optuna', 'pydantic', 'click'} & set(sys.modules))\n"
        "kd.track\n"
        "print('mlflow' in sys.modules)\n"
    )
    assert run(code, tmp_path).stdout.splitlines() == ["False", "True set()", "True"]


WITHOUT_THE_PLATFORM = """
import sys

REFUSED = {"mlflow", "optuna", "pydantic", "click"}

class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in REFUSED:
            raise ModuleNotFoundError(f"{name} is refused here", name=name)

sys.meta_path.insert(0, Refusing())
for name in REFUSED:
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise AssertionError(name)

import numpy
import torch
import kd

recipe = kd.Recipe(epochs=1, batch_size=64)
digits = kd.load_dataset("digits")
images = numpy.concatenate([split.images.numpy() for split in (digits.train, digits.val)])
labels = numpy.concatenate([split.labels.numpy() for split in (digits.train, digits.val)])
some = kd.Dataset.from_arrays(images, labels, digits.classes, (digits.test.images.numpy(), digits.test.labels.numpy()))
assert len(some.test) == len(digits.test)

teacher = kd.train("resnet", some, recipe, depth=1, width=4)
targets = kd.cached_targets(teacher, views=2, folder="targets")
student = kd.distil(teacher, "resnet", some, recipe, views=2, targets=targets, width=2)
assert student.control is not None
groups = kd.find_groups(teacher, count=2)
specialists = kd.specialise(teacher, groups, "resnet", None, recipe, views=2, targets=targets, width=2)
combination = kd.combine(teacher, specialists)
for system, other in ((student, student.control), (specialists[0], teacher), (combination, teacher)):
    print(kd.compare(system, other))
print(kd.score(kd.predict(student.model, some.test), some.test.labels).accuracy == student.test.accuracy)
for system in (student, combination):
    print(kd.load(kd.save(system, f"{system.name}.pt2")).predict(digits.test.images[:1])[0].name in digits.classes)

net = kd.Classifier(kd.nets.ResNet(10, 1, depth=1, width=2), some.mean, some.std)
hard = lambda logits, batch: kd.losses.hard_loss(logits, batch.labels)
trainer = kd.Trainer(net, some.train, hard, recipe, some.augmentation(0))
[epoch] = kd.fit(trainer, lambda model: kd.score(kd.predict(model, some.val), some.val.labels))
print(epoch.val.accuracy)
assert not REFUSED & set(sys.modules)
try:
    kd.track
except ModuleNotFoundError as error:
    print(error)
"""


def test_the_library_runs_where_mlflow_optuna_pydantic_and_click_can_not_be_imported(tmp_path: Path) -> None:
    result = run(WITHOUT_THE_PLATFORM, tmp_path)
    assert result.returncode == 0, result.stderr
    *compared, scored, one, two, accuracy, last = result.stdout.splitlines()
    assert len(compared) == 3
    assert all(map(VERDICT.fullmatch, compared))
    assert (scored, one, two) == ("True", "True", "True")
    assert 0 <= float(accuracy) <= 1
    assert last == "mlflow is refused here"
    assert result.stderr == ""


def python_blocks(root: Path) -> list[str]:
    """Return the Python code of the README, block by block."""
    text = (root / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def test_the_readme_shows_the_library_in_five_lines_that_run(
    root: Path, tmp_path: Path, mlflow_store: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    short, more = python_blocks(root)[:2]
    lines = [line for line in short.splitlines() if line]
    assert lines[0] == "import kd"
    assert len(lines) == 5
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store(tmp_path))
    result = run(short + more, tmp_path)
    assert result.returncode == 0, result.stderr
    compared, answer = result.stdout.splitlines()
    assert VERDICT.fullmatch(compared)
    assert answer in kd.load_dataset("digits").classes
