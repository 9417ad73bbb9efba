"""Which study it is: created with its first points, opened again, refused where it is of something else."""

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from kd.config import TuneConfig
from kd.data.dataset import Dataset
from kd.errors import UserError
from kd.from_config import foreign_code
from kd.search import study as study_module
from kd.search.space import parse_space
from kd.search.state import all_trials
from kd.search.storage import opened
from kd.search.study import identity, open_study, study_name

POINT = {"configured": {"alpha": 0.5}}


def facts(options: TuneConfig) -> dict[str, str]:
    return identity(options, parse_space(options), "digest")


@pytest.mark.filterwarnings("ignore:Heartbeat of storage:UserWarning")  # which is the business of Study.optimize
def test_a_new_study_has_its_first_points_waiting_and_is_opened_again(url: str) -> None:
    with opened(url) as storage:
        made = open_study(storage, "s", {"objective": "specialist"}, POINT, pareto=False)
        assert [trial.state for trial in all_trials(made)] == [TrialState.WAITING]
        trial = made.ask()
        assert trial.suggest_float("alpha", 0, 1) == 0.5
        again = open_study(storage, "s", {"objective": "specialist"}, POINT, pareto=False)
        assert len(all_trials(again)) == 1


def test_a_study_whose_creator_died_at_once_gets_its_points(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(url) as storage:
        optuna.create_study(storage=storage, study_name="s", direction="maximize")
        monkeypatch.setattr(study_module, "IDENTITY_SECONDS", 0.1)
        made = open_study(storage, "s", {"objective": "specialist"}, POINT, pareto=False)
        assert [trial.state for trial in all_trials(made)] == [TrialState.WAITING]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pareto": "true"}, "direction"),
        ({"search": "lr=log:0.01:0.5"}, "search"),
        ({"search": "temperature=log:1:10"}, "search"),
        ({"objective": "combined"}, "objective"),
        ({"epochs": "3"}, "its epochs is 20, not 3"),
        ({"width": "8"}, "its search is .*;width=int:4:32:4, not .*;width=int:4:8:4"),
        ({"max_parameters": "9000"}, "its max_parameters is none, not 9000"),
    ],
)
def test_a_study_of_something_else_is_refused(url: str, change: dict[str, str], message: str) -> None:
    before, after = TuneConfig.parse({}), TuneConfig.parse(change)
    with opened(url) as storage:
        open_study(storage, "s", facts(before), {}, pareto=bool(before.pareto))
        with pytest.raises(UserError, match=message):
            open_study(storage, "s", facts(after), {}, pareto=bool(after.pareto))


def test_another_data_digest_is_refused_and_where_files_lie_is_no_matter(url: str) -> None:
    options = TuneConfig.parse({})
    elsewhere = TuneConfig.parse({"data_root": "elsewhere", "output_dir": "out", "workers": "4", "trials": "99"})
    with opened(url) as storage:
        open_study(storage, "s", facts(options), {}, pareto=False)
        open_study(storage, "s", facts(elsewhere), {}, pareto=False)
        with pytest.raises(UserError, match="data digest is digest, not another"):
            open_study(storage, "s", identity(options, parse_space(options), "another"), {}, pareto=False)


def test_a_net_or_a_loss_whose_file_was_edited_is_another_study(tmp_path: Path, tiny_digits: Dataset) -> None:
    net, loss = tmp_path / "net.py", tmp_path / "loss.py"
    net.write_text("from torch import nn\ndef net(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n")
    loss.write_text("def loss(student, teacher, labels): return (student - teacher).square().mean(dim=1)\n")
    asked = {"objective": "student", "net": f"{net}:net", "loss": f"{loss}:loss"}
    told = [foreign_code(TuneConfig.parse(asked), tiny_digits)]
    for file in (net, loss):
        file.write_text(f"{file.read_text()}# edited\n")
        told.append(foreign_code(TuneConfig.parse(asked), tiny_digits))
    assert len(set(told)) == 3
    assert told[-1] == foreign_code(TuneConfig.parse(asked), tiny_digits)
    assert foreign_code(TuneConfig.parse({"objective": "student"}), tiny_digits) == ""
    options = TuneConfig.parse(asked)
    names = {study_name(options, identity(options, parse_space(options), "digest", code)) for code in told}
    assert len(names) == 3


def test_a_study_of_somebody_else_is_refused(url: str) -> None:
    with opened(url) as storage:
        foreign = optuna.create_study(storage=storage, study_name="s", direction="minimize")
        foreign.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
        with pytest.raises(UserError, match="a study that kd did not make"):
            open_study(storage, "s", {}, {}, pareto=False)


def test_the_name_is_one_of_the_settings() -> None:
    options = TuneConfig.parse({})
    names = {study_name(other, facts(other)) for other in (options, TuneConfig.parse({"trials": "9"}))}
    assert len(names) == 1
    assert study_name(TuneConfig.parse({"epochs": "3"}), facts(TuneConfig.parse({"epochs": "3"}))) not in names
    assert study_name(TuneConfig.parse({"study_name": "mine"}), {}) == "mine"


def test_a_study_of_before_students_had_the_choices_of_teachers_resumes() -> None:
    options = TuneConfig.parse({"objective": "student"})
    told = identity(options, parse_space(options), "digest")
    added = {"net", "label_smoothing", "optimizer", "start_px", "shift_px"}
    assert not added & told.keys()
    assert study_name(options, told) == "digits-student-98c80243"  # what it was called then
    muon = TuneConfig.parse({"objective": "student", "optimizer": "muon"})
    assert identity(muon, parse_space(muon), "digest") == told | {"optimizer": "muon"}
