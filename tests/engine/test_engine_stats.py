"""What an engine tells about itself, and how its memory grows."""

from __future__ import annotations

import contextlib
import re
import threading
from typing import Any

import numpy as np
import pytest

import klineagg
from klineagg import SimulatedClock, SystemClock, errors
from klineagg.engine import Engine, EngineCounts, ProducerStats

T0 = np.datetime64("2024-01-01T00:00:00", "ns")
SECOND = np.timedelta64(1, "s")


def trades(*seconds: float, symbol: str = "BTC", ids: list[int] | None = None) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "symbol": [symbol] * len(seconds),
        "time": T0 + (np.array(seconds) * 1e9).astype("timedelta64[ns]"),
        "price": [100.0] * len(seconds),
        "quantity": [1.0] * len(seconds),
    }
    return columns if ids is None else {**columns, "trade_id": ids}


def balance(counts: EngineCounts | ProducerStats) -> int:
    told = counts.accepted + sum(counts.rejected.values()) + sum(counts.dropped.values())
    return counts.offered - told - counts.in_flight


def test_every_row_has_one_fate() -> None:
    with Engine("1m", clock=SimulatedClock(T0), late="drop", max_ahead="1h") as engine:
        producer = engine.producer("feed", source=7)
        producer.push(trades(1, 61, 2, 7200, 62, ids=[1, 2, 3, 4, 2]))
        producer.push({**trades(63, 64), "price": [np.nan, -1.0]})
        engine.flush()
        counts = engine.counts()
        assert counts.accepted == 2
        assert counts.dropped == {"late": 1, "duplicate": 1}
        assert counts.rejected == {
            "time_ahead": 1, "price_not_finite": 1, "price_not_positive": 1,
        }  # fmt: skip
        assert counts.offered == 7
        assert balance(counts) == 0
        assert repr(counts) == "<EngineCounts: 7 rows offered, 2 accepted, 3 rejected, 2 dropped>"
        stats = engine.stats()
        (told,) = stats.producers
        assert (told.name, told.source, told.offered, told.accepted) == ("feed", 7, 7, 2)
        assert stats.sources[7].duplicates == 1
        assert stats.worker_loads == (4,)
        assert stats.ingest.count == 4
        assert 0 < stats.ingest.p50_ns <= stats.ingest.p99_ns <= stats.ingest.max_ns
        assert engine.take("x").closed is not None
        assert engine.stats().snapshot.count == 1


