"""``kd combine``: a finished generalist and finished specialists as one model."""

from kd.commands.answer import Answer
from kd.commands.parent import finish, parent_run
from kd.config import CombineConfig
from kd.distillation.combination import CombinationJob
from kd.distillation.tracker import carry_out_combination
from kd.from_config import check_top_n, generalist, prepare
from kd.tracking.finished import TEACHER
from kd.tracking.members import load_members


def combine(config: CombineConfig) -> Answer:
    """Combine a finished generalist and finished specialists."""
    workspace = prepare("combine", config)
    members = load_members(config.specialists, workspace)
    teacher = generalist(config, workspace)
    check_top_n(config.top_n, workspace)
    job = CombinationJob(
        "combined", teacher, members, config.dustbin_correction, config.top_n, workspace.device, seed=config.data_seed
    )
    with parent_run("combine", config, workspace, job.fingerprint()) as parent:
        parent.log_tags({TEACHER: teacher.run_id})
        parent.log_params({"teacher_chosen": teacher.chosen})
        combination = carry_out_combination(job)
        return finish(parent, workspace, teacher, [], [combination])
