"""Tasks that wait for records: cancelled in any way, beside others, left behind by their block."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bus.records import CHECKED, checked
from klineagg.bus import Bus, ResumableSubscriber

KINDS = pytest.mark.parametrize("kind", ["plain", "delayed", "reliable", "resumable"])


def subscriber_of(bus: Bus, wal: Path, kind: str) -> Any:
    makers: dict[str, Callable[[], Any]] = {
        "plain": lambda: bus.subscriber("ticks"),
        "delayed": lambda: bus.delayed("ticks"),
        "reliable": lambda: bus.reliable_subscriber("ticks", acknowledge="processed"),
        "resumable": lambda: ResumableSubscriber(
            bus, "ticks", history=bus.history("ticks", wal, record=CHECKED)
        ),
    }
    return makers[kind]()


@KINDS
def test_tasks_that_are_cancelled_twice_take_nothing_with_them(
    bus: Bus, tmp_path: Path, kind: str
) -> None:
    publisher = bus.publisher("ticks", "feed", record=CHECKED, wal=tmp_path / "wal")
    subscriber = subscriber_of(bus, tmp_path / "wal", kind)
    numbers: list[int] = []

    async def read() -> None:
        async for batch in subscriber.batches_async():
            numbers.extend(batch["number"].tolist())

    async def main() -> None:
        for first in range(1, 60, 3):
            reading = asyncio.create_task(read())
            for _ in range(3):  # then it waits
                await asyncio.sleep(0)
            publisher.publish(checked(first, 3))
            for _ in range(2):
                reading.cancel()
                await asyncio.sleep(0)
            with contextlib.suppress(asyncio.CancelledError):
                await reading
        reading = asyncio.create_task(read())
        while len(numbers) < 60:
            await asyncio.sleep(0.001)
        subscriber.stop()
        await reading

    asyncio.run(asyncio.wait_for(main(), 120))
    assert numbers == list(range(1, 61))
    subscriber.close()
    publisher.close()


def test_what_comes_while_a_block_ends_is_not_taken_for_handed_out(
    bus: Bus, tmp_path: Path
) -> None:
    publisher = bus.publisher("ticks", "feed", record=CHECKED, wal=tmp_path / "wal")
    numbers: list[int] = []

    def resumed() -> ResumableSubscriber:
        history = bus.history("ticks", tmp_path / "wal", record=CHECKED)
        return ResumableSubscriber(
            bus, "ticks", history=history, checkpoint=tmp_path / "position", record=CHECKED
        )

    async def read(subscriber: ResumableSubscriber) -> None:
        async for batch in subscriber.batches_async():
            numbers.extend(batch["number"].tolist())

    async def main(first: int, cancels: int) -> None:
        with resumed() as subscriber:
            reading = asyncio.create_task(read(subscriber))
            for _ in range(3):
                await asyncio.sleep(0)
            publisher.publish(checked(first, 3))
            for _ in range(cancels):
                reading.cancel()
        # The task has not run since: what came for it is nobody's.
        with contextlib.suppress(asyncio.CancelledError):
            await reading

    for number in range(12):
        asyncio.run(asyncio.wait_for(main(1 + 3 * number, number % 3), 120))
    with resumed() as subscriber:
        for batch in subscriber.batches(timeout=0.5):
            numbers.extend(batch["number"].tolist())
    assert numbers == list(range(1, 37))
    publisher.close()


def test_calls_without_asyncio_get_what_came_for_a_cancelled_task(bus: Bus) -> None:
    publisher = bus.publisher("ticks", "feed", record=CHECKED)
    subscriber = bus.subscriber("ticks")

    async def cancelled() -> None:
        waiting = asyncio.create_task(subscriber.next_batch())
        for _ in range(3):
            await asyncio.sleep(0)
        publisher.publish(checked(1, 5))
        waiting.cancel()

    asyncio.run(cancelled())
    assert subscriber.positions in ({"feed": 1}, {})
    assert (subscriber.received, subscriber.behind) == (0, 5)
    assert subscriber.receive()["number"].tolist() == [1, 2, 3, 4, 5]
    assert (subscriber.received, subscriber.behind) == (5, 0)
    subscriber.close()
    publisher.close()


@pytest.mark.parametrize("records", [False, True], ids=["batches", "records"])
def test_who_always_has_something_lets_others_run(bus: Bus, records: bool) -> None:
    publisher = bus.publisher("ticks", "feed", record=CHECKED)
    subscriber = bus.subscriber("ticks")
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def read() -> int:
        if records:
            publisher.publish(checked(1, 6_400))
            async for record in subscriber:
                if record["number"] == 6_400:
                    return 6_400
        for first in range(100):  # the next one is there before it is asked for
            publisher.publish(checked(1 + first, 1))
            assert await subscriber.next_batch() is not None
        return 100

    async def main() -> int:
        beside = asyncio.create_task(others())
        done = await read()
        beside.cancel()
        return done

    asyncio.run(asyncio.wait_for(main(), 120))
    assert turns >= 99
    subscriber.close()
    publisher.close()


@KINDS
def test_a_closed_subscriber_is_seen_no_more(bus: Bus, tmp_path: Path, kind: str) -> None:
    publisher = bus.publisher("ticks", "feed", record=CHECKED, wal=tmp_path / "wal")
    subscriber = subscriber_of(bus, tmp_path / "wal", kind)
    topics = ["ticks", "ticks.repeats"] if kind == "reliable" else ["ticks"]
    for topic in topics:
        assert len(bus.inspect(topic)["subscribers"]) == 1
    subscriber.close()
    subscriber.close()
    publisher.publish(checked(1, 3))
    for topic in topics:
        assert bus.inspect(topic)["subscribers"] == []
    publisher.close()
    assert bus.clean(older_than=0.0, forget=0.0) > 0
    assert bus.topics() == []  # neither of the two, which are there still, has it open
