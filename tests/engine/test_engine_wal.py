"""An engine with a log: kills, halts, what is recovered, and what a source tells twice."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klineagg
from engine.wal_child import INTERVALS, ROWS, trades
from klineagg import Engine, SimulatedClock, Wal, errors
from runtime.runs import kills

CHILD = Path(__file__).with_name("wal_child.py")
Rows = dict[tuple[str, str, int], tuple[Any, ...]]


def engine_on(path: Path | Wal, **options: Any) -> Engine:
    chosen: dict[str, Any] = {"clock": SimulatedClock(), "max_ahead": None}
    return Engine(INTERVALS, wal=path, **(chosen | options))


def part(rows: dict[str, np.ndarray], begin: int, end: int) -> dict[str, np.ndarray]:
    return {name: column[begin:end] for name, column in rows.items()}


def values_of(columns: Any, names: Any, intervals: Any) -> Rows:
    """By symbol, interval and open time: everything that a trade leaves in a bar."""
    kept = ("open", "high", "low", "close", "volume", "quote_volume", "trade_count",
            "taker_buy_volume", "first_trade_id", "last_trade_id")  # fmt: skip
    lists = [np.asarray(columns[name]).tolist() for name in kept]
    opens = np.asarray(columns["open_time"]).view(np.int64).tolist()
    counts = columns["trade_count"]
    out: Rows = {}
    for row, key in enumerate(zip(names, intervals, opens, strict=True)):
        if counts[row]:
            value = tuple(each[row] for each in lists)
            assert out.setdefault(key, value) == value, "two rows of one bar"
    return out


def rows_of(bars: klineagg.Bars) -> Rows:
    columns = {name: bars.column(name) for name in bars.columns}
    intervals = [bars.intervals[k] for k in bars.interval.tolist()]
    return values_of(columns, klineagg.symbol_names(bars.symbol), intervals)


def stored_rows(path: Path) -> Rows:
    """What the consumer was given; a crash before its ack gives it some twice."""
    out: Rows = {}
    for file in sorted(path.glob("*.npz")):
        with np.load(file) as columns:
            intervals = [INTERVALS[k] for k in columns["interval"].tolist()]
            for key, value in values_of(columns, columns["symbol"].tolist(), intervals).items():
                assert out.setdefault(key, value) == value, "two rows of one bar"
    return out


def recovered_rows(path: Path, workers: int) -> tuple[Rows, int]:
    """Every bar that there is after a crash, by the files and by an engine that goes on."""
    wal = Wal(path, "none", ring_bytes=1 << 20, segment_bytes=1 << 16)
    with wal:
        engine = engine_on(wal, workers=workers)
        snapshot = engine.take("judge")
        found = stored_rows(path)
        for bars in (snapshot.closed, snapshot.open):
            for key, value in rows_of(bars).items():
                assert found.setdefault(key, value) == value, "stored otherwise than recovered"
        snapshot.nack()
        engine.stop()
    accepted = sum(value[6] for key, value in found.items() if key[1] == INTERVALS[0])
    return found, accepted


class Child:
    """The process, and what it has told."""

    def __init__(self, path: Path, fsync: str, workers: int, seed: int) -> None:
        command = [sys.executable, str(CHILD), str(path), fsync, str(workers), str(seed)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
        assert self._process.stdout is not None
        first = self._process.stdout.readline()
        assert first.startswith(b"begins"), first

    def end(self, after_s: float) -> tuple[int, int, bool]:
        """Kills it: rows that were offered at most, accepted at least, and whether it was done."""
        try:
            assert self._process.wait(timeout=after_s) == 0
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        # Not by communicate(), which passes over what came together with the first line.
        assert self._process.stdout is not None
        told = self._process.stdout.read()
        self._process.stdout.close()
        offered = accepted = 0
        done = False
        for line in told.decode().splitlines(keepends=True):
            if not line.endswith("\n"):
                break  # it was killed in the middle of it
            word, number = line.split()
            offered = max(offered, int(number))
            if word in ("accepted", "done"):
                accepted = max(accepted, int(number))
            done = done or word == "done"
        return offered, accepted, done


def kill_until_done(path: Path, chance: random.Random, most: int) -> int:
    """Kills a writer of all trades that often at most; judges after each. Returns the kills."""
    rows = trades()
    names = np.array(klineagg.symbol_names(rows["symbol"]))
    reference = rows_of(klineagg.aggregate(rows, ",".join(INTERVALS)))
    offered = accepted = done_kills = 0
    done = False
    while not done:
        child = Child(
            path, chance.choice(("none", "interval")), chance.randint(1, 3), chance.getrandbits(32)
        )
        last = done_kills >= most
        told = child.end(240.0 if last else chance.uniform(0.001, 0.25))
        offered, accepted, done = max(offered, told[0]), max(accepted, told[1]), told[2]
        done_kills += not done
        found, there = recovered_rows(path, chance.randint(1, 3))
        assert accepted <= there <= max(offered, accepted)
        # Of each symbol a first part of its trades, whole and once, and nothing else.
        counts = {
            name: sum(v[6] for k, v in found.items() if k[:2] == (name, INTERVALS[0]))
            for name in np.unique(names).tolist()
        }
        chosen = np.zeros(ROWS, bool)
        for name, count in counts.items():
            chosen[np.flatnonzero(names == name)[:count]] = True
        expected = rows_of(
            klineagg.aggregate({k: v[chosen] for k, v in rows.items()}, ",".join(INTERVALS))
        )
        assert found == expected
    assert stored_rows(path) == reference
    return done_kills


def test_a_killed_engine_loses_nothing_that_was_accepted_and_doubles_nothing(
    tmp_path: Path,
) -> None:
    assert kill_until_done(tmp_path, random.Random(7), most=4) <= 4


@pytest.mark.slow
def test_many_kills(tmp_path: Path) -> None:
    chance, done, run = random.Random(time.time_ns()), 0, 0
    while (left := kills(0.2) - done) > 0:
        run += 1
        done += kill_until_done(tmp_path / str(run), chance, min(40, left))


def test_an_engine_goes_on_with_other_workers_intervals_and_rules(tmp_path: Path) -> None:
    rows = trades(4_000)
    with engine_on(tmp_path, workers=3) as engine:
        engine.producer().push(part(rows, 0, 2_500))
        engine.advance(int(rows["time"][2_000]))
        before = engine.view()
    assert before.position is not None
    clock = SimulatedClock()
    with Engine(
        "1s,5s,1m", wal=tmp_path, clock=clock, max_ahead=None, lateness="5s", workers=2
    ) as engine:
        found = engine.recovery
        assert found is not None and (found.trades, found.checkpoint) == (2_500, 0)
        assert clock.now_ns() == int(rows["time"][2_000])
        engine.producer().push(part(rows, 2_500, 4_000))
        engine.advance(int(rows["time"][-1]) + 10**12)
        closed = rows_of(engine.take("all").closed)
    # The new interval too is whole: the log had all of its trades.
    assert closed == rows_of(klineagg.aggregate(rows, "1s,5s,1m"))


def test_intervals_that_came_and_went_did_so_after_a_crash_too(tmp_path: Path) -> None:
    rows = trades(4_000)

    def live(engine: Engine) -> None:
        feed = engine.producer()
        feed.push(part(rows, 0, 1_000))
        engine.take("lake", checkpoint=True).ack()
        feed.push(part(rows, 1_000, 2_000))
        engine.reconfigure(intervals="1m,5s,1d")
        feed.push(part(rows, 2_000, 3_000))

    def rest(engine: Engine) -> tuple[list[str], Rows]:
        engine.producer().push(part(rows, 3_000, 4_000))
        engine.advance(int(rows["time"][-1]) + 10**12)
        closed = engine.take("lake").closed
        return sorted(set(closed.intervals)), rows_of(closed)

    with engine_on(tmp_path / "never") as whole:
        live(whole)
        wanted = rest(whole)
    with engine_on(tmp_path / "crashed") as crashed:
        live(crashed)
    clock = SimulatedClock()
    with Engine("1d,5s,1m", wal=tmp_path / "crashed", clock=clock, max_ahead=None) as engine:
        assert engine.intervals == ("1d", "5s", "1m")
        assert rest(engine) == wanted
    # Those of 1s that nobody had taken when it went, and no 5s from before that came.
    times = {name: [at for _, each, at in wanted[1] if each == name] for name in ("1s", "5s")}
    first, last = (int(rows["time"][k]) for k in (1_000, 2_000))
    assert times["1s"] and max(times["1s"]) < last and min(times["5s"]) > first


def test_acknowledged_rows_do_not_come_again_and_the_others_do(tmp_path: Path) -> None:
    rows = trades(3_000)
    with engine_on(tmp_path) as engine:
        feed = engine.producer()
        feed.push(part(rows, 0, 1_000))
        with engine.take("lake", checkpoint=True) as first:
            assert len(first.closed)
        feed.push(part(rows, 1_000, 3_000))
        lost = engine.take("lake", checkpoint=True)
        first_rows, lost_rows = rows_of(first.closed), rows_of(lost.closed)
        stats = engine.stats().wal
        assert stats is not None
        assert stats.committed == first.position
    with engine_on(tmp_path) as engine:
        again = engine.take("lake")
        assert rows_of(again.closed) == lost_rows
        assert not first_rows.keys() & lost_rows.keys()
        assert again.id > lost.id


def test_a_source_that_is_read_again_from_the_last_note_is_not_counted_twice(
    tmp_path: Path,
) -> None:
    rows = trades(3_000)
    with engine_on(tmp_path, workers=2) as engine:
        feed = engine.producer()
        feed.push(part(rows, 0, 1_000))
        engine.note(b"1000")
        feed.push(part(rows, 1_000, 1_700))
    with engine_on(tmp_path) as engine:
        assert engine.recovery is not None and engine.recovery.note == b"1000"
        feed = engine.producer()
        assert feed.skip_recovered() == 700
        pushed = feed.push(part(rows, 1_000, 3_000), return_rejected=True)
        assert (pushed.offered, pushed.queued, pushed.skipped) == (2_000, 1_300, 700)
        feed.flush()
        snapshot = engine.take("all")
        found = rows_of(snapshot.closed) | rows_of(snapshot.open)
    assert found == rows_of(klineagg.aggregate(rows, ",".join(INTERVALS)))


def test_at_its_limit_the_log_halts_acceptance_and_reading_goes_on(tmp_path: Path) -> None:
    rows = trades(20_000)
    wal = Wal(tmp_path, "none", segment_bytes=1 << 14, ring_bytes=1 << 20, size_max=1 << 16)
    engine = engine_on(wal, push_timeout="1s").start()
    feed = engine.producer()

    def fill() -> None:
        for begin in range(0, 20_000, 100):
            feed.push(part(rows, begin, begin + 100))
            engine.flush()

    with pytest.raises(errors.WalHaltedError) as told:
        fill()
    assert told.value.name == "wal_full"
    stats = engine.stats().wal
    assert stats is not None and stats.halted and stats.cause == "wal_full"
    told_of = engine.metrics_text()
    assert 'klineagg_wal_halted{cause="wal_full"} 1' in told_of
    assert f"klineagg_wal_written_position {stats.written}\n" in told_of
    assert f"klineagg_wal_full_ring_events_total {stats.would_block}\n" in told_of
    for refused in (engine.flush, lambda: engine.advance(2**60), lambda: engine.note(b"")):
        with pytest.raises(errors.WalHaltedError):
            refused()
    assert len(engine.view().open)
    with engine.take("lake", checkpoint=True) as snapshot:
        assert len(snapshot.closed)
        assert snapshot.position == stats.accepted
    # The consumer has it: there is room again.
    engine.resume()
    engine.flush()
    stats = engine.stats().wal
    assert stats is not None
    assert not stats.halted
    feed.push(part(rows, 19_900, 20_000))
    assert engine.flush()
    engine.stop()
    wal.close()


def test_rows_beyond_the_bound_wait_beside_the_log(tmp_path: Path) -> None:
    rows = trades()
    with engine_on(tmp_path, unacknowledged_max=1024) as engine:
        slow = engine.take("slow")
        feed = engine.producer()
        for begin in range(0, ROWS, 1_000):  # nobody waits for the slow one
            feed.push(part(rows, begin, begin + 1_000))
        engine.advance(int(rows["time"][-1]) + 120 * 10**9)
        (told,) = engine.consumers()
        assert told.rows_behind > 2 * 1024
        slow.nack()
        with engine.take("slow") as snapshot:
            assert snapshot.rows_lost == 0
            assert rows_of(snapshot.closed) == rows_of(
                klineagg.aggregate(rows, ",".join(INTERVALS))
            )
        assert {path.suffix for path in tmp_path.iterdir()} <= {".kwal", ".kcp", ".lock", ""}
    for wrong in ("evict", "keep"):  # there is no log here
        with pytest.raises(errors.OptionError):
            Engine("1m", clock=SimulatedClock(), on_bound=wrong)


def test_a_checkpoint_of_another_log_and_a_log_with_two_engines_are_refused(
    tmp_path: Path,
) -> None:
    with engine_on(tmp_path / "a") as engine:
        engine.producer().push(part(trades(100), 0, 100))
        other = engine.checkpoint()
        assert engine.wal is not None
        with pytest.raises(errors.EngineError, match="another engine"):
            engine_on(engine.wal)
        with pytest.raises(errors.EngineError) as told:
            engine.restore(other)
        assert told.value.name == "engine_state"
    # A log that is new may begin with any; one that has records only with its own.
    with engine_on(tmp_path / "b", checkpoint=other) as engine:
        engine.producer().push(part(trades(200), 100, 200))
    with engine_on(tmp_path / "b") as engine:
        opened = engine.view().open
        assert opened.trade_count[opened.interval == 1].sum() == 200
    with pytest.raises(errors.EngineError) as told:
        engine_on(tmp_path / "b", checkpoint=other)
    assert told.value.name == "recovery_mismatch"
    with pytest.raises(errors.OptionError):
        Engine("1m", checkpoint=other)
    # Without a log a checkpoint is as good as any.
    assert Engine("1m", clock=SimulatedClock()).restore(other) == 5


def test_a_damaged_checkpoint_beside_the_log_is_named(tmp_path: Path) -> None:
    with engine_on(tmp_path) as engine, engine.producer() as producer:
        producer.push(part(trades(1_000), 0, 1_000))
        engine.take("lake", checkpoint=True).ack()
    (file,) = tmp_path.glob("*.checkpoint")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(errors.KlineaggError, match=str(file)) as raised:
        engine_on(tmp_path)
    assert raised.value.name == "checkpoint_format"
    assert "without this file" in str(raised.value)
    file.unlink()
    with engine_on(tmp_path) as engine:  # the whole log once more
        opened = engine.view().open
        assert opened.trade_count[opened.interval == 0].sum() > 0
        assert engine.recovery is not None
        assert (engine.recovery.checkpoint, engine.recovery.trades) == (0, 1_000)
