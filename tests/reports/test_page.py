"""The report's HTML: its words, its pictures, what changed sides, and that nothing in it acts or is fetched."""

import re
import struct
import zlib
from dataclasses import replace

import pytest

from kd.reports.page import contents as contents_module
from kd.reports.page.contents import ClassRow, Contents, System, is_picture
from kd.reports.page.render import FIGURES, page, sides

VERDICT = "student: +25.0 % points [1.0, 49.0], n = 4 images: gain (75.0 % against 50.0 % of the control)"
PNG = b"\x89PNG\r\n\x1a\n"
HEAD = struct.pack(">II5B", 1, 1, 8, 0, 0, 0, 0)


def system(name: str, role: str, right: dict[int, bool], **costs: float) -> System:
    metrics = {f"cost/{cost}": value for cost, value in costs.items()}
    return System(name, role, "0", "gain, +5.0 % points [1.0, 9.0], n = 4 images", metrics, right=right)


def contents(*systems: System, title: str = "student digits", head: str = "## What came out") -> Contents:
    return Contents(
        title=title,
        verdict=VERDICT,
        command="kd student --teacher-epochs 2",
        note=f"{head}\n\n| model | n |\n| --- | --- |\n| [student](#/experiments/0/runs/1) | 4 |\n\n<b onclick=x>bold</b>",
        settings="epochs: 2\n",
        lineage={"images": "digits"},
        systems=systems,
        figures={"2_comparison": PNG},
    )


def test_the_verdict_stands_first_and_the_note_without_links_to_the_ui() -> None:
    html = page([contents()])
    words = " ".join(re.sub(r"<[^>]+>", " ", html[html.index("<body>") :]).split())
    assert words.startswith(f"student digits {VERDICT} In words What came out")
    assert 'class="verdict gain"' in html
    assert "<td>student</td>" in html
    assert "#/experiments" not in html
    assert "<pre><span>kd</span> <span>student</span> <span>--teacher-epochs</span> <span>2</span></pre>" in html


def test_nothing_in_it_acts_is_fetched_or_comes_from_a_name() -> None:
    evil = "<script>alert(1)</script>"
    named = replace(system(evil, "student", {1: True}), classes=[ClassRow(evil, 4, 3)], figures={f"1_{evil}": PNG})
    html = page([replace(contents(named, title=evil), lineage={"images": evil}, command=evil, settings=evil)])
    assert "<script" not in html
    assert "<b onclick" not in html
    assert html.count("&lt;script&gt;") >= 8
    assert not re.search(r"(?:src|href)=\"(?!data:image/png;base64,|#run-)", html)


def test_each_picture_is_inside_and_told_in_words_for_those_who_can_not_see_it() -> None:
    html = page([contents()])
    [(alt, kind)] = re.findall(r'<img alt="([^"]+)" src="data:([^;]+);base64,', html)
    assert alt == f"student digits: {FIGURES['comparison']}"
    assert kind == "image/png"


def test_costs_are_columns_where_some_system_has_them() -> None:
    html = page([contents(system("student", "student", {}, parameters=19074.0), system("teacher", "teacher", {}))])
    assert '<th class="number">Parameters</th>' in html
    assert "19,074" in html
    assert "Multiply-adds" not in html


def test_accuracy_has_an_interval_where_the_number_of_images_is_known() -> None:
    counted = replace(system("student", "student", {}), classes=[ClassRow("a", 4, 3), ClassRow("b", 6, 6)])
    html = page([contents(counted, replace(system("net", "brief control", {}), metrics={"test/accuracy": 0.925}))])
    assert "<td>90 % [60, 98], n = 10</td>" in html.replace("90.0 %", "90 %").replace("[59.6, 98.2]", "[60, 98]")
    assert "<td>92.5 %</td>" in html


def test_a_note_that_has_a_table_of_models_has_the_only_one() -> None:
    student = system("student", "student", {}, parameters=1.0)
    assert "<h2>Systems</h2>" in page([contents(student)])
    html = page([contents(student, head="## Models")])
    assert "<h2>Models</h2>" in html
    assert not re.search("<h2>Systems</h2>|Parameters", html)


