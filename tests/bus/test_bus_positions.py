"""Positions to go on at: what the ring alone still has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bus.records import CHECKED, checked
from klineagg.bus import Bus, Publisher, ResumableSubscriber
from klineagg.errors import BusError


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "wal"
    folder.mkdir()
    return folder


def publisher_of(bus: Bus, logs: Path | None, name: str = "feed", **options: Any) -> Publisher:
    return bus.publisher("ticks", name, record=CHECKED, wal=logs, **options)


def resumable(bus: Bus, logs: Path, **options: Any) -> ResumableSubscriber:
    history = bus.history("ticks", logs, record=CHECKED)
    return ResumableSubscriber(bus, "ticks", history=history, record=CHECKED, **options)


def numbers(subscriber: Any) -> list[int]:
    found: list[int] = []
    while len(batch := subscriber.receive()):
        found += batch["number"].tolist()
    return found


def test_without_a_log_a_restart_joins_what_the_ring_still_has(bus: Bus, logs: Path) -> None:
    publisher = publisher_of(bus, None, ring_bytes=64 * CHECKED.dtype.itemsize)
    publisher.publish(checked(1, 10))
    place = logs / "position.json"
    with resumable(bus, logs, checkpoint=place) as subscriber:
        assert numbers(subscriber) == list(range(1, 11))
    publisher.publish(checked(11, 20))  # while nobody is there
    with resumable(bus, logs, checkpoint=place) as subscriber:
        assert numbers(subscriber) == list(range(11, 31))
        publisher.publish(checked(31, 5))
        assert numbers(subscriber) == list(range(31, 36))
        assert subscriber.replayed == 0
    for start in range(36, 236, 20):
        publisher.publish(checked(start, 20))
    with resumable(bus, logs, checkpoint=place) as subscriber:
        with pytest.raises(BusError, match="neither in the ring nor in the history") as caught:
            subscriber.receive()
        hole = caught.value.fields
        assert hole["first"] == 36
        assert numbers(subscriber) == list(range(hole["last"] + 1, 236))


def test_who_wants_only_what_comes_says_so(bus: Bus, logs: Path) -> None:
    publisher = publisher_of(bus, None)
    publisher.publish(checked(1, 10))
    subscriber = resumable(bus, logs, start="latest", positions={"feed": 11})
    publisher.publish(checked(11, 2))
    assert numbers(subscriber) == [11, 12]


def test_a_log_alone_proves_a_position(bus: Bus, logs: Path) -> None:
    with publisher_of(bus, logs) as publisher:
        publisher.publish(checked(1, 30))
    for path in Path(bus.path).iterdir():  # as after a restart of the machine
        path.unlink()
    subscriber = resumable(bus, logs, positions={"feed": 31})
    assert numbers(subscriber) == []
    with publisher_of(bus, logs) as publisher:
        publisher.publish(checked(31, 2))
    assert numbers(subscriber) == [31, 32]
