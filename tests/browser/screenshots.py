"""README's pictures of MLflow's UI, of the newest pipeline in a store.

python tests/browser/screenshots.py sqlite:///mlflow.db docs
"""

import io
import sys
import tempfile
from pathlib import Path

import mlflow
from mlflow_server import served
from mlflow_ui import Visitor, visited
from PIL import Image

from kd.tracking.views import ALL_SYSTEMS, run_page

WIDTH_PX, HEIGHT_PX = 1600, 740
COLOURS = 128


def save(visitor: Visitor, path: Path) -> None:
    """Write what the browser shows as a small PNG."""
    visitor.page.mouse.move(0, 0)
    with Image.open(io.BytesIO(visitor.page.screenshot())) as picture:
        picture.convert("RGB").quantize(COLOURS).save(path, optimize=True)


def take(store: str, folder: Path) -> None:
    """Write the view of all systems, and the page of the newest pipeline, as ``ui_systems.png`` and ``ui_parent.png``."""
    client = mlflow.MlflowClient(store)
    parent = client.search_runs(["0"], "tags.`kd.role` = 'parent'", order_by=["attributes.start_time DESC"], max_results=1)[0]
    systems = client.search_runs(["0"], ALL_SYSTEMS.filter)
    with (
        tempfile.TemporaryDirectory() as temporary,
        served(store, Path(temporary) / "server.log") as address,
        visited(address, WIDTH_PX, HEIGHT_PX) as visitor,
    ):
        visitor.open_view("0", ALL_SYSTEMS, len(systems))
        save(visitor, folder / "ui_systems.png")
        visitor.open(run_page("0", parent.info.run_id))
        visitor.page.get_by_text("Show more").first.click()
        visitor.page.locator("a[href*='/runs/']:not([target])", has_text="teacher").first.wait_for()
        save(visitor, folder / "ui_parent.png")


if __name__ == "__main__":
    take(sys.argv[1], Path(sys.argv[2]))
