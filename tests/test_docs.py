"""README and the pages of docs/: their links lead somewhere, their commands are ones that kd takes, their settings are all."""

import itertools
import re
import runpy
import shlex
from pathlib import Path

import pytest
import yaml

from kd.cli import COMMANDS, parse

PAGES = ["README.md", "CONTRIBUTING.md", "docs/guide.md", "docs/glossary.md", "docs/settings.md", "docs/costs.md"]
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_BLOCK = re.compile(r"^```(?:bash|sh|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def anchors(markdown: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", markdown, flags=re.MULTILINE | re.DOTALL), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def commands_in(markdown: str) -> list[list[str]]:
    """Return the commands in a page's shell blocks, word by word, without variables set in front."""
    found = []
    for block in _BLOCK.findall(markdown):
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
