"""By what a command is known again after a stop."""

import hashlib
import logging

import kd
from kd.config import DataConfig, StudentConfig, TeacherConfig
from kd.data.dataset import Dataset
from kd.distillation.defaults import is_named_teacher
from kd.from_config.asked import data_digest
from kd.from_config.distillations import loss
from kd.from_config.nets import net
from kd.nets.names import is_named_elsewhere
from kd.tracking.command_fingerprint import command_fingerprint, settings_fingerprint
from kd.tracking.workspace import Workspace

log = logging.getLogger("kd")


def fingerprint_of(config: DataConfig, workspace: Workspace, models: str = "") -> str:
    """Return the fingerprint by which a command is known again after a stop: a search may go on with more trials.

    Args:
        config: the command's.
        workspace: its data.
        models: digest of the models that the command names; empty: it names none. The same name may stand for another model
            later: a file is written anew, an alias of the registry is moved.
    """
    nets = [net(own, workspace.dataset).facts(*_logits_and_channels(workspace.dataset)) for own in _own_nets(config)]
    losses = [loss(config).facts()] if isinstance(config, StudentConfig) else []
    settings = _settings(config) | {"nets": repr(nets), "losses": repr(losses), "models": models}
    return command_fingerprint(workspace.command, settings, data_digest(config, workspace.dataset), kd.__version__)


def foreign_code(config: StudentConfig, dataset: Dataset) -> str:
    """Return a digest of the nets and of the loss of a command that are not kd's own; empty: all are kd's.

    Their names stay the same when their files are edited.
    """
    specs = [net(own, dataset) for own in _own_nets(config)]
    facts: list[object] = [spec.facts(*_logits_and_channels(dataset)) for spec in specs if spec.is_own]
    if is_named_elsewhere(config.loss):
        facts.append(loss(config).facts())
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:32] if facts else ""


def settings_fingerprint_of(config: DataConfig, workspace: Workspace) -> str:
    """Return the fingerprint of what was typed alone, by which it is seen that the images or a net's code have changed."""
    return settings_fingerprint(workspace.command, _settings(config))


def _settings(config: DataConfig) -> dict[str, str]:
    return {name: value for name, value in config.params().items() if name != "trials"}


def _own_nets(config: DataConfig) -> list[TeacherConfig | StudentConfig]:
    """Return the configurations of the nets that a command may train: their files and weights are not told by settings."""
    if isinstance(config, TeacherConfig):
        return [config]
    if not isinstance(config, StudentConfig):
        return []
    own: list[TeacherConfig | StudentConfig] = [] if config.has_generalists_net() else [config]
    return own if is_named_teacher(config.teacher) else [*own, config.teacher_config()]


def _logits_and_channels(dataset: Dataset) -> tuple[int, int]:
    return dataset.num_classes, dataset.image_shape[0]
