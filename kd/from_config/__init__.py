"""The one place that turns a configuration into the library's records: data, recipes, nets, trainings, teachers.

asked            what a configuration asks for, in a word
prepared         the data, and all that is checked before any run is opened
nets             a configuration's net and its recipe
distillations    the choices of students and specialists, their loss, and the teacher's targets
teachers         the teacher: named, found or trained
net_checks       each net is tried
generalists_net  the net of specialists where none is named
groups           the groups of classes
fingerprints     by what a command is known again
runs             what its runs are called and show
"""

from kd.from_config.asked import data_digest, learns_unlabelled
from kd.from_config.distillations import distillation, specialist_kind, teacher_targets
from kd.from_config.fingerprints import fingerprint_of, foreign_code, settings_fingerprint_of
from kd.from_config.generalists_net import with_generalists_net
from kd.from_config.groups import check_group_settings, check_top_n, groups_of
from kd.from_config.net_checks import check_nets
from kd.from_config.nets import net
from kd.from_config.prepared import images_of_settings, prepare
from kd.from_config.runs import log_images, log_teacher_params, run_details, run_settings
from kd.from_config.teachers import (
    about_teacher,
    check_teacher,
    find_teacher,
    finished_teacher,
    generalist,
    named_teacher,
    teacher_job,
    teacher_tracker,
    train_teacher,
)

__all__ = [
    "about_teacher",
    "check_group_settings",
    "check_nets",
    "check_teacher",
    "check_top_n",
    "data_digest",
    "distillation",
    "find_teacher",
    "fingerprint_of",
    "finished_teacher",
    "foreign_code",
    "generalist",
    "groups_of",
    "images_of_settings",
    "learns_unlabelled",
    "log_images",
    "log_teacher_params",
    "named_teacher",
    "net",
    "prepare",
    "run_details",
    "run_settings",
    "settings_fingerprint_of",
    "specialist_kind",
    "teacher_job",
    "teacher_targets",
    "teacher_tracker",
    "train_teacher",
    "with_generalists_net",
]
