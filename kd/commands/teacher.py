"""``kd teacher``: the generalist on all classes."""

import logging

from kd.commands.answer import Answer
from kd.commands.found import training_answer
from kd.commands.plan import described
from kd.config import TeacherConfig
from kd.distillation.tracker import carry_out, tracked_by
from kd.from_config import check_nets, prepare, teacher_job, teacher_tracker
from kd.machine.schedule import Planned, Schedule, scheduled

log = logging.getLogger("kd")


def teacher(config: TeacherConfig) -> Answer:
    """Train the generalist on all classes."""
    workspace = prepare("teacher", config)
    check_nets(config, workspace)
    log.info("1 net to train: teacher (%s)", described(config))
    with tracked_by(teacher_tracker(config, workspace)), scheduled(Schedule([Planned(config.epochs, 1.0)])):
        return training_answer(carry_out(teacher_job(config, workspace)))
