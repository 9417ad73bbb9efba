"""What a record says in words: the verdict that counts all comparisons, and what was compared on which images."""

from kd.evaluation.intervals import Interval
from kd.lab.record import Difference, Record


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


def of(*differences: Difference) -> Record:
    return Record("x", "X", "1", "none", "", "digits", "0", (0, 1, 2), {}, (), differences, (), "cpu", 1.0)
