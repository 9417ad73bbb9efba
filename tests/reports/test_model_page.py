"""The page of a model: classes, input, accuracy with its interval, and a call that works."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import kd
from kd.data.dataset import Dataset
from kd.distillation.pretrained import read_classes
from kd.distillation.results import Trained
from kd.reports.model_page import combination_page, model_card, training_page

RECIPE = kd.Recipe(epochs=1, batch_size=32)


@pytest.fixture(scope="module")
def teacher(tiny_digits: Dataset) -> Trained:
    return kd.train("resnet", tiny_digits, RECIPE, depth=1, width=2)


def test_it_tells_classes_input_output_and_accuracy(teacher: Trained) -> None:
    labels = teacher.task.test.labels
    logits = torch.nn.functional.one_hot(labels, 10).float()
    logits[: len(labels) // 4] = logits[: len(labels) // 4].roll(1, dims=1)  # a quarter of the 40 answers is wrong
    page = training_page(replace(teacher, test_logits=logits), "width=2", Path("x.pt2"))
    assert "teacher (width=2), trained on digits. Accuracy on test: **75.0 %** [59.8, 85.8], n = 40." in page
    assert "(N, 1, 8, 8), grey" in page
    assert re.search(
        rf"\*\*Cost\*\*: {teacher.parameters:,} parameters, .* for 1 image, .* for 32 images \(cpu, 1 thread\)\.", page
    )
    assert "logits, float32, (N, 10), in this order: 0: 0, 1: 1," in page


def test_a_specialist_is_told_among_its_own_classes(teacher: Trained, tiny_digits: Dataset) -> None:
    [specialist] = kd.specialise(teacher, [[3, 5]], "resnet", tiny_digits, RECIPE, width=2)
    page = training_page(specialist, "", Path("x.pt2"))
    own = int(torch.isin(tiny_digits.test.labels, torch.tensor([3, 5])).sum())
    assert re.search(rf"Accuracy on test, among its own classes: \*\*[\d.]+ %\*\* \[[\d.]+, [\d.]+\], n = {own}\.", page)
    assert "(N, 3), in this order: 0: 3, 1: 5, 2: dustbin." in page
    combined = combination_page(kd.combine(teacher, [specialist]), Path("x.pt2"))
    assert "probabilities, float32, (N, 10)" in combined
    assert "The generalist alone: " in combined


def test_its_calls_work(
    teacher: Trained,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    cli: Callable[[Sequence[str]], None],
) -> None:
    path = kd.save(teacher, tmp_path / "models" / "teacher-0" / "model.pt2")
    page = training_page(teacher, "", path)
    for name, text in model_card(page, teacher, path, path.stat().st_size).items():
        path.with_name(name).write_text(text, encoding="utf-8")
    Image.fromarray(np.zeros((20, 30, 3), dtype=np.uint8)).save(tmp_path / "picture.png")
    card = path.with_name("README.md").read_text(encoding="utf-8")
    assert page in card
    [code] = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    exec(re.sub(r"^kd\.load(.*)$", r"print(kd.load\1)", code, flags=re.MULTILINE), {})  # noqa: S102 - the page's own
    assert "Prediction(name=" in capsys.readouterr().out
    [command] = re.findall(r"```bash\nkd (.*?)\n```", card, re.DOTALL)
    cli(command.split())
    assert capsys.readouterr().out.startswith("picture.png  ")


def test_a_card_tells_images_licence_and_size(teacher: Trained, tmp_path: Path) -> None:
    path = tmp_path / "models" / "teacher-0" / "model.pt2"
    card = model_card("PAGE", teacher, path, 12_345)
    assert card["README.md"].startswith("# teacher-0\n\nPAGE\n")
    assert "**Images**: digits, 10 classes, 120 train, 40 val, 40 test, digest `" in card["README.md"]
    assert "`model.pt2` has 12,345 bytes" in card["README.md"]
    (tmp_path / "classes.json").write_text(card["classes.json"], encoding="utf-8")
    assert read_classes(str(tmp_path / "classes.json"), "teacher_classes") == teacher.task.classes
    known = kd.load_dataset("digits")
    own = replace(known, licence="")
    for dataset, licence in ((known, "the images come with scikit-learn (BSD 3-Clause)"), (own, "not known to kd.")):
        assert f"Licence: {licence}" in model_card("", replace(teacher, dataset=dataset), path, 1)["README.md"]
