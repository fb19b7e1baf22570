"""The single bars that a run of gap bars stands for: expanding runs and cutting them."""

from __future__ import annotations

import re
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from klineagg import errors
from klineagg._bars_index import ranges

__all__ = ["Spans", "fixed_period_ns", "is_activity", "spans_of"]

Times = NDArray[np.int64]

_SECOND: Final = 1_000_000_000
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_FIXED: Final = re.compile(r"(\d+)([smhdw])(?:[+-](?:\d+[smhdw])+)?")


_ACTIVITY: Final = re.compile(r"\S+ (tick|volume|value)")


class Spans(Protocol):
    """The boundaries of one interval. All times are int64 nanoseconds since the epoch, UTC."""

    def split(self, opens: Times, closes: Times, counts: Times) -> tuple[Times, Times]:
        """Open and close times of all bars of runs, each int64 ``(counts.sum(),)``."""

    def cut(
        self, opens: Times, closes: Times, counts: Times, begin: Times, end: Times
    ) -> tuple[Times, Times, Times]:
        """Opens, closes and counts of the bars of each run that open in ``[begin, end)``.

        A run with none of them has a count of 0.
        """


class FixedSpans:
    """Bars of one length."""

    def __init__(self, period_ns: int) -> None:
        self._period_ns = period_ns

    def split(self, opens: Times, closes: Times, counts: Times) -> tuple[Times, Times]:
        ends = np.cumsum(counts)
        steps = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - counts, counts)
        out = np.repeat(opens, counts) + steps * self._period_ns
        return out, out + self._period_ns

    def cut(
        self, opens: Times, closes: Times, counts: Times, begin: Times, end: Times
    ) -> tuple[Times, Times, Times]:
        period = self._period_ns
        first = np.clip(-((opens - begin) // period), 0, counts)
        last = np.clip(-((opens - end) // period), first, counts)
        return opens + first * period, opens + last * period, last - first


class TableSpans:
    """Bars of differing length: calendar months, local time, sessions."""

    def __init__(self, name: str, opens: Times, closes: Times) -> None:
        self._name = name
        self._opens = opens
        self._closes = closes

    def _first(self, opens: Times, closes: Times, counts: Times) -> Times:
        """Position of the first span of each run."""
        first = np.searchsorted(self._opens, opens)
        last = first + counts - 1
        known = last < len(self._opens)
        if not (
            np.all(known)
            and np.array_equal(self._opens[first], opens)
            and np.array_equal(self._closes[last], closes)
        ):
            text = f"a run of gap bars does not fit the boundaries of interval {self._name!r}"
            hint = "pass the interval that these bars were made with"
            raise errors.make("invalid_interval", text, hint=hint, interval=self._name)
        return first.astype(np.int64)

    def split(self, opens: Times, closes: Times, counts: Times) -> tuple[Times, Times]:
        first = self._first(opens, closes, counts)
        spans = ranges(first, first + counts)
        return self._opens[spans], self._closes[spans]

    def cut(
        self, opens: Times, closes: Times, counts: Times, begin: Times, end: Times
    ) -> tuple[Times, Times, Times]:
        first = self._first(opens, closes, counts)
        start = np.clip(np.searchsorted(self._opens, begin), first, first + counts)
        stop = np.clip(np.searchsorted(self._opens, end), start, first + counts)
        # A run of which nothing is left has no times; any will do.
        some_start = np.minimum(start, len(self._opens) - 1)
        some_stop = np.maximum(stop - 1, some_start)
        return self._opens[some_start], self._closes[some_stop], stop - start


def fixed_period_ns(name: str) -> int | None:
    """Length of the bars of an interval such as ``5m`` or ``1d+8h``; None when it varies."""
    match = _FIXED.fullmatch(name)
    return int(match[1]) * _UNITS[match[2]] * _SECOND if match else None


def is_activity(name: str) -> bool:
    """Whether bars of this name close with the activity, not with the time, as ``1000 tick``."""
    return _ACTIVITY.fullmatch(name) is not None


def spans_of(name: str, interval: Any, begin_ns: int, end_ns: int) -> Spans:
    """The spans of an interval from ``begin_ns`` to ``end_ns``.

    Args:
        name: its name.
        interval: the :class:`klineagg.Interval` itself, or None when only its name is known, which
            is enough unless it is a table of sessions.
        begin_ns: first time of interest, a boundary.
        end_ns: last time of interest.

    Raises:
        IntervalError: ``invalid_interval`` when the name does not tell the spans.
    """
    period_ns = fixed_period_ns(name)
    if period_ns is not None and getattr(interval, "kind", "fixed") == "fixed":
        return FixedSpans(period_ns)
    if interval is None:
        from klineagg.intervals import Interval

        try:
            interval = Interval(name)
        except errors.IntervalError as error:
            text = f"the boundaries of interval {name!r} are not known from its name"
            hint = "pass the interval itself, as intervals=[...]"
            raise errors.make("invalid_interval", text, hint=hint, interval=name) from error
    core = interval.to_core(begin_ns, end_ns)
    if core.kind == "fixed":
        return FixedSpans(core.period)
    return TableSpans(name, *interval.table_for(begin_ns, end_ns))
