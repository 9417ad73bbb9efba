"""What a record says in words: the verdict that counts all comparisons, and what was compared on which images."""

from dataclasses import replace
from pathlib import Path

from kd.evaluation.intervals import Interval
from kd.lab.record import Difference, Record, Row


def test_a_verdict_that_the_interval_alone_does_not_give_is_told_with_its_p_value() -> None:
    beside_zero = Interval(0.53, 0.28, 0.79, 3)
    null = Difference("soft", "hard", "gain", beside_zero, "seeds", 0.0606)
    assert null.in_words == (
        "soft against hard: +53.0 % points [28.0, 79.0], n = 3 seeds: null result (p = 0.0606 among all comparisons), "
        "so the paper's claim is neither shown nor refuted"
    )
    gain = Difference("soft", "hard", "gain", beside_zero, "seeds", 0.04)
    assert gain.in_words == "soft against hard: +53.0 % points [28.0, 79.0], n = 3 seeds: gain, as the paper has it"


def test_two_systems_on_a_part_of_the_images_are_compared_on_it_in_words() -> None:
    one = Interval(0.1, 0.0, 0.2, 3)
    assert Difference("a: the class", "b: the class", None, one, "seeds", 1.0).compared == "the class: a against b"
    assert Difference("a: the class", "b", None, one, "seeds", 1.0).compared == "a: the class against b"


def test_a_conclusion_tells_what_the_paper_claims_then_what_else_is_shown_and_else_all() -> None:
    positive, around_zero = Interval(0.1, 0.05, 0.15, 3), Interval(0.1, -0.2, 0.4, 3)
    null = Difference("a", "b", None, around_zero, "seeds", 1.0)
    gain = Difference("a", "c", None, positive, "seeds", 0.01)
    not_after_all = Difference("a", "d", None, positive, "seeds", 0.06)
    claimed = Difference("a", "e", "gain", around_zero, "seeds", 1.0)
    assert of(null, gain, not_after_all, claimed).conclusion == (claimed, gain)
    assert of(gain, null).conclusion == (gain,)
    assert of(null, not_after_all).told == ()
    assert of(null, not_after_all).conclusion == (null, not_after_all)


def test_a_record_of_other_seeds_settings_or_images_is_kept_when_another_takes_its_place(tmp_path: Path) -> None:
    row = Row("a", 10, (1, 2, 3), None, "")
    first = replace(of(Difference("a", "b", None, Interval(0.1, 0.05, 0.15, 3), "seeds", 0.01)), rows=(row,))
    path = first.write(tmp_path)
    assert first.write(tmp_path) == path
    again = replace(first, seconds=2.0)
    again.write(tmp_path)
    assert [one.name for one in tmp_path.rglob("*.json")] == ["x-digits.json"]
    others = [
        replace(first, seeds=(0,), rows=(replace(row, errors=(1,)),)),
        replace(first, settings={"epochs": 2}),
        replace(first, data_digest="1"),
    ]
    written = again
    for other in others:
        other.write(tmp_path)
        assert Record.read(path) == other
        assert written in [Record.read(one) for one in (tmp_path / "before").iterdir()]
        written = other
    assert len(list((tmp_path / "before").iterdir())) == len(others)


def of(*differences: Difference) -> Record:
    return Record("x", "X", "1", "none", "", "digits", "0", (0, 1, 2), {}, (), differences, (), "cpu", 1.0)
