"""klineagg aggregate: what it writes, counts and refuses."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klineagg
from cli.harness import NAME, json_of, run
from klineagg.io.barfiles import read_bars
from unit import dumps
from unit.dumps import make_trades, write, write_gz


@pytest.mark.parametrize("suffix", ["parquet", "arrow", "csv", "csv.gz"])
def test_aggregate_writes_the_bars_of_the_trades(tmp_path: Path, dump: Path, suffix: str) -> None:
    if not suffix.startswith("csv"):
        pytest.importorskip("pyarrow")
    target = tmp_path / f"bars.{suffix}"
    assert run("aggregate", dump, "-i", "1m,5m,1h", "-o", target, "-q") == 0
    bars = klineagg.aggregate(make_trades(1500).columns(), "1m,5m,1h")
    assert read_bars(target).equals(bars)


def test_notes_go_to_standard_error(
    tmp_path: Path, dump: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("aggregate", dump, "-o", tmp_path / "a.csv") == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "preset binance-trades" in said.err
    assert "1,500 trades" in said.err
    assert run("aggregate", dump, "-o", tmp_path / "a.csv", "-q") == 0
    assert capsys.readouterr() == ("", "")


def test_standard_output_is_csv(dump: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("aggregate", dump, "-i", "1h", "-o", "-") == 0
    lines = capsys.readouterr().out.splitlines()
    bars = klineagg.aggregate(make_trades(1500).columns(), "1h")
    assert len(lines) == len(bars) + 1
    assert lines[1].startswith("BTCUSDT,1h,2024-01-01T00:00:00Z,2024-01-01T01:00:00Z,")


def test_without_output_a_table_is_shown(dump: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("aggregate", dump, "-i", "1h") == 0
    assert "BTCUSDT" in capsys.readouterr().out


def test_one_of_a_thing_is_not_called_many(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.csv", "symbol,time,price,qty\nA,1704067200,1,1\nA,1704067201,x,1\n")
    assert run("aggregate", path, "--on-bad", "count") == 0
    said = capsys.readouterr().err
    assert "1 row left out" in said
    assert "2 trades -> 1 bar of 1 symbol (1m)" in said


def test_json_of_aggregate(tmp_path: Path, dump: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "a.csv"
    result = json_of(capsys, 0, "aggregate", dump, "-i", "1m", "-o", target)
    assert result["command"] == "aggregate"
    assert result["rows"] == len(read_bars(target))
    assert result["symbols"] == ["BTCUSDT"]
    assert result["report"]["offered"] == result["report"]["accepted"] == 1500
    assert result["report"]["balanced"]
    (file,) = result["files"]
    assert (file["file"], file["preset"], file["rows"]) == (str(dump), "binance-trades", 1500)


def test_options_reach_the_aggregation(
    tmp_path: Path, dump: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = make_trades(1500).columns()
    for options, arguments in (
        (["--gaps", "flat"], {"gaps": "flat"}),
        (["--gaps", "runs", "--coverage", "2024-01-01T00:00:30..2024-01-03"],
         {"gaps": "runs", "coverage": ("2024-01-01T00:00:30", "2024-01-03")}),
        (["--coverage", "..2024-01-03"], {"coverage": (None, "2024-01-03")}),
        (["--closed-only"], {"include_open": False}),
        (["--lateness", "5s"], {"lateness": "5s"}),
        (["--threads", "2"], {"threads": 2}),
    ):  # fmt: skip
        assert run("aggregate", dump, "-o", tmp_path / "a.csv", "-q", *options) == 0
        assert read_bars(tmp_path / "a.csv").equals(klineagg.aggregate(columns, "1m", **arguments))
    by = ["--by", "tick", "--threshold", "7"]
    assert run("aggregate", dump, "-o", tmp_path / "a.csv", "-q", *by) == 0
    ticks = klineagg.aggregate(columns, by="tick", threshold=7)
    assert read_bars(tmp_path / "a.csv").equals(ticks)
    capsys.readouterr()


@pytest.mark.parametrize("option", ["--lateness", "--amend-horizon"])
@pytest.mark.parametrize("text", ["5", "05", "\u0665", "-5", "5x", "1M", ""])
def test_a_length_of_time_has_a_unit(
    dump: Path, capsys: pytest.CaptureFixture[str], option: str, text: str
) -> None:
    assert run("aggregate", dump, "--late", "amend", f"{option}={text}") == 2
    said = capsys.readouterr().err
    assert f"argument {option}: {text!r} is not a length of time" in said
    assert "ns, us, ms, s, m, h, d" in said


def test_lengths_of_time(tmp_path: Path, dump: Path) -> None:
    for text in ("0", "0s", "7ns", "7us", "250ms", "5s", "2m", "1h", "1d"):
        options = ["--late", "amend", "--lateness", text, "--amend-horizon", "7d"]
        assert run("aggregate", dump, "-q", *options, "-o", tmp_path / "a.csv") == 0, text


def test_last_prices(tmp_path: Path, dump: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "a.csv"
    since = ["--coverage", "2023-12-31T23:58..", "--gaps", "flat"]
    prices = ["--last-price", "BTCUSDT=41999.5", "--last-price", "A=B=2e-3"]
    assert run("aggregate", dump, "-o", target, "-q", *since, *prices) == 0
    bars = read_bars(target)
    options: dict[str, Any] = {"coverage": ("2023-12-31T23:58", None), "gaps": "flat"}
    seeds: dict[str | int, float] = {"BTCUSDT": 41999.5, "A=B": 2e-3}
    columns = make_trades(1500).columns()
    assert bars.equals(klineagg.aggregate(columns, "1m", last_prices=seeds, **options))
    assert bars.close[:2].tolist() == [41999.5, 41999.5]
    assert bars["A=B", "1m"].close.tolist() == [2e-3]
    for wrong in ("BTCUSDT", "=5", "BTCUSDT=", "BTCUSDT=dear", "BTCUSDT=nan"):
        assert run("aggregate", dump, "-o", target, *since, "--last-price", wrong) == 2
        assert "SYMBOL=PRICE" in capsys.readouterr().err
    assert run("aggregate", dump, "-o", target, *since, "--last-price", "BTCUSDT=-1") == 2
    assert "last_prices" in capsys.readouterr().err
    assert run("aggregate", dump, "-o", target, *prices) == 2
    assert "pass --coverage" in capsys.readouterr().err


def test_conditions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trades = make_trades(200)
    codes = ["@ TI" if k % 3 else "@" for k in range(200)]
    lines = dumps.binance(trades, header=True).splitlines()
    lines = [f"{lines[0]},mark", *(f"{r},{c}" for r, c in zip(lines[1:], codes, strict=True))]
    path = write(tmp_path / f"{NAME}.csv", dumps.text_of(lines))
    target = tmp_path / "a.csv"
    how = ["--columns", "conditions=mark", "--conditions", "us_utp"]
    assert run("aggregate", path, "-o", target, "-q", *how) == 0
    columns = {**trades.columns(), "conditions": codes}
    whole = klineagg.aggregate(columns, "1m", conditions="us_utp")
    assert read_bars(target).equals(whole)
    assert not whole.equals(klineagg.aggregate(columns, "1m"))
    lines[100] = lines[100].rpartition(",")[0] + ",@%"
    write(path, dumps.text_of(lines))
    error = json_of(capsys, 3, "aggregate", path, "-o", target, *how)["error"]
    assert (error["name"], error["fields"]["row"]) == ("column_type", 101)
    assert "--unknown-conditions count" in error["hint"]
    assert run("aggregate", path, "-o", target, *how, "--unknown-conditions", "count") == 0
    assert read_bars(target).trade_count.sum() == 200
    assert run("aggregate", path, "-o", target, "--conditions", "mars") == 2
    assert "us_utp" in capsys.readouterr().err
    assert run("aggregate", path, "-o", target, "--columns", "conditions=mark") == 2
    assert "--conditions us_utp" in capsys.readouterr().err


def test_files_of_many_blocks_are_read_whole(tmp_path: Path) -> None:
    trades = make_trades(60_000)
    trades.time_ms = trades.time_ms[0] + np.arange(60_000) * 100
    path = write_gz(tmp_path / f"{NAME}.csv.gz", dumps.binance(trades))
    whole = klineagg.aggregate(trades.columns(), "1s,1m")
    for more in ([], ["--threads", "2"]):
        assert run("aggregate", path, "-i", "1s,1m", "-o", tmp_path / "a.csv", "-q", *more) == 0
        assert read_bars(tmp_path / "a.csv").equals(whole)


def test_sorting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = dumps.bybit(make_trades(500)).splitlines()
    path = write(tmp_path / "BTCUSDT2019-10-01.csv", "\n".join([lines[0], *lines[:0:-1]]))
    assert run("aggregate", path, "-o", tmp_path / "a.csv") == 3
    said = capsys.readouterr().err
    assert f"{path}:" in said
    assert "--sort" in said
    assert run("aggregate", path, "-o", tmp_path / "a.csv", "--sort") == 0
    bars = klineagg.aggregate(make_trades(500).columns(ids=False), "1m")
    assert read_bars(tmp_path / "a.csv").equals(bars)


def test_late_trades_are_put_into_their_bars(tmp_path: Path) -> None:
    trades = make_trades(400)
    trades.time_ms = trades.time_ms[0] + np.arange(400) * 10_000
    lines = dumps.binance(trades).splitlines()
    lines.insert(300, lines.pop(100))
    path = write(tmp_path / f"{NAME}.csv", "\n".join(lines))
    target = tmp_path / "a.csv"
    late = ["--lateness", "0", "--late", "amend"]
    assert run("aggregate", path, "-o", target, "-q", *late) == 0
    bars, whole = read_bars(target), klineagg.aggregate(trades.columns(), "1m")
    for name in ("open_time", "open", "high", "low", "close", "volume", "trade_count"):
        assert bars[name].tobytes() == whole[name].tobytes()
    assert bars.revision.sum() == 1
    assert run("aggregate", path, "-o", target, "-q", *late, "--amend-horizon", "1m") == 0
    assert read_bars(target).trade_count.sum() == 399


def test_symbols_of_a_column_can_be_picked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [dumps.tardis(make_trades(100, seed, name)) for seed, name in ((1, "A"), (2, "B"))]
    path = write(tmp_path / "t.csv", texts[0] + texts[1].partition("\n")[2])
    target = tmp_path / "a.csv"
    assert run("aggregate", path, "-o", target, "--symbol", "B", "-q") == 0
    alone = klineagg.aggregate(make_trades(100, 2, "B").columns(), "1m")
    assert read_bars(target).equals(alone)
    assert run("aggregate", path, "-o", target, "--symbol", "C", "-q") == 2
    assert "'C'" in capsys.readouterr().err


def test_bad_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = dumps.binance(make_trades(100)).splitlines()
    cells = lines[49].split(",")
    lines[49] = ",".join([cells[0], "-1", *cells[2:]])
    lines[70] = "oops"
    path = write(tmp_path / f"{NAME}.csv", "\n".join(lines))
    target = tmp_path / "a.csv"
    # The core tells of the price, the parser of the other line, which comes first in a block.
    result = json_of(capsys, 3, "aggregate", path, "-o", target)
    assert result["exit_code"] == 3
    assert result["error"]["name"] == "csv_row"
    assert result["error"]["fields"]["row"] == 71
    assert not target.exists()
    lines[70] = lines[71]
    write(path, "\n".join(lines))
    error = json_of(capsys, 3, "aggregate", path, "-o", target)["error"]
    assert (error["name"], error["fields"]["row"]) == ("bad_trade", 50)
    assert error["fields"]["reason"] == "price_not_positive"
    assert f"{path}:50:" in error["message"]
    assert "--on-bad count" in error["hint"]
    lines[70] = "oops"
    write(path, "\n".join(lines))
    result = json_of(capsys, 0, "aggregate", path, "-o", target, "--on-bad", "count")
    report = result["report"]
    assert report["offered"] == 100
    assert report["accepted"] == 98
    assert {k: v for k, v in report["rejected"].items() if v} == {
        "price_not_positive": 1,
        "field_count": 1,
    }
    assert report["balanced"]
    assert result["samples"] == [f"{path}:71: 'oops' (field_count)"]
    assert run("aggregate", path, "-o", target, "--on-bad", "count") == 0
    assert "2 rows left out" in capsys.readouterr().err


def test_unsorted_rows_name_their_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = write(tmp_path / "BTCUSDT-trades-2024-01-02.csv", dumps.binance(make_trades(50)))
    lines = dumps.binance(make_trades(50)).splitlines()
    lines[30], lines[31] = lines[31], lines[30]
    b = write(tmp_path / "ETHUSDT-trades-2024-01-01.csv", "\n".join(lines))
    before = int(lines[30].split(",")[4]) - int(lines[31].split(",")[4])
    assert before > 0
    error = json_of(capsys, 3, "aggregate", a, b)["error"]
    assert error["name"] == "unsorted"
    assert "pass --sort, or --lateness TIME" in error["hint"]
    assert (error["fields"]["file"], error["fields"]["row"]) == (str(b), 32)
    assert "--lateness" in error["hint"]


def test_damaged_and_missing_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_gz(tmp_path / f"{NAME}.csv.gz", dumps.binance(make_trades(5000)))
    path.write_bytes(path.read_bytes()[:-2000])
    for file, name in ((path, "file_truncated"), (tmp_path / "no.csv", "file_not_found")):
        target = tmp_path / "a.csv"
        error = json_of(capsys, 3, "aggregate", file, "-o", target, "--on-bad", "count")["error"]
        assert error["name"] == name
        assert error["fields"]["file"] == str(file)
        assert not target.exists()


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet", "a.arrow"])
@pytest.mark.parametrize("is_there", [False, True])
def test_an_output_that_cannot_be_written(
    tmp_path: Path, dump: Path, capsys: pytest.CaptureFixture[str], name: str, is_there: bool
) -> None:
    if is_there:
        (tmp_path / "none").write_text("no folder")
    target = tmp_path / "none" / name
    error = json_of(capsys, 4, "aggregate", dump, "-o", target)["error"]
    assert (error["code"], error["name"]) == ("KLA-406", "file_not_written")
    reason = "Not a directory" if is_there else "No such file or directory"
    assert error["message"] == f"{target} cannot be written: {reason}"
    assert "rights" in error["hint"] and error["fields"]["file"] == str(target)


def test_an_interval_is_shown_as_it_was_written(
    dump: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = json_of(capsys, 2, "aggregate", dump, "-i", "5m,\u0661m")["error"]
    assert (error["name"], error["fields"]["text"]) == ("invalid_interval", "\u0661m")
    assert error["message"].startswith("'\u0661m' is not an interval: '\u0661' is no")


@pytest.mark.parametrize("intervals", ["", "1m,,5m"])
def test_an_empty_interval_is_none(
    dump: Path, capsys: pytest.CaptureFixture[str], intervals: str
) -> None:
    error = json_of(capsys, 2, "aggregate", dump, "-i", intervals)["error"]
    assert error["name"] == "invalid_interval"


@pytest.mark.parametrize("way", ["its name", "a link", "one of several"])
def test_the_trades_are_not_overwritten_by_their_bars(
    tmp_path: Path, dump: Path, capsys: pytest.CaptureFixture[str], way: str
) -> None:
    trades = tmp_path / "trades.csv"
    trades.write_bytes(dump.read_bytes())
    target = trades
    if way == "a link":
        target = tmp_path / "link.csv"
        target.symlink_to(trades)
    files = [dump, trades] if way == "one of several" else [trades]
    options = ["-o", target, "--symbol", "BTCUSDT", "--format", "parquet"]
    error = json_of(capsys, 2, "aggregate", *files, *options)["error"]
    assert error["message"] == f"the output {target} is one of the inputs"
    assert error["fields"]["option"] == "output"
    assert trades.read_bytes() == dump.read_bytes()


def test_a_missing_folder_is_told_before_the_work(
    tmp_path: Path, dump: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("aggregate", dump, "-o", tmp_path / "none" / "a.csv") == 4
    assert "preset" not in capsys.readouterr().err  # not one file was opened


def test_a_missing_package(
    dump: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    for suffix in (".parquet", ".arrow"):
        assert run("aggregate", dump, "-o", dump.with_suffix(suffix)) == 5
        said = capsys.readouterr().err
        assert "pip install 'klineagg[parquet]'" in said
        assert "preset" not in said  # before the work, not after it


def test_a_defect_is_not_taken_for_a_difference(
    dump: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("klineagg.cli.aggregate.bars_of", fail)
    assert run("aggregate", dump) == 70
    assert "defect" in capsys.readouterr().err
