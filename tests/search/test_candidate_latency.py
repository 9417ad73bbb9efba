"""The latency of candidates: measured once per net, kept with the study, and bounded by ``--max-latency``."""

from collections.abc import Iterator, Mapping

import optuna
import pytest
from optuna.storages import RDBStorage
from torch import Tensor, nn

from kd.config import TuneConfig
from kd.errors import UserError
from kd.evaluation.latency import Latency, latency
from kd.nets.classifier import Classifier
from kd.search import latency as module
from kd.search.attributes import LATENCIES
from kd.search.candidate import Guide
from kd.search.latency import Latencies, candidate_latency, fast_space, find_latencies, keep_latencies, read_latencies
from kd.search.space import parse_space
from kd.search.storage import opened
from kd.search.study import open_study

STUDENT = {"objective": "student", "pareto": "latency"}
TIMES = {"depth 1, width 4": 1.0, "depth 1, width 8": 2.0, "depth 1, width 12": 4.0}
SPACE = "width=int:4:12:4"


def config(**fields: object) -> TuneConfig:
    return TuneConfig.parse({**STUDENT, "search": SPACE, **fields})


def widths(options: TuneConfig, groups: int = 0, times: Mapping[str, float] = TIMES) -> str:
    axes = fast_space(parse_space(options), options, groups, Latencies(times, "cpu, 2 threads", 1.0))
    return next(axis.text() for axis in axes if axis.name == "width")


@pytest.fixture
def storage(url: str) -> Iterator[RDBStorage]:
    with opened(url) as storage:
        yield storage


class Timed:
    """Stands for the clock of each pass: gives nets of a width the medians of its rounds, in order."""

    def __init__(self, medians: Mapping[int, list[float]]) -> None:
        self.left = {width: iter(values) for width, values in medians.items()}
        self.asked: list[int] = []

    def __call__(self, model: nn.Module, images: Tensor, batch: int) -> Latency:
        assert (batch, images.shape[0] > 0) == (1, True)
        assert isinstance(model, Classifier)
        width = model.net.stem.out_channels  # type: ignore[union-attr] # kd's ResNet
        self.asked.append(int(width))  # type: ignore[arg-type]
        return Latency(batch, next(self.left[self.asked[-1]]), 0.0, 0.0, "cpu, 2 threads")


