"""The net of specialists where none is named: their generalist's (paper, section 5.2)."""

import logging
from typing import TypeVar

from kd.config import NET_SETTINGS, SpecialistConfig, StudentConfig
from kd.data.dataset import Dataset
from kd.distillation.specialise import is_net_of_specialists, net_of_specialists
from kd.distillation.teacher import Teacher
from kd.from_config.asked import FOLDER
from kd.from_config.distillations import specialist_kind
from kd.from_config.nets import net
from kd.nets.names import SMALL
from kd.nets.registry import NetSpec
from kd.nets.resized import PX
from kd.tracking.workspace import Workspace

log = logging.getLogger("kd")

StudentT = TypeVar("StudentT", bound=StudentConfig)


def with_generalists_net(config: StudentT, workspace: Workspace, teacher: Teacher | None) -> StudentT:
    """Return a configuration with the net that specialists have where none is named: the generalist's.

    Where they can't start from its weights they have a small net of kd's own, which is said.

    Args:
        config: the command's.
        workspace: its data.
        teacher: the generalist; None: it is still to be trained.
    """
    if not (isinstance(config, SpecialistConfig) and config.has_generalists_net()):
        return config
    own = _own(config, workspace.dataset, teacher)
    if own is None:
        log.info("specialists can't have this generalist's net: theirs is a small resnet; --net names another")
        return config.model_copy(update={"net": "resnet", **SMALL})
    return config.model_copy(update={"net": own.name, **_settings_of(own, config, workspace.dataset)})


def _own(config: SpecialistConfig, dataset: Dataset, teacher: Teacher | None) -> NetSpec | None:
    """Return the generalist's net; None: specialists can't have it."""
    kind = specialist_kind(config)
    if teacher is not None and not config.decides_teacher():
        return net_of_specialists(teacher, kind)
    typed = net(config.teacher_config(), dataset)
    return typed if is_net_of_specialists(typed, dataset, kind) else None


def _settings_of(own: NetSpec, config: SpecialistConfig, dataset: Dataset) -> dict[str, object]:
    """Return the settings of the generalist's net, but for those that are given for specialists."""
    settings = {name: value for name, value in own.settings.items() if name in NET_SETTINGS and not getattr(config, name)}
    as_decoded = config.data == FOLDER and not config.px and dataset.image_shape[1] != config.image_px
    return {**({PX: dataset.image_shape[1]} if as_decoded else {}), **settings}
