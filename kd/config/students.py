"""A generalist distilled into a student: ``kd student``."""

import math
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from kd.config.fields import MAX_SEEDS, TEACHER_PREFIX, Alpha, Switch, Temperature
from kd.config.nets import SIZES, NetAndRecipe
from kd.config.training import TeacherConfig, TrainingConfig, with_teacher_fields
from kd.distillation.defaults import ALPHA, AUTO_TEACHER, NEW_TEACHER, TEMPERATURE, VIEWS, is_named_teacher
from kd.errors import UserError
from kd.losses.names import LOSS_NAMES, LOSS_WEIGHTS
from kd.nets.names import STATE_DICTS, is_named_elsewhere
from kd.tracking.params import canonical

OF_GIVEN_TEACHER = ("teacher_classes", "teacher_mean", "teacher_std")
"""Settings that tell of a teacher that exists."""


def _per_channel(text: str) -> str:
    try:
        numbers(text)
    except ValueError:
        raise ValueError("expected one number, or one per channel with commas between, such as 0.485,0.456,0.406") from None
    return text


def _scale(text: str) -> str:
    if any(number <= 0 for number in numbers(_per_channel(text))):
        raise ValueError("images are divided by it; give numbers above 0")
    return text


def numbers(text: str) -> tuple[float, ...]:
    """Return the numbers of a text, with commas between them.

    Raises:
        ValueError: a part of it is no number, or not a finite one.
    """
    found = tuple(float(part) for part in text.split(",")) if text.strip() else ()
    if not all(map(math.isfinite, found)):
        raise ValueError(text)
    return found


def _loss_name(name: str) -> str:
    if name in LOSS_NAMES or is_named_elsewhere(name):
        return name
    raise ValueError(f"no such loss; choose one of {', '.join(LOSS_NAMES)}, or path/to/file.py:function")


LossName = Annotated[str, AfterValidator(_loss_name)]
Weight = Annotated[float, Field(ge=0, le=1e6)]


