"""Tick, volume and value bars against the reference."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

import klineagg
import reference as ref
from property.harness import assert_same_rows, ordered, run, run_in_chunks, to_columns, to_rows
from property.strategies import FINE, cuts, shuffled_across_symbols, streams

kinds = st.sampled_from(
    [("tick", 1), ("tick", 3), ("volume", 0.5), ("volume", 7.3), ("value", 10.0), ("value", 2e4)]
)


def expected_rows(trades: list[ref.Trade], options: ref.Options, name: str) -> list[ref.Row]:
    return ref.aggregate(trades, [ref.Clock(name)], options)


@given(st.data(), kinds, st.booleans(), st.booleans())
def test_activity_bars(
    data: st.DataObject, kind: tuple[str, float], include_open: bool, wide: bool
) -> None:
    ids = data.draw(st.sampled_from(["none", "rising"]))
    trades = data.draw(streams(FINE, ids=ids, wide=wide))
    options = ref.Options(by=kind[0], threshold=kind[1], include_open=include_open)
    bars = run(trades, [], options)
    (name,) = bars.intervals
    expected = ordered(expected_rows(trades, options, name), [name])
    assert_same_rows(ordered(to_rows(bars), [name]), expected)
    parts, _ = run_in_chunks(trades, [], options, data.draw(cuts(trades)))
    joined = [row for part in parts for row in to_rows(part)]
    assert_same_rows(ordered(joined, [name]), expected)
    shuffled = data.draw(shuffled_across_symbols(trades))
    for threads in (1, 2):
        again = run(shuffled, [], options, threads=threads)
        assert_same_rows(ordered(to_rows(again), [name]), expected)


@given(streams(FINE, plain=True, ids="rising"), st.integers(1, 5))
def test_a_tick_bar_has_the_asked_number_of_trades(trades: list[ref.Trade], count: int) -> None:
    bars = klineagg.aggregate(to_columns(trades), by="tick", threshold=count)
    closed = (bars["flags"] & ref.CLOSED) != 0
    assert (bars["trade_count"][closed] == count).all()
    assert (bars["trade_count"][~closed] < count).all()
    assert bars["trade_count"].sum() == len(trades)
