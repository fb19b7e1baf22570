"""Streams with wall clocks: tables have to follow the trades, whatever came first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import klineagg

HOUR_NS = 3600 * 10**9


def hourly_trades(first_day: str, hours: int) -> dict[str, Any]:
    time = np.datetime64(first_day, "ns").astype(np.int64) + np.arange(hours) * HOUR_NS
    return {
        "symbol": "A",
        "time": time,
        "price": 5.0 + np.arange(hours),
        "quantity": np.ones(hours),
    }


def part(trades: dict[str, Any], begin: int, end: int) -> dict[str, Any]:
    return {k: v if isinstance(v, str) else v[begin:end] for k, v in trades.items()}


@pytest.mark.parametrize(
    "intervals",
    ["1d@America/New_York,1h", "1d@Europe/London", ["3d@Asia/Tokyo", "2h@Australia/Lord_Howe"]],
)
def test_an_empty_update_decides_nothing(intervals: Any) -> None:
    trades = hourly_trades("2024-03-08", 24 * 30)
    whole = klineagg.aggregate(trades, intervals)
    stream = klineagg.Aggregator(intervals)
    parts = [stream.update(part(trades, 0, 0))]
    parts += [stream.update(part(trades, at, at + 17)) for at in range(0, 24 * 30, 17)]
    assert klineagg.Bars.concat([*parts, stream.finish()]).equals(whole)


def test_a_day_of_a_clock_change_has_23_hours_in_a_stream() -> None:
    trades = hourly_trades("2024-03-08T05:00", 24 * 5)
    stream = klineagg.Aggregator("1d@America/New_York")
    stream.update(part(trades, 0, 0))
    bars = klineagg.Bars.concat([stream.update(trades), stream.finish()])
    hours = (bars.close_time - bars.open_time).astype("timedelta64[h]").astype(int)
    assert 23 in hours.tolist()


def test_sessions_before_the_coverage_seed_nothing() -> None:
    open_ = np.array(["2020-01-01T10:00"], "datetime64[ns]")
    sessions = klineagg.sessions("old", open_, open_ + np.timedelta64(1, "h"))
    bars = klineagg.aggregate(
        hourly_trades("2024-01-01", 2),
        [sessions],
        lateness=0,
        late="amend",
        coverage=("2024-01-01", None),
        last_prices={"B": 2.0},
    )
    assert len(bars) == 0
