"""What ``kd tune`` refuses before it begins."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from kd.commands import tune


@pytest.fixture
def _no_fork_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the fork server of this process to the tests."""
    monkeypatch.setattr(tune, "start_fork_server", lambda: None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--search", "temprature=log:1:20"], "did you mean temperature?"),
        (["--search", "lr=log:0.01:0.5", "--search", "lr=log:0.01:0.5"], "given twice"),
        (["--storage", "optuna.log"], "expected a database"),
        (["--groups", "0,1", "--group", "3"], "there are 1 groups"),
        (["--top-n", "11"], "there are only 10 classes"),
        (["--register", "name"], "a search registers nothing"),
        (["--teacher", "nobody"], "nor models:"),
        (["--trials", "0"], "greater than or equal to 1"),
    ],
)
@pytest.mark.usefixtures("_no_fork_server")
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
