"""``kd combine``: a finished generalist and finished specialists as one model."""

from kd.commands.parent import check_top_n, finish, parent_run
from kd.config import CombineConfig
from kd.distillation.combination import Combination, CombinationJob
from kd.distillation.tracker import carry_out_combination
from kd.jobs import prepare
from kd.tracking.members import load_members
from kd.tracking.teachers import load_teacher


def combine(config: CombineConfig) -> Combination:
    """Combine a finished generalist and finished specialists."""
    setting = prepare("combine", config)
    members = load_members(config.specialists, setting)
    teacher = load_teacher(config.generalist, "--generalist", setting)
    check_top_n(config.top_n, setting)
    job = CombinationJob(
        "combined", teacher, members, config.dustbin_correction, config.top_n, setting.device, seed=config.data_seed
    )
    with parent_run("combine", config, setting) as parent:
        combination = carry_out_combination(job)
        finish(parent, setting, teacher, [], [combination])
    return combination
