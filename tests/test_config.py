"""Configurations: bounds, and the one text form that flags, files and params share."""

import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kd.cli import COMMANDS, config_class
from kd.config import (
    NET_SETTINGS,
    OF_GIVEN_TEACHER,
    Config,
    NetAndRecipe,
    PipelineConfig,
    SpecialistConfig,
    StudentConfig,
    TeacherConfig,
    TrainingConfig,
    TuneConfig,
    load_settings,
)
from kd.errors import UserError
from kd.losses.names import LOSS_WEIGHTS
from kd.nets.names import arguments, arguments_text
from kd.tracking.params import canonical
from kd.training.recipe import Recipe

CONFIGS = [config_class(command) for command in COMMANDS]
OtherValues = Callable[[type[Config]], dict[str, Any]]


def refused(config: type[Config], values: dict[str, Any]) -> UserError:
    with pytest.raises(UserError) as caught:
        config.parse(values)
    return caught.value


def refusal(config: type[Config], values: dict[str, Any]) -> str:
    return str(refused(config, values))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (4.0, "4"),
        (0.1, "0.1"),
        (5e-4, "0.0005"),
        (1e-5, "1e-05"),
        (1 / 3, "0.3333333333"),
        (True, "true"),
        (False, "false"),
        (64, "64"),
        ("all", "all"),
        ("", ""),
    ],
)
def test_canonical_text(value: object, text: str) -> None:
    assert canonical(value) == text


@given(st.floats(1e-12, 1e12))
def test_canonical_text_of_a_number_is_the_number_whatever_way_it_was_typed(number: float) -> None:
    assert float(canonical(number)) == pytest.approx(number, rel=1e-9)
    assert canonical(float(f"{number:.3f}")) == canonical(float(f"{number:.3f}0"))


@pytest.mark.parametrize("config", CONFIGS)
def test_text_and_file_give_the_configuration_back(config: type[Config], other_values: OtherValues, tmp_path: Path) -> None:
    for made in (config(), config(**other_values(config))):
        assert config.parse(dict(made.texts())) == made
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(made.model_dump()))
        assert config.parse(load_settings(str(path))) == made
    assert made != config()
    assert made.texts().keys() == config.model_fields.keys()


@pytest.mark.parametrize("config", CONFIGS)
def test_params_are_the_fields_that_decide_a_result(config: type[Config]) -> None:
    places = {"output_dir", "data_root", "transfer_root", "device", "storage", "register_as", "output", "results", "csv"}
    left_out = places | {"resume", "checkpoint_minutes", "skip_bad_images", "workers", "timeout", "export", "track"}
    left_out |= {"model", "images"}  # of commands that train nothing
    left_out |= {f"{loss}_{name}" for loss, own in LOSS_WEIGHTS.items() for name in own}  # kd has none of its own
    left_out |= set(NET_SETTINGS) if config is SpecialistConfig else set()  # they are the generalist's, once it is known
    made = config(**({"teacher": "new"} if "teacher" in config.model_fields else {}))  # auto may take one of other settings
    assert config.model_fields.keys() - made.params().keys() == left_out & config.model_fields.keys()
    assert made.params().items() <= made.texts().items()


@pytest.mark.parametrize(
    ("values", "net", "depth", "width"),
    [
        ({}, "", 0, 0),
        ({"net": "", "depth": "0", "width": 0}, "", 0, 0),
        ({"depth": "00", "width": "0.0"}, "", 0, 0),
        ({"depth": -0.0, "width": "4"}, "resnet", 1, 4),
        ({"width": 8}, "resnet", 1, 8),
        ({"depth": "2"}, "resnet", 2, 16),
        ({"net": "pooled"}, "pooled", 1, 16),
        ({"net": "pooled", "depth": 0, "width": "4"}, "pooled", 1, 4),
        ({"net": "torchvision:resnet18"}, "torchvision:resnet18", 0, 0),
    ],
)
def test_specialists_have_the_generalists_net_unless_a_net_or_a_size_is_given(
    values: dict[str, Any], net: str, depth: int, width: int
) -> None:
    made = SpecialistConfig.parse(values)
    assert (made.net, made.depth, made.width) == (net, depth, width)
    assert made.has_generalists_net() == (not net)
    told = {name: value for name, value in made.params().items() if name in {"net", "depth", "width"}}
    own = {"net": net, "depth": str(depth), "width": str(width)}
    assert told == ({} if not net else own if depth else {"net": net})
    made.check_net()


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"net_args": "a=1"}, "a=1: of which net? name it (--net)"),
        ({"weights": "w.pt"}, "w.pt: of which net? name it (--net)"),
        ({"net": "torchvision:resnet18", "width": 8}, "8: torchvision:resnet18 has no width; give it --net-args that it takes"),
    ],
)
def test_what_specialists_of_such_a_net_can_not_be_told_is_refused(values: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError) as caught:
        SpecialistConfig.parse(values).check_net()
    assert (str(caught.value), caught.value.field) == (line, next(name for name in reversed(values)))


