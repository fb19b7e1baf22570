"""Writers take turns: one that commits without a pause does not keep the others away."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from klineagg import errors
from klineagg.lake import Lake
from klineagg.lake.catalog import Catalog
from klineagg.lake.lock import WriterLock

# Of whoever comes back at once; behind so many the other one is said to starve.
MOST = 2_000
TURNS = 10


def greedy(lock: WriterLock, taken: list[int], ended: threading.Event) -> None:
    while not ended.is_set() and taken[0] < MOST:
        with lock.held(None):
            taken[0] += 1
            time.sleep(0.003)


def begun(taken: list[int]) -> None:
    """Waits until it has the lock once more."""
    before = taken[0]
    while taken[0] == before and taken[0] < MOST:
        time.sleep(0.001)


@pytest.mark.parametrize("processes", [False, True])
def test_who_waits_comes_before_who_comes_back_at_once(tmp_path: Path, processes: bool) -> None:
    catalog = Catalog.of(tmp_path / "lake.sqlite", None)
    lock = WriterLock(catalog, 30)
    # The system's locks are those of open files: another one stands for another process.
    other = WriterLock(catalog, 30) if processes else lock
    taken, ended = [0], threading.Event()
    thread = threading.Thread(target=greedy, args=(lock, taken, ended))
    thread.start()
    try:
        for _ in range(TURNS):
            begun(taken)
            with other.held(None):
                pass
        assert taken[0] < MOST / 4
    finally:
        ended.set()
        thread.join()


def test_it_is_known_how_long_was_waited(tmp_path: Path) -> None:
    catalog = Catalog.of(tmp_path / "lake.sqlite", None)
    first, second = WriterLock(catalog, 30), WriterLock(catalog, 30)
    asked = threading.Event()

    def ask() -> None:
        asked.set()
        with second.held(None):
            pass

    thread = threading.Thread(target=ask)
    with first.held(None):
        thread.start()
        asked.wait()
        time.sleep(0.2)
    thread.join()
    assert second.waited_s > 0.1 > first.waited_s


def test_three_writers_all_get_their_turns(tmp_path: Path) -> None:
    catalog = Catalog.of(tmp_path / "lake.sqlite", None)
    taken, ended = [[0], [0]], threading.Event()
    threads = [
        threading.Thread(target=greedy, args=(WriterLock(catalog, 30), each, ended))
        for each in taken
    ]
    for thread in threads:
        thread.start()
    try:
        lock = WriterLock(catalog, 30)
        for _ in range(TURNS):
            for each in taken:
                begun(each)
            with lock.held(None):
                pass
        assert max(each[0] for each in taken) < MOST
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def test_one_that_was_stopped_while_it_waited_keeps_nobody_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    monkeypatch.setattr("klineagg.lake.lock._TURN_S", 0.05)
    catalog = Catalog.of(tmp_path / "lake.sqlite", None)
    turn = os.open(f"{catalog.path}.turn", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(turn, fcntl.LOCK_EX)
        with WriterLock(catalog, 30).held(None):
            pass
    finally:
        os.close(turn)


def test_who_gives_up_leaves_the_turn_to_the_next(tmp_path: Path) -> None:
    lock = WriterLock(Catalog.of(tmp_path / "lake.sqlite", None), 0.05)
    came = threading.Event()

    def hopeless() -> None:
        with pytest.raises(errors.LakeBusyError), lock.held(None):
            pass
        came.set()

    thread = threading.Thread(target=hopeless)
    with lock.held(None):
        thread.start()
        assert came.wait(60)
    thread.join()
    with lock.held(None):
        pass


def waiting(lake: Lake) -> int:
    """How many wait in PostgreSQL for a lock that another one has."""
    cursor = lake._session.connection().cursor()
    query = (
        "SELECT count(*) AS count FROM pg_locks WHERE locktype = 'advisory' AND NOT granted "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    (count,) = cursor.execute("FROM postgres_query('klineagg_lock', ?)", [query]).fetchone()
    return int(count)


def test_postgres_hands_the_lock_on_in_order(fresh_base: str, tmp_path: Path) -> None:
    order: list[str] = []
    with Lake(fresh_base, tmp_path) as first, Lake(fresh_base, tmp_path) as second:

        def take(lake: Lake, name: str, during: threading.Thread | None = None) -> None:
            cursor = lake._session.connection().cursor()
            with lake._session.lock.held(cursor):
                order.append(name)
                if during is None:
                    return
                during.start()
                for _ in range(10_000):
                    if waiting(lake):
                        return
                    time.sleep(0.001)
                pytest.fail("nobody waits in PostgreSQL")

        thread = threading.Thread(target=take, args=(second, "second"))
        take(first, "first", during=thread)
        take(first, "first")
        thread.join()
    assert order == ["first", "second", "first"]


def test_who_waits_in_postgres_gives_up(fresh_base: str, tmp_path: Path) -> None:
    with Lake(fresh_base, tmp_path) as first, Lake(fresh_base, tmp_path) as second:
        impatient = WriterLock(second._session.catalog, 0.2)
        holding = first._session.connection().cursor()
        asking = second._session.connection().cursor()
        with (
            first._session.lock.held(holding),
            pytest.raises(errors.LakeBusyError, match="another writer held"),
            impatient.held(asking),
        ):
            pass
        with impatient.held(asking):
            pass
