"""What every configuration can do: be made from text, and be turned into text."""

import difflib
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from kd.config.fields import SWITCH
from kd.errors import UserError
from kd.machine.text import listed, printable
from kd.tracking.params import canonical

MAX_TOLD = 200
"""Characters of a refused value that are shown at most."""


class Config(BaseModel):
    """What every configuration can do: be made from text, and be turned into text."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """Make a configuration of raw values, text included.

        Raises :class:`~kd.errors.UserError` with the value and the bound, and the name of the field.
        """
        for name, value in values.items():
            field = cls.model_fields.get(name)
            if isinstance(value, bool) and field is not None and not isinstance(field.default, bool):
                raise UserError(f"{canonical(value)}: expected a value, not yes or no", field=name)
            if isinstance(value, str) and not _is_text(value):
                raise UserError(f"{shown(value)}: expected text, which has no such characters", field=name)
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            name = str(first["loc"][0])
            if first["type"] == "extra_forbidden":
                raise UserError(_unknown(name, list(cls.model_fields))) from None
            own = first.get("ctx", {}).get("error") if first["type"] == "value_error" else None
            expected = str(own) if own else first["msg"][0].lower() + first["msg"][1:]
            if name == "data":
                expected = f"{expected}; for images of your own give --data folder and --data-root FOLDER"
            raise UserError(f"{shown(values.get(name))}: {expected}", field=name) from None

    @classmethod
    def switches(cls) -> set[str]:
        """Return the names of the fields that decide no result."""
        return {name for name, field in cls.model_fields.items() if SWITCH in field.metadata}

    def texts(self) -> dict[str, str]:
        """Return each field as canonical text, the form that a flag takes: 4.0 is ``4``, True is ``true``."""
        return {name: canonical(getattr(self, name)) for name in type(self).model_fields}

    def recorded(self) -> dict[str, Any]:
        """Return the fields as a run records them, in the form that ``--config`` takes."""
        return self.model_dump()

    def params(self) -> dict[str, str]:
        """Return the fields that decide a result, as text: what a run logs as its params."""
        switches = self.switches()
        return {name: canonical(getattr(self, name)) for name in self.recorded() if name not in switches}

    def restricted_to(self, other: type["Config"]) -> dict[str, Any]:
        """Return the values of the fields that ``other`` has as well."""
        return {name: getattr(self, name) for name in other.model_fields if name in type(self).model_fields}


def _is_text(value: str) -> bool:
    """Return whether a value can be a name or a path: a NUL, or half a character, is in neither."""
    try:
        value.encode("utf-8", "surrogateescape")  # the bytes of a path that is not UTF-8 are text
    except UnicodeEncodeError:
        return False
    return "\0" not in value


def shown(value: object) -> str:
    """Return a value that is refused, as it is shown: in one line, not too long, and not what is inside of it."""
    if isinstance(value, list | dict):
        return f"a {'list' if isinstance(value, list) else 'mapping'}"
    text = printable(" ".join(str(value).split()))
    return text if len(text) <= MAX_TOLD else f"{text[:MAX_TOLD]}... ({len(text):,} characters)"


def _unknown(name: str, known: list[str]) -> str:
    alike = difflib.get_close_matches(name, known, n=3)
    advice = f"did you mean {' or '.join(alike)}?" if alike else f"choose one of {listed(known)}; --help shows them"
    return f"unknown setting {shown(name)!r}: {advice}"
