"""Logs that take nothing for a while, and logs that have nothing to take."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klineagg
from disks import filled
from klineagg import Bars, Engine, SimulatedClock, errors
from klineagg.runtime.halts import Patience
from klineagg.runtime.host import Host
from klineagg.runtime.persist import Persister
from klineagg.sources import Batch, Source
from klineagg.wal import Wal
from runtime.runs import (
    FOLLOWED,
    INTERVALS,
    answers,
    assert_same,
    command,
    ended,
    expected,
    running,
    said,
    status,
    stored,
    terminated,
    until,
    write_config,
)

for needed in ("duckdb", "huey", "pyarrow"):
    pytest.importorskip(needed)

MIB = 1 << 20


def trades(count: int) -> dict[str, Any]:
    """Trades that do not pack well, so that a log of them is large, and without ids."""
    chance = np.random.default_rng(11)
    seconds = np.sort(chance.integers(0, 3_000, count))
    start = np.datetime64("2024-01-01", "ns").astype(np.int64)
    return {
        "symbol": "XBTUSD",
        "time": (start + seconds * 10**9).view("M8[ns]"),
        "price": chance.uniform(90, 110, count),
        "quantity": chance.uniform(0.001, 5, count),
        "side": chance.choice(np.array([-1, 1], np.int8), count),
    }


def write(path: Path, count: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    rows = trades(count)
    lines = ["symbol,time,price,quantity,side"]
    values = zip(
        rows["time"].view(np.int64).tolist(), rows["price"].tolist(), rows["quantity"].tolist(),
        rows["side"].tolist(), strict=True,
    )  # fmt: skip
    lines += [f"XBTUSD,{t},{p!r},{q!r},{'buy' if s > 0 else 'sell'}" for t, p, q, s in values]
    path.write_text("\n".join(lines) + "\n")
    return path


def stored_trades(folder: Path) -> int:
    try:
        return int(stored(folder)[:, "1h"].trade_count.sum())
    except (errors.LakeError, errors.ResultError):  # nothing is there yet
        return 0


class Parts(Source):
    """Trades in batches of some rows, and a position that says how many were done."""

    def __init__(self, rows: dict[str, Any], each: int) -> None:
        super().__init__()
        self._rows, self._each, self._done = rows, each, 0

    def batches(self) -> Iterator[Batch | None]:
        count = len(self._rows["time"])
        for start in range(0, count, self._each):
            part = {
                name: column if isinstance(column, str) else column[start : start + self._each]
                for name, column in self._rows.items()
            }
            yield Batch(part, len(part["time"]))

    def done(self, batch: Batch) -> None:
        self._done += batch.rows

    def position(self) -> dict[str, Any] | None:
        return {"kind": "parts", "rows": self._done}


def engine_of(wal: Wal) -> Engine:
    return Engine(
        INTERVALS, wal=wal, clock=SimulatedClock(), max_ahead=None, push_timeout="1h"
    ).start()


def take(host: Host, parts: list[Bars]) -> None:
    snapshot, _ = host.freeze("lake", checkpoint=True)
    with snapshot:
        parts.append(snapshot.closed)


@pytest.mark.parametrize("each", [3_000, 60_000])
def test_at_its_limit_a_log_waits_for_the_lake_and_goes_on(tmp_path: Path, each: int) -> None:
    rows = trades(60_000)
    parts: list[Bars] = []
    with Wal(tmp_path / "log", segment_bytes=MIB // 8, size_max=MIB // 2) as wal:
        engine = engine_of(wal)
        patience = Patience(engine, MIB // 2, None, MIB // 8)
        host = Host(engine, Parts(rows, each), patience)
        failed: list[BaseException] = []

        def feed() -> None:
            try:
                for batch in host.source.batches():
                    assert batch is not None
                    host.push(batch)
                host.patience.before_batch()
            except BaseException as error:
                failed.append(error)

        feeder = threading.Thread(target=feed)
        feeder.start()
        most = 0
        while feeder.is_alive():
            if patience.cause is not None:  # not before nothing else helps
                most = max(most, wal.stats().segment_bytes)
                assert len(host.engine.view().open) > 0  # reads go on
                take(host, parts)
            time.sleep(0.002)
        feeder.join()
        assert failed == []
        assert patience.waits > 0 and patience.cause is None
        # A batch may go above the limit, and no more than that.
        assert most <= MIB // 2 + 32 * each + MIB
        assert wal.stats().segment_bytes <= MIB // 2
        assert engine.counts().accepted == len(rows["time"])
        engine.advance(rows["time"][-1] + np.timedelta64(1, "h"))
        take(host, parts)
        engine.stop()
    wanted = klineagg.aggregate(rows, INTERVALS, coverage=(None, "2024-01-01T02:00"), gaps="none")
    found = Bars.concat(parts).resolve()
    found = found[np.flatnonzero(found.trade_count > 0)]
    assert found.trade_count.tolist() == wanted.trade_count.tolist()
    assert found.volume.tolist() == wanted.volume.tolist()


def test_who_is_stopped_waits_no_more(tmp_path: Path) -> None:
    with Wal(tmp_path / "log", segment_bytes=MIB // 8, size_max=MIB // 4) as wal:
        engine = engine_of(wal)
        patience = Patience(engine, MIB // 4, None, MIB // 8)
        host = Host(engine, Parts(trades(60_000), 30_000), patience)
        first, second = host.source.batches()
        assert first is not None and second is not None
        host.push(first)
        threading.Timer(0.2, patience.stop).start()
        with pytest.raises(errors.WalHaltedError):
            host.push(second)
        engine.stop()


def test_a_run_within_a_small_log_loses_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "trades/part-0.csv", 150_000)
    config = write_config(
        tmp_path, wal__segment_mb=1, wal__size_max_mb=2, persist__persistence_interval_ms="200"
    )
    out = ended(command("run", config, cwd=tmp_path))
    assert "all bars stored" in out
    assert_same(stored(tmp_path), expected([path]))


@pytest.mark.parametrize("kills", [False, True])
def test_a_run_goes_on_when_its_disk_has_room_again(
    tmp_path: Path, small_disk: Path, kills: bool
) -> None:
    path = write(tmp_path / "trades/part-0.csv", 150_000)
    config = write_config(tmp_path, **FOLLOWED, wal__segment_mb=1, wal__path=f'"{small_disk}/wal"')
    filler = filled(small_disk, 5 * MIB // 2)

    def waiting() -> Any:
        return status(config)["wal"]["waiting"]["cause"] if answers(config) else None

    with running("run", config, cwd=tmp_path) as process:
        said(process, "nothing is accepted")
        until(waiting)  # and it answers
        assert 0 < status(config)["accepted"] < 150_000
        if not kills:
            filler.unlink()
            until(lambda: status(config)["accepted"] == 150_000)
            terminated(process)
    if kills:
        filler.unlink()
        with running("run", config, cwd=tmp_path) as process:
            until(lambda: stored_trades(tmp_path) == 150_000)
            terminated(process)
    assert_same(stored(tmp_path), expected([path]))


def test_nothing_is_taken_where_there_is_nothing_new(tmp_path: Path) -> None:
    rows = trades(4_000)
    with (
        klineagg.Lake(tmp_path / "lake") as lake,
        Wal(tmp_path / "log", fsync="always") as wal,
        engine_of(wal) as engine,
    ):
        host = Host(engine, Parts(rows, 2_000))
        persister = Persister(host, lambda: lake)

        def written() -> tuple[int, int, int]:
            return wal.next_sequence, wal.stats().syncs, persister.commits

        for batch in host.source.batches():
            assert batch is not None
            host.push(batch)
            engine.flush()
            assert persister.persist()
            wal.flush()  # the last record may be on its way still
            before = written()
            for _ in range(50):
                assert not persister.persist()
            assert written() == before
        # Time alone closes bars, too.
        engine.advance(rows["time"][-1] + np.timedelta64(1, "h"))
        assert persister.persist() and not persister.persist()
        assert lake.bars("XBTUSD", "1h").trade_count.sum() == 4_000


@pytest.mark.parametrize("by", ["run", "worker"])
def test_an_idle_run_leaves_its_log_alone(tmp_path: Path, by: str) -> None:
    write(tmp_path / "trades/part-0.csv", 2_000)
    config = write_config(tmp_path, **FOLLOWED, persist__by=f'"{by}"')

    def is_quiet() -> bool:
        def done() -> tuple[Any, ...]:
            told = status(config)
            return told["wal"]["next"], told["wal"]["syncs"], told["lake"], told["lent"]

        before = done()
        time.sleep(0.6)  # thirty times as long as from one snapshot to the next
        return before == done()

    with ExitStack() as stack:
        process = stack.enter_context(running("run", config, cwd=tmp_path))
        if by == "worker":
            stack.enter_context(running("worker", config, cwd=tmp_path))
        until(lambda: answers(config) and stored_trades(tmp_path) == 2_000)
        until(is_quiet)
        # It has not fallen asleep.
        write(tmp_path / "trades/part-1.csv", 2_000)
        until(lambda: stored_trades(tmp_path) == 4_000)
        terminated(process)
