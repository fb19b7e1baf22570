"""The options of a live engine, checked once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from klineagg import _core, errors
from klineagg._engine_clock import SimulatedClock, SystemClock
from klineagg._options import (
    MAX_LATENESS_NS,
    TIME_MAX_NS,
    TIME_MIN_NS,
    TIME_NONE,
    Options,
    _choice,
    _invalid,
    _is_integer,
    duration_ns,
    time_ns,
)
from klineagg.aggregation import _time_range
from klineagg.columns import TradeChunk
from klineagg.intervals import Interval

__all__ = ["Reach", "core_options", "coverage_start_ns", "seeds_of", "span_ns"]

WORKERS_MAX: Final = 64
LANE_CAPACITY_MAX: Final = 2**28
_YEAR_NS: Final = 366 * 86_400 * 10**9


def span_ns(value: Any, option: str, *, most: int = MAX_LATENESS_NS) -> int:
    """A length of time of 0 up to ``most`` nanoseconds."""
    ns = duration_ns(value, option)
    if not 0 <= ns <= most:
        raise _invalid(option, value, "in 0 ... 366 days")
    return ns


def core_options(
    *,
    clock: SimulatedClock | SystemClock,
    workers: int,
    cores: Sequence[int] | None,
    wait: str,
    policy: str,
    push_timeout: Any,
    lane_capacity: int,
    lateness: Any,
    late: str,
    amend_horizon: Any,
    gaps: str,
    close_delay: Any,
    max_ahead: Any,
    lease: Any,
    admit_unknown: bool,
    allow_nonpositive_prices: bool,
    last_prices: Mapping[str | int, float] | None,
    coverage_start: Any,
    unacknowledged_max: int,
    on_bound: str,
) -> dict[str, Any]:
    """The arguments of :class:`klineagg.Engine` as the core's options."""
    _choice(late, "late", ("drop", "amend"))
    _choice(gaps, "gaps", ("none", "runs", "flat"))
    _choice(wait, "wait", ("spin", "backoff", "park"))
    _choice(policy, "policy", ("block", "drop_newest", "drop_oldest"))
    _choice(on_bound, "on_bound", ("lose", "block"))
    for name, value in (
        ("admit_unknown", admit_unknown),
        ("allow_nonpositive_prices", allow_nonpositive_prices),
    ):
        if not isinstance(value, (bool, np.bool_)):
            raise _invalid(name, value, "True or False")
    seeds = seeds_of(last_prices, bool(allow_nonpositive_prices))
    start_ns = TIME_NONE
    if seeds or coverage_start is not None:
        start_ns = coverage_start_ns(coverage_start, "coverage_start", clock)
    options: dict[str, Any] = {
        "lateness_ns": span_ns(lateness, "lateness"),
        "late": getattr(_core.LatePolicy, late),
        "gaps": getattr(_core.GapMode, gaps),
        "coverage_start": start_ns,
        "workers": _count(workers, "workers", 1, WORKERS_MAX),
        "cores": _cores(cores, workers),
        "wait": getattr(_core.WaitKind, wait),
        "policy": getattr(_core.LanePolicy, policy),
        "block_timeout_ns": span_ns(push_timeout, "push_timeout"),
        "lane_capacity": _count(lane_capacity, "lane_capacity", 1, LANE_CAPACITY_MAX),
        "close_delay_ns": span_ns(close_delay, "close_delay"),
        "lease_ns": span_ns(lease, "lease"),
        "admit_unknown": bool(admit_unknown),
        "allow_nonpositive_prices": bool(allow_nonpositive_prices),
        "last_prices": seeds,
        "unacknowledged_rows_max": _count(unacknowledged_max, "unacknowledged_max", 1, 2**40),
        "on_bound": getattr(_core.BoundPolicy, on_bound),
    }
    if amend_horizon is not None:
        options["amend_horizon_ns"] = span_ns(amend_horizon, "amend_horizon")
    else:
        options["amend_horizon_ns"] = _core.HORIZON_UNLIMITED
    options["max_ahead_ns"] = (
        _core.HORIZON_UNLIMITED if max_ahead is None else span_ns(max_ahead, "max_ahead")
    )
    return options


def _count(value: Any, option: str, least: int, most: int) -> int:
    if not _is_integer(value) or not least <= value <= most:
        raise _invalid(option, value, f"an integer in {least} ... {most}")
    return int(value)


def _cores(cores: Sequence[int] | None, workers: int) -> list[int]:
    if cores is None:
        return []
    if isinstance(cores, str) or not isinstance(cores, Sequence) or len(cores) != workers:
        raise _invalid("cores", cores, f"a list of {workers} cores, one for each worker")
    return [_count(core, "cores", 0, 2**20) for core in cores]


def seeds_of(
    last_prices: Mapping[str | int, float] | None, allow_nonpositive_prices: bool
) -> dict[int, float]:
    """Last known prices by symbol id."""
    seeds: dict[int, float] = Options(
        last_prices=last_prices, allow_nonpositive_prices=allow_nonpositive_prices
    ).core["last_prices"]
    return seeds


def coverage_start_ns(value: Any, option: str, clock: SimulatedClock | SystemClock) -> int:
    """A time, or the clock's when there is none; ``TIME_NONE`` before that has begun."""
    if value is not None:
        return time_ns(value, option)
    now = clock.now_ns()
    return TIME_NONE if now == TIME_MIN_NS else now


@dataclass(frozen=True)
class Reach:
    """The times for which the boundaries of wall clocks are worked out, ``[start, end)``."""

    start_ns: int
    end_ns: int
    matters: bool

    @classmethod
    def of(cls, intervals: Sequence[Interval], clock: SimulatedClock | SystemClock) -> Reach:
        """Around the clock's time, or a century where that is not known yet."""
        matters = any(each.tz is not None for each in intervals)
        now = clock.now_ns()
        if now == TIME_MIN_NS:
            return cls(0, 100 * _YEAR_NS, matters)
        start, end = now - 2 * _YEAR_NS, now + 20 * _YEAR_NS
        return cls(max(start, TIME_MIN_NS), min(end, TIME_MAX_NS), matters)

    def in_core(self, intervals: Sequence[Interval]) -> list[_core.Interval]:
        """The core's intervals, right for every time in reach."""
        whole = TIME_MIN_NS, TIME_MAX_NS  # of a table of sessions: it is there already
        return [
            each.to_core(*(whole if each.kind == "sessions" else (self.start_ns, self.end_ns)))
            for each in intervals
        ]

    def check(self, chunk: TradeChunk) -> None:
        """Refuses trades beyond it: they would be counted as outside of all bars.

        Raises:
            OptionError: ``invalid_option``.
        """
        times = _time_range(chunk) if self.matters and len(chunk) else ()
        if times and not (self.start_ns <= times[0] and times[1] < self.end_ns):
            first, last = np.datetime64(self.start_ns, "ns"), np.datetime64(self.end_ns, "ns")
            text = f"trades lie outside {first} ... {last}, where wall clocks are worked out"
            hint = "give the simulated clock a start near the trades"
            raise errors.make("invalid_option", text, hint=hint, option="intervals")
