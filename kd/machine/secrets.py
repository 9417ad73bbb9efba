"""Passwords, keys and tokens: masked in every text that leaves the process, in whichever way they came into it.

Two things are masked: what stands in a place for secrets (the user part of an address, ``password=``, ``token=``), and every
text that is known to be one, wherever it stands: values of environment variables with such names, and what stood in those
places of addresses in the environment or in texts given to :func:`remember`.
"""

import os
import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote, quote_plus, unquote

MASK = "***"

_LONG_NAME = r"odbc_connect|pass(?:word|wd|phrase|code)|secret(?:_?key)?|token|(?:api|account|access|shared_?access)_?key"
_SHORT_NAME = r"(?<![A-Za-z0-9])(?:pass|pwd|pw|sig(?:nature)?|credentials?|auth|jwt|key)"  # monkey=3 is none
_NAME = rf"(?:{_LONG_NAME}|{_SHORT_NAME})"
_QUOTED = r"'[^']*'|\"[^\"]*\"|\{[^{}]*\}"  # the last as ODBC has it
_NAMED = (
    re.compile(rf"(?P<before>[?&;][\w.-]*{_NAME}(?:=|%3d))(?P<secret>\{{[^{{}}]*\}}|[^\s&;'\"<>`)]+)", re.IGNORECASE),
    # Keywords of libpq, arguments, settings, variables.
    re.compile(rf"(?P<before>{_NAME}(?:\s?=\s?|['\"]\s?:\s?|%3d))(?!\*\*\*)(?P<secret>{_QUOTED}|[^\s'\"<>`]+)", re.IGNORECASE),
    re.compile(r"(?P<before>\b(?:Basic|Bearer)\s)(?P<secret>[\w+/=.~-]{6,})"),
)
_IN_ADDRESSES = (
    # The user part of an address. A password may hold any separator, so it ends at the last @ of the word.
    re.compile(r"(?P<before>\w[\w+.-]*:/{1,3}[^\s:/?#@'\"<>`]*:)(?P<secret>\S+)(?=@)"),
    # A token that is the whole user part, as those of code hosts are.
    re.compile(r"(?P<before>\w[\w+.-]*://)(?P<secret>[^\s:/?#@'\"<>`]{20,})(?=@)"),
    # Oracle's user/password@host.
    re.compile(r"(?P<before>\boracle[\w+.:-]*:(?://)?[^\s:/?#@'\"<>`]+/)(?P<secret>\S+)(?=@)", re.IGNORECASE),
    # An address without its scheme: user:password@host.
    re.compile(r"(?P<before>(?<![\w@/:.-])[\w.-]+:)(?P<secret>[^\s:/@'\"<>`]+)(?=@[\w.-]+)"),
)
_IN_WHOLE_VALUES = (
    # Where a text is known to be one address alone, a password in it may have blanks, and a scheme may be missing.
    re.compile(r"\A\s*(?:\w[\w+.-]*:/{1,3})?[^:/?#@]*:(?P<secret>[^/?#@].*)@", re.DOTALL),
    re.compile(rf"{_NAME}\s?=\s?(?P<secret>[^&;]+)", re.IGNORECASE),
)
_SECRET_VARIABLE = re.compile(rf"(?:{_LONG_NAME}|(?:^|_)(?:pass|pwd|credentials?|auth|key))$", re.IGNORECASE)
_NOT_SECRET = {"true", "false", "none", "null", "auto", "default", "yes", "basic"}
_MIN_LENGTH = 4
_MIN_DIGITS = 6
"""A shorter number is rather a limit or a port."""
_UNMISTAKABLE = 8
"""A shorter word without digits may be an everyday word too: within another word it is left alone."""

_remembered: set[str] = set()


def masked(text: str) -> str:
    """Return text with ``***`` in the place of each secret that is known, or that stands where secrets do."""
    for secret in sorted(_known(), key=len, reverse=True):
        text = _without(text, secret)
    for place in (*_NAMED, *(_IN_ADDRESSES if "@" in text else ())):
        text = place.sub(lambda found: f"{found['before']}{MASK}", text)
    return text


def _without(text: str, secret: str) -> str:
    if len(secret) >= _UNMISTAKABLE or not secret.isalpha():
        return text.replace(secret, MASK)
    return re.sub(rf"(?<![^\W_]){re.escape(secret)}(?![^\W_])", MASK, text)


def remember(text: str) -> str:
    """Take the secrets in a text of the user's, such as ``--storage``, for known from now on, and return the text."""
    _remembered.update(_secrets_of(text))
    return text


def _known() -> set[str]:
    secrets = {form for secret in {*_of_environment(os.environ), *_remembered} for form in _forms(secret)}
    return {secret for secret in secrets if _is_told(secret)}


def _of_environment(environment: Mapping[str, str]) -> Iterator[str]:
    for name in list(environment):
        value = environment.get(name, "")  # MLflow's threads may take one away meanwhile
        if _SECRET_VARIABLE.search(name) and not _is_path(name, value):
            yield value
        elif "://" in value or "=" in value:
            yield from _secrets_of(value)


def _is_path(name: str, value: str) -> bool:
    """Return whether a variable that is named like a password is the shell's own: the present folder or the last one."""
    return name in {"PWD", "OLDPWD"} and value.startswith("/")


def _secrets_of(text: str) -> Iterator[str]:
    """Yield what stands in the places for secrets, whole and in the parts into which a reader of addresses may cut it."""
    for place in (*_NAMED, *_IN_ADDRESSES, *_IN_WHOLE_VALUES):
        for found in place.finditer(text):
            secret = found["secret"].strip("'\"")
            yield secret
            yield from (part for part in re.split(r"[@:/?#&;,]", secret) if "=" not in part)


def _forms(secret: str) -> Iterator[str]:
    """Yield the forms in which libraries show a secret."""
    yield from (secret, quote(secret), quote(secret, safe=""), quote_plus(secret), unquote(secret), repr(secret)[1:-1])


def _is_told(secret: str) -> bool:
    least = _MIN_DIGITS if secret.isdecimal() else _MIN_LENGTH
    return len(secret) >= least and secret.lower() not in _NOT_SECRET and secret != MASK