def test_what_is_in_the_fingerprint_of_weights_is_a_param() -> None:
    assert {"compile", "seed", "use", "teacher", "net", "teacher_net"} <= TuneConfig(teacher="new").params().keys()


@pytest.mark.parametrize("config", CONFIGS)
def test_every_field_is_described_and_good_by_default(config: type[Config]) -> None:
    assert config.parse({}) == config()
    for name, field in config.model_fields.items():
        assert field.description, name
        assert not field.is_required(), name


ANY_TRAINING: list[tuple[str, list[object], list[object]]] = [
    ("depth", [0, -1, 1.5, "x", "", None, 1001], [1, "2", 50]),
    ("width", [0, -16], [1]),
    ("epochs", [0, "1e3", 2**31, "0x_", 10**30], [1]),
    ("batch_size", [1, 0], [2]),
    ("lr", [0, -0.1, "nan", "inf", "1e300"], ["1e-3", 5]),
    ("weight_decay", [-1e-9, "nan"], [0, "5e-4"]),
    ("seed", [-1, 2**31], [0, 2**31 - 1]),
    ("data_seed", [-1, 2**31], [0, 2**31 - 1]),
    ("image_px", [7, 513], [8, 512]),
    ("val_fraction", [0, 0.9, 1], [0.001, 0.89]),
    ("data", ["imagenet", "", "CIFAR10"], ["digits", "cifar10", "cifar100", "mnist", "fashion_mnist", "folder"]),
    ("use", ["first"], ["best", "last"]),
    ("resume", ["maybe", 2], [True, "false", "true"]),
    ("label_smoothing", [-0.1, 1], [0, 0.99]),
    ("net", ["vgg"], ["resnet", "pooled"]),
    ("optimizer", ["adam"], ["sgd", "muon"]),
    ("start_px", [-1, 513], [0, 24]),
    ("shift_px", [-1, 512], [0, 2]),
]
OF_A_NET = [row for row in ANY_TRAINING if row[0] in NetAndRecipe.model_fields]
STUDENTS: list[tuple[str, list[object], list[object]]] = [
    ("temperature", [0, -4, "inf", "1e300"], [0.01, 20, 1000000]),
    ("alpha", [-0.1, 1.5, "nan"], [0, 1]),
    ("views", [-1, 0.5, 2**31], [0, 1, 64]),
    ("control", ["maybe"], [False, "true"]),
    ("seeds", [0, 10001], [1, 10]),
    *[(f"teacher_{name}", bad, good) for name, bad, good in OF_A_NET],
]
SPECIALISTS: list[tuple[str, list[object], list[object]]] = [
    ("group", [-1, "some", 1.5], [0, "0", 7, "all"]),
    ("specialist_kind", ["none"], ["group", "full"]),
    ("init", ["zeros"], ["random", "generalist"]),
    ("dustbin_correction", ["much"], ["paper", "none", "fit"]),
    ("top_n", [0], [1, 5]),
    ("own_fraction", [0, 1.1], [0.01, 1]),
    ("dustbin", ["maybe"], [False]),
]


@pytest.mark.parametrize(
    ("config", "name", "bad", "good"),
    [(config, *row) for config in (TeacherConfig, StudentConfig) for row in ANY_TRAINING]
    + [(StudentConfig, *row) for row in STUDENTS]
    + [(config, *row) for config in (SpecialistConfig, PipelineConfig) for row in SPECIALISTS],
)
def test_bounds(config: type[Config], name: str, bad: list[object], good: list[object]) -> None:
    for value in bad:
        error = refused(config, {name: value})
        assert str(error).startswith(f"{value}: "), error
        assert error.field == name
        assert "\n" not in str(error)
    for value in good:
        assert canonical(getattr(config.parse({name: value}), name)) in {
            canonical(value),
            str(value).replace("1e-3", "0.001"),
        } | {str(value).replace("5e-4", "0.0005")}


def test_a_refusal_tells_the_bound() -> None:
    assert refusal(StudentConfig, {"alpha": "1.5"}) == "1.5: input should be less than or equal to 1"
    assert refusal(TeacherConfig, {"batch_size": 1}).endswith("greater than or equal to 2")
    assert "'digits'" in refusal(TeacherConfig, {"data": "imagenet"})
    told = refusal(TeacherConfig, {"data": "photos/"})
    assert told.endswith("; for images of your own give --data folder and --data-root FOLDER")


