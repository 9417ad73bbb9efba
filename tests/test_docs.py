"""README and the pages of docs/: their links lead somewhere, their commands are ones that kd takes, their settings are all."""

import itertools
import os
import re
import runpy
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml
from forked import Forked

from kd.cli import COMMANDS, config_class, parse
from kd.config import TEACHER_PREFIX, NetAndRecipe
from kd.flags import flags

PAGES = ["README.md", "CONTRIBUTING.md", "docs/guide.md", "docs/glossary.md", "docs/settings.md", "docs/costs.md"]
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def anchors(markdown: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", markdown, flags=re.MULTILINE | re.DOTALL), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def commands_in(markdown: str) -> list[list[str]]:
    """Return the commands in a page's shell blocks, word by word, without variables set in front."""
    found = []
    for language, block in _BLOCK.findall(markdown):
        if language not in {"bash", "sh", "console"}:
            continue
        for line in block.replace("\\\n", " ").splitlines():
            words: list[str] = []
            for word in [*shlex.split(line.removeprefix("$ "), comments=True), ";"]:
                if word in {"&&", ";", "|", "||", "&"}:
                    found += [words] if words else []
                    words = []
                elif words or not re.fullmatch(r"\w+=.*", word):
                    words.append(word)
    return found


def test_every_page_is_listed_here(root: Path) -> None:
    assert {f"docs/{path.name}" for path in (root / "docs").glob("*.md")} == {
        page for page in PAGES if page.startswith("docs/")
    }


@pytest.mark.parametrize("page", PAGES)
def test_links_of_a_page_lead_somewhere(root: Path, page: str) -> None:
    markdown = text_of(root / page)
    for link in _LINK.findall(markdown):
        path, _, anchor = link.partition("#")
        if re.match(r"https?://", link):
            continue
        target = (root / page).parent / path if path else root / page
        assert target.exists(), f"{page}: {link}"
        assert not anchor or anchor in anchors(text_of(target)), f"{page}: {link}"


@pytest.mark.parametrize("page", PAGES)
def test_kd_takes_the_commands_of_a_page(root: Path, page: str) -> None:
    for words in commands_in(text_of(root / page)):
        if words[0] == "kd" and words[1] in COMMANDS:
            parse(words[1], words[2:])
        elif words[:2] == ["python", "tune.py"]:
            parse("tune", words[2:])
        elif words[0] == "kd":
            assert words[1:] in (["--help"], ["--version"]), words


@pytest.mark.parametrize("page", PAGES)
def test_commands_within_sentences_have_flags_that_there_are(root: Path, page: str) -> None:
    text = re.sub(r"^```.*?^```", "", text_of(root / page), flags=re.MULTILINE | re.DOTALL)
    for span in re.findall(r"`(kd [^`]+)`", text):
        command, *rest = span.split()[1:]
        if command not in COMMANDS:
            assert command in {"COMMAND", "--help", "--version"}, span
            continue
        fields = config_class(command).model_fields
        known = {flag for name in fields for flag in (*flags(name), f"--no-{name.replace('_', '-')}")}
        options = {"--config", "--experiment-name", "--preset", "--student-preset", "--help", "-q", "-v", "--json"}
        assert {word.partition("=")[0] for word in rest if word.startswith("-")} <= known | options, span


@pytest.mark.parametrize("page", PAGES)
def test_mlflow_runs_the_entry_points_of_a_page(root: Path, page: str) -> None:
    entries = yaml.safe_load(text_of(root / "MLproject"))["entry_points"]
    for words in commands_in(text_of(root / page)):
        if words[:2] != ["mlflow", "run"]:
            continue
        options = list(itertools.pairwise(words))
        [entry] = [value for option, value in options if option in {"-e", "--entry-point"}] or ["main"]
        given = {value.partition("=")[0] for option, value in options if option == "-P"}
        assert given <= entries[entry]["parameters"].keys() | {"config"}, words
        assert ("--env-manager", "local") in options, f"without it mlflow asks for conda: {words}"


def test_the_page_of_settings_is_what_the_configurations_make(root: Path) -> None:
    made = runpy.run_path(str(root / "docs" / "make_settings.py"))["page"]()
    assert text_of(root / "docs" / "settings.md") == made, "docs/settings.md is out of date: python docs/make_settings.py"


def test_the_page_of_settings_has_those_of_every_command(root: Path) -> None:
    page = text_of(root / "docs" / "settings.md")
    teachers = {f"{TEACHER_PREFIX}{name}" for name in NetAndRecipe.model_fields}
    for command in COMMANDS:
        for name in set(config_class(command).model_fields) - teachers:
            assert f"`{flags(name)[-1]}`" in page, (command, name)


def kinds(lines: Sequence[str]) -> list[str]:
    """Return of what kind each line is: numbers, names of runs and the verdict differ between processors."""
    plain = (re.sub(r"(gain|loss|null result) \(", "verdict (", line) for line in lines)
    return [re.sub(r"(/[\w/.-]*)?[0-9a-f.+-]*\d[0-9a-f.]*(\.pt2)?", "N", line) for line in plain]


def test_the_first_command_ends_as_readme_shows(root: Path, tmp_path: Path, mlflow_store: Callable[..., str]) -> None:
    readme = text_of(root / "README.md")
    [words] = [words for words in commands_in(readme) if words[:2] == ["kd", "student"] and "--data" not in words]
    assert words in commands_in(text_of(root / "docs" / "guide.md"))
    store = mlflow_store(tmp_path)
    env = {**os.environ, "OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": store}
    output = tmp_path / "output"
    with Forked(words[1:], tmp_path, env, output) as process:
        assert process.wait(200) == 0, output.read_text()
    said = [line.replace(f"mlflow ui --backend-store-uri {store}", "mlflow ui") for line in output.read_text().splitlines()]
    [shown] = [block.splitlines() for _, block in _BLOCK.findall(readme) if block.startswith("3 nets to train")]
    assert shown[0] in said
    shown_end = kinds(shown[shown.index("...") + 1 :])
    assert shown_end == [line for line in kinds(said) if not line.startswith("next: ")][-len(shown_end) :]