def test_each_net_is_measured_in_rounds_until_its_two_quickest_agree(
    guide: Guide, storage: RDBStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = Timed({4: [9.0, 1.0, 1.05], 8: [2.0, 2.0, 2.0], 12: [8.0, 6.0, 7.0, 5.0, 4.0, 4.2]})
    monkeypatch.setattr(module, "latency", timed)
    options = config()
    found = find_latencies(storage, "s", options, parse_space(options), guide.workspace)
    assert found is not None
    assert timed.asked == [4, 8, 12, 4, 8, 12, 4, 8, 12, 12, 12, 12]
    assert found.ms == {"depth 1, width 4": 1.0, "depth 1, width 8": 2.0, "depth 1, width 12": 4.0}
    assert found.unrest == pytest.approx(1.05)
    assert "busy" not in found.text()


def test_a_machine_that_stays_busy_is_told_beside_the_figures(
    guide: Guide, storage: RDBStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.0)
    monkeypatch.setattr(module, "latency", Timed({4: [9.0, 1.0, 3.0], 8: [2.0, 2.0, 2.0], 12: [4.0, 4.0, 4.0]}))
    options = config()
    found = find_latencies(storage, "s", options, parse_space(options), guide.workspace)
    assert found is not None
    assert found.text().endswith(
        "The machine was busy: the next round of a net took up to 3.0 times as long, so differences "
        "smaller than that say nothing."
    )


def test_a_study_keeps_its_latencies_and_no_command_measures_them_again(
    guide: Guide, storage: RDBStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = config()
    study = open_study(storage, "s", {}, {}, pareto=True)
    kept = keep_latencies(study, Latencies(TIMES, "cpu, 2 threads", 1.0))
    monkeypatch.setattr(module, "latency", Timed({}))  # fails when it is asked
    assert find_latencies(storage, "s", options, parse_space(options), guide.workspace) == kept == read_latencies(study)
    assert keep_latencies(study, Latencies(dict.fromkeys(TIMES, 9.0), "elsewhere", 1.0)) == kept  # the first one counts


def test_a_search_that_asks_for_no_latency_measures_none(guide: Guide, storage: RDBStorage) -> None:
    for fields in ({"pareto": "false"}, {"pareto": "true"}, {"pareto": "size"}):
        assert find_latencies(storage, "s", config(**fields), (), guide.workspace) is None
    assert config(pareto="false", max_latency=1).needs_latency()


def test_latencies_that_kd_did_not_write_are_refused(study: optuna.Study) -> None:
    for bad in (
        {"ms": {}, "place": ""},
        {"ms": {"a": 0.0}, "place": "", "unrest": 1.0},
        {"ms": [1.0], "place": "", "unrest": 1.0},
    ):
        study.set_user_attr(LATENCIES, bad)
        with pytest.raises(UserError, match=r"its attribute kd\.latencies is not one that kd wrote"):
            read_latencies(study)


def test_specialists_take_as_long_as_one_after_the_other_and_a_student_as_one_net(guide: Guide) -> None:
    latencies = Latencies(TIMES, "cpu, 2 threads", 1.0)
    for objective, expected in (("student", 2.0), ("specialist", 6.0), ("combined", 6.0)):
        assert candidate_latency(config(objective=objective, width=8), 3, guide.workspace, latencies) == expected


def test_a_net_that_was_not_searched_is_measured_as_kd_measures_everywhere(
    guide: Guide, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: list[float] = []

    def remembered(model: nn.Module, images: Tensor, batch: int) -> Latency:
        real.append((one := latency(model, images, batch)).median_ms)
        return one

    monkeypatch.setattr(module, "latency", remembered)
    monkeypatch.setattr(module, "SECONDS", 0.0)
    assert candidate_latency(config(width=16), 0, guide.workspace, Latencies(TIMES, "", 1.0)) == min(real)
    assert len(real) == 3


@pytest.mark.parametrize(
    ("limit", "fields", "expected"),
    [
        (0, {}, "width=int:4:12:4"),
        (4, {}, "width=int:4:12:4"),
        (3.9, {}, "width=int:4:8:4"),
        (1, {"search": "width=cat:4,12"}, "width=cat:4"),
        (3.9, {"objective": "specialist"}, "width=int:4:4:4"),  # three of them, of 1, 2 and 4 ms each
    ],
)
def test_no_width_is_searched_at_which_a_candidate_is_too_slow(limit: float, fields: dict[str, str], expected: str) -> None:
    assert widths(config(max_latency=limit, **fields), groups=3) == expected


def test_a_limit_below_the_fastest_candidate_is_refused_with_one_that_is_enough() -> None:
    with pytest.raises(UserError) as refused:
        widths(config(max_latency=0.5))
    told = (
        "0.5: the fastest student of this search (depth 1, width 4) would take 1 ms for one image (cpu, 2 threads); allow 1.2"
    )
    assert (str(refused.value), refused.value.field) == (told, "max_latency")
    assert widths(config(max_latency=1.2)) == "width=int:4:4:4"
    with pytest.raises(UserError, match=r"allow 0\.29"):  # 1.2 times 0.2345 is 0.2814
        widths(config(max_latency=0.1), times=dict.fromkeys(TIMES, 0.2345))


def test_too_many_nets_are_refused_before_one_is_measured(guide: Guide, storage: RDBStorage) -> None:
    options = config(search="width=int:1:100;depth=int:1:3")
    with pytest.raises(UserError, match=r"^depth=int:1:3; width=int:1:100: 300 nets, and the latency of 256") as refused:
        find_latencies(storage, "s", options, parse_space(options), guide.workspace)
    assert refused.value.field == "search"
    steps = config(search="width=int:4:32:4;depth=int:1:3")  # as it advises
    assert len(module._nets(steps, parse_space(steps))) == 24


def test_the_nets_of_others_are_told_by_their_arguments() -> None:
    options = config(net="my.py:net", search="net_args=cat:width=4,width=8", width=16)
    assert [*module._nets(options, parse_space(options))] == ["net args width=4", "net args width=8"]
