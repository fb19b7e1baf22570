"""Commits, fences and reading, one process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import klineagg
from klineagg import Bars, SimulatedClock, errors
from klineagg.data import BITMEX_COVERAGE, load_bitmex
from klineagg.lake import Lake
from lake.lakes import GAP, REVISED, Delivery, content, delivery, rows_of
from unit.bars_factory import MINUTE, START, bars_of


def test_real_bars_come_back_bit_for_bit(lake: Lake) -> None:
    start, end = BITMEX_COVERAGE
    bars = klineagg.aggregate(
        load_bitmex(), "1s,1m,1h,1d,1M,1h@America/New_York", gaps="runs", coverage=(start, end)
    )
    closed = bars[bars.is_closed]
    done = lake.commit(Delivery((1, 1), closed, bars[~bars.is_closed], None, 7))
    assert done.applied and done.rows == len(closed) and done.replaced == 0
    assert lake.bars(interval=bars.intervals, gaps="runs").equals(bars)
    assert rows_of(lake.bars()) == rows_of(bars.expand_gaps())
    assert lake.bars("XBTUSD", "1h").equals(bars["XBTUSD", "1h"].expand_gaps())
    assert set(lake.intervals()) == set(bars.intervals) and lake.symbols() == ("XBTUSD",)


def test_a_live_engine_and_its_lake_say_the_same(lake: Lake) -> None:
    trades = load_bitmex()
    engine = klineagg.Engine("1m,1h", clock=SimulatedClock(BITMEX_COVERAGE[0]), max_ahead=None)
    producer = engine.start().producer()
    parts = []
    for begin in range(0, 60_000, 20_000):
        producer.push(trades[begin : begin + 20_000])
        engine.flush()
        with engine.take("lake") as snapshot:
            assert lake.commit(snapshot).applied
            assert not lake.commit(snapshot).applied
            parts.append(snapshot.closed)
    view = engine.view()
    engine.stop()
    expected = Bars.concat(parts).resolve()
    assert rows_of(lake.bars(gaps="runs", include_open=False)) == rows_of(expected)
    everything = rows_of(lake.bars(gaps="runs"))
    assert [row for row in everything if row not in rows_of(expected)] == rows_of(view.open)
    fence = lake.fence()
    assert fence is not None and fence.id == tuple(snapshot.id)


def test_repeated_and_belated_snapshots_change_nothing(lake: Lake) -> None:
    lake.commit(delivery(5, [{"at": 0}], [{"at": 1}], position=50), checkpoint=b"five")
    before, snapshots = content(lake), len(lake.snapshots())
    for number, epoch in ((5, 1), (4, 1), (9, 0)):
        late = delivery(number, [{"at": 0, "close": 1.0, "revision": 9}], epoch=epoch, position=1)
        done = lake.commit(late, checkpoint=b"late")
        assert not done.applied and done.fence.id == (1, 5)
    assert content(lake) == before and len(lake.snapshots()) == snapshots
    assert lake.checkpoint() == (b"five", 50)


def test_each_consumer_has_its_own_fence_and_checkpoint(lake: Lake) -> None:
    lake.commit(delivery(5, [{"at": 0}], position=50), checkpoint=b"\x00live")
    lake.commit(delivery(1, [{"at": 1}], position=3), consumer="back'fill")
    lake.commit(delivery(6, [{"at": 2}], position=60))
    first, second = lake.fence("lake"), lake.fence("back'fill")
    assert first is not None and (first.id, first.position) == ((1, 6), 60)
    assert second is not None and (second.id, second.position) == ((1, 1), 3)
    assert lake.fence("nobody") is None and lake.checkpoint("back'fill") is None
    assert lake.checkpoint() == (b"\x00live", 50), "a commit without a checkpoint keeps the last"
    assert len(lake.bars()) == 3


def test_a_revision_inside_a_run_cuts_it_and_the_past_stays_readable(lake: Lake) -> None:
    run = {"at": 1, "run_length": 5, "flags": GAP}
    first = lake.commit(delivery(1, [{"at": 0}, run, {"at": 6}]))
    old = content(lake)
    revised = {"at": 3, "revision": 1, "flags": REVISED, "close": 101.0}
    flat = {"at": 4, "run_length": 2, "flags": GAP | 32, "revision": 1, "close": 101.0}
    done = lake.commit(delivery(2, [revised, flat]))
    assert (done.rows, done.replaced) == (3, 1)
    bars = lake.bars(gaps="runs")
    assert bars.run_length.tolist() == [1, 2, 1, 2, 1]
    assert bars.close.tolist() == [102, 102, 101, 101, 102]
    assert bars.revision.tolist() == [0, 0, 1, 1, 0]
    assert content(lake, as_of=first.snapshot) == old
    at = next(time for number, time, _ in lake.snapshots() if number == first.snapshot)
    assert content(lake, as_of=at) == old
    assert len(lake.sql("FROM bars WHERE revision = 1", as_of=first.snapshot)) == 0
    assert len(lake.sql("FROM bars WHERE revision = 1")) == 3


def test_an_older_revision_or_the_same_row_again_changes_nothing(lake: Lake) -> None:
    lake.commit(delivery(1, [{"at": 0, "revision": 2, "flags": REVISED, "close": 101.0}]))
    before = content(lake)
    done = lake.commit(delivery(2, [{"at": 0, "revision": 1, "flags": REVISED}]))
    assert done.applied and (done.rows, done.replaced) == (0, 0)
    again = {"at": 0, "revision": 2, "flags": REVISED, "close": 101.0}
    done = lake.commit(delivery(1, [again]), consumer="repair")
    assert done.applied and (done.rows, done.replaced) == (0, 0)
    assert content(lake) == before


def test_bars_that_fit_no_bar_of_the_lake_are_refused_and_nothing_is_written(lake: Lake) -> None:
    lake.commit(delivery(1, [{"at": 0}]))
    shifted = {"open_time": START + MINUTE // 2, "close_time": START + MINUTE + MINUTE // 2}
    with pytest.raises(errors.ResultError) as caught:
        lake.commit(delivery(2, [{"at": 5}, shifted]))
    assert caught.value.name == "merge_mismatch"
    fence = lake.fence()
    assert len(lake.bars()) == 1 and fence is not None and fence.id == (1, 1)


def test_open_bars_give_way_to_newer_states_and_to_closed_ones(lake: Lake) -> None:
    hour = {"at": 0, "interval": 1}
    lake.commit(delivery(1, [], [{"at": 0, "close": 1.0}, {**hour, "close": 1.0}]))
    lake.commit(delivery(2, [], [{"at": 0, "close": 2.0}]))
    bars = lake.bars()
    assert not bars.is_closed.any() and bars.close.tolist() == [2.0, 1.0]
    lake.commit(delivery(3, [{"at": 0}]))
    assert lake.bars(interval="1m").is_closed.tolist() == [True]
    lake.commit(delivery(4, [], [{"at": 1, "close": 3.0}]))
    # An amendment of the past leaves the open bar alone.
    lake.commit(delivery(5, [{"at": 0, "revision": 1, "flags": REVISED}]))
    assert lake.bars(interval="1m").is_closed.tolist() == [True, False]
    assert lake.bars(interval="1m", include_open=False).is_closed.tolist() == [True]
    for number in range(6, 40):
        lake.commit(delivery(number, [], [{**hour, "close": float(number)}]))
    assert lake.bars().close.tolist() == [102.0, 3.0, 39.0]


def test_ranges_of_time_cut_runs_and_leave_out_the_rest(lake: Lake) -> None:
    rows = [{"at": 0}, {"at": 1, "run_length": 8, "flags": GAP}, {"at": 9}, {"at": 1440 * 40}]
    lake.commit(delivery(1, [*rows, {"at": 0, "symbol": 1}]))
    bars = lake.bars("BTCUSDT", "1m", START + 3 * MINUTE, START + 10 * MINUTE)
    assert bars.open_time.view(np.int64).tolist() == [START + k * MINUTE for k in range(3, 10)]
    runs = lake.bars("BTCUSDT", "1m", START + 3 * MINUTE, START + 6 * MINUTE, gaps="runs")
    assert runs.run_length.tolist() == [3]
    assert len(lake.bars(None, "1m", "2018-01-01", "2018-01-01T00:01")) == 2
    assert len(lake.bars("BTCUSDT", "1m", "2018-02-01")) == 1
    assert len(lake.bars("nobody", "1m")) == 0 == len(lake.bars([], "1m"))
    assert lake.bars("nobody", "1m").intervals == ("1m",)
    with pytest.raises(errors.ResultError) as caught:
        lake.bars("BTCUSDT", "7m")
    assert caught.value.name == "no_such_series"


def test_sessions_and_zones_expand_as_they_do_in_memory(lake: Lake) -> None:
    sessions = klineagg.sessions(
        "lunch",
        ["2018-01-01T01:00", "2018-01-01T05:00"],
        ["2018-01-01T03:45", "2018-01-01T07:00"],
        tz="UTC",
        every="30m",
    )
    zone = klineagg.Interval("30m@Australia/Lord_Howe")
    price = np.array([1.0, 2.0, 3.0, 4.0])
    time = np.array(
        ["2018-01-01T01:10", "2018-01-01T06:40", "2018-03-31T14:10", "2018-03-31T23:50"], "M8[ns]"
    )
    trades = {"symbol": ["A"] * 4, "time": time, "price": price, "quantity": price}
    bars = klineagg.aggregate(trades, [sessions, zone, "1M"], gaps="runs")
    lake.commit(Delivery((1, 1), bars[bars.is_closed], bars[~bars.is_closed]))
    assert (bars.run_length > 1).any()
    expected = rows_of(bars.expand_gaps())
    assert content(lake) == expected
    table = lake.sql("SELECT * FROM bars").to_arrow()
    assert rows_of(Bars.from_arrow(table)) == expected
    # A revision within a run of pieces of sessions cuts it at their boundaries.
    run = bars[bars.run_length > 1]["A", "lunch"]
    piece = run.expand_gaps()
    middle = piece[3:4]
    columns = {name: middle.column(name).copy() for name in middle.columns}
    columns["revision"][:] = 1
    revised = Bars(columns, symbols=middle.symbol_table, intervals=[sessions, zone, "1M"])
    lake.commit(Delivery((1, 2), revised, bars[:0]))
    after = lake.bars("A", "lunch")
    assert after.open_time.tolist() == bars["A", "lunch"].expand_gaps().open_time.tolist()
    assert after.revision.sum() == 1


def test_activity_bars_of_one_stamp_all_stay(lake: Lake) -> None:
    time = np.full(6, np.datetime64("2018-01-01", "ns"))
    trades = {"symbol": ["A"] * 6, "time": time, "price": np.arange(1.0, 7), "quantity": [1.0] * 6}
    bars = klineagg.aggregate(trades, by="tick", threshold=2)
    lake.commit(Delivery((1, 1), bars, bars[:0]))
    done = lake.commit(Delivery((1, 1), bars, bars[:0]), consumer="again")
    assert (done.rows, done.replaced) == (0, 0)
    assert lake.bars().equals(bars) and len(bars) == 3


def test_strange_numbers_survive(lake: Lake) -> None:
    values = np.array([0x7FF8000000000123], np.uint64).view(np.float64)
    odd = [-0.0, 5e-324, 1.7976931348623157e308, float("nan"), float(values[0]), 0.1 + 0.2]
    rows = [{"at": k, "open": x, "volume": x} for k, x in enumerate(odd)]
    rows[0] |= {"first_trade_id": -1, "last_trade_id": 2**63 - 1, "trade_count": 2**62}
    rows[1] |= {"first_trade_time": START + 1, "last_trade_time": START + 59_999_999_999}
    snapshot = delivery(1, rows)
    lake.commit(snapshot)
    assert content(lake) == rows_of(snapshot.closed)


def test_threads_share_a_lake(lake: Lake) -> None:
    lake.commit(delivery(0, [{"at": 0}]))
    wrong: list[object] = []

    def read() -> None:
        try:
            for _ in range(15):
                bars = lake.bars("BTCUSDT", "1m")
                if bars.open_time.tolist() != sorted(bars.open_time.tolist()):
                    wrong.append(bars)
                lake.sql("SELECT count(*) FROM bars")
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(1, 10):
        lake.commit(delivery(number, [{"at": number}]))
    for thread in threads:
        thread.join()
    assert wrong == [] and len(lake.bars()) == 10


def test_readers_cannot_write_and_closed_lakes_say_so(lake: Lake, tmp_path: Path) -> None:
    lake.commit(delivery(1, [{"at": 0}]))
    with Lake(tmp_path / "lake", read_only=True) as reader:
        assert reader.read_only and len(reader.bars()) == 1 and "read-only" in repr(reader)
        for call in (lambda: reader.commit(delivery(2, [{"at": 1}])), reader.maintain):
            with pytest.raises(errors.LakeError) as caught:
                call()
            assert caught.value.name == "lake_read_only"
    for again in (reader.bars, reader.symbols, lambda: reader.sql("SELECT 1")):
        with pytest.raises(errors.LakeError) as caught:
            again()
        assert caught.value.name == "lake_closed"
    with pytest.raises(errors.LakeError) as caught:
        Lake(tmp_path / "none", read_only=True)
    assert caught.value.name == "lake_catalog" and not (tmp_path / "none").exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_is_told(lake: Lake) -> None:
    lake.commit(delivery(1, [{"at": 0}]))
    child = os.fork()
    if child == 0:
        told = 0
        for call in (lake.bars, lambda: lake.sql("SELECT 1"), lake.maintain):
            with pytest.raises(errors.LakeError) as caught:
                call()
            told += caught.value.name == "lake_closed"
        lake.close()
        os._exit(10 + told)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 13
    assert len(lake.bars()) == 1


def test_what_is_no_catalog_is_refused() -> None:
    for wrong in ("mysql://user:geheim@host/base", "", "postgres:geheim", "bars\0.db"):
        with pytest.raises(errors.OptionError) as caught:
            Lake(wrong)
        assert caught.value.name == "invalid_option"
        assert wrong != "mysql://user:geheim@host/base" or "geheim" not in str(caught.value)


def test_a_duckdb_catalog_serves_one_process(tmp_path: Path) -> None:
    with Lake(f"duckdb:{tmp_path / 'bars.db'}") as made:
        made.commit(delivery(1, [{"at": 0}]))
        assert len(made.bars()) == 1 and len(made.sql("FROM bars")) == 1
    with Lake(tmp_path / "bars2.duckdb") as made:
        assert len(made.bars()) == 0
    assert len(Lake(f"duckdb:{tmp_path / 'bars.db'}").bars()) == 1


def test_symbols_keep_their_names_whatever_their_ids(lake: Lake) -> None:
    swapped = Delivery(
        (1, 1), bars_of([{"at": 0}, {"at": 1, "symbol": 1}], {0: "B", 1: "A"}, ["1m"]),
        bars_of([], {}, ["1m"]),
    )  # fmt: skip
    lake.commit(swapped)
    assert lake.symbols() == ("A", "B") == lake.symbols("1m")
    assert lake.bars("A").open_time.view(np.int64).tolist() == [START + MINUTE]


# DuckDB takes python -c for a session of a person, and draws bars for statements that take long;
# here all of them do.
SLOW = """
import sys, duckdb
made = duckdb.connect
def connect(*arguments, **more):
    connection = made(*arguments, **more)
    connection.execute("SET progress_bar_time = 0")
    print("connected")
    return connection
duckdb.connect = connect
from klineagg.lake import Lake
with Lake(sys.argv[1]) as lake:
    lake.sql("FROM bars")
"""


def test_opening_and_reading_draw_nothing_on_the_standard_output(tmp_path: Path) -> None:
    out = subprocess.run(
        [sys.executable, "-c", SLOW, str(tmp_path / "lake")],
        capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ).stdout  # fmt: skip
    # What is above, and the statement that turns them off.
    assert out.count("elapsed") <= 2 * out.count("connected") > 0
