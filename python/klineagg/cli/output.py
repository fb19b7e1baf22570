"""What the commands print: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from klineagg import errors

__all__ = [
    "BAD_INPUT",
    "DIFFERENCES",
    "EXIT_CODES",
    "INTERNAL",
    "INTERRUPTED",
    "MISSING_PACKAGE",
    "OK",
    "OUTPUT",
    "PIPE_CLOSED",
    "USAGE",
    "Output",
    "exit_code",
    "few",
]

OK: Final = 0
DIFFERENCES: Final = 1
USAGE: Final = 2
BAD_INPUT: Final = 3
OUTPUT: Final = 4
MISSING_PACKAGE: Final = 5
INTERNAL: Final = 70
INTERRUPTED: Final = 130
PIPE_CLOSED: Final = 141

EXIT_CODES: Final = {
    OK: "all is well",
    DIFFERENCES: "verify, repair: the bars differ",
    USAGE: "the command line or a configuration is wrong (option, interval, name of a series)",
    BAD_INPUT: "an input cannot be used (missing, damaged, wrong columns, bad or unsorted rows)",
    OUTPUT: "the output cannot be written",
    MISSING_PACKAGE: "an optional package is needed and not installed",
    INTERNAL: "a defect of klineagg",
    INTERRUPTED: "interrupted (Ctrl-C)",
    PIPE_CLOSED: "the reader of the output went away",
}

_NAMES_SHOWN: Final = 6
_BY_CLASS: Final = (
    (errors.MissingExtraError, MISSING_PACKAGE),
    (errors.InternalError, INTERNAL),
    (errors.OptionError, USAGE),
    (errors.ConfigError, USAGE),
    (errors.IntervalError, USAGE),
    (errors.ResultError, USAGE),
)


def exit_code(error: errors.KlineaggError) -> int:
    """The exit code that says what kind of error it was."""
    if error.name == "file_not_written":
        return OUTPUT
    return next((code for cls, code in _BY_CLASS if isinstance(error, cls)), BAD_INPUT)


def few(names: Sequence[str]) -> str:
    """The first names of a list, and how many more there are."""
    if len(names) <= _NAMES_SHOWN:
        return ", ".join(names)
    return f"{', '.join(names[:_NAMES_SHOWN])} and {len(names) - _NAMES_SHOWN:,} more"


class Output:
    """Where a command writes to.

    Args:
        command: its name, which every JSON object carries.
        json: results as JSON on standard output, one object.
        quiet: nothing on standard error but errors.
    """

    def __init__(self, command: str, *, json: bool, quiet: bool) -> None:
        self.command = command
        self.json = json
        self.quiet = quiet

    def note(self, text: str) -> None:
        """Tells the user something that is no result and no error."""
        if not self.quiet:
            self.say(text)

    def say(self, text: str) -> None:
        """Writes a line to standard error, also when quiet."""
        with suppress(OSError, ValueError):  # if nobody listens, the exit code tells as well
            print(f"klineagg: {text}", file=sys.stderr)

    def result(self, values: dict[str, Any], text: str = "") -> None:
        """Prints the result: ``values`` when JSON was asked for, else ``text`` if there is any."""
        if self.json:
            whole = _without_nan({"command": self.command, **values})
            print(json.dumps(whole, default=_plain, indent=2, allow_nan=False))
        elif text:
            print(text)

    def fail(self, error: errors.KlineaggError, *more: errors.KlineaggError) -> int:
        """Reports an error, or several; returns the exit code of the first one."""
        code = exit_code(error)
        if self.json:
            told = {"error": _fields(error), "exit_code": code}
            if more:
                told["errors"] = [_fields(each) for each in (error, *more)]
            with suppress(OSError, errors.FileError):  # it may be what the error is about
                self.result(told)
        for each in (error, *more):
            hint = f"\n  hint: {each.hint}" if each.hint else ""
            self.say(f"error: {each.message} [{each.code} {each.name}]{hint}")
        return code


def _fields(error: errors.KlineaggError) -> dict[str, Any]:
    return {
        "code": error.code,
        "name": error.name,
        "message": error.message,
        "hint": error.hint,
        "fields": error.fields,
    }


def _without_nan(value: Any) -> Any:
    """Null instead of numbers that JSON does not have."""
    if isinstance(value, dict):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _plain(value: Any) -> Any:
    """JSON for what the json module does not know."""
    if hasattr(value, "item"):  # a NumPy scalar
        value = value.item()
        return value if isinstance(value, (int, float, str, bool)) else str(value)
    return str(value)
