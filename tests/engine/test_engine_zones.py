"""Wall clocks in an engine: their boundaries are worked out as far as the trades go."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klineagg
from klineagg import Engine, SimulatedClock, SystemClock
from klineagg.errors import IntervalError
from reference import PARTIAL

ZONED = "1h,1d@America/New_York,1M@Europe/London,4h@Australia/Lord_Howe"


def hourly(start: str, hours: int, symbol: str = "ZONE-A") -> dict[str, Any]:
    step = np.timedelta64(1, "h")
    time = np.datetime64(start, "ns") + np.arange(hours) * step + np.timedelta64(1, "s")
    price = np.arange(hours) % 977 + 1.0
    return {"symbol": [symbol] * hours, "time": time, "price": price, "quantity": np.ones(hours)}


def assert_as_aggregated(engine: Engine, trades: dict[str, Any], intervals: str = ZONED) -> None:
    """The closed and open bars of the engine are those of a batch, to the last bit."""
    with engine.take("lake") as snapshot:
        closed = snapshot.closed.resolve()
    told = klineagg.Bars.concat([closed, engine.view().open])
    expected = klineagg.aggregate(trades, intervals, lateness=0, late="amend")
    for name in intervals.split(","):
        mine, theirs = (bars[:, name] for bars in (told, expected))
        order = np.argsort(mine.open_time)
        for column in ("open_time", "close_time", "open", "close", "trade_count", "volume"):
            assert mine.column(column)[order].tobytes() == theirs.column(column).tobytes(), name


@pytest.mark.parametrize("clock_start", [None, "1972-01-01", "2015-01-01", "2014-12-01"])
def test_a_replay_of_any_years_has_the_days_of_its_zone(clock_start: str | None) -> None:
    trades = hourly("2015-01-05", 400 * 24)
    clock = SimulatedClock(clock_start)
    with Engine(ZONED, clock=clock, max_ahead=None, gaps="none", keep_bars=1) as engine:
        producer = engine.producer()
        for part in range(0, 400 * 24, 1_000):
            producer.push({name: column[part : part + 1_000] for name, column in trades.items()})
        engine.flush()
        assert_as_aggregated(engine, trades)


def test_trades_behind_and_beyond_what_is_worked_out() -> None:
    """Years of backfill, then years ahead, with a bar that is open while tables grow."""
    clock = SimulatedClock("2000-06-01")
    with Engine(ZONED, clock=clock, amend_horizon=None, max_ahead=None, gaps="none") as engine:
        producer = engine.producer()
        late = hourly("1990-02-01", 90 * 24)
        ahead = hourly("2021-10-01", 90 * 24)
        for trades in (late, ahead):
            producer.push(trades)
        whole = {
            name: list(late[name]) + list(ahead[name]) if name == "symbol"
            else np.concatenate([late[name], ahead[name]]) for name in late
        }  # fmt: skip
        engine.flush()
        assert engine.counts().accepted == len(whole["time"])
        assert_as_aggregated(engine, whole)


def test_old_trades_behind_the_system_s_clock() -> None:
    with Engine(ZONED, clock=SystemClock(), amend_horizon=None, gaps="none") as engine:
        trades = hourly("2009-03-01", 60 * 24)
        with engine.producer() as producer:
            producer.push(trades)
        assert_as_aggregated(engine, trades)


def test_single_trades_beyond_what_is_worked_out() -> None:
    symbol = int(klineagg.intern("ZONE-ONE")[0])
    with Engine(
        "1d@America/New_York", clock=SimulatedClock("1980-01-01"), max_ahead=None
    ) as engine:
        push_one = engine.producer().push_one
        for day in ("2012-03-11T06:00", "2012-11-04T05:00"):  # the days of its clock changes
            assert push_one(symbol, 5.0, 1.0, int(np.datetime64(day, "ns").astype(np.int64)))
        engine.advance("2040-01-01")
        with engine.take("lake") as snapshot:
            days = snapshot.closed[snapshot.closed.trade_count > 0]
        hours = (days.close_time - days.open_time) / np.timedelta64(1, "h")
        assert hours.tolist() == [23.0, 25.0]
        last = engine.bars("ZONE-ONE")
        assert len(last) == 0


def test_a_stamp_that_is_rejected_makes_no_table_longer() -> None:
    clock = SimulatedClock("2020-01-01")
    with Engine("1d@Asia/Tokyo", clock=clock) as engine:
        reach = engine._reach
        bad = hourly("2100-01-01", 1)
        assert engine.producer().push(bad).rejected == 1
        assert engine._reach == reach


def test_an_interval_of_a_zone_comes_while_old_trades_flow() -> None:
    trades = hourly("1960-03-01", 80 * 24)
    with Engine("1h", clock=SimulatedClock("1960-02-20"), max_ahead=None, gaps="none") as engine:
        producer = engine.producer()
        half = 40 * 24 + 7
        producer.push({name: column[:half] for name, column in trades.items()})
        engine.reconfigure(add="1d@America/New_York")
        producer.push({name: column[half:] for name, column in trades.items()})
        engine.flush()
        with engine.take("lake") as snapshot:
            days = snapshot.closed[:, "1d@America/New_York"]
        expected = klineagg.aggregate(trades, "1d@America/New_York", include_open=False)
        # The first day is cut by what was held when the interval came.
        assert days.flags[0] & PARTIAL
        behind = expected[len(expected) - len(days) + 1 :]
        assert days[1:].open_time.tobytes() == behind.open_time.tobytes()
        assert days[1:].volume.tobytes() == behind.volume.tobytes()
        assert len(days) > 30


def test_checkpoints_and_bars_of_other_years_than_those_worked_out() -> None:
    trades = hourly("1995-10-01", 60 * 24)
    with Engine(ZONED, clock=SimulatedClock("1995-09-01"), max_ahead=None) as first:
        first.producer().push(trades)
        with first.take("lake", checkpoint=True) as snapshot:
            state, closed = snapshot.checkpoint, snapshot.closed
        before = first.view().open
    assert state is not None
    second = Engine(ZONED, clock=SystemClock(), amend_horizon=None)
    assert second.restore(state) == 1
    with second.take("lake") as snapshot:  # the clock has closed what was open
        rows = snapshot.closed[snapshot.closed.trade_count > 0]
    assert sorted(rows.volume.tolist()) == sorted(before.volume.tolist())
    third = Engine(ZONED, clock=SystemClock(), keep_bars=5)
    assert third.warm_start(closed) == 1
    assert len(third.bars("ZONE-A", "1d@America/New_York")) == 5


@pytest.mark.parametrize("clock_start", [None, "1996-10-12", "2012-01-01", "system"])
@pytest.mark.parametrize("start", ["1969-12-29", "2009-03-01", "2024-02-28"])
def test_open_bars_of_a_checkpoint_of_other_years(start: str, clock_start: str | None) -> None:
    """The base is no wall clock's, so its open bars say nothing of what is not worked out."""
    intervals = "1d@America/New_York,1w@Europe/Berlin"
    with Engine(intervals, clock=SimulatedClock(start), max_ahead=None) as engine:
        engine.producer().push(hourly(start, 30))
        engine.flush()
        checkpoint = engine.checkpoint()
        expected = engine.view().open
    clock = SystemClock() if clock_start == "system" else SimulatedClock(clock_start)
    engine = Engine(intervals, clock=clock, max_ahead=None)
    assert engine.restore(checkpoint) == 1
    with engine:
        with engine.take("lake") as snapshot:  # a later clock has closed them
            closed = snapshot.closed.resolve()
        told = klineagg.Bars.concat([closed, engine.view().open])
    for name in intervals.split(","):
        mine = told[:, name]
        mine = mine[mine.trade_count > 0]
        for column in ("open_time", "close_time", "open", "close", "trade_count", "volume"):
            assert mine.column(column).tobytes() == expected[:, name].column(column).tobytes()


