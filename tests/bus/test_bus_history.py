"""Historical subscribers: several publishers merged, by callback, loop and asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bus.records import CHECKED, checked, damaged
from klineagg.bus import Bus, HistoricalSubscriber, LogHistory, record_type
from klineagg.bus.historical import merged
from klineagg.errors import BusError, RecordTypeError


@pytest.fixture
def history(bus: Bus, tmp_path: Path) -> LogHistory:
    """Three publishers by turns: 12,000 records, of several frames each."""
    publishers = [
        bus.publisher("ticks", name, record=CHECKED, wal=tmp_path / "wal") for name in "abc"
    ]
    for turn in range(60):
        publisher = publishers[(turn * 7 + turn // 3) % 3]
        publisher.publish(checked(publisher.next_sequence, 200))
    for publisher in publishers:
        publisher.close()
    return bus.history("ticks", tmp_path / "wal", record=CHECKED)


def check(batches: list[Any], history: LogHistory, names: str = "abc") -> None:
    """All of it, in the order of time, each publisher's in its own."""
    everything = np.concatenate([np.ascontiguousarray(batch) for batch in batches])
    assert damaged(everything) == 0
    assert (np.diff(everything["publish_time"].astype(np.int64)) >= 0).all()
    assert sorted(set(everything["publisher"].tolist())) == [name.encode() for name in names]
    for name in names:
        own = everything[everything["publisher"] == name.encode()]
        count = sum(len(part) for part in history.replay(name))
        assert own["sequence"].tolist() == list(range(1, count + 1))


def test_a_loop_has_all_publishers_merged(history: LogHistory) -> None:
    subscriber = history.subscriber()
    batches = list(subscriber.batches())
    check(batches, history)
    assert subscriber.received == 12_000
    assert subscriber.receive() is None
    assert list(subscriber.batches()) == []
    check(list(history.subscriber("a", "c").batches()), history, "ac")


def test_a_callback_gets_all_and_run_returns_at_the_end(history: LogHistory) -> None:
    batches: list[Any] = []
    history.subscriber().run(batches.append)
    check(batches, history)


def test_async_for_over_batches_and_records(history: LogHistory) -> None:
    async def main() -> tuple[list[Any], int]:
        with history.subscriber() as subscriber:
            batches = [batch async for batch in subscriber.batches_async()]
        records = 0
        with history.subscriber("b") as subscriber:
            async for _ in subscriber:
                records += 1
        return batches, records

    batches, records = asyncio.run(main())
    check(batches, history)
    assert records == sum(len(part) for part in history.replay("b"))


def test_a_loop_that_was_left_goes_on(history: LogHistory) -> None:
    subscriber = history.subscriber("a")
    first = []
    for record in subscriber:
        first.append(int(record["sequence"]))
        if len(first) == 5:
            break
    assert subscriber.received == 5
    rest = [int(s) for batch in subscriber.batches() for s in batch["sequence"]]
    assert first + rest == list(range(1, subscriber.received + 1))
    subscriber.close()
    with pytest.raises(BusError, match="close"):
        subscriber.receive()


def test_limits_are_those_of_each_publisher(history: LogHistory) -> None:
    everything = np.concatenate(list(history.subscriber().batches()))
    third, ninth = everything["publish_time"][[3000, 9000]]
    part = list(history.subscriber(start_time=third, end_time=ninth).batches())
    times = np.concatenate(part)["publish_time"]
    assert len(times) == ((everything["publish_time"] >= third)
                          & (everything["publish_time"] < ninth)).sum()  # fmt: skip
    assert len(times) > 1000
    by_sequence = np.concatenate(list(history.subscriber(start=11, end=21).batches()))
    assert sorted(by_sequence["sequence"].tolist()) == sorted([*range(11, 21)] * 3)


def test_a_clock_that_steps_back_leaves_each_publishers_order() -> None:
    def source(times: list[int], size: int) -> Iterator[Any]:
        records = checked(1, len(times))
        records["sequence"] = records["number"]
        records["publish_time"] = np.array(times, "datetime64[ns]")
        for at in range(0, len(times), size):
            yield records[at : at + size]

    sources = {"a": source([5, 6, 2, 3, 9, 10], 2), "b": source([1, 4, 7, 8, 20], 3)}
    subscriber = HistoricalSubscriber("ticks", merged(sources))
    rows = [
        (int(r["publish_time"].astype(np.int64)), int(r["sequence"]))
        for batch in subscriber.batches()
        for r in batch
    ]
    assert rows == [(1, 1), (4, 2), (5, 1), (6, 2), (2, 3), (3, 4), (7, 3), (8, 4), (9, 5),
                    (10, 6), (20, 5)]  # fmt: skip


def test_a_log_has_one_kind_of_records(bus: Bus, tmp_path: Path) -> None:
    with bus.publisher("ticks", "feed", record=CHECKED, wal=tmp_path) as publisher:
        publisher.publish(checked(1, 3))
    bus.clean(older_than=0.0, forget=0.0)
    other = record_type("Checked", CHECKED.dtype, version=2)
    with pytest.raises(RecordTypeError, match="the log has other records"):
        bus.publisher("ticks", "feed", record=other, wal=tmp_path)
    assert bus.topics() == []  # it has not become a publisher by then
    with bus.publisher("ticks", "feed", record=CHECKED, wal=tmp_path) as publisher:
        assert publisher.next_sequence == 4


def test_who_published_without_its_log_is_told_what_to_do(bus: Bus, tmp_path: Path) -> None:
    for wal in (tmp_path / "one", None):
        with bus.publisher("ticks", "feed", record=CHECKED, wal=wal) as publisher:
            publisher.publish(checked(publisher.next_sequence, 3))
    with pytest.raises(BusError, match="published without this log.*forgotten"):
        bus.publisher("ticks", "feed", record=CHECKED, wal=tmp_path / "one")
    bus.clean(older_than=0.0, forget=0.0)
    with bus.publisher("ticks", "feed", record=CHECKED, wal=tmp_path / "one") as publisher:
        assert publisher.next_sequence == 4
