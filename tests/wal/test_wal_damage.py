"""Crashes and spoiled bytes: what was accepted is there, and what is lost is named."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np
import pytest

from klineagg import Wal, errors
from klineagg.data import load_bitmex
from klineagg.wal import WalDamage, WalRecord, inspect
from runtime.runs import kills
from wal.harness import (
    SMALL,
    WRITER,
    check_whole,
    content,
    cut_behind,
    fill,
    flip,
    python,
    read,
    segments,
)

DAMAGED_AT = 40


def damaged_log(path: Path) -> None:
    """1,000 records; one in the middle of the first segment is not what was written."""
    fill(path, 1000)
    first = segments(path)[0]
    flip(first, first.read_bytes().index(b"%d:x" % DAMAGED_AT))


@pytest.mark.parametrize("garbage", [b"torn" * 25, b"\xff", b"KFR1" * 12])
def test_a_torn_tail_is_cut(tmp_path: Path, garbage: bytes) -> None:
    fill(tmp_path, 50)
    with Wal(tmp_path, **SMALL) as wal:
        wal.append("command", content(51))
    # Without the seal of closing, as a kill leaves it: cut into the last frames.
    last = segments(tmp_path)[-1]
    data = last.read_bytes()
    at = data.rindex(b"51:x")
    last.write_bytes(data[: at + 3])
    check_whole(read(tmp_path), 1, 50)
    assert inspect(tmp_path).torn_bytes > 0
    with Wal(tmp_path, **SMALL) as wal:
        assert wal.repaired_bytes > 0
        assert wal.next_sequence == 51
        wal.append("command", content(51))
    check_whole(read(tmp_path), 1, 51)
    cut_behind(segments(tmp_path)[-1], garbage)
    check_whole(read(tmp_path), 1, 51)
    fill(tmp_path, 9)
    check_whole(read(tmp_path), 1, 60)


def test_damage_inside_is_a_range_and_salvage_goes_past_it(tmp_path: Path) -> None:
    damaged_log(tmp_path)
    with pytest.raises(errors.WalDamagedError) as caught:
        read(tmp_path)
    assert caught.value.name == "wal_damaged"
    assert caught.value.fields["first_sequence"] == str(DAMAGED_AT)
    assert caught.value.fields["last_sequence"] == str(DAMAGED_AT)
    lost: list[WalDamage] = []
    records = read(tmp_path, salvage=True, damages=lost)
    check_whole(records[: DAMAGED_AT - 1], 1, DAMAGED_AT - 1)
    check_whole(records[DAMAGED_AT - 1 :], DAMAGED_AT + 1, 1000)
    assert [(one.first, one.last, one.records) for one in lost] == [(DAMAGED_AT, DAMAGED_AT, 1)]
    found = inspect(tmp_path)
    assert found.damages == tuple(lost)
    assert found.lost_records == 1
    assert str(DAMAGED_AT) in str(lost[0])
    # Nobody who does not ask for the lost record is stopped by it.
    check_whole(read(tmp_path, from_seq=500), 500, 1000)


def test_trades_before_damage_come_before_its_error(tmp_path: Path) -> None:
    """Blocks of trades are read as one array: that one must not go with the damage behind it."""
    trades = load_bitmex()[:9000]
    with Wal(tmp_path) as wal:
        for begin in range(0, len(trades), 1000):
            wal.append_trades(trades[begin : begin + 1000])
            wal.flush()
    only = segments(tmp_path)[0]
    flip(only, only.stat().st_size // 2)
    records: list[WalRecord] = []
    with pytest.raises(errors.WalDamagedError) as caught:
        records.extend(Wal.read(tmp_path))
    arrays: list[np.ndarray] = []
    with pytest.raises(errors.WalDamagedError):
        arrays.extend(Wal.read_trades(tmp_path))
    before = int(caught.value.fields["first_sequence"]) - 1
    assert records[0].first == 1 and records[-1].last == before > 0
    assert sum(map(len, arrays)) == before


def test_a_log_that_is_damaged_at_its_end_opens_with_salvage_only(tmp_path: Path) -> None:
    fill(tmp_path, 20)
    only = segments(tmp_path)[0]
    flip(only, only.read_bytes().index(b"7:x"))
    with pytest.raises(errors.WalDamagedError):
        Wal(tmp_path, **SMALL)
    with Wal(tmp_path, salvage=True, **SMALL) as wal:
        assert [(one.first, one.last) for one in wal.lost] == [(7, 7)]
        assert wal.next_sequence == 21
    assert [one.first for one in read(tmp_path, salvage=True)] == [*range(1, 7), *range(8, 21)]


def test_a_missing_segment_is_a_range(tmp_path: Path) -> None:
    fill(tmp_path, 1000)
    paths = segments(tmp_path)
    assert len(paths) > 3
    gone = range(int(paths[1].stem), int(paths[2].stem))
    paths[1].unlink()
    with pytest.raises(errors.WalDamagedError) as caught:
        read(tmp_path)
    assert int(caught.value.fields["first_sequence"]) == gone.start
    assert int(caught.value.fields["last_sequence"]) == gone.stop - 1
    assert len(read(tmp_path, salvage=True)) == 1000 - len(gone)


def kill_writers(path: Path, cycles: int, fsync: str, seed: int) -> None:
    """Kills writers at any moment; each one goes on where the one before was stopped."""
    rng = random.Random(seed)
    accepted = 0
    for _ in range(cycles):
        child = python(WRITER, path, fsync)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(rng.random() * 0.15)
        child.kill()
        # What the child had said before it was killed is in the pipe; a last line may be cut.
        told = [line for line in child.stdout.read().splitlines(keepends=True) if line[-1] == "\n"]
        child.wait()
        child.stdout.close()
        if told:
            accepted, durable = map(int, told[-1].split())
            assert durable == accepted if fsync == "always" else durable <= accepted
        records = read(path)
        assert len(records) >= accepted
        check_whole(records, 1, len(records))
        accepted = len(records)
    assert accepted > 0


@pytest.mark.parametrize("fsync", ["none", "interval", "always"])
def test_a_killed_writer_loses_nothing_that_was_accepted(tmp_path: Path, fsync: str) -> None:
    kill_writers(tmp_path, 3, fsync, seed=1)


DIES = """
import os, sys
from klineagg import Wal
wal = Wal(sys.argv[1], segment_bytes=1 << 20, ring_bytes=1 << 20, size_max=2 << 20)
wal.append("command", b"x")
wal.flush()
os._exit(0)
"""


def test_a_writer_that_died_leaves_no_room_taken(tmp_path: Path) -> None:
    """A segment of a MiB for each of its deaths would fill the log with a record each."""
    for _ in range(4):
        child = python(DIES, tmp_path)
        assert child.wait() == 0
        assert child.stdout is not None
        child.stdout.close()
    with Wal(tmp_path, size_max=2 << 20, segment_bytes=1 << 20, ring_bytes=1 << 20) as wal:
        assert wal.repaired_bytes == 0 and wal.stats().segment_bytes < (1 << 20) + (1 << 16)
        assert wal.next_sequence == 5
    assert [record.first for record in read(tmp_path)] == [1, 2, 3, 4]


@pytest.mark.slow
@pytest.mark.parametrize("fsync", ["none", "interval", "always"])
def test_many_killed_writers(tmp_path: Path, fsync: str) -> None:
    kill_writers(tmp_path, kills(0.1), fsync, seed=2)
