"""Positions to go on at: what the ring alone still has, and what nobody has ever sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bus.records import CHECKED, checked
from klineagg.bus import Bus, Publisher, ResumableSubscriber
from klineagg.errors import BusError
from klineagg.sources.topic import TopicSource


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


def ahead(call: Any) -> dict[str, Any]:
    with pytest.raises(BusError, match="began anew") as caught:
        call()
    assert caught.value.name == "resume_ahead"
    return dict(caught.value.fields)


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
        assert hole["first"] == "36"
        assert numbers(subscriber) == list(range(int(hole["last"]) + 1, 236))


def test_who_wants_only_what_comes_says_so(bus: Bus, logs: Path) -> None:
    publisher = publisher_of(bus, None)
    publisher.publish(checked(1, 10))
    subscriber = resumable(bus, logs, positions={"feed": 11})
    publisher.publish(checked(11, 2))
    assert numbers(subscriber) == [11, 12]


@pytest.mark.parametrize("kept", [True, False], ids=["log", "ring"])
def test_a_position_that_the_topic_never_reached_is_an_error(
    bus: Bus, logs: Path, kept: bool
) -> None:
    place = logs / "position.json"
    place.write_text(json.dumps({"feed": 1000}))
    Path(f"{place}.seen").write_text(json.dumps({"feed": 1003}))
    publisher = publisher_of(bus, logs if kept else None)
    publisher.publish(checked(1, 10))
    for _ in range(2):  # a program that ends by it comes upon it again
        with (
            pytest.raises(BusError, match="to go on at message 1000 of feed"),
            resumable(bus, logs, checkpoint=place) as subscriber,
        ):
            subscriber.receive()
        assert json.loads(place.read_text()) == {"feed": 1000}
    with resumable(bus, logs, checkpoint=place) as subscriber:
        assert ahead(subscriber.receive) == {"publisher": "feed", "position": "1000"}
        assert subscriber.positions == {"feed": 1000}
        assert numbers(subscriber) == list(range(1, 11))
        publisher.publish(checked(11, 5))
        assert numbers(subscriber) == list(range(11, 16))
        assert subscriber.repeated == 0  # the marks were those of other messages
    assert json.loads(place.read_text()) == {"feed": 16}


def test_a_publisher_that_comes_later_and_began_anew_is_noticed(bus: Bus, logs: Path) -> None:
    plain = bus.subscriber("ticks", record=CHECKED, positions={"feed": 1000, "other": 5})
    with resumable(bus, logs, positions={"feed": 1000, "other": 5}) as subscriber:
        assert numbers(subscriber) == []
        with publisher_of(bus, None) as publisher:
            publisher.publish(checked(1, 3))
            publisher_of(bus, None, "other", first_sequence=5).publish(checked(5, 1))
            for each in (subscriber, plain):
                assert ahead(each.receive)["publisher"] == "feed"
                assert sorted(numbers(each)) == [1, 2, 3, 5]


def test_a_live_subscriber_refuses_a_position_that_was_never_reached(bus: Bus) -> None:
    publisher_of(bus, None).publish(checked(1, 10))
    wrong: dict[str, Any] = {"record": CHECKED, "positions": {"feed": 12}}
    fields = ahead(lambda: bus.subscriber("ticks", **wrong))
    assert (fields["publisher"], fields["position"], fields["next"]) == ("feed", "12", "11")
    ahead(lambda: bus.reliable_subscriber("ticks", **wrong))
    bus.subscriber("ticks", record=CHECKED, positions={"feed": 11})  # the next one


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


def test_an_error_of_one_publisher_leaves_the_others_as_they_are(bus: Bus, logs: Path) -> None:
    for name in ("a", "b", "c"):
        publisher_of(bus, logs, name).publish(checked(1, 4))
    subscriber = resumable(bus, logs, positions={"a": 99, "b": 3, "c": 99})
    assert ahead(subscriber.receive)["publisher"] == "a"
    assert subscriber.receive()["number"].tolist() == [1, 2, 3, 4]
    assert subscriber.receive()["number"].tolist() == [3, 4]
    assert ahead(subscriber.receive)["publisher"] == "c"
    assert subscriber.receive()["number"].tolist() == [1, 2, 3, 4]
    assert numbers(subscriber) == []


@pytest.mark.parametrize("kept", [True, False], ids=["log", "ring"])
def test_a_source_counts_what_began_anew_and_takes_all_of_it(
    bus: Bus, logs: Path, kept: bool
) -> None:
    wal = logs if kept else None
    publisher = bus.publisher("trade_events", "feed", wal=wal)
    trades = publisher.empty(7)
    trades["trade_id"] = [b"%d" % number for number in range(1, 8)]
    publisher.publish(trades)
    position = {"kind": "bus", "topic": "trade_events", "positions": {"feed": 1000}}
    source = TopicSource(bus, "trade_events", wal=wal, position=position)
    batch = next(each for each in source.batches() if each is not None)
    assert batch.data["first_trade_id"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert source.faults == {"began_anew": 1}
    source.done(batch)
    kept_at = source.position()
    assert kept_at is not None
    assert kept_at["positions"] == {"feed": 8}
    source.close()


def test_a_source_may_come_before_the_publishers_and_their_logs(
    bus: Bus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wal = tmp_path / "later"
    source = TopicSource(bus, "trade_events", wal=wal)
    assert str(wal) in caplog.text
    batches = source.batches()
    assert next(batches) is None
    publisher = bus.publisher("trade_events", "feed", wal=wal)
    trades = publisher.empty(3)
    trades["trade_id"] = [b"1", b"2", b"3"]
    publisher.publish(trades)
    batch = next(each for each in batches if each is not None)
    assert batch.data["first_trade_id"].tolist() == [1, 2, 3]
    assert source.faults == {}
    source.close()