def test_counts_add_up_at_every_moment() -> None:
    with Engine(
        "1s", clock=SimulatedClock(), workers=2, lane_capacity=1024, late="drop",
        policy="drop_oldest",
    ) as engine:  # fmt: skip
        looks = 0
        batches: list[str] = []

        def feed(name: str) -> None:
            producer = engine.producer(name)
            batch = trades(*np.arange(0, 40, 0.01).tolist(), symbol=name)
            batch["price"][::11] = [-1.0] * len(batch["price"][::11])
            while looks < 10 or batches.count(name) < 60:
                producer.push(batch)
                batches.append(name)

        threads = [threading.Thread(target=feed, args=(f"F{k}",)) for k in range(2)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            stats = engine.stats()
            assert [balance(each) for each in stats.producers] == [0] * len(stats.producers)
            assert balance(stats.counts) == 0
            looks += 1
        engine.flush()
        counts = engine.counts()
        assert (counts.in_flight, balance(counts)) == (0, 0)
        assert counts.offered == len(batches) * 4000
        assert counts.dropped["late"] > 0


@pytest.mark.parametrize("policy", ["block", "drop_newest", "drop_oldest"])
def test_pushes_that_find_too_little_room_are_counted(policy: str) -> None:
    engine = Engine(
        "1s", clock=SimulatedClock(), lane_capacity=64, policy=policy, push_timeout="1ms"
    )
    producer = engine.producer()

    def push(rows: int) -> int:
        with contextlib.suppress(errors.LaneFullError):
            producer.push(trades(*range(rows)))
        (lane,) = producer.stats().lanes
        return lane.backpressure_events

    assert push(64) == 0  # nobody empties it before the start
    assert [push(8), push(8)] == [1, 2]
    assert "2 times full" in repr(producer.stats().lanes[0])
    engine.start()
    engine.flush()
    assert push(1) == 2
    engine.stop()


def test_the_system_clock_closes_bars_soon() -> None:
    with Engine("1s") as engine:
        assert isinstance(engine.clock, SystemClock)
        row = {"symbol": ["BTC"], "time": [engine.clock.now()], "price": [1.0], "quantity": [1.0]}
        engine.producer().push(row)
        for _ in engine.closed("here"):
            break
        close = engine.stats().close
        assert close.count == 1
        assert close.max_ns >= 0
        assert re.match(r"<Latency of 1: p50 .*max .*>", repr(close))


def test_drain_takes_no_more_and_hands_out_the_rest() -> None:
    with Engine("1m", clock=SimulatedClock(T0)) as engine:
        producer = engine.producer()
        producer.push(trades(1, 2))
        engine.drain()
        engine.drain()
        assert engine.state == "draining"
        assert engine.counts().accepted == 2
        for call in (lambda: producer.push(trades(3)), lambda: producer.push_one(0, 1.0, 1.0, 0)):
            with pytest.raises(klineagg.EngineError) as caught:
                call()
            assert caught.value.name == "engine_state"
        engine.advance(T0 + 60 * SECOND)  # the clock goes on
        with engine.take("lake") as snapshot:
            assert snapshot.closed.trade_count.tolist() == [2]
    assert engine.state == "stopped"


def test_memory_is_told_by_part() -> None:
    with Engine("1s,1m", clock=SimulatedClock(), keep_bars=10) as engine:
        empty = engine.memory()
        engine.producer().push(
            {
                "symbol": np.arange(5000, dtype=np.int32),
                "time": np.full(5000, T0),
                "price": np.ones(5000),
                "quantity": np.ones(5000),
            }
        )
        engine.flush()
        full = engine.memory()
        assert (empty.symbol_count, full.symbol_count, full.interval_count) == (0, 5000, 2)
        assert full.symbols > empty.symbols
        assert full.total > empty.total
        parts = [
            full.symbols, full.history, full.kept_rows, full.routes, full.lanes, full.closed_rows,
            full.captures, full.workers, full.consumers,
        ]  # fmt: skip
        assert full.total == sum(parts)
        assert full.bytes_per_series == full.symbols / 10_000
        assert re.match(
            r"<EngineMemory: [\d.]+ MiB \(.*\), 5,000 symbols x 2 intervals>", repr(full)
        )


def test_metrics_are_read_by_others() -> None:
    parser = pytest.importorskip("prometheus_client.openmetrics.parser")
    with Engine("1m", clock=SimulatedClock(), late="drop") as engine:
        producer = engine.producer('feed "a"\\b\n', source=3)
        producer.push(trades(1, 61, 2))
        producer.push({**trades(63), "price": [-1.0]})
        engine.flush()
        engine.view()
        text = engine.metrics_text(instance="one")
        families = {each.name: each for each in parser.text_string_to_metric_families(text)}
    samples = {
        (sample.name, sample.labels.get("reason") or sample.labels.get("quantile")): sample
        for family in families.values()
        for sample in family.samples
    }
    assert samples["klineagg_rows_offered_total", None].value == 4
    assert samples["klineagg_rows_accepted_total", None].value == 2
    assert samples["klineagg_rows_dropped_total", "late"].value == 1
    assert samples["klineagg_rows_rejected_total", "price_not_positive"].value == 1
    assert samples["klineagg_snapshot_latency_seconds_count", None].value == 1
    assert 0 < samples["klineagg_ingest_latency_seconds", "0.99"].value < 3600
    assert samples["klineagg_rows_offered_total", None].labels == {
        "instance": "one", "producer": 'feed "a"\\b\n', "source": "3",
    }  # fmt: skip
    states = {s.labels["klineagg_state"]: s.value for s in families["klineagg_state"].samples}
    assert [name for name, value in states.items() if value] == ["running"]
    assert sum(sample.value for sample in families["klineagg_memory_bytes"].samples) > 2**20
