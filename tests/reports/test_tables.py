"""A model's answers as tables: one row per image, per pair of confused classes, per class."""

import pytest
import torch

from kd.reports.tables import answer_tables

CLASSES = ["cat", "dog\n", "emu"]
LABELS = torch.tensor([0, 0, 0, 0, 1, 1])
PROBABILITIES = torch.tensor(
    [[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.2, 0.5, 0.3], [0.25, 0.15, 0.6], [0.5, 0.4, 0.1], [0.1, 0.8, 0.1]]
)
TABLES = answer_tables(PROBABILITIES, LABELS, CLASSES, torch.tensor([3, 4, 7, 8, 10, 11]))


def test_predictions_are_known_by_the_number_of_their_image_in_the_whole_split() -> None:
    predictions = TABLES["1_predictions"]
    assert predictions["image"] == [3, 4, 7, 8, 10, 11]
    assert predictions["class"] == ["cat", "cat", "cat", "cat", "dog\\n", "dog\\n"]
    assert predictions["predicted"] == ["cat", "dog\\n", "dog\\n", "emu", "cat", "dog\\n"]
    assert predictions["right"] == ["yes", "no", "no", "no", "no", "yes"]
    assert predictions["probability"] == pytest.approx([0.7, 0.6, 0.5, 0.6, 0.5, 0.8], abs=1e-6)
    assert predictions["second"][:4] == ["dog\\n", "emu", "emu", "cat"]
    assert predictions["second_probability"][:4] == pytest.approx([0.2, 0.3, 0.3, 0.25], abs=1e-6)
    assert predictions["class_probability"] == pytest.approx([0.7, 0.1, 0.2, 0.25, 0.4, 0.8], abs=1e-6)


def test_the_most_frequent_mistake_comes_first() -> None:
    assert TABLES["2_confused_pairs"] == {
        "class": ["cat", "cat", "dog\\n"],
        "predicted": ["dog\\n", "emu", "cat"],
        "images": [2, 1, 1],
        "share_of_class": [0.5, 0.25, 0.5],
    }


def test_each_class_with_images_has_its_accuracy() -> None:
    per_class = TABLES["3_per_class"]
    assert (per_class["class"], per_class["images"], per_class["right"]) == (["cat", "dog\\n"], [4, 2], [1, 1])
    assert per_class["accuracy"] == [0.25, 0.5]
    # Wilson's interval for 1 of 4 by hand: (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n), z = 1.959964
    assert (per_class["low"][0], per_class["high"][0]) == pytest.approx((0.045587, 0.699358), abs=1e-6)
