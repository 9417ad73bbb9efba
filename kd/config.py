"""One frozen configuration per command: the only place of a default, a bound and a field's description.

The command line's flags (:mod:`kd.cli`), MLproject's parameters (:mod:`kd.mlproject`) and MLflow's params are made
from these fields, and a test fails where they part.
"""

import difflib
import math
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeVar, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    model_validator,
)

from kd.data.source import IMAGE_PX, VAL_FRACTION, DataName
from kd.distillation.defaults import (
    ALPHA,
    AUTO_TEACHER,
    CORRECTION,
    GROUP_BY,
    MAX_TEMPERATURE,
    NEW_TEACHER,
    OWN_FRACTION,
    SPECIALIST_ALPHA,
    SPECIALIST_TEMPERATURE,
    TEMPERATURE,
    TOP,
    TOP_N,
    VIEWS,
    is_named_teacher,
)
from kd.errors import UserError, reason
from kd.lab.names import ALL, NAMES, NetKind
from kd.lab.settings import Settings
from kd.losses.names import LOSS_NAMES, LOSS_WEIGHTS
from kd.machine.paths import open_file
from kd.machine.text import listed, printable
from kd.nets.names import ELSEWHERE, LARGE, LARGEST, NET_NAMES, SMALL, STATE_DICTS, arguments, is_named_elsewhere
from kd.specialists.kind import Correction, GroupBy
from kd.tracking.params import canonical
from kd.tracking.run_settings import CHECKPOINT_MINUTES
from kd.training.recipe import OptimizerName, Recipe, SelectBy, Use

