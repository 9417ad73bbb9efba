"""The command line: arguments to a configuration, a configuration to a command, errors in one line.

torch and mlflow are imported once the arguments are known to be good, so that help and refusals are quick.
"""

import contextlib
import difflib
import importlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import click

import kd
from kd.errors import EXIT_BAD_INPUT, EXIT_FAILED, UserError
from kd.flags import OPPOSITES, error_line, flags
from kd.machine.activity import doing, telling
from kd.machine.failure import failure_line
from kd.machine.output import Verbosity, log_to_terminal, say_answer, set_verbosity
from kd.machine.signals import check_stop, end_at_signals, exit_code, leave, note_signals
from kd.machine.terminal import guard_terminal, shown

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from kd.commands.answer import Answer
    from kd.config import Config

NEGATED = "no_"
ARGUMENT = "argument_"
PATHS = {"data_root", "output_dir", "config", "storage", "model", "images", "csv", "output"}
"""Fields that may be paths."""
PRESET_HELP = {
    "preset": "Settings of the generalist that go together, by name; those of --config and flags win over them.",
    "student_preset": "The same for the students and specialists.",
}

EXPERIMENT_HELP = "MLflow experiment of the runs; without it the one that MLflow chooses: MLFLOW_EXPERIMENT_NAME, else Default."

OUTPUT_OPTIONS = {
    "quiet": (["-q", "--quiet"], "Say only the answer and errors."),
    "verbose": (["-v", "--verbose"], "Say also what libraries log, and how long each part took."),
    "as_json": (["--json"], "Write the answer to standard output, as one JSON object."),
}
"""Flags of every command that decide how it speaks: no settings, so neither params nor in a file of settings."""

POWER_HELP = "Tell how many seeds would show a difference of so many points of accuracy, by earlier seeds; train nothing."

COMMANDS = {
    "teacher": ("TeacherConfig", "Train the generalist on all classes."),
    "student": ("StudentConfig", "Distil the generalist into one small net on all classes."),
    "specialist": ("SpecialistConfig", "Train one specialist for each class group, guided by the generalist."),
    "combine": ("CombineConfig", "Combine a finished generalist and finished specialists into one model."),
    "pipeline": ("PipelineConfig", "Train generalist, student and specialists, and compare them."),
    "predict": ("PredictConfig", "Name the classes of images, by a run's model or one in a file."),
    "export": ("ExportConfig", "Write a model as ONNX, with 8 bits too, or as a program or weights, and check it."),
    "targets": ("TargetsConfig", "Show or clear the teacher's logits that are cached."),
    "runs": ("RunsConfig", "List the runs of commands; end those that were left open; send what waits for the store."),
    "doctor": ("DoctorConfig", "Tell versions, device, store and caches, and what is wrong with them."),
    "paper": ("PaperConfig", "Carry out an experiment of the paper, with several seeds."),
    "report": ("ReportConfig", "Write one HTML page of a command's run, or of several side by side."),
    "results": ("ResultsConfig", "Render the records of kd paper as one page."),
    "tune": ("TuneConfig", "Search temperature, alpha, width and what you name for the best accuracy on val."),
}

TRACKED = set(COMMANDS) - {"predict", "export", "report", "results", "targets", "runs", "doctor"}
"""The commands that open MLflow runs."""
POWERED = ("student", "specialist", "pipeline")
"""The commands that compare paired seeds."""


