"""Which images, split how, and what every command that computes has."""

from pydantic import Field

from kd.config.base import Config
from kd.config.fields import TEACHER_PREFIX, Seed, Share, Switch
from kd.data.source import IMAGE_PX, VAL_FRACTION, DataName


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
