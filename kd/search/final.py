"""The end of a study: the winner and what it is compared with, each trained with several seeds and scored on test once."""

import logging
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kd.config import TuneConfig
from kd.distillation.fingerprint import fingerprint
from kd.evaluation.intervals import format_interval, share_interval
from kd.from_config import data_digest, net, run_details
from kd.machine.names import metric_name
from kd.machine.progress import Progress
from kd.reports.note import table
from kd.search.attributes import FINAL, study_attribute
from kd.search.best import best_config, best_trial, command_settings
from kd.search.candidate import Candidate, Guide
from kd.search.candidate_costs import Costs
from kd.search.costs import COSTS, excess
from kd.search.outcome import differences
from kd.search.session import Session
from kd.search.size import fitting_config
from kd.search.space import PAPER, Axis
from kd.search.storage import without_password
from kd.tracking import store as tracking
from kd.tracking.earlier import FINGERPRINT
from kd.tracking.params import canonical
from kd.tracking.resume import earlier_run
from kd.tracking.run_names import details
from kd.tracking.run_settings import RunSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger("kd")

WINNER = "winner"
VAL, TEST = "val/chosen_accuracy", "test/accuracy"
"""Metrics of a run of the comparison, also of each seed."""
PARAMS = (*PAPER, "width", "depth", "epochs", "lr", "seeds")


@dataclass(frozen=True)
class System:
    """What is trained with every seed."""

    config: TuneConfig
    role: Literal["distilled", "control"]


@dataclass(frozen=True)
class Result:
    """How a system scored with each seed, in the order of seeds."""

    link: str
    val: list[float]
    test: list[float]
    costs: Mapping[str, float]
    """Parameters, and those that the search asks about, by name."""


def systems(config: TuneConfig, best: TuneConfig) -> dict[str, System]:
    """Return the winner and what it is compared with, by name; each different one once."""
    seeds = {"seeds": config.final_seeds}
    winner = best.model_copy(update=seeds)
    others = {
        "configured": config.model_copy(update=seeds),
        "paper's values": config.model_copy(update={**seeds, **PAPER}),
    }
    found = {WINNER: System(winner, "distilled")}
    seen = [command_settings(winner, "")]  # without what does not matter to the objective
    for name, other in others.items():
        if command_settings(other, "") not in seen:
            seen.append(command_settings(other, ""))
            found[name] = System(other, "distilled")
    control = {"winner on hard targets": System(winner, "control")} if config.control else {}
    return {**found, **control}


def compare(session: Session, guide: Guide, parent: tracking.Run) -> str:
    """Train and score all systems in child runs, and return the comparison in Markdown; it is kept with the study."""
    config, study = session.config, session.study
    trial, best = best_trial(study), best_config(config, study)
    if trial is None or best is None or not config.final_seeds:
        return ""
    kept = study_attribute(study, FINAL) or {}
    key = {"trial": trial.number, "seeds": config.final_seeds, "control": config.control}
    compared = systems(fitting_config(config, session.space), best)
    of_candidates = Costs(guide, session.latencies)
    costs = {name: of_candidates.of(system.config) for name, system in compared.items()}
    compared = _allowed(compared, costs)
    if kept.get("of") == key:
        tracking.say_reuse(f"the winner, trial {trial.number}, was compared on test before: reused")
        if set(kept.get("test", {})) == set(compared):  # an earlier version kept none
            _show(parent, kept["test"], compared, costs, trial.number, session.space)
        return str(kept["note"])
    results = {name: _result(name, system, guide, costs[name], parent) for name, system in compared.items()}
    tests = {name: result.test for name, result in results.items()}
    _show(parent, tests, compared, costs, trial.number, session.space)
    text = _note(results, trial.number, best)
    study.set_user_attr(FINAL, {"of": key, "note": text, "test": tests})
    told = ", ".join(f"{name} {statistics.fmean(values):.2%}" for name, values in tests.items())
    log.info("test accuracy: %s", told)
    return text


def _show(  # noqa: PLR0913, PLR0917 - what was found, and of what
    parent: tracking.Run,
    tests: Mapping[str, Sequence[float]],
    compared: Mapping[str, System],
    costs: Mapping[str, Mapping[str, float]],
    number: int,
    space: Sequence[Axis],
) -> None:
    """Log how the systems scored on test with each seed: means, and a figure."""
    means = {name: statistics.fmean(tests[name]) for name in compared}
    by_name = {f"test/accuracy_{metric_name(name)}": mean for name, mean in means.items()}
    parent.log_metrics({"test/accuracy": means[WINNER], **by_name})
    parent.log_figure(_figure(tests, compared, costs, number, space), "1_final_comparison")


def _allowed(compared: Mapping[str, System], costs: Mapping[str, Mapping[str, float]]) -> dict[str, System]:
    """Return the systems without those that are larger or slower than is allowed, and tell of these."""
    told = {name: excess(system.config, costs[name]) for name, system in compared.items()}
    for name, much in told.items():
        if much:
            log.info("not compared: %s: %s", name, much)
    return {name: system for name, system in compared.items() if not told[name]}


def _figure(
    tests: Mapping[str, Sequence[float]],
    compared: Mapping[str, System],
    costs: Mapping[str, Mapping[str, float]],
    number: int,
    space: Sequence[Axis],
) -> "Figure":
    """Draw how the systems scored on test with each seed, under the settings that were searched."""
    from kd.reports.plots import comparison_over_seeds  # noqa: PLC0415 - Matplotlib is slow to import

    config = compared[WINNER].config
    what = {
        "specialist": "specialists among their own classes",
        "combined": "generalist and specialists on all classes",
        "student": "student",
    }[config.objective]
    return comparison_over_seeds(
        [_label(name, system, space) for name, system in compared.items()],
        [tests[name] for name in compared],
        [int(costs[name]["parameters"]) for name in compared],
        f"The winner, trial {number}, and what it is compared with: {what}, {config.data}",
    )


