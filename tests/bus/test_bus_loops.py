"""Loops over records and batches: what they leave behind."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bus.records import CHECKED, checked
from klineagg.bus import Bus, ResumableSubscriber
from klineagg.errors import BusError


def test_break_keeps_the_rest_of_the_batch(bus: Bus) -> None:
    subscriber = bus.subscriber("ticks", record=CHECKED)
    publisher = bus.publisher("ticks", "feed", record=CHECKED)
    publisher.publish(checked(1, 10))
    for record in subscriber:
        if record["number"] == 2:
            break
    assert (subscriber.received, subscriber.behind) == (2, 8)
    assert subscriber.positions == {"feed": 3}
    publisher.publish(checked(11, 2))
    with subscriber.peek(1) as peek:
        assert [array["number"].tolist() for array in peek.arrays] == [[3]]
    assert peek.valid
    assert subscriber.wait(0.0)
    assert subscriber.receive(3)["number"].tolist() == [4, 5, 6]
    assert subscriber.received == 6
    assert subscriber.receive()["number"].tolist() == [7, 8, 9, 10]
    assert subscriber.receive()["number"].tolist() == [11, 12]
    assert (subscriber.received, subscriber.lost, subscriber.behind) == (12, 0, 0)
    assert subscriber.positions == {"feed": 13}


def test_receive_inside_a_loop_hands_nothing_out_twice(bus: Bus) -> None:
    subscriber = bus.subscriber("ticks", record=CHECKED)
    publisher = bus.publisher("ticks", record=CHECKED)
    publisher.publish(checked(1, 5))
    numbers = []
    for record in subscriber:
        numbers.append(int(record["number"]))
        if numbers == [1]:
            numbers += subscriber.receive()["number"].tolist()
            publisher.publish(checked(6, 1))
        if numbers[-1] == 6:
            break
    assert numbers == [1, 2, 3, 4, 5, 6]


def test_break_out_of_an_asynchronous_loop_keeps_the_rest(bus: Bus) -> None:
    subscriber = bus.subscriber("ticks", record=CHECKED)
    bus.publisher("ticks", record=CHECKED).publish(checked(1, 10))

    async def until(last: int) -> list[int]:
        numbers = []
        async for record in subscriber:
            numbers.append(int(record["number"]))
            if numbers[-1] == last:
                break
        return numbers

    async def both() -> list[list[int]]:
        return [await until(2), await until(4)]

    assert asyncio.run(both()) == [[1, 2], [3, 4]]
    assert subscriber.receive()["number"].tolist() == [5, 6, 7, 8, 9, 10]
    subscriber.close()


KINDS = pytest.mark.parametrize("kind", ["plain", "delayed", "reliable", "resumable"])


def subscriber_of(bus: Bus, wal: Path, kind: str) -> Any:
    history = bus.history("ticks", wal, record=CHECKED)
    makers: dict[str, Callable[[], Any]] = {
        "plain": lambda: bus.subscriber("ticks"),
        "delayed": lambda: bus.delayed("ticks"),
        "reliable": lambda: bus.reliable_subscriber("ticks"),
        "resumable": lambda: ResumableSubscriber(bus, "ticks", history=history),
    }
    return makers[kind]()


@KINDS
def test_nothing_is_received_after_close(bus: Bus, tmp_path: Path, kind: str) -> None:
    publisher = bus.publisher("ticks", record=CHECKED, wal=tmp_path)
    subscriber = subscriber_of(bus, tmp_path, kind)
    publisher.publish(checked(1, 3))
    subscriber.close()

    async def first() -> Any:
        async for record in subscriber:
            return record

    calls: list[Callable[[], object]] = [
        lambda: subscriber.collect() if kind == "delayed" else subscriber.receive(timeout=None),
        lambda: list(subscriber.batches(timeout=0.0)),
        lambda: next(iter(subscriber)),
        lambda: asyncio.run(subscriber.next_batch(0.0)),
        lambda: asyncio.run(first()),
    ]
    calls += [subscriber.peek, subscriber.wait] if kind == "plain" else []
    for call in calls:
        with pytest.raises(BusError, match="after close"):
            call()
    subscriber.close()  # once more is no error


def test_a_loop_ends_when_another_thread_closes(bus: Bus) -> None:
    subscriber = bus.subscriber("ticks", record=CHECKED)
    threading.Timer(0.1, subscriber.close).start()
    assert list(subscriber.batches()) == []


@KINDS
def test_close_wakes_who_waits_in_another_thread(bus: Bus, tmp_path: Path, kind: str) -> None:
    bus.publisher("ticks", record=CHECKED, wal=tmp_path)
    calls: dict[str, Callable[[Any], object]] = {
        "receive": lambda s: s.collect() if kind == "delayed" else s.receive(timeout=None),
        "next_batch": lambda s: asyncio.run(s.next_batch()),
    }
    if kind == "plain":
        calls["wait"] = lambda s: s.wait()
    for name, call in calls.items():
        subscriber = subscriber_of(bus, tmp_path, kind)
        said: list[object] = []

        def blocked(call: Any = call, subscriber: Any = subscriber, said: Any = said) -> None:
            try:
                said.append(call(subscriber))
            except BusError as error:
                said.append(error.name)

        thread = threading.Thread(target=blocked, daemon=True)
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        subscriber.close()
        thread.join(60)
        assert not thread.is_alive(), name
        assert said == [None if name == "next_batch" else "bus_closed"]


@KINDS
@pytest.mark.parametrize("records", [False, True], ids=["batches", "records"])
def test_async_for_has_each_record_once_and_lets_others_run(
    bus: Bus, tmp_path: Path, kind: str, records: bool
) -> None:
    publisher = bus.publisher("ticks", "feed", record=CHECKED, wal=tmp_path / "wal")
    subscriber = subscriber_of(bus, tmp_path / "wal", kind)
    numbers: list[int] = []
    turns = 0

    async def read() -> None:
        if records:
            async for record in subscriber:
                numbers.append(int(record["number"]))
                if numbers[-1] == 300:
                    return
        else:
            async for batch in subscriber.batches_async():
                numbers.extend(batch["number"].tolist())
                if numbers[-1] == 300:
                    subscriber.stop()

    async def main() -> None:
        nonlocal turns
        reading = asyncio.create_task(read())
        for first in (1, 101, 201):  # it waits for each of them
            while len(numbers) < first - 1:
                turns += 1
                await asyncio.sleep(0)
            publisher.publish(checked(first, 100))
        await asyncio.wait_for(reading, 120)

    asyncio.run(main())
    assert numbers == list(range(1, 301))
    assert turns > 0
    subscriber.close()
    publisher.close()


@KINDS
def test_a_cancelled_async_for_loses_nothing(bus: Bus, tmp_path: Path, kind: str) -> None:
    publisher = bus.publisher("ticks", "feed", record=CHECKED, wal=tmp_path / "wal")
    subscriber = subscriber_of(bus, tmp_path / "wal", kind)
    numbers: list[int] = []

    async def read() -> None:
        async for batch in subscriber.batches_async():
            numbers.extend(batch["number"].tolist())

    async def main() -> None:
        for first in range(1, 200, 10):
            reading = asyncio.create_task(read())
            await asyncio.sleep(0)  # it waits
            publisher.publish(checked(first, 10))
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading
        reading = asyncio.create_task(read())
        while len(numbers) < 200:
            await asyncio.sleep(0.001)
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading

    asyncio.run(asyncio.wait_for(main(), 120))
    assert numbers == list(range(1, 201))
    subscriber.close()
    publisher.close()
