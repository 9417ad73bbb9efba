"""Run the notebook in an empty folder, and keep it with its outputs, small: ``python notebooks/execute.py``."""

import base64
import io
import os
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

PATH = Path(__file__).with_name("Knowledge_Distillation_with_Custom_ResNet_Models.ipynb")
COLOURS = 128
CELL_SECONDS = 600


def shrink(png: str) -> str:
    """Return a picture, PNG in base64, with so few colours that a repository may hold it."""
    with Image.open(io.BytesIO(base64.b64decode(png))) as picture:
        small = io.BytesIO()
        picture.convert("RGB").quantize(COLOURS).save(small, "PNG", optimize=True)
    return base64.b64encode(small.getvalue()).decode()


def shrink_pictures(notebook: NotebookNode) -> None:
    """Shrink the pictures among a notebook's outputs."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                data["image/png"] = shrink(data["image/png"])


def main() -> None:
    """Run the notebook and write it back."""
    notebook = nbformat.read(PATH, as_version=4)  # type: ignore[no-untyped-call]
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(
            notebook, timeout=CELL_SECONDS, kernel_name="python3", resources={"metadata": {"path": folder}}
        ).execute()
    shrink_pictures(notebook)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of day, which differ each time
    nbformat.write(notebook, PATH)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
