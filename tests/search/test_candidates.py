"""How a candidate is trained and scored, against the same by hand; and what ``kd tune`` refuses before it begins."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import mlflow
import optuna
import pytest
import torch
from mlflow.entities import Run
from optuna.trial import FrozenTrial, TrialState
from torch import Tensor, nn

from kd.config import TuneConfig
from kd.data.dataset import Dataset
from kd.distillation.distil import distillation_jobs
from kd.distillation.job import create_trainer
from kd.distillation.targets import LiveTargets
from kd.distillation.task import specialist_task
from kd.distillation.teacher import Teacher
from kd.errors import UserError
from kd.evaluation.predict import predict
from kd.jobs import distillation
from kd.nets.classifier import Classifier
from kd.nets.resnet import ResNet
from kd.search.candidates import Candidate, Guide
from kd.search.final import systems
from kd.search.objective import Surplus, TrialRunner
from kd.search.report import groups_text, log_figures, note
from kd.search.space import PAPER, parse_space
from kd.search.storage import open_study, opened
from kd.search.trials import END, all_trials, finished, stops
from kd.search.worker import create_pruner, run_one
from kd.specialists.combined import CombinedModel, Specialist
from kd.specialists.dustbin import fit_correction, group_labels
from kd.specialists.kind import TaskKind
from kd.tracking import store as tracking
from kd.tracking.workspace import Setting

SMALL = {"epochs": 3, "width": 4, "views": 0, "batch_size": 32, "lr": 0.2}
GROUPS = {0: (0, 1, 2), 1: (3, 4)}


@pytest.fixture(scope="module")
def guide(tiny_digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Guide:
    torch.manual_seed(0)
    model = Classifier(ResNet(10, 1, 1, 4), tiny_digits.mean, tiny_digits.std).eval()
    teacher = Teacher(model, tiny_digits)
    setting = Setting("tune", tiny_digits, torch.device("cpu"), tmp_path_factory.mktemp("out"), {})
    return Guide(setting, teacher, LiveTargets(model), GROUPS)


def trained(config: TuneConfig, guide: Guide) -> tuple[Candidate, list[dict[str, float]]]:
    candidate = Candidate(config, guide)
    return candidate, list(candidate.epochs())


@pytest.mark.parametrize("use", ["best", "last"])
@pytest.mark.parametrize("dustbin", [True, False])
def test_specialists_are_those_of_their_command_and_the_accuracy_is_the_mean_over_groups(
    guide: Guide, use: str, *, dustbin: bool
) -> None:
    config = TuneConfig.parse({**SMALL, "use": use, "dustbin": dustbin})
    candidate, history = trained(config, guide)

    accuracies: list[list[float]] = []
    for number, group in GROUPS.items():
        task = specialist_task(guide.setting.dataset, group, TaskKind.DUSTBIN if dustbin else TaskKind.OWN, 0.5)
        how = distillation(config, guide.setting)
        _, job = distillation_jobs(how, guide.teacher, guide.targets, task, label=f"specialist {number}")
        trainer, _ = create_trainer(job)
        seen = []
        for _ in trainer.epochs():
            logits = predict(trainer.model, task.val)
            right = task.own_correct(logits, task.val.labels)
            seen.append(right.double().mean().item())
        accuracies.append(seen)
    so_far = [max(seen) for seen in accuracies] if use == "best" else [seen[-1] for seen in accuracies]
    assert history[-1]["val_accuracy"] == pytest.approx(sum(so_far) / 2)
    assert candidate.val_accuracies() == [pytest.approx(sum(so_far) / 2)]
    assert [epoch["epoch"] for epoch in history] == [1, 2, 3]
    assert history[0]["val_accuracy"] == pytest.approx(sum(seen[0] for seen in accuracies) / 2)
    drawn = 2 * sum(
        torch.isin(guide.setting.dataset.train.labels, torch.tensor(group)).sum().item() for group in GROUPS.values()
    )
    images = drawn if dustbin else drawn / 2
    assert history[0]["images_per_second"] * history[0]["seconds"] == pytest.approx(images)


@pytest.mark.parametrize("dustbin", [True, False])
def test_the_combined_accuracy_is_that_of_the_combined_model(guide: Guide, *, dustbin: bool) -> None:
    config = TuneConfig.parse({**SMALL, "objective": "combined", "dustbin": dustbin, "top_n": 2})
    candidate, history = trained(config, guide)
    dataset = guide.setting.dataset
    specialists = []
    for training in candidate.trainings:
        model = training.model
        group = training.job.task.group
        labels = group_labels(dataset.val.labels, group, 10, dustbin=True)
        shift = fit_correction(predict(model, dataset.val), labels) if dustbin else 0.0
        specialists.append(Specialist(model, group, TaskKind.DUSTBIN if dustbin else TaskKind.OWN, shift))
    combined = CombinedModel(guide.teacher.model, specialists, 10, 2).eval()
    for split, [accuracy] in ((dataset.val, candidate.val_accuracies()), (dataset.test, candidate.test_accuracies())):
        answers = predict(combined, split).argmax(dim=1)
        assert accuracy == pytest.approx((answers == split.labels).double().mean().item())
    assert history[-1]["val_accuracy"] == candidate.val_accuracies()[0]


def test_a_student_of_two_seeds_is_judged_by_their_mean(guide: Guide) -> None:
    config = TuneConfig.parse({**SMALL, "objective": "student", "seeds": 2, "seed": 5})
    candidate, history = trained(config, guide)
    apart = [trained(config.model_copy(update={"seeds": 1, "seed": seed}), guide)[0] for seed in (5, 6)]
    assert candidate.val_accuracies() == [one.val_accuracies()[0] for one in apart]
    assert candidate.test_accuracies() == [one.test_accuracies()[0] for one in apart]
    assert history[-1]["val_accuracy"] == pytest.approx(sum(candidate.val_accuracies()) / 2)
    assert candidate.parameters == apart[0].parameters


def test_the_control_learns_from_hard_targets_alone(guide: Guide) -> None:
    config = TuneConfig.parse({**SMALL, "objective": "student"})
    control, hard = Candidate(config, guide, "control"), Candidate(config.model_copy(update={"alpha": 0.0}), guide)
    for one in (control, hard):
        list(one.epochs())
    weights = control.trainings[0].model.state_dict()
    for name, weight in hard.trainings[0].model.state_dict().items():
        assert torch.equal(weights[name], weight), name  # a zero is added to each gradient


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlflow_store: Callable[..., str]) -> Iterator[optuna.Study]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store(tmp_path))
    with opened(f"sqlite:///{tmp_path}/optuna.db") as storage:
        yield open_study(storage, "s", {}, {}, pareto=False)


def run_trials(config: TuneConfig, guide: Guide, study: optuna.Study, folder: Path) -> list[Run]:
    """Run trials in this process, one more than asked for, and return their MLflow runs in order."""
    with tracking.run("study", output_dir=folder, tags={}) as parent:
        runner = TrialRunner(config, guide, parse_space(config), parent.id, study)
        study.sampler = optuna.samplers.RandomSampler(seed=0)
        study.optimize(runner, n_trials=config.trials + 1, catch=(UserError, Surplus))
        log_figures(parent, study, parse_space(config))
    client = mlflow.MlflowClient()
    return [client.get_run(trial.user_attrs["kd.run"]) for trial in study.trials if "kd.run" in trial.user_attrs]


def run_one_guided_by(
    model: nn.Module, guide: Guide, study: optuna.Study, folder: Path, *, pareto: bool = False
) -> tuple[FrozenTrial, Run, bool]:
    """Run one trial whose live teacher is ``model``, and return it, its MLflow run, and whether it was lost."""
    config = TuneConfig.parse({**SMALL, "epochs": 1, "search": "width=fixed", "pareto": pareto})
    with tracking.run("study", output_dir=folder, tags={}) as parent:
        runner = TrialRunner(config, replace(guide, targets=LiveTargets(model)), parse_space(config), parent.id, study)
        run_one(study, runner)
    [trial] = all_trials(study)
    return trial, mlflow.MlflowClient().get_run(trial.user_attrs["kd.run"]), runner.lost


def test_a_trial_that_torch_cannot_train_fails_alone(guide: Guide, study: optuna.Study, tmp_path: Path) -> None:
    dataset = guide.setting.dataset
    of_colour_images = Classifier(ResNet(10, 3, 1, 4), dataset.mean, dataset.std)
    trial, run, lost = run_one_guided_by(of_colour_images, guide, study, tmp_path)
    assert (trial.state, finished([trial]), lost) == (TrialState.FAIL, 1, False)
    assert "channels" in trial.user_attrs[END]
    assert (run.info.status, run.data.tags["kd.reason"]) == ("FAILED", trial.user_attrs[END])


class Interrupts(nn.Module):
    """A teacher that is interrupted when it is asked."""

    def forward(self, images: Tensor) -> Tensor:  # noqa: ARG002 - torch's signature
        raise KeyboardInterrupt


def test_a_trial_that_is_stopped_is_closed_and_does_not_count(guide: Guide, study: optuna.Study, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_one_guided_by(Interrupts(), guide, study, tmp_path)
    [trial] = all_trials(study)
    run = mlflow.MlflowClient().get_run(trial.user_attrs["kd.run"])
    assert (trial.state, finished([trial]), stops(trial.user_attrs)) == (TrialState.FAIL, 0, [0])
    assert (run.info.status, run.data.tags["kd.state"]) == ("KILLED", "stopped")


class FailsTrials(nn.Module):
    """A teacher that, whenever it is asked, fails the trials under way, as another worker does after missed heartbeats."""

    def __init__(self, model: nn.Module, study: optuna.Study) -> None:
        super().__init__()
        self.model = model
        self.study = study

    def forward(self, images: Tensor) -> Tensor:
        for trial in self.study.get_trials(states=[TrialState.RUNNING]):
            self.study.tell(trial.number, state=TrialState.FAIL)
        logits: Tensor = self.model(images)
        return logits


@pytest.mark.parametrize("pareto", [True, False])
def test_a_trial_that_was_failed_while_it_ran_is_left_to_be_tried_again(
    guide: Guide, study: optuna.Study, tmp_path: Path, *, pareto: bool
) -> None:
    trial, run, lost = run_one_guided_by(FailsTrials(guide.teacher.model, study), guide, study, tmp_path, pareto=pareto)
    assert (trial.state, finished([trial]), lost) == (TrialState.FAIL, 0, True)
    assert END not in trial.user_attrs
    assert (run.info.status, run.data.tags["kd.reason"]) == ("FAILED", "its heartbeats were missed")


def test_trials_are_runs_with_what_was_searched_and_each_epoch(guide: Guide, study: optuna.Study, tmp_path: Path) -> None:
    config = TuneConfig.parse({**SMALL, "trials": 2, "search": "width=fixed"})
    runs = run_trials(config, guide, study, tmp_path)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "COMPLETE", "FAIL"]  # the last one was surplus
    for run, trial in zip(runs, study.trials, strict=False):
        assert run.info.status == "FINISHED"
        assert run.data.params == {name: f"{value:.10g}" for name, value in trial.params.items()}
        assert run.data.metrics["val_result"] == trial.value
        history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "val_accuracy")
        assert {metric.step: metric.value for metric in history} == pytest.approx(trial.intermediate_values)
    drawn = {path.stem for path in tmp_path.glob("figures/*/*.png")}
    assert {"contour", "history", "slices", "timeline"} <= drawn


def test_a_pruned_trials_run_is_killed_and_tagged(guide: Guide, study: optuna.Study, tmp_path: Path) -> None:
    study.pruner = optuna.pruners.ThresholdPruner(lower=2.0, n_warmup_steps=2)  # no accuracy is that good
    [run] = run_trials(TuneConfig.parse({**SMALL, "trials": 1}), guide, study, tmp_path)
    assert (run.info.status, run.data.tags["kd.state"]) == ("KILLED", "pruned")
    assert run.data.tags["kd.reason"] == "after epoch 2"
    assert "val_result" not in run.data.metrics


def test_a_trial_whose_loss_is_not_finite_fails_for_good(guide: Guide, study: optuna.Study, tmp_path: Path) -> None:
    config = TuneConfig.parse({**SMALL, "trials": 1, "lr": 1e12})
    [run] = run_trials(config, guide, study, tmp_path)
    assert (run.info.status, run.data.tags["kd.state"]) == ("FAILED", "failed")
    assert "loss is" in run.data.tags["kd.reason"]
    assert finished(all_trials(study)) == 1


def test_a_study_of_two_objectives_keeps_its_front(guide: Guide, tmp_path: Path, study: optuna.Study) -> None:
    config = TuneConfig.parse({**SMALL, "trials": 3, "pareto": True, "objective": "student"})
    with opened(f"sqlite:///{tmp_path}/two.db") as storage:
        two = open_study(storage, study.study_name, {}, {}, pareto=True)
        runs = run_trials(config, guide, two, tmp_path)
        assert [(run.data.metrics["val_result"], run.data.metrics["parameters"]) for run in runs] == [
            tuple(trial.values) for trial in two.trials[:3]
        ]
        text = note(config, two, "", parse_space(config), "")
        assert list(tmp_path.glob("figures/*/pareto_front.png"))
    assert "| trial | val accuracy | parameters | alpha |" in text


def test_the_winner_is_compared_with_each_different_system_once() -> None:
    config = TuneConfig.parse({"final_seeds": 4})
    winner = config.model_copy(update={"temperature": 2.0})
    compared = systems(config, winner)
    assert set(compared) == {"winner", "configured", "paper's values", "winner on hard targets"}
    assert {system.config.seeds for system in compared.values()} == {4}
    assert compared["paper's values"].config.temperature == PAPER["temperature"]
    assert compared["winner on hard targets"].config == compared["winner"].config
    assert set(systems(config, config)) == {"winner", "paper's values", "winner on hard targets"}
    papers = config.model_copy(update=dict(PAPER))
    assert set(systems(papers.model_copy(update={"control": False}), winner)) == {"winner", "configured"}


def test_pruners_begin_after_a_quarter_of_the_epochs() -> None:
    assert create_pruner(TuneConfig.parse({"epochs": "40"}))._n_warmup_steps == 10  # type: ignore[attr-defined]
    names = [type(create_pruner(TuneConfig.parse({"pruner": name}))).__name__ for name in ("halving", "hyperband", "none")]
    assert names == ["SuccessiveHalvingPruner", "HyperbandPruner", "NopPruner"]
    assert type(create_pruner(TuneConfig.parse({"pareto": "true"}))).__name__ == "NopPruner"


def test_groups_are_told_by_number_or_by_name_where_numbers_are_names() -> None:
    assert groups_text([(0, 2), (1, 2)], ["cat", "dog", "ship", "truck"]) == "0,2;1,2"
    assert groups_text([(0, 2)], ["1", "2", "3", "4"]) == "1,3"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--search", "temprature=log:1:20"], "did you mean temperature?"),
        (["--search", "lr=log:0.01:0.5", "--search", "lr=log:0.01:0.5"], "given twice"),
        (["--storage", "optuna.log"], "expected a database"),
        (["--groups", "0,1", "--group", "3"], "there are 1 groups"),
        (["--top-n", "11"], "there are only 10 classes"),
        (["--register", "name"], "a search registers nothing"),
        (["--teacher", "nobody"], "no such run or model"),
        (["--trials", "0"], "greater than or equal to 1"),
    ],
)
def test_a_bad_search_is_refused_before_anything_is_made(
    cli: Callable[[Sequence[str]], None],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: Sequence[str],
    message: str,
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli(["tune", *arguments])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("optuna.db"))


def test_repeated_and_joined_searches_are_one(configured: Callable[[Sequence[str]], TuneConfig]) -> None:
    repeated = configured(["tune", "--search", "lr=log:0.01:0.5", "--search", "depth=int:1:3"])
    assert repeated == configured(["tune", "--search", "lr=log:0.01:0.5;depth=int:1:3"])
    assert repeated.search == "lr=log:0.01:0.5;depth=int:1:3"
