"""What commands left behind: ``kd runs``, ``kd report``, ``kd targets``, ``kd doctor``."""

from pydantic import Field

from kd.config.base import Config
from kd.config.fields import Switch
from kd.config.images import OutputConfig


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
