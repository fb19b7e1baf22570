"""What an engine writes into its log beside trades, as people read it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cli.harness import json_of, run
from klineagg import Engine, SimulatedClock, Wal
from klineagg._wal_events import CORRECTION_MARK
from klineagg.data import load_bitmex
from klineagg.wal import WalCheckpoint, WalEvent, inspect, replay

ROWS = load_bitmex()[:400]
START = np.datetime64("2018-01-01", "ns")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an engine that does everything that is a record."""
    path = tmp_path_factory.mktemp("events") / "log"
    rows = {name: ROWS[name] for name in ("symbol", "time", "price", "quantity", "side")}
    rows["trade_id"] = np.arange(len(ROWS))
    with Engine(
        "1m,1h", clock=SimulatedClock(), max_ahead=None, wal=path, amend_horizon="90s", workers=1
    ) as engine:
        engine.add_symbol("SEEDED", 12.5, start=START)
        with engine.producer() as producer:
            producer.push(rows)
            engine.flush()
        engine.advance(START + np.timedelta64(1, "h"))
        engine.cancel("XBTUSD", 399)
        engine.correct("XBTUSD", 398, quantity=7.0, time=rows["time"][398])
        engine.note(b'{"row": 400}')
        engine.note(b"\xff\x00")
        engine.reconfigure(intervals="1m,5m@America/New_York", lateness="5s")
        engine.remove_symbol("SEEDED")
        with engine.take("the lake", checkpoint=True) as snapshot:
            assert snapshot.position
        assert engine.wal is not None
        engine.wal.append("command", b"of somebody else")
        engine.wal.append("application", CORRECTION_MARK + b"not JSON")
    return path


def events(path: Path, kind: str) -> list[WalEvent]:
    found = (record.event for record in replay(path))
    return [event for event in found if event is not None and event.kind == kind]


def test_events_say_what_was_done(log: Path) -> None:
    first, rules = events(log, "rules")
    assert first.values["intervals"] == ("1m", "1h")
    assert rules.values == {
        "intervals": ("1m", "5m@America/New_York"),
        "lateness": np.timedelta64(5, "s"),
        "amend_horizon": np.timedelta64(90, "s"),
        "gaps": "runs",
    }
    (seeded,) = events(log, "symbol")
    assert seeded.values == {"symbol": "SEEDED", "price": 12.5, "start": START}
    (removed,) = events(log, "removed")
    assert removed.values["symbol"] == "SEEDED"
    assert START + np.timedelta64(1, "h") in [
        event.values["watermark"] for event in events(log, "clock")
    ]
    (cancelled,) = events(log, "cancel")
    assert cancelled.values == {"symbol": "XBTUSD", "source": 0, "trade_id": 399}
    (corrected,) = events(log, "correct")
    assert corrected.values["instead"] == {"quantity": 7.0, "time": ROWS["time"][398]}
    replaced = events(log, "corrected")
    assert {interval for event in replaced for interval, _ in event.values["bars"]} == {"1m", "1h"}
    assert [event.values["note"] for event in events(log, "note")] == [b'{"row": 400}', b"\xff\x00"]
    (begin,) = events(log, "begin")
    assert begin.values["epoch"] >= 0


def test_what_no_engine_wrote_is_no_event(log: Path) -> None:
    others = [r for r in replay(log) if r.trades is None and r.event is None]
    assert [record.data for record in others] == [
        b"of somebody else",
        CORRECTION_MARK + b"not JSON",
    ]


def test_inspect_counts_them_and_names_the_checkpoints(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = inspect(log)
    assert content.events["note"] == 2 and content.events["rules"] == 2
    assert sum(content.events.values()) + 400 + 2 == sum(content.records.values())
    (checkpoint,) = content.checkpoints
    assert checkpoint.consumer == "the lake"
    assert checkpoint.position is not None and 400 < checkpoint.position <= content.last
    found = json_of(capsys, 0, "wal", "inspect", log)
    assert found["events"] == content.events
    assert found["checkpoints"][0]["position"] == checkpoint.position
    assert run("wal", "inspect", log) == 0
    text = capsys.readouterr().out
    assert f"checkpoint of 'the lake' up to record {checkpoint.position}" in text
    assert "note 2" in text


def test_a_checkpoint_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with Wal(tmp_path) as wal:
        wal.append("command", b"x")
    (tmp_path / "lake.checkpoint").write_bytes(b"KLCJ" + bytes(60))
    assert inspect(tmp_path).checkpoints == (WalCheckpoint("lake", None, 64),)


def test_lines_for_people_and_for_programs(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("wal", "replay", log, "--topic", "command") == 0
    text = capsys.readouterr().out
    assert "rules  intervals=1m,5m@America/New_York  lateness=5s  amend_horizon=90s" in text
    assert 'note  note={"row": 400}' in text
    assert "corrected  symbol=XBTUSD  bars=1m@2018-01-01T00:" in text
    assert run("wal", "replay", log, "--json") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["sequence"] for row in rows] == list(range(1, len(rows) + 1))
    by_event = {row["event"]: row for row in rows if "event" in row}
    assert by_event["symbol"]["start"] == "2018-01-01T00:00:00.000000000"
    assert by_event["correct"]["instead"]["quantity"] == 7.0
    assert by_event["rules"]["amend_horizon"] == "90s"
    notes = [row.get("note", row.get("hex")) for row in rows if row.get("event") == "note"]
    assert notes == ['{"row": 400}', "ff00"]
    assert run("wal", "replay", log, "--topic", "trade") == 0
    first = capsys.readouterr().out.splitlines()[0]
    word = "buy" if ROWS["side"][0] > 0 else "sell"
    price, quantity = float(ROWS["price"][0]), float(ROWS["quantity"][0])
    assert first.split()[-8:] == [
        "XBTUSD", str(ROWS["time"][0]), word, str(quantity), "at", str(price), "id", "0",
    ]  # fmt: skip