def test_an_unknown_setting_is_told_with_those_that_are_known() -> None:
    assert refusal(TeacherConfig, {"epochz": 3}) == "unknown setting 'epochz': did you mean epochs?"
    message = refusal(TeacherConfig, {"temperature": 4})  # a teacher has no teacher
    assert message.startswith("unknown setting 'temperature': choose one of data, data_root, ")
    assert message.endswith(f", ... ({len(TeacherConfig.model_fields)} in all); --help shows them")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("epochs: 0x_", "0x_: input should be a valid integer"),
        ("epochs: !!bool maybe", "maybe: input should be a valid integer"),
        ("epochs: 2024-01-01", "2024-01-01: input should be a valid integer"),
        ("epochs: 1:2:3", "1:2:3: input should be a valid integer"),  # 3,723 in YAML 1.1
        (f"epochs: {'9' * 4301}", f"{'9' * 200}... (4,301 characters): unable to parse input string as an integer"),
        ("epochs: {a: 1}", "a mapping: input should be a valid integer"),
        ("data_root: [a]", "a list: input should be a valid string"),
        ("epochs:", ": input should be a valid integer"),
        ('data_root: "a\\0b"', "a\\x00b: expected text"),
        ('data_root: "\\uD800"', "\\ud800: expected text"),
        ("4: epochs", "unknown setting '4': choose one of"),
        ("<<: {epochs: 3}", "unknown setting '<<': choose one of"),
    ],
    ids=count(),
)
def test_a_value_that_yaml_would_read_in_a_way_of_its_own_is_refused_in_one_line(
    content: str, told: str, tmp_path: Path
) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(content, encoding="utf-8")
    message = refusal(TeacherConfig, load_settings(str(path)))
    assert message.startswith(told)
    assert "\n" not in message


def test_settings_are_not_waited_for_from_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "settings.yaml")
    with pytest.raises(UserError, match=r"can't be read .a pipe or a device, and no file"):
        load_settings(str(tmp_path / "settings.yaml"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_of_settings_is_read_as_flags_are(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("seed: 010\nlr: 1e-3\nresume: no\ndata_root: café\n", encoding=encoding)
    assert load_settings(str(path)) == {"seed": "010", "lr": "1e-3", "resume": "no", "data_root": "café"}
    assert TeacherConfig.parse(load_settings(str(path))) == TeacherConfig(seed=10, lr=0.001, resume=False, data_root="café")


def test_a_file_of_settings_in_the_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "settings.yaml").write_text("epochs: 3")
    assert load_settings("~/settings.yaml") == {"epochs": "3"}
    with pytest.raises(UserError, match=rf"\(No such file or directory: {tmp_path}/absent.yaml\)"):
        load_settings("~/absent.yaml")


@pytest.mark.parametrize(("name", "bad"), [("workers", 10**9), ("study_name", ""), ("study_name", "x" * 201)])
def test_bounds_of_a_search(name: str, bad: object) -> None:
    assert refused(TuneConfig, {name: bad}).field == name


def test_a_refusal_of_a_value_of_many_lines_is_one_line() -> None:
    assert "\n" not in refusal(TeacherConfig, {"data": "dig\nits"})


@pytest.mark.parametrize("name", ["epochs", "lr", "seed"])
def test_true_is_no_number(name: str) -> None:
    error = refused(TeacherConfig, {name: True})  # `epochs: yes` in a file
    assert (str(error), error.field) == ("true: expected a value, not yes or no", name)


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        TeacherConfig().epochs = 3  # type: ignore[misc]


def test_a_student_has_all_choices_of_a_teacher_with_the_same_defaults_and_a_smaller_net() -> None:
    student, teacher = StudentConfig().model_dump(), TeacherConfig().model_dump()
    assert teacher.keys() <= student.keys()
    assert {name: (student[name], teacher[name]) for name in teacher if student[name] != teacher[name]} == {
        "depth": (1, 3),
        "width": (16, 32),
    }


def test_the_teachers_fields_are_those_of_a_net_and_its_recipe_described_as_its_own() -> None:
    fields = StudentConfig.model_fields
    prefixed = {name for name in fields if name.startswith("teacher_")}
    assert prefixed - set(OF_GIVEN_TEACHER) == {f"teacher_{name}" for name in NetAndRecipe.model_fields}
    for name, field in NetAndRecipe.model_fields.items():
        assert fields[f"teacher_{name}"].description == f"teacher: {field.description}"
        assert fields[f"teacher_{name}"].annotation == field.annotation


def test_a_recipe_of_the_library_has_the_defaults_of_the_configuration() -> None:
    recipe = Recipe()
    for name, default in TeacherConfig().model_dump().items():
        assert getattr(recipe, name, default) == default, name


def test_the_teacher_of_a_student_is_by_default_that_of_kd_teacher() -> None:
    assert StudentConfig().teacher_config() == TeacherConfig()


def test_the_teacher_of_a_student_is_told_by_its_own_fields_and_the_common_ones(other_values: OtherValues) -> None:
    values = other_values(StudentConfig)
    prefixed = {name: value for name, value in values.items() if name.startswith("teacher_") and name not in OF_GIVEN_TEACHER}
    own = {name.removeprefix("teacher_"): value for name, value in prefixed.items()}
    assert own.keys() == TeacherConfig.model_fields.keys() - TrainingConfig.model_fields.keys()
    common = {name: values[name] for name in TrainingConfig.model_fields}
    assert StudentConfig(**values).teacher_config() == TeacherConfig(**common, **own)
    # The student's own net and recipe are nothing to the teacher.
    student = {"depth": 9, "width": 9, "epochs": 9, "batch_size": 9, "lr": 9.0, "weight_decay": 9.0, "seeds": 9}
    assert StudentConfig(**student).teacher_config() == TeacherConfig()


def test_every_batch_size_is_told() -> None:
    assert TeacherConfig(batch_size=5).batch_sizes() == {"batch_size": 5}
    both = {"batch_size": 5, "teacher_batch_size": 6}
    assert PipelineConfig.parse(both).batch_sizes() == both


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"epochs: [1", "no valid YAML"),
        (b"a: b: c", "no valid YAML"),
        (b"", "expected lines such as"),
        (b"- epochs", "expected lines such as"),
        (b"4", "expected lines such as"),
        (b"\xff\xfe\x00", "no valid YAML"),
        (b"\xfc", "no valid YAML"),
        (b"!!python/object/apply:os.getcwd []", "expected lines such as"),
        (b"[" * 5000, "no valid YAML (nested too deeply)"),
        (b"epochs: 1\nlr: 2\nepochs: 3", "no valid YAML (epochs is set twice in"),
        (b"? [a]\n: b", "no valid YAML"),
        (b"a: &a [*b]", "no valid YAML"),
        (b"#" * (2**20 + 1), "longer than 1,048,576 bytes"),
    ],
)
def test_a_bad_file_of_settings_is_told_in_one_line(content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_settings(str(path))
    assert str(caught.value).startswith(f"{path}: {told}")
    assert caught.value.field == "config"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["absent.yaml", "."])
