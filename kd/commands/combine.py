"""``kd combine``: a finished generalist and finished specialists as one model."""

from kd.commands.parent import check_top_n, finish, parent_run
from kd.config import (
    CombineConfig,
)
from kd.tracking.combination import Combination, CombineOptions, combine_specialists
from kd.tracking.members import load_members
from kd.tracking.teachers import load_teacher
from kd.tracking.workspace import prepare


def combine(config: CombineConfig) -> Combination:
    """Combine a finished generalist and finished specialists."""
    setting = prepare("combine", config)
    members = load_members(config.specialists, setting)
    guide = load_teacher(config.generalist, "--generalist", setting)
    check_top_n(config.top_n, setting)
    with parent_run("combine", config, setting) as parent:
        options = CombineOptions(config.dustbin_correction, config.top_n, config.register_as)
        combination = combine_specialists(setting, guide, members, options, name="combined", seed=config.data_seed)
        finish(setting, parent, guide, [], [combination])
    return combination
