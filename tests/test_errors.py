"""Why an error was raised, in one line that a message can hold."""

import urllib.error
from email.message import Message
from pathlib import Path

import pytest

from kd.errors import reason


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("a label outside 0..9"), "a label outside 0..9"),
        (RuntimeError("\n\n  first \t line.\nsecond"), "first line"),
        (RuntimeError("one\x85two"), "RuntimeError: one"),
        (KeyError("width"), "KeyError: 'width'"),
        (KeyError("two words"), "KeyError: 'two words'"),
        (KeyError(), "KeyError"),
        (IndexError(3), "IndexError: 3"),
        (IndexError("list index out of range"), "list index out of range"),
        (StopIteration(), "StopIteration"),
        (StopIteration(7), "StopIteration: 7"),
        (AssertionError(), "AssertionError"),
        (AssertionError("shape"), "AssertionError: shape"),
        (ValueError(), "ValueError"),
        (EOFError(" \n..."), "EOFError"),
        (OSError("of one's own making"), "of one's own making"),
        (OSError(), "OSError"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (PermissionError(13, "Permission denied", "/data/a\nb"), "Permission denied: /data/a b"),
        (urllib.error.HTTPError("http://x", 404, "Not Found", Message(), None), "HTTP Error 404: Not Found"),
    ],
)
def test_the_reason_is_one_line_without_a_full_stop(error: BaseException, expected: str) -> None:
    assert reason(error) == expected


def test_the_reason_of_a_file_that_is_missing_names_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        (tmp_path / "nowhere").read_bytes()
    assert reason(caught.value) == f"No such file or directory: {tmp_path / 'nowhere'}"
