"""The options of an aggregation, checked once."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import numpy as np

from klineagg import _core, errors
from klineagg._bars_time import to_ns
from klineagg.symbols import intern

__all__ = ["TIME_MAX_NS", "TIME_MIN_NS", "TIME_NONE", "Options", "duration_ns", "time_ns"]

TIME_NONE: Final = int(np.iinfo(np.int64).min)
STRICT_ORDER: Final = -1
MAX_LATENESS_NS: Final = 366 * 86_400 * 10**9
THREADS_MAX: Final = 256
# The times (1900 to 2200) and the amounts that the core takes.
TIME_MIN_NS: Final = -25_567 * 86_400 * 10**9
TIME_MAX_NS: Final = 84_006 * 86_400 * 10**9
# Intervals are whole seconds, lengths of time need not be; nor do they have to be above zero.
_PART_OF_A_SECOND: Final = re.compile(r"(\d{1,12})(ms|us|ns|s)")
_UNITS_NS: Final = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}
AMOUNT_MIN: Final = 2.0**-100
AMOUNT_MAX: Final = 2.0**100

BY: Final = ("time", "tick", "volume", "value")


def invalid(option: str, value: object, wanted: str) -> errors.KlineaggError:
    return errors.make(
        "invalid_option", f"{option}={value!r} is not {wanted}", option=option, value=value
    )


def is_integer(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def threads_of(value: Any) -> int:
    """A number of threads; ``"auto"``: as many as the process may use."""
    if isinstance(value, str) and value == "auto":
        allowed = getattr(os, "sched_getaffinity", None)
        return min(len(allowed(0)) if allowed else os.cpu_count() or 1, THREADS_MAX)
    if not is_integer(value) or not 1 <= value <= THREADS_MAX:
        raise invalid("threads", value, f"an integer in 1 ... {THREADS_MAX}, or 'auto'")
    return int(value)


def is_number(value: object) -> bool:
    return is_integer(value) or isinstance(value, (float, np.floating))


def check_bool(value: object, option: str) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise invalid(option, value, "True or False")
    return bool(value)


def check_bytes(value: object, option: str) -> None:
    """Refuses what holds no bytes, before the core says so in words of its own."""
    try:
        memoryview(value)  # type: ignore[arg-type]
    except TypeError:
        raise invalid(option, value, "bytes, or anything that holds some") from None


def time_ns(value: Any, option: str) -> int:
    """A point in time from 1900 up to 2200 as nanoseconds UTC: see `to_ns`."""
    ns = to_ns(value, option)
    if not TIME_MIN_NS <= ns < TIME_MAX_NS:
        raise invalid(option, value, "a time from 1900 up to 2200")
    return ns


def duration_ns(value: Any, option: str) -> int:
    """A length of time in nanoseconds: text such as '5s' or '250ms', timedelta, or integer ns."""
    ns: int | None = None
    if isinstance(value, timedelta):
        ns = value // timedelta(microseconds=1) * 1000
    elif isinstance(value, np.timedelta64):
        # NumPy would take a month for 30.4 days.
        ns = None if np.datetime_data(value.dtype)[0] in ("Y", "M") else _exact_ns(value)
    elif isinstance(value, str) and (part := _PART_OF_A_SECOND.fullmatch(value)):
        ns = int(part[1]) * _UNITS_NS[part[2]]
    elif isinstance(value, str):
        with suppress(errors.IntervalError):
            interval = _core.Interval.parse(value)
            ns = int(interval.period) if interval.kind == "fixed" and not interval.phase else None
    elif is_integer(value):
        ns = int(value)
    if ns is None:
        raise invalid(option, value, "a duration such as '5s', a timedelta, or ns")
    return ns


def _exact_ns(value: np.datetime64 | np.timedelta64) -> int | None:
    """A time or a duration in nanoseconds; None where they cannot hold it, and for NaT."""
    in_ns = value.astype(f"{value.dtype.kind}8[ns]")
    # NumPy wraps around silently; the way back does not lead to the same value then.
    return int(in_ns.astype(np.int64)) if in_ns.astype(value.dtype) == value else None


def choice(value: str, option: str, choices: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in choices:
        raise invalid(option, value, "one of " + ", ".join(map(repr, choices)))
    return value


@dataclass(frozen=True)
class Options:
    """Arguments of :func:`klineagg.aggregate`; its documentation says what they mean."""

    threads: int | str = 1
    lateness: Any = None
    late: str = "raise"
    amend_horizon: Any = None
    gaps: str = "none"
    coverage: tuple[Any, Any] | None = None
    include_open: bool = True
    last_prices: Mapping[str | int, float] | None = None
    on_bad: str = "raise"
    allow_nonpositive_prices: bool = False
    by: str = "time"
    threshold: float | None = None
    partials: bool = False
    core: dict[str, Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        choice(self.late, "late", ("raise", "drop", "amend"))
        choice(self.gaps, "gaps", ("none", "runs", "flat"))
        choice(self.on_bad, "on_bad", ("raise", "count"))
        choice(self.by, "by", BY)
        for name in ("include_open", "allow_nonpositive_prices", "partials"):
            if not isinstance(getattr(self, name), (bool, np.bool_)):
                raise invalid(name, getattr(self, name), "True or False")
        threads_of(self.threads)
        if self.partials and self.gaps != "none":
            raise invalid("partials", True, "possible with gaps: merge first, then fill them")
        if (self.by != "time") != (self.threshold is not None):
            wanted = (
                "a positive number, which by={!r} needs"
                if self.by != "time"
                else ("None, which by={!r} needs: bars by time have intervals")
            )
            raise invalid("threshold", self.threshold, wanted.format(self.by))
        if self.threshold is not None and not (
            is_number(self.threshold) and 0 < self.threshold <= AMOUNT_MAX
        ):
            raise invalid("threshold", self.threshold, "a positive number")
        object.__setattr__(self, "core", self._for_time() if self.by == "time" else {})
        if self.by != "time":
            self._check_activity()

    def _check_activity(self) -> None:
        defaults = Options()
        names = ("lateness", "late", "amend_horizon", "gaps", "coverage", "last_prices", "partials")
        for name in names:
            value, default = getattr(self, name), getattr(defaults, name)
            # Not by comparing alone: arrays and tables have no truth value of their own.
            same = value is default or (isinstance(value, (str, np.bool_)) and value == default)
            if not same:
                raise invalid(name, value, f"possible with by={self.by!r}")

    def _for_time(self) -> dict[str, Any]:
        lateness_ns = STRICT_ORDER
        if self.lateness is not None:
            lateness_ns = duration_ns(self.lateness, "lateness")
            if not 0 <= lateness_ns <= MAX_LATENESS_NS:
                raise invalid("lateness", self.lateness, "in 0 ... 366 days")
        elif self.late != "raise":
            raise invalid("late", self.late, "possible without a lateness; pass lateness=0")
        horizon = {}
        if self.amend_horizon is not None:
            if self.late != "amend":
                raise invalid("amend_horizon", self.amend_horizon, "possible without late='amend'")
            horizon["amend_horizon_ns"] = duration_ns(self.amend_horizon, "amend_horizon")
            if not 0 <= horizon["amend_horizon_ns"] <= MAX_LATENESS_NS:
                raise invalid("amend_horizon", self.amend_horizon, "in 0 ... 366 days")
        start, end = self._coverage()
        start_ns = TIME_NONE if start is None else time_ns(start, "coverage")
        end_ns = TIME_NONE if end is None else time_ns(end, "coverage")
        if start is not None and end is not None and start_ns > end_ns:
            raise invalid("coverage", self.coverage, "a start before an end")
        return {
            "lateness_ns": lateness_ns,
            "late": getattr(_core.LatePolicy, {"raise": "raise_"}.get(self.late, self.late)),
            "gaps": getattr(_core.GapMode, self.gaps),
            "include_open": bool(self.include_open),
            "coverage_start": start_ns,
            "coverage_end": end_ns,
            "on_bad": self.core_on_bad,
            "allow_nonpositive_prices": bool(self.allow_nonpositive_prices),
            "with_partials": bool(self.partials),
            "threads": threads_of(self.threads),
            "last_prices": self._seeds(),
            **horizon,
        }

    def _coverage(self) -> tuple[Any, Any]:
        if self.coverage is None:
            return None, None
        try:
            start, end = () if isinstance(self.coverage, str) else self.coverage
        except (TypeError, ValueError):
            raise invalid("coverage", self.coverage, "a pair (start, end)") from None
        return start, end

    def _seeds(self) -> dict[int, float]:
        prices = {} if self.last_prices is None else self.last_prices
        if not isinstance(prices, Mapping):
            raise invalid("last_prices", prices, "a mapping of symbols to prices")
        seeds = {}
        for symbol, price in prices.items():
            if not isinstance(symbol, str) and not (is_integer(symbol) and 0 <= symbol < 2**31):
                raise invalid("last_prices", {symbol: price}, "of a symbol or its id")
            if not self._is_price(price):
                raise invalid("last_prices", {symbol: price}, "a price")
            id_ = int(intern(symbol)[0]) if isinstance(symbol, str) else int(symbol)
            seeds[id_] = float(price)
        return seeds

    def _is_price(self, price: Any) -> bool:
        if not is_number(price) or (price <= 0 and not self.allow_nonpositive_prices):
            return False
        return bool(price == 0 or AMOUNT_MIN <= abs(price) <= AMOUNT_MAX)

    @property
    def core_on_bad(self) -> Any:
        return _core.BadRows.raise_ if self.on_bad == "raise" else _core.BadRows.count
