"""What the study's run shows while it goes on: the best trials in its note, its figures, and the best configuration."""

import shlex
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import optuna
import yaml
from optuna.trial import FrozenTrial, TrialState

from kd.config import SpecialistConfig, StudentConfig, TuneConfig
from kd.machine.files import write_whole
from kd.reports.note import table
from kd.search.space import Axis
from kd.search.storage import without_password
from kd.search.trials import END, RUN, SURPLUS, all_trials
from kd.specialists.clustering import Group
from kd.specialists.groups import parse_groups
from kd.tracking import store as tracking
from kd.tracking.params import canonical

BEST_FILE = "best.yaml"
ROWS = 10
INCHES_A_PANEL = 3.5
LEAST_COMPLETE = 2
"""Complete trials without which there is nothing to draw."""
STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    """Return the complete trial of the highest accuracy, the oldest one of equals; None: there is none."""
    complete = _ranked(study)
    return complete[0] if complete else None


def _ranked(study: optuna.Study) -> list[FrozenTrial]:
    complete = [trial for trial in all_trials(study) if trial.state == TrialState.COMPLETE]
    return sorted(complete, key=lambda trial: (-trial.values[0], *trial.values[1:], trial.number))


def best_config(config: TuneConfig, study: optuna.Study) -> TuneConfig | None:
    """Return the configuration of the best trial."""
    best = best_trial(study)
    return None if best is None else config.model_copy(update=best.params)


def command_settings(config: TuneConfig, groups: str) -> dict[str, object]:
    """Return a configuration as ``--config`` of the command that trains it takes it; groups are those of the study."""
    kind = StudentConfig if config.objective == "student" else SpecialistConfig
    fixed = {} if config.objective == "student" else {"groups": groups}
    return {**config.restricted_to(kind), **fixed}


def command_name(config: TuneConfig) -> str:
    """Return the command that trains what the study searched."""
    return "student" if config.objective == "student" else "specialist"


def groups_text(groups: Sequence[Group], classes: Sequence[str]) -> str:
    """Tell groups in the form of ``--groups``: by number, or by name where the numbers would be read as names."""
    numbers = ";".join(",".join(map(str, group)) for group in groups)
    names = ";".join(",".join(classes[number] for number in group) for group in groups)
    return numbers if not groups or parse_groups(numbers, classes) == tuple(groups) else names


def write_best(config: TuneConfig, study: optuna.Study, groups: str, output_dir: Path) -> Path | None:
    """Write the configuration of the best trial to ``best.yaml``, and return its path.

    That of another study, which was there, goes on as ``best-STUDY.yaml``.
    """
    best = best_config(config, study)
    if best is None:
        return None
    path = output_dir / BEST_FILE
    present = _study_of(path)
    if present not in {None, study.study_name}:
        path.replace(_set_aside(path, str(present)))
    _set_aside(path, study.study_name).unlink(missing_ok=True)
    head = f"{_HEAD}{study.study_name}: kd {command_name(config)} --config {BEST_FILE}\n"
    write_whole(path, (head + yaml.safe_dump(command_settings(best, groups), sort_keys=False)).encode())
    return path


_HEAD = "# study "


def _study_of(path: Path) -> str | None:
    """Return the study that wrote a file; None: there is no file, or another hand wrote it."""
    line = path.read_text(encoding="utf-8").partition("\n")[0] if path.exists() else ""
    return line.removeprefix(_HEAD).rpartition(": kd ")[0] if line.startswith(_HEAD) else None


def _set_aside(path: Path, study_name: str) -> Path:
    return path.with_name(f"{path.stem}-{study_name.replace(' ', '-').replace('/', '-')}{path.suffix}")


def note(config: TuneConfig, study: optuna.Study, groups: str, space: Sequence[Axis], final: str) -> str:
    """Return the study's note in Markdown."""
    trials = all_trials(study)
    begun = [trial for trial in trials if trial.user_attrs.get(END) != SURPLUS]
    told = ", ".join(f"{sum(trial.state == state for trial in begun)} {name}" for state, name in STATES.items())
    parts = [
        f"# Search on {config.data}: {_objective_text(config)}",
        f"Study `{study.study_name}` in `{without_password(config).storage}`: {told}; {config.trials} asked for.",
        "Trials are compared on val; test is seen by the comparison at the end alone.",
        f"Searched: {', '.join(f'`{axis.text()}`' for axis in space)}.",
    ]
    best = best_config(config, study)
    if best is not None:
        settings = command_settings(best, groups)
        default = type(config).parse({}).texts()
        flags = " ".join(
            f"--{name.replace('_', '-')} {shlex.quote(canonical(value))}"
            for name, value in settings.items()
            if canonical(value) != default[name]
        )
        parts += [
            "## Best trials",
            _best_table(study, space),
            "## The winner in one command",
            f"`kd {command_name(config)} --config {BEST_FILE}` with the artifact of that name, or",
            f"```\nkd {command_name(config)} {flags}\n```",
        ]
    return "\n\n".join([*parts, *([final] if final else [])])