def test_trials_of_a_search_have_no_rows_beside_what_was_scored_on_test() -> None:
    trials = [system(f"trial {number}", "trial", {}) for number in range(2)]
    assert contents(*trials, system("final winner", "final", {})).listed[0].name == "final winner"
    assert contents(*trials).listed == tuple(trials)


def test_a_specialist_is_as_accurate_as_it_is_among_its_own_classes() -> None:
    rows = [ClassRow("a", 40, 10), ClassRow("b", 32, 20), ClassRow("dustbin", 287, 280)]
    metrics = {"test/accuracy_with_dustbin": 310 / 359, "test/own_accuracy": 67 / 72}
    specialist = replace(system("specialist 0", "specialist", {}), metrics=metrics, classes=rows)
    html = page([contents(specialist)])
    assert "<td>93.1 % [84.8, 97.0], n = 72</td>" in html
    assert "A specialist's accuracy is that among its own classes." in html
    assert "<td>93.1 %</td>" in page([contents(replace(specialist, classes=()))])


def test_images_change_sides_against_the_control_and_for_a_combination_against_the_generalist() -> None:
    teacher = system("teacher", "teacher", {1: True, 2: True, 3: False, 4: True})
    control = system("control of student", "control", {1: True, 2: False, 3: False, 4: True})
    student = system("student", "student", {1: False, 2: True, 3: True, 4: True})
    combined = system("combined", "combined", {1: True, 2: False, 3: True, 4: True})
    found = {one.name: (one.beside, one.mended, one.broken) for one in sides([teacher, control, student, combined])}
    assert found == {"student": ("control of student", [2, 3], [1]), "combined": ("teacher", [3], [2])}


def test_images_that_changed_sides_are_shown_once_below_their_numbers() -> None:
    control = system("control of student", "control", {1: True, 2: False})
    figures = {"1_training_curves": PNG, "6_mended_and_broken": PNG}
    student = replace(system("student", "student", {1: False, 2: True}), figures=figures)
    html = page([contents(control, student)])
    assert html.count(f'alt="student: {FIGURES["mended_and_broken"]}"') == 1
    assert html.index("Images that changed sides") < html.index(FIGURES["mended_and_broken"]) < html.index("<details>")
    alone = page([contents(student)])
    assert alone.index("<details>") < alone.index(FIGURES["mended_and_broken"])


def test_several_runs_stand_side_by_side() -> None:
    html = page([contents(title="first"), contents(title="second")])
    assert "<title>2 runs side by side</title>" in html
    assert re.findall(r'<a href="(#run-\d)">(\w+)</a>', html) == [("#run-1", "first"), ("#run-2", "second")]
    assert html.count("<section id=") == 2


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def test_a_picture_is_a_whole_png_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = PNG + chunk(b"IHDR", HEAD) + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")
    assert is_picture(whole)
    for damaged in (whole[:-1], whole[:40], b"", PNG, b"GIF89a" + whole, whole[:45] + b"\xff" + whole[46:], b"\0" * 99):
        assert not is_picture(damaged)
    monkeypatch.setattr(contents_module, "MAX_PICTURE", len(whole) - 1)
    assert not is_picture(whole)


def test_a_page_says_how_a_run_ended_and_what_it_lacks() -> None:
    assert contents(system("student", "student", {})).missing == []
    empty = replace(contents(), verdict="", note="", settings="", command="", lineage={}, state="failed: its process died")
    html = page([empty])
    assert "This run failed: its process died. The page shows what it has recorded." in html
    assert "Not recorded by this run, or not in the store any more: note, settings, command, systems." in html
    assert not re.search("In words|How to reproduce|Where it comes from", html)
    assert "<td>failed: its process died</td>" in page([empty, contents()])
    assert "<td>has not ended</td>" in page([contents(replace(system("s", "student", {}), verdict="", state="has not ended"))])
