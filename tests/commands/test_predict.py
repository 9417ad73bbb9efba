"""``kd predict``: tables, files and records of answers that were worked out by hand, and one line for what is wrong."""

import csv
import json
import logging
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from brightness import CLASSES, write_brightness
from PIL import Image

from kd.commands.predict import predict
from kd.config import PredictConfig
from kd.errors import UserError

Main = Callable[[Sequence[str]], None]
Capture = pytest.CaptureFixture[str]
BLACK, WHITE = 0, 255


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_brightness(tmp_path_factory.mktemp("model") / "student.pt2"))


def picture(path: Path, value: int, size: tuple[int, int] = (8, 8)) -> str:
    """Write a grey picture of one brightness, and return its path below the working folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)
    return str(path)


def test_a_table_has_the_three_most_probable_classes_of_each_image(model: str, cli: Main, capsys: Capture) -> None:
    white, black = picture(Path("white.png"), WHITE), picture(Path("a black one.png"), BLACK)
    cli(["predict", model, white, black])
    first, second = capsys.readouterr().out.splitlines()
    assert first == "white.png        high 62.5 %  middle 25.0 %  low 12.5 %"
    assert second.startswith("a black one.png  ")
    assert sorted(re.findall(r"(\w+) 33\.3 %", second)) == sorted(CLASSES)


def test_folders_are_searched_at_any_depth_and_named_as_they_were_typed(model: str, cli: Main, capsys: Capture) -> None:
    for name in ("photos/b.png", "photos/a/deep/c.png", "photos/.hidden.png", "photos/__MACOSX/d.png"):
        picture(Path(name), WHITE)
    Path("photos/notes.txt").write_text("no image")
    cli(["predict", model, "photos/", "./photos/b.png", "--top", "1"])
    assert capsys.readouterr().out.splitlines() == [
        "photos/a/deep/c.png  high 62.5 %",
        "photos/b.png         high 62.5 %",
        "./photos/b.png       high 62.5 %",
    ]


def test_the_folder_of_a_model_stands_for_it(tmp_path: Path, cli: Main, capsys: Capture) -> None:
    (tmp_path / "models" / "student-0").mkdir(parents=True)
    write_brightness(tmp_path / "models" / "student-0" / "model.pt2")
    cli(["predict", "models/student-0/", picture(Path("a.png"), WHITE), "--top", "1"])
    assert capsys.readouterr().out == "a.png  high 62.5 %\n"


def test_images_are_prepared_as_in_training(tmp_path: Path, cli: Main, capsys: Capture) -> None:
    colours = write_brightness(tmp_path / "colours.pt2", (3, 8, 8))
    wide = Image.new("RGB", (64, 16), "black")
    wide.paste("white", (16, 0, 48, 16))  # more than the square in its centre
    wide.save("wide.png")
    cli(["predict", str(colours), "wide.png", "--top", "1"])
    assert capsys.readouterr().out == "wide.png  high 62.5 %\n"


def test_a_file_of_answers_has_a_line_per_image(model: str, cli: Main, capsys: Capture) -> None:
    strange = picture(Path('photos/a, "b"\n.png'), WHITE)
    cli(["predict", model, "photos", picture(Path("c.png"), WHITE), "--csv", "answers.csv"])
    with Path("answers.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["image", "class_1", "probability_1", "class_2", "probability_2", "class_3", "probability_3"]
    answer = ["high", "0.625000", "middle", "0.250000", "low", "0.125000"]
    assert rows[1:] == [[strange, *answer], ["c.png", *answer]]
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines()[-1] == f"2 images: high 2; written to {Path.cwd()}/answers.csv"


def test_a_script_reads_the_answers_and_what_was_left_out(model: str, cli: Main, capsys: Capture) -> None:
    Path("bad.jpg").write_bytes(b"no image")
    cli(["predict", model, picture(Path("a.png"), WHITE), "bad.jpg", "--json", "--skip-bad-images"])
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    assert (told["command"], told["classes"], told["left_out"]) == ("predict", list(CLASSES), ["bad.jpg"])
    [answer] = told["predictions"]
    assert answer["image"] == "a.png"
    assert [one["class"] for one in answer["classes"]] == ["high", "middle", "low"]
    assert [one["probability"] for one in answer["classes"]] == pytest.approx([0.625, 0.25, 0.125], abs=1e-6)
    assert "1 images can't be read and are left out" in printed.err


def test_a_file_of_no_answers_is_told_to_be_one(model: str, cli: Main, capsys: Capture) -> None:
    Path("bad.jpg").write_bytes(b"no image")
    cli(["predict", model, "bad.jpg", "--csv", "answers.csv", "--skip-bad-images"])
    assert Path("answers.csv").read_text() == "image\n"
    assert capsys.readouterr().err.splitlines()[-1] == f"0 images; written to {Path.cwd()}/answers.csv"


def test_a_reader_that_wants_no_more_ends_it_without_a_word(
    model: str, cli: Main, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = picture(Path("a.png"), WHITE)
    for arguments in ([], ["--json"]):
        reader, writer = os.pipe()
        os.close(reader)
        with monkeypatch.context() as patch, os.fdopen(writer, "w") as out:
            patch.setattr("sys.stdout", out)
            cli(["predict", model, image, *arguments])
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "kd: " not in printed.err


def test_damaged_files_are_refused_and_all_of_them_named(model: str) -> None:
    for number in range(300):
        picture(Path(f"photos/{number:03}.png"), WHITE)
    for name in ("photos/005.png", "photos/299.png"):
        Path(name).write_bytes(Path(name).read_bytes()[:40])
    with pytest.raises(UserError) as caught:
        predict(PredictConfig(model=model, images="photos"))
    line = str(caught.value)
    assert line.startswith(f"cannot read 2 of 300 images: {Path.cwd()}/photos/005.png (")
    assert f"{Path.cwd()}/photos/299.png (" in line
    assert line.endswith("; repair or remove them, or leave out what can't be read (--skip-bad-images)")
    answer = predict(PredictConfig(model=model, images="photos", skip_bad_images=True))
    assert len(answer.lines) == 298
    assert answer.record["left_out"] == ["photos/005.png", "photos/299.png"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "--images names no images; give files or folders of them"),
        (["MODEL"], "--images names no images; give files or folders of them"),
        (["a.png", "MODEL"], "--model a.png: an image; name the model before it: kd predict MODEL IMAGE"),
        (["MODEL", "gone"], "--images gone: there is no such file or folder; name images or folders of them"),
        (["MODEL", "empty"], "--images empty: holds no images (.txt 1 passed over); name another folder"),
        (
            ["MODEL", "pipe.png"],
            "--images pipe.png: can't be read (a pipe or a device, and no file: {cwd}/pipe.png); name images",
        ),
        (["MODEL", "a.png", "--model", "other"], "--model other: given twice, as MODEL too; leave one out"),
        (["MODEL", "a.png", "--csv", "empty"], "--csv empty: can't be written (is a folder); name a file"),
        (
            ["MODEL", "a.png", "--csv", "gone/a.csv"],
            "--csv gone/a.csv: can't be written ({cwd}/gone is no folder); name a file",
        ),
        (["MODEL", "a.png", "--csv", "./a.png"], "--csv ./a.png: is the model or one of the images; name another file"),
        (["MODEL", "a.png", "--csv", "MODEL"], "--csv MODEL: is the model or one of the images; name another file"),
        (["MODEL", "a.png", "--top", "0"], "--top 0: input should be greater than or equal to 1"),
        (["x" * 300, "a.png"], f"--model {'x' * 300}: {{no_run}}"),
        (["~nobody/net", "a.png"], "--model ~nobody/net: {no_run}"),
        (["gone.pt2", "a.png"], "--model {cwd}/gone.pt2: can't be read (No such file or directory); name the file of a model"),
        (["empty/a.txt", "a.png"], "--model empty/a.txt: {no_run}; the file of that name here is no .pt2 or .onnx"),
        (["empty", "a.png"], "--model empty: {no_run}; the folder of that name here holds no model.pt2"),
        (
            ["weights.pt", "a.png"],
            "--model {cwd}/weights.pt: holds weights alone; name a .pt2 or .onnx, or load it in Python: kd.load(path, net=...)",
        ),
        (["--images", "a.png"], "--model names no model; give a run, models:/NAME@ALIAS or a file"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(arguments: list[str], line: str, model: str, cli: Main, capsys: Capture) -> None:
    picture(Path("a.png"), WHITE)
    Path("empty").mkdir()
    Path("empty/a.txt").touch()
    Path("weights.pt").touch()
    os.mkfifo("pipe.png")
    with pytest.raises(SystemExit) as caught:
        cli(["predict", *(model if word == "MODEL" else word for word in arguments)])
    assert caught.value.code == 2
    no_run = "neither a file of a model nor a run, as no runs are tracked here yet"
    told = (
        line.format(cwd=Path.cwd(), no_run=no_run).replace("MODEL too", f"{model} too").replace("--csv MODEL", f"--csv {model}")
    )
    assert capsys.readouterr() == ("", f"kd: {told}\n")
    assert not Path("mlflow.db").exists()


def test_the_model_and_images_may_stand_in_a_file_of_settings_or_be_flags(model: str, cli: Main, capsys: Capture) -> None:
    picture(Path("a.png"), WHITE)
    Path("settings.yaml").write_text(f"model: {model}\nimages: gone.png\ntop: 1\n")
    for arguments in (
        ["--config", "settings.yaml", "--images", "a.png"],
        ["--model", model, "--images", "a.png", "--top", "1"],
        [model, "a.png", "--config", "settings.yaml"],
    ):
        cli(["predict", *arguments])
        assert capsys.readouterr().out == "a.png  high 62.5 %\n", arguments


def test_a_model_of_an_older_kd_is_told_to_be_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    old = write_brightness(tmp_path / "old.pt2", crop=None, bit_depth=None)
    caplog.clear()
    with caplog.at_level(logging.INFO, "kd"):
        answer = predict(PredictConfig(model=str(old), images=picture(tmp_path / "a.png", WHITE), top=1))
    assert [line for line, _ in answer.lines] == [f"{tmp_path}/a.png  high 62.5 %"]
    assert caplog.messages == ["an older kd wrote this model, without the bit_depth and crop of its images: as usual"]


def test_a_model_of_another_crop_is_refused(tmp_path: Path) -> None:
    other = write_brightness(tmp_path / "other.pt2", crop="left")
    with pytest.raises(UserError, match=r"not a model that kd.save wrote"):
        predict(PredictConfig(model=str(other), images=picture(tmp_path / "a.png", WHITE)))
