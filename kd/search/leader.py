"""The leader: the one command that finds what all trials share, keeps the study's run, repairs, and ends the study."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import optuna

from kd.config import TuneConfig
from kd.errors import UserError
from kd.from_config import log_images, log_teacher_params
from kd.machine.signals import sleep
from kd.search.attributes import END, PARENT_RUN, SURPLUS, study_attribute
from kd.search.best import best_trial
from kd.search.candidate import Guide
from kd.search.certainty import scored_images
from kd.search.costs import bounds_text
from kd.search.final import compare
from kd.search.outcome import Outcome, outcome
from kd.search.progress import StudyProgress
from kd.search.repair import Repair
from kd.search.report import count_too_costly, plan_line
from kd.search.session import POLL_SECONDS, Session
from kd.search.shared import find_guide
from kd.search.state import all_trials, count_finished, count_left
from kd.search.storage import without_password
from kd.search.time_limit import TimeLimit, set_time_limit
from kd.search.workers.pool import WorkerPool
from kd.search.workers.work_order import work_order
from kd.specialists.groups import groups_text
from kd.tracking import earlier
from kd.tracking import store as tracking
from kd.tracking.recorded import TYPED
from kd.tracking.report import log_report
from kd.typed import typed

log = logging.getLogger("kd")

CONTINUES = "kd.continues"
"""Tag of a study's run: the finished run of the same study before it, which keeps the trials of then."""


def lead(session: Session) -> Outcome | None:
    """Have workers run trials until all are done or time is up, then compare the winner on test; return what was found.

    Raises:
        UserError: the study's trials had another teacher, a worker met bad input, or no trial completed.
    """
    config, study = session.config, session.study
    with (
        WorkerPool(config.workers, partial(work_order, session, leads=True)) as pool,
        _study_run(session) as parent,
    ):
        log.info("%s", plan_line(config, session.workspace.dataset.classes))
        guide = find_guide(session, parent)
        log_teacher_params(parent, config, guide.teacher)
        repair = Repair(study, parent.id)
        images = scored_images(config, guide)
        progress = StudyProgress(session, parent, _groups_text(session, guide), images)
        repair.end_orphans()
        repair.repair()
        with _left_in_order(pool, repair, progress):
            _run_trials(session, pool, repair, progress)
        _check_some_completed(config, study)
        progress.show(compare(session, guide, parent))
        log_report(parent)
    return outcome(config, study, session.space, parent, images)


@contextmanager
def _study_run(session: Session) -> Iterator[tracking.Run]:
    """Open the study's run: that of an earlier command that stopped, else a new one, which continues one that is finished."""
    config, workspace, study = session.config, session.workspace, session.study
    known = study_attribute(study, PARENT_RUN) or ""
    finished = known if known and earlier.has_finished(known) else None
    again = known if known and not finished and earlier.has_run(known) else None
    tags = {**workspace.tags, "kd.role": "study", "kd.study": study.study_name, "kd.objective": config.objective}
    details = f"{workspace.dataset.name} {config.objective}"
    with tracking.run(f"tune {study.study_name}", details, output_dir=workspace.output_dir, tags=tags, again=again) as parent:
        study.set_user_attr(PARENT_RUN, parent.id)
        if again is not None:
            tracking.say_reuse(f"resuming run {parent.id} of study {study.study_name}, which stopped")
        if finished is not None:
            parent.log_tags({CONTINUES: finished})
            tracking.say_reuse(f"run {finished} of study {study.study_name} is finished: this run continues its study")
        parent.log_params(without_password(config).params())
        parent.log_tags({TYPED: typed("tune", without_password(config))})
        if again is None:
            parent.log_settings(without_password(config).recorded())
            log_images(parent, config, workspace.dataset)
        yield parent


@contextmanager
def _left_in_order(pool: WorkerPool, repair: Repair, progress: StudyProgress) -> Iterator[None]:
    """Stop the workers at the end, however that comes, and leave nothing that looks as if it were under way."""
    try:
        yield
    finally:
        pool.stop()
        repair.repair(stopped=True)
        progress.show("")


def _run_trials(session: Session, pool: WorkerPool, repair: Repair, progress: StudyProgress) -> None:
    """Keep the workers at work until all trials are done, or time is up; repair from time to time."""
    study, wanted = session.study, session.config.trials
    set_time_limit(study, session.config.timeout)
    limit = TimeLimit(study)
    with progress:
        while True:
            _replace_the_dead(pool, repair)
            trials = all_trials(study)
            progress.update()
            if count_finished(trials) >= wanted or (limit.is_reached() and not pool.alive()):
                return
            if not limit.is_reached():
                pool.start(count_left(trials, wanted))
            sleep(POLL_SECONDS)


def _replace_the_dead(pool: WorkerPool, repair: Repair) -> None:
    """Give up the places of workers that ended, and have the trials of those that were killed retried."""
    killed = pool.reap()
    for signal_number in killed:
        log.warning("a worker was killed by signal %d: its trial is tried again", signal_number)
    if killed or repair.is_due():
        repair.repair()


def _check_some_completed(config: TuneConfig, study: optuna.Study) -> None:
    trials = all_trials(study)
    if best_trial(study) is not None or count_finished(trials) < config.trials:
        return
    costly = count_too_costly(config, study)
    if costly:
        raise UserError(
            f"no trial of study {study.study_name} completed, and {costly} were {bounds_text(config)}; allow more, or search "
            "smaller nets"
        )
    reasons = [trial.user_attrs[END] for trial in trials if trial.user_attrs.get(END, SURPLUS) != SURPLUS]
    last = reasons[-1] if reasons else "its workers died each time"
    raise UserError(f"no trial of study {study.study_name} completed; the last one that failed: {last}")


def _groups_text(session: Session, guide: Guide) -> str:
    """Tell the groups as ``--groups`` of the command that trains the winner."""
    if session.config.group != "all":
        return session.config.groups  # --group counts among all groups
    return groups_text(list(guide.groups.values()), session.workspace.dataset.classes)
