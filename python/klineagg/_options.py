"""The options of an aggregation, checked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Final

import numpy as np

from klineagg import _core, errors
from klineagg.symbols import intern

__all__ = ["TIME_NONE", "Options", "duration_ns", "time_ns"]

TIME_NONE: Final = int(np.iinfo(np.int64).min)
STRICT_ORDER: Final = -1
MAX_LATENESS_NS: Final = 366 * 86_400 * 10**9

BY: Final = ("time", "tick", "volume", "value")


def _invalid(option: str, value: object, wanted: str) -> errors.KlineaggError:
    return errors.make(
        "invalid_option", f"{option}={value!r} is not {wanted}", option=option, value=value
    )


def time_ns(value: Any, option: str) -> int:
    """A point in time as nanoseconds UTC: datetime64, datetime (naive is UTC), or ISO text."""
    if isinstance(value, datetime):
        if value.tzinfo is not None:
            value = value.astimezone(timezone.utc).replace(tzinfo=None)
        return int(np.datetime64(value, "ns").astype(np.int64))
    if isinstance(value, np.datetime64):
        return int(value.astype("datetime64[ns]").astype(np.int64))
    if isinstance(value, str):
        try:
            return time_ns(datetime.fromisoformat(value.replace("Z", "+00:00")), option)
        except ValueError:
            raise _invalid(option, value, "a time such as '2024-01-01T00:00'") from None
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return int(value)
    raise _invalid(option, value, "a time (datetime64, datetime, ISO text, or ns)")


def duration_ns(value: Any, option: str) -> int:
    """A length of time in nanoseconds: text such as '5s', timedelta, or integer ns."""
    if isinstance(value, timedelta):
        return round(value / timedelta(microseconds=1)) * 1000
    if isinstance(value, np.timedelta64):
        return int(value.astype("timedelta64[ns]").astype(np.int64))
    if isinstance(value, str):
        interval = _core.Interval.parse(value)
        if interval.kind == "fixed":
            return int(interval.period)
    elif isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return int(value)
    raise _invalid(option, value, "a duration such as '5s', a timedelta, or ns")


def _choice(value: str, option: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise _invalid(option, value, "one of " + ", ".join(map(repr, choices)))
    return value


@dataclass(frozen=True)
class Options:
    """Arguments of :func:`klineagg.aggregate`; its documentation says what they mean."""

    threads: int = 1
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
        _choice(self.late, "late", ("raise", "drop", "amend"))
        _choice(self.gaps, "gaps", ("none", "runs", "flat"))
        _choice(self.on_bad, "on_bad", ("raise", "count"))
        _choice(self.by, "by", BY)
        if isinstance(self.threads, bool) or not isinstance(self.threads, (int, np.integer)):
            raise _invalid("threads", self.threads, "an integer")
        if self.partials and self.gaps != "none":
            raise _invalid("partials", True, "possible with gaps: merge first, then fill them")
        if (self.by != "time") != (self.threshold is not None):
            raise _invalid("threshold", self.threshold, f"what by={self.by!r} needs")
        object.__setattr__(self, "core", self._for_time() if self.by == "time" else {})
        if self.by != "time":
            self._check_activity()

    def _check_activity(self) -> None:
        defaults = Options()
        for name in ("lateness", "gaps", "coverage", "last_prices", "partials"):
            if getattr(self, name) != getattr(defaults, name):
                raise _invalid(name, getattr(self, name), f"possible with by={self.by!r}")

    def _for_time(self) -> dict[str, Any]:
        lateness_ns = STRICT_ORDER
        if self.lateness is not None:
            lateness_ns = duration_ns(self.lateness, "lateness")
            if not 0 <= lateness_ns <= MAX_LATENESS_NS:
                raise _invalid("lateness", self.lateness, "in 0 ... 366 days")
        elif self.late != "raise":
            raise _invalid("late", self.late, "possible without a lateness; pass lateness=0")
        horizon = {}
        if self.amend_horizon is not None:
            if self.late != "amend":
                raise _invalid("amend_horizon", self.amend_horizon, "possible without late='amend'")
            horizon["amend_horizon_ns"] = duration_ns(self.amend_horizon, "amend_horizon")
            if not 0 <= horizon["amend_horizon_ns"] <= MAX_LATENESS_NS:
                raise _invalid("amend_horizon", self.amend_horizon, "in 0 ... 366 days")
        start, end = self.coverage if self.coverage is not None else (None, None)
        start_ns = TIME_NONE if start is None else time_ns(start, "coverage")
        end_ns = TIME_NONE if end is None else time_ns(end, "coverage")
        if start is not None and end is not None and start_ns > end_ns:
            raise _invalid("coverage", self.coverage, "a start before an end")
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
            "threads": int(self.threads),
            "last_prices": self._seeds(),
            **horizon,
        }

    def _seeds(self) -> dict[int, float]:
        seeds = {}
        for symbol, price in (self.last_prices or {}).items():
            id_ = int(intern(symbol)[0]) if isinstance(symbol, str) else int(symbol)
            if not np.isfinite(price) or (price <= 0 and not self.allow_nonpositive_prices):
                raise _invalid("last_prices", {symbol: price}, "a price")
            seeds[id_] = float(price)
        return seeds

    @property
    def core_on_bad(self) -> Any:
        return _core.BadRows.raise_ if self.on_bad == "raise" else _core.BadRows.count
