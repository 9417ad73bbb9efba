"""``kd pipeline``: generalist, student and specialists, compared."""

from kd.commands.answer import Answer
from kd.commands.parent import finish, guided_by_teacher
from kd.commands.specialist import train_specialists
from kd.commands.student import train_students
from kd.config import PipelineConfig
from kd.from_config import check_group_settings, prepare


def pipeline(config: PipelineConfig) -> Answer:
    """Train generalist, student and specialists, and compare them."""
    workspace = prepare("pipeline", config)
    check_group_settings(config, workspace)
    with guided_by_teacher("pipeline", config, workspace) as guided:
        students = train_students(guided)
        specialists, combinations = train_specialists(guided)
        return finish(guided.parent, workspace, guided.teacher, [*students, *specialists], combinations, config)
