"""The text form of intervals: taking it apart, and making it from durations."""

from __future__ import annotations

import re
from datetime import timedelta, timezone

import numpy as np

from klineagg import errors

__all__ = [
    "duration_text",
    "has_offset",
    "invalid",
    "offset_text",
    "split",
    "zone_key",
    "zoned_name",
]

NAME_BYTES_MAX = 64
# "Etc/GMT+5" is a zone, "+5h" an offset: the unit tells them apart.
_OFFSET = re.compile(r"\s*[+-](?:\s*[0-9]+\s*[smhdwM])+\s*\Z")
_UNIT_SECONDS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def invalid(text: str, reason: str) -> errors.KlineaggError:
    """The error ``invalid_interval`` with the fields ``text`` and ``reason``."""
    shown = text if len(text) <= NAME_BYTES_MAX else text[:NAME_BYTES_MAX] + "..."
    return errors.make(
        "invalid_interval", f"{shown!r} is not an interval: {reason}", text=shown, reason=reason
    )


def split(text: str) -> tuple[str, str | None, str]:
    """Period, time zone and offset of a text; an offset before ``@`` stays with the period."""
    if len(text.encode("utf-8", "replace")) > NAME_BYTES_MAX:
        raise invalid(text, f"it is longer than {NAME_BYTES_MAX} bytes")
    period, at, rest = text.partition("@")
    if not at:
        return text, None, ""
    found = _OFFSET.search(rest)
    cut = found.start() if found else len(rest)
    key = rest[:cut].strip()
    if not key:
        raise invalid(text, "the time zone is missing behind '@'")
    if found and has_offset(period):
        raise invalid(text, "the offset is given twice")
    return period, key, rest[cut:].strip()


def has_offset(period: str) -> bool:
    """Whether the part before ``@`` already has an offset."""
    return "+" in period or "-" in period


def zoned_name(name: str, key: str) -> str:
    """``1d+17h`` and a zone as ``1d@Zone+17h``."""
    sign = re.search(r"[+-]", name)
    cut = sign.start() if sign else len(name)
    zoned = f"{name[:cut]}@{key}{name[cut:]}"
    if len(zoned.encode()) > NAME_BYTES_MAX:
        raise invalid(zoned, f"it is longer than {NAME_BYTES_MAX} bytes")
    return zoned


def zone_key(tz: object) -> str:
    """The IANA name of an argument ``tz``."""
    key = "UTC" if tz is timezone.utc else getattr(tz, "key", tz)
    if not isinstance(key, str):
        raise errors.make(
            "unknown_time_zone", f"{tz!r} is neither an IANA name nor a ZoneInfo", tz=repr(tz)
        )
    return key


def offset_text(offset: object) -> str:
    """An argument ``offset`` with its sign."""
    if isinstance(offset, str):
        text = offset.strip()
        return text if text.startswith(("+", "-")) else "+" + text
    if not isinstance(offset, (timedelta, np.timedelta64)):
        raise invalid(repr(offset), "expected an offset as text or timedelta")
    unit = np.datetime_data(offset.dtype)[0] if isinstance(offset, np.timedelta64) else "s"
    if unit in ("Y", "M"):
        text = duration_text(offset)
        return text if text.startswith("-") else "+" + text
    total = _whole_seconds(offset)
    text, rest = "-" if total < 0 else "+", abs(total)
    for letter, seconds in _UNIT_SECONDS:
        text += f"{rest // seconds}{letter}"
        rest %= seconds
    return text


def duration_text(value: timedelta | np.timedelta64) -> str:
    """``90 min`` as ``90m``: the largest unit that fits."""
    if isinstance(value, np.timedelta64):
        unit, step = np.datetime_data(value.dtype)
        factors = {"Y": (12, "M"), "M": (1, "M"), "W": (1, "w")}
        if unit in factors and not np.isnat(value):
            factor, letter = factors[unit]
            return f"{int(value.astype(np.int64)) * step * factor}{letter}"
    total = _whole_seconds(value)
    letter, seconds = next(u for u in _UNIT_SECONDS if total % u[1] == 0)
    return f"{total // seconds}{letter}"


def _whole_seconds(value: timedelta | np.timedelta64) -> int:
    if isinstance(value, timedelta):
        if value.microseconds:
            raise invalid(repr(value), "whole seconds only")
        return value.days * 86_400 + value.seconds
    if np.isnat(value) or np.datetime_data(value.dtype)[0] == "generic":
        raise invalid(repr(value), "a timedelta64 needs a value and a unit")
    whole = value.astype("timedelta64[s]")
    if whole != value:
        raise invalid(repr(value), "whole seconds only")
    return int(whole.astype(np.int64))
