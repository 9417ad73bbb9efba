"""The best trial of a study, its configuration, and ``best.yaml``, from which a command trains it again."""

import math
from pathlib import Path

import optuna
import yaml
from optuna.trial import FrozenTrial, TrialState

from kd.config import SpecialistConfig, StudentConfig, TuneConfig
from kd.errors import UserError
from kd.machine.files import write_whole
from kd.machine.names import file_name
from kd.machine.paths import exists, open_file
from kd.machine.secrets import masked
from kd.machine.text import printable
from kd.search.attributes import PARAMETERS
from kd.search.space import Value, parse_space
from kd.search.state import all_trials

BEST_FILE = "best.yaml"
ACCURACY_DECIMALS = 9
_HEAD = "# study "
"""The beginning of its first line, by which a file of another study is known."""


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    """Return the complete trial of the highest accuracy, of equals the one of :func:`ranked_trials`; None: there is none."""
    complete = ranked_trials(study)
    return complete[0] if complete else None


def ranked_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the complete trials, the best one first; of equals the one of less cost, then the smaller, then the older one."""
    complete = [trial for trial in all_trials(study) if trial.state == TrialState.COMPLETE]
    return sorted(complete, key=lambda trial: (-accuracy(trial), amount(trial), parameters(trial), trial.number))


def accuracy(trial: FrozenTrial) -> float:
    """Return the accuracy of a complete trial on val, without the rounding of a mean: equal counts are equal."""
    value: float = trial.values[0]
    return round(value, ACCURACY_DECIMALS)


def parameters(trial: FrozenTrial) -> float:
    """Return how many parameters a trial's nets have; infinity where that is not known."""
    size: float = trial.user_attrs.get(PARAMETERS, math.inf)
    return size


def amount(trial: FrozenTrial) -> float:
    """Return what a complete trial has of the cost that its study minimises beside; where it minimises none, its parameters."""
    values: list[float] = trial.values
    return values[1] if len(values) > 1 else parameters(trial)


def best_config(config: TuneConfig, study: optuna.Study) -> TuneConfig | None:
    """Return the configuration of the best trial.

    Raises:
        UserError: it has a value that is not searched.
    """
    best = best_trial(study)
    return None if best is None else config.model_copy(update=_checked_params(config, study, best))


def _checked_params(config: TuneConfig, study: optuna.Study, trial: FrozenTrial) -> dict[str, Value]:
    """Return the values of a trial, each of an axis that is searched and within its bounds.

    Raises:
        UserError: one is not: somebody else wrote it, and a command would take it for its own setting.
    """
    axes = {axis.name: axis for axis in parse_space(config)}
    for name, value in trial.params.items():
        if name not in axes or not axes[name].holds(value):
            raise UserError(
                f"{study.study_name}: trial {trial.number} has {name} {value!r}, which is not searched; give another name",
                field="study_name",
            )
    return trial.params


def command_settings(config: TuneConfig, groups: str) -> dict[str, object]:
    """Return a configuration as ``--config`` of the command that trains it takes it; groups are those of the study."""
    fixed = {} if config.objective == "student" else {"groups": groups}
    return {**config.restricted_to(trained_by(config)), **fixed}


def trained_by(config: TuneConfig) -> type[StudentConfig]:
    """Return the kind of configuration of the command that trains what the study searched."""
    return StudentConfig if config.objective == "student" else SpecialistConfig


def command_name(config: TuneConfig) -> str:
    """Return the command that trains what the study searched."""
    return "student" if config.objective == "student" else "specialist"


def write_best(config: TuneConfig, study: optuna.Study, groups: str, output_dir: Path) -> Path | None:
    """Write the configuration of the best trial to ``best.yaml``, and return its path.

    A file of another study that lies there is kept as ``best-STUDY.yaml``.
    """
    best = best_config(config, study)
    if best is None:
        return None
    path = output_dir / BEST_FILE
    name = printable(study.study_name)  # a line of its own would be read as a setting
    present = _study_of(path)
    if present not in {None, name}:
        path.replace(_set_aside(path, str(present)))
    _set_aside(path, name).unlink(missing_ok=True)
    head = f"{_HEAD}{name}: kd {command_name(config)} --config {BEST_FILE}\n"
    settings = {
        key: masked(value) if isinstance(value, str) else value for key, value in command_settings(best, groups).items()
    }
    write_whole(path, (head + yaml.safe_dump(settings, sort_keys=False)).encode())
    return path


def check_place(output_dir: Path) -> None:
    """Refuse an output folder in which something else than a file has the name of ``best.yaml``.

    Raises:
        UserError: it has.
    """
    path = output_dir / BEST_FILE
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: not a file, so none can be written there; name another folder", field="output_dir")


def _study_of(path: Path) -> str | None:
    """Return the study that wrote a file; None: there is no file, or another hand wrote it."""
    if not exists(path):
        return None
    with open_file(path) as file:
        line = file.readline().decode(errors="replace").rstrip("\n")
    return line.removeprefix(_HEAD).rpartition(": kd ")[0] if line.startswith(_HEAD) else None


def _set_aside(path: Path, study_name: str) -> Path:
    return path.with_name(f"{path.stem}-{file_name(study_name)}{path.suffix}")
