"""Text of a user's, such as names of classes and files, in a form that is harmless in a line on a terminal."""

import re
import unicodedata
from collections.abc import Iterable

MAX_LISTED = 10
"""Names listed at most before a list is cut."""

_ESCAPED = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories of what moves the cursor, turns the direction, is not seen, can't be encoded or ends a line."""
_JOINERS = "\u200c\u200d"  # some scripts and emoji are written with them


def printable(text: object) -> str:
    """Return text in which nothing can act on a terminal or end a line: such characters are escaped as in Python.

    Escaped are control characters (newline, tab and escape codes among them), marks that change the direction of text,
    characters without width, line separators, and surrogates, which stand for the bytes of a name that is not UTF-8. All
    other text is returned as it is, a backslash too.
    """
    return "".join(_escape(character) if _acts(character) else character for character in str(text))


def _acts(character: str) -> bool:
    return unicodedata.category(character) in _ESCAPED and character not in _JOINERS


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def listed(names: Iterable[object], most: int = MAX_LISTED) -> str:
    """Return printable names with commas between; after the first ``most`` a count: ``a, b, ... (12 in all)``."""
    shown = [printable(name) for name in names]
    if len(shown) <= most:
        return ", ".join(shown)
    return f"{', '.join(shown[:most])}, ... ({len(shown)} in all)"


_SOUNDS_LIKE_YOU = re.compile("[Ee]u|[Oo]ne|[Uu](bi|int|ni(?!n|m)|s|t)|U[A-Z]")
_SPELLED = re.compile("[AEFHILMNORSX]([A-Z]|$)")
"""Beginnings that are spelled, letter by letter, the first of them with a vowel: an LSTM, an RNN, but a GPU."""


def with_article(word: str) -> str:
    """Return a word, such as the name of a type, behind the article that English has before its sound: ``an int``."""
    bare = word.lstrip("_<\"'")
    vowel = bare[:1].lower() in set("aeiou") and not _SOUNDS_LIKE_YOU.match(bare)
    spelled = _SPELLED.match(bare) or bare.startswith("nd")  # an ndarray
    return f"{'an' if vowel or spelled else 'a'} {word}"


def nfc(text: str) -> str:
    """Return text in the form in which names are compared: é is one character, not an e and an accent (Unicode's NFC)."""
    return unicodedata.normalize("NFC", text)
