"""Boundaries of intervals on the wall clock of a time zone, as arrays of UTC seconds.

Nothing here runs per trade: a table is computed once for a range of time and handed to the core.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from klineagg import errors

if TYPE_CHECKING:
    from datetime import tzinfo

    from numpy.typing import NDArray

    Int64Array = NDArray[np.int64]

__all__ = ["Grid", "local_to_utc", "offset_segments", "zone", "zone_edges"]

DAY_S = 86_400
NS_PER_S = 1_000_000_000
HOUR_S = 3_600
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_UTC_NAMES = frozenset({"UTC", "Etc/UTC", "Etc/UCT", "UCT", "Zulu", "Etc/Zulu", "Etc/GMT", "GMT"})
# Local time may repeat up to a day (a move across the date line), so a boundary is only certain
# when the computation began more than a day before it; the rest is room for long spans.
_MARGIN_S = 4 * DAY_S


@dataclass(frozen=True)
class Grid:
    """Multiples of a period on the wall clock.

    Attributes:
        period_s: length in seconds, 0 for calendar months.
        phase_s: shift of every boundary in seconds.
        months: number of months, 0 for a fixed length.
        month_phase: first month of a group of months (0: January).
    """

    period_s: int
    phase_s: int
    months: int = 0
    month_phase: int = 0

    @property
    def longest_s(self) -> int:
        """An upper bound of the length of a span in seconds, without clock changes."""
        return self.months * 31 * DAY_S or self.period_s

    @property
    def repeats(self) -> bool:
        """Whether a repeated local hour repeats its spans (else the span around it stretches)."""
        return 0 < self.period_s <= HOUR_S

    def index(self, local_s: Int64Array) -> Int64Array:
        """The number of the span that holds each local second."""
        shifted = local_s - self.phase_s
        if not self.months:
            return shifted // self.period_s
        month = shifted.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
        return (month + 1970 * 12 - self.month_phase) // self.months

    def opens(self, index: Int64Array) -> Int64Array:
        """The local second at which each span opens."""
        if not self.months:
            return index * self.period_s + self.phase_s
        month = index * self.months + self.month_phase - 1970 * 12
        return month.astype("datetime64[M]").astype("datetime64[s]").astype(np.int64) + self.phase_s


def zone(key: str) -> tzinfo:
    """The time zone of an IANA name.

    Raises:
        IntervalError: ``unknown_time_zone``, with the field ``tz``.
    """
    if key in _UTC_NAMES:
        return timezone.utc  # works where no time zone database is installed
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(key)
    # KeyError: not found; ValueError: not a relative path; OSError: a folder such as "America".
    except (KeyError, ValueError, OSError):
        raise errors.make(
            "unknown_time_zone", f"no time zone {key!r}{_suggestion(key)}", tz=key
        ) from None


def _suggestion(key: str) -> str:
    from difflib import get_close_matches
    from zoneinfo import available_timezones

    close = get_close_matches(key, available_timezones(), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _offset_s(tz: tzinfo, utc_s: int) -> int:
    offset = (_EPOCH + timedelta(seconds=utc_s)).astimezone(tz).utcoffset()
    return 0 if offset is None else offset.days * DAY_S + offset.seconds


@lru_cache(maxsize=4096)
def _changes_of_year(key: str, year: int) -> tuple[tuple[int, int], ...]:
    """(UTC second, new offset) of each change of the UTC offset within one UTC year.

    One look a day finds them all: the time zone database has no two changes within three days.
    """
    tz = zone(key)
    begin = int(np.datetime64(f"{year:04d}-01-01", "s").astype(np.int64))
    end = int(np.datetime64(f"{year + 1:04d}-01-01", "s").astype(np.int64))
    changes = []
    # The change at the first instant of the year counts to this year.
    before, offset = begin - 1, _offset_s(tz, begin - 1)
    for day in range(begin, end + DAY_S, DAY_S):
        at = min(day, end - 1)
        new_offset = _offset_s(tz, at)
        if new_offset != offset:
            low, high = before, at
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if _offset_s(tz, middle) == offset else (low, middle)
            changes.append((high, new_offset))
        before, offset = at, new_offset
    return tuple(changes)


def offset_segments(key: str | None, start_s: int, end_s: int) -> tuple[Int64Array, Int64Array]:
    """Ranges of constant UTC offset that cover [start_s, end_s).

    Args:
        key: IANA name, ``None`` for UTC.
        start_s: first UTC second.
        end_s: UTC second behind the last.

    Returns:
        ``(starts, offsets)``, int64 seconds: offset ``i`` holds from ``starts[i]`` on.
    """
    if key is None or key in _UTC_NAMES:
        return np.array([start_s]), np.array([0])
    starts, offsets = [start_s], [_offset_s(zone(key), start_s)]
    first, last = np.array([start_s, end_s]).astype("datetime64[s]").astype("datetime64[Y]")
    for year in range(int(first.astype(int)) + 1970, int(last.astype(int)) + 1971):
        for change_s, offset in _changes_of_year(key, year):
            if start_s < change_s < end_s:
                starts.append(change_s)
                offsets.append(offset)
    return np.array(starts, dtype=np.int64), np.array(offsets, dtype=np.int64)


def zone_edges(key: str | None, grid: Grid, start_s: int, end_s: int) -> Int64Array:
    """The edges of the spans that touch [start_s, end_s): the first open to the last close.

    Boundaries are where the wall clock shows a multiple of the period. Where it is put forward
    past a boundary, the next span opens at the change. Where it is put back, spans of up to an
    hour repeat; a longer span goes on until the clock shows a time it has not shown before.

    Args:
        key: IANA name, ``None`` for UTC.
        grid: the multiples.
        start_s: first UTC second.
        end_s: UTC second behind the last; above ``start_s``.

    Returns:
        int64 UTC seconds, rising; span ``i`` is ``[edges[i], edges[i + 1])``.
    """
    low = start_s - grid.longest_s - _MARGIN_S
    high = end_s + grid.longest_s + _MARGIN_S
    starts, offsets = offset_segments(key, low, high)
    find = _repeating if grid.repeats else _stretching
    found = find(grid, starts, np.append(starts[1:], high), offsets)
    first = int(np.searchsorted(found, start_s, side="right")) - 1
    last = int(np.searchsorted(found, end_s, side="left"))
    return found[first : last + 1]


def _repeating(grid: Grid, starts: Int64Array, ends: Int64Array, offsets: Int64Array) -> Int64Array:
    edges = []
    for number, (begin, end, offset) in enumerate(zip(starts, ends, offsets, strict=True)):
        first, last = grid.index(np.array([begin, end - 1]) + offset)
        natural = grid.opens(np.arange(first, last + 1)) - offset
        edge = natural[natural >= begin]
        if number:
            jump = offset - offsets[number - 1]
            index_before = grid.index(np.array([begin - 1]) + offsets[number - 1])[0]
            # A change by whole periods leaves the grid as it is: no stub of a bar where a clock
            # is put back at one minute past midnight.
            breaks = jump % grid.period_s != 0 and (jump < 0 or first != index_before)
            if breaks and natural[0] != begin:
                edge = np.insert(edge, 0, begin)
        edges.append(edge)
    return np.concatenate(edges)


def _stretching(
    grid: Grid, starts: Int64Array, ends: Int64Array, offsets: Int64Array
) -> Int64Array:
    times, indexes = [], []
    for begin, end, offset in zip(starts, ends, offsets, strict=True):
        first, last = grid.index(np.array([begin, end - 1]) + offset)
        index = np.arange(first, last + 1)
        time = grid.opens(index) - offset
        time[0] = begin  # a change past a boundary opens the next span
        times.append(time)
        indexes.append(index)
    time, index = np.concatenate(times), np.concatenate(indexes)
    rises = index[1:] > np.maximum.accumulate(index)[:-1]
    return time[1:][rises]


def local_to_utc(key: str | None, local_s: Int64Array) -> Int64Array:
    """UTC seconds of wall-clock seconds.

    A time that the clock shows twice is the first one; a time that it skips counts from the
    offset before the change (02:30 in a skipped hour is what follows at 03:30).

    Args:
        key: IANA name, ``None`` for UTC.
        local_s: int64 seconds of the wall clock since 1970-01-01T00:00 local.

    Returns:
        int64 UTC seconds, same shape.
    """
    if local_s.size == 0:
        return local_s
    low, high = int(local_s.min()) - 2 * DAY_S, int(local_s.max()) + 2 * DAY_S
    starts, offsets = offset_segments(key, low, high)
    # Wall-clock time from which each offset counts.
    begins = starts + np.maximum(offsets, np.concatenate([offsets[:1], offsets[:-1]]))
    return local_s - offsets[np.searchsorted(begins, local_s, side="right") - 1]
