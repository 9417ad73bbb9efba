"""The command that a configuration came from."""

from kd.config import PaperConfig, StudentConfig
from kd.typed import typed


def test_a_typed_command_holds_what_is_not_the_default_and_gives_the_same_configuration() -> None:
    config = PaperConfig(name="temperature", data="mnist", data_root="my data", lr=0.1, output_dir="elsewhere", resume=False)
    assert typed("paper", config) == "kd paper temperature --data mnist --data-root 'my data' --lr 0.1"
    student = StudentConfig.parse({"control": False, "teacher_epochs": 3, "alpha": 0.5})
    assert typed("student", student) == "kd student --alpha 0.5 --control false --teacher-epochs 3"
    assert typed("student", StudentConfig()) == "kd student"


def test_a_number_of_many_digits_is_typed_with_all_of_them() -> None:
    assert typed("student", StudentConfig.parse({"alpha": 0.12345678901234})) == "kd student --alpha 0.12345678901234"
    assert typed("student", StudentConfig.parse({"lr": 0.3, "temperature": 8.0})) == "kd student --lr 0.3 --temperature 8"
