"""What is done with a model: ``kd predict``, ``kd export``."""

from typing import Literal

from pydantic import Field

from kd.config.base import Config
from kd.config.fields import Count, Switch
from kd.distillation.defaults import TOP


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
