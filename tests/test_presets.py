"""Every preset is a good configuration of the generalist, wherever one is trained, and loses to what a user says."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from kd.cli import COMMANDS, config_class
from kd.config import Config, PipelineConfig, StudentConfig, TeacherConfig
from kd.errors import UserError
from kd.presets import PRESETS, preset_settings

Configured = Callable[[Sequence[str]], Config]
TRAINING = [command for command in COMMANDS if command not in {"combine", "targets"}]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_names_fields_of_the_generalist_and_is_not_the_default(name: str) -> None:
    made = TeacherConfig.parse(preset_settings(name, TeacherConfig))
    assert made != TeacherConfig()
    assert StudentConfig.parse(preset_settings(name, StudentConfig)).teacher_config() == made


@pytest.mark.parametrize("command", TRAINING)
def test_each_command_that_trains_takes_it(command: str, configured: Configured) -> None:
    [name] = PRESETS
    assert configured([command, "--preset", name]) == config_class(command).parse(preset_settings(name, config_class(command)))


def test_a_file_wins_over_a_preset_and_a_flag_over_both(configured: Configured, tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("teacher_epochs: 3\nteacher_width: 8\n")
    config = configured(["pipeline", "--preset", "cifar10", "--config", str(path), "--teacher-width", "12"])
    assert isinstance(config, PipelineConfig)
    assert (config.teacher_epochs, config.teacher_width) == (3, 12)
    assert (config.teacher_net, config.teacher_optimizer) == ("pooled", "muon")


def test_an_unknown_preset_is_refused_and_a_command_without_generalist_has_none(
    cli: Callable[[Sequence[str]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match="--preset imagenet: choose one of cifar10"):
        preset_settings("imagenet", TeacherConfig)
    with pytest.raises(SystemExit) as ended:
        cli(["combine", "--preset", "cifar10"])
    assert ended.value.code == 2
    assert "--preset" in capsys.readouterr().err
