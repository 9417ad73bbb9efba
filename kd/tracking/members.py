"""Finished specialists, loaded from the tracking store to be combined."""

from kd.distillation.combination import Member
from kd.distillation.fits import check_fits
from kd.distillation.results import TrackedRun
from kd.errors import UserError
from kd.specialists.kind import TaskKind
from kd.tracking import store as tracking
from kd.tracking.models import load_model
from kd.tracking.workspace import Workspace


def load_members(references: str, workspace: Workspace) -> list[Member]:
    """Load the specialists of ``--specialists RUN,RUN,...`` onto the command's device.

    Raises:
        UserError: none is named, one is named twice, is not a specialist, or is of another data set or class order.
    """
    names = [name.strip() for name in references.split(",") if name.strip()]
    if not names:
        raise UserError(f"{references!r} names none; give RUN_ID,RUN_ID,... of finished specialists", field="specialists")
    members = [_load_member(name, workspace) for name in names]
    runs = [member.run_id for member in members]
    for number, run_id in enumerate(runs):
        if run_id in runs[:number]:
            raise UserError(f"{run_id} is named twice; name each specialist once", field="specialists")
    return members


def _load_member(reference: str, workspace: Workspace) -> Member:
    loaded = load_model(reference, "specialists")
    facts = loaded.metadata
    if facts["kind"] not in set(TaskKind) - {TaskKind.ALL}:
        raise UserError(f"{reference}: a {facts['role']}, not a specialist; name runs of kd specialist", field="specialists")
    check_fits(
        reference,
        facts["classes"],
        facts["image_shape"],
        facts["data_digest"],
        workspace.dataset,
        field="specialists",
        held_out=facts["held_out_digest"],
    )
    return Member(
        name=tracking.run_name(loaded.run_id),
        model=loaded.module.to(workspace.device),
        group=tuple(facts["group"]),
        kind=TaskKind(facts["kind"]),
        own_fraction=facts["own_fraction"],
        run=TrackedRun(loaded.run_id, tracking.run_link(loaded.run_id)),
    )
