"""What publishers and topics leave behind, and who removes it."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from bus.records import CHECKED, checked
from klineagg.bus import Bus
from klineagg.cli import main
from klineagg.errors import BusError, OptionError


def files(bus: Bus) -> list[str]:
    return sorted(path.name for path in Path(bus.path).iterdir())


def come_and_go(bus: Bus, topic: str, count: int) -> None:
    with bus.publisher(topic, "feed", record=CHECKED, ring_bytes=1 << 14) as publisher:
        publisher.publish(checked(publisher.next_sequence, count))


def test_all_topics_are_cleaned_and_sequences_go_on(bus: Bus) -> None:
    come_and_go(bus, "one", 4)
    come_and_go(bus, "two", 7)
    assert bus.clean(older_than=60.0) == 0
    assert bus.clean(older_than=0.0) == 4  # two rings, two control segments
    assert files(bus) == ["one@feed.last", "two@feed.last"]
    assert bus.topics() == []
    come_and_go(bus, "one", 1)
    with bus.publisher("two", "feed", record=CHECKED) as publisher:
        assert publisher.next_sequence == 8


def test_a_start_cleans_other_topics_too(bus: Bus) -> None:
    come_and_go(bus, "one", 4)
    with bus.publisher("two", record=CHECKED, orphan_after=0.0):
        assert files(bus) == ["one@feed.last", "two.topic", "two@publisher.ring"]


@pytest.mark.parametrize("seen", [0, 100])
@pytest.mark.parametrize(("gone", "there"), [(5, 300), (100, 100), (500, 800), (10, 10)])
def test_all_that_a_new_ring_has_is_received_behind_what_is_lost(
    bus: Bus, seen: int, gone: int, there: int
) -> None:
    received = 0
    with bus.publisher("one", "feed", record=CHECKED, ring_bytes=1 << 17) as publisher:
        subscriber = bus.subscriber("one")
        publisher.publish(checked(1, 100))
        if seen:
            received += len(subscriber.receive(seen))
    come_and_go(bus, "one", gone)  # in a ring that the next publisher's replaces
    with bus.publisher("one", "feed", record=CHECKED, ring_bytes=1 << 18) as publisher:
        publisher.publish(checked(publisher.next_sequence, there))
        for _ in range(4):
            received += len(subscriber.receive())
    assert (received, subscriber.lost) == (100 + there, gone)


def test_what_was_closed_keeps_no_topic(bus: Bus) -> None:
    publisher = bus.reliable_publisher("one", "feed", record=CHECKED)
    subscriber = bus.reliable_subscriber("one", "desk")
    assert len(bus.topics()) == 3
    subscriber.close()
    publisher.close()
    bus.clean(older_than=0.0)
    assert bus.topics() == []
    assert [name for name in files(bus) if not name.endswith(".last")] == []


def test_notes_of_sequences_are_for_the_group(folder: str) -> None:
    bus = Bus(folder, group=os.getgid())
    come_and_go(bus, "one", 7)
    assert bus.clean(older_than=0.0) == 2
    note = Path(folder, "one@feed.last")
    assert stat.S_IMODE(note.stat().st_mode) == 0o640 and note.stat().st_gid == os.getgid()
    kept = note.read_text()
    note.write_text("unreadable")
    with pytest.raises(BusError, match="where the sequence goes on") as caught:
        bus.publisher("one", "feed", record=CHECKED)  # not from 1 on
    assert caught.value.name == "bus_unavailable"
    note.write_text(kept)
    with bus.publisher("one", "feed", record=CHECKED) as publisher:
        assert publisher.next_sequence == 8


def test_what_a_subscriber_never_saw_is_lost_to_it(bus: Bus) -> None:
    subscriber = bus.subscriber("one", record=CHECKED)
    come_and_go(bus, "one", 4)
    assert bus.clean(older_than=0.0) == 1  # the subscriber has the topic open
    assert bus.clean(older_than=0.0, forget=0.0) == 0
    come_and_go(bus, "one", 3)
    assert len(subscriber.receive()) == 3
    assert subscriber.lost == 4


def test_forgotten_sequences_begin_anew_and_old_positions_are_told(bus: Bus) -> None:
    come_and_go(bus, "one", 4)
    bus.clean(older_than=0.0)
    assert bus.clean(forget=3600.0) == 0
    assert bus.clean(forget=0.0) == 1
    assert files(bus) == []
    with bus.publisher("one", "feed", record=CHECKED) as publisher:
        assert publisher.next_sequence == 1
        with pytest.raises(BusError) as caught:
            bus.subscriber("one", record=CHECKED, positions={"feed": 5})
        assert caught.value.name == "resume_ahead"
    with pytest.raises(OptionError):
        bus.clean(forget=-1.0)


def test_the_command_cleans_everything(bus: Bus, capsys: Any) -> None:
    come_and_go(bus, "one", 4)
    waiting = bus.subscriber("two", record=CHECKED)
    options = ["--path", bus.path, "--json"]
    assert main(["bus", "clean", "--older-than", "0", *options]) == 0
    assert json.loads(capsys.readouterr().out)["removed"] == {"one": 1, "two": 0}
    assert files(bus) == ["one@feed.last", "two.topic"]
    assert main(["bus", "clean", "--forget", "0", *options]) == 0
    assert json.loads(capsys.readouterr().out)["others"] == 1
    assert files(bus) == ["two.topic"]
    waiting.close()
