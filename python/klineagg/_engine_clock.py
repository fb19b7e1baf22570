"""What time it is for an engine: the system's clock, or one that a program moves itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from klineagg import _core, errors
from klineagg._options import TIME_MIN_NS, time_ns

__all__ = ["SimulatedClock", "SystemClock", "as_clock"]


class SystemClock:
    """The system's UTC: bars close as time goes by."""

    __slots__ = ("_core",)

    def __init__(self) -> None:
        self._core: _core.Clock = _core.SystemClock()

    def now(self) -> np.datetime64:
        """The time, ``datetime64[ns]`` UTC."""
        return np.datetime64(self.now_ns(), "ns")

    def now_ns(self) -> int:
        """The time in nanoseconds since the epoch, UTC."""
        return self._core.now()

    def __repr__(self) -> str:
        return "SystemClock()"


class SimulatedClock:
    """A clock that stands still until it is told to advance: for replays, backtests and tests.

    Args:
        start: the time that it shows first (``datetime64``, ``datetime``, ISO text or ns). By
            default it does not know the time yet: the first advance may go anywhere, and until
            then no trade is ahead of it.

    Raises:
        OptionError: ``invalid_option`` for what is not a time of 1900 to 2200.

    >>> clock = SimulatedClock("2024-01-01T00:00")
    >>> clock.advance("2024-01-01T00:01")
    >>> clock.now()
    numpy.datetime64('2024-01-01T00:01:00.000000000')
    """

    __slots__ = ("_core",)

    def __init__(self, start: Any = None) -> None:
        start_ns = TIME_MIN_NS if start is None else time_ns(start, "start")
        self._core: _core.SimulatedClock = _core.SimulatedClock(start_ns)

    def now(self) -> np.datetime64 | None:
        """The time, ``datetime64[ns]`` UTC; None before it has begun."""
        now = self.now_ns()
        return None if now == TIME_MIN_NS else np.datetime64(now, "ns")

    def now_ns(self) -> int:
        """The time in nanoseconds since the epoch, UTC; that of 1900 before it has begun."""
        return self._core.now()

    def advance(self, time: Any) -> None:
        """Moves the clock to ``time``; the same time again is no step.

        Bars close when their engine sees it: :meth:`klineagg.Engine.advance` does both.

        Raises:
            EngineError: ``clock_backwards``; the clock then stays as it was.
            OptionError: ``invalid_option``.
        """
        self._core.advance(time_ns(time, "time"))

    def __repr__(self) -> str:
        now = self.now()
        return "SimulatedClock()" if now is None else f"SimulatedClock({str(now)!r})"


def as_clock(clock: Any) -> SimulatedClock | SystemClock:
    """The clock itself; the system's for None."""
    if clock is None:
        return SystemClock()
    if isinstance(clock, (SimulatedClock, SystemClock)):
        return clock
    text = f"clock={clock!r} is neither a SystemClock nor a SimulatedClock"
    raise errors.make("invalid_option", text, option="clock")
