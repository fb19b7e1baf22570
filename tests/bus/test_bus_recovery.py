"""`klineagg run` with a log and topics is killed: it goes on, and readers have each record once."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bus.test_bus_bridge import Loop, connected, serving, take
from klineagg import Engine, SimulatedClock
from klineagg.bars import BarFlag
from klineagg.bus import BAR, TRADE_EVENT, Bus, EngineFeed, ResumableSubscriber
from klineagg.data import load_bitmex
from runtime.runs import (
    FOLLOWED,
    INTERVALS,
    Writer,
    answers,
    expected,
    kills,
    running,
    terminated,
    until,
    write_config,
)

TOPICS = {"trade_events": TRADE_EVENT, "bars": BAR}


class Reader(threading.Thread):
    """A resumable subscriber whose records and positions are in one transaction.

    It is made anew all the time, and loses what it has not committed: as if it were killed.
    """

    def __init__(self, bus: Bus, topic: str, wal: Path, folder: Path) -> None:
        super().__init__(daemon=True)
        self.bus, self.topic, self.wal = bus, topic, wal
        self.path = folder / f"{topic}.sqlite"
        self.error: BaseException | None = None
        self.replayed = self.starts = 0
        self._ended = threading.Event()
        with sqlite3.connect(self.path) as base:
            base.execute("CREATE TABLE records (publisher, sequence, bytes)")
            base.execute("CREATE TABLE positions (publisher PRIMARY KEY, next)")
        base.close()

    def run(self) -> None:
        random = np.random.default_rng(3)
        try:
            while not self._ended.is_set():
                self.once(int(random.integers(1, 3_000)))
            self.once(10**9, idle=0.5)
        except BaseException as error:
            self.error = error

    def once(self, count: int, idle: float = 5.0) -> None:
        """Until so many records are committed, or nothing has come for ``idle`` seconds."""
        self.starts += 1
        base = sqlite3.connect(self.path)
        positions = dict(base.execute("SELECT publisher, next FROM positions"))
        history = self.bus.history(self.topic, self.wal)
        subscriber = ResumableSubscriber(
            self.bus, self.topic, history=history, positions=positions, record=history.record
        )
        for received in subscriber.batches(timeout=idle):
            if count == 0:  # received, not committed
                break
            batch = received[:count]
            count -= len(batch)
            name = batch["publisher"][0].decode()
            rows = ((name, int(each["sequence"]), each.tobytes()) for each in batch)
            with base:
                base.executemany("INSERT INTO records VALUES (?, ?, ?)", rows)
                base.execute(
                    "INSERT OR REPLACE INTO positions VALUES (?, ?)",
                    (name, int(batch["sequence"][-1]) + 1),
                )
            if len(batch) < len(received):
                break
        self.replayed += subscriber.replayed
        subscriber.close()
        base.close()

    def records(self) -> np.ndarray[Any, np.dtype[Any]]:
        """All that it has, once it has ended: the sequences without hole or repeat."""
        self._ended.set()
        self.join(240)
        assert not self.is_alive()
        if self.error is not None:
            raise self.error
        base = sqlite3.connect(self.path)
        rows = base.execute("SELECT publisher, sequence, bytes FROM records").fetchall()
        base.close()
        for publisher in {row[0] for row in rows}:
            own = [row[1] for row in rows if row[0] == publisher]
            assert own == list(range(1, len(own) + 1))
        return np.frombuffer(b"".join(row[2] for row in rows), TOPICS[self.topic])


def check_trades(events: np.ndarray[Any, Any], count: int) -> None:
    """One symbol, so all of them in their order, each once."""
    wanted = load_bitmex()[:count]
    assert len(events) == count
    times = wanted["time"].astype("datetime64[ns]").astype(np.int64)
    assert (events["time"].astype(np.int64) == times).all()
    assert (events["price"] == wanted["price"]).all()
    assert (events["volume"] == wanted["quantity"]).all()
    assert (events["direction"] == np.where(wanted["side"] > 0, 1, -1)).all()


def check_bars(rows: np.ndarray[Any, Any], paths: list[Path]) -> None:
    """Each closed bar once in each revision, the last of which is what the batch path makes."""
    assert (rows["flags"] & BarFlag.CLOSED).all()
    keys = rows[["interval", "open_time", "revision"]]
    assert len(np.unique(keys)) == len(rows)
    last = {}
    for row in rows:
        last[row["interval"].decode(), int(row["open_time"].astype(np.int64))] = row
    wanted = expected(paths)
    wanted = wanted[(wanted.flags & BarFlag.GAP) == 0]
    closed = wanted[wanted.is_closed]
    for number, interval in enumerate(INTERVALS):
        own = closed[closed.interval == number]
        for place, open_time in enumerate(own.open_time.astype(np.int64)):
            row = last[interval, int(open_time)]
            assert row["close"] == own.close[place]
            assert row["volume"] == own.volume[place]
            assert row["trade_count"] == own.trade_count[place]


def killed_runs(bus: Bus, folder: Path, count: int, rows: int, seconds: float) -> None:
    config = write_config(
        folder,
        **FOLLOWED,
        bus__folder=f'"{bus.path}"',
        bus__trades='"trade_events"',
        bus__bars='"bars"',
    )
    (folder / "bus-log").mkdir()  # the readers come before the engine that would make it
    writer = Writer(folder / "trades", rows, seconds)
    readers = [Reader(bus, topic, folder / "bus-log", folder) for topic in TOPICS]
    for reader in readers:
        reader.start()
    random = np.random.default_rng(11)
    for life in range(count):
        with running("run", config, cwd=folder) as process:
            until(lambda: answers(config))
            if life == 0:
                writer.start()
            time.sleep(random.uniform(0.05, seconds / count))
            process.kill()
    with running("run", config, cwd=folder) as process:
        until(lambda: answers(config))
        until(writer.is_stored)
        terminated(process)
    trades, bars = (reader.records() for reader in readers)
    assert readers[0].replayed > 0
    assert readers[0].starts > 3
    check_trades(trades, rows)
    check_bars(bars, writer.paths)


def test_a_bridge_has_an_engines_topic_out_of_its_log(bus: Bus, tmp_path: Path) -> None:
    far = Bus(tmp_path / "far")
    there = far.subscriber("ticks", record=bus.record_type("trade_events"))
    feed = EngineFeed(bus, trades="ticks", bars=None, wal=tmp_path / "logs", ring_bytes=160 * 64)
    trades = load_bitmex()
    loop = Loop()
    try:
        with (
            Engine("1m", clock=SimulatedClock(), max_ahead=None, bus=feed) as engine,
            engine.producer() as producer,
        ):
            producer.push(trades[:2_000])  # of which the ring keeps 64
            engine.flush()
            with (
                serving(loop, bus, wal=tmp_path / "logs") as server,
                connected(loop, far, server.port),
            ):
                got = take(there, 2_000)["sequence"].tolist()
                producer.push(trades[2_000:3_000])
                got += take(there, 1_000)["sequence"].tolist()
                assert server.stats["replayed"] > 1_900
    finally:
        loop.close()
    assert got == list(range(1, 3_001))
    assert there.lost == 0


def test_nothing_is_missed_or_doubled_over_kills(bus: Bus, tmp_path: Path) -> None:
    killed_runs(bus, tmp_path, 2, 12_000, 2.0)


@pytest.mark.slow
def test_nothing_is_missed_or_doubled_over_many_kills(bus: Bus, tmp_path: Path) -> None:
    killed_runs(bus, tmp_path, max(kills(0.05), 10), 80_000, 60.0)
