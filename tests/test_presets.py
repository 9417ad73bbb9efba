"""Every preset is a good net with its recipe, for a generalist or for students, and loses to what a user says."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from kd.cli import COMMANDS, config_class
from kd.config import Config, NetAndRecipe, PipelineConfig, StudentConfig, TeacherConfig
from kd.errors import UserError
from kd.presets import OF_STUDENTS, PRESETS, preset_settings

Configured = Callable[[Sequence[str]], Config]
TRAINING = [command for command in COMMANDS if issubclass(config_class(command), NetAndRecipe)]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_names_fields_of_a_net_and_its_recipe_and_is_not_the_default(name: str) -> None:
    assert preset_settings(name).keys() <= NetAndRecipe.model_fields.keys()
    made = TeacherConfig.parse(preset_settings(name))
    assert made != TeacherConfig()
    assert OF_STUDENTS.get(name, {}).keys() <= preset_settings(name).keys()
    assert StudentConfig.parse(preset_settings(name, "teacher_")).teacher_config() == made


@pytest.mark.parametrize("name", PRESETS)
def test_a_teacher_takes_it_for_itself(name: str, configured: Configured) -> None:
    assert configured(["teacher", "--preset", name]) == TeacherConfig.parse(PRESETS[name])


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("command", [command for command in TRAINING if command != "teacher"])
def test_each_command_with_students_takes_one_for_its_teacher_and_one_for_them(
    command: str, name: str, configured: Configured
) -> None:
    own = {**PRESETS[name], **OF_STUDENTS.get(name, {})}
    of_teacher = {f"teacher_{field}": value for field, value in PRESETS[name].items()}
    for flag in ("--preset", "--teacher-preset"):
        assert configured([command, flag, name]) == config_class(command).parse(of_teacher)
    assert configured([command, "--student-preset", name]) == config_class(command).parse(own)
    both = configured([command, "--student-preset", name, "--teacher-preset", name])
    assert both == config_class(command).parse({**own, **of_teacher})


def test_the_benchmark_of_others_on_cifar100_is_resnet_56_to_resnet_20() -> None:
    layers = [6 * preset_settings("cifar100-240", option=option)["depth"] + 2 for option in ("preset", "student_preset")]
    assert layers == [56, 20]


def test_a_file_wins_over_a_preset_and_a_flag_over_both(configured: Configured, tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("teacher_epochs: 3\nteacher_width: 8\n")
    config = configured(["pipeline", "--preset", "cifar10", "--config", str(path), "--teacher-width", "12"])
    assert isinstance(config, PipelineConfig)
    teacher = config.teacher_config()
    assert (teacher.epochs, teacher.width) == (3, 12)
    assert (teacher.net, teacher.optimizer) == ("pooled", "muon")


def test_an_unknown_preset_is_refused_and_a_command_without_generalist_has_none(
    cli: Callable[[Sequence[str]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match=r"^imagenet: choose one of cifar10, cifar100-240$"):
        preset_settings("imagenet")
    for arguments, told in (
        (["combine", "--preset", "cifar10"], "--preset"),
        (["teacher", "--student-preset", "cifar10"], "--student-preset"),
        (["tune", "--preset", "imagenet"], "kd: --preset imagenet: choose one of cifar10, cifar100-240\n"),
        (["tune", "--student-preset", "imagenet"], "kd: --student-preset imagenet: choose one of cifar10, cifar100-240\n"),
    ):
        with pytest.raises(SystemExit) as ended:
            cli(arguments)
        assert ended.value.code == 2
        assert told in capsys.readouterr().err
