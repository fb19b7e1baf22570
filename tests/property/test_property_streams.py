"""Chunks, threads and disorder: the same trades give the same bars, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import klineagg
import reference as ref
from property.harness import (
    Rows,
    assert_matches_reference,
    assert_same_bars,
    assert_same_report,
    assert_same_rows,
    ordered,
    run,
    run_in_chunks,
    to_arguments,
    to_columns,
    to_intervals,
    to_rows,
)
from property.strategies import (
    DAY,
    FINE,
    HOUR,
    MINUTE,
    SECOND,
    coverages,
    cuts,
    disordered,
    interval_sets,
    scales,
    streams,
)


def joined(parts: Sequence[klineagg.Bars], names: Sequence[str]) -> Rows:
    return ordered([row for part in parts for row in to_rows(part)], names)


@given(st.data())
def test_chunks_of_any_size(data: st.DataObject) -> None:
    scale = data.draw(scales)
    trades = data.draw(streams(scale))
    intervals = data.draw(interval_sets(scale, trades))
    options = data.draw(coverages(trades, scale))
    names = [interval.name for interval in intervals]
    parts, report = run_in_chunks(trades, intervals, options, data.draw(cuts(trades)))
    expected = ref.evaluate(trades, intervals, options)
    assert_same_rows(joined(parts, names), ordered(expected.rows, names))
    assert_same_report(report, expected)
    # What an update returns is final.
    assert all((part["flags"] & ref.CLOSED).all() for part in parts[:-1])


@given(st.data())
def test_an_update_that_raises_has_changed_nothing(data: st.DataObject) -> None:
    scale = data.draw(scales)
    trades = data.draw(streams(scale))
    intervals = data.draw(interval_sets(scale, trades))
    options = data.draw(coverages(trades, scale))
    aggregator = klineagg.Aggregator(to_intervals(intervals), **to_arguments(options))
    cut = data.draw(st.integers(0, len(trades)))
    rest = trades[cut:]
    bad = data.draw(
        st.sampled_from(
            [
                [ref.Trade("A", trades[-1].time if trades else 0, -1.0, 1.0)],
                [ref.Trade("C", 2 * DAY, 1.0, 1.0), ref.Trade("C", 0, 1.0, 1.0)],
            ]
        )
    )
    parts = [aggregator.update(to_columns(trades[:cut]))]
    with pytest.raises(klineagg.KlineaggError):
        aggregator.update(to_columns(rest + bad))
    parts += [aggregator.update(to_columns(rest)), aggregator.finish()]
    names = [interval.name for interval in intervals]
    expected = ref.evaluate(trades, intervals, options)
    assert_same_rows(joined(parts, names), ordered(expected.rows, names))
    assert_same_report(aggregator.report, expected)


@given(st.data(), st.integers(2, 4))
def test_threads(data: st.DataObject, threads: int) -> None:
    scale = data.draw(scales)
    trades = data.draw(streams(scale))
    intervals = data.draw(interval_sets(scale, trades))
    options = data.draw(coverages(trades, scale))
    several = run(trades, intervals, options, threads=threads)
    assert_same_bars(several, run(trades, intervals, options, threads=1))


REACHES = st.sampled_from([0, 1, SECOND, 90 * SECOND, HOUR, 2 * DAY])


@given(st.data(), REACHES)
def test_what_an_update_returns_is_all_that_is_closed(data: st.DataObject, reach: int) -> None:
    scale = data.draw(scales)
    trades = data.draw(streams(scale, size=20))
    arrivals = data.draw(disordered(trades, reach))
    intervals = data.draw(interval_sets(scale, trades, most=3))
    names = [interval.name for interval in intervals]
    options = ref.Options(lateness=reach)
    parts, _ = run_in_chunks(arrivals, intervals, options, range(1, len(arrivals)))
    for count in range(1, len(arrivals)):
        seen = arrivals[:count]
        newest = {
            symbol: max((trade.time for trade in seen if trade.symbol == symbol), default=0)
            for symbol in "ABC"
        }
        expected = [
            row | {"flags": row["flags"] | ref.CLOSED}
            for row in ref.aggregate(seen, intervals, options)
            if row["close_time"] <= newest[row["symbol"]] - reach
        ]
        assert_same_rows(joined(parts[:count], names), ordered(expected, names))


@given(st.data(), REACHES)
def test_disorder_within_the_lateness_changes_nothing(data: st.DataObject, reach: int) -> None:
    scale = data.draw(scales)
    trades = data.draw(streams(scale))
    intervals = data.draw(interval_sets(scale, trades))
    options = data.draw(coverages(trades, scale))
    arrivals = data.draw(disordered(trades, reach))
    late = data.draw(st.sampled_from(["raise", "drop"]))
    allowed = replace(options, lateness=reach, late=late)
    klineagg.intern(["A", "B", "C", "D"])
    assert_same_bars(run(arrivals, intervals, allowed), run(trades, intervals, options))
    parts, _ = run_in_chunks(arrivals, intervals, allowed, data.draw(cuts(trades)))
    names = [interval.name for interval in intervals]
    expected = ref.aggregate(trades, intervals, options)
    assert_same_rows(joined(parts, names), ordered(expected, names))


@given(st.data(), REACHES)
def test_late_trades_are_dropped_whatever_the_intervals(data: st.DataObject, reach: int) -> None:
    scale = data.draw(scales)
    trades = data.draw(streams(scale))
    intervals = data.draw(interval_sets(scale, trades))
    options = data.draw(coverages(trades, scale))
    arrivals = data.draw(disordered(trades, 3 * reach + MINUTE, keep_ties=False))
    dropping = replace(options, lateness=reach, late="drop")
    assert_matches_reference(arrivals, intervals, dropping)
    names = [interval.name for interval in intervals]
    parts, report = run_in_chunks(arrivals, intervals, dropping, data.draw(cuts(trades)))
    expected = ref.evaluate(arrivals, intervals, dropping)
    assert_same_rows(joined(parts, names), ordered(expected.rows, names))
    assert_same_report(report, expected)


@given(st.data(), REACHES)
def test_late_trades_raise_when_asked(data: st.DataObject, reach: int) -> None:
    trades = data.draw(streams(FINE))
    arrivals = data.draw(disordered(trades, 3 * reach + MINUTE))
    options = ref.Options(lateness=reach)
    try:
        ref.evaluate(arrivals, [ref.parse("1m")], options)
    except ref.LateTrade:
        with pytest.raises(klineagg.errors.OrderError):
            run(arrivals, [ref.parse("1m")], options)
    else:
        assert_matches_reference(arrivals, [ref.parse("1m")], options)


def many_trades(count: int, symbols: int, seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """A busy day, with bursts and ties; enough to be spread over threads."""
    random = np.random.default_rng(seed)
    steps = random.integers(0, 2 * DAY // count, count) * (random.random(count) < 0.5)
    return {
        "symbol": np.minimum(random.zipf(1.5, count), symbols).astype(np.int32) - 1,
        "time": (20_000 * DAY + np.cumsum(steps)).astype("datetime64[ns]"),
        "price": np.round(100 + np.cumsum(random.normal(0, 0.01, count)), 2),
        "quantity": np.round(random.exponential(2.0, count), 3) + 0.001,
        "side": random.integers(-1, 2, count).astype(np.int8),
        "trade_id": np.arange(count, dtype=np.int64),
    }


SET = ["1s", "1m", "3d", "1w", "1h", "1d@America/New_York", "4h", "1M"]


LARGE = [
    {"gaps": "none"},
    {"gaps": "runs", "include_open": False},
    {
        "gaps": "runs",
        "coverage": (np.datetime64(20_000 * DAY - HOUR, "ns"), np.datetime64(20_002 * DAY, "ns")),
        "last_prices": {0: 101.0, 1: 99.0, 5_000: 1.0},
    },
]


@pytest.mark.parametrize("symbols", [1, 3, 2_000])
@pytest.mark.parametrize("options", LARGE)
def test_a_large_batch_by_threads_and_chunks(symbols: int, options: dict[str, Any]) -> None:
    trades = many_trades(200_000, symbols, seed=symbols)
    whole = klineagg.aggregate(trades, SET, **options)
    for threads in (2, 3, 7):
        assert_same_columns(klineagg.aggregate(trades, SET, threads=threads, **options), whole)
    for edges in ([0, 200_000], [0, 1, 75_000, 75_001, 166_666, 200_000]):
        for threads in (1, 2):
            aggregator = klineagg.Aggregator(SET, threads=threads, **options)
            parts = [
                aggregator.update({name: column[a:b] for name, column in trades.items()})
                for a, b in pairwise(edges)
            ]
            parts.append(aggregator.finish())
            assert_same_columns(klineagg.Bars.concat(parts), whole)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_large_batch_against_the_reference(threads: int) -> None:
    columns = many_trades(60_000, 3, seed=5)
    rows = zip(*(columns[name].tolist() for name in columns), strict=True)
    trades = [ref.Trade(str(symbol), *rest) for symbol, *rest in rows]
    intervals = [ref.parse(name) for name in SET]
    assert_matches_reference(trades, intervals, ref.Options(gaps="runs"), threads=threads)


@pytest.mark.parametrize("symbols", [1, 50])
def test_a_large_batch_with_flags_and_missing_ids_by_threads(symbols: int) -> None:
    trades = many_trades(300_000, symbols, seed=99)
    random = np.random.default_rng(7)
    trades["flags"] = (random.integers(0, 8, 300_000) * (random.random(300_000) < 0.3)).astype("u1")
    trades["trade_id"] = random.integers(-1, 5, 300_000)
    # Whole minutes whose trades all lack a price, so that the previous close matters.
    minute = trades["time"].view(np.int64) // MINUTE
    trades["flags"][minute % 7 < 3] |= 1
    trades["quantity"] *= 10.0 ** random.integers(-15, 15, 300_000)
    whole = klineagg.aggregate(trades, SET, gaps="runs")
    assert_same_columns(klineagg.aggregate(trades, SET, gaps="runs", threads=2), whole)


def assert_same_columns(left: klineagg.Bars, right: klineagg.Bars) -> None:
    assert len(left) == len(right)
    for name in ref.COLUMNS:
        mine, theirs = np.asarray(left[name]), np.asarray(right[name])
        same = mine.view(np.uint8) == theirs.view(np.uint8)
        assert same.all(), (name, np.flatnonzero(~same)[0] // mine.itemsize)
