"""The times for which the boundaries of wall clocks are worked out, and how they grow."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakMethod

import numpy as np

from klineagg import _core, errors
from klineagg._core_tables import time_range
from klineagg._engine_clock import SimulatedClock, SystemClock
from klineagg._options import TIME_MAX_NS, TIME_MIN_NS, TIME_NONE, check_bytes
from klineagg.columns import TradeChunk
from klineagg.intervals import Interval

if TYPE_CHECKING:
    from klineagg._core import Interval as CoreInterval
    from klineagg.wal import Wal

__all__ = ["Reach", "Reaching", "extension", "made_within"]

_YEAR_NS: Final = 366 * 86_400 * 10**9
_BEHIND_NS: Final = 2 * _YEAR_NS
_AHEAD_NS: Final = 20 * _YEAR_NS
# All clock changes of today, and of many years before, are by multiples of it.
_QUARTER_HOUR_NS: Final = 900 * 10**9


@dataclass(frozen=True)
class Reach:
    """``[start_ns, end_ns)``; ``matters``: whether any interval follows a wall clock."""

    start_ns: int
    end_ns: int
    matters: bool

    @classmethod
    def of(cls, intervals: Sequence[Interval], clock: SimulatedClock | SystemClock) -> Reach:
        """Around the clock's time, or a century where that is not known yet."""
        now = clock.now_ns()
        if now == TIME_MIN_NS:
            return cls(0, 100 * _YEAR_NS, False).for_intervals(intervals)
        start, end = now - _BEHIND_NS, now + _AHEAD_NS
        return cls(max(start, TIME_MIN_NS), min(end, TIME_MAX_NS), False).for_intervals(intervals)

    def for_intervals(self, intervals: Sequence[Interval]) -> Reach:
        """The same times, for other intervals."""
        return replace(self, matters=any(each.tz is not None for each in intervals))

    def holds(self, low_ns: int, high_ns: int) -> bool:
        """Whether nothing has to grow for these times."""
        return not self.matters or (self.start_ns <= low_ns and high_ns < self.end_ns)

    def covering(self, low_ns: int, high_ns: int) -> Reach:
        """Times that hold these too, and more beyond those that were not held."""
        start, end = self.start_ns, self.end_ns
        if low_ns < start:
            start = max(low_ns - _BEHIND_NS, TIME_MIN_NS)
        if high_ns >= end:
            end = min(high_ns + _AHEAD_NS, TIME_MAX_NS)
        return replace(self, start_ns=start, end_ns=end)

    def for_error(self, error: errors.KlineaggError) -> Reach:
        """What is not refused like that; the same times where they are not the reason.

        What an engine recovers or restores may have bars of other times than the clock's.
        """
        if error.name not in ("recovery_mismatch", "checkpoint_mismatch"):
            return self
        if "low_ns" not in error.fields:
            return self
        return self.covering(int(error.fields["low_ns"]), int(error.fields["high_ns"]))

    @property
    def in_core(self) -> tuple[int, int]:
        """The times that the core may take without asking."""
        return (self.start_ns, self.end_ns) if self.matters else (TIME_MIN_NS, TIME_MAX_NS)

    def intervals(self, intervals: Sequence[Interval]) -> list[_core.Interval]:
        """The core's intervals, right for every time in reach."""
        return [self._interval(each) for each in intervals]

    def _interval(self, interval: Interval) -> _core.Interval:
        if interval.kind == "sessions":  # a table that is there as a whole
            return interval.to_core(TIME_MIN_NS, TIME_MAX_NS)
        core = interval.to_core(self.start_ns, self.end_ns)
        if interval.tz is None:
            return core
        # A wall clock that keeps its grid through these times may not do so before or after: only
        # spans that divide the step of all changes stay what they are.
        if core.kind == "fixed" and _QUARTER_HOUR_NS % core.period == 0:
            return core
        opens, closes = interval.table_for(self.start_ns, self.end_ns)
        return _core.Interval.table(interval.name, opens, closes, _QUARTER_HOUR_NS)


