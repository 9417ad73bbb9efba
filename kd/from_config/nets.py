"""A configuration's own net, and how it is trained."""

import logging
from collections.abc import Mapping

from kd.config import SIZES, StudentConfig, TeacherConfig
from kd.data.dataset import Dataset
from kd.from_config.asked import FOLDER
from kd.nets.names import arguments, is_named_elsewhere
from kd.nets.registry import NetSpec, net_spec
from kd.nets.resized import PX
from kd.nets.small_stem import SMALL_STEM
from kd.nets.weights import WEIGHTS
from kd.training.recipe import Recipe

log = logging.getLogger("kd")


def recipe(config: TeacherConfig | StudentConfig, dataset: Dataset) -> Recipe:
    """Return the recipe of a configuration's own net; its heights and shifts are those of images of ``--image-px``."""
    scale = dataset.image_shape[1] / config.image_px if config.data == FOLDER else 1.0
    return Recipe(
        epochs=config.epochs,
        batch_size=config.batch_size,
        lr=config.lr,
        weight_decay=config.weight_decay,
        seed=config.seed,
        views=config.views if isinstance(config, StudentConfig) else 0,
        optimizer=config.optimizer,
        label_smoothing=config.label_smoothing,
        start_px=round(scale * config.start_px),
        shift_px=round(scale * config.shift_px),
        use=config.use,
        select_by=config.select_by,
        compile=config.compile,
    )


def net(config: TeacherConfig | StudentConfig, dataset: Dataset) -> NetSpec:
    """Return a configuration's own net, which sees the images of a data set at its own height.

    Raises:
        UserError: there is no such net, or no such weights.
    """
    return net_with(config, {WEIGHTS: config.weights, PX: _own_px(config, dataset)})


def net_with(config: TeacherConfig | StudentConfig, changes: Mapping[str, object]) -> NetSpec:
    """Return a configuration's own net with some changes, which every net can be asked for."""
    config.check_net()
    own = arguments(config.net_args) if is_named_elsewhere(config.net) else {name: getattr(config, name) for name in SIZES}
    return net_spec(config.net, {**own, SMALL_STEM: config.small_stem, **changes})


def _own_px(config: TeacherConfig | StudentConfig, dataset: Dataset) -> int:
    """Return the height at which a net sees images; 0: as they are, which may have been decoded larger for another net."""
    if config.data != FOLDER:
        return config.px
    seen = config.px or config.image_px
    return 0 if seen == dataset.image_shape[1] else seen
