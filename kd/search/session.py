"""A session: one command's work on one study, from its arguments to the open study."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import optuna

from kd.config import TuneConfig
from kd.distillation.plan import check_alpha
from kd.errors import UserError
from kd.from_config import check_group_settings, check_nets, check_teacher, check_top_n, data_digest, foreign_code, prepare
from kd.search.best import check_place
from kd.search.costs import bounds_text
from kd.search.latency import Latencies, fast_space, find_latencies, keep_latencies
from kd.search.size import fitting_config, fitting_space
from kd.search.space import Axis, first_points, parse_space
from kd.search.state import all_trials, count_finished
from kd.search.storage import check_database, opened
from kd.search.study import identity, open_study, study_name
from kd.specialists.groups import least_sizes
from kd.tracking.workspace import Workspace

log = logging.getLogger("kd")

POLL_SECONDS = 1.0
"""Between two looks at the study and at the workers."""


@dataclass(frozen=True, eq=False)
class Session:
    """What a command that works on a study has at hand."""

    config: TuneConfig
    """Its study has a name: not ``auto`` any more."""
    workspace: Workspace
    space: tuple[Axis, ...]
    """What is searched: as it was asked for, and within ``--max-parameters`` and ``--max-latency``."""
    study: optuna.Study
    latencies: Latencies | None
    """Of the nets that are searched; None: nothing is asked about them."""


@contextmanager
def open_session(config: TuneConfig) -> Iterator[Session]:
    """Check all that was asked for, and create the study or open it again.

    Raises:
        UserError: bad input, or the study is one of something else.
    """
    space = parse_space(config)
    check_database(config.storage)
    workspace = prepare("tune", config)
    check_place(workspace.output_dir)
    _check(config, space, workspace)
    facts = identity(config, space, data_digest(config, workspace.dataset), foreign_code(config, workspace.dataset))
    config = config.model_copy(update={"study_name": study_name(config, facts)})
    asked, space = space, fitting_space(space, config, workspace.dataset)
    with opened(config.storage) as storage:
        latencies = find_latencies(storage, config.study_name, config, space, workspace)
        space = fast_space(space, config, _least_groups(config, workspace), latencies)
        points, outside = first_points(fitting_config(config, space), space)
        study = open_study(storage, config.study_name, facts, points, pareto=bool(config.second_objective()))
        if latencies is not None:
            latencies = keep_latencies(study, latencies)
        log.info("study %s: %d of %d trials done", study.study_name, count_finished(all_trials(study)), config.trials)
        log.info("searched: %s", ", ".join(axis.text() for axis in space))
        if space != asked:
            log.info("wider nets than these are %s", bounds_text(config))
        for line in outside:
            log.info("not tried first: %s", line)
        yield Session(config, workspace, space, study, latencies)


def _least_groups(config: TuneConfig, workspace: Workspace) -> int:
    """Return how many specialists a candidate has at least."""
    if config.objective == "student":
        return 0
    return len(least_sizes(config.groups, config.group, config.data, workspace.dataset.classes))


def _check(config: TuneConfig, space: Sequence[Axis], workspace: Workspace) -> None:
    """Refuse what would fail later, before any study or run is made."""
    if config.register_as:
        raise UserError(
            f"{config.register_as}: a search registers nothing; kd specialist --config best.yaml --register NAME does",
            field="register_as",
        )
    if config.second_objective() == "size" and not config.export:
        raise UserError("size: with --no-export no model has a file; leave that out, or give --pareto latency", field="pareto")
    if config.objective == "student":
        check_top_n(config.top_n, workspace)
        if not any(axis.name == "alpha" for axis in space):
            check_alpha(config.alpha, workspace.dataset)
    else:
        check_group_settings(config, workspace)
    check_teacher(config, workspace)
    check_nets(config, workspace)
