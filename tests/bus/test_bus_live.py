"""Publishers and real-time subscribers in one process."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bus.records import CHECKED, checked, damaged
from klineagg.bus import Bus
from klineagg.bus._waiting import Records
from klineagg.errors import (
    BusError,
    BusNameError,
    EngineError,
    OptionError,
    PublisherExistsError,
)

RING = 1024 * CHECKED.dtype.itemsize


def test_records_arrive_as_they_were_sent(bus: Bus) -> None:
    subscriber = bus.subscriber("ticks", record=CHECKED)
    with bus.publisher("ticks", "feed", record=CHECKED) as publisher:
        before = np.datetime64(time.time_ns(), "ns")
        assert publisher.publish(checked(1, 5)) == 5
        assert publisher.publish(checked(6, 1)[0]) == 6
        received = subscriber.receive()
    assert received["sequence"].tolist() == [1, 2, 3, 4, 5, 6]
    assert set(received["publisher"].tolist()) == {b"feed"}
    assert (received["publish_time"] >= before).all()
    assert damaged(received) == 0
    assert len(subscriber.receive()) == 0
    assert (subscriber.received, subscriber.lost, subscriber.behind) == (6, 0, 0)


def test_who_is_too_slow_knows_how_many_are_lost(bus: Bus) -> None:
    publisher = bus.publisher("ticks", record=CHECKED, ring_bytes=RING)
    subscriber = bus.subscriber("ticks")
    for start in range(1, 5001, 100):
        publisher.publish(checked(start, 100))
    received = np.concatenate([subscriber.receive() for _ in range(20)])
    assert damaged(received) == 0
    assert received["number"].tolist() == received["sequence"].tolist()
    assert received["sequence"][-1] == 5000
    assert len(received) + subscriber.lost == 5000
    assert subscriber.lost >= 5000 - publisher.capacity


def test_a_batch_larger_than_the_ring_is_cut(bus: Bus) -> None:
    publisher = bus.publisher("ticks", record=CHECKED, ring_bytes=RING)
    subscriber = bus.subscriber("ticks")
    assert publisher.publish(checked(1, 10_000)) == 10_000
    got = subscriber.receive()
    assert got["number"][-1] == 10_000
    assert len(got) + subscriber.lost == 10_000


def test_loans_are_written_in_place(bus: Bus) -> None:
    publisher = bus.publisher("ticks", record=CHECKED, ring_bytes=RING)
    subscriber = bus.subscriber("ticks")
    publisher.publish(checked(1, 1000))
    subscriber.receive()
    with publisher.loan(100) as loan:
        assert (loan.first_sequence, len(loan)) == (1001, 100)
        assert [len(array) for array in loan.arrays] == [23, 77]
        loan.arrays[0][:] = checked(1001, 23)
        loan.arrays[1][:] = checked(1024, 77)
        with pytest.raises(BusError, match="loan"):
            publisher.publish(checked(1, 1))
        assert len(subscriber.receive()) == 0
    received = subscriber.receive()
    assert received["number"].tolist() == list(range(1001, 1101))
    assert received["sequence"].tolist() == list(range(1001, 1101))
    with pytest.raises(ZeroDivisionError), publisher.loan(1):
        raise ZeroDivisionError
    assert publisher.next_sequence == 1101
    with pytest.raises(BusError, match="512"):
        publisher.loan(513)


def test_records_without_their_padding_are_taken(bus: Bus) -> None:
    publisher = bus.publisher("trade_events")
    subscriber = bus.subscriber("trade_events")
    trades = publisher.empty(3)
    trades["price"], trades["direction"] = [1.5, 2.5, 3.5], [1, -1, 0]
    packed = np.concatenate([trades, trades[:1]])
    assert packed.itemsize < trades.itemsize
    publisher.publish(packed)
    received = subscriber.receive()
    assert received.dtype == trades.dtype
    assert received["price"].tolist() == [1.5, 2.5, 3.5, 1.5]
    assert received["direction"].tolist() == [1, -1, 0, 1]


def test_a_peek_says_whether_it_was_overwritten(bus: Bus) -> None:
    publisher = bus.publisher("ticks", record=CHECKED, ring_bytes=RING)
    subscriber = bus.subscriber("ticks")
    publisher.publish(checked(1, 500))
    with subscriber.peek() as peek:
        (array,) = peek.arrays
        assert damaged(array) == 0
        assert peek.still_valid()
        with pytest.raises(ValueError, match="read-only"):
            array["number"][0] = 7
    assert peek.valid
    assert subscriber.received == 500
    publisher.publish(checked(501, 700))
    with subscriber.peek() as peek:
        assert len(peek.arrays) == 2
        publisher.publish(checked(1201, 500))
        assert not peek.still_valid()
    assert peek.valid is False
    assert (subscriber.received, subscriber.lost) == (500, 700)
    del subscriber, peek
    assert array["number"][0] == 1025  # the memory stays, its content does not


def test_several_publishers_are_merged(bus: Bus) -> None:
    publishers = [bus.publisher("ticks", f"p{i}", record=CHECKED) for i in range(10)]
    with pytest.raises(BusError, match="10 publishers already"):
        bus.publisher("ticks", "p10", record=CHECKED)
    with pytest.raises(PublisherExistsError, match="p3"):
        bus.publisher("ticks", "p3", record=CHECKED)
    subscriber = bus.subscriber("ticks")
    for i, publisher in enumerate(publishers):
        publisher.publish(checked(1, 10 * (i + 1)))
    received = subscriber.receive()
    for i in range(10):
        own = received[received["publisher"] == f"p{i}".encode()]
        assert own["sequence"].tolist() == list(range(1, 10 * (i + 1) + 1))
    assert subscriber.positions == {f"p{i}": 10 * (i + 1) + 1 for i in range(10)}
    with pytest.raises(BusNameError):
        bus.publisher("../up", record=CHECKED)


@pytest.mark.parametrize("wait", ["spin", "backoff", "park"])
def test_waiting_ends_when_something_comes(bus: Bus, wait: str) -> None:
    subscriber = bus.subscriber("ticks", record=CHECKED, wait=wait)  # type: ignore[arg-type]
    assert not subscriber.wait(0.01)
    assert len(subscriber.receive(timeout=0.01)) == 0

    def send() -> None:
        with bus.publisher("ticks", record=CHECKED) as publisher:
            publisher.publish(checked(1, 3))

    thread = threading.Timer(0.05, send)
    thread.start()
    received = subscriber.receive(timeout=120)
    thread.join()
    assert received["number"].tolist() == [1, 2, 3]


def test_loops_over_batches_and_records(bus: Bus) -> None:
    publisher = bus.publisher("ticks", record=CHECKED)
    subscriber = bus.subscriber("ticks")
    publisher.publish(checked(1, 4))
    numbers = []
    for record in subscriber:
        numbers.append(int(record["number"]))
        if len(numbers) == 4:
            break
    assert numbers == [1, 2, 3, 4]
    publisher.publish(checked(5, 4))
    assert [len(batch) for batch in subscriber.batches(timeout=0.01)] == [4]
    publisher.publish(checked(9, 2))
    seen: list[int] = []

    def callback(batch: Records) -> None:
        seen.extend(batch["number"].tolist())
        subscriber.stop()

    subscriber.run(callback)
    assert seen == [9, 10]


def test_asyncio_waits_without_blocking_and_loses_nothing_to_a_cancellation(bus: Bus) -> None:
    publisher = bus.publisher("ticks", record=CHECKED)
    subscriber = bus.subscriber("ticks")

    async def main() -> list[int]:
        numbers: list[int] = []

        async def read() -> None:
            async for batch in subscriber.batches_async():
                numbers.extend(batch["number"].tolist())

        first = 1
        for _ in range(6):
            task = asyncio.create_task(read())
            await asyncio.sleep(0.02)
            publisher.publish(checked(first, 3))
            first += 3
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        while len(numbers) < 18:
            batch = await subscriber.next_batch(timeout=120)
            assert batch is not None
            numbers.extend(batch["number"].tolist())
        assert await subscriber.next_batch(timeout=0.05) is None
        return numbers

    assert asyncio.run(main()) == list(range(1, 19))
    subscriber.close()


def test_a_resumed_subscriber_goes_on_at_its_positions(bus: Bus) -> None:
    publisher = bus.publisher("ticks", record=CHECKED)
    publisher.publish(checked(1, 10))
    assert len(bus.subscriber("ticks").receive()) == 0
    assert bus.subscriber("ticks", start="oldest").receive()["number"].tolist() == list(
        range(1, 11)
    )
    resumed = bus.subscriber("ticks", positions={"publisher": 7})
    assert resumed.receive()["number"].tolist() == [7, 8, 9, 10]


def test_a_closed_publisher_is_followed_by_a_successor(bus: Bus) -> None:
    subscriber = bus.subscriber("ticks", record=CHECKED)
    for generation in range(1, 4):
        with bus.publisher("ticks", record=CHECKED) as publisher:
            assert publisher.generation == generation
            publisher.publish(checked(publisher.next_sequence, 5))
        with pytest.raises(BusError, match="closed"):
            publisher.publish(checked(1, 1))
    assert subscriber.receive()["number"].tolist() == list(range(1, 16))
    (source,) = subscriber.publishers()
    assert (source["alive"], source["generation"], source["lost"]) == (False, 3, 0)


def test_segments_are_the_owners_only_and_of_full_size(bus: Bus) -> None:
    with bus.publisher("market_l2"):
        (ring,) = Path(bus.path).glob("market_l2@publisher.ring")
        status = ring.stat()
        assert stat.S_IMODE(status.st_mode) == 0o600
        assert status.st_size > 2**17 * 376
        assert status.st_blocks * 512 >= status.st_size
    assert bus.topics() == ["market_l2"]
    assert bus.remove_orphans("market_l2") == 1
    assert not ring.exists()
    os.chmod(bus.path, 0o777)
    with pytest.raises(BusError, match="everybody"):
        Bus(bus.path)


def test_inspect_shows_both_roles(bus: Bus) -> None:
    publisher = bus.publisher("ticks", record=CHECKED)
    subscriber = bus.subscriber("ticks", "watcher")
    publisher.publish(checked(1, 9))
    subscriber.receive(4)
    found = bus.inspect("ticks")
    (ring,) = found["publishers"]
    assert (ring["name"], ring["alive"], ring["next_sequence"]) == ("publisher", True, 10)
    assert ring["pid"] == os.getpid()
    (seat,) = found["subscribers"]
    assert (seat["name"], seat["received"], seat["behind"], seat["lost"]) == ("watcher", 4, 5, 0)


def test_a_group_may_read_rings_and_wait(folder: str) -> None:
    path = Path(folder) / "shared"
    bus = Bus(path, group=os.getgid())
    with bus.publisher("ticks", record=CHECKED):
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.iterdir()}
    assert modes == {"ticks@publisher.ring": 0o640, "ticks.topic": 0o660}
    assert stat.S_IMODE(path.stat().st_mode) == 0o770
    assert path.stat().st_gid == os.getgid()
    for wrong in ("no such group", -5, True):
        with pytest.raises(OptionError, match="group"):
            Bus(path, group=wrong)


def test_a_folder_that_is_there_becomes_the_groups_or_is_refused(folder: str) -> None:
    path = Path(folder) / "own"
    path.mkdir(mode=0o700)
    Bus(path, group=os.getgid())
    assert stat.S_IMODE(path.stat().st_mode) == 0o770
    path.chmod(0o700)
    Bus(path).publisher("ticks", record=CHECKED).close()
    with pytest.raises(BusError, match="not empty, and not open to the group") as caught:
        Bus(path, group=os.getgid())
    assert caught.value.name == "bus_unavailable"
    assert stat.S_IMODE(path.stat().st_mode) == 0o700  # nothing was half done
    path.chmod(0o2770)
    Bus(path, group=os.getgid())


def test_threads_are_pinned_where_asked(bus: Bus) -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system cannot pin threads")
    wanted = max(os.sched_getaffinity(0))
    found: dict[str, set[int]] = {}

    def publish() -> None:
        with bus.publisher("ticks", "feed", record=CHECKED, core=wanted) as publisher:
            publisher.publish(checked(1, 1))
            found["publisher"] = os.sched_getaffinity(0)

    async def receive(subscriber: Any) -> None:
        with bus.publisher("ticks", "late", record=CHECKED) as publisher:
            threading.Timer(0.05, publisher.publish, (checked(1, 1),)).start()
            assert await subscriber.next_batch(timeout=120) is not None  # its thread has run
        for thread in threading.enumerate():
            if thread.name.startswith("kla-bus") and thread.native_id is not None:
                found["asyncio"] = os.sched_getaffinity(thread.native_id)

    def subscribe() -> None:
        with bus.subscriber("ticks", record=CHECKED, core=wanted) as subscriber:
            found["subscriber"] = os.sched_getaffinity(0)
            asyncio.run(receive(subscriber))

    for act in (publish, subscribe):
        thread = threading.Thread(target=act)
        thread.start()
        thread.join()
    assert found == {"publisher": {wanted}, "subscriber": {wanted}, "asyncio": {wanted}}
    assert os.sched_getaffinity(0) >= {wanted}
    with pytest.raises(EngineError, match="allowed cores"):
        bus.subscriber("ticks", record=CHECKED, core=4095)
