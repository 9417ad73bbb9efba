"""``kd tune``: one Optuna study, worked on by any number of workers and machines, in one tree of MLflow runs."""

import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import optuna
from tqdm import tqdm

from kd.config import TuneConfig
from kd.distillation.target_cache import weights_digest
from kd.distillation.teacher import Teacher
from kd.errors import UserError
from kd.jobs import find_teacher, prepare, teacher_targets
from kd.machine.signals import sleep
from kd.search import report
from kd.search.candidates import Guide
from kd.search.crew import Crew, threads_each
from kd.search.final import compare
from kd.search.nursery import Nursery
from kd.search.order import Order
from kd.search.processes import Leader
from kd.search.space import Axis, first_points, parse_space
from kd.search.storage import identity, open_study, opened, study_name, without_password
from kd.search.trials import END, SURPLUS, UNTIL, Mender, all_trials, finished, is_time_up, under_way
from kd.specialists.clustering import Group
from kd.specialists.groups import check_groups, choose_groups, resolve_groups
from kd.tracking import store as tracking
from kd.tracking.teachers import AUTO, check_teacher, load_teacher
from kd.tracking.workspace import Setting

log = logging.getLogger("kd")

PARENT = "kd.parent"
"""Study attribute: the study's MLflow run, known as soon as it is open."""
SHARED = "kd.shared"
"""Study attribute: what the leader found and all workers take: teacher and groups."""
POLL_SECONDS = 1.0
MEND_SECONDS = 15.0
FIGURE_SECONDS = 60.0


@dataclass(frozen=True)
class Shared:
    """What all workers of a study take from its leader."""

    teacher: str
    teacher_digest: str
    groups: Mapping[str, list[int]]


def search(config: TuneConfig) -> None:
    """Search, then train the winner again and score it on test.

    Workers are forked off this process as it is now: call it before anything is computed.

    Raises:
        UserError: bad input, or the study is one of something else.
    """
    with Nursery() as nursery:  # before data are loaded: see there
        _search(config, nursery)


def _search(config: TuneConfig, nursery: Nursery) -> None:
    setting = prepare("tune", config)
    space = parse_space(config)
    _check(config, setting)
    facts = identity(config, space, setting.dataset.digest)
    config = config.model_copy(update={"study_name": study_name(config, facts)})
    points, outside = first_points(config, space)
    with opened(config.storage) as storage:
        study = open_study(storage, config.study_name, facts, points, pareto=config.pareto)
        log.info("study %s: %d of %d trials done", study.study_name, finished(all_trials(study)), config.trials)
        for line in outside:
            log.info("not tried first: %s", line)
        _check_named_teacher(config, setting, study)
        leader = Leader(study)
        while not leader.take_the_lead():
            if SHARED in study.user_attrs:
                _follow(config, setting, study, leader, nursery)
                if not leader.is_vacant():
                    return
            sleep(POLL_SECONDS)
        with leader:
            _lead(config, setting, study, space, nursery)


def _check(config: TuneConfig, setting: Setting) -> None:
    """Refuse what would fail later, before any study or run is made."""
    dataset = setting.dataset
    if config.register_as:
        raise UserError("--register: a search registers nothing; kd specialist --config best.yaml --register NAME does")
    if config.objective != "student":
        check_groups(config.groups, config.group, dataset.name, dataset.classes)
    if config.top_n > dataset.num_classes:
        raise UserError(f"--top-n {config.top_n}: there are only {dataset.num_classes} classes")
    check_teacher(config.teacher, setting)


def _lead(config: TuneConfig, setting: Setting, study: optuna.Study, space: tuple[Axis, ...], nursery: Nursery) -> None:
    known = study.user_attrs.get(PARENT)
    again = known if known and tracking.has_run(known) else None
    tags = {**setting.tags, "kd.role": "study", "kd.study": study.study_name, "kd.objective": config.objective}
    name = f"tune {study.study_name}"
    with (
        _crew(config, study, nursery, leads=True) as crew,
        tracking.run(name, output_dir=setting.output_dir, tags=tags, again=again) as parent,
    ):
        study.set_user_attr(PARENT, parent.id)
        parent.log_params(without_password(config).params())
        if again is None:
            parent.log_settings(without_password(config).model_dump())
            parent.log_dataset(setting.dataset.name, setting.dataset.digest, {"role": "study"})
        guide = _guide(config, setting, study, parent)
        mender = Mender(study, parent.id)
        watch = _Watch(config, study, space, parent, _groups_text(config, setting, guide))
        mender.end_orphans(log.info)
        mender.fail_lost()
        mender.retry_failed()
        mender.end_runs(log.info)
        with _left_in_order(crew, mender, watch):
            _work(config, study, crew, mender, watch)
        _check_some_completed(config, study)
        watch.show(compare(config, study, guide, parent))
    log.info("done: run %s of experiment %s; `mlflow ui` shows it", parent.id, parent.experiment_id)


