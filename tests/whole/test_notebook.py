"""The notebook: what is committed, and what a kernel makes of it in an empty folder."""

import ast
from pathlib import Path

import nbformat
import pytest
from mlflow import MlflowClient
from nbclient import NotebookClient
from nbformat import NotebookNode

import kd

NAME = "Knowledge_Distillation_with_Custom_ResNet_Models.ipynb"
WORKSPACE = "knowledge-distillation-run"
SECTIONS = [
    "Introduction",
    "Model Architecture",
    "Data Loading and Preprocessing",
    "Training and Evaluation Functions",
    "Knowledge Distillation Implementation",
    "Main Training Process",
    "Summary",
]
MIN_FIGURES = 5
CELL_SECONDS = 400
MAX_BYTES = 600_000

pytestmark = pytest.mark.timeout(600)


def read(root: Path) -> NotebookNode:
    notebook: NotebookNode = nbformat.read(root / "notebooks" / NAME, as_version=4)  # type: ignore[no-untyped-call]
    return notebook


@pytest.fixture(scope="module")
def committed(root: Path) -> NotebookNode:
    return read(root)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notebook")


@pytest.fixture(scope="module")
def executed(root: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> NotebookNode:
    """Run a copy of the notebook from top to bottom; the first error ends it."""
    notebook = read(root)
    own = tmp_path_factory.mktemp("jupyter")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
            patch.setenv(name, str(own / name))  # no kernel and no profile but the environment's own
        patch.setenv("OMP_NUM_THREADS", "1")
        resources = {"metadata": {"path": str(folder)}}
        NotebookClient(notebook, timeout=CELL_SECONDS, kernel_name="python3", resources=resources).execute()
    return notebook


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(cell: NotebookNode) -> list[tuple[str, ...]]:
    """Return of what kind a cell's outputs are; their numbers differ between processors."""
    return [(output.output_type, output.get("name", ""), *sorted(output.get("data", {}))) for output in cell.outputs]


def outputs(notebook: NotebookNode) -> list[NotebookNode]:
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def test_is_committed_with_the_outputs_of_one_run_for_the_usual_kernel(committed: NotebookNode, root: Path) -> None:
    nbformat.validate(committed)
    assert committed.nbformat == 4
    assert committed.metadata.kernelspec.name == "python3"
    counts = [cell.execution_count for cell in code_cells(committed)]
    assert counts == list(range(1, len(counts) + 1)), "run python notebooks/execute.py"
    assert (root / "notebooks" / NAME).stat().st_size < MAX_BYTES
    text = (root / "notebooks" / NAME).read_text(encoding="utf-8")
    assert "Traceback" not in text
    assert "/tmp/" not in text  # noqa: S108 - where it was run is nobody's business


def test_its_stored_outputs_are_of_the_cells_as_they_are(committed: NotebookNode, executed: NotebookNode) -> None:
    for stored, again in zip(code_cells(committed), code_cells(executed), strict=True):
        assert kinds(stored) == kinds(again), f"run python notebooks/execute.py: {stored.source[:60]}"


def test_its_sections_are_in_order(committed: NotebookNode) -> None:
    lines = [line for cell in committed.cells if cell.cell_type == "markdown" for line in cell.source.splitlines()]
    assert [line.removeprefix("## ") for line in lines if line.startswith("## ")] == SECTIONS


def names_of_kd(notebook: NotebookNode) -> tuple[set[str], list[str]]:
    """Return the names that the cells take from ``kd`` itself, and what they import from the modules below it."""
    used, imported = set(), []
    for cell in code_cells(notebook):
        source = "\n".join(line for line in cell.source.splitlines() if not line.startswith("%"))
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "kd":
                used.add(node.attr)
            elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "kd":
                imported += [f"{node.module}.{alias.name}" for alias in node.names]
    return used, imported


def test_is_written_with_the_public_names_and_imports_what_has_none(committed: NotebookNode) -> None:
    used, imported = names_of_kd(committed)
    assert used <= {*kd.__all__, "__version__"}
    # The library in a few lines is what the notebook shows; below them it looks into the loop, the dustbin and Eq. 5.
    assert {"load_dataset", "train", "fit", "distil", "find_groups", "specialise", "combine", "compare", "track"} <= used
    assert sorted(imported) == [
        "kd.evaluation.intervals.format_interval",
        "kd.evaluation.intervals.wilson_interval",
        "kd.reports.plots",
        "kd.specialists.dustbin.group_logits",
        "kd.specialists.eq5.combine",
        "kd.specialists.eq5.solve",
        "kd.training.loop.Trainer",
    ]


def test_runs_from_top_to_bottom_without_a_word_on_stderr(executed: NotebookNode) -> None:
    counts = [cell.execution_count for cell in code_cells(executed)]
    assert counts == list(range(1, len(counts) + 1))
    told = [output.text for output in outputs(executed) if output.get("name") == "stderr"]
    assert [text for text in told if "The given buffer is not writable" not in text] == []  # torch 2.11 of its own reader
    assert [output for output in outputs(executed) if output.output_type == "error"] == []


def test_shows_its_figures_inline(executed: NotebookNode) -> None:
    figures = [output for output in outputs(executed) if "image/png" in output.get("data", {})]
    assert len(figures) >= MIN_FIGURES


def test_writes_into_its_working_folder_alone(executed: NotebookNode, folder: Path) -> None:
    assert executed.cells
    assert [path.name for path in folder.iterdir()] == [WORKSPACE]


def test_leaves_a_tree_of_finished_runs(executed: NotebookNode, folder: Path) -> None:
    assert executed.cells
    client = MlflowClient(f"sqlite:///{folder / WORKSPACE / 'mlflow.db'}")
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if run is not parent]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert {run.info.status for run in runs} == {"FINISHED"}
    roles = [run.data.tags["kd.role"] for run in children]
    assert {role: roles.count(role) for role in roles} == {
        "teacher": 1,
        "control": 1,
        "student": 1,
        "specialist": 2,
        "combined": 1,
    }
    assert "student/minus_control" in parent.data.metrics
    assert "combined/minus_generalist" in parent.data.metrics
    assert "## What distillation changed" in parent.data.tags["mlflow.note.content"]
