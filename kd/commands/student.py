"""``kd student``: the generalist distilled into one small net on all classes."""

from kd.commands.parent import Guided, guided_by_teacher, replicates, report
from kd.config import (
    StudentConfig,
)
from kd.distillation.task import whole_task
from kd.tracking.pairs import Pair, distil
from kd.tracking.workspace import prepare


def student(config: StudentConfig) -> None:
    """Distil the generalist into one small net on all classes."""
    with guided_by_teacher("student", config, prepare("student", config)) as guided:
        report(guided, train_students(config, guided), [])


def train_students(config: StudentConfig, guided: Guided) -> list[Pair]:
    """Distil one student per seed, each beside its control."""
    task = whole_task(guided.setting.dataset)
    return [
        distil(replicate, guided.setting, task, guided.teacher, guided.targets, label="student", suffix=suffix)
        for replicate, suffix in replicates(config)
    ]