@contextmanager
def _left_in_order(crew: Crew, mender: Mender, watch: "_Watch") -> Iterator[None]:
    """Stop the crew at the end, however that comes, and leave nothing that looks under way."""
    try:
        yield
    finally:
        crew.stop()
        mender.fail_lost(stopped=True)
        mender.retry_failed()
        mender.end_runs(log.info)
        watch.show("")


def _check_some_completed(config: TuneConfig, study: optuna.Study) -> None:
    trials = all_trials(study)
    if report.best_trial(study) is not None or finished(trials) < config.trials:
        return
    reasons = [trial.user_attrs[END] for trial in trials if trial.user_attrs.get(END, SURPLUS) != SURPLUS]
    last = reasons[-1] if reasons else "its workers died each time"
    raise UserError(f"no trial of study {study.study_name} completed; the last one that failed: {last}")


def _guide(config: TuneConfig, setting: Setting, study: optuna.Study, parent: tracking.Run) -> Guide:
    """Find or train the teacher, fix the groups, keep the targets, and tell all workers."""
    kept = study.user_attrs.get(SHARED)
    named = kept["teacher"] if kept and config.teacher == AUTO and tracking.has_run(kept["teacher"]) else config.teacher
    teacher = find_teacher(config.model_copy(update={"teacher": named}), setting)
    digest = weights_digest(teacher.model)
    _check_same_teacher(study, digest)
    parent.log_tags({"kd.teacher": teacher.run_id})
    groups = _groups(config, setting, teacher) if not kept else {int(n): tuple(group) for n, group in kept["groups"].items()}
    targets = teacher_targets(config, setting, teacher)
    told = {str(number): list(group) for number, group in groups.items()}
    study.set_user_attr(SHARED, {"teacher": teacher.run_id, "teacher_digest": digest, "groups": told})
    return Guide(setting, teacher, targets, groups)


def _check_named_teacher(config: TuneConfig, setting: Setting, study: optuna.Study) -> None:
    """Refuse a teacher named by the user that is not the one of the study, before any run is opened."""
    if SHARED in study.user_attrs and config.teacher not in {AUTO, study.user_attrs[SHARED]["teacher"]}:
        _check_same_teacher(study, weights_digest(load_teacher(config.teacher, "--teacher", setting).model))


def _check_same_teacher(study: optuna.Study, digest: str) -> None:
    kept = study.user_attrs.get(SHARED)
    if kept and kept["teacher_digest"] != digest:
        raise UserError(
            f"--study-name {study.study_name}: its trials had another teacher, run {kept['teacher']}; give another name"
        )


def _groups(config: TuneConfig, setting: Setting, teacher: Teacher) -> dict[int, Group]:
    if config.objective == "student":
        return {}
    dataset = setting.dataset
    groups = resolve_groups(
        config.groups, dataset.name, dataset.classes, lambda: teacher.val_logits.softmax(dim=1), seed=config.data_seed
    )
    for number, group in enumerate(groups):
        log.info("group %d: %s", number, ", ".join(dataset.classes[label] for label in group))
    return choose_groups(groups, config.group)


def _groups_text(config: TuneConfig, setting: Setting, guide: Guide) -> str:
    if config.group != "all":
        return config.groups  # --group counts among all groups
    return report.groups_text(list(guide.groups.values()), setting.dataset.classes)


def _follow(config: TuneConfig, setting: Setting, study: optuna.Study, leader: Leader, nursery: Nursery) -> None:
    """Work on a study that another command leads, until nothing is left to begin or that command is gone."""
    log.info("study %s is led by another command: joining it", study.study_name)
    _check_named_teacher(config, setting, study)
    mender = Mender(study, study.user_attrs[PARENT])
    in_time = _InTime(study)
    with _crew(config, study, nursery, leads=False) as crew:
        while in_time() or crew.at_work():
            if leader.is_vacant():
                log.info("the leading command is gone: this one takes its place")
                return
            if crew.bury():
                mender.fail_lost()
            trials = all_trials(study)
            left = config.trials - finished(trials) - under_way(trials)
            if left <= 0 and not crew.at_work():
                break
            if in_time():
                crew.start(left)
            sleep(POLL_SECONDS)
    log.info("nothing left to begin; the leading command ends the study")


