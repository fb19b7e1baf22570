"""Symbols come and go: one or a hundred thousand, idle ones removed, seeded ones flat."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import klineagg
from klineagg import Engine, SimulatedClock
from reference import CLOSED, GAP, GENESIS

T0 = np.datetime64("2024-01-01T00:00:00", "ns")
SECOND = np.timedelta64(1, "s")


def one_each(ids: Any, second: int) -> dict[str, Any]:
    count = len(ids)
    return {
        "symbol": ids,
        "time": np.full(count, T0 + second * SECOND),
        "price": np.asarray(ids) % 89 + 1.0,
        "quantity": np.full(count, 0.5),
    }


@pytest.mark.parametrize("count", [1, 2, 1_000, 100_000])
def test_any_number_of_symbols(count: int) -> None:
    ids = klineagg.intern([f"S{number}-OF-{count}" for number in range(count)]).astype(np.int32)
    late = np.roll(ids, count // 2)[: count // 2 + 1]  # half of them come later, on other workers
    with Engine("1s,1m", workers=2, clock=SimulatedClock(), late="drop") as engine:
        producer = engine.producer()
        producer.push(one_each(late, 0))
        producer.push(one_each(ids, 1))
        engine.rebalance()
        producer.push(one_each(ids, 61))
        engine.advance(T0 + 120 * SECOND)
        with engine.take("lake") as snapshot:
            closed = snapshot.closed
        assert engine.memory().symbol_count == count
    minutes = closed[:, "1m"]
    assert len(minutes) == 2 * count
    assert minutes.trade_count.sum() == len(late) + 2 * count
    traded = closed[:, "1s"]
    traded = traded[traded.trade_count > 0]
    assert len(traded) == len(late) + 2 * count
    prices = traded.column("symbol") % 89 + 1.0
    assert np.array_equal(traded.close, prices)
    assert np.array_equal(traded.quote_volume, 0.5 * prices)


def test_idle_symbols_are_removed_and_may_come_back() -> None:
    names = [f"IDLE-{number}" for number in range(300)]
    ids = klineagg.intern(names).astype(np.int32)
    with Engine("1s", workers=3, clock=SimulatedClock(), late="drop", gaps="none") as engine:
        producer = engine.producer()
        producer.push(one_each(ids, 0))
        engine.flush()
        assert engine.remove_symbol(names[0]) == "open_bars"
        engine.advance(T0 + 5 * SECOND)
        before = engine.memory().symbol_count
        for name in names[:299]:
            assert engine.remove_symbol(name) == "removed"
        assert engine.remove_symbol(names[0]) == "unknown"
        with pytest.raises(klineagg.KlineaggError):
            engine.bars(names[0])
        # Their places are taken by the next ones, their closed bars are still there.
        producer.push(one_each(klineagg.intern([f"NEXT-{k}" for k in range(299)]), 6))
        producer.push(one_each(ids[:1], 7))
        engine.advance(T0 + 9 * SECOND)
        assert engine.memory().symbol_count <= before + 1
        with engine.take("lake") as snapshot:
            closed = snapshot.closed
        assert len(closed) == 300 + 299 + 1
        back = closed[names[0], "1s"]
        assert back.open_time.tolist() == [(T0 + s * SECOND).astype(np.int64) for s in (0, 7)]


@pytest.mark.parametrize("late", ["drop", "amend"])
def test_a_known_last_price_makes_genesis_bars_of_every_interval(late: str) -> None:
    intervals = "1s,1m,1h,1d@America/New_York,1M"
    with Engine(intervals, clock=SimulatedClock(T0), late=late, max_ahead=None) as engine:
        assert engine.add_symbol("GENESIS-1", 42.5)
        opened = engine.view().open
        assert opened.intervals == tuple(intervals.split(","))
        assert sorted(set(opened.column("interval"))) == [0, 1, 2, 3, 4]
        assert set(opened.close) == {42.5}
        assert not opened.volume.any()
        assert all(flags & GENESIS for flags in opened.flags)
        engine.advance(T0 + 3_600 * SECOND)
        engine.producer().push(
            {"symbol": ["GENESIS-1"], "time": [T0 + 3_700 * SECOND], "price": [43.0],
             "quantity": [1.0]}
        )  # fmt: skip
        engine.advance(T0 + 3_720 * SECOND)
        with engine.take("lake") as snapshot:
            closed = snapshot.closed
        minutes = closed["GENESIS-1", "1m"].expand_gaps()
        assert minutes.close.tolist() == [42.5] * 61 + [43.0]
        kinds = minutes.flags & (GENESIS | GAP | CLOSED)
        assert kinds.tolist() == [GENESIS | CLOSED] + [GAP | CLOSED] * 60 + [CLOSED]
        assert (closed["GENESIS-1", "1h"].flags & GENESIS).tolist() == [GENESIS]
