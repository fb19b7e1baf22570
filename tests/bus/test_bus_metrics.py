"""The bus in the text format of OpenMetrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bus.records import CHECKED, checked
from klineagg import Engine, SimulatedClock
from klineagg.bus import Bus, EngineFeed
from klineagg.data import load_bitmex

parser: Any = pytest.importorskip("prometheus_client.openmetrics.parser")


def read(text: str) -> dict[tuple[str, ...], float]:
    """Name and values of the labels that tell samples apart -> value."""
    samples: dict[tuple[str, ...], float] = {}
    for family in parser.text_string_to_metric_families(text):
        for sample in family.samples:
            labels = {k: v for k, v in sample.labels.items() if k not in ("pid", "instance")}
            key = (sample.name.removeprefix("klineagg_bus_"), *labels.values())
            assert key not in samples
            samples[key] = sample.value
    return samples


def test_publishers_subscribers_losses_and_takeovers(bus: Bus) -> None:
    subscriber = bus.subscriber("ticks", "slow", record=CHECKED)
    for _ in range(3):
        with bus.publisher("ticks", "feed", record=CHECKED, ring_bytes=1 << 14) as publisher:
            publisher.publish(checked(publisher.next_sequence, 60))
    publisher = bus.publisher("ticks", "feed", record=CHECKED, ring_bytes=1 << 14)
    bus.publisher("quotes", record=CHECKED).publish(checked(1, 5))
    got = len(subscriber.receive(10))
    samples = read(bus.metrics_text(instance="one"))
    assert got == 10
    assert samples["published_total", "ticks", "feed"] == 180
    assert samples["published_total", "quotes", "publisher"] == 5
    assert samples["takeovers_total", "ticks", "feed"] == 3
    assert samples["takeovers_total", "quotes", "publisher"] == 0
    assert samples["publisher_alive", "ticks", "feed"] == 1
    assert samples["received_total", "ticks", "slow"] == 10
    assert samples["lost_total", "ticks", "slow"] == subscriber.lost > 0
    assert samples["behind", "ticks", "slow"] == 180 - 10 - subscriber.lost
    assert samples["subscribers", "ticks"] == 1
    assert samples["subscribers", "quotes"] == 0
    assert samples["ring_messages", "ticks", "feed"] == publisher.capacity
    expected = samples["behind", "ticks", "slow"] / publisher.capacity
    assert samples["ring_fill_ratio", "ticks"] == pytest.approx(expected)
    assert 0.5 < expected <= 1
    assert samples["ring_fill_ratio", "quotes"] == 0
    assert samples["heartbeat_age_seconds", "ticks", "feed"] < 60
    publisher.close()
    assert read(bus.metrics_text(["ticks"]))["publisher_alive", "ticks", "feed"] == 0
    assert ("subscribers", "quotes") not in read(bus.metrics_text(["ticks"]))


def test_a_subscriber_that_has_stopped_looking_shows_how_full_its_ring_is(bus: Bus) -> None:
    first = bus.publisher("ticks", "first", record=CHECKED, ring_bytes=1 << 14)
    subscriber = bus.subscriber("ticks", "hangs", record=CHECKED)
    first.publish(checked(1, 10))
    assert len(subscriber.receive()) == 10
    assert read(bus.metrics_text())["ring_fill_ratio", "ticks"] == 0
    count = 3 * first.capacity  # more than it has room for
    for begin in range(11, 11 + count, 8):
        first.publish(checked(begin, 8))
    samples = read(bus.metrics_text())
    assert samples["ring_fill_ratio", "ticks"] == 3
    assert samples["behind", "ticks", "hangs"] == count
    # One that it has not seen yet, with a larger ring, is behind it as well.
    second = bus.publisher("ticks", "second", record=CHECKED, ring_bytes=1 << 16)
    assert second.capacity > first.capacity
    second.publish(checked(1, 20))
    samples = read(bus.metrics_text())
    assert samples["behind", "ticks", "hangs"] == count + 20
    assert samples["ring_fill_ratio", "ticks"] == 3
    while len(subscriber.receive()) != 0:
        pass
    samples = read(bus.metrics_text())
    assert samples["behind", "ticks", "hangs"] == 0
    assert samples["ring_fill_ratio", "ticks"] == 0
    second.publish(checked(21, second.capacity // 4))
    samples = read(bus.metrics_text())
    assert samples["ring_fill_ratio", "ticks"] == pytest.approx(0.25)


def test_subscribers_of_one_name_are_one_series(bus: Bus) -> None:
    both = [bus.subscriber("ticks", "same", record=CHECKED) for _ in range(2)]
    bus.publisher("ticks", record=CHECKED).publish(checked(1, 5))
    for subscriber in both:
        assert len(subscriber.receive()) == 5
    samples = read(bus.metrics_text())
    assert samples["received_total", "ticks", "same"] == 10
    assert samples["subscribers", "ticks"] == 2


def test_a_damaged_segment_is_counted_and_hides_nobody(bus: Bus) -> None:
    whole = bus.publisher("ticks", "whole", record=CHECKED)
    bus.publisher("ticks", "broken", record=CHECKED).close()
    with Path(bus.path, "ticks@broken.ring").open("r+b") as file:
        file.write(bytes(64))
    samples = read(bus.metrics_text())
    assert samples["damaged_segments", "ticks"] == 1
    assert samples["publisher_alive", "ticks", "whole"] == 1
    whole.close()


def test_an_engine_says_what_its_feed_has_published(bus: Bus) -> None:
    feed = EngineFeed(bus, trades="trade_events", bars="bars")
    reader = bus.subscriber("trade_events", "reader")
    with Engine("1m", clock=SimulatedClock(), max_ahead=None, bus=feed) as engine:
        with engine.producer() as producer:
            producer.push(load_bitmex()[:1000])
        engine.flush()
        reader.receive()
        samples = read(engine.metrics_text())
        assert samples["feed_records_total", "trades"] == 1000
        assert samples["published_total", "trade_events", "engine"] == 1000
        assert samples["received_total", "trade_events", "reader"] == 1000
        assert samples["published_total", "bars", "engine"] == feed.counts["bars"]
        assert samples["lost_total", "trade_events", "reader"] == 0