def test_clocks_that_were_set_by_seconds_are_refused() -> None:
    """Amsterdam was 19 minutes and 32 seconds ahead, which bars made of quarters cannot follow."""
    trades = hourly("1930-01-01", 3)
    with Engine("1d@Europe/Amsterdam", clock=SimulatedClock("1990-01-01"), amend_horizon=None,
                max_ahead=None) as engine:  # fmt: skip
        producer = engine.producer()
        with pytest.raises(IntervalError):
            producer.push(trades)
        assert engine.counts().offered == 0
        recent = hourly("1990-03-01", 3)
        producer.push(recent)
        engine.flush()
        assert engine.counts().accepted == 3


@pytest.mark.parametrize("checkpoint", [False, True])
def test_what_is_recovered_may_be_older_than_what_is_worked_out(
    tmp_path: Path, checkpoint: bool
) -> None:
    """Years of backfill on the system's clock: the tables of the next engine begin later."""
    trades = hourly("1990-02-01", 90 * 24)
    options: dict[str, Any] = {"clock": SystemClock(), "amend_horizon": None, "gaps": "none"}
    with Engine(ZONED, wal=tmp_path, **options) as engine:
        engine.producer().push({name: column[:1_000] for name, column in trades.items()})
        engine.flush()
        with engine.take("lake", checkpoint=checkpoint) as snapshot:
            first = snapshot.closed
        engine.producer().push({name: column[1_000:] for name, column in trades.items()})
        engine.flush()
    with Engine(ZONED, wal=tmp_path, **options) as engine:
        assert engine.recovery is not None
        assert engine.recovery.trades == (len(trades["time"]) - (1_000 if checkpoint else 0))
        with engine.take("lake") as snapshot:
            told = klineagg.Bars.concat([first, snapshot.closed]).resolve()
        # What comes next finds the tables that it needs, too.
        engine.producer().push(hourly("1985-05-01", 3, "ZONE-B"))
        engine.flush()
        with engine.take("lake") as snapshot:
            days = snapshot.closed["ZONE-B", "1d@America/New_York"]
    assert days.trade_count.tolist() == [3]
    expected = klineagg.aggregate(trades, ZONED, lateness=0, late="amend")
    for name in ZONED.split(","):
        mine, theirs = told[:, name], expected[:, name]
        for column in ("open_time", "close_time", "open", "close", "trade_count", "volume"):
            assert mine.column(column).tobytes() == theirs.column(column).tobytes(), name


