"""The files around the package say the same as the package, and as each other."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version
from setuptools import find_packages

import kd
from kd.cli import COMMANDS
from kd.mlproject import ENTRY_POINTS


@pytest.fixture(scope="module")
def pyproject(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def conda(root: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((root / "conda.yaml").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def readme(root: Path) -> list[str]:
    """Return the command lines of the README."""
    text = (root / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:bash|sh|console)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [" ".join(line.removeprefix("$ ").split()) for line in lines]


def test_conda_installs_what_the_package_depends_on(pyproject: dict[str, Any], conda: dict[str, Any]) -> None:
    [pip] = [entry["pip"] for entry in conda["dependencies"] if isinstance(entry, dict)]
    assert pip == pyproject["project"]["dependencies"]
    assert "pip" in conda["dependencies"]


def test_conda_has_a_python_that_the_package_runs_on(pyproject: dict[str, Any], conda: dict[str, Any]) -> None:
    [python] = [entry for entry in conda["dependencies"] if isinstance(entry, str) and entry.startswith("python=")]
    version = python.removeprefix("python=")
    assert SpecifierSet(pyproject["project"]["requires-python"]).contains(f"{version}.99")
    assert pyproject["tool"]["mypy"]["python_version"] == version


def test_the_linters_assume_the_oldest_python(pyproject: dict[str, Any]) -> None:
    oldest = pyproject["tool"]["mypy"]["python_version"]
    older = Version(f"{oldest.partition('.')[0]}.{int(oldest.partition('.')[2]) - 1}.99")
    assert not SpecifierSet(pyproject["project"]["requires-python"]).contains(older)


def test_dependencies_are_named_once_in_order_each_with_a_lower_bound(pyproject: dict[str, Any]) -> None:
    requirements = [Requirement(text) for text in pyproject["project"]["dependencies"]]
    names = [requirement.name for requirement in requirements]
    assert names == sorted(set(names))
    for requirement in requirements:
        assert any(bound.operator == ">=" for bound in requirement.specifier), requirement


def test_mlproject_names_the_environment_that_is_there(root: Path) -> None:
    project = yaml.safe_load((root / "MLproject").read_text(encoding="utf-8"))
    assert project["conda_env"] == "conda.yaml"
    assert (root / project["conda_env"]).is_file()


def test_every_package_is_shipped(root: Path, pyproject: dict[str, Any]) -> None:
    found = find_packages(str(root), include=pyproject["tool"]["setuptools"]["packages"]["find"]["include"])
    modules = {path.parent.relative_to(root).as_posix().replace("/", ".") for path in (root / "kd").rglob("*.py")}
    assert set(found) == modules


def test_the_version_is_in_the_changelog(root: Path) -> None:
    titles = re.findall(r"^## \[?([^\]\s]+)", (root / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert titles == ["Unreleased"] or kd.__version__ in titles
    assert str(Version(kd.__version__)) == kd.__version__


def test_the_licence_is_mit(root: Path, pyproject: dict[str, Any]) -> None:
    text = (root / "LICENSE").read_text(encoding="utf-8")
    assert text.startswith("MIT License\n")
    assert "Permission is hereby granted, free of charge" in text
    assert 'THE SOFTWARE IS PROVIDED "AS IS"' in text
    assert pyproject["project"]["license"] == "MIT"
    assert pyproject["project"]["license-files"] == ["LICENSE"]


def test_the_readme_tells_how_to_install_and_test(root: Path, readme: list[str], pyproject: dict[str, Any]) -> None:
    assert "pip install -e '.[test]' && pytest" in readme
    assert "test" in pyproject["project"]["optional-dependencies"]
    assert (root / pyproject["project"]["readme"]).samefile(root / "README.md")


def test_the_readme_lists_every_command_with_its_entry_point(root: Path) -> None:
    rows = re.findall(r"^\| `(\w+)` \| `kd (\w+)` \|", (root / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sorted(rows) == sorted((ENTRY_POINTS.get(command, command), command) for command in COMMANDS)


def test_the_readme_shows_all_folders_in_the_order_of_the_layers(root: Path, pyproject: dict[str, Any]) -> None:
    lines = re.findall(r"^[├└]── ([\w./, ]+?)(?:  .*)?$", (root / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    shown = [name.strip() for line in lines for name in line.split(",")]
    there = [
        path.name + "/" * path.is_dir() for path in (root / "kd").iterdir() if path.name not in {"py.typed", "__pycache__"}
    ]
    assert sorted(shown) == sorted(there)
    [layers] = [
        contract["layers"] for contract in pyproject["tool"]["importlinter"]["contracts"] if contract["type"] == "layers"
    ]
    row_of = {name: number for number, row in enumerate(layers) for name in re.findall(r"\w+", row)}
    names = [name.removesuffix("/").removesuffix(".py") for name in shown]
    ranks = [row_of[name] for name in names if not name.startswith("__")]
    assert ranks == sorted(ranks)


GUIDES = ["README.md", "CONTRIBUTING.md"]


@pytest.mark.parametrize("guide", GUIDES)
def test_files_that_a_guide_names_are_there(root: Path, guide: str) -> None:
    text = (root / guide).read_text(encoding="utf-8")
    named = re.findall(r"`((?:kd|tests|notebooks)/[\w./]+|\w+\.(?:toml|md|cff))`", text)
    assert named
    assert [path for path in named if "NAME" not in path and not (root / path).exists()] == []


@pytest.mark.parametrize("guide", GUIDES)
def test_what_a_guide_names_in_a_file_is_in_it(root: Path, guide: str) -> None:
    text = " ".join((root / guide).read_text(encoding="utf-8").split())
    pairs = re.findall(r"`(\w+)` in `(kd/[\w/]+\.py)`", text)
    assert pairs
    for word, path in pairs:
        assert re.search(rf"\b{word}\b", (root / path).read_text(encoding="utf-8")), f"{path} has no {word}"


def test_the_citation_is_of_this_version_and_of_the_paper(root: Path, pyproject: dict[str, Any]) -> None:
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == kd.__version__
    assert citation["license"] == pyproject["project"]["license"]
    assert citation["title"].startswith(f"{pyproject['project']['name']}:")
    [paper] = citation["references"]
    assert paper["title"] == "Distilling the Knowledge in a Neural Network"
    assert {author["family-names"] for author in paper["authors"]} == {"Hinton", "Vinyals", "Dean"}