@with_teacher_fields
class StudentConfig(NetAndRecipe, TrainingConfig):
    """Distil the generalist into one small net on all classes: ``kd student``."""

    temperature: Temperature = TEMPERATURE
    alpha: Alpha = ALPHA
    loss: LossName = Field(
        "kd",
        description=f"loss of the soft targets: {', '.join(f'{name} ({whose})' for name, whose in LOSS_NAMES.items())}, "
        "package.module:function, or path/to/file.py:function",
    )
    standardize: bool = Field(default=False, description="standardise logits before they are compared (Sun et al.); kd and dkd")
    dkd_alpha: Weight = Field(LOSS_WEIGHTS["dkd"]["alpha"], description="dkd: weight of the label's class against all others")
    dkd_beta: Weight = Field(LOSS_WEIGHTS["dkd"]["beta"], description="dkd: weight of the other classes among themselves")
    dist_beta: Weight = Field(LOSS_WEIGHTS["dist"]["beta"], description="dist: weight of the correlation over classes")
    dist_gamma: Weight = Field(LOSS_WEIGHTS["dist"]["gamma"], description="dist: weight of the correlation over images")
    views: int = Field(VIEWS, ge=0, lt=2**31, description="augmented views whose teacher logits are cached; 0: a live teacher")
    # A switch: which images it holds is seen in their own digest.
    transfer_root: Switch[str] = Field(
        "", description="folder of images without labels, from which students learn by soft targets alone; empty: none"
    )
    control: bool = Field(default=True, description="also train the same net on hard targets only, for comparison")
    seeds: int = Field(
        1, ge=1, le=MAX_SEEDS, description="paired replicates, of the seeds seed, seed + 1, ...; the teacher is the same"
    )
    teacher: str = Field(
        AUTO_TEACHER,
        description="auto (the newest run of the --teacher- settings, or without any the best finished one on val; trained "
        "where there is none), new (train one), a run (id, its first 8 characters, or name), models:/NAME@ALIAS, or a file; "
        "several, with commas: an ensemble",
    )
    teacher_classes: str = Field(
        "",
        description="file of the names of a given teacher's classes, one per line in the order of its outputs; empty: its own, "
        "or those of the data",
    )
    teacher_mean: Annotated[str, AfterValidator(_per_channel)] = Field(
        "",
        description="mean of pixels in [0, 1] with which a given teacher's images are normalised, per channel or one for all; "
        "empty: known of it, or of its net",
    )
    teacher_std: Annotated[str, AfterValidator(_scale)] = Field("", description="standard deviation, the same")

    def recorded(self) -> dict[str, Any]:
        """Return the fields as a run records them: without the settings of a teacher where it may have others."""
        teachers = {f"{TEACHER_PREFIX}{name}" for name in NetAndRecipe.model_fields}
        teachers |= {name for name in OF_GIVEN_TEACHER if not getattr(self, name)}
        if self.decides_teacher():
            teachers -= set(OF_GIVEN_TEACHER)
            teachers -= {f"{TEACHER_PREFIX}{name}" for name in self.teacher_config().recorded()}
        elif is_named_teacher(self.teacher):
            teachers -= self.of_named_teacher()
        left_out = teachers | self.of_other_losses()
        return {name: value for name, value in super().recorded().items() if name not in left_out}

    def has_generalists_net(self) -> bool:
        """Return whether what is trained has the net of its generalist, which may be known only once that is found."""
        return False

    def of_other_losses(self) -> set[str]:
        """Return the names of the weights of losses that are not the chosen one."""
        return {f"{loss}_{name}" for loss, own in LOSS_WEIGHTS.items() if loss != self.loss for name in own}

    def of_named_teacher(self) -> set[str]:
        """Return the names of the settings that tell of a teacher that is named: its height, and the net of a state dict."""
        used = {"px"} if getattr(self, f"{TEACHER_PREFIX}px") else set()
        if self.names_state_dict():
            own = self.teacher_config().recorded()
            used |= {name for name in ("net", "net_args", "small_stem", *SIZES) if name in own}
        return {f"{TEACHER_PREFIX}{name}" for name in used}

    def names_state_dict(self) -> bool:
        """Return whether a teacher is named by weights alone."""
        return any(name.strip().lower().endswith(STATE_DICTS) for name in self.teacher.split(","))

    def check_teacher(self) -> None:
        """Refuse settings of a teacher that is named where none is, and those of a net where the teacher has its own.

        Raises:
            UserError: there are such.
        """
        if not is_named_teacher(self.teacher):
            for name in ("teacher_classes", "teacher_mean", "teacher_std"):
                if getattr(self, name):
                    raise UserError(
                        f"{getattr(self, name)}: tells of a teacher that exists; name it (--teacher), or leave this out",
                        field=name,
                    )
            return
        of_net = {f"{TEACHER_PREFIX}{name}" for name in ("net_args", "small_stem", "weights")}
        if is_named_elsewhere(getattr(self, f"{TEACHER_PREFIX}net")):
            of_net.add(f"{TEACHER_PREFIX}net")
        for name in sorted(of_net - self.of_named_teacher()):
            value = getattr(self, name)
            if value != type(self).model_fields[name].default:
                raise UserError(
                    f"{canonical(value)}: the teacher that --teacher names has its own net and weights; leave this out",
                    field=name,
                )

    def decides_teacher(self) -> bool:
        """Return whether the teacher has the settings that are configured: it is trained with them, or was."""
        return self.teacher == NEW_TEACHER or (self.teacher == AUTO_TEACHER and self.has_teacher_settings())

    def has_teacher_settings(self) -> bool:
        """Return whether a setting of the teacher is another one than its default."""
        names = (f"{TEACHER_PREFIX}{name}" for name in NetAndRecipe.model_fields)
        return any(getattr(self, name) != type(self).model_fields[name].default for name in names)

    def teacher_config(self) -> TeacherConfig:
        """Return the configuration of the generalist that guides this run: the ``teacher_`` fields without prefix."""
        own = {name: getattr(self, f"{TEACHER_PREFIX}{name}") for name in NetAndRecipe.model_fields}
        return TeacherConfig(**{**self.restricted_to(TrainingConfig), **own})