def test_an_interval_of_a_zone_that_went_has_its_rows_after_a_crash(tmp_path: Path) -> None:
    trades = hourly("2015-03-01", 60 * 24)

    def live(engine: Engine) -> None:
        feed = engine.producer()
        feed.push({name: column[:500] for name, column in trades.items()})
        with engine.take("lake", checkpoint=True):
            pass
        feed.push({name: column[500:1_000] for name, column in trades.items()})
        engine.reconfigure(intervals="1h,6h@Europe/London")
        feed.push({name: column[1_000:] for name, column in trades.items()})
        engine.reconfigure(intervals="1h")
        engine.flush()

    def rest(engine: Engine) -> dict[tuple[str, str], tuple[str, ...]]:
        rows = engine.take("lake").closed
        return {(row.interval, str(row.open_time)): tuple(map(str, row)) for row in rows}

    names = "1h,1d@America/New_York,4h@Australia/Lord_Howe"
    with Engine(names, clock=SimulatedClock(), max_ahead=None, wal=tmp_path / "whole") as whole:
        live(whole)
        wanted = rest(whole)
    with Engine(names, clock=SimulatedClock(), max_ahead=None, wal=tmp_path / "log") as crashed:
        live(crashed)
    with Engine("1h", clock=SimulatedClock(), max_ahead=None, wal=tmp_path / "log") as engine:
        assert engine.intervals == ("1h",)
        assert rest(engine) == wanted
    assert {name for name, _ in wanted} == {*names.split(","), "6h@Europe/London"}


@pytest.mark.parametrize("again", [False, True])
def test_sessions_that_went_before_a_crash(tmp_path: Path, again: bool) -> None:
    """Their rows come back where they are given again; all others are there either way."""
    desk = klineagg.daily_sessions(
        "desk", "09:30", "16:00", tz="America/New_York", start="2024-01-01", end="2024-02-01"
    )
    trades = hourly("2024-01-02", 4 * 24)
    begin = {name: column[:48] for name, column in trades.items()}
    end = {name: column[48:] for name, column in trades.items()}
    options: dict[str, Any] = {"max_ahead": None, "gaps": "none", "amend_horizon": None}
    wanted: list[Any] = ["1h", desk] if again else ["1h"]
    with Engine(["1h", desk], wal=tmp_path / "log", clock=SimulatedClock(), **options) as engine:
        producer = engine.producer("feed")
        producer.push(begin)
        engine.flush()
        engine.reconfigure(remove="desk")
        producer.push(end)
        engine.flush()
        assert engine.wal is not None
        engine.wal.flush()
        shutil.copytree(tmp_path / "log", tmp_path / "crash")  # as it is left by a kill
    with Engine(wanted, wal=tmp_path / "crash", clock=SimulatedClock(), **options) as engine:
        assert engine.recovery is not None and engine.recovery.trades == 4 * 24
        with engine.take("lake") as snapshot:
            bars = klineagg.Bars.concat([snapshot.closed, engine.view().open])
        whole = klineagg.aggregate(trades, wanted)
        assert bars[:, "1h"].trade_count.tolist() == whole[:, "1h"].trade_count.tolist()
        assert ("desk" in bars.intervals and len(bars[:, "desk"]) > 0) == again
        if again:  # two days of it; it was not there on the others
            opens = bars[:, "desk"].open_time.astype("M8[D]").astype(str).tolist()
            assert opens == ["2024-01-02", "2024-01-03"]
            counts = whole[:, "desk"].trade_count[:2].tolist()
            assert bars[:, "desk"].trade_count.tolist() == counts
