"""klineagg show, verify and info: what they print."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cli.harness import json_of, run
from klineagg.io.barfiles import read_bars
from unit import dumps
from unit.dumps import make_trades, write, write_zip


def test_show(tmp_path: Path, dump: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "a.csv"
    assert run("aggregate", dump, "-i", "1m,1h", "-o", target, "-q") == 0
    assert run("show", target, "-i", "1h", "--width", "90", "--height", "12") == 0
    text = capsys.readouterr().out
    assert "BTCUSDT 1h" in text
    assert "open time" in text
    assert max(map(len, text.splitlines())) <= 90
    assert run("show", target, "-i", "1h", "--no-chart", "--rows", "4") == 0
    assert len(capsys.readouterr().out.splitlines()) <= 8
    assert run("show", dump, "-i", "1h", "--no-chart", "--rows", "4", "-q") == 0
    assert "2024-01-01" in capsys.readouterr().out


def test_show_json(tmp_path: Path, dump: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "a.csv"
    assert run("aggregate", dump, "-i", "1m,1h", "-o", target, "-q", "--gaps", "runs") == 0
    result = json_of(
        capsys,
        0,
        "show",
        target,
        "-i",
        "1m",
        "--from",
        "2024-01-01T01:00",
        "--to",
        "2024-01-01T02:00",
    )
    bars = read_bars(target)[:, "1m"].between("2024-01-01T01:00", "2024-01-01T02:00")
    assert result["rows"] == len(bars) == len(result["bars"])
    first = result["bars"][0]
    assert first["open_time"] == f"{bars.open_time[0]}Z"
    assert first["close"] == bars.close[0]
    gap = next(bar for bar in result["bars"] if bar["trade_count"] == 0)
    assert gap["first_trade_time"] is None


@pytest.mark.parametrize("option", ["--from", "--to"])
def test_show_names_the_option_that_is_no_time(
    dump: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    error = json_of(capsys, 2, "show", dump, option, "noon")["error"]
    assert error["message"].startswith(f"{option}='noon' is not a time")


_IDLE = {
    "--gaps": "flat",
    "--lateness": "5s",
    "--late": "drop",
    "--coverage": "2024-01-01..",
    "--threads": "2",
    "--by": "tick",
    "--threshold": "5",
    "--closed-only": None,
    "--last-price": "A=1",
    "--columns": "price=px",
    "--unit": "ms",
    "--no-header": None,
    "--on-bad": "count",
}


@pytest.mark.parametrize("command", [["show"], ["verify"]])
def test_options_that_cannot_act_on_bars_are_refused(
    tmp_path: Path, dump: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    bars = tmp_path / "bars.csv"
    assert run("aggregate", dump, "-i", "1h", "-o", bars, "-q") == 0
    command += [str(bars)] * (2 if command == ["verify"] else 1)
    for name, value in _IDLE.items():
        given = [name] if value is None else [name, value]
        error = json_of(capsys, 2, *command, *given)["error"]
        assert error["name"] == "invalid_option"
        assert error["message"] == f"{bars} holds bars already: {name} cannot act on that"
    every = [text for pair in _IDLE.items() for text in pair if text is not None]
    assert set(json_of(capsys, 2, *command, *every)["error"]["fields"]["options"]) == {*_IDLE}
    assert run(*command, "--symbol", "BTCUSDT") == 0
    assert run(*command, "--gaps", "none", "--threads", "1") == 0  # as without them


def test_numbers_of_rows_and_columns(
    tmp_path: Path, dump: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for option, text in (("--rows", "-1"), ("--width", "-5"), ("--height", "0"), ("--rows", "x")):
        message = json_of(capsys, 2, "show", dump, f"{option}={text}")["error"]["message"]
        assert f"argument {option}: {text!r} is not a whole number from" in message
    for command in (["verify", dump, dump], ["lake", "bars", tmp_path]):
        assert run(*command, "--rows=-1") == 2
        assert "argument --rows: '-1' is not a whole number from 0" in capsys.readouterr().err
    assert run("show", dump, "-q", "--no-chart", "--rows", "0") == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("Bars: ")


def test_show_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "q.csv", "symbol,time,price,qty\n")
    assert run("show", path) == 0
    assert "empty" in capsys.readouterr().out


def test_verify(tmp_path: Path, dump: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bars = tmp_path / "bars.csv"
    assert run("aggregate", dump, "-i", "1m,1h", "-o", bars, "--gaps", "runs", "-q") == 0
    text = dumps.binance_klines(make_trades(1500))
    theirs = write_zip(tmp_path / "BTCUSDT-1m-2024-01-01.zip", {"BTCUSDT-1m-2024-01-01.csv": text})
    assert run("verify", bars, theirs) == 0
    said = capsys.readouterr()
    count = len(text.splitlines())
    assert f"{count:,} bars compared, {count:,} equal" in said.out
    # Trades instead of bars are aggregated to the interval of the K-lines.
    assert run("verify", dump, theirs, "-q") == 0
    assert f"{count:,} equal" in capsys.readouterr().out


def test_verify_tells_what_differs(
    tmp_path: Path, dump: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(lines: list[str]) -> None:
        cells = lines[9].split(",")
        lines[9] = ",".join([*cells[:2], "99999.00000000", *cells[3:]])
        del lines[20]

    text = dumps.binance_klines(make_trades(1500), change=change)
    theirs = write(tmp_path / "BTCUSDT-1m-2024-01-01.csv", text)
    assert run("verify", dump, theirs, "-q") == 1
    out = capsys.readouterr().out
    row = next(line for line in out.splitlines() if "99999.0" in line)
    assert row.split()[:5] == ["BTCUSDT", "1m", "2024-01-01", "00:09:00", "high"]
    assert row.split()[7:9] == ["10", "gap"]
    result = json_of(capsys, 1, "verify", dump, theirs, "-q")
    assert result["same"] is False
    assert result["compared"] - result["equal"] == 1
    assert result["fields"]["high"]["differing"] == 1
    assert result["fields"]["low"]["differing"] == 0
    assert result["differences"][0]["theirs"] == 99999.0
    assert run("verify", dump, theirs, "-q", "--skip", "high") in (0, 1)


def test_verify_tells_which_series_it_compared(
    tmp_path: Path, dump: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = dumps.binance_klines(make_trades(1500))
    odd = write(tmp_path / "ETHUSDT-1m-2024-01-01.csv", text)
    assert run("verify", dump, odd, "--symbol", "BTCUSDT") == 0
    bars = tmp_path / "bars.csv"
    assert run("aggregate", dump, "-i", "1m", "-o", bars, "-q") == 0
    capsys.readouterr()
    assert run("verify", bars, odd) == 0
    said = capsys.readouterr()
    assert "series of ours: BTCUSDT 1m\n" in said.out
    assert f"{odd} is named as of ETHUSDT, and was compared with BTCUSDT" in said.err
    (series,) = json_of(capsys, 0, "verify", bars, odd)["series"]
    count = series.pop("compared")
    assert count > 0
    assert series == {"file": str(odd), "symbol": "BTCUSDT", "interval": "1m", "named": "ETHUSDT"}
    # Nothing to say where the user says it, where the spelling differs, and where no name tells.
    assert run("verify", bars, odd, "--symbol", "BTCUSDT") == 0
    for name in ("btc-usdt-1m-2024-01-01.csv", "klines.csv", "BTCUSDT-1m-2024-01-01.csv"):
        assert run("verify", bars, write(tmp_path / name, text)) == 0
    assert "named as of" not in capsys.readouterr().err


def test_verify_counts_one_and_several(
    tmp_path: Path, dump: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = dumps.binance_klines(make_trades(1500), 3_600_000)
    bars = tmp_path / "bars.csv"
    assert run("aggregate", dump, "-i", "1h", "-o", bars, "-q") == 0
    rows = whole.splitlines()
    for cut, bar in (
        (1, "1 bar of ours with trades has no"),
        (2, "2 bars of ours with trades have no"),
    ):
        theirs = write(tmp_path / "k.csv", "\n".join([*rows[:1], *rows[1 + cut :]]))
        capsys.readouterr()
        assert run("verify", bars, theirs, "-q", "-i", "1h") == 1
        assert f"{bar} K-line of theirs" in capsys.readouterr().out
    first = write(tmp_path / "k.csv", "\n".join(rows[:1]))
    assert run("verify", bars, first, "-q", "-i", "1h") == 0
    assert "1 bar compared, 1 equal" in capsys.readouterr().out


def test_a_symbol_with_a_comma_can_be_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = '"a,b",1704067200,1,1\na,1704067201,2,1\nb,1704067202,3,1\n'
    trades = write(tmp_path / "q.csv", f"symbol,time,price,qty\n{rows}")
    bars = tmp_path / "bars.csv"
    for file in (trades, bars):
        found = json_of(capsys, 0, "show", file, "--symbol", "a,b", "-q")["bars"]
        assert [each["symbol"] for each in found] == ["a,b"]
        assert run("aggregate", trades, "-o", bars, "-q") == 0
    other = write(tmp_path / "r.csv", f"symbol,time,price,qty\n{rows[rows.index('a,1') :]}")
    found = json_of(capsys, 0, "show", other, "--symbol", "a,b", "-q")["bars"]
    assert [each["symbol"] for each in found] == ["a", "b"]


def test_verify_picks_from_an_archive_of_all(
    tmp_path: Path, dump: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bars = tmp_path / "bars.csv"
    assert run("aggregate", dump, "-i", "1m,1h", "-o", bars, "-q") == 0
    trades = make_trades(1500)
    members = {f"all/BTCUSDT_{m}.csv": dumps.kraken_ohlcvt(trades, m) for m in (1, 5, 60)}
    theirs = write_zip(tmp_path / "all.zip", {**members, "all/ETHUSDT_1.csv": "not even CSV"})
    assert run("verify", bars, theirs, "-q") == 0
    count = len(read_bars(bars))
    assert f"{count:,} bars compared, {count:,} equal" in capsys.readouterr().out
    other = write_zip(tmp_path / "other.zip", {"ETHUSDT_1.csv": "1,2,3,4,5,6,7"})
    assert run("verify", bars, other) == 3
    assert "no member" in capsys.readouterr().err


def test_verify_of_other_times(
    tmp_path: Path, dump: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_trades(100)
    other.time_ms += 30 * 86_400_000
    theirs = write(tmp_path / "BTCUSDT-1m-2024-02-01.csv", dumps.binance_klines(other))
    assert run("verify", dump, theirs, "-q") == 3
    assert "do not overlap" in capsys.readouterr().err


def test_verify_real_trades(tmp_path: Path, shared_data: Path) -> None:
    """Real trades against K-lines made in another way: with decimals, minute by minute."""
    parquet = pytest.importorskip("pyarrow.parquet")
    path = shared_data / "binance_xrpeth_trades.parquet"
    table = parquet.read_table(path)
    trades = dumps.Trades(
        "XRPETH",
        table["ts"].to_numpy() // 10**6,
        np.rint(table["price"].to_numpy() * 1e8).astype(np.int64),
        np.rint(table["qty"].to_numpy()).astype(np.int64),
        table["side"].to_numpy() > 0,
    )
    # Eight decimals of the price, none of the quantity: shift them to what the writer prints.
    text = []
    for line in dumps.binance_klines(trades).splitlines():
        cells = line.split(",")
        for at, digits in ((1, 4), (2, 4), (3, 4), (4, 4), (5, -4), (7, 0), (9, -4), (10, 0)):
            whole, _, rest = cells[at].partition(".")
            number = int(whole + rest)
            number = number // 10**digits if digits > 0 else number * 10**-digits
            cells[at] = f"{number // 10**8}.{number % 10**8:08d}"
        text.append(",".join(cells))
    theirs = write(tmp_path / "XRPETH-1m-2019-10.csv", "\n".join(text))
    assert run("verify", path, theirs, "-q") == 0


def test_info(tmp_path: Path, dump: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bars = tmp_path / "bars.csv"
    assert run("aggregate", dump, "-i", "1m,1h", "-o", bars, "-q") == 0
    result = json_of(capsys, 0, "info", dump, bars)
    of_trades, of_bars = result["files"]
    assert of_trades["holds"] == "trades"
    assert of_trades["preset"] == "binance-trades"
    assert of_trades["rows"] == 1500
    assert of_trades["symbols"] == {"BTCUSDT": 1500}
    assert of_trades["first"] == f"{make_trades(1500).columns()['time'][0]}Z"
    assert of_trades["order"] == "sorted by time"
    assert of_trades["taker_bought"] == int(make_trades(1500).bought.sum())
    ties = int((np.diff(make_trades(1500).time_ms) == 0).sum())
    assert of_trades["same_stamp_as_before"] == ties
    assert of_bars["holds"] == "bars"
    assert of_bars["intervals"] == {name: len(read_bars(bars)[:, name]) for name in ("1m", "1h")}
    assert run("info", dump, bars) == 0
    text = capsys.readouterr().out
    assert "sorted by time" in text
    assert "1,500" in text


def test_info_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trades, bars = tmp_path / "trades.csv", tmp_path / "bars.csv"
    trades.write_text("symbol,time,price,quantity\n")
    assert run("aggregate", trades, "-o", bars, "-q") == 0
    assert run("info", trades, bars) == 0
    text = capsys.readouterr().out
    assert text.count("rows") == 2
    assert "None" not in text


def test_info_of_what_cannot_be_read(
    tmp_path: Path, dump: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = dumps.binance(make_trades(100)).splitlines()
    lines[5] = "x"
    lines[50], lines[80] = lines[80], lines[50]
    odd = write(tmp_path / "ETHUSDT-trades-2024-01-01.csv", "\n".join(lines))
    result = json_of(capsys, 3, "info", odd, tmp_path / "none.csv", dump)
    assert result["files"][0]["unreadable"] == {"field_count": 1}
    assert "not sorted" in result["files"][0]["order"]
    assert "no file" in result["files"][1]["error"]
    assert result["files"][2]["rows"] == 1500
