"""Where bars begin and end.

Two kinds: periods of a clock on somebody's wall (UTC or a time zone), and tables of sessions.
Both answer ``span(time)``: the ``(open, close)`` that holds a time, or None outside every session;
and ``after(span)``: the next span, or None behind the last session. Times are int nanoseconds UTC.
"""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone, tzinfo
from functools import cache
from zoneinfo import ZoneInfo

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
MONDAY = 4 * DAY  # 1970-01-05

Span = tuple[int, int]


@dataclass(frozen=True)
class Clock:
    """Spans of a wall clock: every ``period`` from 1970-01-01 on, or every ``months`` months.

    ``shift`` moves all boundaries, ``month_shift`` by whole months. ``zone`` is an IANA name.
    """

    name: str
    period: int = 0
    months: int = 0
    shift: int = 0
    month_shift: int = 0
    zone: str = "UTC"

    def span(self, time: int) -> Span:
        if self.zone == "UTC":
            number = self._number(time)
            return self._begin(number), self._begin(number + 1)
        # Edges are looked up around the first second of the UTC day, so that few are computed.
        edges = _edges(self, time // DAY * DAY)
        position = bisect.bisect_right(edges, time)
        return edges[position - 1], edges[position]

    def after(self, span: Span) -> Span:
        return self.span(span[1])

    def _number(self, wall: int) -> int:
        """Which span the wall clock shows; ``wall`` is its reading in ns since 1970-01-01."""
        wall -= self.shift
        if self.period:
            return wall // self.period
        day = date(1970, 1, 1) + timedelta(days=wall // DAY)
        return (day.year * 12 + day.month - 1 - self.month_shift) // self.months

    def _begin(self, number: int) -> int:
        """The reading of the wall clock at which span ``number`` begins."""
        if self.period:
            return number * self.period + self.shift
        month = number * self.months + self.month_shift
        day = date(month // 12, month % 12 + 1, 1) - date(1970, 1, 1)
        return day.days * DAY + self.shift


@cache
def _edges(clock: Clock, day: int) -> list[int]:
    """Instants at which spans begin, from before ``day`` to behind the next day."""
    reach = 2 * max(clock.period, clock.months * 31 * DAY) + 4 * DAY
    edges: list[int] = []
    highest = None
    offset_before = None
    for begin, end, offset in _pieces(clock.zone, day - reach, day + reach):
        # Within a piece the wall clock runs evenly: visit each span that it shows.
        instant = begin
        while instant < end:
            number = clock._number(instant + offset)
            natural = clock._begin(number) == instant + offset
            if 0 < clock.period <= HOUR:
                # A repeated hour repeats its spans; a change by part of a span cuts it.
                jump = 0 if offset_before is None else offset - offset_before
                if natural or (instant == begin and jump % clock.period):
                    edges.append(instant)
            elif highest is None or number > highest:
                # Longer spans go on until the clock shows what it has not shown before.
                edges.append(instant)
            highest = number if highest is None else max(highest, number)
            instant = clock._begin(number + 1) - offset
        offset_before = offset
    return edges


def _pieces(zone: str, begin: int, end: int) -> list[tuple[int, int, int]]:
    """``(begin, end, UTC offset)`` of stretches without a change of the wall clock, in ns."""
    tz = ZoneInfo(zone)
    first, last = begin // SECOND, end // SECOND
    changes = [first]
    second = first
    while second < last:
        following = min(second + 3600, last)
        low, high = second, following
        if _offset(tz, low) != _offset(tz, high):
            while high - low > 1:  # the change lies in (low, high]
                middle = (low + high) // 2
                same = _offset(tz, middle) == _offset(tz, low)
                low, high = (middle, high) if same else (low, middle)
            changes.append(high)
        second = following
    ends = [*changes[1:], last]
    return [
        (first * SECOND, behind * SECOND, _offset(tz, first) * SECOND)
        for first, behind in zip(changes, ends, strict=True)
    ]


def _offset(tz: tzinfo, second: int) -> int:
    instant = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=second)
    offset = instant.astimezone(tz).utcoffset()
    assert offset is not None
    return round(offset.total_seconds())


@dataclass(frozen=True)
class Sessions:
    """A table of spans, sorted and disjoint; between them the market is closed."""

    name: str
    spans: tuple[Span, ...]

    def span(self, time: int) -> Span | None:
        return next((span for span in self.spans if span[0] <= time < span[1]), None)

    def after(self, span: Span) -> Span | None:
        return next((other for other in self.spans if other[0] >= span[1]), None)


Interval = Clock | Sessions


def parse(text: str) -> Clock:
    """``15m``, ``3d``, ``1w``, ``1M``, ``1d+8h``, ``12M+3M``, ``1d@America/New_York+17h``."""
    match = re.fullmatch(r"(\d+)([smhdwM])(?:@([A-Za-z_/]+))?(?:([+-])(.+))?", text)
    assert match, text
    count, unit, zone, sign, terms = match.groups()
    shift, month_shift = (MONDAY if unit == "w" else 0), 0
    for amount, letter in re.findall(r"(\d+)([smhdwM])", terms or ""):
        signed = int(amount) * (-1 if sign == "-" else 1)
        if letter == "M":
            month_shift += signed
        else:
            shift += signed * UNITS[letter]
    period = 0 if unit == "M" else int(count) * UNITS[unit]
    months = int(count) if unit == "M" else 0
    return Clock(text, period, months, shift, month_shift, zone or "UTC")
