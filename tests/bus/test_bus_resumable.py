"""Resumable subscribers: no hole, marked repeats, exactly once within a transaction."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bus import programs
from bus.records import CHECKED, checked, damaged
from klineagg.bus import Bus, Publisher, ResumableSubscriber, record_type
from klineagg.bus.checkpoint import Checkpoint
from klineagg.errors import BusError, FileError, OptionError, RecordTypeError, WalError

SMALL_RING = 1 << 14  # 128 records


def logged(bus: Bus, folder: Path, name: str = "feed") -> Publisher:
    return bus.publisher("ticks", name, record=CHECKED, ring_bytes=SMALL_RING, wal=folder / "wal")


def resumable(bus: Bus, folder: Path, **options: Any) -> ResumableSubscriber:
    history = bus.history("ticks", folder / "wal", record=CHECKED)
    return ResumableSubscriber(bus, "ticks", history=history, record=CHECKED, **options)


def send(publisher: Publisher, count: int, batch: int = 500) -> None:
    while count > 0:
        some = min(count, batch)
        publisher.publish(checked(publisher.next_sequence, some))
        count -= some


def drain(subscriber: ResumableSubscriber) -> list[int]:
    numbers: list[int] = []
    while len(batch := subscriber.receive()):
        assert damaged(batch) == 0
        numbers.extend(batch["number"].tolist())
    return numbers


def test_replay_then_live_without_a_hole(bus: Bus, tmp_path: Path) -> None:
    publisher = logged(bus, tmp_path)
    send(publisher, 1000)  # the ring has moved on long ago
    subscriber = resumable(bus, tmp_path)
    first = subscriber.receive()
    assert first["number"][0] == 1
    send(publisher, 60)  # while it replays
    assert drain(subscriber) == list(range(len(first) + 1, 1061))
    send(publisher, 10)
    assert drain(subscriber) == list(range(1061, 1071))
    assert subscriber.replayed >= 1000
    for _ in range(20):  # it falls behind the ring again
        send(publisher, 50)
    assert drain(subscriber) == list(range(1071, 2071))
    assert subscriber.positions == {"feed": 2071}


def test_two_publishers_each_from_its_place(bus: Bus, tmp_path: Path) -> None:
    a = logged(bus, tmp_path, "a")
    b = logged(bus, tmp_path, "b")
    send(a, 300)
    send(b, 200)
    subscriber = resumable(bus, tmp_path, positions={"a": 251, "b": 11})
    send(a, 5)
    batches: list[Any] = []
    while len(batch := subscriber.receive()):
        batches.append(batch)
    everything = np.concatenate(batches)
    for name, first, last in ((b"a", 251, 305), (b"b", 11, 200)):
        own = everything[everything["publisher"] == name]
        assert own["sequence"].tolist() == list(range(first, last + 1))


def test_a_restart_goes_on_at_the_checkpoint_and_marks_repeats(bus: Bus, tmp_path: Path) -> None:
    place = tmp_path / "position.json"
    publisher = logged(bus, tmp_path)
    send(publisher, 2600)
    crashed = resumable(bus, tmp_path, checkpoint=place, every=1000)
    for _ in range(4):  # 2,000 of them, by 500; 1,500 of them count as processed
        assert len(crashed.receive()) == 500
    del crashed  # without close(): a crash

    again = resumable(bus, tmp_path, checkpoint=place)
    numbers: list[int] = []
    marked: list[bool] = []
    while len(batch := again.receive()):
        numbers += batch["number"].tolist()
        marked += again.repeats(batch).tolist()
    assert numbers == list(range(1001, 2601))
    assert marked == [number <= 2000 for number in numbers]
    assert again.repeated == 1000
    again.close()

    send(publisher, 7)
    with resumable(bus, tmp_path, checkpoint=place) as third:
        assert drain(third) == list(range(2601, 2608))
        assert third.repeated == 0


def test_a_loop_over_records_of_one_large_batch_keeps_checkpoints(bus: Bus, tmp_path: Path) -> None:
    place = tmp_path / "position.json"
    publisher = bus.publisher("ticks", "feed", record=CHECKED, wal=tmp_path / "wal")
    publisher.publish(checked(1, 20_000))
    crashed = resumable(bus, tmp_path, checkpoint=place, every=1000)
    for record in crashed:
        if record["number"] == 5500:
            break
    assert Checkpoint(place).load() == {"feed": 5001}
    again = resumable(bus, tmp_path, checkpoint=place, every=1000)
    batch = again.receive()
    assert batch["number"].tolist() == list(range(5001, 6001))
    assert again.repeats(batch).all()
    assert not again.repeats(again.receive()).any()
    again.close()


@pytest.mark.parametrize("wanted", ["run", "records", "async"])
def test_a_loop_that_is_stopped_leaves_a_checkpoint(bus: Bus, tmp_path: Path, wanted: str) -> None:
    place = tmp_path / "position.json"
    send(logged(bus, tmp_path), 700)
    subscriber = resumable(bus, tmp_path, checkpoint=place, every=100)
    got = 0

    def take(count: int) -> None:
        nonlocal got
        got += count
        if got >= 250:
            subscriber.stop()

    async def loop() -> None:
        async for batch in subscriber.batches_async():
            take(len(batch))

    if wanted == "run":
        subscriber.run(lambda batch: take(len(batch)))
    elif wanted == "records":
        for _ in subscriber:
            take(1)
    else:
        asyncio.run(loop())
    assert got == 300
    assert Checkpoint(place).load() == {"feed": 301}


def test_a_hole_that_nobody_can_fill_is_an_error_and_not_silence(bus: Bus, tmp_path: Path) -> None:
    publisher = logged(bus, tmp_path)
    send(publisher, 10)
    (tmp_path / "another").mkdir()
    elsewhere = bus.history("ticks", tmp_path / "another", record=CHECKED)
    subscriber = ResumableSubscriber(bus, "ticks", history=elsewhere)
    assert drain(subscriber) == list(range(1, 11))
    send(publisher, 1000)
    with pytest.raises(BusError, match="neither in the ring nor in the history") as caught:
        drain(subscriber)
    hole = caught.value.fields
    assert hole["first"] == "11"
    assert drain(subscriber) == list(range(int(hole["last"]) + 1, 1011))
    (tmp_path / "bad.json").write_text("[1")
    with pytest.raises(FileError):
        resumable(bus, tmp_path, checkpoint=tmp_path / "bad.json")


def sent(count: int) -> np.ndarray[Any, np.dtype[Any]]:
    """Records as ``feed`` has published them."""
    records = checked(1, count)
    records["sequence"], records["publisher"] = records["number"], b"feed"
    return records


class Kept:
    """A history in memory, in batches as it likes."""

    def __init__(self, records: Any, step: int) -> None:
        self._records, self._step = records, step

    def publishers(self) -> list[str]:
        return ["feed"]

    def read(self, publisher: str, start: int, end: int | None) -> Any:
        sequences = self._records["sequence"]
        kept = self._records[(sequences >= start) & (sequences < (end or 1 << 63))]
        yield kept[:0]
        for at in range(0, len(kept), self._step):
            yield np.repeat(kept[at : at + self._step], 2)[::2]  # that does not lie in one piece


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_history_may_be_anything_that_can_be_read(bus: Bus, step: int) -> None:
    publisher = bus.publisher("ticks", "feed", record=CHECKED, ring_bytes=SMALL_RING)
    send(publisher, 1000)
    subscriber = ResumableSubscriber(bus, "ticks", history=Kept(sent(1000), step))
    assert drain(subscriber) == list(range(1, 1001))
    assert subscriber.replayed >= 800
    some = sent(1000)
    holed = Kept(some[(some["number"] < 300) | (some["number"] > 400)], step)
    subscriber = ResumableSubscriber(bus, "ticks", history=holed)
    batches: list[Any] = []
    with pytest.raises(BusError, match="neither in the ring nor in the history") as caught:
        subscriber.run(batches.append, timeout=5.0)
    assert np.concatenate([each["number"] for each in batches]).tolist() == list(range(1, 300))
    assert caught.value.fields == {"publisher": "feed", "first": "300", "last": "400"}
    assert drain(subscriber) == list(range(401, 1001))


def test_what_a_history_raises_reaches_the_caller_and_it_is_read_again(bus: Bus) -> None:
    publisher = bus.publisher("ticks", "feed", record=CHECKED, ring_bytes=SMALL_RING)
    send(publisher, 1000)

    class Failing(Kept):
        failures = 2

        def read(self, publisher: str, start: int, end: int | None) -> Any:
            yield from super().read(publisher, start, end)
            if self.failures:
                self.failures -= 1
                raise ConnectionError("the archive is away")

    failing = Failing(sent(1500), 50)  # of which the ring has not seen all
    subscriber = ResumableSubscriber(bus, "ticks", history=failing)
    for _ in range(2):
        with pytest.raises(ConnectionError, match="the archive is away"):
            drain(subscriber)
    assert drain(subscriber) == []
    assert subscriber.positions == {"feed": 1501}
    assert subscriber.replayed == 1500
    other = np.zeros(3, np.dtype([("sequence", "<u8"), ("publisher", "S16")]))
    other["sequence"] = [1, 2, 3]
    with pytest.raises(RecordTypeError, match="other records"):
        ResumableSubscriber(bus, "ticks", history=Kept(other, 9)).receive()


LOGGED = """
import sys, time
sys.path.insert(0, sys.argv[1])
from bus.records import CHECKED, checked
from klineagg.bus import Bus
path, folder, total = sys.argv[2], sys.argv[3], int(sys.argv[4])
publisher = Bus(path).publisher(
    "ticks", "feed", record=CHECKED, ring_bytes=1 << 14, wal=folder + "/wal", sync="none"
)
print("ready", flush=True)
while publisher.next_sequence <= total:
    publisher.publish(checked(publisher.next_sequence, 20))
    time.sleep(0.0005)
