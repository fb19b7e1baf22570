"""The list of files that reading works from, and the files that maintenance leaves."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from klineagg.bars import Bars
from klineagg.lake import Lake
from klineagg.lake.datafile import source_of
from klineagg.lake.files import Listing
from lake.lakes import REVISED, Model, content, delivery, rows_of

# Holds the lock that the first to open SQLite's log of writes ahead holds while it sorts it out.
HOLDER = """
import fcntl, os, struct, sys, time
file = os.open(sys.argv[1] + "-shm", os.O_RDWR | os.O_CREAT, 0o644)
fcntl.fcntl(file, fcntl.F_SETLK, struct.pack("hhqqi", fcntl.F_WRLCK, 0, 128, 1, 0))
print("held", flush=True)
sys.stdin.readline()
time.sleep(0.3)
"""


def listing_of(lake: Lake) -> Listing:
    """The files of the newest snapshot."""
    return lake._session.reading(lake._session.files.newest)


def parquet_files(place: Path) -> set[Path]:
    """All that is on the disk."""
    return set(place.rglob("*.parquet"))


def test_rows_that_were_replaced_are_left_out_without_asking_the_catalog(lake: Lake) -> None:
    model = Model()
    for number in range(1, 5):
        rows: list[dict[str, Any]] = [{"at": 10 * number + k} for k in range(5)]
        if number > 1:
            rows.append({"at": 10 * number - 9, "revision": 1, "flags": REVISED, "close": 101.0})
        model.commit(delivery(number, rows))
        lake.commit(delivery(number, rows))
    files = listing_of(lake).tables["closed"]
    assert sum(bool(file.deletes) for file in files) == 3
    assert source_of(files, "*") is not None, "all of them can be read without DuckLake"
    assert content(lake) == model.rows()
    assert rows_of(Bars.from_arrow(lake.sql("FROM bars").to_arrow())) == model.rows()


def test_only_files_that_may_hold_the_rows_are_opened(lake: Lake) -> None:
    for day in range(4):
        rows = [{"at": 1440 * day, "symbol": day % 2}]
        lake.commit(delivery(day + 1, rows, [{"at": 1440 * 4, "symbol": day % 2}]))
    files = listing_of(lake).tables["closed"]
    first, last = files[0].opens_ns, files[3].opens_ns
    assert first is not None and last is not None and first[0] < last[0]

    def chosen(symbols: list[str] | None, begin: int, end: int) -> list[int]:
        return [k for k, file in enumerate(files) if file.may_hold(symbols, ["1m"], begin, end)]

    assert chosen(None, first[0], last[0] + 1) == [0, 1, 2, 3]
    assert chosen(["BTCUSDT"], first[0], last[0] + 1) == [0, 2]
    assert chosen(None, first[0] + 1, last[0]) == [0, 1, 2], (
        "the first covers the time until its end"
    )
    assert chosen(None, last[0], last[0] + 1) == [3]
    assert not any(file.may_hold(None, ["1h"], first[0], last[0] + 1) for file in files)


def test_maintenance_makes_few_files_and_leaves_the_old_ones_to_readers(
    lake: Lake, tmp_path: Path
) -> None:
    model = Model()
    for number in range(1, 25):
        snapshot = delivery(number, [{"at": number}], [{"at": number + 1}])
        model.commit(snapshot)
        lake.commit(snapshot)
    before = listing_of(lake)
    assert len(before.tables["closed"]) == 24
    done = lake.maintain()
    assert done.files_merged >= 24 and done.files_removed == 0 and done.files < 10
    after = listing_of(lake)
    assert len(after.tables["closed"]) == 1 and after.snapshot > before.snapshot
    assert content(lake) == model.rows()
    kept = parquet_files(tmp_path)
    assert {Path(file.path) for file in before.tables["closed"]} <= kept, "a reader may be at them"
    again = lake.maintain(longest_read="1ns")
    assert again.files_removed >= 24 and len(parquet_files(tmp_path)) <= len(kept) - 24
    assert content(lake) == model.rows()
    lake.commit(delivery(25, [{"at": 25}]))
    model.commit(delivery(25, [{"at": 25}]))
    assert content(lake) == model.rows()


def test_a_reader_whose_list_is_too_old_reads_the_newest(lake: Lake, tmp_path: Path) -> None:
    for number in range(1, 12):
        lake.commit(delivery(number, [{"at": number}]))
    with Lake(tmp_path / "lake", read_only=True) as reader:
        rows = content(reader)
        newest = listing_of(reader)
        lake.maintain()
        lake.maintain(longest_read="1ns")
        stale = reader._session.files
        stale._listing = Listing(listing_of(lake).snapshot, newest.tables, newest.ids, newest.units)
        assert content(reader) == rows, "its files are gone; it looks again"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the lock is that of Linux")
def test_a_catalog_that_is_busy_for_a_moment_is_waited_for(lake: Lake, tmp_path: Path) -> None:
    lake.commit(delivery(1, [{"at": 0}]))
    # A patience of SQLite of a second and more is one whole second of sleep at least.
    query = "FROM sqlite_query('__ducklake_metadata_lake', 'PRAGMA busy_timeout')"
    rows = lake._session.reading(lambda cursor: cursor.execute(query).fetchall())
    assert 0 < int(rows[0][0]) < 1_000
    assert lake._session._held is not None
    lake._session._held.close()  # or nobody but the lake itself could set the log up
    with Lake(tmp_path / "lake", read_only=True) as reader:
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(tmp_path / "lake" / "catalog.sqlite")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert holder.stdout is not None and holder.stdin is not None
        assert holder.stdout.readline() == "held\n"
        holder.stdin.write("\n")
        holder.stdin.flush()
        assert len(reader.bars()) == 1 == len(reader.sql("FROM bars"))
        assert lake.commit(delivery(2, [{"at": 1}])).applied
        assert holder.wait(timeout=240) == 0
    assert len(lake.bars()) == 2


def test_a_catalog_that_is_busy_behind_a_commit_does_not_deliver_it_again(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    duckdb = pytest.importorskip("duckdb")
    files = lake._session.files
    newest, looks = files.newest, 0

    def busy(cursor: Any) -> Listing:
        nonlocal looks
        looks += 1
        if looks in (2, 3):  # the first is that of the transaction
            raise duckdb.TransactionException("database is locked")
        return newest(cursor)

    lake.commit(delivery(1, [{"at": 0}]))
    monkeypatch.setattr(files, "newest", busy)
    result = lake.commit(delivery(2, [{"at": 1}]))
    assert looks == 4
    assert result.applied
    assert result.fence.id == (1, 2)
    assert len(lake.bars(interval="1m")) == 2


def test_a_list_is_of_one_snapshot_beside_a_writer_that_never_rests(
    lake: Lake, tmp_path: Path
) -> None:
    lake.commit(delivery(1, [{"at": 1}]))
    first = listing_of(lake)
    over = threading.Event()

    def write() -> None:
        for number in range(2, 402):
            lake.commit(delivery(number, [{"at": number}]))
            if over.is_set():
                return

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    try:
        with Lake(tmp_path / "lake", read_only=True) as reader:
            for _ in range(60):
                reader._session.files.forget()
                listing = listing_of(reader)
                # A commit makes one file of closed bars, and writes the fence anew.
                commits = listing.snapshot - first.snapshot
                assert len(listing.tables["closed"]) == len(first.tables["closed"]) + commits
                assert len(listing.tables["fence"]) == 1
                assert all(file.opens_ns is not None for file in listing.tables["closed"])
                seen.add(listing.snapshot)
    finally:
        over.set()
        writer.join()
    assert len(seen) > 5, "nobody wrote beside it"