def made_within(
    reach: Reach,
    intervals: Sequence[Interval],
    clock: SimulatedClock | SystemClock,
    options: dict[str, Any],
    wal: Wal | None,
    checkpoint: bytes | None,
) -> tuple[_core.Engine, list[CoreInterval], Reach]:
    """An engine of the core, its intervals, and the times that these are right for.

    What it recovers may be of other times than the clock's, which nobody knows before: it is tried
    again with more of them then. Nothing was written by that time.
    """
    if checkpoint is not None:
        check_bytes(checkpoint, "checkpoint")
    log = None if wal is None else wal._core
    given = None if checkpoint is None else bytes(checkpoint)
    past = [] if log is None or log.next == 1 else _past_zones(log.past_tables(given), intervals)
    reach = reach.for_intervals([*intervals, *past])
    while True:
        built = reach.intervals(intervals)
        options |= {"past_tables": reach.intervals(past), "reach": reach.in_core}
        try:
            core = _core.Engine(built, clock._core, options, log, given)
        except errors.EngineError as error:
            wider = reach.for_error(error)
            if wider == reach:
                raise
            reach = wider
        else:
            return core, built, reach.for_intervals(intervals)


def _past_zones(names: Sequence[str], wanted: Sequence[Interval]) -> list[Interval]:
    """Intervals by time zones that are not wanted any more; those of sessions have only a name."""
    found = []
    for name in set(names) - {str(each.name) for each in wanted}:
        with suppress(errors.IntervalError):
            found.append(Interval(name))
    return found


class Reaching:
    """The part of :class:`klineagg.Engine` that makes tables longer before trades need it."""

    _core: _core.Engine
    _clock: SimulatedClock | SystemClock
    _reach: Reach
    _outputs: list[Any]  # intervals by the number that rows bear, or names of them
    _core_intervals: dict[str, CoreInterval]
    _changing: threading.Lock
    _max_ahead_ns: int

    def _reach_chunk(self, chunk: TradeChunk) -> None:
        """Before a chunk is pushed."""
        if not self._reach.matters or not len(chunk):
            return
        times = time_range(chunk)
        if not times:
            return
        low, high = times
        now = self._clock.now_ns()
        if now != TIME_MIN_NS and self._max_ahead_ns != _core.HORIZON_UNLIMITED:
            high = min(high, now + self._max_ahead_ns)  # what is ahead is rejected
            low = min(low, high)
        self._reach_times(low, high)

    def _reach_time(self, time_ns: int) -> None:
        if time_ns != TIME_NONE:
            self._reach_times(time_ns, time_ns)

    def _reach_times(self, low_ns: int, high_ns: int) -> None:
        if self._reach.holds(low_ns, high_ns):
            return
        with self._changing:
            if not self._reach.holds(low_ns, high_ns):
                self._use_reach(self._reach.covering(low_ns, high_ns))

    def _use_reach(self, reach: Reach) -> None:
        """Of who has ``_changing``.

        Raises:
            IntervalError: ``invalid_interval`` when a zone's clock was not set by quarters of an
                hour then, or the tables would be too long.
            EngineError: ``engine_state`` when the engine has stopped, ``worker_failed``.
        """
        zoned = {
            str(each.name): each
            for each in self._outputs
            if isinstance(each, Interval) and each.tz is not None
        }
        cores = dict(zip(zoned, reach.intervals(list(zoned.values())), strict=True))
        for name, core in cores.items():
            if core.kind != self._core_intervals[name].kind:
                text = f"the wall clock of {name!r} was not set by quarters of an hour then"
                raise errors.make("invalid_interval", text, interval=name)
        self._core.replace_tables(list(cores.values()), *reach.in_core)
        self._core_intervals = {**self._core_intervals, **cores}
        self._reach = reach

    def _set_reach(self, reach: Reach) -> None:
        """As :meth:`_use_reach`, of the same times."""
        if reach != self._reach and self._core.state != "stopped":
            self._core.replace_tables([], *reach.in_core)
        self._reach = reach

    def _reach_present(self, wanted: Sequence[Interval]) -> None:
        """The times of the open bars, before the first interval by a wall clock comes."""
        if self._reach.matters or all(each.tz is None for each in wanted):
            return
        self._set_reach(self._reach.for_intervals(wanted))  # from here on trades are looked at
        columns = self._core.view()[0]["columns"]
        times = np.concatenate([columns["first_trade_time"], columns["last_trade_time"]])
        times = times[~np.isnat(times)].astype(np.int64)
        if len(times) and not self._reach.holds(int(times.min()), int(times.max())):
            self._use_reach(self._reach.covering(int(times.min()), int(times.max())))


def extension(engine: Reaching) -> Callable[[int], None]:
    """What a producer calls that is asked for a single trade beyond the tables."""
    method = WeakMethod(engine._reach_time)  # the core cannot be looked into for cycles

    def extend(time_ns: int) -> None:
        reach_time = method()
        if reach_time is not None:
            reach_time(time_ns)

    return extend
