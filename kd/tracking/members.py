"""Finished specialists out of the tracking store, to be combined."""

from kd.distillation.combination import Member
from kd.distillation.results import TrackedRun
from kd.errors import UserError
from kd.specialists.kind import TaskKind
from kd.tracking import store as tracking
from kd.tracking.workspace import Setting


def load_members(references: str, setting: Setting) -> list[Member]:
    """Load the specialists of ``--specialists RUN,RUN,...`` onto the command's device.

    Raises:
        UserError: none is named, one is named twice, is no specialist, or is of another data set or class order.
    """
    names = [name.strip() for name in references.split(",") if name.strip()]
    if not names:
        raise UserError("--specialists: none is named; give RUN_ID,RUN_ID,... of finished specialists")
    members = [_load_member(name, setting) for name in names]
    runs = [member.run_id for member in members]
    for number, run_id in enumerate(runs):
        if run_id in runs[:number]:
            raise UserError(f"--specialists: {run_id} is named twice; name each specialist once")
    return members


def _load_member(reference: str, setting: Setting) -> Member:
    loaded = tracking.load_model(reference)
    told = loaded.metadata
    if told["kind"] not in set(TaskKind) - {TaskKind.ALL}:
        raise UserError(f"--specialists {reference}: a {told['role']}, no specialist; name runs of kd specialist")
    if list(told["classes"]) != list(setting.dataset.classes):
        raise UserError(
            f"--specialists {reference}: trained on {told['data']}, whose classes or their order are not those of "
            f"{setting.dataset.name}; name specialists of this data set"
        )
    if list(told["image_shape"]) != list(setting.dataset.image_shape):
        raise UserError(
            f"--specialists {reference}: its images are {told['image_shape']}, not {list(setting.dataset.image_shape)} "
            "(channels, height, width); name specialists of such images"
        )
    return Member(
        name=tracking.run_name(loaded.run_id),
        model=loaded.module.to(setting.device),
        group=tuple(told["group"]),
        kind=TaskKind(told["kind"]),
        own_fraction=told["own_fraction"],
        run=TrackedRun(loaded.run_id, tracking.run_link(loaded.run_id)),
    )
