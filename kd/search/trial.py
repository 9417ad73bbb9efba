"""One trial: a candidate trained, each epoch reported to the pruner, all of it in an MLflow run below the study's."""

import time
from collections.abc import Callable, Mapping, Sequence

import optuna
from optuna.exceptions import UpdateFinishedTrialError

from kd.config import TuneConfig
from kd.errors import UserError
from kd.machine.processes import myself
from kd.machine.secrets import masked
from kd.search.attributes import END, POINT, RUN, STOPPED, SURPLUS, WORKER
from kd.search.candidate import Candidate, Guide
from kd.search.candidate_costs import Costs
from kd.search.costs import COSTS, excess
from kd.search.latency import read_latencies
from kd.search.space import Axis
from kd.search.state import all_trials, earlier_tries, is_surplus, stopped_tries
from kd.search.storage import without_password
from kd.tracking import store as tracking
from kd.tracking.params import canonical
from kd.tracking.run_names import details


class Surplus(Exception):  # noqa: N818 - nothing went wrong
    """Another worker has just begun the study's last trial."""


class TrialRunner:
    """The objective of the study, as ``Study.optimize`` calls it."""

    def __init__(  # noqa: PLR0913 - what a trial is made of, and where it is written
        self,
        config: TuneConfig,
        guide: Guide,
        space: Sequence[Axis],
        parent_run: str,
        study: optuna.Study,
        *,
        begun: Callable[[], None] = lambda: None,
    ) -> None:
        """Take what all trials share; ``begun`` is called once a trial is this process's own."""
        self._begun = begun
        self._config = config
        self._guide = guide
        self._space = space
        self._parent_run = parent_run
        self._study = study
        self._costs = Costs(guide, read_latencies(study))
        self.lost = False
        """Whether the last trial was failed from outside while it ran: it is retried."""

    def __call__(self, trial: optuna.Trial) -> float | tuple[float, float]:
        """Train and score one candidate.

        Raises:
            UserError: a loss became not finite; the trial fails and is not retried.
            RuntimeError: torch can't train it, for want of memory, say; the same.
            UpdateFinishedTrialError: the trial was failed from outside while it ran.
            Surplus: there are enough trials without this one.
            KeyboardInterrupt: the user stops the search, which is no failure of the trial.
        """
        self.lost = False
        self._begun()
        try:
            return self._run(trial)
        except KeyboardInterrupt:
            trial.set_user_attr(STOPPED, [*stopped_tries(trial.user_attrs), trial.number])
            raise

    def _run(self, trial: optuna.Trial) -> float | tuple[float, float]:
        """Take up a trial, and train its candidate in an MLflow run."""
        trial.set_user_attr(WORKER, {**myself(), "trial": trial.number})
        if is_surplus(self._study, trial.number, self._config.trials):
            trial.set_user_attr(END, SURPLUS)
            raise Surplus
        config = self._config.model_copy(update={axis.name: axis.suggest(trial) for axis in self._space})
        killed_by = (KeyboardInterrupt, optuna.TrialPruned)
        with tracking.child_run(
            self._parent_run,
            f"trial {trial.number}",
            details({axis.name: getattr(config, axis.name) for axis in self._space}),
            output_dir=self._guide.workspace.output_dir,
            tags=self._tags(trial, config),
            killed_by=killed_by,
        ) as run:
            trial.set_user_attr(RUN, run.id)
            return self._train(trial, config, run)

    def _tags(self, trial: optuna.Trial, config: TuneConfig) -> dict[str, str]:
        retry_of = earlier_tries(all_trials(self._study)[trial.number])
        return {
            **self._guide.workspace.tags,
            "kd.role": "trial",
            "kd.state": "begun",
            "kd.seed": str(config.seed),
            "kd.study": self._study.study_name,
            "kd.trial": str(trial.number),
            "kd.point": trial.user_attrs.get(POINT, "sampled"),
            "kd.retry_of": ",".join(map(str, retry_of)),
        }

    def _train(self, trial: optuna.Trial, config: TuneConfig, run: tracking.Run) -> float | tuple[float, float]:
        started = time.perf_counter()
        history: list[dict[str, float]] = []
        metrics: dict[str, float] = {}
        state, reason = "complete", ""
        try:
            run.log_params({axis.name: canonical(getattr(config, axis.name)) for axis in self._space})
            run.log_settings(without_password(config).recorded())
            costs = self._costs.of(config)
            metrics |= {COSTS[name].metric: amount for name, amount in costs.items()}
            _keep(trial, costs)
            _check_costs(config, costs)
            candidate = Candidate(config, self._guide)
            for epoch in candidate.epochs():
                history.append(epoch)
                if not config.second_objective():  # a study of two objectives can't prune
                    _report(trial, epoch["val/accuracy"], len(history), config.epochs)
            _keep(trial, costs)  # once more: the last moment to learn that the trial was failed
            metrics["val/chosen_accuracy"] = history[-1]["val/accuracy"]
        except BaseException as error:
            state, reason = self._end(trial, error)
            raise
        finally:
            run.log_tags({"kd.state": state, "kd.reason": reason})
            run.log_epochs(history)
            run.log_metrics({**metrics, "cost/trial_seconds": time.perf_counter() - started})
        accuracy = history[-1]["val/accuracy"]
        second = config.second_objective()
        return (accuracy, costs[second]) if second else accuracy

    def _end(self, trial: optuna.Trial, error: BaseException) -> tuple[str, str]:
        """Return in what state an error ends a trial, and why; note whether the trial is to be retried."""
        if isinstance(error, optuna.TrialPruned):
            return "pruned", str(error)
        if isinstance(error, KeyboardInterrupt):
            return "stopped", "by a signal"
        if isinstance(error, UpdateFinishedTrialError):  # a RuntimeError too
            self.lost = True
            return "failed", "its heartbeats were missed"
        if isinstance(error, UserError | RuntimeError):
            trial.set_user_attr(END, masked(str(error)))
            return "failed", str(error)
        return "failed", ""


def _keep(trial: optuna.Trial, costs: Mapping[str, float]) -> None:
    for name, amount in costs.items():
        trial.set_user_attr(COSTS[name].attribute, amount)


def _check_costs(config: TuneConfig, costs: Mapping[str, float]) -> None:
    """End a trial before it is trained if its nets have more parameters, or take longer, than is allowed.

    Raises:
        TrialPruned: they do.
    """
    if told := excess(config, costs):
        raise optuna.TrialPruned(f"not trained: {told}")


def _report(trial: optuna.Trial, accuracy: float, epoch: int, epochs: int) -> None:
    """Report an epoch, and end the trial if the pruner says so.

    Raises:
        TrialPruned: it does.
    """
    trial.report(accuracy, epoch)
    if epoch < epochs and trial.should_prune():
        raise optuna.TrialPruned(f"after epoch {epoch}")