def _best_table(study: optuna.Study, space: Sequence[Axis]) -> str:
    head = ["trial", "val accuracy", *(["parameters"] if len(study.directions) > 1 else []), *(axis.name for axis in space)]
    rows = []
    for trial in _ranked(study)[:ROWS]:
        link = tracking.run_link(trial.user_attrs[RUN]) if RUN in trial.user_attrs else str(trial.number)
        sizes = [f"{value:,.0f}" for value in trial.values[1:]]
        values = [f"{value:.4g}" if isinstance(value := trial.params[axis.name], float) else str(value) for axis in space]
        rows.append([link, f"{trial.values[0]:.2%}", *sizes, *values, f"{_seconds(trial):.1f}"])
    return table([*head, "seconds"], rows)


def _seconds(trial: FrozenTrial) -> float:
    return trial.duration.total_seconds() if trial.duration else 0.0


def _objective_text(config: TuneConfig) -> str:
    what = {
        "specialist": "val accuracy of the specialists among their own classes",
        "combined": "val accuracy of generalist and specialists on all classes (Eq. 5)",
        "student": "val accuracy of a student",
    }[config.objective]
    return f"{what}, against parameters" if config.pareto else what


def log_figures(run: tracking.Run, study: optuna.Study, space: Sequence[Axis]) -> None:
    """Draw the study as it stands, and keep the figures of its run."""
    import matplotlib.pyplot as plt  # noqa: PLC0415 - a slow import, of no use to a command that joins a study

    complete = _ranked(study)
    if len(complete) < LEAST_COMPLETE:
        return
    backend = plt.get_backend()
    plt.switch_backend("Agg")
    try:
        for name, draw in _figures(study, space, complete).items():
            with plt.rc_context(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the module is experimental to Optuna, and tells of what it can't lay out
                draw()
                figure = plt.gcf()
                figure.set_size_inches(max(7.0, INCHES_A_PANEL * len(figure.axes)), 5.0)
                run.log_figure(figure, name)
                plt.close("all")
    finally:
        plt.switch_backend(backend)


def _accuracy(trial: FrozenTrial) -> float:
    accuracy: float = trial.values[0]
    return accuracy


def _figures(study: optuna.Study, space: Sequence[Axis], complete: Sequence[FrozenTrial]) -> dict[str, Callable[[], object]]:
    """Return what draws each figure, of those that the trials at hand can show."""
    import optuna.visualization.matplotlib as drawn  # noqa: PLC0415 - as above

    names = [axis.name for axis in space]
    of = "val accuracy"
    target = _accuracy if len(study.directions) > 1 else None  # a target of one's own costs the line of the best so far
    figures: dict[str, Callable[[], object]] = {
        "timeline": lambda: drawn.plot_timeline(study),
        "history": lambda: drawn.plot_optimization_history(study, target=target, target_name=of),
        "slices": lambda: drawn.plot_slice(study, params=names, target=target, target_name=of),
    }
    if {"temperature", "alpha"} <= set(names):
        both = ["temperature", "alpha"]
        figures["contour"] = lambda: drawn.plot_contour(study, params=both, target=target, target_name=of)
    if len({_accuracy(trial) for trial in complete}) > 1:
        figures["importance"] = lambda: drawn.plot_param_importances(study, target=target, target_name=of)
    if len(study.directions) > 1:
        figures["pareto_front"] = lambda: drawn.plot_pareto_front(study, target_names=["val accuracy", "parameters"])
    return figures


def trial_line(study: optuna.Study, trial: FrozenTrial) -> str:
    """Tell of a trial that ended in a line."""
    told = {name: f"{value:.3g}" if isinstance(value, float) else str(value) for name, value in trial.params.items()}
    params = ", ".join(f"{name} {value}" for name, value in told.items())
    value = f" {trial.values[0]:.2%}" if trial.state == TrialState.COMPLETE else ""
    return f"trial {trial.number}: {STATES[trial.state]}{value} ({params}), {_seconds(trial):.1f} s; {best_text(study)}"


def best_text(study: optuna.Study) -> str:
    """Tell of the best trial so far."""
    best = best_trial(study)
    return "no best yet" if best is None else f"best {best.values[0]:.2%} (trial {best.number})"
