"""Each net that a command trains, tried before any run is opened."""

import logging

from kd.config import TEACHER_PREFIX, NetAndRecipe, StudentConfig, TeacherConfig, TuneConfig
from kd.distillation.defaults import is_named_teacher
from kd.distillation.net_check import check_net
from kd.flags import flags
from kd.from_config.distillations import check_soft_targets
from kd.from_config.nets import net
from kd.from_config.teachers import of_teacher, teacher_to_train
from kd.machine.activity import doing
from kd.machine.text import printable
from kd.tracking.workspace import Workspace

log = logging.getLogger("kd")


def check_nets(config: TeacherConfig | StudentConfig, workspace: Workspace) -> None:
    """Try each net that a command will train, before any run is opened; kd's own with random weights need no trial.

    Raises:
        UserError: there is no such net, or it can't be trained on the data, or exported.
    """
    if isinstance(config, StudentConfig):
        check_soft_targets(config, workspace.dataset)
        if not isinstance(config, TuneConfig):  # a search may choose the loss
            _warn_of_unused_weights(config)
    if isinstance(config, StudentConfig) and config.has_generalists_net():
        config.check_net()
    else:
        _try_net(config, workspace, "teacher" if isinstance(config, TeacherConfig) else "student")
    if isinstance(config, TeacherConfig):
        return
    if is_named_teacher(config.teacher):
        _warn_of_unused(config)
        return
    own = teacher_to_train(config)
    if own.net_settings() == config.net_settings() and own.export == config.export:
        return  # it is the same net
    with of_teacher():
        _try_net(own, workspace, "teacher")


def _warn_of_unused_weights(config: StudentConfig) -> None:
    """Warn of weights of a loss that is not the chosen one."""
    fields = type(config).model_fields
    unused = [name for name in sorted(config.of_other_losses()) if getattr(config, name) != fields[name].default]
    if unused:
        log.warning("not used, since --loss is %s: %s", printable(config.loss), ", ".join(flags(name)[-1] for name in unused))


def _warn_of_unused(config: StudentConfig) -> None:
    """Warn of settings of a teacher that is not trained, since one was named."""
    fields = type(config).model_fields
    own = [f"{TEACHER_PREFIX}{name}" for name in NetAndRecipe.model_fields]
    unused = [name for name in own if getattr(config, name) != fields[name].default and name not in config.of_named_teacher()]
    if unused:
        log.warning("not used, since --teacher names a teacher: %s", ", ".join(flags(name)[-1] for name in unused))


def _try_net(config: TeacherConfig | StudentConfig, workspace: Workspace, label: str) -> None:
    spec = net(config, workspace.dataset)
    if spec.is_own:
        with doing(f"trying {spec.name}"):
            check_net(spec, workspace.dataset, workspace.dataset.num_classes, workspace.device, label, exported=config.export)
