"""A record as Markdown: what stands in its tables, and what is said above them."""

from dataclasses import replace

from kd.evaluation.intervals import Interval
from kd.lab.page import record_text
from kd.lab.record import Difference, Figure, Record, Row

MADE = Record(
    experiment="specialists",
    title="T",
    section="section 5",
    claim="so",
    command="",
    data="digits",
    data_digest="0",
    seeds=(0, 1),
    settings={"net": "mlp"},
    rows=(Row("net", 4, (1, 2), 10, "25.0 %"), Row("other", 4, (1, 1), 10, "")),
    differences=(Difference("net", "other", "gain", Interval(-0.1, -0.2, 0.1, 2), "seeds", 0.5),),
    figures=(
        Figure("steps", Interval(31_680.0, 31_680.0, 31_680.0, 2), ""),
        Figure("alpha", Interval(0.5, 0.5, 0.5, 2), ""),
        Figure("bias", Interval(1.25, 1.0, 1.5, 2), "3.5"),
        Figure("of one seed", Interval(7.0, float("nan"), float("nan"), 1), ""),
    ),
    machine="CPU",
    seconds=90.0,
    tried="a net and another.",
    published_on="JFT",
)


def test_figures_that_are_the_same_in_all_seeds_are_told_without_an_interval() -> None:
    text = record_text(MADE)
    assert "| steps | 31,680, the same in all n = 2 |" in text
    assert "| alpha | 0.5, the same in all n = 2 |" in text
    assert "| bias | 1.2 [1.0, 1.5], n = 2 | 3.5 |" in text
    assert "| of one seed | 7.00 (no interval), n = 1 |" in text


def test_the_papers_results_are_told_with_the_images_that_they_are_of() -> None:
    text = record_text(MADE)
    assert "| System | Test accuracy | Errors per seed | Parameters | The paper, on JFT |" in text
    assert "\n\nTrained here: a net and another.\n\nCame out:\n\n- net against other: " in text
    unknown = record_text(replace(MADE, tried="", published_on=""))
    assert "| Parameters | The paper |" in unknown
    assert "Trained here" not in unknown
