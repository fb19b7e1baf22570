"""Engines against the reference: any stream, cut, clock and consumer, equal to the last bit."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference as ref
from engine.model import FLAGS, Pair
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

REACHES = st.sampled_from([0, 0, 1, SECOND, 90 * SECOND, HOUR, 2 * DAY])
HORIZONS = st.sampled_from([None, 0, MINUTE, HOUR])
ENDINGS = st.sampled_from(["ack", "ack", "nack", "dropped", "expired"])


@st.composite
def live_options(draw: st.DrawFn, trades: list[ref.Trade], late: str) -> ref.Options:
    begin = trades[0].time if trades else 0
    start = draw(st.none() | st.sampled_from([0, 1, SECOND, HOUR]).map(lambda ns: begin - ns))
    known = st.sampled_from([5.0, 0.25, 100.1])
    seeds = draw(
        st.dictionaries(st.sampled_from("ABCD"), known, max_size=0 if start is None else 2)
    )
    return ref.Options(
        lateness=draw(REACHES),
        late=late,
        amend_horizon=draw(HORIZONS) if late == "amend" else None,
        gaps=draw(st.sampled_from(["none", "runs", "flat"])),
        coverage=(start, None),
        last_prices=seeds,
        on_bad="count",
    )


class Run:
    """One engine and one model of it, with whatever may happen to them."""

    def __init__(self, data: st.DataObject, late: str, size: int) -> None:
        self.draw: Any = data.draw
        self.scale = self.draw(scales)
        trades = self.draw(streams(self.scale, size=size))
        self.reach = self.draw(REACHES)
        moved = disordered(trades, self.reach, keep_ties=False)
        self.arrivals = self.draw(moved) if self.reach else trades
        self.done = 0
        intervals = self.draw(interval_sets(self.scale, trades, most=3))
        # Trades that the clock makes late need bars of a second: see test_lateness_by_the_clock.
        self.seconds = self.scale is FINE and self.draw(st.booleans())
        if self.seconds and "1s" not in [interval.name for interval in intervals]:
            intervals.append(ref.parse("1s"))
        begin = trades[0].time if trades else 0
        # Wall clocks are worked out around the clock's time, and for other years when trades come.
        ages = st.sampled_from([0, 1, SECOND, 2 * DAY, 10_000 * DAY])
        self.clock = self.draw(st.none() | ages.map(lambda ns: begin - ns))
        self.pair = Pair(
            intervals,
            self.draw(live_options(trades, late)),
            clock_start=self.clock,
            producers=self.draw(st.integers(1, 2)),
            workers=self.draw(st.integers(1, 3)),
            lane_capacity=self.draw(st.sampled_from([1, 16, 65_536])),
        )

    def push(self) -> None:
        count = self.draw(st.integers(1, 12))
        through = self.draw(st.none() | st.integers(0, len(self.pair.producers) - 1))
        self.pair.push(self.arrivals[self.done : self.done + count], through)
        self.done += count

    def advance(self) -> None:
        ahead = self.draw(st.sampled_from([0, 1, SECOND, MINUTE, HOUR, *self.scale.steps]))
        seen = self.arrivals[: self.done] or self.arrivals[:1]
        time = max(trade.time for trade in seen) + ahead - self.reach
        rest = self.arrivals[self.done :]
        if not self.seconds and rest:
            time = min(time, min(trade.time for trade in rest) // SECOND * SECOND)
        self.clock = time if self.clock is None else max(time, self.clock)
        self.pair.advance(self.clock)

    def take(self) -> None:
        self.pair.take(self.draw(st.sampled_from(self.pair.consumers)), self.draw(ENDINGS))

    def view(self) -> None:
        self.pair.check_view()

    def move(self) -> None:
        engine = self.pair.engine
        names = self.draw(st.lists(st.sampled_from("ABC"), unique=True))
        last = engine.workers - 1
        engine.move({name: self.draw(st.integers(0, last)) for name in names})

    def workers(self) -> None:
        engine = self.pair.engine
        if self.draw(st.booleans()):
            engine.resize(self.draw(st.integers(1, 4)))
        else:
            engine.rebuild(self.draw(st.integers(0, engine.workers - 1)))

    def restart(self) -> None:
        self.pair.restart(self.draw(st.integers(1, 3)))

    def interval(self) -> None:
        plain = [name for name in self.scale.intervals if "@" not in name]
        if self.pair.added and self.draw(st.booleans()):
            self.pair.remove(self.draw(st.sampled_from(sorted(self.pair.added))))
        else:
            self.pair.add(self.draw(st.sampled_from(plain)))

    def horizon(self) -> None:
        if self.pair.model.options.late == "amend":
            self.pair.change_horizon(self.draw(HORIZONS))

    def __call__(self) -> None:
        steps = [
            self.push, self.push, self.push, self.advance, self.take, self.view, self.move,
            self.workers, self.interval, self.restart, self.horizon,
        ]  # fmt: skip
        with self.pair as pair:
            while self.done < len(self.arrivals):
                self.draw(st.sampled_from(steps))()
            for consumer in pair.consumers:
                pair.take(consumer, "ack")
                pair.check_added(consumer)
            pair.check_view()
            pair.check_counts()


FEW = settings(max_examples=25)


@FEW
@given(st.data())
def test_engines_that_drop_late_trades(data: st.DataObject) -> None:
    Run(data, "drop", size=40)()


@FEW
@given(st.data())
def test_engines_that_amend(data: st.DataObject) -> None:
    Run(data, "amend", size=25)()


@pytest.mark.slow
@pytest.mark.parametrize(("late", "size"), [("drop", 60), ("amend", 40)])
@given(data=st.data())
def test_engines_for_long(data: st.DataObject, late: str, size: int) -> None:
    Run(data, late, size)()


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


@pytest.mark.parametrize("longer", [HOUR, None])
def test_a_longer_horizon_does_not_bring_back_what_is_forgotten(longer: int | None) -> None:
    """One late trade would stand for all those of a bar that nobody holds any more."""
    begin = 20_000 * DAY
    options = ref.Options(lateness=0, late="amend", amend_horizon=MINUTE, gaps="runs",
                          on_bad="count")  # fmt: skip
    trades = [ref.Trade("A", begin + n * SECOND, 1.0 + n % 7, 1.0) for n in range(0, 600, 5)]
    with Pair([ref.parse("1s"), ref.parse("1m")], options) as pair:
        pair.push(trades)
        pair.take_all()
        pair.change_horizon(longer)
        late = (7, 10, 530, 535, 537, 590)  # when it changes, it reaches to 535
        pair.push([ref.Trade("A", begin + n * SECOND, 90.0, 1.0) for n in late])
        pair.take(pair.consumers[0], "ack")
        assert pair.counts()["beyond_horizon"] == 3
        pair.restart(2)
        pair.push([ref.Trade("A", begin + n * SECOND, 80.0, 1.0) for n in (8, 533, 540, 700, 541)])
        pair.take(pair.consumers[0], "ack")
        assert pair.counts()["beyond_horizon"] == 5
        pair.check_counts()


@pytest.mark.parametrize("gaps", ["runs", "flat"])
@pytest.mark.parametrize("lateness", [0, 90 * SECOND])
def test_flat_bars_behind_late_trades_are_cut_by_the_start_of_coverage(
    gaps: str, lateness: int
) -> None:
    """Who joins at 62 s with a trade of 2 s knows half of what lies between 60 and 65 s."""
    begin = 20_000 * DAY
    options = ref.Options(lateness=lateness, late="amend", gaps=gaps, on_bad="count")
    trades = [ref.Trade("A", begin + second * SECOND, 1.0, 1.0) for second in (2, 170)]
    with Pair([ref.parse("5s")], options) as pair:
        pair.advance(begin + 62 * SECOND)
        pair.push(trades)
        pair.check_view()
        pair.advance(begin + 200 * SECOND)
        consumer = pair.consumers[0]
        pair.take(consumer, "ack")
        partial = [
            key[2] for key, row in consumer.closed.items() if int(str(row[FLAGS])) & ref.PARTIAL
        ]
    assert [time - begin for time in partial] == [60 * SECOND]
    assert len(consumer.closed) == 35  # to the bar of the last trade


@pytest.mark.parametrize(("name", "step"), [("1s", MINUTE), ("1m", HOUR), ("1d+1s", 2 * DAY)])
def test_genesis_bars_are_closed_by_the_clock(name: str, step: int) -> None:
    start = 20_000 * DAY
    options = ref.Options(
        lateness=0, late="drop", gaps="runs", coverage=(start, None), last_prices={"A": 5.0},
        on_bad="count",
    )  # fmt: skip
    with Pair([ref.parse(name)], options) as pair:
        pair.advance(start + step)
        pair.take(pair.consumers[0], "ack")
        pair.push([ref.Trade("A", start + step + SECOND, 1.0, 1.0)])
        pair.advance(start + 2 * step)
        pair.take(pair.consumers[1], "ack")


@pytest.mark.parametrize("horizon", [None, HOUR])
@pytest.mark.parametrize("late", ["drop", "amend"])
@pytest.mark.parametrize("lateness", [0, 90 * SECOND])
def test_three_days_come_while_trades_flow(late: str, lateness: int, horizon: int | None) -> None:
    """Made of the hours that are held; PARTIAL when some are not."""
    begin = 20_001 * DAY  # in the middle of the three days
    trades = [
        ref.Trade("A", begin + n * 7 * MINUTE, 1.0 + n % 13, 0.1 * (1 + n % 7)) for n in range(900)
    ]
    options = ref.Options(
        lateness=lateness, late=late, amend_horizon=horizon if late == "amend" else None,
        gaps="none", on_bad="count",
    )  # fmt: skip
    with Pair([ref.parse("1m"), ref.parse("1h")], options) as pair:
        pair.push(trades[:250])
        pair.add("3d")
        pair.push(trades[250:])
        pair.advance(trades[-1].time + 4 * DAY)
        consumer = pair.consumers[0]
        pair.take(consumer, "ack")
        pair.check_added(consumer)
        flags = [row[FLAGS] for key, row in sorted(consumer.extra.items()) if key[0] == "3d"]
        is_whole = late == "amend" and horizon is None
        assert pair.built == is_whole
        partial = [bool(int(str(each)) & ref.PARTIAL) for each in flags]
        assert partial == [not is_whole, False]


@pytest.mark.parametrize("gaps", ["runs", "flat"])
@pytest.mark.parametrize("late", ["drop", "amend"])
def test_flat_bars_say_nothing_of_trades_that_an_older_base_has(late: str, gaps: str) -> None:
    """A day that is open when seven hours come takes its trades to its end."""
    day = 20_029 * DAY
    options = ref.Options(lateness=1, late=late, gaps=gaps, on_bad="count")
    trades = [ref.Trade("A", day + hours * HOUR, 1.0, 1.0) for hours in (0, 0, 5, 77, 101)]
    with Pair([ref.parse("1d")], options) as pair:
        pair.push(trades[:1])
        pair.add("7h")
        pair.push(trades[1:])
        pair.advance(day + 10 * DAY)
        consumer = pair.consumers[0]
        pair.take(consumer, "ack")
        pair.check_added(consumer)
        told = {
            key[2]: int(str(row[FLAGS]))
            for key, row in consumer.extra.items()
            if key[0] == "7h" and key[2] < day + 2 * DAY
        }
    first = min(told)
    assert first < day + DAY < first + 7 * HOUR  # the one that the end of the day cuts
    assert {time for time, flags in told.items() if flags & ref.PARTIAL} == {first}
    assert all(flags & ref.GAP for flags in told.values())
