"""The report of a command's run, made at its end from what the run has recorded."""

import logging

from kd.errors import UserError
from kd.machine.activity import doing
from kd.reports.page.render import page
from kd.tracking.outbox.outbox import is_store_away
from kd.tracking.recorded import read_run
from kd.tracking.store import Run

log = logging.getLogger("kd")


@doing("writing the report")
def log_report(run: Run) -> None:
    """Write the report of a command's run; where the store is away or can't be read, a line says how to make it later."""
    later = f"its report can't be made now; when the store is back: kd report {run.id}"
    if is_store_away():
        log.warning("%s", later)
        return
    try:
        html = page([read_run(run.id, ends=True)])
    except UserError as error:
        log.warning("%s (%s)", later, error)
        return
    run.log_report(html)
