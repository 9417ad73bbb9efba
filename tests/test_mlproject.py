"""MLproject: the file is the one made from the configurations, and MLflow's commands give those configurations back."""

import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow.projects._project_spec import Project, load_project

from kd.cli import COMMANDS, config_class
from kd.config import Config
from kd.mlproject import render

ENTRY_POINTS = {command: "main" if command == "pipeline" else command for command in COMMANDS}
Configured = Callable[[Sequence[str]], Config]


@pytest.fixture(scope="module")
def entries(root: Path) -> dict[str, Any]:
    project: dict[str, Any] = yaml.safe_load((root / "MLproject").read_text(encoding="utf-8"))
    return dict(project["entry_points"])


@pytest.fixture(scope="module")
def project(root: Path) -> Project:
    loaded: Project = load_project(str(root))  # type: ignore[no-untyped-call] # MLflow's own
    return loaded


def test_the_file_is_what_the_configurations_make(root: Path) -> None:
    text = (root / "MLproject").read_text(encoding="utf-8")
    assert text == render(), "MLproject is out of date: python -m kd.mlproject > MLproject"


def test_every_command_is_an_entry_point(entries: dict[str, Any]) -> None:
    assert entries.keys() == set(ENTRY_POINTS.values())


@pytest.mark.parametrize("command", COMMANDS)
def test_parameters_are_the_fields_with_their_defaults_and_types(command: str, entries: dict[str, Any]) -> None:
    parameters = entries[ENTRY_POINTS[command]]["parameters"]
    defaults = config_class(command)().texts()
    assert {name: parameter["default"] for name, parameter in parameters.items()} == defaults
    for name, value in config_class(command)().model_dump().items():
        kind = {int: "int", float: "float"}.get(type(value), "string")
        assert parameters[name]["type"] == kind, name


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_passes_each_parameter_once(command: str, entries: dict[str, Any]) -> None:
    text = entries[ENTRY_POINTS[command]]["command"]
    assert text.split()[:4] == ["python", "-m", "kd", command]
    passed = re.findall(r"(--[\w-]+) \{(\w+)\}", text)
    assert [name for _, name in passed] == list(config_class(command).model_fields)
    assert all(flag == f"--{name.replace('_', '-')}" for flag, name in passed)
    assert text.count("{") == len(passed)


def arguments_of(project: Project, command: str, given: dict[str, str]) -> list[str]:
    """Return what `mlflow run` would pass to kd."""
    entry = project.get_entry_point(ENTRY_POINTS[command])  # type: ignore[no-untyped-call] # MLflow's own
    words = shlex.split(entry.compute_command(given, None))
    assert words[:3] == ["python", "-m", "kd"]
    return words[3:]


@pytest.mark.parametrize("command", COMMANDS)
def test_mlflow_run_without_parameters_gives_the_defaults(command: str, project: Project, configured: Configured) -> None:
    assert configured(arguments_of(project, command, {})) == config_class(command)()


@pytest.mark.parametrize("command", COMMANDS)
def test_mlflow_run_hands_every_parameter_on(
    command: str, project: Project, configured: Configured, other_values: Callable[[type[Config]], dict[str, Any]]
) -> None:
    # The texts among them have a space, which a shell would split at.
    values = other_values(config_class(command))
    given = {name: str(value) for name, value in values.items()}
    assert configured(arguments_of(project, command, given)).model_dump() == values


def test_a_file_of_settings_can_be_named_to_mlflow_run(
    project: Project, configured: Configured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)  # as mlflow run does
    (tmp_path / "my settings.yaml").write_text("epochs: 7\ngroups: cat,dog;ship,truck\n")
    given = {"config": str(tmp_path / "my settings.yaml"), "width": "4"}
    expected = config_class("specialist")(epochs=7, groups="cat,dog;ship,truck", width=4)  # type: ignore[call-arg]
    assert configured(arguments_of(project, "specialist", given)) == expected
