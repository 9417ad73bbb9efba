"""A real disk that is full: the run fails in one line that names the place, and is resumed once there is room."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import mlflow
import numpy as np
import pytest
from full_disk import small_disk
from PIL import Image

from kd.data.load import load_dataset
from kd.machine.failure import failure_line
from kd.tracking import store
from kd.tracking.outbox.outbox import Outbox
from kd.tracking.store import Run

DISK_KIB = 2000


@pytest.fixture
def disk(tmp_path: Path, mlflow_store: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder on a small disk, where artifacts lie; MLflow's database lies elsewhere."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with small_disk(folder, DISK_KIB):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store(tmp_path, str(folder / "artifacts")))
        monkeypatch.chdir(folder)
        yield folder


def fill(folder: Path) -> Path:
    """Leave no room on a disk; return the file that takes it."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


def test_tables_that_find_the_disk_full_fail_the_run_and_are_written_once_there_is_room(disk: Path) -> None:
    runs: list[Run] = []
    told = ""

    def log(*, again: str | None = None, full: bool) -> None:
        nonlocal told
        with store.run("tables", output_dir=disk, tags={}, again=again) as run:
            runs.append(run)
            ballast = fill(disk) if full else disk / "ballast"
            try:
                run.log_tables({"1_answers": {"image": list(range(1000))}})
            except OSError as error:
                told = failure_line(error)
                raise
            finally:
                ballast.unlink(missing_ok=True)

    with pytest.raises(OSError, match="No space left on device"):
        log(full=True)
    assert told.startswith(f"the disk is full (No space left on device: {disk}")
    [run] = runs
    assert mlflow.get_run(run.id).info.status == "FAILED"
    log(again=run.id, full=False)
    assert len(mlflow.load_table("tables/1_answers.json", run_ids=[run.id])) == 1000
    assert mlflow.get_run(run.id).info.status == "FINISHED"


def test_a_record_that_finds_the_disk_full_names_the_outbox_and_leaves_those_before_it(disk: Path) -> None:
    outbox = Outbox(disk, "http://127.0.0.1:1")  # where nothing listens
    outbox.post({"do": "batch", "run": "0" * 32, "tags": {"first": "1"}})
    ballast = fill(disk)
    with pytest.raises(OSError, match="No space left on device") as caught:
        outbox.post({"do": "batch", "run": "0" * 32, "tags": {"second": "2" * 5000}})
    assert failure_line(caught.value).startswith(f"the disk is full (No space left on device: {disk / 'outbox'}")
    ballast.unlink()
    outbox.post({"do": "batch", "run": "0" * 32, "tags": {"third": "3"}})
    kept = [path.read_text() for path in sorted((disk / "outbox").rglob("*.json"))]
    assert [name for name in ("first", "second", "third") if any(name in text for text in kept)] == ["first", "third"]
    assert not list((disk / "outbox").rglob("*.tmp"))


def test_images_are_read_where_there_is_no_room_for_their_pixels_which_are_kept_once_there_is(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = disk / "cache"
    monkeypatch.setenv("KD_CACHE", str(cache))
    photos = tmp_path / "photos"
    for label in ("cat", "dog"):
        (photos / label).mkdir(parents=True)
        for number in range(12):
            picture = np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)
            Image.fromarray(picture).save(photos / label / f"{number}.png")
    ballast = fill(disk)
    found = load_dataset("folder", str(photos), image_px=32)
    assert not list(cache.rglob("*.*"))
    ballast.unlink()
    assert load_dataset("folder", str(photos), image_px=32).digest == found.digest
    assert [path.suffix for path in cache.rglob("*.*")] == [".bin"]
