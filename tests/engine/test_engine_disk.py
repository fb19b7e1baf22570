"""An engine whose disk is full: it halts at once, nobody is killed by a signal, and it goes on."""

from __future__ import annotations

import errno
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klineagg
from disks import filled
from klineagg import Bars, Engine, SimulatedClock, Wal, errors

MIB = 1 << 20
START = np.datetime64("2024-01-01", "ns").astype(np.int64)
# With a full disk acceptance has to halt within this time.
HALT_S = 1.0


def trades(count: int) -> dict[str, Any]:
    """One a second, with amounts that do not pack well, so that a log of them is large."""
    chance = np.random.default_rng(23)
    return {
        "symbol": "XBTUSD",
        "time": (START + np.arange(count) * 10**9).view("M8[ns]"),
        "price": chance.uniform(90, 110, count),
        "quantity": chance.uniform(0.001, 5, count),
        "trade_id": np.arange(1, count + 1),
    }


def part(rows: dict[str, Any], begin: int, end: int) -> dict[str, Any]:
    return {k: v if isinstance(v, str) else v[begin:end] for k, v in rows.items()}


def engine_on(wal: Wal, intervals: str = "1m,1h", **more: Any) -> Engine:
    options: dict[str, Any] = {"clock": SimulatedClock(), "max_ahead": None, "gaps": "none"}
    return Engine(intervals, wal=wal, **(options | more))


@pytest.mark.parametrize("fsync", ["none", "interval", "always"])
def test_a_full_disk_halts_acceptance_within_a_second_and_room_ends_that(
    small_disk: Path, fsync: Any
) -> None:
    rows = trades(120_000)
    count = len(rows["time"])
    with Wal(small_disk / "log", fsync=fsync, segment_bytes=MIB) as wal, engine_on(wal) as engine:
        producer = engine.producer()
        filler = filled(small_disk, MIB // 2)
        at, halted = 0, None
        while halted is None and at < count:
            began = time.monotonic()
            try:
                producer.push(part(rows, at, at + 500))
                engine.flush()
                at += 500
            except errors.WalHaltedError as error:
                halted, took = error, time.monotonic() - began
        assert halted is not None and took < HALT_S
        assert halted.name == "wal_halted" and halted.fields["cause"] == "wal_io"
        assert halted.fields["errno"] == str(errno.ENOSPC)
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(errors.WalHaltedError):
                producer.push(part(rows, 0, 1))
            with pytest.raises(errors.WalError):
                engine.resume()  # there is no room yet
            assert time.monotonic() - began < HALT_S
        stats = engine.stats().wal
        assert stats is not None and stats.halted
        assert at <= engine.counts().accepted <= at + 500
        assert len(engine.view().open) > 0, "reads go on"
        filler.unlink()
        engine.resume()
        engine.flush()
        # What waited in the lane is accepted now.
        done = engine.counts().accepted
        assert at <= done <= at + 500
        producer.push(part(rows, done, count))
        engine.flush()
    with (
        Wal(small_disk / "log", segment_bytes=MIB) as wal,
        engine_on(wal) as engine,
        engine.take("all") as snapshot,
    ):
        assert engine.recovery is not None and engine.recovery.trades == count
        wanted = klineagg.aggregate(rows, "1m,1h", gaps="none")
        found = Bars.concat([snapshot.closed, snapshot.open])
        for column in ("trade_count", "volume", "close"):
            for interval in ("1m", "1h"):
                assert np.array_equal(
                    np.asarray(found[:, interval].column(column)),
                    np.asarray(wanted[:, interval].column(column)),
                )


def test_rows_beyond_the_bound_are_whole_on_a_full_disk(small_disk: Path) -> None:
    """They are read as memory is: what is not on the disk would end the process (SIGBUS)."""
    rows = trades(60_000)  # a bar each, and more than the disk has room for
    count = len(rows["time"])
    parts: list[Bars] = []
    with (
        Wal(small_disk / "log", segment_bytes=3 * MIB) as wal,
        engine_on(wal, "1s", unacknowledged_max=4_000, on_bound="evict") as engine,
    ):
        engine.take("lake").nack()
        pushed = threading.Thread(target=lambda: engine.producer().push(rows))
        pushed.start()
        while sum(worker.log_waits for worker in engine.stats().workers) == 0:
            time.sleep(0.001)
        assert engine.counts().accepted < count, "the file took what there was room for"
        taken = 0
        while taken < count - 1:
            with engine.take("lake") as snapshot:
                taken += len(snapshot.closed)
                parts.append(snapshot.closed)
                assert snapshot.rows_lost == 0
        pushed.join()
        assert wal.state == "running"
    found = Bars.concat(parts)
    assert found.trade_count.tolist() == [1] * (count - 1)
    assert np.array_equal(np.asarray(found.column("close")), rows["price"][: count - 1])
