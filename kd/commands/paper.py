"""``kd paper``: an experiment of the paper with several seeds, its record, and what it says of the paper's claim."""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path

from kd.commands.answer import COLOURS, Answer, bounds_record, no_change, place_lines, place_record
from kd.commands.parent import parent_run
from kd.config import PaperConfig
from kd.distillation.tracker import tracked_by
from kd.errors import EXIT_BAD_INPUT, UserError
from kd.flags import error_line
from kd.from_config import fingerprint_of, prepare, run_settings
from kd.lab.experiment import carry_out_experiment
from kd.lab.names import ALL, NAMES, ExperimentName
from kd.lab.page import note_text, tables
from kd.lab.record import Difference, Record
from kd.lab.settings import Settings
from kd.lab.setup import Setup
from kd.machine.activity import doing
from kd.machine.names import metric_name
from kd.reports.note import history_text
from kd.tracking.report import log_report
from kd.tracking.store import Run, say_reuse
from kd.tracking.tracker import MlflowTracker
from kd.tracking.views import ALL_SYSTEMS
from kd.tracking.workspace import Workspace
from kd.typed import typed

log = logging.getLogger("kd")

RESULTS = "results"
"""The folder of records, below the output folder."""


def paper(config: PaperConfig) -> Answer:
    """Carry out one experiment of the paper, or all of them one after the other."""
    config.check_name()
    workspace = prepare("paper", config)
    if config.name == ALL:
        return _all_carried_out(config, workspace)
    [name] = [name for name in NAMES if name == config.name]
    return _carried_out(name, config, workspace)


def _all_carried_out(config: PaperConfig, workspace: Workspace) -> Answer:
    """Carry out all experiments; those that do not fit the images or settings are told at the end, and exit with 2.

    The records of finished ones are kept until the end, so that the same command after a stop goes on behind them.
    """
    kept = workspace.output_dir / "checkpoints" / f"unfinished-paper-{fingerprint_of(config, workspace)[:8]}"
    if not workspace.resume:
        shutil.rmtree(kept, ignore_errors=True)
    answers: list[Answer] = []
    refused: dict[str, str] = {}
    for name in NAMES:
        try:
            answers.append(_kept(name, kept, workspace) or _carried_out(name, config, workspace, kept))
        except UserError as error:
            refused[name] = error_line(error)
            log.warning("%s: not carried out: %s", name, refused[name])
    shutil.rmtree(kept, ignore_errors=True)
    lines = [line for answer in answers for line in [(f"{answer.record['experiment']}:", ""), *answer.lines]]
    lines += [(f"{name}: not carried out: {why}", COLOURS["loss"]) for name, why in refused.items()]
    record = {**no_change(), "experiments": [dict(answer.record) for answer in answers], "refused": refused}
    return Answer(lines, record, code=EXIT_BAD_INPUT if refused else 0)


def _kept(name: ExperimentName, folder: Path, workspace: Workspace) -> Answer | None:
    """Return what an experiment found that was finished before the command stopped; None: it was not."""
    for path in sorted(folder.glob(f"{name}-*.json")):
        try:
            record = Record.read(path)
        except UserError as error:
            log.warning("%s is carried out again: what it found before this command stopped is damaged (%s)", name, error)
            return None
        say_reuse(f"{name} was finished before this command stopped; --fresh carries it out again")
        return _answer(record, record.write(workspace.output_dir / RESULTS), None)
    return None


def _carried_out(name: ExperimentName, config: PaperConfig, workspace: Workspace, kept: Path | None = None) -> Answer:
    """Carry out one experiment, and write its record, to the folder ``kept`` too."""
    config = config.model_copy(update={"name": name})
    own = Settings(**{field.name: getattr(config, field.name) for field in fields(Settings)})
    setup = Setup(workspace.dataset, workspace.device, own)
    seeds = range(config.seed, config.seed + config.seeds)
    log.info("%s with %d seed%s on %s", name, config.seeds, "s" * (config.seeds > 1), workspace.dataset.name)
    with _place(config, workspace) as parent:
        record = carry_out_experiment(name, setup, seeds, typed("paper", config))
        path = record.write(workspace.output_dir / RESULTS)
        if parent is not None:
            _log(record, path, parent)
    if kept is not None:
        record.write(kept)
    if parent is not None:  # its finished nets were there to be reused after a stop
        shutil.rmtree(workspace.output_dir / "checkpoints" / _unfinished(parent), ignore_errors=True)
    return _answer(record, path, parent)


@contextmanager
def _place(config: PaperConfig, workspace: Workspace) -> Iterator[Run | None]:
    """Open the experiment's run, below which each training has its own; None: nothing is tracked."""
    if not config.track:
        yield None
        return
    with parent_run("paper", config, workspace, label=config.name) as parent:
        settings = replace(run_settings(config, workspace, parent), brief=_unfinished(parent), export=False)
        with tracked_by(MlflowTracker(settings)):
            yield parent


def _unfinished(parent: Run) -> str:
    """Return the name of the folder of an experiment's checkpoints, which it has until its end."""
    return f"unfinished-{parent.files_name}"


@doing("writing the record, its tables and figure")
def _log(record: Record, path: Path, parent: Run) -> None:
    from kd.reports.plots.systems import interval_forest  # noqa: PLC0415 - matplotlib is a slow import

    differences, seeds = record.differences, len(record.seeds)
    figure = interval_forest(
        [one.compared for one in differences],
        [one.points for one in differences],
        f"{record.title}: {record.data}, {seeds} seed{'s' * (seeds != 1)}",
        over=differences[0].over,
        verdicts=[one.verdict for one in differences],
    )
    parent.log_figure(figure, "1_differences")
    parent.log_tables(tables(record))
    parent.log_file(path, RESULTS)
    parent.log_note("\n\n".join([note_text(record), *history_text(parent.history)]))
    parent.log_metrics({f"lab/{metric_name(row.system)}": row.accuracy.mean for row in record.rows})
    parent.log_tags({"kd.verdict": record.conclusion[0].in_words})
    log_report(parent)


def _answer(record: Record, path: Path, parent: Run | None) -> Answer:
    lines = [(one.in_words, COLOURS.get(one.verdict, "")) for one in record.conclusion]
    lines.append((f"record: {path}", ""))
    if parent is not None:
        lines += place_lines(parent, None, f"all systems: {parent.view_address(ALL_SYSTEMS)}", parent.report_file)
    return Answer(
        lines,
        {
            **_difference_record(record.conclusion[0]),
            "experiment": record.experiment,
            **(place_record(parent) if parent is not None else {}),
            "record": str(path),
            "report": None if parent is None else str(parent.report_file),
            "differences": [
                {"after": one.after, "before": one.before, "expected": one.expected, **_difference_record(one)}
                for one in record.differences
            ],
        },
    )


def _difference_record(one: Difference) -> dict[str, object]:
    return {
        "verdict": one.verdict,
        "difference": one.points.mean,
        "interval": bounds_record(one.points),
        "n": one.points.n,
        "over": one.over,
    }
