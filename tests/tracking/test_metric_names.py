"""Runs of before are read by the names that their metrics had."""

from kd.tracking.metric_names import FORMER, metric_of, names_of


def test_a_metric_is_read_by_its_present_name_first_and_by_each_former_one() -> None:
    assert names_of("val/chosen_accuracy") == ("val/chosen_accuracy", "chosen_val_accuracy", "val_result")
    assert (
        metric_of({"val_result": 0.5, "chosen_val_accuracy": 0.75, "val/chosen_accuracy": 0.25}, "val/chosen_accuracy") == 0.25
    )
    assert metric_of({"val_result": 0.5, "chosen_val_accuracy": 0.75}, "val/chosen_accuracy") == 0.75
    assert metric_of({"val_result": 0.0}, "val/chosen_accuracy") == 0.0
    assert metric_of({"val_accuracy": 0.5}, "val/chosen_accuracy") is None


def test_a_metric_without_a_former_name_has_its_own_alone() -> None:
    assert names_of("search/trials") == ("search/trials",)


def test_no_former_name_stands_for_two_metrics() -> None:
    former = [name for names in FORMER.values() for name in names]
    assert len(former) == len(set(former))
    assert not set(former) & set(FORMER)
