"""The numbers of an engine as text for Prometheus and everything that reads OpenMetrics."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, fields
from typing import TYPE_CHECKING

from klineagg._engine_flagged import CorrectionCounts
from klineagg._engine_journal import EngineWalStats
from klineagg._engine_stats import EngineMemory, EngineStats, Latency, ProducerStats
from klineagg._metrics_text import Labels, MetricsText, Sample

if TYPE_CHECKING:
    from klineagg.bus.feed import EngineFeed

__all__ = ["metrics_text"]

_STATES = ("created", "running", "draining", "stopped", "failed", "forked")


def _summary(latency: Latency, labels: Labels) -> Iterable[Sample]:
    quantiles = {
        "0.5": latency.p50_ns,
        "0.95": latency.p95_ns,
        "0.99": latency.p99_ns,
        "0.999": latency.p999_ns,
    }
    for quantile, ns in quantiles.items():
        yield "", {**labels, "quantile": quantile}, ns / 1e9
    yield "_sum", labels, latency.mean_ns * latency.count / 1e9 if latency.count else 0.0
    yield "_count", labels, latency.count


def _rows(text: MetricsText, producers: Iterable[ProducerStats]) -> None:
    stats = [({"producer": each.name, "source": each.source}, each) for each in producers]
    text.family(
        "rows_offered", "counter", "Rows passed in.",
        [("_total", labels, each.offered) for labels, each in stats],
    )  # fmt: skip
    text.family(
        "rows_accepted", "counter", "Rows that are in bars.",
        [("_total", labels, each.accepted) for labels, each in stats],
    )  # fmt: skip
    for name, what in (
        ("rejected", "Rows that cannot be trades."),
        ("dropped", "Good rows that are in no bar."),
    ):
        samples: list[Sample] = [
            ("_total", {**labels, "reason": reason}, count)
            for labels, each in stats
            for reason, count in getattr(each, name).items()
        ]
        text.family(f"rows_{name}", "counter", what, samples)
    text.family(
        "rows_in_flight", "gauge", "Rows on their way.",
        [("", labels, each.in_flight) for labels, each in stats],
    )  # fmt: skip


def _lanes(text: MetricsText, producers: Iterable[ProducerStats]) -> None:
    lanes = [
        ({"producer": each.name, "worker": lane.worker}, lane)
        for each in producers
        for lane in each.lanes
    ]
    text.family(
        "lane_fill_ratio", "gauge", "Rows that wait in a lane, of its capacity.",
        [("", labels, lane.queue_fill_ratio) for labels, lane in lanes], unit="ratio",
    )  # fmt: skip
    text.family(
        "lane_dropped_rows", "counter", "Rows that a full lane dropped.",
        [("_total", labels, lane.dropped_total) for labels, lane in lanes],
    )  # fmt: skip
    text.family(
        "lane_backpressure_events", "counter", "Pushes that found less room than they needed.",
        [("_total", labels, lane.backpressure_events) for labels, lane in lanes],
    )  # fmt: skip
    text.family(
        "lane_blocked_seconds", "counter", "Time spent waiting for room.",
        [("_total", labels, lane.blocked_ns / 1e9) for labels, lane in lanes], unit="seconds",
    )  # fmt: skip


def _wal(text: MetricsText, wal: EngineWalStats) -> None:
    text.family(
        "wal_halted", "gauge", "1 while nothing is accepted.",
        [("", {"cause": wal.cause}, int(wal.halted))],
    )  # fmt: skip
    for name, what in (
        ("accepted", "Number of the last record that counts."),
        ("written", "Number of the last record that a crash of the process leaves."),
        ("durable", "Number of the last record that a power cut leaves."),
        ("committed", "Number of the last record that the log may drop."),
    ):
        text.family(f"wal_{name}_position", "gauge", what, [("", {}, getattr(wal, name))])
    text.family(
        "wal_disk_bytes", "gauge", "What its files take.", [("", {}, wal.segment_bytes)],
        unit="bytes",
    )  # fmt: skip
    values = {**asdict(wal), "full_ring_events": wal.would_block}
    for name, what in (
        ("halts", "How often the log has halted."),
        ("syncs", "Calls that put the log on the disk."),
        ("full_ring_events", "How often a worker found the log's ring full."),
        ("checkpoint_failures", "Files of checkpoints that could not be written."),
    ):
        text.family(f"wal_{name}", "counter", what, [("_total", {}, values[name])])
    text.family(
        "wal_written_bytes", "counter", "Written to the log.", [("_total", {}, wal.bytes)],
        unit="bytes",
    )  # fmt: skip


def _corrections(text: MetricsText, counts: CorrectionCounts) -> None:
    done: list[Sample] = [
        ("_total", {"outcome": name}, getattr(counts, name))
        for name in ("cancelled", "corrected", "unchanged")
    ]
    text.family("corrections", "counter", "Rows that cancel or correct a trade.", done)
    refused: list[Sample] = [
        ("_total", {"reason": reason}, count) for reason, count in counts.refused.items()
    ]
    what = "Those that could not be followed."
    text.family("corrections_refused", "counter", what, refused)
    what = "Those that wait for their bar."
    text.family("corrections_waiting", "gauge", what, [("", {}, counts.waiting)])


def metrics_text(
    stats: EngineStats,
    memory: EngineMemory,
    corrections: CorrectionCounts,
    labels: Labels,
    feed: EngineFeed | None = None,
) -> str:
    """Counters, gauges and latencies in the OpenMetrics text format; ``labels`` go on every one."""
    text = MetricsText(labels)
    states: list[Sample] = [
        ("", {"klineagg_state": name}, int(name == stats.state)) for name in _STATES
    ]
    text.family("state", "stateset", "What the engine does.", states)
    _rows(text, stats.producers)
    _lanes(text, stats.producers)
    for name, what in (
        ("ingest", "From push to applied."),
        ("close", "From a bar's end to its row being there."),
        ("snapshot", "Of take and view."),
    ):
        latency: Latency = getattr(stats, name)
        text.family(f"{name}_latency_seconds", "summary", what, _summary(latency, {}), "seconds")
    workers = [({"worker": each.name}, each) for each in stats.workers]
    text.family(
        "worker_rows", "counter", "Rows that a worker is done with.",
        [("_total", labels_, each.applied) for labels_, each in workers],
    )  # fmt: skip
    text.family(
        "worker_wake_ups", "counter", "System calls to wake a worker.",
        [("_total", labels_, each.wake_ups) for labels_, each in workers],
    )  # fmt: skip
    for name in ("duplicates", "gaps", "out_of_order"):
        samples: list[Sample] = [
            ("_total", {"source": source}, getattr(each, name))
            for source, each in stats.sources.items()
        ]
        text.family(f"trade_id_{name}", "counter", f"Trade ids: {name.replace('_', ' ')}.", samples)
    text.family(
        "consumer_rows_behind", "gauge", "Closed rows held and not acknowledged.",
        [("", {"consumer": each.name}, each.rows_behind) for each in stats.consumers],
    )  # fmt: skip
    parts: list[Sample] = [
        ("", {"part": each.name}, getattr(memory, each.name)) for each in fields(memory)[:-2]
    ]
    text.family("memory_bytes", "gauge", "Memory by part.", parts, unit="bytes")
    if stats.wal is not None:
        _wal(text, stats.wal)
    _corrections(text, corrections)
    if feed is not None:
        from klineagg.bus.metrics import add_feed

        add_feed(text, feed)
    text.family("symbols", "gauge", "Symbols known.", [("", {}, memory.symbol_count)])
    return text.end()
