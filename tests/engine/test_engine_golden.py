"""Real trades: an engine and a batch make the same bars."""

from __future__ import annotations

import numpy as np
import pytest

import klineagg
from klineagg import Bars, SimulatedClock
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
