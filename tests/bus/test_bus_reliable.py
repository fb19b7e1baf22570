"""Reliable publishing: each message once, or its caller is told."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from typing import Any

import numpy as np
import pytest

from bus.records import CHECKED, checked
from klineagg.bus import Bus, ReliableSubscriber, SequenceTracker
from klineagg.errors import BusError, DeliveryError, DeliveryTimeoutError, OptionError


class Reader:
    """A reliable subscriber in a thread."""

    def __init__(self, subscriber: ReliableSubscriber) -> None:
        self.subscriber = subscriber
        self.numbers: list[int] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            self.numbers.extend(self.subscriber.receive(timeout=0.02)["number"].tolist())

    def close(self) -> list[int]:
        self._over.set()
        self._thread.join()
        self.subscriber.close()
        return self.numbers


def lossy(share: float, seed: int) -> ReliableDrop:
    return ReliableDrop(share, seed)


class ReliableDrop:
    """Loses a share of what arrives."""

    def __init__(self, share: float, seed: int) -> None:
        self._share = share
        self._chance = random.Random(seed)
        self.dropped = 0

    def __call__(self, sequence: int) -> bool:
        lost = self._chance.random() < self._share
        self.dropped += lost
        return lost


def test_blocking_awaitable_and_callback(bus: Bus) -> None:
    reader = Reader(bus.reliable_subscriber("ticks", "risk", record=CHECKED))
    with bus.reliable_publisher("ticks", record=CHECKED, timeout=60.0) as publisher:
        assert publisher.publish(checked(1, 1)) == 1
        assert asyncio.run(publisher.publish_async(checked(2, 1))) == 2
        outcomes: list[tuple[int, BaseException | None]] = []
        sequence = publisher.publish_callback(
            checked(3, 1), lambda number, error: outcomes.append((number, error))
        )
        assert sequence == 3
        assert publisher.flush(timeout=120)
        assert (publisher.delivered, publisher.failed, publisher.pending) == (3, 0, 0)
    assert outcomes == [(3, None)]
    assert reader.close() == [1, 2, 3]


def test_without_a_taker_a_message_fails_with_its_sequence(bus: Bus) -> None:
    with bus.reliable_publisher("ticks", record=CHECKED, timeout=0.01, retries=2) as publisher:
        with pytest.raises(DeliveryError, match="sent 3 times") as caught:
            publisher.publish(checked(1, 1))
        assert caught.value.fields["sequence"] == 1
        assert publisher.repeated == 2
        assert publisher.failed == 1
    with bus.reliable_publisher(
        "ticks", acks=["risk", "web"], timeout=0.01, retries=0
    ) as publisher:
        reader = Reader(bus.reliable_subscriber("ticks", "risk"))
        with pytest.raises(DeliveryError) as caught:
            publisher.publish(checked(2, 1))
        assert "web" in caught.value.fields["missing"]
        reader.close()
    with pytest.raises(OptionError):
        bus.reliable_publisher("ticks", acks=0)


def test_who_does_not_wait_for_the_outcome_is_told_so(bus: Bus) -> None:
    with (
        bus.reliable_subscriber("ticks", record=CHECKED) as subscriber,
        bus.reliable_publisher("ticks", record=CHECKED, timeout=60.0) as publisher,
    ):
        for timeout in (0.0, 0.05):
            with pytest.raises(DeliveryTimeoutError, match="is not known") as caught:
                publisher.publish(checked(1, 1), timeout=timeout)
            assert isinstance(caught.value, TimeoutError)
        assert caught.value.fields["sequence"] == 2
        assert publisher.pending == 2
        assert subscriber.receive()["sequence"].tolist() == [1, 2]  # they were on their way
        assert publisher.flush(timeout=120)
        assert publisher.failed == 0


def test_named_counted_and_all_acknowledgers(bus: Bus) -> None:
    readers = [Reader(bus.reliable_subscriber("ticks", n, record=CHECKED)) for n in ("a", "b")]
    for acks in (2, "all", ["a", "b"]):
        with bus.reliable_publisher(
            "ticks", record=CHECKED, acks=acks, timeout=60.0, retries=0
        ) as publisher:
            publisher.publish(checked(1, 1))
    sent = 3
    for timeout in (0.1, 1.0, 10.0, 60.0):  # two of them may take their time
        with bus.reliable_publisher(
            "ticks", record=CHECKED, acks=3, timeout=timeout, retries=0
        ) as publisher:
            error = publisher.send(checked(1, 1)).exception()
        assert isinstance(error, DeliveryError)
        sent += 1
        if "1 more" in str(error):
            break
    else:
        raise AssertionError("two of three never acknowledge")
    while any(len(reader.numbers) < sent for reader in readers):
        time.sleep(0.01)
    for reader in readers:
        assert reader.close() == [1] * sent


@pytest.mark.parametrize(("retries", "count"), [(3, 600), (20, 600)])
def test_a_tenth_is_lost_and_each_message_arrives_once_or_fails(
    bus: Bus, retries: int, count: int
) -> None:
    drop = lossy(0.1, seed=retries)
    reader = Reader(bus.reliable_subscriber("ticks", "risk", record=CHECKED, drop=drop))
    publisher = bus.reliable_publisher("ticks", record=CHECKED, timeout=0.5, retries=retries)
    futures = [publisher.send(checked(n, 1)) for n in range(1, count + 1)]
    assert publisher.flush(timeout=240)
    delivered = [n for n, f in enumerate(futures, 1) if f.exception() is None]
    publisher.close()
    received = reader.close()
    assert drop.dropped > count / 20
    assert len(received) == len(set(received)), "a message arrived twice"
    assert set(delivered) <= set(received)
    if retries == 20:
        assert delivered == list(range(1, count + 1))
    assert publisher.delivered + publisher.failed == count
    assert publisher.repeated >= drop.dropped - publisher.failed


def test_lost_acknowledgements_make_repeats_that_are_recognised(bus: Bus) -> None:
    subscriber = bus.reliable_subscriber("ticks", "risk", record=CHECKED, acknowledge="processed")
    endless = 1_000_000
    with bus.reliable_publisher(
        "ticks", record=CHECKED, timeout=0.02, retries=endless
    ) as publisher:
        future = publisher.send(checked(1, 1))
        got = subscriber.receive(timeout=120)
        assert got["number"].tolist() == [1]
        while publisher.repeated < 2:
            threading.Event().wait(0.01)
        assert not future.done()
        assert len(subscriber.receive(timeout=0.05)) == 0
        assert future.result(120) == 1
    assert subscriber.duplicates >= 1
    subscriber.close()


def fail_at_message_two(subscriber: ReliableSubscriber, how: str) -> None:
    with subscriber:
        if how == "run":
            subscriber.run(lambda batch: 1 // 0, timeout=60.0)
        for part in subscriber if how == "records" else subscriber.batches(timeout=60.0):
            if how == "batches" or part["number"] == 2:
                raise ZeroDivisionError


@pytest.mark.parametrize(("how", "done"), [("batches", 0), ("run", 0), ("records", 1)])
def test_what_a_block_that_fails_had_at_hand_is_not_acknowledged(
    bus: Bus, how: str, done: int
) -> None:
    options: dict[str, Any] = {"record": CHECKED, "acknowledge": "processed"}
    first = bus.reliable_subscriber("ticks", "risk", **options)
    with bus.reliable_publisher(
        "ticks", record=CHECKED, timeout=0.02, retries=1_000_000
    ) as publisher:
        futures = [publisher.send(checked(n, 1)) for n in (1, 2, 3)]
        with pytest.raises(ZeroDivisionError):
            fail_at_message_two(first, how)
        assert [future.result(120) for future in futures[:done]] == list(range(1, done + 1))
        repeated = publisher.repeated
        while publisher.repeated < repeated + 6:  # acknowledgements would be here by now
            time.sleep(0.01)
        assert [future.done() for future in futures[done:]] == [False] * (3 - done)
        with bus.reliable_subscriber("ticks", "risk", **options) as again:
            got: list[int] = []
            while len(got) < 3 - done:
                got += again.receive(timeout=5)["number"].tolist()
            assert sorted(got) == list(range(done + 1, 4))
            again.acknowledge()
            assert [future.result(120) for future in futures] == [1, 2, 3]


def test_a_failing_callback_gets_its_messages_again(bus: Bus) -> None:
    with (
        bus.reliable_subscriber("ticks", record=CHECKED, acknowledge="processed") as subscriber,
        bus.reliable_publisher("ticks", record=CHECKED, timeout=60.0) as publisher,
    ):
        futures = [publisher.send(checked(n, 1)) for n in (1, 2)]
        with pytest.raises(ZeroDivisionError):
            subscriber.run(lambda batch: 1 // 0, timeout=60.0)
        assert subscriber.receive()["number"].tolist() == [1, 2]
        assert [future.done() for future in futures] == [False, False]
        assert len(subscriber.receive()) == 0  # asking for more acknowledges them
        assert [future.result(120) for future in futures] == [1, 2]


def test_what_a_loop_was_left_before_is_not_acknowledged_at_the_end(bus: Bus) -> None:
    subscriber = bus.reliable_subscriber("ticks", record=CHECKED, acknowledge="processed")
    with bus.reliable_publisher("ticks", record=CHECKED, timeout=60.0) as publisher:
        futures = [publisher.send(checked(n, 1)) for n in (1, 2, 3)]
        for record in subscriber:
            if record["number"] == 2:
                break
        subscriber.close()
        assert [future.result(120) for future in futures[:2]] == [1, 2]
        publisher.close()
        with pytest.raises(DeliveryError):
            futures[2].result(0)


def test_who_comes_later_gets_what_is_repeated(bus: Bus) -> None:
    with bus.reliable_publisher(
        "ticks", record=CHECKED, timeout=0.02, retries=1_000_000
    ) as publisher:
        futures = [publisher.send(checked(n, 1)) for n in (1, 2, 3)]
        with bus.reliable_subscriber("ticks", "late", record=CHECKED) as late:
            got: list[int] = []
            while len(got) < 3:
                got += late.receive(timeout=5)["number"].tolist()
            assert sorted(got) == [1, 2, 3]
            assert [future.result(120) for future in futures] == [1, 2, 3]


def test_a_closed_publisher_fails_what_is_pending(bus: Bus) -> None:
    publisher = bus.reliable_publisher("ticks", record=CHECKED, timeout=60.0)
    future = publisher.send(checked(1, 1))
    publisher.close()
    with pytest.raises(DeliveryError):
        future.result(0)
    with pytest.raises(BusError, match="closed"):
        publisher.send(checked(2, 1))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_publisher_can_be_shown_in_a_forked_child(bus: Bus) -> None:
    with bus.reliable_publisher("ticks", "desk", record=CHECKED) as publisher:
        reads, writes = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.write(writes, repr(publisher).encode())
            finally:
                os._exit(0)
        os.close(writes)
        with open(reads, encoding="utf-8") as pipe:
            assert pipe.read() == "<ReliablePublisher 'desk' of 'ticks', forked>"
        os.waitpid(child, 0)
        assert "0 pending" in repr(publisher)


def test_the_tracker_tells_what_a_sequence_means() -> None:
    tracker = SequenceTracker(1)
    said = [tracker.see(n) for n in (1, 2, 5, 3, 3, 9, 4, 6, 8, 7, 2)]
    assert said == [
        "in_order", "in_order", "gap", "out_of_order", "duplicate", "gap",
        "out_of_order", "out_of_order", "out_of_order", "out_of_order", "duplicate",
    ]  # fmt: skip
    assert tracker.missing == []
    assert tracker.complete_below == 10
    chance = np.random.default_rng(5)
    tracker = SequenceTracker(1)
    stream = np.concatenate([chance.permutation(np.arange(1, 301)), chance.integers(1, 301, 100)])
    new = np.concatenate([tracker.see_all(part) for part in np.array_split(stream, 40)])
    assert sorted(stream[new].tolist()) == list(range(1, 301))
    assert tracker.duplicates == 100
    assert tracker.missing_count == 0


@pytest.mark.parametrize(
    "acks", ["risk", "some", "", b"risk", [], None, 1.5, True, 0, -1, [1], [""], {"risk": 1}]
)
def test_who_must_acknowledge_is_said_without_doubt(bus: Bus, acks: Any) -> None:
    with pytest.raises(OptionError, match="list of names") as caught:
        bus.reliable_publisher("ticks", record=CHECKED, acks=acks)
    assert caught.value.fields["option"] == "acks"


def test_a_list_of_one_name_waits_for_that_subscriber(bus: Bus) -> None:
    with pytest.raises(OptionError, match="'processed' is allowed"):
        bus.reliable_subscriber("ticks", "risk", record=CHECKED, acknowledge="maybe")
    reader = Reader(bus.reliable_subscriber("ticks", "other", record=CHECKED))
    options: dict[str, Any] = {"record": CHECKED, "timeout": 0.02, "retries": 1}
    with bus.reliable_publisher("ticks", acks=["risk"], **options) as publisher:
        with pytest.raises(DeliveryError) as caught:
            publisher.publish(checked(1, 1))
        assert caught.value.fields["missing"] == ["risk"]
    reader.close()


def test_a_callback_may_send_but_not_wait_for_itself(bus: Bus) -> None:
    told: list[Any] = []
    over = threading.Event()
    numbers: list[int] = []
    with bus.reliable_publisher("ticks", record=CHECKED, timeout=120.0) as publisher:
        subscriber = bus.reliable_subscriber("ticks", "web")

        def first(sequence: int, error: BaseException | None) -> None:
            try:
                publisher.publish(checked(2, 1))
            except OptionError as refused:
                told.append(refused.hint)
            publisher.publish_callback(checked(3, 1), second)

        def second(sequence: int, error: BaseException | None) -> None:
            told.append((sequence, error))
            over.set()

        publisher.publish_callback(checked(1, 1), first)
        while not over.is_set():
            numbers += subscriber.receive(timeout=0.1)["number"].tolist()
    assert told == ["use send() or publish_callback() there", (2, None)]
    assert numbers == [1, 3]
    subscriber.close()


def test_a_message_for_nobody_says_so(bus: Bus) -> None:
    with (
        bus.reliable_publisher("ticks", record=CHECKED, acks="all", timeout=0.001) as publisher,
        pytest.raises(DeliveryError, match="by anybody: is a reliable subscriber there"),
    ):
        publisher.publish(checked(1, 1))
