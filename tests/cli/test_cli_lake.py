"""klineagg lake, and klineagg verify with a lake."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

import klineagg
from cli.harness import json_of, run
from klineagg.data import load_bitmex
from klineagg.io.barfiles import read_bars
from klineagg.lake import Lake
from lake.lakes import Delivery


def klines(bars: klineagg.Bars) -> str:
    return "".join(
        f"{bar.open_time.astype(np.int64) // 10**6},{bar.open},{bar.high},{bar.low},{bar.close},"
        f"{bar.volume},{bar.close_time.astype(np.int64) // 10**6 - 1},{bar.quote_volume},"
        f"{bar.trade_count},{bar.taker_buy_volume},{bar.taker_buy_quote_volume},0\n"
        for bar in bars
    )


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A lake with the minutes and hours of real trades, in two commits."""
    pytest.importorskip("duckdb_extension_ducklake")
    bars = klineagg.aggregate(load_bitmex(), "1m,1h", gaps="runs")
    closed = bars[bars.is_closed]
    with Lake(tmp_path / "lake") as lake:
        early = closed.open_time < np.datetime64("2018-01-01T06:00")
        lake.commit(Delivery((1, 1), closed[early], bars[:0], None, 5))
        lake.commit(Delivery((1, 2), closed[~early], bars[~bars.is_closed], None, 9))
    return tmp_path / "lake"


def test_lake(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bars = klineagg.aggregate(load_bitmex(), "1m,1h", gaps="runs")
    told = json_of(capsys, 0, "lake", "info", place, "--symbols")
    assert told["symbols"] == ["XBTUSD"]
    assert told["consumers"]["lake"] == {"id": [1, 2], "position": 9, "watermark": None}
    assert {each["interval"]: each["rows"] for each in told["intervals"]} == {
        name: len(bars[:, name]) for name in ("1m", "1h")
    }
    assert run("lake", "info", place) == 0
    assert "1 symbol," in capsys.readouterr().out

    target = tmp_path / "hours.parquet"
    arguments = ("lake", "bars", place, "-i", "1h", "--from", "2018-01-01T03:00", "-o", target)
    assert json_of(capsys, 0, *arguments)["rows"] == len(read_bars(target))
    wanted = bars[:, "1h"].expand_gaps().between("2018-01-01T03:00", None)
    assert read_bars(target).close.tolist() == wanted.close.tolist()
    assert run("lake", "bars", place, "-i", "1h", "--rows", "4") == 0
    assert "XBTUSD" in capsys.readouterr().out

    query = "SELECT count(*) AS n FROM bars WHERE \"interval\" = '1h'"
    every = len(bars[:, "1h"].expand_gaps())
    assert json_of(capsys, 0, "lake", "sql", place, query)["result"] == [{"n": every}]
    with Lake(place, read_only=True) as lake:
        first = next(number for number, _, text in lake.snapshots() if text == "lake 1.1")
    old = json_of(capsys, 0, "lake", "sql", place, query, "--as-of", first)
    assert old["result"][0]["n"] == 6
    assert run("lake", "sql", place, "DELETE FROM closed") == 3
    assert run("lake", "info", tmp_path / "none") == 3
    assert run("lake", "maintain", tmp_path / "none") == 3
    assert not (tmp_path / "none").exists()
    whole_day = ("--from", "2018-01-01", "--to", "2018-01-02", "--wal", tmp_path)
    assert run("repair", "NOPE", "--lake", place, *whole_day) == 2
    assert "NOPE" in capsys.readouterr().err
    capsys.readouterr()
    done = json_of(capsys, 0, "lake", "maintain", place, "--retention", "1m=1d")
    assert done["bars_expired"] == len(bars[:, "1m"][bars[:, "1m"].is_closed])
    assert json_of(capsys, 0, "lake", "sql", place, query)["result"] == [{"n": every}]


def test_verify_a_lake(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bars = klineagg.aggregate(load_bitmex(), "1m", gaps="flat")
    text = klines(bars[bars.is_closed])
    theirs = tmp_path / "XBTUSD-1m-2018-01-01.zip"
    with zipfile.ZipFile(theirs, "w") as archive:
        archive.writestr("XBTUSD-1m-2018-01-01.csv", text)
    told = json_of(capsys, 0, "verify", place, theirs)
    assert told["same"] and told["compared"] > 600
    part = json_of(capsys, 0, "verify", place, theirs, "--coverage", "2018-01-01..2018-01-01T01")
    assert part["compared"] == 60
    lines = text.splitlines(keepends=True)
    lines[7] = lines[7].replace(f",{bars.close[7]},", ",1.5,")
    with zipfile.ZipFile(theirs, "w") as archive:
        archive.writestr("XBTUSD-1m-2018-01-01.csv", "".join(lines))
    told = json_of(capsys, 1, "verify", place, theirs)
    assert told["fields"]["close"]["differing"] == 1


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_bars_that_cannot_be_written(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    target = tmp_path / "none" / name
    error = json_of(capsys, 4, "lake", "bars", place, "-o", target)["error"]
    assert error["name"] == "file_not_written" and str(target) in error["message"]
