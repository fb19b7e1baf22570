"""Intervals that come later: a lake makes their bars of the finer ones that it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klineagg
from klineagg import Bars, Engine, SimulatedClock
from klineagg.bars import COLUMNS, BarFlag
from klineagg.data import load_bitmex
from klineagg.lake import Lake

pytest.importorskip("duckdb")

SUMS = ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")


def trades(count: int = 60_000) -> dict[str, np.ndarray[Any, Any]]:
    """Of two symbols, the other one with holes."""
    source = load_bitmex()[:count]
    out = {name: source[name] for name in ("time", "price", "quantity", "side")}
    out["symbol"] = np.where(np.arange(count) % 1_000 < 3, "SELDOM", "OFTEN")
    out["trade_id"] = np.arange(count)
    return out


def part(rows: dict[str, Any], begin: int, end: int | None) -> dict[str, Any]:
    return {name: column[begin:end] for name, column in rows.items()}


def store(engine: Engine, lake: Lake) -> None:
    with engine.take("lake", checkpoint=False) as snapshot:
        lake.commit(snapshot)


def assert_filled(found: Bars, wanted: Bars) -> None:
    """All columns but the revisions; sums to the last bits."""
    assert len(found) == len(wanted) > 0
    for name in COLUMNS[2:]:
        a, b = found.column(name), wanted.column(name)
        if name in SUMS:
            np.testing.assert_allclose(a, b, rtol=1e-15)
        elif name == "flags":
            assert np.array_equal(a & ~np.uint16(BarFlag.REVISED), b)
        elif name != "revision":
            assert np.array_equal(a.view(f"u{a.dtype.itemsize}"), b.view(f"u{b.dtype.itemsize}"))


def test_an_interval_that_comes_while_it_runs_has_its_past_too(tmp_path: Path) -> None:
    rows = trades()
    late = "1m,5m,15m+1m,1h,1h@America/New_York,1d"
    clock = SimulatedClock()
    with (
        Lake(tmp_path) as lake,
        Engine("1m", clock=clock, max_ahead=None, amend_horizon="1m", gaps="runs") as engine,
    ):
        feed = engine.producer()
        feed.push(part(rows, 0, 40_000))
        store(engine, lake)
        engine.reconfigure(intervals=late)
        feed.push(part(rows, 40_000, None))
        end = rows["time"][-1] + np.timedelta64(1, "s")
        engine.advance(end)
        store(engine, lake)
        cut = lake.bars("OFTEN", "1h", include_open=False)
        assert len(cut) and cut.flags[0] & BarFlag.PARTIAL
        assert lake.fill(late) > 0
        assert lake.fill(late) == 0, "that was all"
        wanted = klineagg.aggregate(
            rows, late, gaps="flat", coverage=(None, end), include_open=False, progress=False
        )
        for symbol in ("OFTEN", "SELDOM"):
            first = lake.bars(symbol, "1m").open_time[0]
            for name in late.split(","):
                found = lake.bars(symbol, name, include_open=False)
                # The gap behind the last trade is told of with the next one.
                ends = found.close_time.max() if len(found) else first
                ours = wanted[symbol, name]
                # In front, a bar is cut by where the trades begin.
                inside = (ours.open_time >= first) & (ours.close_time <= ends)
                found = found[np.flatnonzero(found.open_time >= first)]
                if inside.any() or len(found):
                    assert_filled(found, ours[np.flatnonzero(inside)])
        assert len(lake.bars("OFTEN", "5m", include_open=False)) > 40
        # What was there before is reached by time travel.
        (number, *_) = lake.snapshots()[-1]
        assert len(lake.bars("OFTEN", "5m", include_open=False, as_of=number))


def test_a_lake_that_lacks_nothing_is_left_as_it_is(tmp_path: Path) -> None:
    rows = trades(20_000)
    with (
        Lake(tmp_path) as lake,
        Engine("1s,1m,1h", clock=SimulatedClock(), max_ahead=None) as engine,
    ):
        assert lake.fill("1s,1m,1h") == 0  # nothing is there yet
        engine.producer().push(rows)
        engine.flush()
        store(engine, lake)
        assert lake.fill("1s,1m,1h") == 0
