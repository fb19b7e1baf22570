"""What the catalog refers to is on the disk: a power cut takes nothing that was acknowledged."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from klineagg import errors
from klineagg.lake import Lake, durable
from lake.lakes import Model, content, delivery
from lake.test_lake_files import parquet_files


class Syncs:
    """Those of this process: which files and folders, and a failure of the N-th."""

    def __init__(self) -> None:
        self.seen: set[tuple[int, int]] = set()
        self.calls = 0
        self.fails: int | None = None
        self._real = os.fsync

    def __call__(self, descriptor: int) -> None:
        self.calls += 1
        if self.calls == self.fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._real(descriptor)
        status = os.fstat(descriptor)
        self.seen.add((status.st_dev, status.st_ino))

    def unsynced(self, paths: set[Path]) -> set[Path]:
        """Those that no call was for."""
        return {path for path in paths if (path.stat().st_dev, path.stat().st_ino) not in self.seen}

    def fail_each(self, work: Callable[[], Any]) -> int:
        """Does it again and again, with another call that fails each time, until none does."""
        refused = 0
        while True:
            self.calls, self.fails = 0, refused + 1
            try:
                work()
            except errors.LakeError as error:
                found = error
            else:
                assert self.calls < self.fails
                self.fails = None
                return refused
            assert found.name == "lake_commit" and "cannot be synced" in str(found)
            refused += 1


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> Syncs:
    made = Syncs()
    monkeypatch.setattr(os, "fsync", made)
    return made


def folders_of(paths: set[Path], top: Path) -> set[Path]:
    return {parent for path in paths for parent in path.parents if top in (parent, *parent.parents)}


def rows(number: int) -> Any:
    """Of two days, so that there are two partitions."""
    return delivery(
        number,
        [{"at": number}, {"at": 1440 + number, "symbol": 1}],
        [{"at": number + 1}],
        position=number,
    )


def test_all_files_are_synced_with_the_commit_that_refers_to_them(
    lake: Lake, tmp_path: Path, syncs: Syncs
) -> None:
    data = tmp_path / "lake" / "data"
    for folder in (data, *data.iterdir()):
        os.utime(folder, (0, 0))  # made when the lake was, which may be long ago
    for number in range(1, 25):
        before = parquet_files(tmp_path)
        lake.commit(rows(number), checkpoint=b"state %d" % number)
        new = parquet_files(tmp_path) - before
        assert len(new) >= 4 and syncs.unsynced(new) == set()
        if number == 1:
            assert syncs.unsynced(folders_of(new, data)) == set()
    before = parquet_files(tmp_path)
    done = lake.maintain(retention={"1h": "1d"})
    assert done.files_merged > 0 and (new := parquet_files(tmp_path) - before)
    assert syncs.unsynced(new) == set()


@pytest.mark.parametrize("behind", ["all the time", "from the midst of each commit on"])
def test_files_are_synced_whatever_their_clock_says(
    lake: Lake, tmp_path: Path, syncs: Syncs, monkeypatch: pytest.MonkeyPatch, behind: str
) -> None:
    """That of a file server an hour behind, and one that is set back while a commit writes."""
    hour_ns = 3_600 * 10**9
    real_time, real_sync = durable._file_time_ns, durable.Syncing.sync
    before: set[Path] = set()
    back_ns = hour_ns if behind == "all the time" else 0

    def sync(syncing: durable.Syncing) -> int:
        nonlocal back_ns
        back_ns = hour_ns
        data = tmp_path / "lake" / "data"
        new = parquet_files(tmp_path) - before
        for path in new | folders_of(new, data):
            status = path.stat()
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - hour_ns))
        try:
            return real_sync(syncing)
        finally:
            back_ns = hour_ns if behind == "all the time" else 0

    monkeypatch.setattr(durable, "_file_time_ns", lambda folder: real_time(folder) - back_ns)
    monkeypatch.setattr(durable.Syncing, "sync", sync)
    for number in range(1, 6):
        before = parquet_files(tmp_path)
        lake.commit(rows(number), checkpoint=b"state %d" % number)
        new = parquet_files(tmp_path) - before
        assert len(new) >= 4 and syncs.unsynced(new) == set()


def test_a_commit_whose_files_cannot_be_synced_is_none(lake: Lake, syncs: Syncs) -> None:
    model = Model()
    model.commit(rows(1))
    lake.commit(rows(1))

    def commit() -> None:
        assert content(lake) == model.rows()
        assert lake.commit(rows(2), checkpoint=b"state").applied

    assert syncs.fail_each(commit) >= 5, "every file, and every folder that has a new one"
    model.commit(rows(2))
    assert content(lake) == model.rows() and lake.checkpoint() == (b"state", 2)


def test_maintenance_whose_files_cannot_be_synced_changes_nothing(lake: Lake, syncs: Syncs) -> None:
    model = Model()
    for number in range(1, 12):
        model.commit(rows(number))
        lake.commit(rows(number))

    def maintain() -> None:
        assert content(lake) == model.rows()
        lake.maintain()

    assert syncs.fail_each(maintain) >= 2
    assert content(lake) == model.rows()
    assert lake.maintain(orphan_age="1ns", longest_read="1ns").orphans_removed > 0
    assert content(lake) == model.rows()
