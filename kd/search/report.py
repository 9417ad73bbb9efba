"""A study in words: the note of its run, a line per trial, the best one so far."""

import shlex
from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from kd.config import PARAMETERS, TuneConfig
from kd.evaluation.intervals import format_interval
from kd.reports.note import history_text, table
from kd.search.attributes import RUN
from kd.search.best import BEST_FILE, best_config, best_trial, command_name, command_settings, ranked_trials, trained_by
from kd.search.certainty import Certainty, ValImages, certainty, certainty_text
from kd.search.costs import COSTS, bounds_text, excess, names_of
from kd.search.latency import read_latencies
from kd.search.outcome import difference_text, differences, tests_of
from kd.search.space import Axis
from kd.search.state import STATES, all_trials, without_surplus
from kd.search.storage import without_password
from kd.specialists.groups import count_groups
from kd.tracking import store as tracking
from kd.tracking.params import canonical

MAX_ROWS = 10
MAX_LINE = 90
"""Characters of a line of a command."""


def count_states(study: optuna.Study) -> dict[str, int]:
    """Return how many trials ended in each state, by the state's name; surplus ones are left out."""
    trials = without_surplus(all_trials(study))
    return {name: sum(trial.state == state for trial in trials) for state, name in STATES.items()}


def note(  # noqa: PLR0913 - the study, its settings, and what is shown with it
    config: TuneConfig,
    study: optuna.Study,
    *,
    groups: str,
    space: Sequence[Axis],
    images: ValImages,
    comparison: str,
    views: str,
    history: Sequence[str] = (),
) -> str:
    """Return the note of the study's run in Markdown; of its first lines, the UI shows three until it is unfolded.

    Args:
        config: the command's.
        study: as it stands.
        groups: as ``--groups`` of the command that trains the winner.
        space: what is searched.
        images: over which val images each accuracy is.
        comparison: of the winner with others on test, in Markdown; empty before that is done.
        views: links to the lists in which the UI shows the trials side by side.
        history: what was resumed, and what was reused from other runs, a line each.
    """
    states, command = _states_text(config, study), f"kd {command_name(config)}"
    best, sure = best_config(config, study), certainty(study, images)
    latencies = read_latencies(study)
    parts = [
        f"**{_result(config, study, sure)}**",
        f"The model: a search keeps none; `{command} --config {BEST_FILE}` trains it; the file is in `settings/`.",
        f"Side by side: {views}.",
        f"Search on {config.data}: {_objective_text(config)}.",
        f"Study `{study.study_name}` in `{without_password(config).storage}`: {states}; {config.trials} asked for.",
        "Trials are compared on val; test is seen by the comparison at the end alone.",
        f"Searched: {', '.join(f'`{axis.text()}`' for axis in space)}.",
        *([] if latencies is None else [latencies.text()]),
        *history_text(history),
    ]
    if best is not None and sure is not None:
        parts += [
            "## Best trials",
            f"**{certainty_text(sure)}.**",
            "The best of many trials is also the luckiest: its accuracy on val is too high by some of that; test is not.",
            _best_table(config, study, space),
            "## The winner in one command",
            f"With the artifact `settings/{BEST_FILE}`, as above, or",
            f"```\n{_wrapped([command, *_flags(best, groups)])}\n```",
        ]
    return "\n\n".join([*parts, *([comparison] if comparison else [])])


def _result(config: TuneConfig, study: optuna.Study, sure: Certainty | None) -> str:
    """Return in a line what was found so far."""
    if sure is None:
        return "No trial is complete."
    found = differences(tests_of(config, study, sure.best.number))
    if not found:
        accuracy = format_interval(sure.interval, signed=False)
        return f"trial {sure.best.number}: val accuracy {accuracy}; it is the best so far, and was not compared on test"
    told = "; ".join(difference_text(name, difference) for name, difference in found.items())
    return f"winner, trial {sure.best.number}: {told}"


def _states_text(config: TuneConfig, study: optuna.Study) -> str:
    states = ", ".join(f"{count} {name}" for name, count in count_states(study).items())
    costly = count_too_costly(config, study)
    return f"{states} ({costly} pruned untrained: {bounds_text(config)})" if costly else states


def count_too_costly(config: TuneConfig, study: optuna.Study) -> int:
    """Return how many trials were pruned before training, since they were larger or slower than is allowed."""
    return sum(bool(_excess(config, trial)) for trial in without_surplus(all_trials(study)))


