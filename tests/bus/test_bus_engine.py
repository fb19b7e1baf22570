"""The engine on the bus: what it publishes, and a topic as what it takes its trades from."""

from __future__ import annotations

import dataclasses
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klineagg
from klineagg import Engine, SimulatedClock, errors
from klineagg.bars import BarFlag
from klineagg.bus import BAR, TRADE_EVENT, Bus, EngineFeed, trade_columns
from klineagg.bus._waiting import joined
from klineagg.config import Config, SourceConfig
from klineagg.config.sections import BusConfig
from klineagg.sources import make

START = np.datetime64("2024-01-01T00:00", "ns")
PLAIN = [name for name in BAR.names or () if name not in ("sequence", "publish_time", "publisher")]


def some_trades(count: int, symbols: int = 3, seed: int = 5) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    names = np.array([f"COIN{i}" for i in range(symbols)])
    return {
        "symbol": names[np.arange(count) % symbols],
        "time": START + np.arange(count) * np.timedelta64(250_000_000, "ns"),
        "price": np.round(100 + random.normal(0, 1, count), 2),
        "quantity": random.integers(1, 50, count) / 8,
        "side": random.choice(np.array([1, -1], np.int8), count),
        "trade_id": np.arange(count, dtype=np.int64),
    }


def received(subscriber: Any, count: int) -> np.ndarray[Any, np.dtype[Any]]:
    parts: list[np.ndarray[Any, np.dtype[Any]]] = []
    until = time.monotonic() + 120
    while sum(map(len, parts)) < count and time.monotonic() < until:
        parts.append(subscriber.receive(timeout=0.1))
    return joined(parts)


