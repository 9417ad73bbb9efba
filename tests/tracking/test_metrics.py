"""Names of metrics: MLflow takes each, whatever classes are called, and no two changes share one."""

from mlflow.utils.validation import _validate_metric_name

from kd.evaluation.intervals import Interval
from kd.reports.changes import Change
from kd.tracking.metrics import change_metrics


def change(label: str, mean: float) -> Change:
    before, after = Interval(0.5, 0.4, 0.6, 10), Interval(mean, mean, mean, 10)
    return Change(
        before=before, after=after, difference=after, p_value=1.0, label=label, beside="control", classes=10, images=40
    )


def test_a_specialists_metrics_are_named_by_its_number_and_not_by_its_classes() -> None:
    metrics = change_metrics(
        [
            change("student", 0.1),
            change("specialist 0 British_Shorthair-Egyptian_Mau+1", 0.2),
            change("specialist 12 a:b/c", 0.3),
        ]
    )
    assert metrics["student/test_accuracy"] == 0.1
    assert metrics["specialist_0/test_accuracy"] == 0.2
    assert metrics["specialist_0/control_test_accuracy"] == 0.5
    assert metrics["specialist_12/minus_control"] == 0.3
    assert not [name for name in metrics if "British" in name]


def test_changes_of_one_name_have_metrics_of_their_own() -> None:
    metrics = change_metrics([change("specialist 0 cat-dog", 0.1), change("specialist 0 ship-truck", 0.2)])
    assert (metrics["specialist_0/test_accuracy"], metrics["specialist_0_2/test_accuracy"]) == (0.1, 0.2)


def test_mlflow_takes_the_metrics_of_any_label() -> None:
    for label in ("my net + its/twin: \n[1]", "é" * 300, "..", "specialist x", "", "学生"):
        for name in change_metrics([change(label, 0.1)]):
            _validate_metric_name(name)  # type: ignore[no-untyped-call] # MLflow's own
            assert len(name) <= 250
