"""One frozen configuration a command: the only place of a default, a bound and a field's description.

The command line's flags (:mod:`kd.cli`), MLproject's parameters (:mod:`kd.mlproject`) and MLflow's params are made
from these fields, and a test fails where they part.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kd.data.source import DataName
from kd.errors import UserError, reason
from kd.nets.names import NetName
from kd.specialists.kind import Correction
from kd.tracking.params import canonical
from kd.training.recipe import OptimizerName

Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Rate = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
TEACHER_PREFIX = "teacher_"
CORRECTION_HELP = "shift of the dustbin's logit: log of the oversampling (paper), none, or one scalar fitted on val"
TOP_N_HELP = "classes of the generalist's ranking that call their specialists (Eq. 5)"
DEFAULT_SPACE = "temperature=log:1:20;alpha=float:0:1;width=int:4:32:4"
"""What a search varies unless ``--search`` says otherwise (:mod:`kd.search.space` reads it)."""
REGISTER_HELP = "name in the model registry for the combined model; empty: it is not registered"


class Config(BaseModel):
    """What every configuration can do: be made from text, and be told as text."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """Make a configuration of raw values, text included.

        Raises :class:`~kd.errors.UserError` that names the flag, the value and the bound.
        """
        for name, value in values.items():
            field = cls.model_fields.get(name)
            if isinstance(value, bool) and field is not None and not isinstance(field.default, bool):
                raise UserError(f"--{name.replace('_', '-')} {canonical(value)}: yes and no are no value of it")
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            if first["type"] == "extra_forbidden":
                known = ", ".join(cls.model_fields)
                raise UserError(f"unknown setting {name!r}: choose one of {known}") from None
            expected = first["msg"][0].lower() + first["msg"][1:]
            value = " ".join(str(values.get(name)).split())
            raise UserError(f"--{name.replace('_', '-')} {value}: {expected}") from None

    def params(self) -> dict[str, str]:
        """Return each field as canonical text, the form in which a param is logged: 4.0 is ``4``, True is ``true``."""
        return {name: canonical(getattr(self, name)) for name in type(self).model_fields}

    def restricted_to(self, other: type["Config"]) -> dict[str, Any]:
        """Return the values of the fields that ``other`` has as well."""
        return {name: getattr(self, name) for name in other.model_fields if name in type(self).model_fields}


class DataConfig(Config):
    """Which images, split how, on which device, and where files go."""

    data: DataName = Field("digits", description="data set; digits ships with scikit-learn, the others load or download")
    data_root: str = Field("data", description="folder of the data set's files; for folder: one folder a class in it")
    image_px: int = Field(32, ge=8, le=512, description="side to which images of --data folder are brought, in pixels")
    val_fraction: float = Field(0.1, gt=0, lt=0.9, description="share of the training images kept for validation")
    data_seed: Seed = Field(0, description="seed of the split and of the augmented views")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    output_dir: str = Field(".", description="folder under which models/, checkpoints/, figures/ and targets/ are written")

    def batch_sizes(self) -> dict[str, int]:
        """Return the fields that say how many images a step takes."""
        return self._ending_in("batch_size")

    def shifts(self) -> dict[str, int]:
        """Return the fields that say by how many pixels images are shifted at most."""
        return self._ending_in("shift_px")

    def _ending_in(self, end: str) -> dict[str, int]:
        return {name: getattr(self, name) for name in type(self).model_fields if name.endswith(end)}


class TrainingConfig(DataConfig):
    """What every training has beside its net and recipe."""

    seed: Seed = Field(0, description="seed of initial weights and of the order of images")
    use: Literal["best", "last"] = Field("best", description="weights to use: best epoch on val, or the last epoch")
    resume: bool = Field(default=True, description="go on from the checkpoint of a stopped run of the same configuration")
    compile: bool = Field(default=False, description="train with torch.compile; on a CPU that costs more than it saves")


class TeacherConfig(TrainingConfig):
    """Train the generalist on all classes: ``kd teacher``."""

    depth: Count = Field(3, description="residual blocks a stage")
    width: Count = Field(32, description="channels of the first stage")
    epochs: Count = Field(20, description="passes over the training images")
    batch_size: int = Field(64, ge=2, description="images a step")
    lr: Rate = Field(0.1, description="peak learning rate")
    weight_decay: float = Field(5e-4, ge=0, description="L2 penalty on the weights (not on norms and biases)")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of each hard target spread over all classes")
    net: NetName = Field("resnet", description="resnet: after He et al.; pooled: stages that begin with a pooling, quicker")
    optimizer: OptimizerName = Field("sgd", description="sgd, or muon: orthogonalised steps for the filters, in fewer epochs")
    start_px: int = Field(
        0,
        ge=0,
        le=512,
        description="height of the first images, which then grow to their size: a quicker training; 0: as they are",
    )
    shift_px: int = Field(0, ge=0, le=511, description="largest shift of the augmented images; 0: an eighth of their height")


class StudentConfig(TrainingConfig):
    """Distil the generalist into one small net on all classes: ``kd student``."""

    depth: Count = Field(1, description="residual blocks a stage of a student or specialist")
    width: Count = Field(16, description="channels of the first stage of a student or specialist")
    epochs: Count = Field(20, description="passes over the training images of a student or specialist")
    batch_size: int = Field(64, ge=2, description="images a step of a student or specialist")
    lr: Rate = Field(0.1, description="peak learning rate of a student or specialist")
    weight_decay: float = Field(5e-4, ge=0, description="L2 penalty on its weights (not on norms and biases)")
    temperature: Rate = Field(4.0, description="temperature T of the soft targets")
    alpha: Fraction = Field(0.9, description="weight of the soft term: alpha T^2 KL + (1 - alpha) CE")
    # What benchmarks/views.py says: one view costs 3.5 % points on CIFAR-10; two to eight can't be told from a live teacher.
    views: int = Field(4, ge=0, description="augmented views whose teacher logits are kept; 0: a live teacher")
    control: bool = Field(default=True, description="train the same net on hard targets alone beside it, for comparison")
    seeds: Count = Field(1, description="paired replicates, of the seeds seed, seed + 1, ...; the teacher is the same")
    teacher: str = Field("auto", description="auto (reuse the newest matching run, or train one), RUN_ID, models:/NAME@ALIAS")
    teacher_depth: Count = Field(3, description="residual blocks a stage of the generalist")
    teacher_width: Count = Field(32, description="channels of the generalist's first stage")
    teacher_epochs: Count = Field(20, description="passes over the training images of the generalist")
    teacher_batch_size: int = Field(64, ge=2, description="images a step of the generalist")
    teacher_lr: Rate = Field(0.1, description="peak learning rate of the generalist")
    teacher_weight_decay: float = Field(5e-4, ge=0, description="L2 penalty on the generalist's weights")
    teacher_label_smoothing: float = Field(0.0, ge=0, lt=1, description="label smoothing of the generalist")
    teacher_net: NetName = Field("resnet", description="kind of the generalist's net: resnet or pooled")
    teacher_optimizer: OptimizerName = Field("sgd", description="optimizer of the generalist: sgd or muon")
    teacher_start_px: int = Field(
        0, ge=0, le=512, description="height of the generalist's first images, which then grow; 0: as they are"
    )
    teacher_shift_px: int = Field(0, ge=0, le=511, description="largest shift of the generalist's images; 0: an eighth")

    def teacher_config(self) -> TeacherConfig:
        """Return the configuration of the generalist that guides this run: the ``teacher_`` fields without prefix."""
        own = {
            name.removeprefix(TEACHER_PREFIX): getattr(self, name)
            for name in type(self).model_fields
            if name.startswith(TEACHER_PREFIX)
        }
        return TeacherConfig(**{**self.restricted_to(TrainingConfig), **own})


class SpecialistConfig(StudentConfig):
    """One specialist for each class group, guided by the generalist: ``kd specialist``."""

    groups: str = Field(
        "auto",
        description='auto, auto:M, auto:MxK (found from the generalist), fixed, or given: "0,1;2,3" or "cat,dog;ship,truck"',
    )
    group: Annotated[int, Field(ge=0)] | Literal["all"] = Field("all", description="number of the one group to train, or all")
    dustbin: bool = Field(default=True, description="one more class for everything outside the group")
    specialist_kind: Literal["group", "full"] = Field(
        "group", description="group: the group's classes and the dustbin; full: all classes, soft targets for the others"
    )
    init: Literal["random", "generalist"] = Field(
        "random", description="weights to start from: the generalist's where the nets match (the paper), or random"
    )
    dustbin_correction: Correction = Field("fit", description=CORRECTION_HELP)
    top_n: Count = Field(1, description=TOP_N_HELP)
    register_as: str = Field("", description=REGISTER_HELP, json_schema_extra={"flag": "--register"})
    own_fraction: float = Field(0.5, gt=0, le=1, description="share of a dustbin specialist's epoch from its own classes")


class CombineConfig(DataConfig):
    """Combine a finished generalist and finished specialists by Eq. 5: ``kd combine``."""

    generalist: str = Field("", description="the generalist: RUN_ID or models:/NAME@ALIAS")
    specialists: str = Field("", description="the specialists: RUN_ID,RUN_ID,...")
    dustbin_correction: Correction = Field("fit", description=CORRECTION_HELP)
    top_n: Count = Field(1, description=TOP_N_HELP)
    register_as: str = Field("", description=REGISTER_HELP, json_schema_extra={"flag": "--register"})


class TargetsConfig(Config):
    """Show or clear the teacher's logits that are kept: ``kd targets``."""

    output_dir: str = Field(".", description="folder under which targets/ was written")
    list: bool = Field(default=False, description="show what is kept, with sizes")
    prune: bool = Field(default=False, description="delete what is kept, but for what is just being computed")