def test_a_file_of_settings_that_is_not_there_is_told(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="can't be read"):
        load_settings(str(tmp_path / name))


def test_a_net_that_is_not_kds_own_records_no_depth_and_width() -> None:
    config = StudentConfig.parse({"net": "torchvision:resnet18", "teacher_net": "my.py:net", "net_args": "a=1"})
    assert not {"depth", "width", "teacher_depth", "teacher_width"} & config.params().keys()
    assert config.params()["net_args"] == "a=1"
    assert {"depth", "width", "teacher_depth", "teacher_width"} <= StudentConfig(teacher="new").params().keys()


def test_settings_of_a_teacher_are_recorded_where_they_are_those_of_the_teacher_that_is_taken() -> None:
    def recorded(**settings: object) -> set[str]:
        return {name for name in StudentConfig.parse(settings).recorded() if name.startswith("teacher_")}

    assert recorded(teacher_lr=0.1) == set()  # the default: the best one on val may have had any
    assert recorded(teacher="a-run", teacher_lr=0.5) == set()
    assert recorded(teacher_lr=0.5) == recorded(teacher="new") >= {"teacher_lr", "teacher_net", "teacher_width"}


@pytest.mark.parametrize(
    ("values", "told", "field"),
    [
        ({"net": "torchvision:resnet18", "width": 8}, "8: torchvision:resnet18 has no width; give it --net-args", "width"),
        ({"net": "my.py:net", "depth": 3}, "3: my.py:net has no depth", "depth"),
        ({"net_args": "a=1"}, "a=1: resnet takes no arguments", "net_args"),
    ],
)
def test_settings_that_a_net_does_not_have_are_refused(values: dict[str, Any], told: str, field: str) -> None:
    with pytest.raises(UserError) as refused:
        StudentConfig.parse(values).check_net()
    assert str(refused.value).startswith(told)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"net": "resnt"}, "resnt: no such net; did you mean resnet?"),
        ({"teacher_net": "vgg"}, "vgg: no such net; choose one of resnet, pooled, torchvision:NAME"),
        ({"net_args": "a"}, "a: a: expected NAME=VALUE"),
        ({"net_args": "a=1,a=2"}, "a=1,a=2: a=2: expected NAME=VALUE,NAME=VALUE, each name once"),
    ],
)
def test_names_and_arguments_of_nets_that_are_none_are_refused(values: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as refused:
        StudentConfig.parse(values)
    assert str(refused.value).startswith(told)


@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z_]{0,5}", fullmatch=True), st.one_of(st.integers(), st.booleans(), st.floats(allow_nan=False))
    )
)
def test_arguments_of_nets_come_back_as_they_were(args: dict[str, object]) -> None:
    assert arguments(arguments_text(args)) == args
