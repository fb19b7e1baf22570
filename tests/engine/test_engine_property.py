"""Engines against the reference: any stream, cut, clock and consumer, equal to the last bit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference as ref
from engine.model import Pair
from property.strategies import (
    DAY,
    FINE,
    HOUR,
    MINUTE,
    SECOND,
    disordered,
    interval_sets,
    scales,
    streams,
)

# Some hundred engines with threads of their own: minutes, not seconds.
pytestmark = pytest.mark.slow

REACHES = st.sampled_from([0, 0, 1, SECOND, 90 * SECOND, HOUR, 2 * DAY])
ENDINGS = st.sampled_from(["ack", "ack", "nack", "dropped"])


@st.composite
def live_options(draw: st.DrawFn, trades: list[ref.Trade], late: str) -> ref.Options:
    begin = trades[0].time if trades else 0
    start = draw(st.none() | st.sampled_from([0, 1, SECOND, HOUR]).map(lambda ns: begin - ns))
    known = st.sampled_from([5.0, 0.25, 100.1])
    seeds = draw(st.dictionaries(st.sampled_from("ABCD"), known, max_size=0))
    return ref.Options(
        lateness=draw(REACHES),
        late=late,
        amend_horizon=draw(st.sampled_from([None, 0, MINUTE, HOUR])) if late == "amend" else None,
        gaps=draw(st.sampled_from(["none", "runs", "flat"])),
        coverage=(start, None),
        last_prices=seeds,
        on_bad="count",
    )


def run(data: st.DataObject, late: str, size: int) -> None:
    scale = data.draw(scales)
    trades = data.draw(streams(scale, size=size))
    reach = data.draw(REACHES)
    arrivals = data.draw(disordered(trades, reach, keep_ties=False)) if reach else trades
    intervals = data.draw(interval_sets(scale, trades, most=3))
    # Trades that the clock makes late need bars of a second: see test_lateness_by_the_clock.
    seconds = scale is FINE and data.draw(st.booleans())
    if seconds and "1s" not in [interval.name for interval in intervals]:
        intervals.append(ref.parse("1s"))
    options = data.draw(live_options(trades, late))
    workers = data.draw(st.integers(1, 3))
    # Wall clocks are worked out around the clock's time: without one they have to be of today.
    zoned = any(isinstance(each, ref.Clock) and each.zone != "UTC" for each in intervals)
    starts = st.sampled_from([0, 1, SECOND, 2 * DAY]).map(
        lambda ns: (trades[0].time if trades else 0) - ns
    )
    clock = data.draw(starts if zoned else st.none() | starts)
    pair = Pair(
        intervals,
        options,
        clock_start=clock,
        producers=data.draw(st.integers(1, 2)),
        workers=workers,
        lane_capacity=data.draw(st.sampled_from([1, 16, 65_536])),
    )
    with pair:
        done = 0
        while done < len(arrivals):
            step = data.draw(st.sampled_from(["push", "push", "advance", "take", "move", "view"]))
            if step == "push":
                count = data.draw(st.integers(1, 12))
                pair.push(arrivals[done : done + count])
                done += count
            elif step == "advance":
                ahead = data.draw(st.sampled_from([0, 1, SECOND, MINUTE, HOUR, *scale.steps]))
                newest = max((t.time for t in arrivals[:done]), default=arrivals[0].time)
                time = newest + ahead - reach
                if not seconds:
                    time = min(
                        time, min(trade.time for trade in arrivals[done:]) // SECOND * SECOND
                    )
                clock = time if clock is None else max(time, clock)
                pair.advance(clock)
            elif step == "take":
                pair.take(data.draw(st.sampled_from(pair.consumers)), data.draw(ENDINGS))
            elif step == "move":
                names = data.draw(st.lists(st.sampled_from("ABC"), unique=True))
                pair.engine.move({n: data.draw(st.integers(0, workers - 1)) for n in names})
            else:
                pair.check_view()
        for consumer in pair.consumers:
            pair.take(consumer, "ack")
        pair.check_view()
        pair.check_counts()


@given(st.data())
def test_engines_that_drop_late_trades(data: st.DataObject) -> None:
    run(data, "drop", size=40)


@given(st.data())
def test_engines_that_amend(data: st.DataObject) -> None:
    run(data, "amend", size=25)


@pytest.mark.parametrize("late", ["drop", "amend"])
def test_lateness_by_the_clock_is_the_same_for_all_intervals(late: str) -> None:
    trades = [ref.Trade("A", 20_000 * DAY + second * SECOND, 1.0, 1.0) for second in (1, 30)]
    options = ref.Options(
        lateness=0, late=late, amend_horizon=MINUTE if late == "amend" else None, on_bad="count"
    )
    for names in (["1h"], ["1s", "1h"]):
        with Pair([ref.parse(name) for name in names], options) as pair:
            pair.push(trades[:1])
            pair.advance(20_000 * DAY + 120 * SECOND)
            pair.push(trades[1:])
            pair.check_view()
            pair.check_counts()


@pytest.mark.parametrize("name", ["1s", "1m", "1d+1s"])
def test_genesis_bars_are_closed_by_the_clock(name: str) -> None:
    start = 20_000 * DAY
    options = ref.Options(
        lateness=0, late="drop", gaps="runs", coverage=(start, None), last_prices={"A": 5.0},
        on_bad="count",
    )  # fmt: skip
    with Pair([ref.parse(name)], options) as pair:
        pair.advance(start + 2 * DAY)
        pair.take(pair.consumers[0], "ack")
        pair.push([ref.Trade("A", start + 2 * DAY + SECOND, 1.0, 1.0)])
        pair.advance(start + 4 * DAY)
        pair.take(pair.consumers[1], "ack")
