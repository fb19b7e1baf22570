"""Random lives of a lake beside a dictionary; killed writers; readers beside a writer."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from klineagg import Bars
from klineagg.lake import Lake
from lake.lakes import GAP, REVISED, Delivery, Model, content, delivery, rows_of
from lake.test_lake_servers import SQLITE_BY_DEFAULT, start
from runtime.runs import kills

WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from klineagg.lake import Lake
from lake.lakes import delivery

with Lake(sys.argv[2]) as lake:
    fence = lake.fence()
    first = 1 if fence is None else fence.number + 1
    print("ready", flush=True)
    for number in range(first, first + 1_000):
        rows = [{"at": number}, {"at": number, "symbol": 1}]
        lake.commit(delivery(number, rows, [{"at": number + 1}], position=number))
        print(number, flush=True)
"""


def random_rows(source: random.Random, number: int, last: int) -> list[dict[str, Any]]:
    """Bars and runs in the minutes up to ``last`` that do not overlap each other."""
    rows: list[dict[str, Any]] = []
    for symbol in range(source.randint(1, 3)):
        at = source.randint(0, max(last - 5, 0))
        while at < last and source.random() < 0.8:
            length = source.choice([1, 1, 1, 2, 5, 9])
            # Deliveries of one number have one revision: bits of equal revisions are equal then.
            row = {"at": at, "symbol": symbol, "revision": number, "close": 100.0 + number % 7}
            row["flags"] = REVISED
            if length > 1:
                row |= {"run_length": length, "flags": GAP | REVISED}
            rows.append(row)
            at += length + source.choice([0, 0, 1, 4])
    return rows


def random_life(seed: int) -> list[Delivery]:
    """Snapshots in the order of their arrival: rising, repeated, swapped, and late."""
    source = random.Random(seed)
    made: list[Delivery] = []
    last = 0
    for number in range(1, 9):
        last += source.randint(1, 12)
        opened = [
            {"at": last + 9, "symbol": symbol, "close": float(number)}
            for symbol in range(source.randint(0, 3))
        ]
        rows = random_rows(source, number, last)
        made.append(delivery(number, rows, opened, epoch=1 + number // 5, position=number))
    arrived: list[Delivery] = []
    for one in made:
        arrived.append(one)
        if source.random() < 0.4:
            arrived.append(source.choice(made[: len(arrived)]))
    if source.random() < 0.7:
        at = source.randrange(len(arrived) - 1)
        arrived[at], arrived[at + 1] = arrived[at + 1], arrived[at]
    return arrived


@pytest.mark.parametrize(
    "seed", [*range(2), *(pytest.param(k, marks=pytest.mark.slow) for k in range(2, 60))]
)
def test_a_random_life_is_that_of_the_model(seed: int, lake: Lake) -> None:
    model = Model()
    past: list[tuple[int, list[tuple[Any, ...]]]] = []
    arrived = random_life(seed)
    for step, snapshot in enumerate(arrived):
        newer = snapshot.id > model.fence
        model.commit(snapshot)
        done = lake.commit(snapshot)
        assert done.applied == newer
        past.append((done.snapshot, model.rows()))
        if step == len(arrived) // 2:
            lake.maintain(history="all")
    assert content(lake) == model.rows()
    # The views are read by DuckLake, and not from the list of files.
    assert rows_of(Bars.from_arrow(lake.sql("FROM bars").to_arrow())) == model.rows()
    runs = lake.bars(gaps="runs")
    assert len(set(runs.symbol.tolist())) <= 3 and runs.run_length.sum() == len(model.rows())
    number, rows = random.Random(seed).choice(past)
    assert content(lake, as_of=number) == rows


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
@pytest.mark.parametrize(
    "count", [2, pytest.param(kills(0.4), marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_writers_killed_at_any_instant_lose_nothing_acknowledged(
    count: int, tmp_path: Path
) -> None:
    place = tmp_path / "lake"
    Lake(place).close()
    source = random.Random(count)
    acknowledged = 0
    for _ in range(count):
        writer = start(WRITER, str(place))
        assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
        first = writer.stdout.readline()
        time.sleep(source.uniform(0.0, 0.3))
        os.kill(writer.pid, signal.SIGKILL)
        # Not by communicate(), which passes over what came together with the lines before.
        with writer:
            told = [first, *writer.stdout]
        acknowledged = max([acknowledged, *(int(line) for line in told if line.strip())])
    with Lake(place) as lake:
        fence = lake.fence()
        # The last commit may be done and not told.
        assert fence is not None and fence.number in (acknowledged, acknowledged + 1)
        assert fence.position == fence.number
        model = Model()
        for number in range(1, fence.number + 1):
            rows = [{"at": number}, {"at": number, "symbol": 1}]
            model.commit(delivery(number, rows, [{"at": number + 1}]))
        assert content(lake) == model.rows()
        lake.maintain(orphan_age="1ns", longest_read="1ns")
        assert content(lake) == model.rows()
        assert lake.commit(delivery(fence.number + 1, [{"at": fence.number + 1}])).applied


@SQLITE_BY_DEFAULT
def test_a_reader_beside_an_open_transaction_sees_the_last_commit(place: Any) -> None:
    catalog, data = place
    with Lake(catalog, data) as writer, Lake(catalog, data, read_only=True) as reader:
        writer.commit(delivery(1, [{"at": 0}], [{"at": 1}]))
        before = content(reader)

        def change(cursor: Any) -> None:
            cursor.execute("BEGIN")
            cursor.execute("DELETE FROM closed")
            cursor.execute("DELETE FROM open_log")
            assert content(reader) == before == content(writer)
            cursor.execute("ROLLBACK")

        writer._session.writing(change)
        assert content(reader) == before
        writer.commit(delivery(2, [{"at": 1}]))
        assert content(reader) == content(writer) != before


def test_a_process_reads_whole_commits_while_another_writes(tmp_path: Path) -> None:
    place = tmp_path / "lake"
    Lake(place).close()
    writer: subprocess.Popen[str] = start(WRITER, str(place))
    try:
        assert writer.stdout is not None
        while writer.stdout.readline().strip() != "2":
            assert writer.poll() is None
        with Lake(place, read_only=True) as reader:
            seen = 0
            for _ in range(10):
                bars = reader.bars(interval="1m", include_open=False)
                both = [bars.open_time[bars.symbol == one].tolist() for one in set(bars.symbol)]
                assert len(both) == 2 and both[0] == both[1], "both symbols of each commit"
                assert len(both[0]) >= seen, "what was committed stays"
                seen = len(both[0])
    finally:
        writer.kill()
        writer.communicate(timeout=240)
