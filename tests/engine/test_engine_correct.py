"""Cancelled and corrected trades, repairs of a running engine, revisions that others have given."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klineagg
from klineagg import Engine, SimulatedClock, errors
from klineagg.bars import BarFlag, Bars
from klineagg.engine import CorrectionReport
from klineagg.lake import Lake
from klineagg.lake.repair import plan_repair, write_repair
from klineagg.wal import Wal

START = np.datetime64("2024-01-01T00:00", "ns")
END = START + np.timedelta64(2, "h")
COLUMNS = (
    "open", "high", "low", "close", "volume", "quote_volume", "trade_count",
    "taker_buy_volume", "first_trade_id", "last_trade_id",
)  # fmt: skip


def trades(count: int = 400, seed: int = 0) -> np.ndarray[Any, Any]:
    chance = np.random.default_rng(seed)
    names = ["symbol", "time", "price", "quantity", "side", "trade_id"]
    rows = np.zeros(
        count,
        np.dtype(list(zip(names, ["U8", "M8[ns]", "f8", "f8", "i1", "i8"], strict=True))),
    )
    rows["symbol"] = "BTCUSDT"
    ns = np.sort(chance.integers(0, 7_000, count)) * 10**9
    rows["time"] = START + ns.astype("timedelta64[ns]")
    rows["price"] = np.round(chance.uniform(90, 110, count), 2)
    rows["quantity"] = np.round(chance.uniform(0.001, 5, count), 3)
    rows["side"] = chance.choice([-1, 1], count)
    rows["trade_id"] = np.arange(count) + 1
    return rows


def engine_of(folder: Path | Wal, **options: Any) -> Engine:
    chosen: dict[str, Any] = {"amend_horizon": None, "clock": SimulatedClock(), "max_ahead": None}
    return Engine("1m,5m,1h", wal=folder, **(chosen | options))


def push(engine: Engine, rows: Any, until: Any = END) -> None:
    with engine.producer("feed") as feed:
        feed.push(rows)
        feed.flush()
    engine.advance(until)


def closed(engine: Engine) -> Bars:
    with engine.take("lake") as snapshot:
        return snapshot.closed


def is_right(bars: Bars, rows: Any) -> None:
    """The newest revisions with trades are the bars of these trades, and no others are."""
    found = bars.resolve().expand_gaps()
    found = found[np.flatnonzero(found.trade_count > 0)]
    wanted = klineagg.aggregate(rows, "1m,5m,1h", coverage=(None, END), include_open=False)
    assert found.open_time.tolist() == wanted.open_time.tolist()
    for name in COLUMNS:
        assert found.column(name).tolist() == wanted.column(name).tolist(), name


def test_cancelled_and_corrected_trades_leave_the_bars_of_the_others(tmp_path: Path) -> None:
    rows = trades()
    with engine_of(tmp_path / "log") as engine:
        push(engine, rows)
        parts = [closed(engine)]
        assert engine.cancel("BTCUSDT", 17).replaced == 3
        assert engine.cancel("BTCUSDT", 17) == CorrectionReport(0, 0, 0, 0)
        report = engine.correct("BTCUSDT", 200, price=500.0, quantity=2.5)
        assert report.replaced == 3 and report.position > 0
        # Into another bar.
        engine.correct("BTCUSDT", 201, time=rows["time"][300])
        assert engine.cancel("BTCUSDT", 200).replaced == 3
        parts.append(closed(engine))
        revised = parts[1]
        assert (revised.revision > 0).all() and (revised.flags & BarFlag.REVISED != 0).all()
        after = rows.copy()
        after["time"][200] = rows["time"][300]
        after = np.delete(after, [16, 199])
        order = np.argsort(after["time"], kind="stable")
        is_right(Bars.concat(parts), after[order])
        state = engine.checkpoint()
    with engine_of(tmp_path / "log") as again:
        assert again.recovery is not None and again.recovery.records > 3
        assert again.checkpoint()[-2000:] == state[-2000:]
        assert again.cancel("BTCUSDT", 200).replaced == 0


def test_the_only_trade_of_a_bar_leaves_a_flat_one(tmp_path: Path) -> None:
    rows = trades(3)
    rows["time"] = START + np.array([0, 60, 120]).astype("timedelta64[s]")
    for gaps in ("runs", "none"):
        with engine_of(tmp_path / gaps, gaps=gaps) as engine:
            push(engine, rows)
            closed(engine)
            engine.cancel("BTCUSDT", 2)
            bars = closed(engine)["BTCUSDT", "1m"]
            assert bars.open_time.tolist() == [rows["time"][1].astype(np.int64)]
            assert bars.trade_count.tolist() == [0] and bars.revision.tolist() == [1]
            assert bars.close.tolist() == [rows["price"][0]]
            assert bars.flags.tolist() == [BarFlag.CLOSED | BarFlag.GAP | BarFlag.REVISED]


def test_an_open_bar_simply_has_the_trade_no_more(tmp_path: Path) -> None:
    rows = trades(50)
    rows["time"] = START + np.arange(50).astype("timedelta64[s]")
    with engine_of(tmp_path / "log") as engine:
        push(engine, rows, START + np.timedelta64(1, "s"))
        engine.cancel("BTCUSDT", 50)
        engine.cancel("BTCUSDT", 49)
        view = engine.view().open
        assert set(view.trade_count.tolist()) == {48} and set(view.last_trade_id.tolist()) == {48}
        engine.advance(END)
        bars = closed(engine)
        assert set(bars.revision.tolist()) == {0}
        is_right(bars, rows[:48])


def test_what_cannot_be_done_is_said(tmp_path: Path) -> None:
    rows = trades()
    with engine_of(tmp_path / "log") as engine:
        push(engine, rows)
        for trade_id, source in ((10_000, 0), (5, 9)):
            with pytest.raises(errors.EngineError) as caught:
                engine.cancel("BTCUSDT", trade_id, source=source)
            assert caught.value.name == "correction_unknown_trade"
        with pytest.raises(errors.OptionError):
            engine.correct("BTCUSDT", 5, pric=1.0)
        with pytest.raises(errors.OptionError):
            engine.correct("BTCUSDT", 5, quantity=0)
    with Engine("1m", clock=SimulatedClock()) as plain:
        with pytest.raises(errors.EngineError) as caught:
            plain.cancel("BTCUSDT", 1)
        assert caught.value.name == "correction_needs_log"


def test_a_repair_puts_in_what_was_missing(tmp_path: Path) -> None:
    rows = trades()
    heard = rows[np.random.default_rng(1).random(len(rows)) > 0.05]
    with engine_of(tmp_path / "log") as engine:
        push(engine, heard)
        before = closed(engine)
        # The log has what was heard: nothing differs.
        told = engine.repair("BTCUSDT", START, END)
        assert told.replaced == 0 and told.same > 100
        mixed = rows[np.random.default_rng(2).permutation(len(rows))]
        told = engine.repair("BTCUSDT", START, END, mixed)
        assert told.replaced > 0
        after = closed(engine)
        # Behind the first bar: flat bars before that are not kept by the engine.
        is_right(Bars.concat([before, after]), rows)
        assert engine.repair("BTCUSDT", START, END, rows).replaced == 0
        state = engine.checkpoint()
    with engine_of(tmp_path / "log") as again:
        assert again.checkpoint()[-2000:] == state[-2000:]


def test_amendments_are_above_what_a_repair_has_written(tmp_path: Path) -> None:
    pytest.importorskip("duckdb_extension_ducklake")
    rows = trades()
    late = rows[100:101].copy()
    late["trade_id"] = 5_000
    late["price"] = 300.0
    with Lake(tmp_path / "lake") as lake:
        with engine_of(tmp_path / "log") as engine:
            push(engine, np.delete(rows, slice(90, 120)))
            with engine.take("lake", checkpoint=True) as snapshot:
                lake.commit(snapshot, checkpoint=snapshot.checkpoint)
        # Twice, so that the revision is above what an amendment alone would give.
        for part in (np.delete(rows, slice(95, 110)), rows):
            plan = plan_repair(lake, "BTCUSDT", START, END, part)
            assert write_repair(lake, plan) is not None
        known = lake.revisions(START)
        assert max(row[-1] for row in known) == 2
        assert {row[0] for row in known} == {"BTCUSDT"}
        found = lake.checkpoint()
        assert found is not None
        with engine_of(tmp_path / "log", checkpoint=found[0], revisions=known) as engine:
            push(engine, late, END)
            with engine.take("lake") as snapshot:
                assert snapshot.closed.revision.min() >= 1
                assert lake.commit(snapshot).replaced > 0
        bars = lake.bars("BTCUSDT", ["1m", "5m", "1h"], include_open=False)
        high = bars[np.flatnonzero((bars.high == 300.0) & (bars.trade_count > 0))]
        assert sorted(high.interval.tolist()) == [0, 1, 2], "the late trade is in the lake"
        assert (high.revision >= 2).all()


def test_a_search_reads_the_part_of_the_log_that_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from klineagg import _engine_logged, _wal_read

    rows = trades(4_000)
    rows["symbol"][1::2] = "ETHUSDT"
    read = 0

    def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal read
        for record in _replay(*arguments, **named):
            read += 0 if record.trades is None else len(record.trades)
            yield record

    _replay = _wal_read.replay
    monkeypatch.setattr(_engine_logged, "replay", counted)
    monkeypatch.setattr(_engine_logged, "_BLOCK_ROWS", 100)
    monkeypatch.setattr(_wal_read, "_BATCH_ROWS", 100)
    instead = {"price": 91.0, "quantity": 9.0, "time": rows["time"][40]}
    with Wal(tmp_path / "log", segment_bytes=16_384) as wal, engine_of(wal) as engine:
        with engine.producer("feed") as feed:
            for begin in range(0, len(rows), 50):
                feed.push(rows[begin : begin + 50])
                feed.flush()
        engine.advance(END)
        parts = [closed(engine)]
        engine.cancel("BTCUSDT", 2_001)
        assert read >= len(rows)  # all of it, once
        read = 0
        engine.cancel("BTCUSDT", 2_003)
        # The hour around it, and where it is.
        assert read < 0.75 * len(rows)
        # From the end of the log to its beginning.
        engine.correct("ETHUSDT", 3_990, **instead)
        engine.cancel("ETHUSDT", 42)
        assert engine.repair("ETHUSDT", START, END).replaced == 0
        parts.append(closed(engine))
        with pytest.raises(errors.EngineError, match="correction_unknown_trade"):
            engine.cancel("ETHUSDT", 2_001)
    after = rows.copy()
    for name, value in instead.items():
        after[name][3_989] = value
    after = np.delete(after, [41, 2_000, 2_002])
    bars = Bars.concat(parts)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        its = after[after["symbol"] == symbol]
        is_right(bars[symbol], its[np.argsort(its["time"], kind="stable")])


def test_a_segment_that_goes_away_while_it_is_read_is_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from klineagg import _engine_logged, _wal_read

    rows = trades()
    calls = 0

    def gone(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls in (2, 4):  # in the search behind the first reading, and once more
            raise errors.make("wal_range", "the log begins later by now")
        return _replay(*arguments, **named)

    _replay = _wal_read.replay
    monkeypatch.setattr(_engine_logged, "replay", gone)
    with engine_of(tmp_path / "log") as engine:
        push(engine, rows)
        parts = [closed(engine)]
        assert engine.cancel("BTCUSDT", 17).replaced == 3
        assert calls > 4
        parts.append(closed(engine))
    is_right(Bars.concat(parts), np.delete(rows, 16))


def test_symbols_may_be_numbers_without_a_name(tmp_path: Path) -> None:
    rows = trades(300)
    table = {name: rows[name] for name in rows.dtype.names or ()}
    table["symbol"] = np.full(len(rows), 1_000_003, np.int32)
    with engine_of(tmp_path / "log") as engine:
        push(engine, table)
        parts = [closed(engine)]
        assert engine.cancel(1_000_003, 150).replaced == 3
        parts.append(closed(engine))
        found = next(Wal.read_trades(tmp_path / "log"))
        assert set(found["symbol"].tolist()) == {1_000_003}
    is_right(Bars.concat(parts), np.delete(rows, 149))


def test_a_repair_out_of_the_log_has_what_was_pushed_just_now(tmp_path: Path) -> None:
    rows = trades(60_000)
    with engine_of(tmp_path / "log") as engine, engine.producer("feed") as feed:
        for begin in range(0, len(rows), 12_000):
            feed.push(rows[begin : begin + 12_000])
            # Bars would lose the trades that wait in the lanes, and are in the log a moment later.
            told = engine.repair("BTCUSDT", START, END)
            assert (told.replaced, told.unexplained) == (0, 0)
        engine.advance(END)
        is_right(closed(engine), rows)


def test_a_repair_asks_for_more_than_the_log_has(tmp_path: Path) -> None:
    rows = trades(6_000)
    wal = Wal(tmp_path / "log", segment_bytes=16_384, size_max=65_536)
    with wal, engine_of(wal) as engine, engine.producer("feed") as feed:
        parts = []
        for begin in range(0, len(rows), 50):
            feed.push(rows[begin : begin + 50])
            with engine.take("lake", checkpoint=True) as snapshot:
                parts.append(snapshot.closed)
        assert wal.stats().removed_segments > 0
        for start in (START, rows["time"][10]):
            with pytest.raises(errors.EngineError, match="correction_log_gone"):
                engine.repair("BTCUSDT", start, END)
        assert engine.repair("BTCUSDT", rows["time"][-20], END).replaced == 0
        with pytest.raises(errors.EngineError, match="correction_unknown_trade"):
            engine.cancel("BTCUSDT", 7)
        # Of its hour, and perhaps of its minute, the log does not have all any more.
        told = engine.cancel("BTCUSDT", int(next(wal.trades())["first_trade_id"][0]))
        assert told.unexplained >= 1 and told.replaced + told.unexplained == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"price": 0.0}, {"price": -5.0}, {"price": "5"}, {"price": math.nan}, {"price": 2.0**101},
        {"quantity": 0.0}, {"quantity": -1.0}, {"quantity": 2.0**-101}, {"side": "buy"},
        {"flags": 1.5}, {"prize": 5.0},
    ],
)  # fmt: skip
def test_values_that_no_trade_can_have_are_refused_and_change_nothing(
    tmp_path: Path, wrong: dict[str, Any]
) -> None:
    rows = trades()
    with engine_of(tmp_path / "log") as engine:
        push(engine, rows)
        before = closed(engine)
        with pytest.raises(errors.OptionError) as caught:
            engine.correct("BTCUSDT", 17, **wrong)
        assert caught.value.name == "invalid_option"
        assert next(iter(wrong)) in caught.value.message
        is_right(Bars.concat([before, closed(engine)]), rows)


def test_a_price_below_zero_is_one_where_the_engine_takes_it(tmp_path: Path) -> None:
    rows = trades()
    for price in (-5.0, 0.0):
        with engine_of(tmp_path / f"log{price}", allow_nonpositive_prices=True) as engine:
            push(engine, rows)
            before = closed(engine)
            assert engine.correct("BTCUSDT", 17, price=price).replaced == 3
            bars = Bars.concat([before, closed(engine)]).resolve()
            assert bars["BTCUSDT", "1h"].low.min() == price