class _Commands(click.Group):
    """The subcommands, each built when it is asked for: pydantic takes longer to import than ``kd --help`` may."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - the same
        return _command(cmd_name, _ready) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            alike = difflib.get_close_matches(name, COMMANDS, n=1)
            advice = f"did you mean {alike[0]}?" if alike else f"choose one of {', '.join(COMMANDS)}"
            raise click.UsageError(f"No such command {name!r}: {advice}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - the same
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


def config_class(command: str) -> type["Config"]:
    """Return the configuration of one command."""
    return cast("type[Config]", getattr(importlib.import_module("kd.config"), COMMANDS[command][0]))


def command_module(command: str) -> ModuleType:
    """Return the module with the function of a command, which has its name."""
    return importlib.import_module(f"kd.commands.{command}")


def parse(command: str, arguments: Sequence[str]) -> "Config":
    """Return the configuration of a command that some arguments give, and run nothing.

    Raises:
        click.ClickException: there is no such flag, or its value is missing.
        UserError: a value is out of bounds.
    """
    config: Config = _command(command, _configured).main(list(arguments), prog_name=command, standalone_mode=False)
    return config


def _command(name: str, act: Callable[[str, click.Context, dict[str, Any]], object]) -> click.Command:
    from kd.presets import preset_options  # noqa: PLC0415 - pydantic takes longer to import than `kd --help` may

    config = config_class(name)
    params: list[click.Parameter] = [
        click.Option(["--config", "config_file"], metavar="FILE", help="YAML file of settings; flags win over it.")
    ]
    if name in TRACKED:
        params.append(click.Option(["--experiment-name"], metavar="NAME", help=EXPERIMENT_HELP))
    for option, prefix in preset_options(config).items():
        names = [*flags(option), *(flags(f"{prefix}{option}") if prefix else []), option]
        params.append(click.Option(names, metavar="NAME", help=PRESET_HELP[option]))
    for field, info in config.model_fields.items():
        params += [*_argument(field, info), *_options(field, info)]
    params += [click.Option([*names, name], is_flag=True, help=text) for name, (names, text) in OUTPUT_OPTIONS.items()]
    if name in POWERED:
        params.append(click.Option(["--power"], type=float, metavar="POINTS", help=POWER_HELP))
    callback = click.pass_context(lambda ctx, **values: act(name, ctx, values))
    return click.Command(name, params=params, callback=callback, help=COMMANDS[name][1])


def _argument(field: str, info: "FieldInfo") -> list[click.Parameter]:
    """Return the argument that a field may be given as, beside its flag."""
    extra = info.json_schema_extra
    if not isinstance(extra, dict) or "argument" not in extra:
        return []
    many = -1 if "joined_by" in extra else 1
    return [click.Argument([f"{ARGUMENT}{field}"], nargs=many, required=False, metavar=f"[{extra['argument']}]")]


def _options(field: str, info: "FieldInfo") -> list[click.Parameter]:
    """Return the flags of one field. They take text: the configuration parses and bounds it."""
    from kd.tracking.params import canonical  # noqa: PLC0415 - as above

    names = flags(field)
    default, extra = info.default, info.json_schema_extra
    text = canonical(default)
    shown = f"{info.description}  [default: {text}]" if text else info.description
    if not isinstance(default, bool):
        metavar = {int: "N", float: "X"}.get(type(default), "TEXT")
        if isinstance(extra, dict) and "joined_by" in extra:
            return [click.Option([*names, field], multiple=True, metavar=metavar, help=shown)]
        return [click.Option([*names, field], default=text, metavar=metavar, help=shown)]
    negated = names[0].replace("--", "--no-", 1)
    *opposite, told = OPPOSITES.get(field, ("",))
    metavar = str(extra["metavar"]) if isinstance(extra, dict) else "[true|false]"
    # mlflow run passes `--control true`, a person types `--control` or `--no-control`.
    return [
        click.Option([*names, field], is_flag=False, flag_value="true", default=text, metavar=metavar, help=shown),
        click.Option([*opposite, negated, f"{NEGATED}{field}"], is_flag=True, hidden=not told, help=told),
    ]


def _ready(name: str, ctx: click.Context, values: dict[str, Any]) -> Callable[[], int]:
    """Return a command, all that it needs imported, with the configuration that was typed."""
    experiment, points = values.get("experiment_name"), values.pop("power", None)
    quiet, verbose, as_json = (values.pop(option) for option in OUTPUT_OPTIONS)
    if quiet and verbose:
        raise click.UsageError("--quiet and --verbose contradict each other: give one of them")
    config = _configured(name, ctx, values)
    if experiment is not None:
        _choose_experiment(experiment)
    set_verbosity(Verbosity.QUIET if quiet else Verbosity.VERBOSE if verbose else Verbosity.USUAL)
    with telling(), doing("loading libraries"):
        function = cast("Callable[[Config], Answer]", _function(name, points))
    return partial(_carry_out, name, function, config, as_json=as_json)


def _function(name: str, points: float | None) -> Callable[..., object]:
    """Return a command, or what tells how many of its seeds would show a difference of so many points."""
    if points is None:
        return cast("Callable[..., object]", getattr(command_module(name), name))
    return partial(command_module("power").power, name, points)


def _carry_out(name: str, function: Callable[["Config"], "Answer"], config: "Config", *, as_json: bool) -> int:
    """Run a command, say its answer, and return its exit code; as JSON nothing else gets onto standard output."""
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext(), telling(), doing(f"kd {name}"):
        answer = function(config)
    is_written = answer.is_report and not as_json
    for line, colour in () if is_written else answer.lines:
        say_answer(line, colour)
    _write_out([shown(line) for line, _ in answer.lines] if is_written else [])
    _write_out([json.dumps({"command": name, **answer.record}, allow_nan=False)] if as_json else [])
    return answer.code


def _write_out(lines: Sequence[str]) -> None:
    """Write lines to standard output, until a reader such as ``head`` wants no more."""
    try:
        for line in lines:
            click.echo(line)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python writes what is left when it ends


def _choose_experiment(name: str) -> None:
    """Have the runs of this command, and of the processes that it starts, in an experiment.

    Raises:
        UserError: the name is empty, or ``mlflow run`` has opened the run already.
    """
    if not name.strip():
        raise UserError("names no experiment; give a name, or leave the flag out", field="experiment_name")
    if _under_mlflow():
        raise UserError(f"{name}: `mlflow run` chooses the experiment: give it `--experiment-name`", field="experiment_name")
    os.environ.pop("MLFLOW_EXPERIMENT_ID", None)
    os.environ["MLFLOW_EXPERIMENT_NAME"] = name


def _configured(name: str, ctx: click.Context, values: dict[str, Any]) -> "Config":
    """Return the configuration of the flags, the file and the presets that were typed."""
    from kd.config import load_settings  # noqa: PLC0415 - as above
    from kd.presets import preset_options, preset_settings  # noqa: PLC0415 - the same

    for option in (*OUTPUT_OPTIONS, "power"):
        values.pop(option, None)
    file = values.pop("config_file")
    values.pop("experiment_name", None)
    settings: dict[str, Any] = {}
    for option, prefix in preset_options(config_class(name)).items():
        preset = values.pop(option)
        settings |= preset_settings(preset, prefix, option) if preset else {}
    for field in [name for name in values if name.startswith(NEGATED)]:
        if values.pop(field):
            values[field.removeprefix(NEGATED)] = "false"
    arguments = _arguments(name, values)
    for field, value in values.items():
        if isinstance(value, tuple):  # of a flag that may be repeated
            values[field] = _joined(name, field, value)
    for field, value in arguments.items():
        if values[field]:
            raise UserError(f"{values[field]}: given twice, as {value} too; leave one out", field=field)
        values[field] = value
    settings |= load_settings(file) if file else {}
    if settings:
        values = {**values, **settings, **{field: values[field] for field in _given(name, ctx, values)}, **arguments}
    return config_class(name).parse(values)


def _arguments(name: str, values: dict[str, Any]) -> dict[str, str]:
    """Take the arguments that are no flags out of what was typed, and return those that are there, by their fields."""
    typed = {field.removeprefix(ARGUMENT): values.pop(field) for field in [*values] if field.startswith(ARGUMENT)}
    given = {field: value for field, value in typed.items() if value}
    return {field: value if isinstance(value, str) else _joined(name, field, value) for field, value in given.items()}


def _joined(name: str, field: str, values: Sequence[str]) -> str:
    extra = cast("dict[str, str]", config_class(name).model_fields[field].json_schema_extra)
    return extra["joined_by"].join(values)


def _given(name: str, ctx: click.Context, values: dict[str, Any]) -> list[str]:
    """Return the fields that win over a settings file: those typed by the user.

    ``mlflow run`` passes every declared parameter, so there a value that is the default counts as not typed.
    """
    defaults = config_class(name)().texts()
    return [
        field
        for field, value in values.items()
        if click.core.ParameterSource.COMMANDLINE
        in {ctx.get_parameter_source(field), ctx.get_parameter_source(f"{NEGATED}{field}")}
        and not (_under_mlflow() and value == defaults[field])
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``kd`` and exit: 0 done, 2 bad input, 1 a failed run, 128 and the signal's number when stopped."""
    end_at_signals()
    guard_terminal()
    log_to_terminal()
    group = _Commands("kd", help=kd.__doc__, no_args_is_help=True)
    group = click.version_option(kd.__version__, prog_name="kd")(group)
    finished = False
    try:
        command = group.main(args=None if arguments is None else list(arguments), prog_name="kd", standalone_mode=False)
        if callable(command):  # no number, as after --help
            note_signals()
            code = command()
            finished = True
            check_stop()
            if code:
                sys.exit(code)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
    except click.ClickException as error:
        _exit(shown(error.format_message()), EXIT_BAD_INPUT)
    except UserError as error:
        _exit(shown(f"{error_line(error)}{_where_from(error)}"), EXIT_BAD_INPUT)
    except KeyboardInterrupt:
        told = "it had finished before: nothing is left to resume" if finished else "run the same command again to resume"
        leave(f"kd: stopped; {told}", exit_code())
    except Exception as error:  # noqa: BLE001 - whatever it is, a person sees one line
        _exit(failure_line(error), EXIT_FAILED)


def _where_from(error: UserError) -> str:
    """Return what a relative path is relative to, where that is not the folder in which the user typed it."""
    if error.field not in PATHS or not _under_mlflow():
        return ""
    return f" (`mlflow run` starts kd in {Path.cwd()}: give an absolute path)"


def _under_mlflow() -> bool:
    """Return whether ``mlflow run`` started this process."""
    return "MLFLOW_RUN_ID" in os.environ


def _exit(line: str, code: int) -> None:
    click.echo(f"kd: {line}", err=True)
    sys.exit(code)