T = TypeVar("T")
ConfigT = TypeVar("ConfigT", bound="Config")
Count = Annotated[int, Field(ge=1, lt=2**31)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Rate = Annotated[float, Field(gt=0, le=1e6)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Temperature = Annotated[float, Field(gt=0, le=MAX_TEMPERATURE, description="temperature T of the soft targets")]
Alpha = Annotated[Fraction, Field(description="weight of the soft term: alpha T^2 KL (or --loss) + (1 - alpha) CE")]
Share = Annotated[float, Field(gt=0, le=1)]
BatchSize = Annotated[int, Field(ge=2)]  # batch norm has no variance over one image
_SWITCH = "decides no result"
Switch = Annotated[T, _SWITCH]
"""A field that decides no result: a flag and a parameter of MLproject as every field is, but no MLflow param."""

MAX_TOLD = 200
"""Characters of a refused value that are shown at most."""
MAX_SETTINGS_BYTES = 2**20
MAX_WORKERS = 1024
MAX_SEEDS = 10_000
MAX_STUDY_NAME = 200

TEACHER_PREFIX = "teacher_"
OF_GIVEN_TEACHER = ("teacher_classes", "teacher_mean", "teacher_std")
"""Settings that tell of a teacher that exists."""
DEFAULT_SPACE = "temperature=log:1:20;alpha=float:0:1;width=int:4:32:4"
"""What a search varies unless ``--search`` or ``--width`` says otherwise (:mod:`kd.search.space` reads it)."""


class Config(BaseModel):
    """What every configuration can do: be made from text, and be turned into text."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """Make a configuration of raw values, text included.

        Raises :class:`~kd.errors.UserError` with the value and the bound, and the name of the field.
        """
        for name, value in values.items():
            field = cls.model_fields.get(name)
            if isinstance(value, bool) and field is not None and not isinstance(field.default, bool):
                raise UserError(f"{canonical(value)}: expected a value, not yes or no", field=name)
            if isinstance(value, str) and not _is_text(value):
                raise UserError(f"{_told(value)}: expected text, which has no such characters", field=name)
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            name = str(first["loc"][0])
            if first["type"] == "extra_forbidden":
                raise UserError(_unknown(name, list(cls.model_fields))) from None
            own = first.get("ctx", {}).get("error") if first["type"] == "value_error" else None
            expected = str(own) if own else first["msg"][0].lower() + first["msg"][1:]
            if name == "data":
                expected = f"{expected}; for images of your own give --data folder and --data-root FOLDER"
            raise UserError(f"{_told(values.get(name))}: {expected}", field=name) from None

    @classmethod
    def switches(cls) -> set[str]:
        """Return the names of the fields that decide no result."""
        return {name for name, field in cls.model_fields.items() if _SWITCH in field.metadata}

    def texts(self) -> dict[str, str]:
        """Return each field as canonical text, the form that a flag takes: 4.0 is ``4``, True is ``true``."""
        return {name: canonical(getattr(self, name)) for name in type(self).model_fields}

    def recorded(self) -> dict[str, Any]:
        """Return the fields as a run records them, in the form that ``--config`` takes."""
        return self.model_dump()

    def params(self) -> dict[str, str]:
        """Return the fields that decide a result, as text: what a run logs as its params."""
        switches = self.switches()
        return {name: canonical(getattr(self, name)) for name in self.recorded() if name not in switches}

    def restricted_to(self, other: type["Config"]) -> dict[str, Any]:
        """Return the values of the fields that ``other`` has as well."""
        return {name: getattr(self, name) for name in other.model_fields if name in type(self).model_fields}


def _is_text(value: str) -> bool:
    """Return whether a value can be a name or a path: a NUL, or half a character, is in neither."""
    try:
        value.encode("utf-8", "surrogateescape")  # the bytes of a path that is not UTF-8 are text
    except UnicodeEncodeError:
        return False
    return "\0" not in value


def _told(value: object) -> str:
    """Return a value that is refused, as it is shown: in one line, not too long, and not what is inside of it."""
    if isinstance(value, list | dict):
        return f"a {'list' if isinstance(value, list) else 'mapping'}"
    text = printable(" ".join(str(value).split()))
    return text if len(text) <= MAX_TOLD else f"{text[:MAX_TOLD]}... ({len(text):,} characters)"


def _unknown(name: str, known: list[str]) -> str:
    alike = difflib.get_close_matches(name, known, n=3)
    advice = f"did you mean {' or '.join(alike)}?" if alike else f"choose one of {listed(known)}; --help shows them"
    return f"unknown setting {_told(name)!r}: {advice}"


class ImagesConfig(Config):
    """Which images, split how."""

    data: DataName = Field("digits", description="data set; digits ships with scikit-learn, the others load or download")
    data_root: Switch[str] = Field(
        "data", description="folder of the data set's files; for --data folder it holds one folder of images per class"
    )
    image_px: int = Field(
        IMAGE_PX,
        ge=8,
        le=512,
        description="side of the square at which nets without a height of their own see images of --data folder, in pixels",
    )
    val_fraction: float = Field(VAL_FRACTION, gt=0, lt=0.9, description="share of the training images set aside for validation")
    train_fraction: Share = Field(1.0, description="share of the training images that are kept, of each class")
    label_fraction: Share = Field(
        1.0,
        description="share of the labels that are kept, of each class; the other images teach students by soft targets alone",
    )
    data_seed: Seed = Field(0, description="seed of the split and of the augmented views")
    # A switch: what it leaves out is seen in the data's digest.
    skip_bad_images: Switch[bool] = Field(
        default=False, description="leave out images of --data folder that can't be read, instead of refusing them"
    )


class OutputConfig(Config):
    """Where files go."""

    output_dir: Switch[str] = Field(
        ".", description="folder under which models/, checkpoints/, figures/, reports/ and targets/ are written"
    )


class DataConfig(OutputConfig, ImagesConfig):
    """What every command that computes has: images, a device, and a place for files."""

    device: Switch[str] = Field("auto", description="auto, cpu, cuda or cuda:N")

    def batch_sizes(self) -> dict[str, int]:
        """Return the fields that say how many images a step takes."""
        return self._ending_in("batch_size")

    def shifts(self) -> dict[str, int]:
        """Return the fields that say by how many pixels images are shifted at most."""
        return self._ending_in("shift_px")

    def decoded_px(self) -> int:
        """Return the height at which images of a folder are decoded: the largest at which a net sees them."""
        heights = (int(getattr(self, name, 0)) for name in ("px", f"{TEACHER_PREFIX}px"))
        return max(self.image_px, *heights)

    def _ending_in(self, end: str) -> dict[str, int]:
        return {name: getattr(self, name) for name in type(self).model_fields if name.endswith(end)}


class TrainingConfig(DataConfig):
    """What every training has beside its net and recipe."""

    seed: Seed = Field(Recipe.seed, description="seed of initial weights and of the order of images")
    use: Use = Field(Recipe.use, description="weights to use: of the best epoch on val, or of the last epoch")
    select_by: SelectBy = Field(
        Recipe.select_by,
        description="what the best epoch on val is chosen by: accuracy, balanced_accuracy (each class counts the same), or nll "
        "(cross-entropy)",
    )
    resume: Switch[bool] = Field(
        default=True, description="resume from the checkpoint of a stopped run of the same configuration"
    )
    export: Switch[bool] = Field(
        default=True,
        description="keep trained models as programs; --no-export keeps weights alone, of nets that can't be exported",
    )
    checkpoint_minutes: Switch[float] = Field(
        CHECKPOINT_MINUTES,
        gt=0,
        le=1e6,
        description="minutes after which a training is saved within an epoch, beside its end",
    )
    # No switch: its rounding is in the weights, and so it is in their fingerprint.
    compile: bool = Field(Recipe.compile, description="train with torch.compile; on a CPU it costs more time than it saves")


Depth = Annotated[Count, Field(le=LARGEST["depth"], description="residual blocks per stage")]
Width = Annotated[Count, Field(le=LARGEST["width"], description="channels of the first stage")]


def _net_name(name: str) -> str:
    if name in NET_NAMES or is_named_elsewhere(name):
        return name
    alike = difflib.get_close_matches(name, NET_NAMES, n=1)
    advice = f"did you mean {alike[0]}?" if alike else f"choose one of {', '.join([*NET_NAMES, *ELSEWHERE])}"
    raise ValueError(f"no such net; {advice}")


def _net_name_or_none(name: str) -> str:
    return _net_name(name) if name else name


def _net_args(text: str) -> str:
    try:
        arguments(text)
    except UserError as error:
        raise ValueError(str(error)) from None
    return text


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
NetName = Annotated[str, AfterValidator(_net_name)]
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


class TeacherConfig(NetAndRecipe, TrainingConfig):
    """Train the generalist on all classes: ``kd teacher``."""

    depth: Depth = LARGE["depth"]
    width: Width = LARGE["width"]


def with_teacher_fields(config: type[ConfigT]) -> type[ConfigT]:
    """Give a configuration the teacher's net and recipe too: each field of it with ``teacher_`` in front."""
    fields: dict[str, Any] = {}
    for name in NetAndRecipe.model_fields:
        field = TeacherConfig.model_fields[name]
        described = Field(field.default, description=f"teacher: {field.description}")
        fields[f"{TEACHER_PREFIX}{name}"] = (field.rebuild_annotation(), described)
    return create_model(config.__name__, __base__=config, __module__=config.__module__, __doc__=config.__doc__, **fields)


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
        sizes = {name: values[name] for name in SIZES if str(values.get(name, 0)).strip() != "0"}
        net = values.get("net") or ("resnet" if sizes else "")
        return {**values, **SMALL, **sizes, "net": net} if net in NET_NAMES else values

    def has_generalists_net(self) -> bool:
        """Return whether specialists have the net of their generalist, which may be known only once it is found."""
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


def _second_objective(value: object) -> object:
    """Return what stands beside accuracy: yes or no as text or not, as it was before there was a choice, or one of a name."""
    text = str(value).lower()
    if text in {PARAMETERS, *_YES}:
        return True
    if text in _NO:
        return False
    if text in get_args(_NAMED):
        return text
    raise ValueError(f"expected {PARAMETERS} (or nothing behind the flag), {' or '.join(get_args(_NAMED))}")


_NAMED = Literal["latency", "size"]
_YES = {"true", "yes", "y", "on", "t", "1"}
_NO = {"false", "no", "n", "off", "f", "0"}
PARAMETERS: Final = "parameters"
# True is parameters: so it stands in the params and settings of studies that were made before there was a choice.
SecondObjective = Annotated[bool | _NAMED, BeforeValidator(_second_objective)]


def _experiment(name: str) -> str:
    if name in {ALL, *NAMES}:
        return name
    alike = difflib.get_close_matches(name, NAMES, n=1)
    advice = f"did you mean {alike[0]}?" if alike else f"choose one of {', '.join([*NAMES, ALL])}"
    raise ValueError(f"no experiment of that name; {advice}")


class PaperConfig(DataConfig):
    """Carry out an experiment of the paper with several seeds: ``kd paper``."""

    name: str = Field("", description=f"experiment: {', '.join(NAMES)}, or {ALL}", json_schema_extra={"argument": "NAME"})
    seed: Seed = Field(Recipe.seed, description="first seed")
    seeds: int = Field(3, ge=1, le=MAX_SEEDS, description="paired replicates, of the seeds seed, seed + 1, ...")
    net: NetKind = Field(Settings.net, description="mlp (the paper's nets for MNIST), resnet, or pooled")
    depth: Count = Field(
        Settings.depth, le=LARGEST["depth"], description="hidden layers, or residual blocks per stage, of students"
    )
    width: Width = Field(Settings.width, description="units per hidden layer, or channels of the first stage, of students")
    teacher_depth: Count = Field(Settings.teacher_depth, le=LARGEST["depth"], description="those of teachers")
    teacher_width: Width = Field(Settings.teacher_width, description="those of teachers")
    epochs: Count = Field(Settings.epochs, description="passes over the training images, of students")
    teacher_epochs: Count = Field(Settings.teacher_epochs, description="passes of teachers")
    batch_size: BatchSize = Field(Settings.batch_size, description="images per step")
    lr: Rate = Field(Settings.lr, description="peak learning rate of students")
    teacher_lr: Rate = Field(Settings.teacher_lr, description="peak learning rate of teachers")
    temperature: Temperature = Settings.temperature
    alpha: Fraction = Field(Settings.alpha, description="weight of the soft targets")
    views: int = Field(
        Settings.views,
        ge=1,
        lt=2**31,
        description="augmented views of each image that students see; mlp sees images as they are",
    )
    groups: int = Field(
        Settings.groups,
        ge=0,
        lt=2**31,
        description="groups of classes that have a specialist each; 0: the root of the number of classes",
    )
    resume: Switch[bool] = Field(default=True, description="resume the run of the same configuration that stopped")
    checkpoint_minutes: Switch[float] = Field(
        CHECKPOINT_MINUTES, gt=0, le=1e6, description="minutes after which a training is saved within an epoch, beside its end"
    )
    track: Switch[bool] = Field(default=True, description="track each training in MLflow; --no-track writes the record alone")

    def check_name(self) -> None:
        """Refuse a name that no experiment has.

        Raises:
            UserError: there is none of that name.
        """
        try:
            _experiment(self.name)
        except ValueError as error:
            raise UserError(f"{self.name or 'none'}: {error}", field="name") from None


class ResultsConfig(Config):
    """Render the records of experiments as one page: ``kd results``."""

    results: Switch[str] = Field("results", description="folder of the records that kd paper wrote")
    output: Switch[str] = Field("RESULTS.md", description="file that is written")


class TargetsConfig(OutputConfig):
    """Show or clear the teacher's logits that are cached: ``kd targets``."""

    list: bool = Field(default=False, description="show what is cached, with sizes")
    prune: bool = Field(default=False, description="delete what is cached, except what is being computed right now")


class DoctorConfig(OutputConfig):
    """Tell what kd runs on, and what is wrong with it: ``kd doctor``."""

    clear_caches: bool = Field(
        default=False,
        description="delete cached targets and pixels, and checkpoints of stopped trainings, except what is being written",
    )


class NamedModelConfig(Config):
    """The model that a command is about."""

    model: Switch[str] = Field(
        "",
        description="the model: a run (id, its first 8 characters, or name), models:/NAME@ALIAS, runs:/RUN_ID/PATH, or a file "
        "(.pt2, .onnx)",
        json_schema_extra={"argument": "MODEL"},
    )


class PredictConfig(NamedModelConfig):
    """Name the classes of images: ``kd predict``."""

    images: Switch[str] = Field(
        "",
        description="an image file, or a folder of them at any depth; may be repeated",
        json_schema_extra={"argument": "IMAGE|FOLDER...", "joined_by": "\n"},
    )
    top: Count = Field(TOP, description="classes that are told of each image, the most probable first")
    csv: Switch[str] = Field("", description="file that the answers are written to, a line per image; empty: a table is shown")
    skip_bad_images: Switch[bool] = Field(
        default=False, description="leave out images that can't be read, instead of refusing them"
    )
    device: Switch[str] = Field("auto", description="auto, cpu, cuda or cuda:N")


class ExportConfig(NamedModelConfig):
    """Write a model in another format, checked on real images: ``kd export``."""

    format: Literal["onnx", "pt2", "safetensors"] = Field(
        "onnx", description="onnx, pt2 (a program of torch), or safetensors (weights alone)"
    )
    int8: bool = Field(
        default=False, description="weights and activations of 8 bits, for onnx, calibrated on images of train or --images"
    )
    output: Switch[str] = Field("", description="the file; empty: beside the model's own, or by its name in this folder")
    images: Switch[str] = Field(
        "",
        description="folder of images on which the export is checked; empty: the test images of the model's data, where its "
        "run tells them",
    )


class RunsConfig(Config):
    """List the runs of commands, end those that dead processes left open, and send what waits for the store: ``kd runs``."""

    last: int = Field(20, ge=1, le=10_000, description="how many runs are listed, the newest first")
    repair: bool = Field(default=False, description="end the runs that look as if they were running, but whose process is gone")
    send: bool = Field(default=False, description="send what commands could not tell the tracking store while it was away")
    output_dir: Switch[str] = Field(".", description="output folder of those commands, below which that waits")


class ReportConfig(OutputConfig):
    """Write an HTML page of a command's run, or of several side by side: ``kd report``."""

    runs: str = Field(
        "",
        description="the run: its id, the first 8 characters of it, or its name; several, with commas, stand side by side",
        json_schema_extra={"argument": "RUN...", "joined_by": "\n"},
    )


class PipelineConfig(SpecialistOptions):
    """Generalist, student, specialists, and a summary that compares them: ``kd pipeline``."""


class TuneConfig(SpecialistOptions):
    """Search for the configuration with the best accuracy on val: ``kd tune``."""

    objective: Literal["specialist", "combined", "student"] = Field(
        "specialist",
        description="val accuracy of: specialist (mean over groups, own classes), combined (Eq. 5, all classes), student",
    )
    search: str = Field(
        "",
        description="a field to search beside temperature, alpha and width (from 4 to 32, or to a --width other than 16): "
        "NAME=log:LOW:HIGH (float, int and intlog alike), NAME=cat:A,B or, to take one out, NAME=fixed; may be repeated",
        json_schema_extra={"joined_by": ";"},
    )
    max_parameters: int = Field(
        0,
        ge=0,
        lt=2**63,
        description="parameters that a candidate has at most: a student, or all specialists together; 0: no limit",
    )
    max_latency: float = Field(
        0.0,
        ge=0,
        le=1e9,
        description="milliseconds for one image that a candidate takes at most: a student, or all specialists one after the "
        "other; 0: no limit",
    )
    trials: Count = Field(40, description="number of trials in the study, over all workers and machines")
    timeout: Switch[float] = Field(0.0, ge=0, description="seconds after which no new trial begins; 0: no limit")
    workers: Switch[Count] = Field(
        1, le=MAX_WORKERS, description="worker processes on this machine; its cores are divided among them"
    )
    pruner: Literal["median", "halving", "hyperband", "none"] = Field(
        "median", description="what stops a trial early by its val accuracy after each epoch"
    )
    pareto: SecondObjective = Field(
        default=False,
        description="search for high accuracy and at once for few parameters (also --pareto alone), a low latency (of one "
        "image), or a small size (of the model's file); nothing is pruned",
        json_schema_extra={"metavar": "[parameters|latency|size]"},
    )
    storage: Switch[str] = Field(
        "sqlite:///optuna.db", description="the study's database, never MLflow's; postgresql://... for several machines"
    )
    study_name: str = Field(
        "auto",
        min_length=1,
        max_length=MAX_STUDY_NAME,
        description="study to begin or resume; auto: a name made of all that its trials share",
    )
    final_seeds: int = Field(
        3, ge=0, le=MAX_SEEDS, description="seeds with which the winner is trained again and scored on test; 0: it is not"
    )

    def second_objective(self) -> Literal["", "parameters", "latency", "size"]:
        """Return the name of what is searched for beside accuracy; empty: nothing is."""
        if isinstance(self.pareto, bool):
            return PARAMETERS if self.pareto else ""
        return self.pareto

    def needs_latency(self) -> bool:
        """Return whether the latency of candidates has to be known."""
        return self.second_objective() == "latency" or self.max_latency > 0


class _TextLoader(yaml.BaseLoader):
    """Reads all values of YAML as text, as flags are: no tag, date, number of base 60 or code has a meaning of its own."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - yaml's
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for place, name in enumerate(names):
            if name in names[:place]:
                raise yaml.constructor.ConstructorError(problem=f"{name} is set twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


def load_settings(path: str) -> dict[str, Any]:
    """Read a YAML file of settings, as ``--config`` takes it: a flat mapping of field names to values, as text.

    Raises :class:`~kd.errors.UserError` where the file is missing or is not such a mapping.
    """
    try:
        with open_file(Path(path).expanduser().absolute()) as file:
            content = file.read(MAX_SETTINGS_BYTES + 1)
    except (OSError, RuntimeError, ValueError) as error:  # no such user's home, or a NUL in the path
        raise UserError(f"{path}: can't be read ({reason(error)}); give a YAML file of settings", field="config") from None
    if len(content) > MAX_SETTINGS_BYTES:
        raise UserError(f"{path}: longer than {MAX_SETTINGS_BYTES:,} bytes; give a YAML file of settings", field="config")
    try:
        settings = yaml.load(content, Loader=_TextLoader)  # noqa: S506 - it makes text, lists and mappings, nothing else
    except RecursionError:
        raise UserError(f"{path}: no valid YAML (nested too deeply)", field="config") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: no valid YAML ({_told(error)})", field="config") from None
    if not isinstance(settings, dict):
        raise UserError(f"{path}: expected lines such as 'temperature: 4'", field="config")
    return settings