def by_names(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.sort(rows[PLAIN], order=["interval", "instrument", "open_time", "revision"])


def test_closed_bars_are_published_as_snapshots_have_them(bus: Bus) -> None:
    subscriber = bus.subscriber("bars")
    trades = some_trades(3_000)
    feed = EngineFeed(bus, "candles")
    with Engine("1m,5m", clock=SimulatedClock(), max_ahead=None, workers=2, bus=feed) as engine:
        with engine.producer() as producer:
            producer.push(trades)
        engine.advance(START + np.timedelta64(1, "h"))
        with engine.take("all") as snapshot:
            closed = snapshot.closed
    rows = received(subscriber, len(closed))
    assert len(rows) == len(closed) == feed.counts["bars"]
    assert set(rows["publisher"]) == {b"candles"}
    assert rows["sequence"].tolist() == list(range(1, len(rows) + 1))
    names = np.array(klineagg.symbol_names(closed.symbol))
    intervals = np.array([str(each) for each in closed.intervals])[closed.interval]
    expected = np.zeros(len(closed), BAR)
    expected["instrument"], expected["interval"] = names.astype("S16"), intervals.astype("S24")
    for name in PLAIN[2:]:
        expected[name] = getattr(closed, name)
    assert (by_names(rows) == by_names(expected)).all()
    assert (rows["flags"] & BarFlag.CLOSED).all()


def test_an_engine_fed_by_a_topic_gives_the_same_bars(bus: Bus) -> None:
    trades = some_trades(2_000)
    relay = bus.subscriber("trade_events")
    feed = EngineFeed(bus, trades="trade_events", bars=None, publishers=3)
    with Engine("1m", clock=SimulatedClock(), max_ahead=None, bus=feed) as first:
        with first.producer() as producer:
            producer.push(trades)
            producer.push(trades)  # all of it repeated: accepted once
        with first.take("all") as snapshot:
            expected = snapshot.closed
        assert first.counts().accepted == 2_000
    events = received(relay, 2_000)
    assert events.dtype == TRADE_EVENT
    assert relay.lost == 0
    assert {name.decode() for name in events["publisher"]} <= {f"engine-{i}" for i in range(3)}
    with Engine("1m", clock=SimulatedClock(), max_ahead=None) as second:
        with second.producer() as producer:
            halves = np.concatenate([events[:1_000], events[1_000:]])  # without padding
            assert producer.push(trade_columns(halves)).queued == 2_000
            again = trade_columns(events[500:900])  # at least once: repeats are known by their ids
            producer.push(again)
        assert second.counts().accepted == 2_000
        with second.take("all") as snapshot:
            got = snapshot.closed
    assert len(expected) > 20
    for name in expected.columns:
        assert got.column(name).tobytes() == expected.column(name).tobytes(), name


def test_open_bars_come_in_their_last_state_only(bus: Bus) -> None:
    subscriber = bus.subscriber("open_bars")
    feed = EngineFeed(bus, bars=None, open_bars="open_bars", open_interval="50ms")
    trades = some_trades(200, symbols=1)
    with Engine("1h", clock=SimulatedClock(), max_ahead=None, bus=feed) as engine:
        producer = engine.producer()
        last = 0
        begin = time.monotonic()
        for part in range(200):
            producer.push({name: column[part : part + 1] for name, column in trades.items()})
        until = time.monotonic() + 120
        count = 0
        while last < 200 and time.monotonic() < until:
            rows = subscriber.receive(timeout=0.1)
            count += len(rows)
            last = int(rows["trade_count"][-1]) if len(rows) else last
        assert last == 200
        # Many trades a row, however long the pushes took.
        assert count < 100 + (time.monotonic() - begin) / 0.05
        assert engine.state == "running"
    assert feed.counts["open_bars"] == count


def test_a_feed_that_cannot_be_is_refused(bus: Bus) -> None:
    wrongs: list[dict[str, Any]] = [{"publishers": number} for number in (0, 11, "a")]
    wrongs.append({"bars": None})
    for wrong in wrongs:
        with pytest.raises(errors.OptionError):
            EngineFeed(bus, **wrong)
    with pytest.raises(errors.OptionError):
        EngineFeed(bus, trades="same", bars="same")
    for no_feed in (bus, bus.path):
        with pytest.raises(errors.OptionError, match="pass an EngineFeed") as caught:
            Engine("1m", bus=no_feed)  # type: ignore[arg-type]
        assert caught.value.fields["option"] == "bus"
    first = EngineFeed(bus)
    with pytest.raises(errors.PublisherExistsError):
        EngineFeed(bus)
    first.close()
    EngineFeed(bus).close()


def test_the_publishers_end_with_the_engine_and_the_next_one_goes_on(bus: Bus) -> None:
    subscriber = bus.subscriber("bars")
    for _ in range(2):
        feed = EngineFeed(bus)
        with Engine("1s", clock=SimulatedClock(), max_ahead=None, bus=feed) as engine:
            engine.producer().push(some_trades(400))
        assert bus.inspect("bars")["publishers"][0]["alive"] is False
    rows = received(subscriber, 2)
    assert rows["sequence"].tolist() == list(range(1, len(rows) + 1))
    assert subscriber.lost == 0


def source_config(folder: str, wal: Path | None) -> Config:
    source = SourceConfig(kind="bus", topic="trades_in", wal=None if wal is None else str(wal))
    return dataclasses.replace(Config(), source=source, bus=BusConfig(folder=folder))


def events_of(count: int, first: int = 0) -> np.ndarray[Any, np.dtype[Any]]:
    events = np.zeros(count, TRADE_EVENT)
    events["instrument"], events["price"], events["volume"] = b"COIN0", 100.0, 1.0
    events["time"] = START + np.arange(first, first + count) * np.timedelta64(1, "s")
    events["trade_id"] = np.arange(first, first + count).astype("S40")
    return events


def test_a_source_goes_on_where_it_was_out_of_the_log(bus: Bus, tmp_path: Path) -> None:
    record = bus.record_type("trade_events")
    options: Any = {"record": record, "wal": tmp_path, "ring_bytes": 160 * 64}
    with bus.publisher("trades_in", "feed", **options) as publisher:
        publisher.publish(events_of(300))  # more than the ring holds
        ids: list[int] = []
        position = None
        for limit in (250, 600):
            source = make(source_config(bus.path, tmp_path), position)
            for batch in source.batches():
                if batch is not None:
                    ids += batch.data["first_trade_id"].tolist()
                    source.done(batch)
                if len(ids) >= limit:
                    break
            position = source.position()
            source.close()
            if limit == 250:
                publisher.publish(events_of(300, 300))
    assert ids == list(range(600))
    assert position is not None
    assert position["positions"] == {"feed": 601}
    with pytest.raises(errors.SourceError):
        make(source_config(bus.path, tmp_path), {"kind": "file"})


def test_a_source_without_log_counts_what_it_lost(bus: Bus) -> None:
    record = bus.record_type("trade_events")
    with bus.publisher("trades_in", "feed", record=record, ring_bytes=160 * 64) as publisher:
        source = make(source_config(bus.path, None))
        before = source.position()
        source.close()
        publisher.publish(events_of(200))
        source = make(source_config(bus.path, None), before)
        rows = next(batch.rows for batch in source.batches() if batch is not None)
        assert rows + source.faults["lost"] == 200
        assert source.describe()["faults"]["lost"] > 0
        ender = threading.Timer(0.1, source.stop)
        ender.start()
        assert all(batch is None for batch in source.batches())  # ends when it is told to
        ender.join()
        source.close()


def test_a_circle_is_refused(bus: Bus) -> None:
    config = source_config(bus.path, None)
    circle = dataclasses.replace(config, bus=BusConfig(folder=bus.path, trades="trades_in"))
    with pytest.raises(errors.ConfigError):
        make(circle)
