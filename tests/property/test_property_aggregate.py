"""``klineagg.aggregate`` against the reference on sorted streams."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import klineagg
import reference as ref
from property.harness import (
    assert_matches_reference,
    assert_same_bars,
    assert_same_rows,
    run,
    to_columns,
    to_intervals,
    to_rows,
)
from property.strategies import (
    FINE,
    coverages,
    interval_sets,
    prices,
    quantities,
    scales,
    session_tables,
    shuffled_across_symbols,
    streams,
)


@given(st.data())
def test_bars_are_those_of_the_reference(data: st.DataObject) -> None:
    scale = data.draw(scales)
    trades = data.draw(streams(scale))
    intervals = data.draw(interval_sets(scale, trades))
    options = data.draw(coverages(trades, scale))
    assert_matches_reference(trades, intervals, options)


@given(st.data())
def test_sums_are_correctly_rounded_for_any_amounts(data: st.DataObject) -> None:
    trades = data.draw(streams(FINE, wide=True))
    intervals = data.draw(interval_sets(FINE, trades))
    assert_matches_reference(trades, intervals, ref.Options(gaps="runs"))


@given(st.data())
def test_an_interval_has_the_same_bars_alone_and_beside_others(data: st.DataObject) -> None:
    scale = data.draw(scales)
    trades = data.draw(streams(scale))
    intervals = data.draw(interval_sets(scale, trades))
    options = data.draw(coverages(trades, scale))
    together = to_rows(run(trades, intervals, options))
    for interval in intervals:
        alone = to_rows(run(trades, [interval], options))
        assert_same_rows([r for r in together if r["interval"] == interval.name], alone)


@given(st.data())
def test_the_order_across_symbols_does_not_matter(data: st.DataObject) -> None:
    scale = data.draw(scales)
    trades = data.draw(streams(scale))
    intervals = data.draw(interval_sets(scale, trades))
    options = data.draw(coverages(trades, scale))
    klineagg.intern(["A", "B", "C", "D"])
    shuffled = data.draw(shuffled_across_symbols(trades))
    assert_same_bars(run(shuffled, intervals, options), run(trades, intervals, options))


@given(st.data())
def test_columns_with_default_values_can_be_left_out(data: st.DataObject) -> None:
    trades = data.draw(streams(FINE, plain=True, ids="none"))
    intervals = to_intervals(data.draw(interval_sets(FINE, trades)))
    whole = klineagg.aggregate(to_columns(trades), intervals, gaps="runs")
    unneeded = ("trade_id", "last_trade_id", "flags")
    short = klineagg.aggregate(to_columns(trades, leave_out=unneeded), intervals, gaps="runs")
    assert_same_bars(short, whole)


@given(st.data())
def test_invariants(data: st.DataObject) -> None:
    scale = data.draw(scales)
    trades = data.draw(streams(scale, plain=True))
    intervals = [ref.parse(name) for name in data.draw(st.permutations(scale.intervals))[:4]]
    bars = run(trades, intervals, ref.Options(gaps="flat"))
    rows = to_rows(bars)
    for row in rows:
        assert row["low"] <= row["open"] <= row["high"]
        assert row["low"] <= row["close"] <= row["high"]
        assert 0 <= row["taker_buy_volume"] <= row["volume"]
        assert row["open_time"] < row["close_time"]
        assert (row["trade_count"] == 0) == bool(row["flags"] & ref.GAP)
    # Flat bars leave no holes, and no trade is lost or counted twice.
    for interval in intervals:
        for symbol in {trade.symbol for trade in trades}:
            mine = [r for r in rows if (r["interval"], r["symbol"]) == (interval.name, symbol)]
            theirs = [trade for trade in trades if trade.symbol == symbol]
            assert all(
                a["close_time"] == b["open_time"] for a, b in zip(mine, mine[1:], strict=False)
            )
            assert sum(row["trade_count"] for row in mine) == len(theirs)
            total = math.fsum(trade.quantity for trade in theirs)
            assert math.isclose(math.fsum(row["volume"] for row in mine), total, rel_tol=1e-15)
            assert (mine[0]["open"], mine[-1]["close"]) == (
                min(theirs, key=lambda trade: trade.order).price,
                max(enumerate(theirs), key=lambda pair: (pair[1].order, pair[0]))[1].price,
            )


@given(st.data())
def test_prices_below_zero(data: st.DataObject) -> None:
    trades = data.draw(streams(FINE))
    signs = data.draw(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=len(trades)))
    signed = [
        # Adding 0.0 keeps -0.0 out: it equals 0.0, and either may be the high of a bar.
        replace(trade, price=trade.price * sign + 0.0)
        for trade, sign in zip(trades, signs, strict=False)
    ]
    intervals = data.draw(interval_sets(FINE, signed))
    assert_matches_reference(
        signed, intervals, ref.Options(gaps="runs", allow_nonpositive_prices=True)
    )


@given(st.data())
def test_sessions(data: st.DataObject) -> None:
    trades = data.draw(streams(FINE))
    table = data.draw(session_tables(trades))
    options = data.draw(coverages(trades, FINE))
    bars = assert_matches_reference(trades, [table], options)
    inside = sum(bars["trade_count"].tolist())
    outside = sum(t.count for t in trades if table.span(t.time) is None)
    if options.include_open:
        assert inside + outside == sum(trade.count for trade in trades)


@given(st.data())
def test_the_first_and_last_days_that_are_taken(data: st.DataObject) -> None:
    trades = data.draw(streams(FINE))
    earliest = min((trade.time for trade in trades), default=0)
    latest = max((trade.time for trade in trades), default=0)
    shift = data.draw(st.sampled_from([ref.TIME_MIN - earliest, ref.TIME_MAX - 1 - latest]))
    moved = [replace(trade, time=trade.time + shift) for trade in trades]
    # Wall clocks are cut at these edges; those of UTC go on beyond them.
    names = ["1s", "7s", "1m", "1h", "1d+1s", "3d", "1w", "10d", "1M", "12M+3M", "300M"]
    chosen = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=5, unique=True))
    intervals = [ref.parse(name) for name in chosen]
    assert_matches_reference(moved, intervals, ref.Options(gaps="runs"))


NAN, INF = math.nan, math.inf
bad_values: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"price": NAN},
        {"price": INF},
        {"price": 0.0},
        {"price": -1.0},
        {"price": 2.0**101},
        {"price": 2.0**-101},
        {"quantity": NAN},
        {"quantity": -INF},
        {"quantity": 0.0},
        {"quantity": -2.0},
        {"quantity": 2.0**101},
        {"quantity": 2.0**-101},
        {"price": 2.0**60, "quantity": 2.0**60},
        {"price": 2.0**-60, "quantity": 2.0**-60},
        {"time": ref.NAT},
        {"time": 2**63 - 1},
        {"time": -(2**63) + 1},
        {"trade_id": -2},
        {"trade_id": 7, "last_trade_id": 6},
        {"trade_id": 0, "last_trade_id": 2**32},
        {"flags": 8},
        {"flags": 255},
    ]
)


@given(st.data())
def test_bad_trades_are_counted_by_reason_and_touch_nothing(data: st.DataObject) -> None:
    trades = data.draw(streams(FINE, size=15))
    for _ in range(data.draw(st.integers(1, 4))):
        bad = ref.Trade(
            "A", trades[0].time if trades else 0, data.draw(prices), data.draw(quantities)
        )
        bad = replace(bad, **data.draw(bad_values))
        trades.insert(data.draw(st.integers(0, len(trades))), bad)
    intervals = data.draw(interval_sets(FINE, trades[:0]))
    assert_matches_reference(trades, intervals, ref.Options(gaps="runs", on_bad="count"))
    with pytest.raises(klineagg.KlineaggError):
        run(trades, intervals, ref.Options())


@given(st.data())
def test_time_that_goes_back_is_refused(data: st.DataObject) -> None:
    trades = data.draw(streams(FINE, size=15).filter(lambda trades: len(trades) > 1))
    position = data.draw(st.integers(1, len(trades) - 1))
    symbol = data.draw(st.sampled_from([trade.symbol for trade in trades[:position]]))
    newest = max(trade.time for trade in trades[:position] if trade.symbol == symbol)
    early = ref.Trade(symbol, newest - data.draw(st.sampled_from([1, 10**9, 10**14])), 1.0, 1.0)
    trades.insert(position, early)
    with pytest.raises(ref.Unsorted):
        ref.evaluate(trades, [ref.parse("1m")])
    with pytest.raises(klineagg.errors.OrderError):
        run(trades, [ref.parse("1m")], ref.Options())
