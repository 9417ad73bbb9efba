"""The paper's experiments and their results: ``kd paper``, ``kd results``."""

import difflib

from pydantic import Field

from kd.config.base import Config
from kd.config.fields import MAX_SEEDS, BatchSize, Count, Fraction, Rate, Seed, Switch, Temperature, Width
from kd.config.images import DataConfig
from kd.errors import UserError
from kd.lab.names import ALL, NAMES, NetKind
from kd.lab.settings import Settings
from kd.nets.names import LARGEST
from kd.tracking.run_settings import CHECKPOINT_MINUTES
from kd.training.recipe import Recipe


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
    teacher_depth: Count = Field(Settings.teacher_depth, le=LARGEST["depth"], description="the same, of teachers")
    teacher_width: Width = Field(Settings.teacher_width, description="the same, of teachers")
    epochs: Count = Field(Settings.epochs, description="passes over the training images, of students")
    teacher_epochs: Count = Field(Settings.teacher_epochs, description="passes of teachers")
    batch_size: BatchSize = Field(Settings.batch_size, description="images per step")
    lr: Rate = Field(Settings.lr, description="peak learning rate of students")
    teacher_lr: Rate = Field(Settings.teacher_lr, description="peak learning rate of teachers")
    temperature: Temperature = Field(
        Settings.temperature,
        description="temperature T of the soft targets; specialists have 2 at most, temperature, high-temperature and losses "
        "their own",
    )
    alpha: Fraction = Field(Settings.alpha, description="weight of the soft targets; losses tunes its own")
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