class PipelineConfig(SpecialistConfig):
    """Generalist, student, specialists, and a summary that compares them: ``kd pipeline``."""


class TuneConfig(SpecialistConfig):
    """Search for the configuration with the best accuracy on val: ``kd tune``."""

    objective: Literal["specialist", "combined", "student"] = Field(
        "specialist",
        description="val accuracy of: specialist (mean over groups, own classes), combined (Eq. 5, all classes), student",
    )
    search: str = Field(
        "",
        description="a field to search beside temperature, alpha and width: NAME=log:LOW:HIGH (float, int and intlog alike), "
        "NAME=cat:A,B or, to take one out, NAME=fixed; may be repeated",
        json_schema_extra={"joined_by": ";"},
    )
    trials: Count = Field(40, description="trials of the study in all, over all workers and machines")
    timeout: float = Field(0.0, ge=0, description="seconds after which no trial is begun any more; 0: no limit")
    workers: Count = Field(1, description="worker processes on this machine; its cores are divided among them")
    pruner: Literal["median", "halving", "hyperband", "none"] = Field(
        "median", description="what stops a trial early by its val accuracy after each epoch"
    )
    pareto: bool = Field(default=False, description="search for high accuracy and few parameters at once; nothing is pruned")
    storage: str = Field(
        "sqlite:///optuna.db", description="the study's database, never MLflow's; postgresql://... for several machines"
    )
    study_name: str = Field(
        "auto", description="study to begin or to go on with; auto: a name made of all that its trials share"
    )
    final_seeds: int = Field(
        3, ge=0, description="seeds with which the winner is trained again and scored on test; 0: it is not"
    )


def load_settings(path: str) -> dict[str, Any]:
    """Read a YAML file of settings, as ``--config`` takes it: a flat mapping of field names to values.

    Raises :class:`~kd.errors.UserError` where the file is missing or is no such mapping.
    """
    try:
        settings = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--config {path}: can't be read ({reason(error)}); give a YAML file of settings") from None
    except yaml.YAMLError as error:
        raise UserError(f"--config {path}: no valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(settings, dict) or not all(isinstance(name, str) for name in settings):
        raise UserError(f"--config {path}: expected lines such as 'temperature: 4'")
    return settings
