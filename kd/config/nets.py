"""A net and how it is trained."""

import difflib
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from kd.config.base import Config
from kd.config.fields import BatchSize, Count, Depth, Rate, Width
from kd.errors import UserError
from kd.nets.names import ELSEWHERE, NET_NAMES, SMALL, arguments, is_named_elsewhere
from kd.training.recipe import OptimizerName, Recipe


def net_name(name: str) -> str:
    """Return a net's name if it is one.

    Raises:
        ValueError: there is no such net.
    """
    if name in NET_NAMES or is_named_elsewhere(name):
        return name
    alike = difflib.get_close_matches(name, NET_NAMES, n=1)
    advice = f"did you mean {alike[0]}?" if alike else f"choose one of {', '.join([*NET_NAMES, *ELSEWHERE])}"
    raise ValueError(f"no such net; {advice}")


def _net_args(text: str) -> str:
    try:
        arguments(text)
    except UserError as error:
        raise ValueError(str(error)) from None
    return text


NetName = Annotated[str, AfterValidator(net_name)]
NetArgs = Annotated[str, AfterValidator(_net_args)]
SIZES = ("depth", "width")
"""Settings that only kd's own nets have."""
NET_SETTINGS = ("net", "net_args", "small_stem", "px", *SIZES)
"""Settings that say which net it is, beside its first weights."""


class NetAndRecipe(Config):
    """A net and how it is trained; the defaults are those of a student or specialist, a small net."""

    net: NetName = Field(
        "resnet",
        description=f"resnet (He et al.), pooled (each stage begins with pooling; faster), {', '.join(ELSEWHERE)}",
    )
    net_args: NetArgs = Field("", description="arguments of a net that is not kd's own: NAME=VALUE,NAME=VALUE")
    weights: str = Field(
        "", description="file of first weights (a state dict), or default: torchvision's or timm's own; empty: random"
    )
    small_stem: bool = Field(
        default=False, description="make the first layers of a net for large images fit for images of less than 64 px"
    )
    depth: Depth = SMALL["depth"]
    width: Width = SMALL["width"]
    px: int = Field(
        0,
        ge=0,
        le=512,
        description="height at which the net sees images, in pixels; 0: as they are, and those of --data folder at --image-px",
    )
    epochs: Count = Field(Recipe.epochs, description="passes over the training images")
    batch_size: BatchSize = Field(Recipe.batch_size, description="images per step")
    lr: Rate = Field(Recipe.lr, description="peak learning rate")
    weight_decay: float = Field(
        Recipe.weight_decay, ge=0, le=1e6, description="L2 penalty on the weights (not on norms and biases)"
    )
    label_smoothing: float = Field(
        Recipe.label_smoothing, ge=0, lt=1, description="share of each hard target that is spread over all classes"
    )
    optimizer: OptimizerName = Field(
        Recipe.optimizer, description="sgd, or muon (orthogonalised steps for the filters; needs fewer epochs)"
    )
    start_px: int = Field(
        Recipe.start_px,
        ge=0,
        le=512,
        description="height of the first images, which grow to the full height (trains faster); 0: always the full height",
    )
    shift_px: int = Field(
        Recipe.shift_px, ge=0, le=511, description="largest shift of the augmented images; 0: an eighth of their height"
    )

    def recorded(self) -> dict[str, Any]:
        """Return the fields as a run records them: a net that is not kd's own has no depth and width."""
        without = SIZES if is_named_elsewhere(self.net) else ()
        return {name: value for name, value in super().recorded().items() if name not in without}

    def net_settings(self) -> dict[str, Any]:
        """Return the fields that say which net it is."""
        without = SIZES if is_named_elsewhere(self.net) else ()
        return {name: getattr(self, name) for name in ("weights", *NET_SETTINGS) if name not in without}

    def check_net(self) -> None:
        """Refuse settings that the net does not have.

        Raises:
            UserError: a depth or width for a net that is not kd's own, or arguments for one that is.
        """
        elsewhere = is_named_elsewhere(self.net)
        if self.net_args and not elsewhere:
            raise UserError(f"{self.net_args}: {self.net} takes no arguments, but a depth and a width", field="net_args")
        for name in SIZES if elsewhere else ():
            value = getattr(self, name)
            if value != type(self).model_fields[name].default:
                raise UserError(f"{value}: {self.net} has no {name}; give it --net-args that it takes", field=name)
