"""Repair: bars rebuilt from trades, and only what differs is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klineagg
from cli.harness import json_of, run
from klineagg import Bars, errors
from klineagg.bars import COLUMNS, BarFlag
from klineagg.data import load_bitmex
from klineagg.lake import Lake
from klineagg.lake.repair import plan_repair, write_repair
from lake.lakes import Delivery, content, delivery

START, END = np.datetime64("2018-01-01T03:00"), np.datetime64("2018-01-01T06:00")
DATA = [name for name in COLUMNS[2:] if name not in ("revision", "flags", "run_length")]


def damaged(trades: np.ndarray[Any, Any], seed: int = 0) -> np.ndarray[Any, Any]:
    """The trades without some minutes, with wrong prices, and with some that never were."""
    chance = np.random.default_rng(seed)
    minute = trades["time"].astype("datetime64[m]")
    lost = np.datetime64("2018-01-01T04:00") + chance.integers(0, 60, 7)
    out = trades[~np.isin(minute, lost)].copy()
    inside = (out["time"] >= START) & (out["time"] < END)
    wrong = np.flatnonzero(inside)[chance.integers(0, int(inside.sum()), 5)]
    out["price"][wrong] += chance.integers(1, 50, 5)
    return out


def committed(lake: Lake, trades: Any, number: int, gaps: Any = "runs") -> Bars:
    bars = klineagg.aggregate(trades, "1m,5m,1h", gaps=gaps)
    closed = bars[bars.is_closed]
    lake.commit(Delivery((1, number), closed, bars[~bars.is_closed], None, number))
    return closed


def is_repaired(lake: Lake, before: Bars, trades: Any, gaps: Any = "flat") -> None:
    """Within the range the bars of the trades, with higher revisions; outside as before."""
    after = lake.bars(include_open=False)
    wanted = klineagg.aggregate(trades, "1m,5m,1h", gaps=gaps, include_open=False)
    for name in after.intervals:
        ours, old, full = after[:, name], before[:, name].expand_gaps(), wanted[:, name]
        inside = (full.open_time >= START) & (full.close_time <= END)
        mine = (ours.open_time >= START) & (ours.close_time <= END)
        found, right = ours[np.flatnonzero(mine)], full[np.flatnonzero(inside)]
        for column in DATA:
            assert found.column(column).tolist() == right.column(column).tolist(), (name, column)
        gap = np.uint16(BarFlag.GAP)
        assert ((found.flags & gap) == (right.flags & gap)).all()
        revised = found.flags & np.uint16(BarFlag.REVISED) != 0
        assert (revised == (found.revision == 1)).all()
        outside = np.flatnonzero((old.open_time < START) | (old.close_time > END))
        rest = ours[np.flatnonzero(~mine)]
        for column in (*DATA, "revision", "flags"):
            kept = old[outside].column(column)
            assert rest.column(column).tolist() == kept.tolist(), (name, column)


@pytest.mark.parametrize("seed", [0, *(pytest.param(k, marks=pytest.mark.slow) for k in (1, 2, 3))])
@pytest.mark.parametrize("gaps", ["runs", "none"])
def test_only_what_differs_is_written_and_once(lake: Lake, seed: int, gaps: Any) -> None:
    trades = load_bitmex()
    before = committed(lake, damaged(trades, seed), 1, gaps)
    old, snapshots = content(lake), len(lake.snapshots())
    half = np.searchsorted(trades["time"], np.datetime64("2018-01-01T04:30"))
    shuffled = np.concatenate([trades[half:], trades[:half]])
    plan = plan_repair(lake, "XBTUSD", START, END, shuffled)
    assert plan.differences and plan.unexplained == 0 and not plan.skipped
    assert content(lake) == old and len(lake.snapshots()) == snapshots, "a plan changes nothing"
    done = write_repair(lake, plan)
    assert done is not None and done.applied and done.rows == len(plan.bars)
    assert plan.bars.run_length.sum() < plan.checked / 2, "most bars were right"
    is_repaired(lake, before, trades, "flat" if gaps == "runs" else "none")
    again = plan_repair(lake, "XBTUSD", START, END, trades)
    assert not again.differences and not len(again.bars) and write_repair(lake, again) is None
    assert content(lake, as_of=done.snapshot - 1) == old


def test_trades_that_never_were_leave_runs_that_are_cut_again(lake: Lake) -> None:
    trades = load_bitmex()
    minute = trades["time"].astype("datetime64[m]")
    hole = (minute >= np.datetime64("2018-01-01T04:10")) & (
        minute < np.datetime64("2018-01-01T04:40")
    )
    true = trades[~hole]
    false = np.concatenate([true, trades[minute == np.datetime64("2018-01-01T04:20")]])
    false = false[np.argsort(false["time"], kind="stable")]
    before = committed(lake, false, 1)
    plan = plan_repair(lake, "XBTUSD", START, END, true, intervals=["1m", "5m", "1h"])
    done = write_repair(lake, plan)
    assert done is not None
    is_repaired(lake, before, true)
    rows = lake.bars("XBTUSD", "1m", "2018-01-01T04:10", "2018-01-01T04:40", gaps="runs")
    # The bar became a gap bar, and those behind it flat at another price; those before stay.
    assert rows.run_length.tolist() == [10, 20] and rows.revision.tolist() == [0, 1]


def test_bars_without_trades_or_price_stay(lake: Lake) -> None:
    snapshot = delivery(1, [{"at": k} for k in range(5)])
    lake.commit(Delivery((1, 1), snapshot.closed, snapshot.open))
    none = load_bitmex()[:0]
    plan = plan_repair(lake, "BTCUSDT", "2018-01-01", "2018-01-01T00:05", none, intervals=["1m"])
    assert plan.unexplained == 5 and not plan.differences and write_repair(lake, plan) is None


def test_what_the_engine_has_not_closed_is_refused(lake: Lake) -> None:
    # The watermark of the delivery is one second past the start of the day.
    lake.commit(delivery(1, [{"at": 0}]))
    for start, end in (("2018-01-01", "2018-01-02"), ("2018-01-01", "2018-01-01")):
        with pytest.raises(errors.OptionError) as caught:
            plan_repair(lake, "BTCUSDT", start, end, load_bitmex())
        assert caught.value.name == "invalid_option" and caught.value.fields["option"] == "end"
    with pytest.raises(errors.ResultError):
        plan_repair(lake, "BTCUSDT", 0, 1, load_bitmex(), intervals=["7m"])


@pytest.mark.parametrize("write", [(), ("--write",)])
def test_without_a_clock_the_last_closed_bar_ends_what_is_repaired(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], write: tuple[str, ...]
) -> None:
    pytest.importorskip("duckdb_extension_ducklake")
    trades = load_bitmex()
    with klineagg.Wal(tmp_path / "log") as log:
        log.append_trades(trades)  # more than the engine had, and its open bars
    with Lake(tmp_path / "lake") as lake:
        before = committed(lake, trades[trades["time"] < np.datetime64("2018-01-01T05:30:30")], 1)
        last = before.close_time.max().astype("M8[s]")
        assert last == np.datetime64("2018-01-01T05:30")
        old = content(lake)
    repair = (
        "repair", "XBTUSD", "--lake", tmp_path / "lake", "--wal", tmp_path / "log",
        "--from", "2018-01-01T05:00", *write, "--to",
    )  # fmt: skip
    for end in (last + 1, last + 60, "2018-01-02"):
        error = json_of(capsys, 2, *repair, end)["error"]
        assert error["name"] == "invalid_option" and error["fields"]["option"] == "end"
        assert "bars of XBTUSD up to 2018-01-01T05:30:00" in error["message"]
        assert "the engine still has the rest" in error["hint"]
    assert json_of(capsys, 0, *repair, last)["differences"] == []
    with Lake(tmp_path / "lake", read_only=True) as lake:
        assert content(lake) == old


def test_the_command_prints_and_writes_when_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("duckdb_extension_ducklake")
    trades = load_bitmex()
    with klineagg.Wal(tmp_path / "log") as log:
        log.append_trades(trades)
        log.flush()
    with Lake(tmp_path / "lake") as lake:
        before = committed(lake, damaged(trades), 1)
        old = content(lake)
    arguments = (
        "repair", "XBTUSD", "--lake", tmp_path / "lake", "--from", str(START), "--to", str(END),
        "--wal", tmp_path / "log",
    )  # fmt: skip
    told = json_of(capsys, 1, *arguments)
    assert told["differences"] and told["written"] == 0
    with Lake(tmp_path / "lake", read_only=True) as lake:
        assert content(lake) == old
    assert run(*arguments, "--rows", "3") == 1
    assert "in the lake" in capsys.readouterr().out
    wrote = json_of(capsys, 0, *arguments, "--write")
    assert wrote["written"] == told["rows"] > 0
    assert json_of(capsys, 0, *arguments)["differences"] == []
    with Lake(tmp_path / "lake", read_only=True) as lake:
        is_repaired(lake, before, trades)
