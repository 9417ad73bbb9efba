"""Secrets are masked wherever they stand, and nothing else is."""

import os
from collections import UserDict
from collections.abc import Iterator
from itertools import count

import pytest

from kd.machine import secrets
from kd.machine.secrets import masked, remember


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_remembered", set())


def test_a_variable_that_another_thread_takes_away_meanwhile_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    class Changing(UserDict[str, str]):
        def __iter__(self) -> Iterator[str]:
            return iter(["GONE_TOKEN", *self.data])

    monkeypatch.setattr(os, "environ", Changing({"MY_TOKEN": "s3cret-s3cret"}))
    assert masked("it is s3cret-s3cret") == "it is ***"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://me:s3cret@127.0.0.1:1/x", "http://me:***@127.0.0.1:1/x"),
        ("(http://me:PW@h:1)", "(http://me:***@h:1)"),
        ("postgres://me:PW@[::1]:5/x", "postgres://me:***@[::1]:5/x"),
        ("a https://u:PW@h/ and https://v:QW@h/ b", "a https://u:***@h/ and https://v:***@h/ b"),
        ("postgresql+psycopg://bob:p@ss:w/rd@h:54a/x", "postgresql+psycopg://bob:***@h:54a/x"),  # malformed, and no number
        ("mysql:/me:PW@host", "mysql:/me:***@host"),
        ("me:PW@host:5000", "me:***@host:5000"),
        ("https://ghp_0123456789abcdefghij@github.com/x", "https://***@github.com/x"),
        ("postgresql://h/x?user=bob&password=PW", "postgresql://h/x?user=bob&password=***"),
        ("postgresql://h:5432/x?password=a@b", "postgresql://h:5432/x?password=***"),
        ("http://h/x?X-Amz-Signature=PW", "http://h/x?X-Amz-Signature=***"),
        ("postgresql://bob:it'sPW@h/x", "postgresql://bob:***@h/x"),
        (
            "AccountKey=PW==;x SharedAccessKey=PW accesskey=PW secretkey=PW",
            "AccountKey=*** SharedAccessKey=*** accesskey=*** secretkey=***",
        ),
        ("http://h/x?pw=PW&jwt=PW&passcode=PW", "http://h/x?pw=***&jwt=***&passcode=***"),
        ("http%3A//h/x%3Fpassword%3DPW", "http%3A//h/x%3Fpassword%3D***"),
        ("host=h user=x password=PW", "host=h user=x password=***"),
        ("host=h password='a b c' user=x", "host=h password=*** user=x"),
        ("{'password': 'PW', 'host': 'h'}", "{'password': ***, 'host': 'h'}"),
        ("Driver={ODBC};PWD={p w;x};Server=h", "Driver={ODBC};PWD=***;Server=h"),
        ("oracle+cx_oracle://bob/PW@h", "oracle+cx_oracle://bob/***@h"),
        ("jdbc:oracle:thin:bob/P@W@//h:1521/x", "jdbc:oracle:thin:bob/***@//h:1521/x"),
        ("AWS_SECRET_ACCESS_KEY=PW", "AWS_SECRET_ACCESS_KEY=***"),
        ("Authorization: Bearer abc.def-ghi", "Authorization: Bearer ***"),
    ],
    ids=count(),  # pytest keeps a test's name in the environment, from which secrets are learned
)
def test_what_stands_in_a_place_for_secrets_is_masked(text: str, expected: str) -> None:
    assert masked(text) == expected
    assert masked(masked(text)) == masked(text)


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:///optuna.db",
        "http://127.0.0.1:5000",
        "postgresql://me@host/studies",
        "models:/digits@champion",
        "git+https://github.com/me/kd@main",
        "run 12@3: 4:5, monkey=3, tokenizer=4, key 3: value",
        "specialist 0 1-7: epoch 1/2: loss 0.1",
        "0,1;2,3",
        "",
    ],
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize(
    "name",
    ["MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "MYSQL_PWD", "WANDB_API_KEY"],
)
def test_the_value_of_a_variable_named_like_a_secret_is_masked_wherever_it_stands(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert masked("server says hunter/22!") == "server says hunter/22!"
    monkeypatch.setenv(name, "hunter/22")
    assert masked("server says hunter/22! hunter%2F22") == "server says ***! ***"


def test_the_password_in_an_address_of_the_environment_is_masked_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:s3cret@proxy:3128")
    assert masked("proxy refused s3cret of me") == "proxy refused *** of me"


def test_a_typed_password_is_masked_in_the_parts_into_which_a_library_cuts_it() -> None:
    address = "postgresql://me:first@second/third@host/x"
    assert remember(address) == address
    assert masked("could not translate host name 'second'") == "could not translate host name '***'"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://bob:my p@ss word/x@h/db", "postgresql://bob:***@h/db"),
        ("postgresql://bob smith: lead@h/db", "postgresql://bob smith:***@h/db"),
        ("redis://:pass word@h", "redis://:***@h"),
        ("postgresql://h/x?user=bob&password=my pass word&x=1", "postgresql://h/x?user=bob&password=***&x=1"),
        ("host=h password=my pass word", "host=h password=***"),
        ("bob:p/ss word@host/db", "bob:***@host/db"),
    ],
    ids=count(),
)
def test_a_typed_password_with_blanks_is_masked_whole(address: str, shown: str) -> None:
    remember(address)
    assert masked(f"{address} can't be used") == f"{shown} can't be used"


def test_what_is_short_or_an_everyday_word_spoils_no_other_text(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"A_TOKEN": "1", "B_TOKEN": "true", "C_TOKEN": "8080", "D_PASSWORD": "post", "PWD": "/home/me"}.items():
        monkeypatch.setenv(name, value)
    assert masked("1 true 8080 postgresql post /home/me") == "1 true 8080 postgresql *** /home/me"
