"""Specialists and their combination: ``kd specialist``, ``kd combine``, ``kd pipeline``."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from kd.config.base import Config
from kd.config.fields import Alpha, Count, Switch, Temperature
from kd.config.images import DataConfig
from kd.config.nets import NET_SETTINGS, SIZES, net_name
from kd.config.students import StudentConfig
from kd.distillation.defaults import CORRECTION, GROUP_BY, OWN_FRACTION, SPECIALIST_ALPHA, SPECIALIST_TEMPERATURE, TOP_N
from kd.errors import UserError
from kd.nets.names import ELSEWHERE, LARGEST, NET_NAMES, SMALL
from kd.specialists.kind import Correction, GroupBy


def _net_name_or_none(name: str) -> str:
    return net_name(name) if name else name


def _is_zero(value: object) -> bool:
    """Return whether a size is 0 in any form in which a flag or a file may have it."""
    try:
        return float(str(value)) == 0
    except ValueError:
        return False


class CombinationOptions(Config):
    """How specialists are combined with the generalist (Eq. 5)."""

    dustbin_correction: Correction = Field(
        CORRECTION,
        description="shift of the dustbin's logit: log of the oversampling (paper), none, or one number fitted on val",
    )
    top_n: Count = Field(TOP_N, description="classes of the generalist's ranking that call their specialists (Eq. 5)")
    register_as: Switch[str] = Field(
        "", description="name in the model registry for the combined model; empty: it is not registered"
    )


class SpecialistOptions(CombinationOptions, StudentConfig):
    """What every command that trains specialists has."""

    groups: str = Field(
        "auto",
        description='auto, auto:M, auto:MxK (found from the generalist), fixed, or given: "0,1;2,3" or "cat,dog;ship,truck"',
    )
    group_by: GroupBy = Field(
        GROUP_BY,
        description="what auto groups are found by on val: confusion (how much probability a class takes from the images of "
        "another), or covariance (of predictions, without labels: the paper)",
    )
    group: Annotated[int, Field(ge=0)] | Literal["all"] = Field("all", description="number of the one group to train, or all")
    dustbin: bool = Field(default=True, description="one more class for everything outside the group")
    specialist_kind: Literal["group", "full"] = Field(
        "group", description="group: the group's classes and the dustbin; full: all classes, soft targets for the others"
    )
    init: Literal["random", "generalist"] = Field(
        "generalist", description="weights to start from: the generalist's where the nets match (the paper), or random"
    )
    own_fraction: float = Field(
        OWN_FRACTION, gt=0, le=1, description="share of a dustbin specialist's epoch from its own classes"
    )


class SpecialistConfig(SpecialistOptions):
    """One specialist for each class group, guided by the generalist: ``kd specialist``.

    A specialist has the generalist's net and starts from its weights (paper, section 5.2), unless a net, or a size of one, is
    named: then it has that.
    """

    net: Annotated[str, AfterValidator(_net_name_or_none)] = Field(
        "",
        description=f"resnet, pooled, {', '.join(ELSEWHERE)}; empty: the generalist's own, or resnet where a depth or width "
        "is given",
    )
    depth: Annotated[int, Field(ge=0, le=LARGEST["depth"])] = Field(
        0, description=f"residual blocks per stage; 0: the generalist's, or {SMALL['depth']} of a net that is named"
    )
    width: Annotated[int, Field(ge=0, le=LARGEST["width"])] = Field(
        0, description=f"channels of the first stage; 0: the generalist's, or {SMALL['width']} of a net that is named"
    )
    temperature: Temperature = SPECIALIST_TEMPERATURE
    alpha: Alpha = SPECIALIST_ALPHA

    @model_validator(mode="before")
    @classmethod
    def _named_whole(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Give a size without a net its net, and a net of kd's own without a size its size."""
        sizes = {name: values[name] for name in SIZES if not _is_zero(values.get(name, 0))}
        net = values.get("net") or ("resnet" if sizes else "")
        return {**values, **SMALL, **sizes, "net": net} if net in NET_NAMES else values

    def has_generalists_net(self) -> bool:
        """Return whether no net was named: specialists have their generalist's."""
        return not self.net

    def recorded(self) -> dict[str, Any]:
        """Return the fields as a run records them: without those of a net that is the generalist's."""
        own = {name for name in NET_SETTINGS if getattr(self, name) == type(self).model_fields[name].default}
        left_out = own if self.has_generalists_net() else set()
        return {name: value for name, value in super().recorded().items() if name not in left_out}

    def check_net(self) -> None:
        """Refuse settings that the net does not have.

        Raises:
            UserError: as those of any net, or arguments or weights of a net that is not named.
        """
        for name in ("net_args", "weights"):
            if self.has_generalists_net() and getattr(self, name):
                raise UserError(f"{getattr(self, name)}: of which net? name it (--net)", field=name)
        super().check_net()


class CombineConfig(CombinationOptions, DataConfig):
    """Combine a finished generalist and finished specialists by Eq. 5: ``kd combine``."""

    generalist: str = Field(
        "",
        description="the generalist: a run (id, its first 8 characters, or name), models:/NAME@ALIAS, a file, or auto: the "
        "best finished one on val",
    )
    specialists: str = Field("", description="the specialists: RUN_ID,RUN_ID,...")


class PipelineConfig(SpecialistOptions):
    """Generalist, student, specialists, and a summary that compares them: ``kd pipeline``."""
