"""Partial results merge to the bars of the whole, in any grouping."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import klineagg
import reference as ref
from property.harness import (
    assert_same_bars,
    assert_same_rows,
    ordered,
    run,
    to_rows,
)
from property.strategies import cuts, interval_sets, scales, streams

Intervals = list[ref.Clock | ref.Sessions]


def partial(trades: list[ref.Trade], intervals: Intervals) -> klineagg.Bars:
    return run(trades, intervals, ref.Options(), partials=True)


def assert_same_partials(left: klineagg.Bars, right: klineagg.Bars) -> None:
    assert_same_bars(left, right)
    assert left.partials is not None
    assert right.partials is not None
    assert np.array_equal(left.partials.view(np.uint8), right.partials.view(np.uint8))


@given(st.data())
def test_pieces_of_a_stream_merge_to_the_whole(data: st.DataObject) -> None:
    scale = data.draw(scales)
    trades = data.draw(streams(scale, wide=True))
    intervals = data.draw(interval_sets(scale, trades))
    edges = [0, *sorted(data.draw(cuts(trades))), len(trades)]
    merged = partial(trades[: edges[1]], intervals)
    for begin, end in zip(edges[1:], edges[2:], strict=False):
        merged = klineagg.merge(merged, partial(trades[begin:end], intervals))
    whole = partial(trades, intervals)
    # Nobody can tell from two finished halves whether a bar at the seam is closed.
    names = [interval.name for interval in intervals]
    left, right = (ordered(to_rows(bars), names) for bars in (merged, whole))
    assert_same_rows(left, right, ignore=["flags"])


@given(st.data())
def test_merge_is_associative(data: st.DataObject) -> None:
    scale = data.draw(scales)
    trades = data.draw(streams(scale, wide=True))
    intervals = data.draw(interval_sets(scale, trades))
    # Each trade goes to one of four machines: their bars overlap in every way.
    machine = data.draw(st.lists(st.integers(0, 3), min_size=len(trades), max_size=len(trades)))
    shares = [[t for t, m in zip(trades, machine, strict=True) if m == k] for k in range(4)]
    klineagg.intern(["A", "B", "C"])
    a, b, c, d = (partial(share, intervals) for share in shares)
    merge = klineagg.merge
    left = merge(merge(merge(a, b), c), d)
    assert_same_partials(merge(a, merge(b, merge(c, d))), left)
    assert_same_partials(merge(merge(a, b), merge(c, d)), left)
    assert_same_partials(merge(a, merge(merge(b, c), d)), left)
    # Ties go to the part that stands first.
    in_order = sorted((t for share in shares for t in share), key=lambda trade: trade.time)
    expected = ref.aggregate(in_order, intervals)
    names = [interval.name for interval in intervals]
    assert_same_rows(ordered(to_rows(left), names), ordered(expected, names), ignore=["flags"])


@given(st.data())
def test_merging_with_nothing_changes_nothing(data: st.DataObject) -> None:
    scale = data.draw(scales)
    trades = data.draw(streams(scale))
    intervals = data.draw(interval_sets(scale, trades))
    bars, nothing = partial(trades, intervals), partial([], intervals)
    assert_same_partials(klineagg.merge(bars, nothing), bars)
    assert_same_partials(klineagg.merge(nothing, bars), bars)
