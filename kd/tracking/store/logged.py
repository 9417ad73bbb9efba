"""What a run had logged when it stopped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import mlflow

from kd.tracking.outbox.delivery import FACTS_DIGEST, FILES_OF, OPENED_AS
from kd.tracking.store.texts import COST, HISTORY


@dataclass(frozen=True)
class Logged:
    """What a run had logged when it stopped."""

    final: Mapping[str, float]
    """The last value of each metric."""
    steps: frozenset[tuple[str, int]]
    """Each metric's steps."""
    models: Sequence[str]
    """The ids of its models."""
    model: str | None
    """The id of the model that was logged whole; None: there is none."""
    history: Sequence[str]
    """What had been resumed and reused in it."""
    opened_as: str
    """The id that kd gave it, which was its own as long as the store was away."""
    files_of: str
    """The beginning of the id by which its files are named, where it is not the run's."""

    def has_step(self, name: str, step: int) -> bool:
        """Return whether a metric has a step."""
        return (name, step) in self.steps

    def has_final(self, name: str, value: float) -> bool:
        """Return whether a final metric needs no other value: it has this one, or it is a cost that was measured."""
        return (name, 0) in self.steps and (self.final[name] == value or name.startswith(COST))


def logged_before(run_id: str) -> Logged:
    """Return what a run had logged when it stopped."""
    client, run = mlflow.MlflowClient(), mlflow.get_run(run_id)
    names = [name for name in run.data.metrics if not name.startswith("system/")]
    steps = frozenset((name, row.step) for name in names for row in client.get_metric_history(run_id, name))
    models = [model.model_id for model in run.outputs.model_outputs] if run.outputs else []
    whole = models[-1] if models and FACTS_DIGEST in run.data.tags else None
    tags = run.data.tags
    history = tags.get(HISTORY, "").splitlines()
    return Logged(run.data.metrics, steps, models, whole, history, tags.get(OPENED_AS, ""), tags.get(FILES_OF, ""))


BEFORE: dict[str, Logged] = {}
"""What the children of a run that was resumed had logged, by run id: the store may be away when they are resumed."""


def logged_of(run_id: str | None) -> Logged | None:
    """Return what a run had logged when it stopped; None: it is a new one."""
    if run_id is None:
        return None
    return BEFORE.pop(run_id) if run_id in BEFORE else logged_before(run_id)