def _label(name: str, system: System, space: Sequence[Axis]) -> str:
    if system.role == "control":
        return name
    values = {axis.name: getattr(system.config, axis.name) for axis in space}
    return f"{name}: {details(values)}"


def _result(name: str, system: System, guide: Guide, costs: Mapping[str, float], parent: tracking.Run) -> Result:
    """Train and score a system in a run below the study's; where the study was resumed, one that is finished is reused."""
    workspace, told = guide.workspace, _fingerprint(system, guide)
    settings = RunSettings(workspace.output_dir, workspace.tags, workspace.resume, in_resumed=parent.is_resumed)
    with earlier_run(told, settings) as earlier:
        if earlier is None or not earlier.is_finished:
            return _trained(name, system, guide, told, costs, again=None if earlier is None else earlier.id)
        tracking.say_reuse(f"final {name}: finished in run {earlier.id}: reused")
        return _logged(earlier.id, system.config, costs)


def _fingerprint(system: System, guide: Guide) -> str:
    """Return 32 hex digits over all that decides how a system scores."""
    dataset, switches = guide.workspace.dataset, system.config.switches()
    settings = {name: value for name, value in command_settings(system.config, "").items() if name not in switches}
    return fingerprint(
        {
            "role": f"final {system.role}",
            "settings": settings,
            "seeds": [system.config.seed, system.config.seeds],
            "net": net(system.config, dataset).facts(dataset.num_classes, dataset.image_shape[0]),
            "data": data_digest(system.config, dataset),
            "teacher": guide.teacher.digest,
            "groups": {str(number): list(group) for number, group in guide.groups.items()},
        }
    )


def _trained(  # noqa: PLR0913 - as above
    name: str, system: System, guide: Guide, told: str, costs: Mapping[str, float], *, again: str | None
) -> Result:
    config, workspace = system.config, guide.workspace
    seeds = _seeds(config)
    tags = {**workspace.tags, "kd.role": "final", "kd.seed": ",".join(map(str, seeds)), FINGERPRINT: told}
    with tracking.run(f"final {name}", run_details(config), output_dir=workspace.output_dir, tags=tags, again=again) as run:
        if run.is_resumed:
            tracking.say_reuse(f"final {name}: run {run.id} stopped: trained from the beginning in the same run")
        run.log_params({field: canonical(getattr(config, field)) for field in PARAMS if field in config.recorded()})
        run.log_settings(without_password(config).recorded())
        candidate = Candidate(config, guide, system.role)
        history = []
        with Progress(f"final {name}", config.epochs) as progress:
            for epoch in candidate.epochs():
                history.append(epoch)
                progress.update(
                    int(epoch["epoch"]),
                    loss=epoch["train/loss"],
                    val_accuracy=epoch["val/accuracy"],
                    images_per_second=epoch["train/images_per_second"],
                )
        val, test = candidate.val_accuracies(), candidate.test_accuracies()
        result = Result(run.link, val, test, costs)
        run.log_epochs(history)
        run.log_metrics(
            {
                VAL: statistics.fmean(result.val),
                TEST: statistics.fmean(result.test),
                **{COSTS[cost].metric: amount for cost, amount in result.costs.items()},
                **{f"{TEST}_seed_{seed}": value for seed, value in zip(seeds, result.test, strict=True)},
                **{f"{VAL}_seed_{seed}": value for seed, value in zip(seeds, result.val, strict=True)},
            }
        )
    return result


def _logged(run_id: str, config: TuneConfig, costs: Mapping[str, float]) -> Result:
    """Return a result as its run has it; its costs are known."""
    metrics, seeds = tracking.run_metrics(run_id), _seeds(config)
    val, test = ([metrics[f"{name}_seed_{seed}"] for seed in seeds] for name in (VAL, TEST))
    return Result(tracking.run_link(run_id), val, test, costs)


def _seeds(config: TuneConfig) -> range:
    return range(config.seed, config.seed + config.seeds)


def _note(results: Mapping[str, Result], number: int, best: TuneConfig) -> str:
    winner = results[WINNER]
    compared = differences({name: result.test for name, result in results.items()})
    rows = []
    for name, result in results.items():
        against = ["", "", ""]
        if name in compared:
            one = compared[name]
            against = [_without_n(format_interval(one.difference, "% points")), one.p_text, one.verdict]
        scores = [_without_n(format_interval(share_interval(values), signed=False)) for values in (result.val, result.test)]
        amounts = [COSTS[cost].text(amount) for cost, amount in result.costs.items()]
        rows.append([result.link, *amounts, *scores, *against])
    seeds = ", ".join(str(best.seed + seed) for seed in range(len(winner.test)))
    columns = [COSTS[cost].column for cost in winner.costs]
    head = ["system", *columns, "val accuracy", "test accuracy", "winner - system", "p", "verdict"]
    text = (
        f"The winner is trial {number}. Each system is trained with the seeds {seeds} and scored on test once. The 95 % "
        "intervals are Student's t over seeds, differences are paired by seed. p and verdicts count all "
        "comparisons of this table (Holm)."
    )
    return "\n\n".join(["## On test", text, table(head, rows)])


def _without_n(interval: str) -> str:
    """Return an interval's text without its n, which is the same in all rows."""
    return interval.rpartition(", n = ")[0]
