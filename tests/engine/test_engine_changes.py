"""Configurations that change while trades flow, bars that are kept, and warm starts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import klineagg
from klineagg import Bars, SimulatedClock, errors
from klineagg.bars import BarFlag
from klineagg.engine import Engine

T0 = np.datetime64("2024-01-01T00:00:00", "ns")
SECOND = np.timedelta64(1, "s")


def trades(*seconds: float, symbol: str = "BTC", price: float = 100.0) -> dict[str, Any]:
    return {
        "symbol": [symbol] * len(seconds),
        "time": T0 + (np.array(seconds) * 1e9).astype("timedelta64[ns]"),
        "price": [price] * len(seconds),
        "quantity": [1.0] * len(seconds),
    }


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine("1m,1h", clock=SimulatedClock(T0), max_ahead=None, keep_bars=3) as made:
        yield made


def test_an_interval_comes_and_goes(engine: Engine) -> None:
    producer = engine.producer()
    producer.push(trades(*range(0, 7200, 30)))
    report = engine.reconfigure(add="5m")
    assert report
    assert (report.added, report.removed, dict(report.changed)) == (("5m",), (), {})
    assert repr(report) == "<ConfigReport: interval 5m added>"
    assert engine.intervals == ("1m", "1h", "5m")
    producer.push(trades(*range(7200, 14_400, 30)))
    with engine.take("lake") as snapshot:
        fives = snapshot.closed["BTC", "5m"]
        assert set(fives.trade_count[1:].tolist()) == {10}
        assert snapshot.closed["BTC", "1h"].trade_count.tolist() == [120] * 3
    report = engine.reconfigure(remove="1h")
    assert report.removed == ("1h",)
    assert set(engine.intervals) == {"1m", "5m"}
    producer.push(trades(*range(14_400, 18_100, 30)))
    with engine.take("lake") as snapshot:
        present = {name for _, name, _ in snapshot.closed.series()}
        assert present == {"1m", "5m"}
    again = engine.reconfigure(intervals="1h,1m,5m")
    assert again.added == ("1h",)
    assert engine.bars("BTC", "1h", 1).intervals[int(engine.bars("BTC", "1h").interval[0])] == "1h"


def test_intervals_that_go_may_come_from_an_iterator(engine: Engine) -> None:
    assert engine.reconfigure(remove=iter(["1h"])).removed == ("1h",)
    assert engine.intervals == ("1m",)


def test_rules_change_and_the_report_says_how(engine: Engine) -> None:
    report = engine.reconfigure(
        lateness="5s", gaps="flat", close_delay="250ms", lease="10s", policy="drop_newest",
        lane_capacity=4096, push_timeout="2s", amend_horizon=None,
    )  # fmt: skip
    assert dict(report.changed) == {
        "lateness": (0, 5_000_000_000),
        "amend_horizon": (3_600_000_000_000, None),
        "gaps": ("runs", "flat"),
        "close_delay": (0, 250_000_000),
        "lease": (30_000_000_000, 10_000_000_000),
        "policy": ("block", "drop_newest"),
        "lane_capacity": (65_536, 4096),
        "push_timeout": (10_000_000_000, 2_000_000_000),
    }
    assert "close_delay 0 ns -> 250 ms" in repr(report)
    assert "gaps 'runs' -> 'flat'" in repr(report)
    same = engine.reconfigure(lateness="5s", gaps="flat", intervals="1m,1h")
    assert not same
    assert repr(same) == "<ConfigReport: nothing changed>"
    producer = engine.producer()
    producer.push(trades(0, 200, 196))  # within the lateness
    engine.flush()
    assert engine.counts().accepted == 3
    assert producer.stats().lanes[0].capacity == 4096
    assert producer.stats().lanes[0].policy == "drop_newest"


@pytest.mark.parametrize(
    "wrong",
    [
        {"add": "1m"},
        {"add": "7q"},
        {"remove": "2h"},
        {"remove": ["1m", "1h"]},
        {"intervals": ""},
        {"gaps": "some", "lateness": "1s"},
        {"policy": "drop", "add": "5m"},
        {"lane_capacity": 8, "add": "5m", "gaps": "flat"},
        {"lease": 0, "add": "5m"},
        {"lateness": -1},
    ],
)
def test_a_bad_value_changes_nothing(engine: Engine, wrong: dict[str, Any]) -> None:
    engine.producer().push(trades(1, 61))
    with pytest.raises((errors.OptionError, errors.IntervalError)):
        engine.reconfigure(**wrong)
    assert engine.intervals == ("1m", "1h")
    assert not engine.reconfigure(
        intervals="1m,1h", lateness=0, gaps="runs", policy="block", lane_capacity=65_536,
        lease="30s", close_delay=0, amend_horizon="1h",
    )  # fmt: skip


def test_a_name_does_not_change_its_meaning(engine: Engine) -> None:
    dates: dict[str, Any] = {"tz": "America/New_York", "start": "2024-01-01", "end": "2024-03-01"}
    day = klineagg.daily_sessions("us", "09:30", "16:00", **dates)
    engine.reconfigure(add=day)
    engine.reconfigure(remove="us")
    other = klineagg.daily_sessions("us", "04:00", "20:00", **dates)
    with pytest.raises(errors.IntervalError) as caught:
        engine.reconfigure(add=other)
    assert caught.value.name == "duplicate_interval"
    assert engine.reconfigure(add=day).added == ("us",)


def test_kept_bars(engine: Engine) -> None:
    producer = engine.producer()
    producer.push(trades(*range(0, 360, 20)))
    bars = engine.bars("BTC", "1m")
    assert bars.trade_count.tolist() == [3] * 4  # three that are kept, and the open one
    assert [bool(flags & BarFlag.CLOSED) for flags in bars.flags.tolist()] == [True] * 3 + [False]
    assert engine.bars("BTC", "1m", 2).open_time.tolist() == bars.open_time[-2:].tolist()
    assert engine.bars("BTC", n=1).trade_count.tolist() == [3, 18]
    assert [engine.take("lake").closed.trade_count.sum() for _ in range(1)] == [15]
    for symbol, interval in (("NOBODY", "1m"), ("BTC", "2m"), (2**30, "1m")):
        with pytest.raises(errors.ResultError) as caught:
            engine.bars(symbol, interval)
        assert caught.value.name == "no_such_series"
    for n in (0, True, 1.5):
        with pytest.raises(errors.OptionError):
            engine.bars("BTC", "1m", n)  # type: ignore[arg-type]


def test_a_warm_start_goes_on_behind_its_bars() -> None:
    times = np.arange(0, 5400, 10).tolist()
    past, later = trades(*times), trades(*[5400 + t for t in times])
    bars = klineagg.aggregate(past, "1m,1h", coverage=(T0, T0 + 5400 * SECOND))
    engine = Engine("1h,1m,5m", clock=SimulatedClock(), keep_bars=5, max_ahead=None)
    assert engine.warm_start(bars) == 1
    with engine:
        assert engine.bars("BTC", "1m").open_time.tolist() == (
            bars["BTC", "1m"].open_time[-5:].tolist()
        )
        engine.producer().push(later)
        with engine.take("lake") as snapshot:
            minutes = snapshot.closed["BTC", "1m"]
            assert minutes.open_time[0] == T0 + 5400 * SECOND
            assert set(minutes.trade_count.tolist()) == {6}
            assert not (minutes.flags & BarFlag.PARTIAL).any()
            (hour,) = snapshot.closed["BTC", "1h"]
            assert hour.flags & BarFlag.PARTIAL
            assert hour.trade_count == 180
        with pytest.raises(errors.EngineError) as caught:
            engine.warm_start(bars)
        assert caught.value.name == "engine_state"


def test_a_warm_start_of_bars_from_elsewhere() -> None:
    """Symbols go by name: ids are those of another process."""
    bars = klineagg.aggregate(trades(*range(0, 300, 10), symbol="ELSEWHERE"), "1m,2m")
    there = {name: bars.column(name).copy() for name in bars.columns}
    there["symbol"][:] = 5
    foreign = Bars(there, symbols={5: "ELSEWHERE"}, intervals=bars.intervals)
    engine = Engine("1m", clock=SimulatedClock(), keep_bars=50)
    assert engine.warm_start(foreign) == 1
    assert engine.bars("ELSEWHERE", "1m").trade_count.tolist() == [6] * 4
    assert engine.warm_start(Bars.empty(["1m"])) == 0
    with engine:  # flat bars follow the last close
        engine.producer().push(trades(1000, 1030, symbol="ELSEWHERE", price=7.0))
        with engine.take("lake") as snapshot:
            (gap, _) = snapshot.closed
    assert (gap.close, gap.run_length) == (100.0, 12)


@pytest.mark.parametrize(
    "others",
    [["1h"], ["1h", klineagg.sessions("second", [T0], [T0 + SECOND])]],
    ids=["finer than all", "on a hidden base"],
)
def test_an_interval_that_comes_goes_on_from_the_last_price(others: list[Any]) -> None:
    # Of a bar whose trades do not count for open and close nothing else says what it costs.
    silent = {"flags": np.array([1], np.uint8)}
    options: dict[str, Any] = {"late": "drop", "lateness": 0, "gaps": "none", "max_ahead": None}
    with Engine(others, clock=SimulatedClock(), **options) as engine:
        producer = engine.producer()
        producer.push(trades(1, price=5.0))
        if len(others) > 1:
            producer.push({**trades(3600.5, price=7.0), **silent})
        engine.flush()
        engine.reconfigure(add="30m")
        producer.push({**trades(3601, price=7.0), **silent})
        producer.push(trades(7200))
        engine.flush()
        with engine.take("lake") as snapshot:
            bars = snapshot.closed["BTC", "30m"]
            assert bars.open_time[-1] == T0 + 3600 * SECOND
            assert (bars.open[-1], bars.close[-1], bars.high[-1]) == (5.0, 5.0, 7.0)


@pytest.mark.parametrize("gaps", ["runs", "flat"])
@pytest.mark.parametrize("late", ["drop", "amend"])
def test_open_flat_bars_say_nothing_of_trades_that_an_older_base_has(late: str, gaps: str) -> None:
    """A day that is open when seven hours come takes its trades, as that of hour 5, to its end."""
    hour = 3600
    with Engine("1d", clock=SimulatedClock(T0), lateness="4d", late=late, gaps=gaps,
                max_ahead=None) as engine, engine.producer() as producer:  # fmt: skip
        producer.push(trades(0))
        engine.reconfigure(add="7h")
        producer.push(trades(0, 5 * hour, 77 * hour, 101 * hour))
        engine.flush()
        shown = [engine.view().open["BTC", "7h"], engine.bars("BTC", "7h")]
        with engine.take("lake") as snapshot:
            shown.append(snapshot.open["BTC", "7h"])
        for bars in shown:
            hours = (bars.open_time - T0) // np.timedelta64(1, "h")
            assert (hours[0], hours[1]) == (23, 30)  # cut by the end of the day, and behind it
            assert bars.run_length[0] == 1
            gap = int(BarFlag.GAP)
            assert bars.flags[:2].tolist() == [gap | int(BarFlag.PARTIAL), gap]
            assert bars.trade_count.sum() == 2


@pytest.mark.parametrize("late", ["drop", "amend"])
def test_what_a_hidden_base_closed_is_missing_in_what_comes_later(late: str) -> None:
    """Bars of 4 and 6 seconds are made of hidden ones of 2, which nobody keeps."""
    with Engine("4s,6s", clock=SimulatedClock(T0), late=late, gaps="none",
                max_ahead=None) as engine, engine.producer() as producer:  # fmt: skip
        producer.push(trades(0.5, 2.5))
        for added in ("2s", "10s"):  # the one is hidden no more, the other is made of it
            engine.reconfigure(add=added)
        producer.push(trades(3.5, 11.0, 21.0))
        with engine.take("lake") as snapshot:
            tens = snapshot.closed["BTC", "10s"]
            twos = snapshot.closed["BTC", "2s"]
    assert [bool(flags & int(BarFlag.PARTIAL)) for flags in tens.flags] == [True, False]
    assert tens.trade_count.tolist() == [2, 1]
    # That bar was open when it was asked for: what it has may not be all.
    assert [bool(flags & int(BarFlag.PARTIAL)) for flags in twos.flags] == [True, False]
    assert ((twos.open_time - T0) // SECOND).tolist() == [2, 10]


def openings(engine: Engine, interval: str) -> list[tuple[int, int, int, float]]:
    """Of the bars with trades, closed and open: second, trades, whether PARTIAL, open."""
    with engine.take("lake") as snapshot:
        both = [snapshot.closed, snapshot.open]
    return [
        (int((opened - T0) / SECOND), int(count), int(bool(flags & BarFlag.PARTIAL)), float(price))
        for bars in both
        for _, name, part in bars.series()
        if name == interval
        for opened, count, flags, price in zip(
            part.open_time, part.trade_count, part.flags, part.open, strict=True
        )
        if count
    ]


@pytest.mark.parametrize("again", ["removed", "restarted", "another"])
@pytest.mark.parametrize("late", ["drop", "amend"])
def test_what_a_longer_bar_takes_is_in_no_finer_one(late: str, again: str) -> None:
    """With a lateness the open bar of the base before stays, and takes its trades."""
    options: dict[str, Any] = {
        "clock": SimulatedClock(T0), "lateness": "90s", "late": late, "max_ahead": None
    }  # fmt: skip
    with Engine("1m", **options) as first:
        first.producer().push(trades(1, 2, 3))
        first.reconfigure(add="1s")
        first.producer().push(trades(4))
        if again == "restarted":
            checkpoint = first.checkpoint()
        else:
            if again == "removed":
                first.reconfigure(remove="1s")
            first.reconfigure(add="1s" if again == "removed" else "3s")
            first.producer().push(trades(5, 300))
            finer = openings(first, "3s" if again == "another" else "1s")
    if again == "restarted":
        second = Engine("1m", **options)
        second.restore(checkpoint)
        with second:
            second.reconfigure(add="1s")
            second.producer().push(trades(5, 300))
            finer = openings(second, "1s")
    assert finer == [(300, 1, 0, 100.0)]


@pytest.mark.parametrize(
    ("late", "seconds", "told"),
    # Made of bars of 1s, held from the beginning; where nothing is held, it says so.
    [
        ("amend", (31,), (4, 0)),
        ("amend", (), (4, 0)),
        ("drop", (31,), (1, 1)),
        ("drop", (), (2, 1)),
    ],
)
def test_an_interval_that_is_made_of_one_that_came_later(
    late: str, seconds: tuple[int, ...], told: tuple[int, int]
) -> None:
    with Engine("1s", clock=SimulatedClock(T0), late=late, max_ahead=None) as engine:
        producer = engine.producer()
        producer.push(trades(21, 25, 29))
        engine.reconfigure(add="2s")  # holds nothing before 28
        producer.push(trades(*seconds))
        engine.reconfigure(add="20s")
        producer.push(trades(*({31} - set(seconds)), 50))
        assert openings(engine, "20s")[0][1:3] == told


@pytest.mark.parametrize("late", ["drop", "amend"])
def test_trades_without_a_price_keep_the_last_one_in_an_interval_that_comes(late: str) -> None:
    with Engine("1s", clock=SimulatedClock(T0), late=late, max_ahead=None) as engine:
        producer = engine.producer()
        producer.push(trades(1, price=15.0))
        producer.push({**trades(11, price=99.0), "flags": [7]})
        engine.reconfigure(add="2s")
        producer.push(trades(20, price=16.0))
        assert openings(engine, "2s") == [(10, 1, 0, 15.0), (20, 1, 0, 16.0)]


@pytest.mark.parametrize("intervals", ["2s,3s", "2s"])  # a hidden base of 1s, and none
@pytest.mark.parametrize("before", [(), (8,)])
@pytest.mark.parametrize("late", ["drop", "amend"])
def test_an_interval_that_comes_knows_the_price_in_a_longer_open_bar(
    late: str, before: tuple[int, ...], intervals: str
) -> None:
    """The last close lies in what the bar of 2 seconds has taken, which is not closed yet."""
    with Engine(intervals, clock=SimulatedClock(T0), late=late, gaps="none",
                max_ahead=None) as engine, engine.producer() as producer:  # fmt: skip
        producer.push(trades(*before, price=90.0))
        producer.push(trades(10, price=100.0))
        engine.advance(T0 + 11 * SECOND)
        engine.reconfigure(add="1s")
        producer.push({**trades(11.5, price=99.0), "flags": [7]})
        engine.advance(T0 + 12 * SECOND)
        assert openings(engine, "1s") == [(11, 1, 0, 100.0)]


@pytest.mark.parametrize("late", ["drop", "amend"])
def test_trades_without_a_price_in_the_bar_that_is_open_when_an_interval_comes(late: str) -> None:
    with Engine("2s,3s", clock=SimulatedClock(T0), late=late, gaps="none",
                max_ahead=None) as engine, engine.producer() as producer:  # fmt: skip
        producer.push(trades(10, price=100.0))
        producer.push({**trades(11.2, price=99.0), "flags": [7]})
        engine.reconfigure(add="1s")
        producer.push({**trades(11.5, price=98.0), "flags": [7]})
        engine.advance(T0 + 12 * SECOND)
        assert openings(engine, "1s") == [(11, 2, 1, 100.0)]


@pytest.mark.parametrize(("interval", "told"), [("3s", (12, 2, 0, 90.0)), ("1s", (13, 1, 0, 90.0))])
@pytest.mark.parametrize("late", ["drop", "amend"])
def test_a_new_hidden_base_hands_the_last_price_on(
    late: str, interval: str, told: tuple[int, int, int, float]
) -> None:
    with Engine("2s", clock=SimulatedClock(T0), late=late, gaps="none",
                max_ahead=None) as engine, engine.producer() as producer:  # fmt: skip
        producer.push(trades(8, price=90.0))
        engine.advance(T0 + 10 * SECOND)
        engine.reconfigure(add="3s")  # both are made of hidden bars of 1 second now
        producer.push({**trades(12.5, price=99.0), "flags": [7]})
        engine.reconfigure(add="1s")
        producer.push({**trades(13.5, price=99.0), "flags": [7]})
        engine.advance(T0 + 15 * SECOND)
        assert openings(engine, interval)[-1] == told


def test_late_trades_of_before_an_interval_came_are_part_of_its_bars_and_said_to_be() -> None:
    with Engine("1s", clock=SimulatedClock(T0), max_ahead=None) as engine:
        producer = engine.producer()
        producer.push(trades(1, 2))
        engine.advance(T0 + 60 * SECOND)
        engine.reconfigure(add="20s")
        producer.push(trades(3, 25, 70))
        told = [bar[:3] for bar in openings(engine, "20s")]
        assert told == [(0, 1, 1), (20, 1, 0), (60, 1, 0)]