def _work(config: TuneConfig, study: optuna.Study, crew: Crew, mender: Mender, watch: "_Watch") -> None:
    """Have the crew run trials until all are done, or time is up."""
    mended = time.monotonic()
    study.set_user_attr(UNTIL, time.time() + config.timeout if config.timeout else None)
    in_time = _InTime(study)
    with watch:
        while True:
            killed = crew.bury()
            if killed or time.monotonic() - mended > MEND_SECONDS:
                for signal_number in killed:
                    log.warning("a worker was killed by signal %d: its trial is tried again", signal_number)
                mender.fail_lost()
                mender.retry_failed()
                mender.end_runs(log.info)
                mended = time.monotonic()
            trials = all_trials(study)
            watch.look()
            if finished(trials) >= config.trials or not (in_time() or crew.at_work()):
                break
            if in_time():
                crew.start(config.trials - finished(trials) - under_way(trials))
            sleep(POLL_SECONDS)


def _crew(config: TuneConfig, study: optuna.Study, nursery: Nursery, *, leads: bool) -> Crew:
    def order(number: int) -> Order:
        shared = Shared(**study.user_attrs[SHARED])
        settings = {**config.model_dump(), "teacher": shared.teacher}
        return Order(
            config=settings,
            groups=shared.groups,
            parent_run=study.user_attrs[PARENT],
            number=number,
            leads=leads,
            threads=threads_each(config.workers),
            tracking_uri=tracking.tracking_uri(),
        )

    return Crew(config.workers, nursery, order)


class _InTime:
    """Whether there is time to begin another trial."""

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self._told = False

    def __call__(self) -> bool:
        in_time = not is_time_up(self._study)
        if not in_time and not self._told:
            log.info("time is up: no trial is begun any more")
            self._told = True
        return in_time


class _Watch:
    """What is seen of the study: a bar on a terminal, a line a trial otherwise; and its run's note and figures."""

    def __init__(
        self, config: TuneConfig, study: optuna.Study, space: tuple[Axis, ...], parent: tracking.Run, groups: str
    ) -> None:
        self._config, self._study, self._space, self._parent, self._groups = config, study, space, parent, groups
        self._seen = self._ended()
        self._drawn_at = time.monotonic()
        self._drawn: set[int] | None = None
        """The numbers of the ended trials that the figures show; None: nothing is drawn yet."""

    def __enter__(self) -> Self:
        self._bar = tqdm(
            desc=self._study.study_name,
            total=self._config.trials,
            initial=min(self._config.trials, finished(all_trials(self._study))),
            unit="trial",
            dynamic_ncols=True,
            disable=not sys.stderr.isatty(),
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def look(self) -> None:
        """Tell of the trials that ended since the last look."""
        ended = [trial for trial in all_trials(self._study) if trial.state.is_finished() and trial.number not in self._seen]
        for trial in ended:
            self._seen.add(trial.number)
            if trial.user_attrs.get(END) == SURPLUS:
                continue
            if self._bar.disable:
                log.info("%s", report.trial_line(self._study, trial))
        if not ended:
            return
        self._bar.n = min(self._config.trials, finished(all_trials(self._study)))
        self._bar.set_postfix_str(report.best_text(self._study))
        self._write_down("")
        if time.monotonic() - self._drawn_at > FIGURE_SECONDS:
            self._draw()

    def show(self, final: str) -> None:
        """Bring the run's note and figures up to date, at the study's end with what the winner scored on test."""
        self._write_down(final)
        self._draw()

    def _write_down(self, final: str) -> None:
        trials = [trial for trial in all_trials(self._study) if trial.user_attrs.get(END) != SURPLUS]
        self._parent.log_note(report.note(self._config, self._study, self._groups, self._space, final))
        states = {f"trials_{name}": sum(trial.state == state for trial in trials) for state, name in report.STATES.items()}
        best = report.best_trial(self._study)
        value = {} if best is None else {"best_val_accuracy": best.values[0]}
        self._parent.log_epochs([{"epoch": float(finished(trials)), **states, **value}])
        if best is not None:
            self._parent.log_tags({"kd.best_trial": str(best.number), "kd.best_run": best.user_attrs.get("kd.run", "")})

    def _draw(self) -> None:
        ended = self._ended()
        if ended == self._drawn:
            return
        report.log_figures(self._parent, self._study, self._space)
        path = report.write_best(self._config, self._study, self._groups, self._parent.output_dir)
        if path is not None:
            self._parent.log_file(path, "")
        self._drawn, self._drawn_at = ended, time.monotonic()

    def _ended(self) -> set[int]:
        return {trial.number for trial in all_trials(self._study) if trial.state.is_finished()}
