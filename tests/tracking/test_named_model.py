"""A model by any name that a user has for it: the names of its outputs are those of its task, and its images its data's."""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
from brightness import Brightness, write_brightness

from kd.errors import UserError
from kd.tracking import store
from kd.tracking.named import named_model

FACTS = {"role": "student", "kind": "all", "outputs": "logits", "image_shape": [1, 8, 8], "data_digest": "0" * 32}
KINDS: dict[str, dict[str, Any]] = {
    "student": {"classes": ["a", "b", "c"], "bit_depth": 12, "crop": "centre"},
    "specialist": {"classes": ["a", "b", "c", "d"], "kind": "dustbin", "group": [1, 3], "own_fraction": 0.5},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, mlflow_store: Callable[..., str]) -> Iterator[dict[str, str]]:
    """Return the run of a model of each kind, by its name; the student's is the one that a parent run leads to."""
    folder, found = tmp_path_factory.mktemp("runs"), {}
    mlflow.set_tracking_uri(mlflow_store(folder))
    for name, facts in KINDS.items():
        with store.run(name, output_dir=folder, tags={}) as run:
            model_id = run.log_model(WithParameter(), (1, 8, 8), {**FACTS, **facts}, page="", texts={})
            if name == "student":
                run.register("small", model_id, 0.5, "0" * 32, page="")
                run.log_file(write_brightness(folder / "copy.pt2"), "files")
        found[name] = run.id
    with store.run("parent", output_dir=folder, tags={"kd.model_run": found["student"]}) as parent:
        found["parent"] = parent.id
    yield found
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type] # what it is before it is set: the environment decides


class WithParameter(Brightness):
    """The model with a parameter, by which a run knows the device that it is on."""

    def __init__(self) -> None:
        super().__init__()
        self.zero = torch.nn.Parameter(torch.zeros(3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images) + self.zero


def test_a_run_is_named_by_its_id_a_part_of_it_its_name_or_what_leads_to_it(runs: dict[str, str]) -> None:
    student = runs["student"]
    names = [student, student[:8], "student", runs["parent"], "models:/small@champion", "models:/small/1"]
    for name in names:
        model = named_model(name, "model")
        assert (model.classes, model.image_shape, model.bit_depth) == (("a", "b", "c"), (1, 8, 8), 12), name
    white = torch.full((1, 1, 8, 8), 255, dtype=torch.uint8)
    assert torch.allclose(model.logits(white).softmax(dim=1), torch.tensor([[1 / 8, 2 / 8, 5 / 8]]))
    assert named_model(f"runs:/{student}/files", "model").classes == ("low", "middle", "high")


@pytest.mark.usefixtures("runs")
def test_the_outputs_of_a_specialist_are_its_classes_and_the_dustbin() -> None:
    specialist = named_model("specialist", "model")
    assert specialist.classes == ("b", "d", "dustbin")
    assert specialist.bit_depth == 16, "as it was, where an older kd did not say it"


def test_what_is_not_known_of_a_model_of_others_is_told_with_what_python_takes(tmp_path: Path) -> None:
    program = torch.export.export(
        torch.nn.Flatten(), (torch.zeros(2, 1, 2, 2),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, tmp_path / "theirs.pt2")
    with pytest.raises(UserError, match=r"is not known; give mean and std of pixels in \[0, 1\] \(mean= and std= in Python\):"):
        named_model("theirs.pt2", "model")


def test_what_is_no_model_is_told_with_the_flag(runs: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "a.pt2").write_bytes(b"no archive")
    for name, line in (
        ("nobody", "nobody: neither a run, by its id, the first 8 characters of it or its name, nor models:/NAME@ALIAS"),
        ("0" * 32, f"{'0' * 32}: no such run or model"),
        ("models:/small@nobody", "models:/small@nobody: no such run or model"),
        (f"runs:/{runs['student']}/gone", f"runs:/{runs['student']}/gone: no such file of a run"),
        ("x" * 300, f"{'x' * 300}: neither a run"),
        ("a.pt2", f"{tmp_path}/a.pt2: can't be read as a model"),
    ):
        with pytest.raises(UserError) as caught:
            named_model(name, "model")
        assert str(caught.value).startswith(line)
        assert caught.value.field == "model"
