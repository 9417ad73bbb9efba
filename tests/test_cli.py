"""The command line: every field a flag, refusals in one line with exit code 2, flags over file over default."""

import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

import kd
from kd.cli import COMMANDS, POWERED, command_module, config_class
from kd.commands.answer import Answer
from kd.config import Config, StudentConfig, TeacherConfig
from kd.errors import UserError
from kd.flags import error_line
from kd.nets.names import SMALL
from kd.tracking.params import canonical

Main = Callable[[Sequence[str]], None]
Configured = Callable[[Sequence[str]], Config]
OtherValues = Callable[[type[Config]], dict[str, Any]]
Capture = pytest.CaptureFixture[str]


def flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def refusal(main: Main, arguments: Sequence[str], capture: Capture) -> str:
    """Return the one line with which arguments are refused."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    output = capture.readouterr()
    assert caught.value.code == 2
    assert output.out == ""
    assert output.err.endswith("\n")
    *before, line = output.err.splitlines()
    found = "10 classes (0, 1, ...), "  # in the data; what takes long on a busy machine is told as well
    assert all(said.startswith(found) or re.search(r" \.\.\.( \(\d+ s\))?$", said) for said in before), output.err
    assert line.startswith("kd: ")
    return line.removeprefix("kd: ").rstrip()


def test_help_lists_the_commands(cli: Main, capsys: Capture) -> None:
    for arguments in ([], ["--help"]):
        cli(arguments)
        listed = re.findall(r"^  (\w+)  ", capsys.readouterr().out.partition("Commands:")[2], flags=re.MULTILINE)
        assert listed == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_flags_of_a_command_are_its_fields_each_with_its_default(command: str, cli: Main, capsys: Capture) -> None:
    cli([command, "--help"])
    text = capsys.readouterr().out
    fields = config_class(command).model_fields
    listed = re.findall(r"^  (?:-\w, )?(--.+?)(?:  |$)", text, flags=re.MULTILINE)
    flags = {name for line in listed for name in re.findall(r"--[\w-]+", line)}
    presets = ["--preset"] * ("net_args" in fields) + ["--teacher-preset", "--student-preset"] * ("teacher_net_args" in fields)
    experiment = ["--experiment-name"] * (
        command not in {"predict", "export", "report", "results", "targets", "runs", "doctor"}
    )
    spoken = ["--quiet", "--verbose", "--json", *(["--power"] if command in POWERED else [])]
    known = {flag(name) for name in fields} | {"--config", "--help", *presets, *experiment, *spoken}
    assert flags >= known
    assert flags - known <= {"--register", "--fresh", "--no-resume"}  # for --register-as, and for --resume false
    words = " ".join(text.split())
    for name, field in fields.items():
        default = canonical(field.default)
        assert " ".join(str(field.description).split()) + (f" [default: {default}]" if default else "") in words, name


@pytest.mark.parametrize("command", COMMANDS)
def test_without_flags_a_command_gets_the_defaults(command: str, configured: Configured) -> None:
    config = configured([command])
    assert type(config) is config_class(command)
    assert config == config_class(command)()


@pytest.mark.parametrize("command", COMMANDS)
def test_each_flag_sets_its_field(command: str, configured: Configured, other_values: OtherValues) -> None:
    values = other_values(config_class(command))
    arguments = [part for name, value in values.items() for part in (flag(name), canonical(value))]
    assert configured([command, *arguments]).model_dump() == values
    for name, value in values.items():
        alone = configured([command, f"{flag(name)}={canonical(value)}"]).model_dump()
        # In kd specialist neither a net nor a size is there by default; where one size is given, all are.
        whole = {"net": "resnet", **SMALL} if command == "specialist" and name in SMALL else {}
        assert alone == config_class(command)().model_dump() | whole | {name: value}


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_takes_its_configuration(command: str) -> None:
    function = getattr(command_module(command), command)
    [parameter] = inspect.signature(function).parameters.values()
    assert parameter.annotation is config_class(command)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ([], True),
        (["--control", "true"], True),
        (["--control", "false"], False),
        (["--control=false"], False),
        (["--control", "no"], False),
        (["--no-control"], False),
        (["--no-control", "--seeds", "2"], False),
        (["--control", "false", "--control", "true"], True),
        (["--control", "true", "--no-control"], False),
        (["--control"], True),
        (["--control", "--seeds", "2"], True),
        (["--seeds", "2", "--control"], True),
    ],
)
def test_a_yes_or_no_can_be_typed_in_every_way(typed: list[str], expected: bool, configured: Configured) -> None:  # noqa: FBT001
    assert configured(["student", *typed]) == StudentConfig(control=expected, seeds=2 if "--seeds" in typed else 1)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["teachr"], "No such command 'teachr': did you mean teacher?"),
        (["studnet", "--width", "4"], "No such command 'studnet': did you mean student?"),
        (["zzz"], "No such command 'zzz': choose one of teacher, student, "),
        (["--qqqqqqqq"], "No such option"),
        (["teacher", "-q", "-v"], "--quiet and --verbose contradict each other"),
        (["teacher", "--qqqqqqqq", "3"], "No such option"),
        (["teacher", "--temperature", "4"], "No such option"),
        (["teacher", "--width"], "Option '--width' requires an argument."),
        (["teacher", "extra"], "Got unexpected extra argument (extra)"),
        (["teacher", "--epochs", "0"], "--epochs 0: input should be greater than or equal to 1"),
        (["teacher", "--batch-size", "1"], "--batch-size 1: input should be greater than or equal to 2"),
        (["teacher", "--lr", "nan"], "--lr nan: input should be a finite number"),
        (["student", "--width", "0"], "--width 0: input should be greater than or equal to 1"),
        (["student", "--temperature", "0"], "--temperature 0: input should be greater than 0"),
        (["student", "--alpha", "1.5"], "--alpha 1.5: input should be less than or equal to 1"),
        (["student", "--control", "maybe"], "--control maybe: input should be a valid boolean"),
        (["student", "--teacher-epochs", "0"], "--teacher-epochs 0: input should be greater than or equal to 1"),
        (["specialist", "--group", "-1"], "--group -1: input should be greater than or equal to 0"),
        (["specialist", "--data", "imagenet"], "--data imagenet: input should be 'digits', "),
        (["combine", "--top-n", "0"], "--top-n 0: input should be greater than or equal to 1"),
        (["pipeline", "--own-fraction", "0"], "--own-fraction 0: input should be greater than 0"),
        (["teacher", "--config", "absent.yaml"], "--config absent.yaml: can't be read"),
        (["teacher", "--config", "broken.yaml"], "--config broken.yaml: no valid YAML"),
        (["teacher", "--config", "list.yaml"], "--config list.yaml: expected lines such as"),
        (["teacher", "--config", "unknown.yaml"], "unknown setting 'epochz': did you mean epochs?"),
        (["teacher", "--config", "bad.yaml"], "--epochs 0: input should be greater than or equal to 1"),
    ],
)
def test_bad_input_is_refused_in_one_line(arguments: list[str], told: str, cli: Main, capsys: Capture, tmp_path: Path) -> None:
    files = {"broken": "epochs: [1\n\n", "list": "- epochs\n", "unknown": "epochz: 3\n", "bad": "epochs: 0\n"}
    for name, content in files.items():
        (tmp_path / f"{name}.yaml").write_text(content)
    assert refusal(cli, arguments, capsys).startswith(told)


def test_a_mistyped_option_is_told_with_those_alike(cli: Main, capsys: Capture) -> None:
    assert "--width" in refusal(cli, ["teacher", "--widht", "3"], capsys)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["teacher", "--device", "abacus"], "--device abacus: expected auto, cpu, cuda or cuda:N"),
        (
            ["student", "--output-dir", "file/folder"],
            "--output-dir {here}/file/folder: can't be made (Not a directory: {here}/file/folder)",
        ),
        (["teacher", "--batch-size", "100000"], "--batch-size 100000: the training split has only"),
        (["student", "--teacher-shift-px", "8"], "--teacher-shift-px 8: images of 8 px can only be shifted by fewer"),
        (["specialist", "--groups", "0,1;2,ten"], "--groups 0,1;2,ten: unknown class 'ten'"),
        (["specialist", "--groups", ""], "--groups '': a group is empty"),
        (["specialist", "--groups", "0,1;2,3", "--group", "2"], "--group 2: "),
        (["pipeline", "--data", "folder", "--data-root", "absent"], "--data-root {here}/absent does not exist: "),
    ],
)
def test_what_a_command_finds_wrong_is_refused_alike_and_leaves_no_run(
    arguments: list[str], told: str, cli: Main, capsys: Capture, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    assert refusal(cli, arguments, capsys).startswith(told.replace("{here}", str(tmp_path)))
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["file"]


def test_under_mlflow_run_a_path_that_is_refused_is_told_with_what_it_is_relative_to(
    cli: Main, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlflow_store: Callable[..., str]
) -> None:
    arguments = ["teacher", "--data", "folder", "--data-root", "pics"]
    assert "mlflow run" not in refusal(cli, arguments, capsys)
    store = mlflow_store(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setenv("MLFLOW_RUN_ID", MlflowClient(store).create_run("0").info.run_id)
    capsys.readouterr()  # MLflow's own lines
    assert refusal(cli, arguments, capsys).endswith(f" (`mlflow run` starts kd in {tmp_path}: give an absolute path)")


def test_what_a_user_types_acts_on_no_terminal_and_shows_no_password(cli: Main, capsys: Capture) -> None:
    assert r"a\x1b[31mb\nc" in refusal(cli, ["teacher", "--device", "a\x1b[31mb\nc"], capsys)
    assert "http://me:***@h" in refusal(cli, ["teacher", "--device", "http://me:s3cret@h"], capsys)


def test_a_bug_ends_in_one_line_with_the_path_of_a_file(
    cli: Main, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(command_module("targets"), "targets", lambda _config: dict[str, int]()["absent"])
    with pytest.raises(SystemExit) as caught:
        cli(["targets", "--list"])
    [path] = tmp_path.glob("kd-error-*.txt")
    assert caught.value.code == 1
    assert capsys.readouterr().err == f"kd: a bug of kd's (KeyError: 'absent'): please report it with the file {path}\n"


def test_the_flag_of_a_field_stands_in_front_of_an_error_and_not_in_it() -> None:
    assert error_line(UserError("0: too few", field="batch_size")) == "--batch-size 0: too few"
    assert error_line(UserError("a b: no name", field="register_as")) == "--register a b: no name"
    assert error_line(UserError("no place")) == "no place"
    assert str(UserError("0: too few", field="batch_size")) == "0: too few"


def in_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["student", "--temperature", "0"], "kd: --temperature 0: input should be greater than 0\n"),
        (["teachr"], "kd: No such command 'teachr': did you mean teacher?\n"),
        (["teacher", "--qqqqqqqq"], "kd: No such option"),
    ],
)
def test_the_process_ends_with_two(arguments: list[str], told: str) -> None:
    result = in_process("-m", "kd", *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(told.strip())  # click's own words differ by its version
    assert arguments[-1] in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_process_tells_its_version() -> None:
    result = in_process("-m", "kd", "--version")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.split()[-1] == kd.__version__


def test_help_and_refusals_do_not_wait_for_torch_and_mlflow() -> None:
    program = """
