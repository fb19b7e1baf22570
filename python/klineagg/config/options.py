"""What a key of the configuration may hold, and how it is told when it holds something else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from klineagg import errors

__all__ = [
    "boolean",
    "choice",
    "duration",
    "filled",
    "folder",
    "globs",
    "integer",
    "interval_names",
    "integers",
    "mapping",
    "name",
    "option",
    "optional",
    "positive_duration",
    "retention",
    "text",
    "texts",
]

Check = Callable[[Any], Any]


def option(default: Any, check: Check, doc: str, *, live: bool = False) -> Any:
    """A key of a section, as a field of its dataclass.

    Args:
        default: its value when the file does not have it, as TOML would give it.
        check: gives the value to use, or raises ValueError with what it has to be.
        doc: the comment that ``klineagg config init`` writes.
        live: a running engine takes a new value.
    """
    metadata = {"check": check, "doc": doc, "live": live, "default": default}
    return field(default_factory=lambda: check(default), metadata=metadata)


def _wanted(good: bool, what: str) -> None:
    if not good:
        raise ValueError(f"it has to be {what}")


def boolean(value: Any) -> bool:
    """``true`` or ``false``."""
    _wanted(isinstance(value, bool), "true or false")
    return bool(value)


def text(value: Any) -> str:
    """Any text."""
    _wanted(isinstance(value, str), "a text in quotes")
    return str(value)


def filled(value: Any) -> str:
    """A text with something in it."""
    _wanted(text(value).strip() != "", "a text in quotes, and not an empty one")
    return str(value)


def name(value: Any) -> str:
    """Letters, digits, ``-`` and ``_``: it becomes part of file names."""
    good = isinstance(value, str) and 0 < len(value) <= 64
    good = good and all(c.isascii() and (c.isalnum() or c in "-_") for c in value)
    _wanted(good, "1 to 64 letters, digits, - or _, in quotes")
    return str(value)


def folder(value: Any) -> Path:
    """A path; relative ones begin at the configuration file."""
    _wanted(isinstance(value, str) and value != "", "a path in quotes")
    return Path(value).expanduser()


def integer(least: int, most: int) -> Check:
    """An integer in ``least ... most``."""

    def check(value: Any) -> int:
        good = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
        _wanted(good, f"an integer in {least} ... {most}")
        return int(value)

    return check


def integers(value: Any) -> tuple[int, ...]:
    """A list of integers from 0 on."""
    good = isinstance(value, list)
    good = good and all(isinstance(x, int) and not isinstance(x, bool) and x >= 0 for x in value)
    _wanted(good, "a list of integers from 0 on, such as [0, 1]")
    return tuple(value)


def choice(*choices: str) -> Check:
    """One of these texts."""

    def check(value: Any) -> str:
        _wanted(value in choices, "one of " + ", ".join(f'"{each}"' for each in choices))
        return str(value)

    return check


def duration(value: Any) -> str:
    """A length of time such as ``"30s"``; ``"0s"`` is none."""
    from klineagg._options import duration_ns

    what = 'a length of time such as "5s", "2m" or "1h"'
    _wanted(isinstance(value, str), what)
    if value not in ("0", "0s"):
        try:
            duration_ns(value, "duration")
        except errors.KlineaggError:
            _wanted(False, what)
    return str(value)


def positive_duration(value: Any) -> str:
    """A length of time, and not none."""
    found = duration(value)
    _wanted(found not in ("0", "0s"), 'longer than "0s"')
    return found


def optional(check: Check) -> Check:
    """What ``check`` takes, or ``"none"``, which stands for None: TOML has no word for it."""

    def wrapped(value: Any) -> Any:
        return None if value == "none" else check(value)

    return wrapped


def texts(value: Any) -> tuple[str, ...]:
    """A list of texts."""
    good = isinstance(value, list) and all(isinstance(each, str) for each in value)
    _wanted(good, 'a list of texts, such as ["a", "b"]')
    return tuple(value)


def globs(value: Any) -> tuple[str, ...]:
    """A list of paths, in which ``*``, ``?`` and ``**`` stand for others."""
    found = texts(value)
    _wanted(all(found), "a list of paths, none of them empty")
    return found


def interval_names(value: Any) -> tuple[str, ...]:
    """Intervals such as ``["1m", "1h"]``, checked as the engine checks them."""
    from klineagg.intervals import parse_intervals

    found = texts(value)
    try:
        parse_intervals(found)
    except errors.KlineaggError as error:
        raise ValueError(error.message) from error
    return found


def mapping(value: Any) -> dict[str, str]:
    """An inline table of texts, such as ``{ time = "ts" }``."""
    good = isinstance(value, Mapping) and all(isinstance(each, str) for each in value.values())
    _wanted(good, 'a table of texts, such as { price = "px", time = "ts" }')
    return dict(value)


def retention(value: Any) -> dict[str, str]:
    """An inline table of intervals and how long their bars are kept, ``{ "1s" = "7d" }``."""
    good = isinstance(value, Mapping)
    _wanted(good, 'a table of intervals and times, such as { "1s" = "7d" }')
    if value:
        interval_names(list(value))
    out = {}
    for name, age in value.items():
        try:
            out[str(name)] = positive_duration(age)
        except ValueError as error:  # noqa: PERF203 - a few
            raise ValueError(f"of {name!r} {error}") from error
    return out