def _excess(config: TuneConfig, trial: FrozenTrial) -> str:
    """Return what was too much of a trial; empty: it was trained."""
    if trial.state != TrialState.PRUNED:
        return ""
    kept = trial.user_attrs
    return excess(config, {name: kept[cost.attribute] for name, cost in COSTS.items() if cost.attribute in kept})


def _flags(best: TuneConfig, groups: str) -> list[str]:
    """Return the flags that train the winner: those whose value is not the default of the command that trains it."""
    default = trained_by(best).parse({}).texts()
    return [
        f"--{name.replace('_', '-')} {shlex.quote(canonical(value))}"
        for name, value in command_settings(best, groups).items()
        if canonical(value) != default[name]
    ]


def _wrapped(parts: Sequence[str]) -> str:
    """Return the parts of a command in lines that the UI shows whole: a wide one would push half of the page out of sight."""
    lines = [""]
    for part in parts:
        if len(lines[-1]) + len(part) > MAX_LINE:
            lines.append("")
        lines[-1] += f"{'  ' if len(lines) > 1 and not lines[-1] else ''}{part} "
    return "\\\n".join(lines).rstrip()


def _best_table(config: TuneConfig, study: optuna.Study, space: Sequence[Axis]) -> str:
    costs = [COSTS[name] for name in names_of(config)]
    head = ["trial", "val accuracy", *(cost.column for cost in costs), *(axis.name for axis in space)]
    rows = []
    for trial in ranked_trials(study)[:MAX_ROWS]:
        name = f"trial {trial.number}"
        link = tracking.run_link(trial.user_attrs[RUN], name) if RUN in trial.user_attrs else name
        values = [
            f"{value:.4g}" if isinstance(value := trial.params.get(axis.name, ""), float) else str(value) for axis in space
        ]
        kept = trial.user_attrs
        shown = [cost.text(kept[cost.attribute]) if cost.attribute in kept else "" for cost in costs]
        rows.append([link, f"{trial.values[0]:.2%}", *shown, *values, f"{_seconds(trial):.1f}"])
    return table([*head, "seconds"], rows)


def _seconds(trial: FrozenTrial) -> float:
    return trial.duration.total_seconds() if trial.duration else 0.0


def _objective_text(config: TuneConfig) -> str:
    what = {
        "specialist": "val accuracy of the specialists among their own classes",
        "combined": "val accuracy of generalist and specialists on all classes (Eq. 5)",
        "student": "val accuracy of a student",
    }[config.objective]
    second = config.second_objective()
    return f"{what}, against {COSTS[second].axis}" if second else what


def plan_line(config: TuneConfig, classes: Sequence[str]) -> str:
    """Return what a search will train, in one line.

    Args:
        config: the command's.
        classes: those of the data.
    """
    of_students = config.objective == "student"
    groups = 1 if of_students else count_groups(config.groups, config.group, config.data, classes)
    nets = groups * config.seeds
    kind = "student" if of_students else "specialist"
    workers = f" in {config.workers} processes" if config.workers > 1 else ""
    trials = f"{config.trials} trials{workers}, each of {nets} {kind}{'s' * (nets > 1)}"
    final = f"; then the winner and what it is compared with, {config.final_seeds} seeds each" if config.final_seeds else ""
    return f"a teacher where none is found, then {trials}{final}"


def trial_line(config: TuneConfig, study: optuna.Study, trial: FrozenTrial) -> str:
    """Return a line about a trial that ended."""
    values = {name: f"{value:.3g}" if isinstance(value, float) else str(value) for name, value in trial.params.items()}
    params = ", ".join(f"{name} {value}" for name, value in values.items())
    value = f" {trial.values[0]:.2%}{_cost_text(config, trial)}" if trial.state == TrialState.COMPLETE else ""
    if told := _excess(config, trial):
        value = f", {told}"
    return f"trial {trial.number}: {STATES[trial.state]}{value} ({params}), {_seconds(trial):.1f} s; {best_text(study)}"


def _cost_text(config: TuneConfig, trial: FrozenTrial) -> str:
    """Return what a complete trial costs of that which is minimised: `` at 0.41 ms``; empty: nothing is."""
    second = config.second_objective()
    if not second:
        return ""
    unit = " parameters" if second == PARAMETERS else ""
    return f" at {COSTS[second].text(trial.values[1])}{unit}"


def best_text(study: optuna.Study) -> str:
    """Return a few words about the best trial so far."""
    best = best_trial(study)
    return "no best yet" if best is None else f"best {best.values[0]:.2%} (trial {best.number})"