print("sent", flush=True)
"""

TO_SQLITE = """
import sqlite3, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from bus.records import CHECKED, damaged
from klineagg.bus import Bus, ResumableSubscriber
path, folder, total = sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
database = sqlite3.connect(folder / "output.db", isolation_level=None)
database.execute("pragma synchronous = off")
row = database.execute("select next from position").fetchone()
positions = {"feed": row[0]} if row else {}
bus = Bus(path)
history = bus.history("ticks", folder / "wal", record=CHECKED)
subscriber = ResumableSubscriber(
    bus, "ticks", history=history, positions=positions, record=CHECKED
)
print("ready", flush=True)
while subscriber.positions.get("feed", 1) <= total:
    batch = subscriber.receive(timeout=0.1)
    if len(batch) == 0:
        continue
    assert damaged(batch) == 0
    database.execute("begin immediate")
    rows = [(int(n),) for n in batch["number"]]
    database.executemany("insert into output values (?)", rows)
    database.execute("delete from position")
    database.execute("insert into position values (?)", (subscriber.positions["feed"],))
    database.execute("commit")
print("done", flush=True)
"""


def exactly_once(bus: Bus, folder: Path, cycles: int, total: int) -> None:
    chance = random.Random(cycles)
    database = sqlite3.connect(folder / "output.db")
    database.execute("create table output (number integer)")
    database.execute("create table position (next integer)")
    database.commit()
    publisher = programs.start(LOGGED, bus.path, folder, total)
    assert programs.first_line(publisher) == "ready"
    for cycle in range(cycles):
        if cycle % 4 == 2:  # the publisher, too
            programs.kill(publisher)
            publisher = programs.start(LOGGED, bus.path, folder, total)
            assert programs.first_line(publisher) == "ready"
        victim = programs.start(TO_SQLITE, bus.path, folder, total)
        assert programs.first_line(victim) == "ready"
        time.sleep(chance.uniform(0.001, 0.06))
        programs.kill(victim)
        programs.progress("resumed subscribers killed", cycle + 1, cycles)
    last = programs.start(TO_SQLITE, bus.path, folder, total)
    assert programs.first_line(last) == "ready"
    assert programs.first_line(last) == "done"
    programs.kill(last)
    programs.kill(publisher)
    numbers = [row[0] for row in database.execute("select number from output order by rowid")]
    database.close()
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= total


def test_exactly_once_where_output_and_position_share_a_transaction(
    bus: Bus, tmp_path: Path
) -> None:
    exactly_once(bus, tmp_path, cycles=4, total=20_000)


@pytest.mark.slow
def test_exactly_once_over_two_hundred_kills(bus: Bus, tmp_path: Path) -> None:
    exactly_once(bus, tmp_path, cycles=200, total=1_500_000)


def test_history_by_sequence_and_time(bus: Bus, tmp_path: Path) -> None:
    publisher = logged(bus, tmp_path)
    send(publisher, 100)
    time.sleep(0.01)
    middle = np.datetime64(time.time_ns(), "ns")
    time.sleep(0.01)
    send(publisher, 50)
    history = bus.history("ticks", tmp_path / "wal", record=CHECKED)
    assert history.publishers() == ["feed"]

    def numbers(**options: Any) -> list[int]:
        parts = list(history.replay("feed", **options))
        return [int(n) for part in parts for n in part["number"]]

    assert numbers() == list(range(1, 151))
    assert numbers(start=20, end=30) == list(range(20, 30))
    assert numbers(start_time=middle) == list(range(101, 151))
    assert numbers(end_time=middle) == list(range(1, 101))
    with pytest.raises(OptionError, match="in place"):
        publisher.loan(1)
    publisher.close()
    other = record_type("Other", [("x", "<f8")])
    with pytest.raises(RecordTypeError, match="other records"):
        list(bus.history("ticks", tmp_path / "wal", record=other).read("feed", 1, None))


def test_a_folder_that_is_not_there_is_no_history(bus: Bus, tmp_path: Path) -> None:
    for place in (tmp_path / "nosuch", str(tmp_path / "nosuch")):
        with pytest.raises(WalError, match="is no folder") as caught:
            bus.history("ticks", place, record=CHECKED)
        assert caught.value.name == "wal_io"
        assert caught.value.fields["path"] == str(place)
    (tmp_path / "empty").mkdir()
    assert bus.history("ticks", tmp_path / "empty", record=CHECKED).publishers() == []


def test_a_checkpoint_without_a_folder_is_refused_at_once(bus: Bus, tmp_path: Path) -> None:
    logged(bus, tmp_path)
    with pytest.raises(FileError, match="there is no folder") as caught:
        resumable(bus, tmp_path, checkpoint=tmp_path / "nosuch" / "position.json")
    assert caught.value.name == "file_not_found"


def test_a_publisher_with_a_log_goes_on_without_its_ring(bus: Bus, tmp_path: Path) -> None:
    with logged(bus, tmp_path) as publisher:
        send(publisher, 30)
    for path in Path(bus.path).iterdir():  # as after a restart of the machine
        path.unlink()
    with logged(bus, tmp_path) as publisher:
        assert publisher.next_sequence == 31
        send(publisher, 5)
        assert drain(resumable(bus, tmp_path)) == list(range(1, 36))


def raise_halfway(subscriber: ResumableSubscriber, how: str) -> None:
    """Raises at record 10, or at the second batch."""
    with subscriber:
        if how == "run":
            subscriber.run(lambda batch: 1 // int(batch["number"][0] < 501), timeout=5.0)
        parts = subscriber if how == "records" else subscriber.batches(timeout=5.0)
        for number, _ in enumerate(parts, 1):
            if number == (10 if how == "records" else 2):
                raise ZeroDivisionError


@pytest.mark.parametrize(("how", "next_"), [("records", 10), ("batches", 501), ("run", 501)])
def test_what_an_error_left_unfinished_comes_again_after_a_restart(
    bus: Bus, tmp_path: Path, how: str, next_: int
) -> None:
    place = tmp_path / "position.json"
    publisher = logged(bus, tmp_path)
    send(publisher, 2500)
    with pytest.raises(ZeroDivisionError):
        raise_halfway(resumable(bus, tmp_path, checkpoint=place), how)
    with resumable(bus, tmp_path, checkpoint=place) as again:
        assert again.positions.get("feed", 1) == next_
        assert drain(again) == list(range(next_, 2501))
    with resumable(bus, tmp_path, checkpoint=place) as third:  # an orderly end counts
        assert drain(third) == []


def test_a_failing_callback_gets_its_batch_again(bus: Bus, tmp_path: Path) -> None:
    place = tmp_path / "position.json"
    publisher = logged(bus, tmp_path)
    send(publisher, 600)
    subscriber = resumable(bus, tmp_path, checkpoint=place)
    with pytest.raises(ZeroDivisionError):
        subscriber.run(lambda batch: 1 // 0, timeout=5.0)
    assert subscriber.positions["feed"] == 1
    assert drain(subscriber) == list(range(1, 601))
    assert subscriber.repeated == 0
    subscriber.close()


def test_a_loop_over_records_that_is_left_keeps_the_rest(bus: Bus, tmp_path: Path) -> None:
    place = tmp_path / "position.json"
    publisher = logged(bus, tmp_path)
    send(publisher, 20)
    with resumable(bus, tmp_path, checkpoint=place) as subscriber:
        for record in subscriber:
            if record["number"] == 2:
                break
        assert subscriber.positions == {"feed": 3}
        assert [int(next(iter(subscriber))["number"]) for _ in range(3)] == [3, 4, 5]
    with resumable(bus, tmp_path, checkpoint=place) as again:
        assert not again.repeats(batch := again.receive()).any()
        assert batch["number"].tolist() == list(range(int(batch["number"][0]), 21))
        assert again.positions == {"feed": 21}
