"""Intervals: where bars begin and end.

An interval is a period of the UTC clock (``"1m"``, ``"3d"``, ``"1M"``), of the wall clock of a time
zone (``"1d@America/New_York"``) or a table of sessions (:func:`klineagg.sessions`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from klineagg import _core, errors
from klineagg._distinct import distinct
from klineagg._interval_text import (
    duration_text,
    has_offset,
    invalid,
    offset_text,
    split,
    zone_key,
    zoned_name,
)
from klineagg._zones import DAY_S, NS_PER_S, Grid, offset_segments, zone, zone_edges

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Int64Array = NDArray[np.int64]

__all__ = ["Interval", "IntervalLike", "parse_intervals"]

INTERVALS_MAX = 64
SPANS_MAX = 1 << 26
TIME_MIN_S = -25_567 * DAY_S  # 1900-01-01
TIME_MAX_S = 84_006 * DAY_S  # 2200-01-01


class Interval:
    """A partition of time into spans ``[open, close)``; immutable and hashable.

    The text is ``<n><unit>`` with the units ``s m h d w M`` (seconds to calendar months), then
    optionally ``@`` and an IANA time zone, then an offset that shifts every boundary::

        Interval("1m")                                   # UTC minutes
        Interval("1d+8h")                                # days that begin at 08:00 UTC
        Interval("1w")                                   # weeks from Monday
        Interval("3M")                                   # quarters; "12M+3M": years from April
        Interval("1d@America/New_York+17h")              # days from 17:00 in New York
        Interval("1d", tz="America/New_York", offset="17h")  # the same

    On a wall clock, days have 23 or 25 hours twice a year; a skipped midnight starts the day at
    the change. Spans of up to an hour repeat in a repeated local hour, longer ones stretch.

    Args:
        text: the text form, a ``datetime.timedelta`` or ``numpy.timedelta64`` (7 days are ``7d``,
            counted from the epoch, not ``1w``), or another interval.
        tz: IANA name of a time zone, or a ``zoneinfo.ZoneInfo``.
        offset: shift of every boundary, as text (``"8h"``, ``"-1d"``, ``"9h30m"``) or timedelta.

    Raises:
        IntervalError: ``invalid_interval`` (fields ``text``, ``reason``, often ``position``) or
            ``unknown_time_zone`` (field ``tz``).
    """

    __slots__ = ("_base", "_name", "_tz")

    _name: str
    _tz: str | None
    _base: _core.Interval | None  # the same interval on the UTC clock

    def __init__(
        self,
        text: IntervalLike,
        *,
        tz: Any = None,
        offset: str | timedelta | np.timedelta64 | None = None,
    ) -> None:
        period, zone_name, shift = split(_text_of(text))
        if tz is not None:
            if zone_name is not None:
                raise invalid(str(text), "the time zone is given twice")
            zone_name = zone_key(tz)
        if offset is not None:
            if shift or has_offset(period):
                raise invalid(str(text), "the offset is given twice")
            shift = offset_text(offset)
        base = _core.Interval.parse(period + shift)
        name = base.name
        if zone_name is not None:
            zone(zone_name)
            name = zoned_name(base.name, zone_name)
            _check_zoned(name, base)
        self._freeze(name, zone_name, base)

    def _freeze(self, name: str, tz: str | None, base: _core.Interval | None) -> None:
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "_tz", tz)
        object.__setattr__(self, "_base", base)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"an interval cannot be changed (attribute {name!r})")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"an interval cannot be changed (attribute {name!r})")

    @property
    def name(self) -> str:
        """The canonical text, for example ``"1d@America/New_York+17h"``."""
        return self._name

    @property
    def tz(self) -> str | None:
        """IANA name of the time zone; ``None`` for UTC."""
        return self._tz

    @property
    def kind(self) -> str:
        """``"fixed"``, ``"month"`` or ``"sessions"``."""
        return "sessions" if self._base is None else self._base.kind

    @property
    def period(self) -> np.timedelta64 | None:
        """``timedelta64[ns]``, for months ``timedelta64[M]``, ``None`` for sessions."""
        if self._base is None:
            return None
        return np.timedelta64(self._base.period, "M" if self._base.kind == "month" else "ns")

    def table_for(self, start_ns: int, end_ns: int) -> tuple[Int64Array, Int64Array]:
        """The spans that touch a range of time, whole even where they reach beyond it.

        Args:
            start_ns: int64 nanoseconds UTC, 1900 to 2200.
            end_ns: nanoseconds behind the last one asked for; not before ``start_ns``.

        Returns:
            ``(opens, closes)``, int64 nanoseconds UTC, sorted. Only at the years 1900 and 2200
            is a span cut.

        Raises:
            OptionError: ``invalid_option``, when the range is outside 1900 to 2200 or reversed.
            IntervalError: ``invalid_interval``, when it has more than 2**26 spans.
        """
        start_s, end_s = range_seconds(start_ns, end_ns)
        grid = self._grid()
        spans = (end_s - start_s) // (grid.period_s or 28 * DAY_S * grid.months)
        if spans >= SPANS_MAX:
            raise invalid(self._name, f"the range has about {spans} spans, more than 2**26")
        edges = zone_edges(self._tz, grid, start_s, end_s)
        edges = np.clip(edges, TIME_MIN_S, TIME_MAX_S) * NS_PER_S
        return edges[:-1].copy(), edges[1:].copy()

    def to_core(self, start_ns: int, end_ns: int) -> _core.Interval:
        """The core's interval, right for every time in a range.

        A wall clock that keeps its grid through the range (no change, or changes by whole periods
        for spans of up to an hour) becomes a fixed interval; others become a table of the range.

        Args:
            start_ns: int64 nanoseconds UTC, 1900 to 2200.
            end_ns: nanoseconds behind the last time that will be looked up.

        Raises:
            OptionError, IntervalError: as :meth:`table_for`.
        """
        start_s, end_s = range_seconds(start_ns, end_ns)
        assert self._base is not None
        if self._tz is None:
            return self._base
        grid = self._grid()
        reach = 2 * grid.longest_s + 8 * DAY_S
        offsets = distinct(offset_segments(self._tz, start_s - reach, end_s + reach)[1])
        if grid.repeats and np.all((offsets - offsets[0]) % grid.period_s == 0):
            offsets = offsets[:1]
        phase_s = grid.phase_s - int(offsets[0])
        if len(offsets) == 1 and grid.period_s:
            return _core.Interval.fixed(self._name, grid.period_s * NS_PER_S, phase_s * NS_PER_S)
        if len(offsets) == 1 and abs(phase_s) < 28 * DAY_S:
            return _core.Interval.months(
                self._name, grid.months, phase_s * NS_PER_S, grid.month_phase
            )
        return _core.Interval.table(self._name, *self.table_for(start_ns, end_ns))

    def same_spans(self, other: Interval) -> bool:
        """Whether both have the same definition, whatever the text: ``"60s"`` and ``"1m"``."""
        return self._definition() == other._definition()

    def _grid(self) -> Grid:
        assert self._base is not None
        phase_s = self._base.phase // NS_PER_S
        if self._base.kind == "month":
            return Grid(0, phase_s, self._base.period, self._base.month_phase)
        return Grid(self._base.period // NS_PER_S, phase_s)

    def _definition(self) -> tuple[object, ...]:
        # All names of UTC are one zone, and the same as none.
        tz = None if self._tz is None or zone(self._tz) is _UTC else self._tz
        return (tz, self._grid())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Interval):
            return NotImplemented
        return self._name == other._name and self._definition() == other._definition()

    def __hash__(self) -> int:
        return hash(self._name)

    def __str__(self) -> str:
        return self._name

    def __repr__(self) -> str:
        return f"Interval({self._name!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Interval, (self._name,)


IntervalLike = str | timedelta | np.timedelta64 | Interval
_UTC = zone("UTC")


def parse_intervals(intervals: IntervalLike | Iterable[IntervalLike]) -> tuple[Interval, ...]:
    """The intervals of an argument, in its order.

    Args:
        intervals: ``"1m"``, ``"1m,5m,1h"``, an interval, a timedelta, or a sequence of these.

    Raises:
        IntervalError: ``duplicate_interval`` for one name, or one definition under two names
            (field ``interval``, with both in ``names``); ``invalid_interval``;
            ``unknown_time_zone``.
    """
    items: Iterable[IntervalLike]
    if isinstance(intervals, str):
        items = intervals.split(",")
    elif isinstance(intervals, (Interval, timedelta, np.timedelta64)):
        items = [intervals]
    elif isinstance(intervals, Iterable):
        items = intervals
    else:
        raise invalid(repr(intervals), "expected text, a timedelta, an interval or a sequence")
    parsed: list[Interval] = []
    seen: dict[object, Interval] = {}
    for item in items:
        interval = item if isinstance(item, Interval) else Interval(item)
        for key in (interval.name, interval._definition()):
            if key in seen:
                raise errors.make(
                    "duplicate_interval",
                    f"the interval {interval.name!r} is the same as {seen[key].name!r}"
                    if seen[key].name != interval.name
                    else f"the interval {interval.name!r} is given twice",
                    interval=interval.name,
                    names=[seen[key].name, interval.name],
                )
            seen[key] = interval
        parsed.append(interval)
        if len(parsed) > INTERVALS_MAX:
            raise invalid(interval.name, f"more than {INTERVALS_MAX} intervals")
    if not parsed:
        raise invalid("", "no interval is given")
    return tuple(parsed)


def _text_of(value: IntervalLike) -> str:
    if isinstance(value, Interval):
        if value._base is None:
            raise invalid(value.name, "sessions are used as they are")
        return value.name
    if isinstance(value, str):
        return value
    if isinstance(value, (timedelta, np.timedelta64)):
        return duration_text(value)
    raise invalid(repr(value), "expected text, a timedelta or an interval")


def _check_zoned(name: str, base: _core.Interval) -> None:
    day_ns = DAY_S * NS_PER_S
    if base.kind == "fixed" and day_ns % base.period and base.period % day_ns:
        # "7h" of a wall clock could count from midnight or from the epoch: nobody would know.
        raise invalid(name, "with a time zone the period must divide a day, or be whole days")


def range_seconds(start_ns: int, end_ns: int) -> tuple[int, int]:
    """Whole seconds around a range, with at least one second in it."""
    start_s, end_s = int(start_ns) // NS_PER_S, -(-int(end_ns) // NS_PER_S)
    if not TIME_MIN_S <= start_s <= end_s <= TIME_MAX_S:
        raise errors.make(
            "invalid_option",
            "the range of time must lie within 1900 to 2200, start before end",
            option="start_ns, end_ns",
            value=[int(start_ns), int(end_ns)],
        )
    start_s = min(start_s, TIME_MAX_S - 1)
    return start_s, max(end_s, start_s + 1)
