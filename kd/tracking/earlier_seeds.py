"""Paired accuracies of earlier seeds of the same settings, as finished runs have them: what a new study can be planned by."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import mlflow
from mlflow.entities import Run as Entity

from kd.machine.activity import doing
from kd.tracking.earlier import DATA_DIGEST, PARENT, experiments
from kd.tracking.metric_names import metric_of

TEACHER_DIGEST = "kd.teacher_digest"
UNLABELLED_DIGEST = "kd.unlabelled_digest"
GENERALISTS_NET = "kd.generalists_net"
"""Tag of a command whose specialists were given their generalist's net, since none was named."""
COMBINED = "combined"
STUDENT = "student"
CONTROL = "control"

MAX_READ = 2_000
"""Runs that are read at most of each kind, the newest."""


@dataclass(frozen=True)
class EarlierSeeds:
    """How much better one system was than another, by seed."""

    system: str
    beside: str
    differences: Mapping[int, float]
    """Differences in accuracy on test, of the newest run of each seed."""


@doing("looking for earlier seeds")
def earlier_seeds(  # noqa: PLR0913 - all that has to be the same
    command: str,
    data_digest: str,
    unlabelled_digest: str,
    params: Mapping[str, str],
    defaults: Mapping[str, str],
    *,
    generalists_net: bool = False,
) -> list[EarlierSeeds]:
    """Return the paired differences that finished runs below commands of the same settings have, all by one teacher.

    The teacher is that of the newest such command.

    Args:
        command: name of the command.
        data_digest: digest of its images.
        unlabelled_digest: digest of those without labels; empty: it learns from none.
        params: those of its settings that have to be the same.
        defaults: the default of each setting, which a run of before the setting was there had.
        generalists_net: whether specialists have their generalist's net, so that no setting says which one.
    """
    of_data = f"tags.`{DATA_DIGEST}` = '{data_digest}' and tags.`kd.command` = '{command}'"
    parents = [
        run
        for run in _search(f"{of_data} and tags.`kd.role` = 'parent'")
        if params.items() <= {**defaults, **run.data.params}.items()
        and run.data.tags.get(UNLABELLED_DIGEST, "") == unlabelled_digest
        and TEACHER_DIGEST in run.data.tags
        and (GENERALISTS_NET in run.data.tags or not generalists_net)
    ]
    if not parents:
        return []
    teacher = parents[0].data.tags[TEACHER_DIGEST]
    ids = {run.info.run_id for run in parents if run.data.tags[TEACHER_DIGEST] == teacher}
    below = [
        run
        for run in _search(f"{of_data} and tags.`kd.group` = 'all' and attributes.status = 'FINISHED'")
        if run.data.tags.get(PARENT) in ids
    ]
    found = [
        EarlierSeeds(STUDENT, CONTROL, _student_differences(below)),
        EarlierSeeds(COMBINED, "generalist", _combined_differences(below)),
    ]
    return [seeds for seeds in found if seeds.differences]


def _search(query: str) -> list[Entity]:
    newest = ["attributes.start_time DESC"]
    return list(mlflow.MlflowClient().search_runs(experiments(), query, order_by=newest, max_results=MAX_READ))


def _student_differences(runs: Iterable[Entity]) -> dict[int, float]:
    """Return by seed the student's accuracy minus that of the control below the same command."""
    accuracies: dict[tuple[str, int], dict[str, float]] = {}
    for run in runs:
        accuracy = metric_of(run.data.metrics, "test/accuracy")
        if accuracy is not None:
            key = run.data.tags[PARENT], int(run.data.tags["kd.seed"])
            accuracies.setdefault(key, {}).setdefault(run.data.tags.get("kd.role", ""), accuracy)
    differences: dict[int, float] = {}
    for (_, seed), by_role in accuracies.items():
        if STUDENT in by_role and CONTROL in by_role:
            differences.setdefault(seed, by_role[STUDENT] - by_role[CONTROL])
    return dict(sorted(differences.items()))


def _combined_differences(runs: Iterable[Entity]) -> dict[int, float]:
    """Return by seed the accuracy of generalist and specialists minus that of the generalist."""
    differences: dict[int, float] = {}
    for run in runs:
        if run.data.tags.get("kd.role") != COMBINED:
            continue
        after, before = (metric_of(run.data.metrics, f"test/{name}accuracy") for name in ("", "generalist_"))
        if after is not None and before is not None:
            differences.setdefault(int(run.data.tags["kd.seed"]), after - before)
    return dict(sorted(differences.items()))
