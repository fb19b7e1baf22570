"""Delayed subscribers: by size, by time, the latest of each key."""

from __future__ import annotations

import time

import pytest

from bus.records import CHECKED, checked
from klineagg.bus import TRADE_EVENT, Bus
from klineagg.errors import OptionError, RecordTypeError


def test_a_full_batch_does_not_wait(bus: Bus) -> None:
    publisher = bus.publisher("ticks", record=CHECKED)
    delayed = bus.delayed("ticks", batch_size=100, interval=60.0)
    publisher.publish(checked(1, 250))
    for first in (1, 101):
        batch = delayed.collect(timeout=120)
        assert batch is not None
        assert batch["number"].tolist() == list(range(first, first + 100))
    assert delayed.collect(timeout=0.02) is None  # 50 are there, and wait for more
    publisher.publish(checked(251, 50))
    batch = delayed.collect(timeout=120)
    assert batch is not None
    assert batch["number"].tolist() == list(range(201, 301))


def test_what_came_within_the_interval_is_a_batch(bus: Bus) -> None:
    publisher = bus.publisher("ticks", record=CHECKED)
    delayed = bus.delayed("ticks", interval=0.05)
    start = time.monotonic()
    publisher.publish(checked(1, 3))
    batch = delayed.collect(timeout=120)
    assert batch is not None
    assert batch["number"].tolist() == [1, 2, 3]
    assert time.monotonic() - start >= 0.05
    assert delayed.collect(timeout=0.01) is None


def test_conflation_keeps_the_latest_of_each_key(bus: Bus) -> None:
    publisher = bus.publisher("trade_events")
    delayed = bus.delayed("trade_events", interval=0.02, conflate="instrument")
    trades = publisher.empty(9)
    trades["instrument"] = [b"A", b"B", b"A", b"C", b"B", b"A", b"A", b"C", b"A"]
    trades["price"] = range(9)
    publisher.publish(trades)
    batch = delayed.collect(timeout=120)
    assert batch is not None
    assert batch.dtype == TRADE_EVENT
    latest = dict(zip(batch["instrument"].tolist(), batch["price"].tolist(), strict=True))
    assert latest == {b"A": 8.0, b"B": 4.0, b"C": 7.0}
    assert delayed.conflated == 6
    publisher.publish(trades[:1])
    batch = delayed.collect(timeout=120)
    assert batch is not None
    assert len(batch) == 1  # a new batch begins with nothing


def test_options_are_checked(bus: Bus) -> None:
    with pytest.raises(OptionError):
        bus.delayed("trade_events", batch_size=0)
    with pytest.raises(RecordTypeError, match="no field colour"):
        bus.delayed("trade_events", conflate="colour")
