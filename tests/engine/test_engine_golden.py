"""Real trades: an engine and a batch make the same bars."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klineagg
from klineagg import Bars, SimulatedClock
from klineagg.bars import BarFlag
from klineagg.data import BITMEX_COVERAGE, load_bitmex
from klineagg.engine import Engine

INTERVALS = ["1s", "1m", "5m", "1h", "1d", "1w", "1M", "4h@America/New_York"]


def assert_same(live: Bars, batch: Bars) -> None:
    assert len(live) == len(batch) > 0
    for name in batch.columns:
        assert live.column(name).tobytes() == batch.column(name).tobytes(), name


@pytest.mark.parametrize(("workers", "rows"), [(1, 7_001), (2, 100_000), (3, 911)])
@pytest.mark.parametrize("gaps", ["none", "runs", "flat"])
def test_real_trades_live_and_in_a_batch(workers: int, rows: int, gaps: str) -> None:
    trades = load_bitmex()
    start, end = BITMEX_COVERAGE
    parts = []
    with Engine(
        INTERVALS, workers=workers, clock=SimulatedClock(start), gaps=gaps, coverage_start=start,
        max_ahead=None, late="drop",
    ) as engine:  # fmt: skip
        producer = engine.producer("bitmex")
        for begin in range(0, len(trades), rows):
            result = producer.push(trades[begin : begin + rows])
            assert result.queued == result.offered
            with engine.take("test") as snapshot:
                parts.append(snapshot.closed)
        engine.advance(end)
        with engine.take("test") as snapshot:
            parts += [snapshot.closed, snapshot.open]
        assert engine.counts().accepted == len(trades)
    batch = klineagg.aggregate(trades, INTERVALS, gaps=gaps, coverage=BITMEX_COVERAGE)
    # Runs that still grow are not sent: the batch fills them up to the end of the coverage.
    names = batch.symbol_table
    last = {
        (name, symbol): part.open_time[~(part.flags & 2).astype(bool)].max()
        for symbol, name, part in batch.series()
    }
    keep = np.array(
        [
            time <= last[batch.intervals[interval], names[symbol]]
            for symbol, interval, time in zip(
                batch.symbol.tolist(), batch.interval.tolist(), batch.open_time, strict=True
            )
        ]
    )
    assert_same(Bars.concat(parts).resolve(), batch[keep])


def load(folder: Path, name: str) -> dict[str, np.ndarray[Any, Any]]:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(folder / f"{name}_trades.parquet")
    names = {"ts": "time", "qty": "quantity"}
    columns = {names.get(each, each): table[each].to_numpy() for each in table.column_names}
    return {**columns, "time": columns["time"].astype("M8[ns]")}


def part(trades: dict[str, np.ndarray[Any, Any]], rows: slice) -> dict[str, np.ndarray[Any, Any]]:
    return {name: column[rows] for name, column in trades.items()}


def test_a_million_real_trades_with_a_snapshot_now_and_then(shared_data: Path) -> None:
    trades = load(shared_data, "bitmex_xbtusd")
    start, end = trades["time"][0], trades["time"][-1] + np.timedelta64(62, "D")
    cuts = np.sort(np.random.default_rng(5).choice(len(trades["time"]), 60, replace=False))
    parts = []
    with Engine(INTERVALS, clock=SimulatedClock(start), gaps="none", max_ahead=None) as engine:
        producer = engine.producer()
        for begin, stop in pairwise([0, *cuts.tolist(), len(trades["time"])]):
            producer.push(part(trades, slice(begin, stop)))
            with engine.take("test") as snapshot:
                parts.append(snapshot.closed)
        engine.advance(end)
        with engine.take("test") as snapshot:
            assert len(snapshot.open) == 0
            parts.append(snapshot.closed)
        assert engine.counts().accepted == len(trades["time"])
    batch = klineagg.aggregate(trades, INTERVALS, coverage=(start, end))
    assert_same(Bars.concat(parts), batch)


def test_a_feed_that_says_everything_twice(shared_data: Path) -> None:
    """By the ids of the trades; what comes again is in no bar and counted."""
    trades = load(shared_data, "binance_xrpeth")
    count = len(trades["time"])
    start, end = trades["time"][0], trades["time"][-1] + np.timedelta64(62, "D")
    with Engine(
        INTERVALS, workers=2, clock=SimulatedClock(start), gaps="runs", max_ahead=None, late="drop"
    ) as engine:
        first, second = engine.producer(source=4), engine.producer(source=4)
        for begin in range(0, count, 500):
            first.push(part(trades, slice(begin, begin + 500)))
            first.flush()
            second.push(part(trades, slice(max(begin - 250, 0), begin + 500)))
            second.flush()
        engine.advance(end)
        with engine.take("test") as snapshot:
            live = snapshot.closed
        counts, source = engine.counts(), engine.stats().sources[4]
    again = sum(min(begin + 500, count) - max(begin - 250, 0) for begin in range(0, count, 500))
    assert counts.accepted == count
    assert counts.dropped == {"duplicate": again}
    assert (source.duplicates, source.gaps) == (again, 0)
    batch = klineagg.aggregate(trades, INTERVALS, gaps="none", coverage=(start, end))
    traded = live[(live.flags & BarFlag.GAP) == 0]
    assert_same(traded, batch)
