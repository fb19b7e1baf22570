"""Amendments: late trades that change bars which were closed already."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

import reference as ref
from property.harness import (
    assert_matches_reference,
    assert_same_report,
    assert_same_rows,
    ordered,
    run,
    run_in_chunks,
    to_rows,
)
from property.strategies import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    Scale,
    coverages,
    cuts,
    disordered,
    interval_sets,
    scales,
    streams,
)

REACHES = st.sampled_from([0, 1, SECOND, 90 * SECOND, HOUR, 2 * DAY])
HORIZONS = st.sampled_from([None, None, 0, 1, SECOND, MINUTE, HOUR, DAY])


def amended(
    data: st.DataObject, scale: Scale, reach: int
) -> tuple[list[ref.Trade], list[ref.Clock | ref.Sessions], ref.Options]:
    trades = data.draw(streams(scale, size=20))
    intervals = data.draw(interval_sets(scale, trades, most=4))
    arrivals = data.draw(disordered(trades, 3 * reach + MINUTE, keep_ties=False))
    options = data.draw(coverages(trades, scale))
    return arrivals, intervals, replace(options, lateness=reach, late="amend")


@given(st.data(), REACHES)
def test_amended_bars_are_as_if_in_order(data: st.DataObject, reach: int) -> None:
    scale = data.draw(scales)
    arrivals, intervals, options = amended(data, scale, reach)
    names = [interval.name for interval in intervals]
    in_order = replace(options, lateness=None, late="raise")
    bars = run(arrivals, intervals, options)
    if options.gaps == "runs" and (bars.revision > 0).any():
        # A run has one revision, and so is cut where amendments have reached a part of it.
        bars, in_order = bars.expand_gaps(), replace(in_order, gaps="flat")
    expected = ref.aggregate(sorted(arrivals, key=lambda t: t.time), intervals, in_order)
    got = to_rows(bars)
    for row in got:
        assert bool(row["revision"]) == bool(row["flags"] & ref.REVISED)
        row["flags"] &= ~ref.REVISED
    assert_same_rows(ordered(got, names), ordered(expected, names), ignore=["revision"])


@given(st.data(), REACHES, HORIZONS)
def test_bars_with_trades_count_their_revisions(
    data: st.DataObject, reach: int, horizon: int | None
) -> None:
    """Flat bars are left out here: their revisions have a test of their own."""
    scale = data.draw(scales)
    arrivals, intervals, options = amended(data, scale, reach)
    options = replace(options, gaps="none", amend_horizon=horizon)
    assert_matches_reference(arrivals, intervals, options)


@given(st.data(), REACHES, HORIZONS)
def test_flat_bars_count_their_revisions(
    data: st.DataObject, reach: int, horizon: int | None
) -> None:
    scale = data.draw(scales)
    arrivals, intervals, options = amended(data, scale, reach)
    options = replace(options, gaps="flat", amend_horizon=horizon)
    assert_matches_reference(arrivals, intervals, options)


@given(st.data(), REACHES, HORIZONS)
def test_amendments_in_chunks_end_as_in_one_call(
    data: st.DataObject, reach: int, horizon: int | None
) -> None:
    """Each amendment is emitted with a higher revision, and the last of each bar is the result."""
    scale = data.draw(scales)
    arrivals, intervals, options = amended(data, scale, reach)
    options = replace(options, gaps="flat", amend_horizon=horizon)
    names = [interval.name for interval in intervals]
    parts, report = run_in_chunks(arrivals, intervals, options, data.draw(cuts(arrivals)))
    newest: dict[tuple[object, ...], ref.Row] = {}
    for part in parts:
        for row in to_rows(part):
            key = row["symbol"], row["interval"], row["open_time"]
            before = newest.get(key)
            assert before is None or row["revision"] > before["revision"], (before, row)
            newest[key] = row
    expected = ref.evaluate(arrivals, intervals, options)
    assert_same_rows(ordered(list(newest.values()), names), ordered(expected.rows, names))
    assert_same_report(report, expected)
