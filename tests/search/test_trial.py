"""Trials in this process: their runs, and how each of their ends is told."""

from dataclasses import replace
from pathlib import Path

import mlflow
import optuna
import pytest
from mlflow.entities import Run
from optuna.trial import FrozenTrial, TrialState
from torch import Tensor, nn

from kd.config import TuneConfig
from kd.distillation.targets import LiveTargets
from kd.errors import UserError
from kd.nets.classifier import Classifier
from kd.nets.resnet import ResNet
from kd.search.attributes import END
from kd.search.candidate import Guide
from kd.search.certainty import ValImages
from kd.search.figures import log_figures
from kd.search.report import note, trial_line
from kd.search.space import parse_space
from kd.search.state import all_trials, count_finished, stopped_tries
from kd.search.storage import opened
from kd.search.study import open_study
from kd.search.trial import Surplus, TrialRunner
from kd.search.workers.worker import run_one
from kd.tracking import store as tracking

SMALL = {"epochs": 3, "width": 4, "views": 0, "batch_size": 32, "lr": 0.2}


def run_trials(config: TuneConfig, guide: Guide, study: optuna.Study, folder: Path) -> list[Run]:
    """Run trials in this process, one more than asked for, and return their MLflow runs in order."""
    with tracking.run("study", output_dir=folder, tags={}) as parent:
        runner = TrialRunner(config, guide, parse_space(config), parent.id, study)
        study.sampler = optuna.samplers.RandomSampler(seed=0)
        study.optimize(runner, n_trials=config.trials + 1, catch=(UserError, Surplus))
        log_figures(parent, study, parse_space(config), ValImages(100))
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
    dataset = guide.workspace.dataset
    of_colour_images = Classifier(ResNet(10, 3, 1, 4), dataset.mean, dataset.std)
    trial, run, lost = run_one_guided_by(of_colour_images, guide, study, tmp_path)
    assert (trial.state, count_finished([trial]), lost) == (TrialState.FAIL, 1, False)
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
    assert (trial.state, count_finished([trial]), stopped_tries(trial.user_attrs)) == (TrialState.FAIL, 0, [0])
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
    assert (trial.state, count_finished([trial]), lost) == (TrialState.FAIL, 0, True)
    assert END not in trial.user_attrs
    assert (run.info.status, run.data.tags["kd.reason"]) == ("FAILED", "its heartbeats were missed")


def test_trials_are_runs_with_what_was_searched_and_each_epoch(guide: Guide, study: optuna.Study, tmp_path: Path) -> None:
    config = TuneConfig.parse({**SMALL, "trials": 2, "search": "width=fixed"})
    runs = run_trials(config, guide, study, tmp_path)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "COMPLETE", "FAIL"]  # the last one was surplus
    for run, trial in zip(runs, study.trials, strict=False):
        assert run.info.status == "FINISHED"
        assert run.data.params == {name: f"{value:.10g}" for name, value in trial.params.items()}
        assert run.data.metrics["val/chosen_accuracy"] == trial.value
        history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "val/accuracy")
        assert {metric.step: metric.value for metric in history} == pytest.approx(trial.intermediate_values)
    drawn = {path.stem for path in tmp_path.glob("figures/*/*.png")}
    assert drawn == {"2_history", "3_accuracy_and_size", "4_settings", "5_temperature_and_alpha", "7_timeline"}


def test_a_pruned_trials_run_is_killed_and_tagged(guide: Guide, study: optuna.Study, tmp_path: Path) -> None:
    study.pruner = optuna.pruners.ThresholdPruner(lower=2.0, n_warmup_steps=2)  # no accuracy is that good
    [run] = run_trials(TuneConfig.parse({**SMALL, "trials": 1}), guide, study, tmp_path)
    assert (run.info.status, run.data.tags["kd.state"]) == ("KILLED", "pruned")
    assert run.data.tags["kd.reason"] == "after epoch 2"
    assert "val/chosen_accuracy" not in run.data.metrics


@pytest.mark.parametrize("pareto", [False, True])
def test_a_trial_that_is_too_large_is_pruned_before_it_is_trained(
    guide: Guide, url: str, tmp_path: Path, *, pareto: bool
) -> None:
    # Depth 1 has 4,934 parameters and depth 2 has 11,094; a width of 4 is the only one.
    fields = {**SMALL, "objective": "student", "trials": 6, "epochs": 1, "search": "depth=int:1:2", "pareto": pareto}
    config = TuneConfig.parse({**fields, "max_parameters": 11_093})
    with opened(url) as storage:
        study = open_study(storage, "s", {}, {}, pareto=pareto)
        runs = run_trials(config, guide, study, tmp_path)
        trials = [trial for trial in all_trials(study) if trial.state != TrialState.FAIL]
        text = note(config, study, groups="", space=parse_space(config), images=ValImages(100), comparison="", views="")
        lines = [trial_line(config, study, trial) for trial in trials]
    large = [trial.number for trial in trials if trial.params["depth"] == 2]
    assert 0 < len(large) < 6
    assert [trial.number for trial in trials if trial.state == TrialState.PRUNED] == large
    for run, trial, line in zip(runs, trials, lines, strict=False):
        if trial.number in large:
            told = "not trained: 11,094 parameters are more than --max-parameters 11,093"
            assert (run.info.status, run.data.tags["kd.state"], run.data.tags["kd.reason"]) == ("KILLED", "pruned", told)
            assert run.data.metrics["cost/parameters"] == 11_094
            assert "val/accuracy" not in run.data.metrics
            assert f"trial {trial.number}: pruned, 11,094 parameters are more than --max-parameters 11,093 (" in line
        else:
            assert run.data.metrics["cost/parameters"] == 4_934
    assert f"{6 - len(large)} complete, {len(large)} pruned, " in text
    assert f"({len(large)} pruned untrained: larger than `--max-parameters 11093`)" in text


def test_a_trial_whose_loss_is_not_finite_fails_for_good(guide: Guide, study: optuna.Study, tmp_path: Path) -> None:
    config = TuneConfig.parse({**SMALL, "trials": 1, "lr": 1e6})
    [run] = run_trials(config, guide, study, tmp_path)
    assert (run.info.status, run.data.tags["kd.state"]) == ("FAILED", "failed")
    assert "loss is" in run.data.tags["kd.reason"]
    assert count_finished(all_trials(study)) == 1


def test_a_study_of_two_objectives_keeps_its_front(guide: Guide, tmp_path: Path, study: optuna.Study) -> None:
    config = TuneConfig.parse({**SMALL, "trials": 3, "pareto": True, "objective": "student"})
    with opened(f"sqlite:///{tmp_path}/two.db") as storage:
        two = open_study(storage, study.study_name, {}, {}, pareto=True)
        runs = run_trials(config, guide, two, tmp_path)
        assert [(run.data.metrics["val/chosen_accuracy"], run.data.metrics["cost/parameters"]) for run in runs] == [
            tuple(trial.values) for trial in two.trials[:3]
        ]
        text = note(
            config, two, groups="", space=parse_space(config), images=ValImages(100), comparison="", views="[trials](#/page)"
        )
        assert list(tmp_path.glob("figures/*/3_accuracy_and_size.png"))
    assert "| trial | val accuracy | parameters | alpha |" in text
    assert text.split("\n\n")[2] == "Side by side: [trials](#/page)."
