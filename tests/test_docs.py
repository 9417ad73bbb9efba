"""README and the pages of docs/: their links lead somewhere, their commands are ones that kd takes, their settings are all."""

import itertools
import os
import re
import runpy
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import mlflow
import pytest
import yaml
from forked import Forked

from kd.cli import COMMANDS, config_class, parse
from kd.config import TEACHER_PREFIX, NetAndRecipe
from kd.flags import flags

PAGES = ["README.md", "CONTRIBUTING.md", "docs/guide.md", "docs/glossary.md", "docs/settings.md", "docs/costs.md"]
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_LONG = re.compile(r"^.*# about \d+ minutes?$", re.MULTILINE)
"""A command that says how long it takes, which is a minute or more."""
MOST_SECONDS = 300
"""For a command of a minute, on a machine with other things to do."""
OF_FILES = {"predict", "export"}
"""Commands that need models or images that a page supposes to be there."""
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


def short_commands(root: Path) -> list[list[str]]:
    """Return each different kd command on digits of README and the guide that takes less than a minute, in their order."""
    told = [text_of(root / page).replace("\\\n", " ") for page in ("README.md", "docs/guide.md")]
    found = [words for text in told for words in commands_in(_LONG.sub("", text)) if "--data" not in words]
    assert not [words for words in found if words[:2] == ["mlflow", "run"]], "they take minutes, and should say so"
    blocks = [["kd", "tune", *words[2:]] if words[:2] == ["python", "tune.py"] else words for words in found]
    blocks = [words for words in blocks if words[0] == "kd" and words[1] not in OF_FILES]
    spans = [span.split() for text in told for span in re.findall(r"`(kd [^`]+)`", text)]
    others = [words for words in spans if words[1] == "doctor"]
    return [list(words) for words in dict.fromkeys(map(tuple, [*blocks, *others]))]


def with_runs(words: Sequence[str], store: str) -> list[str]:
    """Return a command with ids of runs of a store in their places."""
    runs = mlflow.MlflowClient(store).search_runs(["0"], order_by=["attributes.start_time DESC"])
    ids = {role: [run.info.run_id for run in runs if run.data.tags["kd.role"] == role] for role in ("teacher", "specialist")}
    places = {"RUN_ID": ids["teacher"][:1], "RUN_ID,RUN_ID": ids["specialist"][:2]}
    return [",".join(places.get(word, [word])) for word in words]


@pytest.mark.timeout(900)  # they take 100 s of a core that has nothing else to do
def test_short_commands_of_the_pages_end_as_the_pages_show(
    root: Path, tmp_path: Path, mlflow_store: Callable[..., str]
) -> None:
    store, cache = mlflow_store(tmp_path), tmp_path / "cache"
    env = {**os.environ, "OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": store, "KD_CACHE": str(cache)}
    commands = short_commands(root)
    said = {}
    for number, words in enumerate(commands):
        output = tmp_path / f"output-{number}"
        with Forked(with_runs(words, store)[1:], tmp_path, env, output) as process:
            assert process.wait(MOST_SECONDS) == 0, output.read_text()
        said[*words] = output.read_text().replace(f"mlflow ui --backend-store-uri {store}", "mlflow ui").splitlines()
        if words[1] != "doctor":
            answer = [line.partition(": ")[0] for line in said[*words] if not line.startswith("next: ")]
            assert answer[-5:] == ["model", "report", "run", "to see it", "all systems"], words
    blocks = [block for _, block in _BLOCK.findall(text_of(root / "README.md"))]
    [shown] = [block.splitlines() for block in blocks if block.startswith("4 nets to train")]
    first = said[*commands[0]]
    assert shown[0] in first
    shown_end = kinds(shown[shown.index("...") + 1 :])
    assert shown_end == [line for line in kinds(first) if not line.startswith("next: ")][-len(shown_end) :]
