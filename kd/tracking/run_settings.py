"""Settings of the runs of trainings and combinations."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

CHECKPOINT_MINUTES = 10.0


@dataclass(frozen=True)
class RunSettings:
    """Settings that all runs of one command, or of one ``with kd.track``, share."""

    output_dir: Path
    """Folder of their files on this machine."""
    tags: Mapping[str, str]
    resume: bool = True
    """Whether a training resumes from the checkpoint of a stopped run of the same training."""
    in_resumed: bool = False
    """Whether the run above was resumed: what is finished below it is reused, and what stopped is resumed in its run."""
    checkpoint_minutes: float = CHECKPOINT_MINUTES
    """Minutes within an epoch after which a training is saved; it is saved after each epoch anyway."""
    params: Mapping[str, str] = field(default_factory=dict)
    """Params of each training beside its own."""
    configuration: Mapping[str, object] = field(default_factory=dict)
    """A whole configuration, logged with each training; empty: only the run above has one."""
    register_as: str = ""
    """Name in the model registry for combined models; empty: they are not registered."""
    export: bool = True
    """Whether models are kept as programs; otherwise the weights of trained nets are kept alone."""
    brief: str = ""
    """Name of a folder below ``checkpoints/``. Where there is one, runs of trainings are brief, for many small nets: params,
    metrics and curves, without figures, tables and a model. The folder has their checkpoints, by which a resumed command reuses
    what was trained."""

    @property
    def checkpoints(self) -> Path:
        """Return the folder of the trainings' checkpoints."""
        return self.output_dir / "checkpoints" / self.brief
