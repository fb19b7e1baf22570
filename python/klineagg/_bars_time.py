"""Times given by the user as nanoseconds, and nanoseconds as text."""

from __future__ import annotations

import re
from datetime import date, datetime, timezone
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from klineagg import errors

__all__ = ["format_times", "to_ns"]

_SECOND: Final = 1_000_000_000
_OFFSET: Final = re.compile(r"(.*[T ]\d\d(?::.*)?)([+-])(\d\d):?(\d\d)")
_LOCAL: Final = re.compile(r"\d[-\d:.T ]*")


def to_ns(value: Any, what: str) -> int:
    """Nanoseconds since the epoch, UTC.

    Args:
        value: int nanoseconds, ISO 8601 text, ``datetime64``, or a ``datetime`` or ``date``
            (also of pandas). Without a time zone it is UTC.
        what: name of the argument, for the error.

    Raises:
        OptionError: ``invalid_option`` when it is not a time.
    """
    try:
        if isinstance(value, str):
            return _of_text(value.strip())
        if isinstance(value, np.datetime64):
            return _of_numpy(value)
        if isinstance(value, datetime):
            return _of_datetime(value)
        if isinstance(value, date):
            return _of_numpy(np.datetime64(value))
        if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
            return int(value)
    except (ValueError, OverflowError) as error:
        text = f"{what}={value!r} is not a time: {error}"
        raise errors.make("invalid_option", text, option=what) from error
    kinds = "(datetime64, datetime, date, ISO text, or ns)"
    raise errors.make("invalid_option", f"{what}={value!r} is not a time {kinds}", option=what)


def _of_text(text: str) -> int:
    east = 0
    if text.endswith(("Z", "z")):
        text = text[:-1]
    elif offset := _OFFSET.fullmatch(text):
        text, sign, hours, minutes = offset.groups()
        if int(hours) > 23 or int(minutes) > 59:
            raise ValueError("the offset to UTC is 24 hours or more")
        east = (int(hours) * 3_600 + int(minutes) * 60) * (_SECOND if sign == "+" else -_SECOND)
    # NumPy alone knows what is finer than microseconds, and also "now", which is no fixed time; of
    # what it cannot keep it would only warn.
    if not _LOCAL.fullmatch(text):
        raise ValueError("it is not ISO 8601, such as '2024-01-01T09:30:00+01:00'")
    return _of_numpy(np.datetime64(text)) - east


def _of_numpy(value: np.datetime64) -> int:
    if np.isnat(value):
        raise ValueError("it is NaT")
    out = value.astype("datetime64[ns]")
    if out.astype(value.dtype) != value:
        raise ValueError("it is too far from 1970 for nanoseconds")
    return int(out.astype(np.int64))


def _of_datetime(value: datetime) -> int:
    if value != value:  # only NaT differs from itself
        raise ValueError("it is NaT")
    if value.tzinfo is None:
        value = value.replace(tzinfo=timezone.utc)
    # Never through a float: 2018 in float seconds is exact to a quarter of a microsecond only.
    passed = value - datetime(1970, 1, 1, tzinfo=timezone.utc)
    whole = (passed.days * 86_400 + passed.seconds) * _SECOND + passed.microseconds * 1_000
    return whole + int(getattr(value, "nanosecond", 0))


def format_times(times: NDArray[np.datetime64]) -> list[str]:
    """Times as text, all with the digits that the finest of them needs; NaT is empty."""
    nat = np.isnat(times)
    ns = times.astype("datetime64[ns]").astype(np.int64)[~nat]
    unit = "ns"
    for candidate, size in (("D", 86_400 * _SECOND), ("s", _SECOND), ("ms", 10**6), ("us", 1_000)):
        if np.all(ns % size == 0):
            unit = candidate
            break
    texts = np.datetime_as_string(times, unit=unit)  # type: ignore[call-overload]
    return [
        "" if missing else str(text).replace("T", " ")
        for text, missing in zip(texts.tolist(), nat.tolist(), strict=True)
    ]
