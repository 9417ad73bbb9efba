"""The end of a study: the winner and what it is compared with, each trained with several seeds and scored on test once."""

import logging
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kd.config import TuneConfig
from kd.evaluation.intervals import format_interval, paired_difference, t_interval, verdict
from kd.from_config import run_details
from kd.machine.names import metric_name
from kd.machine.progress import Progress
from kd.reports.note import table
from kd.search.attributes import FINAL, study_attribute
from kd.search.best import best_config, best_trial, command_settings
from kd.search.candidate import Candidate, Guide
from kd.search.session import Session
from kd.search.size import candidate_parameters, fitting_config, is_too_large
from kd.search.space import PAPER, Axis
from kd.search.storage import without_password
from kd.tracking import store as tracking
from kd.tracking.params import canonical
from kd.tracking.run_names import details

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger("kd")

WINNER = "winner"
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
    parameters: int


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
    if kept.get("of") == key:
        log.info("the winner, trial %d, was compared on test before", trial.number)
        return str(kept["note"])
    compared = _small_enough(systems(fitting_config(config, session.space), best), guide)
    results = {name: _result(name, system, guide) for name, system in compared.items()}
    means = {name: statistics.fmean(result.test) for name, result in results.items()}
    by_name = {f"test/accuracy_{metric_name(name)}": mean for name, mean in means.items()}
    parent.log_metrics({"test/accuracy": means[WINNER], **by_name})
    text = _note(results, trial.number, best)
    parent.log_figure(_figure(results, compared, trial.number, session.space), "1_final_comparison")
    tests = {name: result.test for name, result in results.items()}
    study.set_user_attr(FINAL, {"of": key, "note": text, "test": tests})
    log.info("test accuracy: %s", ", ".join(f"{name} {mean:.2%}" for name, mean in means.items()))
    return text


def _small_enough(compared: Mapping[str, System], guide: Guide) -> dict[str, System]:
    """Return the systems without those that have more parameters than ``--max-parameters`` allows, and tell of these."""
    sizes = [len(group) for group in guide.groups.values()]
    small = {}
    for name, system in compared.items():
        parameters = candidate_parameters(system.config, sizes, guide.workspace.dataset)
        if is_too_large(system.config, parameters):
            log.info("not compared: %s has %s parameters", name, f"{parameters:,}")
        else:
            small[name] = system
    return small


def _figure(results: Mapping[str, Result], compared: Mapping[str, System], number: int, space: Sequence[Axis]) -> "Figure":
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
        [results[name].test for name in compared],
        [results[name].parameters for name in compared],
        f"The winner, trial {number}, and what it is compared with: {what}, {config.data}",
    )


def _label(name: str, system: System, space: Sequence[Axis]) -> str:
    if system.role == "control":
        return name
    values = {axis.name: getattr(system.config, axis.name) for axis in space}
    return f"{name}: {details(values)}"


def _result(name: str, system: System, guide: Guide) -> Result:
    config, workspace = system.config, guide.workspace
    tags = {**workspace.tags, "kd.role": "final", "kd.seed": ",".join(map(str, range(config.seed, config.seed + config.seeds)))}
    with tracking.run(f"final {name}", run_details(config), output_dir=workspace.output_dir, tags=tags) as run:
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
        result = Result(run.link, candidate.val_accuracies(), candidate.test_accuracies(), candidate.parameters)
        run.log_epochs(history)
        run.log_metrics(
            {
                "val/chosen_accuracy": statistics.fmean(result.val),
                "test/accuracy": statistics.fmean(result.test),
                "cost/parameters": result.parameters,
                **{f"test/accuracy_seed_{config.seed + number}": value for number, value in enumerate(result.test)},
            }
        )
    return result


def _note(results: Mapping[str, Result], number: int, best: TuneConfig) -> str:
    winner = results[WINNER]
    rows = []
    for name, result in results.items():
        difference = paired_difference(winner.test, result.test)
        against = ["", ""] if name == WINNER else [_without_n(format_interval(difference, "% points")), verdict(difference)]
        scores = [_without_n(format_interval(t_interval(values), signed=False)) for values in (result.val, result.test)]
        rows.append([result.link, f"{result.parameters:,}", *scores, *against])
    seeds = ", ".join(str(best.seed + seed) for seed in range(len(winner.test)))
    head = ["system", "parameters", "val accuracy", "test accuracy", "winner - system", "verdict"]
    text = (
        f"The winner is trial {number}. Each system is trained with the seeds {seeds} and scored on test once. The 95 % "
        "intervals are Student's t over seeds, differences are paired by seed."
    )
    return "\n\n".join(["## On test", text, table(head, rows)])


def _without_n(interval: str) -> str:
    """Return an interval's text without its n, which is the same in all rows."""
    return interval.rpartition(", n = ")[0]