import sys
from kd.cli import main
main(["student", "--help"])
try:
    main(["student", "--alpha", "2"])
except SystemExit:
    print([name for name in ("torch", "mlflow", "matplotlib", "sklearn") if name in sys.modules])
"""
    result = in_process("-c", program)
    assert result.stdout.splitlines()[-1] == "[]"


def test_a_command_begins_without_what_it_needs_later_or_not_at_all() -> None:
    program = """
import sys
late = ["matplotlib", "sklearn", "scipy.stats", "scipy.optimize", "torchvision", "torch._dynamo"]
import kd.commands.targets
print([name for name in ("mlflow", "optuna", *late) if name in sys.modules])
import kd.commands.pipeline, kd.commands.combine
print([name for name in ("optuna", *late) if name in sys.modules])
import kd.commands.tune
print([name for name in late if name in sys.modules])
"""
    result = in_process("-c", program)
    assert result.stdout.splitlines()[-3:] == ["[]", "[]", "[]"]


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_a_flag_wins_over_the_file_and_the_file_over_the_default(configured: Configured, tmp_path: Path) -> None:
    file = write(tmp_path / "settings.yaml", "epochs: 7\nwidth: 8\nlr: 1e-3\nresume: false\ndata: mnist\n")
    expected = TeacherConfig(epochs=7, width=8, lr=0.001, resume=False, data="mnist")
    assert configured(["teacher", "--config", file]) == expected
    flags = ["--epochs", "5", "--resume", "--data", "digits"]  # two of them the defaults
    for arguments in (["--config", file, *flags], [*flags, "--config", file]):
        assert configured(["teacher", *arguments]) == TeacherConfig(epochs=5, width=8, lr=0.001)


def test_a_flag_saves_a_bad_setting_of_the_file(configured: Configured, tmp_path: Path) -> None:
    file = write(tmp_path / "settings.yaml", "control: maybe\nepochs: 0\n")
    assert configured(["student", "--config", file, "--no-control", "--epochs", "3"]) == StudentConfig(control=False, epochs=3)


def test_under_mlflow_run_a_flag_of_the_default_value_does_not_win_over_the_file(
    configured: Configured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It passes every parameter that MLproject declares, whether the user named it or not.
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    file = write(tmp_path / "settings.yaml", "epochs: 7\ncontrol: false\ntemperature: 2\nalpha: 0.5\n")
    passed = [part for name, value in StudentConfig().texts().items() for part in (flag(name), value)]
    expected = StudentConfig(epochs=7, control=False, temperature=2, alpha=0.5)
    assert configured(["student", *passed, "--config", file]) == expected
    named = configured(["student", *passed, "--alpha", "0.7", "--config", file])
    assert named == StudentConfig(epochs=7, control=False, temperature=2, alpha=0.7)


def test_a_named_experiment_is_the_one_of_the_command_and_of_the_processes_that_it_starts(
    configured: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "7")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "of the environment")
    configured(["student"])
    assert (os.environ["MLFLOW_EXPERIMENT_NAME"], os.environ["MLFLOW_EXPERIMENT_ID"]) == ("of the environment", "7")
    configured(["student", "--experiment-name", "mine"])
    assert os.environ["MLFLOW_EXPERIMENT_NAME"] == "mine"
    assert "MLFLOW_EXPERIMENT_ID" not in os.environ


def test_an_experiment_cannot_be_named_by_nothing_nor_under_mlflow_run(
    cli: Main, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refusal(cli, ["student", "--experiment-name", " "], capsys) == (
        "--experiment-name names no experiment; give a name, or leave the flag out"
    )
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    assert refusal(cli, ["student", "--experiment-name", "mine"], capsys) == (
        "--experiment-name mine: `mlflow run` chooses the experiment: give it `--experiment-name`"
    )


ANSWER = Answer([("student: gain", "green"), ("run: 1", "")], {"verdict": "gain", "difference": 0.25}, code=1)


def test_json_is_the_one_thing_on_standard_output(cli: Main, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def student(_config: StudentConfig) -> Answer:
        print("a library talks")  # noqa: T201 - as libraries do
        return ANSWER

    monkeypatch.setattr(command_module("student"), "student", student)
    with pytest.raises(SystemExit) as caught:
        cli(["student", "--json", "-q"])
    output = capsys.readouterr()
    assert caught.value.code == 1
    assert json.loads(output.out) == {"command": "student", "verdict": "gain", "difference": 0.25}
    assert output.out.count("\n") == 1
    assert output.err == "a library talks\nstudent: gain\nrun: 1\n"


def test_how_a_command_speaks_is_no_setting(configured: Configured) -> None:
    for flags in (["--json"], ["-q"], ["--quiet"], ["-v"], ["--verbose", "--json"]):
        assert configured(["student", *flags]) == StudentConfig()
