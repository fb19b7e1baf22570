"""Session calendars: intervals that are tables of opens and closes, with holes between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timezone
from typing import TYPE_CHECKING, Any

import numpy as np

from klineagg import _core, errors
from klineagg._zones import DAY_S, NS_PER_S, local_to_utc, zone
from klineagg.intervals import SPANS_MAX, Interval, IntervalLike, range_seconds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Int64Array = NDArray[np.int64]

__all__ = ["SessionInterval", "calendar_sessions", "daily_sessions", "sessions"]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
DateLike = str | date | np.datetime64


class SessionInterval(Interval):
    """An interval whose spans are sessions, or pieces of sessions; see :func:`sessions`."""

    __slots__ = ("_closes_s", "_every_s", "_opens_s")

    _opens_s: Int64Array
    _closes_s: Int64Array
    _every_s: int  # 0: a span is a whole session

    def __init__(self, name: str, opens_s: Int64Array, closes_s: Int64Array, every_s: int) -> None:
        if not isinstance(name, str):
            text = f"the name of sessions is text, not {name!r}"
            raise errors.make("invalid_interval", text, interval=str(name))
        self._freeze(name, None, None)
        for slot, column in (("_opens_s", opens_s), ("_closes_s", closes_s)):
            array = np.array(column, dtype=np.int64)
            array.flags.writeable = False
            object.__setattr__(self, slot, array)
        object.__setattr__(self, "_every_s", every_s)
        # The core checks name, order and range, here where the caller can still see the mistake.
        _core.Interval.table(name, self._opens_s * NS_PER_S, self._closes_s * NS_PER_S)

    def table_for(self, start_ns: int, end_ns: int) -> tuple[Int64Array, Int64Array]:
        """The spans that touch a range of time, and those of one session on either side.

        The neighbours are there so that the holes at the ends of the range are known.
        Arguments, result and errors as :meth:`Interval.table_for`.
        """
        start_s, end_s = range_seconds(start_ns, end_ns)
        first = int(np.searchsorted(self._closes_s, start_s, side="right")) - 1
        last = int(np.searchsorted(self._opens_s, end_s, side="left")) + 1
        rows = slice(max(first, 0), max(last, 1))
        opens, closes = self._opens_s[rows], self._closes_s[rows]
        if self._every_s:
            opens, closes = self._pieces(opens, closes)
        return opens * NS_PER_S, closes * NS_PER_S

    def _pieces(self, opens: Int64Array, closes: Int64Array) -> tuple[Int64Array, Int64Array]:
        counts = -(-(closes - opens) // self._every_s)
        total = int(counts.sum())
        if total > SPANS_MAX:
            raise _refuse(self._name, 0, f"the range has {total} spans, more than 2**26")
        before = np.repeat(np.cumsum(counts) - counts, counts)
        piece_opens = np.repeat(opens, counts) + (np.arange(total) - before) * self._every_s
        return piece_opens, np.minimum(piece_opens + self._every_s, np.repeat(closes, counts))

    def to_core(self, start_ns: int, end_ns: int) -> _core.Interval:
        """The core's interval, right for every time in a range; see :meth:`Interval.to_core`."""
        return _core.Interval.table(self._name, *self.table_for(start_ns, end_ns))

    def _definition(self) -> tuple[object, ...]:
        return (self._every_s, self._opens_s.tobytes(), self._closes_s.tobytes())

    def __repr__(self) -> str:
        ends = np.array([self._opens_s[0], self._closes_s[-1]]).astype("datetime64[s]")
        every = f", every={self._every_s}s" if self._every_s else ""
        return (
            f"<sessions {self._name!r}: {self._opens_s.size} from {ends[0]}Z to {ends[1]}Z{every}>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return SessionInterval, (self._name, self._opens_s, self._closes_s, self._every_s)


def sessions(
    name: str,
    opens: Any,
    closes: Any,
    *,
    tz: str | None = None,
    every: IntervalLike | None = None,
) -> Interval:
    """An interval of trading sessions: a trade outside all of them is in no bar.

    Args:
        name: what the interval is called in results, up to 64 bytes.
        opens: the first instant of each session, sorted: ``datetime64`` (UTC, or the wall clock
            of ``tz``), int64 nanoseconds UTC, ``datetime`` or ISO 8601 text (with an offset, or
            on the wall clock of ``tz``). Whole seconds.
        closes: the instant behind each session, as ``opens``; at most the next open. Sessions
            that touch leave no hole.
        tz: IANA name of the time zone of times that say none.
        every: bars of this length within each session, counted from its open; the last one ends
            with the session. Default: one bar a session.

    Raises:
        IntervalError: ``invalid_session_table`` (fields ``name``, ``row``, ``reason``),
            ``unknown_time_zone``, ``invalid_interval`` (``every`` without a fixed length).
    """
    if tz is not None:
        zone(tz)
    opens_s, closes_s = _seconds(name, opens, tz), _seconds(name, closes, tz)
    if opens_s.shape != closes_s.shape:
        raise _refuse(name, 0, f"{opens_s.size} opens but {closes_s.size} closes")
    return SessionInterval(name, opens_s, closes_s, _every_seconds(every))


def daily_sessions(
    name: str,
    opens_at: str | time,
    closes_at: str | time,
    *,
    tz: str,
    start: DateLike,
    end: DateLike,
    weekmask: str = "Mon Tue Wed Thu Fri",
    holidays: Iterable[DateLike] = (),
    early_closes: Mapping[Any, str | time] | None = None,
    every: IntervalLike | None = None,
) -> Interval:
    """Sessions at the same wall-clock time on the days of a week, without holidays.

    ``daily_sessions("NYSE", "09:30", "16:00", tz="America/New_York", start="2024-01-01",
    end="2025-01-01", holidays=["2024-01-01", ...], early_closes={"2024-11-29": "13:00"})``

    Args:
        name: what the interval is called in results.
        opens_at: ``"HH:MM"``, ``"HH:MM:SS"`` or ``datetime.time``, on the wall clock of ``tz``.
        closes_at: the same, also ``"24:00"``; at or before ``opens_at`` it is on the next day.
        tz: IANA name.
        start: first date.
        end: date behind the last.
        weekmask: days that open, as in ``numpy.busdaycalendar`` (``"Sun Mon"`` or ``"1000001"``).
        holidays: dates without a session.
        early_closes: date to wall-clock close of sessions that end early.
        every: as in :func:`sessions`.

    Raises:
        IntervalError: as :func:`sessions`; ``invalid_session_table`` also for dates or times
            that cannot be read, and an early close on a day without a session.
    """
    zone(tz)
    open_s, close_s = _clock_seconds(name, opens_at), _clock_seconds(name, closes_at)
    if open_s == DAY_S:
        raise _refuse(name, 0, "sessions cannot open at 24:00; 00:00 of the next day can")
    first, last = _day(name, start), _day(name, end)
    try:
        off = np.array([_day(name, holiday) for holiday in holidays], dtype="datetime64[D]")
        calendar = np.busdaycalendar(weekmask=weekmask, holidays=off)
    except (ValueError, TypeError) as problem:
        raise _refuse(name, 0, f"weekmask or holidays: {problem}") from None
    every_day = np.arange(first, last)
    days = every_day[np.is_busday(every_day, busdaycal=calendar)]
    close_of_day = np.full(days.shape, close_s, dtype=np.int64)
    for early_day, early in (early_closes or {}).items():
        row = int(np.searchsorted(days, _day(name, early_day)))
        if row == days.size or days[row] != _day(name, early_day):
            raise _refuse(name, row, f"early close on {early_day}, a day without a session")
        close_of_day[row] = _clock_seconds(name, early)
    close_of_day += np.where(close_of_day <= open_s, DAY_S, 0)
    midnights = days.astype("datetime64[s]").astype(np.int64)
    opens_s = local_to_utc(tz, midnights + open_s)
    closes_s = local_to_utc(tz, midnights + close_of_day)
    return SessionInterval(name, opens_s, closes_s, _every_seconds(every))


def calendar_sessions(
    calendar: Any,
    name: str | None = None,
    *,
    breaks: bool = False,
    every: IntervalLike | None = None,
) -> Interval:
    """Sessions of an exchange calendar, for example ``exchange_calendars.get_calendar("XNYS")``.

    Args:
        calendar: an object whose ``schedule`` is a table, or the table itself, with the columns
            ``open`` and ``close`` (or ``market_open`` and ``market_close``) in UTC.
        name: what the interval is called in results; default: the calendar's ``name``.
        breaks: split sessions at ``break_start`` and ``break_end`` where the table has them.
        every: as in :func:`sessions`.

    Raises:
        IntervalError: as :func:`sessions`; ``invalid_session_table`` also when there is no such
            table.
    """
    label = name if name is not None else str(getattr(calendar, "name", None) or "sessions")
    table = getattr(calendar, "schedule", calendar)
    columns = [str(column) for column in getattr(table, "columns", ())]
    prefix = "market_" if "market_open" in columns else ""
    if f"{prefix}open" not in columns or f"{prefix}close" not in columns:
        raise _refuse(label, 0, "the calendar has no schedule with the columns open and close")
    opens_s = _seconds(label, table[f"{prefix}open"], None)
    closes_s = _seconds(label, table[f"{prefix}close"], None)
    if breaks and "break_start" in columns and "break_end" in columns:
        rows = np.flatnonzero([_is_time(value) for value in table["break_start"]])
        starts_s = _seconds(label, np.asarray(table["break_start"])[rows], None)
        ends_s = _seconds(label, np.asarray(table["break_end"])[rows], None)
        opens_s = np.insert(opens_s, rows + 1, ends_s)
        closes_s = np.insert(closes_s, rows, starts_s)
    return SessionInterval(label, opens_s, closes_s, _every_seconds(every))


def _refuse(name: str, row: int, reason: str) -> errors.KlineaggError:
    return errors.make(
        "invalid_session_table",
        f"sessions {name!r}, row {row}: {reason}",
        name=name,
        row=row,
        reason=reason,
    )


def _every_seconds(every: IntervalLike | None) -> int:
    if every is None:
        return 0
    interval = Interval(every)
    period = interval.period
    shifted = any(sign in interval.name for sign in "+-")
    if interval.kind != "fixed" or interval.tz or period is None or shifted:
        raise errors.make(
            "invalid_interval",
            f"every={interval.name!r}: bars within sessions need a plain length such as '30m'",
            text=interval.name,
            reason="not a plain length",
        )
    return int(period // np.timedelta64(1, "s"))


def _day(name: str, value: DateLike) -> np.datetime64:
    try:
        day = np.array(value, dtype="datetime64[D]").reshape(()).item()
        if isinstance(day, date):  # NaT is None
            return np.datetime64(day, "D")
    except (ValueError, TypeError):
        pass
    raise _refuse(name, 0, f"{value!r} is not a date")


def _clock_seconds(name: str, value: str | time) -> int:
    if value == "24:00":
        return DAY_S
    try:
        clock = time.fromisoformat(value) if isinstance(value, str) else value
        if clock.tzinfo is None and clock.microsecond == 0:
            return clock.hour * 3_600 + clock.minute * 60 + clock.second
    except (ValueError, AttributeError):
        pass
    raise _refuse(name, 0, f"{value!r} is not a wall-clock time such as '09:30'")


def _is_time(value: object) -> bool:
    # The NaT of pandas is a datetime too.
    return isinstance(value, (datetime, np.datetime64)) and str(value) != "NaT"


def _seconds(name: str, values: Any, tz: str | None) -> Int64Array:
    """UTC seconds of a column of times."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise _refuse(name, 0, "opens and closes must be one-dimensional")
    if array.dtype.kind == "M":
        whole = array.astype("datetime64[s]")
        wrong = np.flatnonzero(whole != array)  # NaT differs from itself
        if wrong.size:
            raise _refuse(name, int(wrong[0]), f"{array[wrong[0]]} is not a whole second")
        seconds = whole.astype(np.int64)
        return seconds if tz is None else local_to_utc(tz, seconds)
    if array.dtype.kind in "iu":
        if np.any(array % NS_PER_S):
            row = int(np.flatnonzero(array % NS_PER_S)[0])
            raise _refuse(name, row, "not on a whole second")
        return array.astype(np.int64) // NS_PER_S
    pairs = [_one(name, row, value, tz) for row, value in enumerate(array.tolist())]
    seconds = np.array([second for second, _ in pairs], dtype=np.int64)
    local = np.array([is_local for _, is_local in pairs], dtype=bool)
    seconds[local] = local_to_utc(tz, seconds[local])
    return seconds


def _one(name: str, row: int, value: object, tz: str | None) -> tuple[int, bool]:
    """A time as seconds, and whether they are of the wall clock."""
    moment = value
    if isinstance(value, str):
        try:
            # datetime of Python 3.10 does not know the letter Z.
            moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            raise _refuse(name, row, f"{value!r} is not a time") from None
    if not isinstance(moment, datetime) or not _is_time(moment):
        raise _refuse(name, row, f"{value!r} is not a time")
    if moment.microsecond or getattr(moment, "nanosecond", 0):
        raise _refuse(name, row, f"{value} is not on a whole second")
    if moment.tzinfo is None and tz is None:
        raise _refuse(name, row, f"{value} has no time zone; pass tz=")
    is_local = moment.tzinfo is None
    delta = (moment.replace(tzinfo=timezone.utc) if is_local else moment) - _EPOCH
    return delta.days * DAY_S + delta.seconds, is_local
