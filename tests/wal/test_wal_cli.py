"""``klineagg wal``: inspect, verify, replay."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

import klineagg
from cli.harness import json_of, run
from klineagg import Engine, SimulatedClock, Wal
from klineagg.data import load_bitmex
from klineagg.wal import replay
from wal.harness import fill, flip, segments


@pytest.fixture
def log(tmp_path: Path) -> Path:
    with Wal(tmp_path / "log") as wal:
        wal.append_trades(load_bitmex()[:500])
        wal.append("command", b"start")
        wal.append("account", b"\xff\x00")
    return tmp_path / "log"


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    fill(tmp_path / "damaged", 300)
    first = segments(tmp_path / "damaged")[0]
    flip(first, first.read_bytes().index(b"40:x"))
    return tmp_path / "damaged"


def test_inspect(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json_of(capsys, 0, "wal", "inspect", log)
    assert found["records"] == {"trade": 500, "command": 1, "account": 1}
    assert (found["first"], found["last"], found["sealed"]) == (1, 502, True)
    assert found["payload_bytes"]["account"] == 2
    assert len(found["segments"]) == 1
    assert run("wal", "inspect", log) == 0
    assert "records 1 ... 502" in capsys.readouterr().out


def test_verify(log: Path, damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("wal", "verify", log) == 0
    assert "502 records, no damage" in capsys.readouterr().out
    found = json_of(capsys, 3, "wal", "verify", damaged)
    assert (found["whole"], found["lost_records"], found["exit_code"]) == (False, 1, 3)
    assert [(one["first"], one["last"]) for one in found["damages"]] == [(40, 40)]
    assert run("wal", "verify", damaged, "--salvage") == 0
    assert "1 records lost, 299 readable" in capsys.readouterr().out
    assert run("wal", "verify", damaged / "nowhere") == 3


def test_verify_of_a_damaged_checkpoint(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An engine does not start with it, so the log is not called whole."""
    (log / "lake.checkpoint").write_bytes(b"no checkpoint")
    found = json_of(capsys, 3, "wal", "verify", log)
    assert found["whole"] is False and not found["damages"]
    assert run("wal", "verify", log) == 3
    assert "checkpoint of 'lake' cannot be read" in capsys.readouterr().out
    assert run("wal", "verify", log, "--salvage") == 0


def test_replay_of_records(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("wal", "replay", log, "--from", 500, "--json") == 0
    trade, command, account = map(json.loads, capsys.readouterr().out.splitlines())
    last = load_bitmex()[499]
    assert (trade["sequence"], trade["symbol"]) == (500, "XBTUSD")
    assert float(trade["price"]) == last["price"]
    assert float(trade["quantity"]) == last["quantity"]
    assert command["text"] == "start"
    assert account["hex"] == "ff00"
    assert run("wal", "replay", log, "--topic", "command") == 0
    assert capsys.readouterr().out.split()[2:] == ["command", "start"]
    assert run("wal", "replay", log, "--topic", "none") == 2


def test_replay_of_damage(damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("wal", "replay", damaged) == 3
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 39
    assert "wal_damaged" in captured.err
    assert run("wal", "replay", damaged, "--salvage") == 0
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 299
    assert "records 40 ... 40 are lost" in captured.err


def test_replay_into_bars(log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "bars.csv"
    found = json_of(capsys, 0, "wal", "replay", log, "-i", "1m", "-o", target)
    bars = klineagg.aggregate(load_bitmex()[:500], "1m")
    assert found["rows"] == len(bars) == len(target.read_text().splitlines()) - 1
    assert found["report"]["accepted"] == 500
    assert run("wal", "replay", log, "-o", target) == 2
    assert run("wal", "replay", log, "-i", "1m", "--topic", "trade") == 2


def test_a_log_whose_engine_had_no_clock_is_read_by_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    clock = SimulatedClock()
    with (
        Engine(["1m"], clock=clock, max_ahead=None, wal=log) as engine,
        engine.producer() as producer,
    ):
        producer.push(load_bitmex()[:100])
        engine.flush()
        between = np.datetime64(time.time_ns(), "ns")
        producer.push(load_bitmex()[100:300])
        engine.flush()
    found = json_of(capsys, 0, "wal", "inspect", log)
    assert found["records"]["trade"] == 300
    assert np.datetime64(found["start"]) < between < np.datetime64(found["end"])

    def trades_of(*more: object) -> int:
        assert run("wal", "replay", log, "--topic", "trade", "--json", *more) == 0
        return len(capsys.readouterr().out.splitlines())

    assert trades_of("--start", between) == 200
    assert trades_of("--end", between) == 100
    assert trades_of("--start", found["start"], "--end", between) == 100
    assert trades_of("--speed", 1000) == 300
    assert trades_of("--start", "2100-01-01") == 0  # there is none
    bars = json_of(capsys, 0, "wal", "replay", log, "-i", "1m", "--start", between)
    assert bars["report"]["accepted"] == 200


def test_the_time_of_a_simulated_clock_stays_the_time_of_its_records(tmp_path: Path) -> None:
    rows = load_bitmex()[:200]
    at = rows["time"][0]
    with (
        Engine(["1m"], clock=SimulatedClock(), max_ahead=None, wal=tmp_path) as engine,
        engine.producer() as producer,
    ):
        engine.advance(at)
        producer.push(rows)
        engine.flush()
    (record,) = replay(tmp_path, topics="trade")
    assert record.time == at
    # It began before its clock was set: from one clock to the other nobody waits.
    assert [one.topic for one in replay(tmp_path, speed=1.0)][-1] == "trade"


@pytest.mark.parametrize("action", ["inspect", "verify", "replay"])
def test_a_folder_without_a_log_is_not_called_whole(
    action: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("no log")
    assert run("wal", action, tmp_path) == 3
    said = capsys.readouterr()
    assert said.out == "" and f"{tmp_path} holds no log" in said.err


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_bars_that_cannot_be_written(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    target = tmp_path / "none" / name
    error = json_of(capsys, 4, "wal", "replay", log, "-i", "1m", "-o", target)["error"]
    assert error["name"] == "file_not_written" and str(target) in error["message"]


def test_a_topic_that_there_is_not(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = json_of(capsys, 2, "wal", "replay", log, "--topic", "trades")["error"]
    assert (error["code"], error["name"]) == ("KLA-103", "invalid_option")
    assert "'trades'" in error["message"]
    assert error["hint"].startswith("the topics are trade, account, ")


def test_a_range_without_records_is_refused(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = json_of(capsys, 2, "wal", "replay", log, "--from", 3, "--to", 2)["error"]
    assert error["name"] == "invalid_option" and "from 3 to 2" in error["message"]
    assert run("wal", "replay", log, "--from", 2, "--to", 2) == 0
