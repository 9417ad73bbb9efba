"""``kd student``: the generalist distilled into one small net on all classes."""

from typing import TypeVar

from kd.commands.answer import Answer
from kd.commands.parent import Guided, finish, guided_by_teacher, replicates
from kd.config import StudentConfig
from kd.distillation.plan import distil_task
from kd.distillation.results import Trained
from kd.from_config import distillation, prepare

StudentT = TypeVar("StudentT", bound=StudentConfig)


def student(config: StudentConfig) -> Answer:
    """Distil the generalist into one small net on all classes."""
    workspace = prepare("student", config)
    with guided_by_teacher("student", config, workspace) as guided:
        return finish(guided.parent, workspace, guided.teacher, train_students(guided), [], config)


def train_students(guided: Guided[StudentT]) -> list[Trained]:
    """Distil one student per seed, each beside its control."""
    teacher = guided.teacher
    return [
        distil_task(
            distillation(replicate, guided.workspace), teacher, guided.targets, teacher.task, label="student", suffix=suffix
        )
        for replicate, suffix in replicates(guided.config)
    ]
