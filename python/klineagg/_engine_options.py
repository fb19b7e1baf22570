"""The options of a live engine, checked once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from klineagg import _core, errors
from klineagg._engine_clock import SimulatedClock, SystemClock
from klineagg._options import (
    MAX_LATENESS_NS,
    TIME_MIN_NS,
    TIME_NONE,
    Options,
    choice,
    duration_ns,
    invalid,
    is_integer,
    time_ns,
)
from klineagg.intervals import Interval
from klineagg.symbols import intern

__all__ = [
    "core_options",
    "count",
    "coverage_start_ns",
    "horizon_ns",
    "name_of",
    "seeds_of",
    "span_ns",
    "symbol_id",
]

WORKERS_MAX: Final = 64
LANE_CAPACITY_MAX: Final = 2**28


def span_ns(value: Any, option: str, *, most: int = MAX_LATENESS_NS) -> int:
    """A length of time of 0 up to ``most`` nanoseconds."""
    ns = duration_ns(value, option)
    if not 0 <= ns <= most:
        raise invalid(option, value, "in 0 ... 366 days")
    return ns


def name_of(interval: Interval | str) -> str:
    """The name of what may be one already."""
    return interval if isinstance(interval, str) else str(interval.name)


def horizon_ns(value: Any, option: str) -> int:
    """As :func:`span_ns`; None: without end."""
    return int(_core.HORIZON_UNLIMITED) if value is None else span_ns(value, option)


def symbol_id(symbol: str | int) -> int:
    """The id of a symbol that is given by its name or its id."""
    if isinstance(symbol, str):
        return int(intern(symbol)[0])
    if not is_integer(symbol) or not 0 <= symbol < 2**31:
        text = f"symbol={symbol!r} is neither a name nor an id"
        raise errors.make("invalid_option", text, option="symbol", value=symbol)
    return int(symbol)


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
    on_bound: str | None,
    wal_path: str | None,
    keep_bars: int,
    shared_snapshots: bool,
    bus: Any,
) -> dict[str, Any]:
    """The arguments of :class:`klineagg.Engine` as the core's options."""
    choice(late, "late", ("drop", "amend"))
    choice(gaps, "gaps", ("none", "runs", "flat"))
    choice(wait, "wait", ("spin", "backoff", "park"))
    choice(policy, "policy", ("block", "drop_newest", "drop_oldest"))
    if on_bound is None:
        on_bound = "lose" if wal_path is None else "evict"
    choice(on_bound, "on_bound", ("lose", "block", "evict"))
    if on_bound == "evict" and wal_path is None:
        raise invalid("on_bound", on_bound, '"lose" or "block" without a log')
    for name, value in (
        ("admit_unknown", admit_unknown),
        ("allow_nonpositive_prices", allow_nonpositive_prices),
        ("shared_snapshots", shared_snapshots),
    ):
        if not isinstance(value, (bool, np.bool_)):
            raise invalid(name, value, "True or False")
    seeds = seeds_of(last_prices, bool(allow_nonpositive_prices))
    start_ns = TIME_NONE
    if seeds or coverage_start is not None:
        start_ns = coverage_start_ns(coverage_start, "coverage_start", clock)
    options: dict[str, Any] = {
        "lateness_ns": span_ns(lateness, "lateness"),
        "late": getattr(_core.LatePolicy, late),
        "amend_horizon_ns": horizon_ns(amend_horizon, "amend_horizon"),
        "gaps": getattr(_core.GapMode, gaps),
        "coverage_start": start_ns,
        "workers": count(workers, "workers", 1, WORKERS_MAX),
        "cores": _cores(cores, workers),
        "wait": getattr(_core.WaitKind, wait),
        "policy": getattr(_core.LanePolicy, policy),
        "block_timeout_ns": span_ns(push_timeout, "push_timeout"),
        "lane_capacity": count(lane_capacity, "lane_capacity", 1, LANE_CAPACITY_MAX),
        "close_delay_ns": span_ns(close_delay, "close_delay"),
        "max_ahead_ns": horizon_ns(max_ahead, "max_ahead"),
        "lease_ns": span_ns(lease, "lease"),
        "admit_unknown": bool(admit_unknown),
        "allow_nonpositive_prices": bool(allow_nonpositive_prices),
        "last_prices": seeds,
        "unacknowledged_rows_max": count(unacknowledged_max, "unacknowledged_max", 1, 2**40),
        "on_bound": getattr(_core.BoundPolicy, on_bound),
        "eviction_folder": wal_path or "",
        "keep_bars": count(keep_bars, "keep_bars", 0, 2**24),
        "shared_snapshots": bool(shared_snapshots),
    }
    if bus is not None:
        options["feed"] = _feed_core(bus)
    return options


def count(value: Any, option: str, least: int, most: int) -> int:
    if not is_integer(value) or not least <= value <= most:
        raise invalid(option, value, f"an integer in {least} ... {most}")
    return int(value)


def _cores(cores: Sequence[int] | None, workers: int) -> list[int]:
    if cores is None:
        return []
    if isinstance(cores, (str, bytes)) or not isinstance(cores, Sequence) or len(cores) != workers:
        raise invalid("cores", cores, f"a list of {workers} cores, one for each worker")
    return [count(core, "cores", 0, 2**20) for core in cores]


def _feed_core(bus: Any) -> _core.BusEngineFeed:
    """What the workers publish by."""
    core = getattr(bus, "_core", None)
    if not isinstance(core, _core.BusEngineFeed):
        text = f"bus={bus!r} does not say what is published in which topic"
        hint = "pass an EngineFeed: Engine(..., bus=EngineFeed(Bus(), bars='bars'))"
        raise errors.make("invalid_option", text, hint=hint, option="bus")
    return core


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
