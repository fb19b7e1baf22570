"""What an engine tells about itself: fates of rows, latencies, lanes, memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isnan
from typing import Any

import numpy as np

from klineagg import _core
from klineagg._bars_text import counted
from klineagg._engine_journal import EngineWalStats, wal_stats
from klineagg._options import TIME_NONE

__all__ = [
    "ConsumerStats",
    "EngineCounts",
    "EngineMemory",
    "EngineStats",
    "LaneStats",
    "Latency",
    "ProducerStats",
    "SourceStats",
    "WorkerStats",
    "consumer_stats",
    "engine_stats",
    "memory_stats",
    "producer_stats",
]

_MIB = 2**20


def duration_text(ns: float) -> str:
    """A length of time as it is read: ``"1.25 us"``."""
    if isnan(ns):
        return "-"
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.0f} ns"


@dataclass(frozen=True, slots=True)
class Latency:
    """How long something took, in ns; percentiles within 1 %, NaN where nothing was measured.

    Attributes:
        count: how many were measured.
        mean_ns, p50_ns, p95_ns, p99_ns, p999_ns: the mean, and what 50, 95, 99, 99.9 % do not
            exceed.
        max_ns: the longest, exactly.
    """

    count: int
    mean_ns: float
    p50_ns: float
    p95_ns: float
    p99_ns: float
    p999_ns: float
    max_ns: int

    def __repr__(self) -> str:
        if not self.count:
            return "<Latency: nothing measured>"
        told = {"p50": self.p50_ns, "p95": self.p95_ns, "p99": self.p99_ns, "p99.9": self.p999_ns}
        parts = [f"{name} {duration_text(ns)}" for name, ns in told.items()]
        return f"<Latency of {self.count:,}: {', '.join(parts)}, max {duration_text(self.max_ns)}>"


@dataclass(frozen=True, slots=True)
class LaneStats:
    """One lane, from one producer to one worker; rows, unless said otherwise.

    Attributes:
        worker: number of the worker.
        capacity: rows that it has room for.
        policy: what happens when it is full.
        offered: rows that came to it: ``applied + refused + dropped_total + in_flight``.
        applied: rows that are in bars.
        refused: rows that the worker left out: late ones, duplicates.
        dropped_newest, dropped_oldest: rows that were dropped, by policy.
        in_flight: rows that wait, or that the worker has in hand.
        queue_fill_ratio: rows that wait / capacity, 0 to 1.
        backpressure_events: pushes that found less room than they needed.
        blocked_ns: time spent waiting for room, ns.
    """

    worker: int
    capacity: int
    policy: str
    offered: int
    applied: int
    refused: int
    dropped_newest: int
    dropped_oldest: int
    in_flight: int
    queue_fill_ratio: float
    backpressure_events: int
    blocked_ns: int

    @property
    def dropped_total(self) -> int:
        """Rows dropped by any policy."""
        return self.dropped_newest + self.dropped_oldest

    def __repr__(self) -> str:
        dropped = f", {self.dropped_total:,} dropped" if self.dropped_total else ""
        return (
            f"<Lane to worker {self.worker}: {self.queue_fill_ratio:.0%} of {self.capacity:,} "
            f"filled, {self.offered:,} rows{dropped}, {self.backpressure_events:,} times full>"
        )


@dataclass(frozen=True, slots=True)
class ProducerStats:
    """What came in by one producer; always
    ``offered == accepted + sum(rejected) + sum(dropped) + in_flight``.

    Attributes:
        name: of the producer.
        source: number of its feed.
        offered: rows passed in, but for those that a full lane left with their caller.
        accepted: rows that are in bars.
        rejected: rows that cannot be trades, by reason.
        dropped: good rows that are in no bar, by reason; see :class:`EngineCounts`.
        in_flight: rows on their way.
        lanes: one for each worker of today; the counts above are of all lanes there were.
    """

    name: str
    source: int
    offered: int
    accepted: int
    rejected: Mapping[str, int]
    dropped: Mapping[str, int]
    in_flight: int
    lanes: tuple[LaneStats, ...]

    @property
    def dropped_total(self) -> int:
        """Rows dropped by the lanes, of any policy."""
        return self.dropped.get("lane_newest", 0) + self.dropped.get("lane_oldest", 0)

    def __repr__(self) -> str:
        return f"<ProducerStats {self.name!r}: {_fates(self)}>"


@dataclass(frozen=True, slots=True)
class WorkerStats:
    """One worker thread.

    Attributes:
        name: of the thread, as the system shows it.
        applied: rows it is done with, those it refused included.
        outside_sessions: rows that were outside every session, for any interval.
        log_waits: how often it waited for memory, or for consumers to acknowledge.
        wake_ups: how often a producer had to wake it by a system call.
        ingest: from push to applied; of rows pushed one by one, every 16th.
        close: from a bar's end, by the system's clock, to its row being there to be taken.
    """

    name: str
    applied: int
    outside_sessions: int
    log_waits: int
    wake_ups: int
    ingest: Latency
    close: Latency


@dataclass(frozen=True, slots=True)
class SourceStats:
    """What the trade ids of one source tell, over all its symbols.

    Attributes:
        duplicates: trades whose ids had been seen; they are in no bar twice.
        gaps: how often ids were passed over; they may have come later.
        out_of_order: trades whose id is below one that was seen before.
    """

    duplicates: int
    gaps: int
    out_of_order: int


@dataclass(frozen=True, slots=True)
class ConsumerStats:
    """One consumer of closed bars.

    Attributes:
        name: of the consumer.
        rows_behind: closed rows that are held and that it has not acknowledged.
        outstanding: whether it has a snapshot that is neither settled nor expired.
        expires: when the lease of that one, or of the last, is over, by the engine's clock.
        rows_lost: rows that it has lost, of which its next snapshot will tell.
    """

    name: str
    rows_behind: int
    outstanding: bool
    expires: np.datetime64 | None
    rows_lost: int

    def __repr__(self) -> str:
        state = ", a snapshot outstanding" if self.outstanding else ""
        lost = f", {self.rows_lost:,} lost" if self.rows_lost else ""
        return f"<Consumer {self.name!r}: {self.rows_behind:,} rows behind{state}{lost}>"


@dataclass(frozen=True, slots=True)
class EngineCounts:
    """What became of the rows so far; at every moment
    ``offered == accepted + sum(rejected) + sum(dropped) + in_flight``.

    Attributes:
        offered: rows that producers passed in, but for those that a full lane left with them.
        accepted: rows that are in bars (or outside the sessions of some interval).
        rejected: rows that cannot be trades, by reason: as in :class:`klineagg.Report`, and
            ``time_ahead`` (more than ``max_ahead`` past the clock), ``symbol_unknown``.
        dropped: good rows that are in no bar, by reason: ``late``, ``beyond_horizon``,
            ``duplicate``, ``lane_newest``, ``lane_oldest``.
        in_flight: rows on their way to the workers.
        outside_sessions: accepted rows that were outside every session, for any interval.
    """

    offered: int
    accepted: int
    rejected: Mapping[str, int]
    dropped: Mapping[str, int]
    in_flight: int
    outside_sessions: int

    def __repr__(self) -> str:
        return f"<EngineCounts: {_fates(self)}>"


@dataclass(frozen=True, slots=True)
class EngineStats:
    """How an engine is doing.

    Attributes:
        state: as :attr:`Engine.state`.
        counts: rows by what became of them.
        ingest: latency from push to applied; of rows pushed one by one, every 16th.
        close: from a bar's end, by the system's clock, to its row being there to be taken.
        snapshot: of :meth:`Engine.take` and :meth:`Engine.view`.
        worker_loads: rows applied by each worker of today.
        workers: more about each of them, and about those that are gone but whose rows are not.
        producers: counts by producer and lane.
        sources: what trade ids tell, by number of the source.
        consumers: everybody who has taken a snapshot.
        memory_misses: how often a worker had to make memory itself, or to wait for some.
        wal: how the log is doing; None without one.
    """

    state: str
    counts: EngineCounts
    ingest: Latency
    close: Latency
    snapshot: Latency
    worker_loads: tuple[int, ...]
    workers: tuple[WorkerStats, ...]
    producers: tuple[ProducerStats, ...]
    sources: Mapping[int, SourceStats]
    consumers: tuple[ConsumerStats, ...]
    memory_misses: int
    wal: EngineWalStats | None = None

    def __repr__(self) -> str:
        parts = [_fates(self.counts)]
        for name in ("ingest", "close", "snapshot"):
            latency: Latency = getattr(self, name)
            if latency.count:
                parts.append(f"{name} p99 {duration_text(latency.p99_ns)}")
        return f"<EngineStats, {self.state}: {', '.join(parts)}>"


@dataclass(frozen=True, slots=True)
class EngineMemory:
    """Bytes that an engine has, by part: counted where they are asked for, not estimated.

    Attributes:
        symbols: bars in progress, rooms for symbols to come included.
        history: closed bars that late trades can still change, and trade ids seen.
        kept_rows: closed bars held by ``keep_bars``.
        routes: which worker has which symbol.
        lanes: rows on their way.
        closed_rows: closed bars that consumers have not acknowledged, and room for more.
        captures: open bars on their way into a snapshot.
        workers: tables and buffers of the workers.
        consumers: who has seen what.
        symbol_count, interval_count: how many there are.
    """

    symbols: int
    history: int
    kept_rows: int
    routes: int
    lanes: int
    closed_rows: int
    captures: int
    workers: int
    consumers: int
    symbol_count: int
    interval_count: int

    @property
    def total(self) -> int:
        """All of it; what snapshots hold is theirs."""
        parts: list[int] = [getattr(self, each.name) for each in fields(self)[:-2]]
        return sum(parts)

    @property
    def bytes_per_series(self) -> float:
        """``symbols`` for each symbol and interval; 0 without symbols."""
        series = self.symbol_count * self.interval_count
        return self.symbols / series if series else 0.0

    def __repr__(self) -> str:
        sizes = {each.name: getattr(self, each.name) for each in fields(self)[:-2]}
        largest = sorted(sizes, key=lambda name: -sizes[name])[:3]
        parts = [f"{name} {sizes[name] / _MIB:.1f}" for name in largest]
        return (
            f"<EngineMemory: {self.total / _MIB:.1f} MiB ({', '.join(parts)}, ...), "
            f"{counted(self.symbol_count, 'symbol')} x {counted(self.interval_count, 'interval')}>"
        )


def _fates(counts: EngineCounts | ProducerStats) -> str:
    fates = {
        "accepted": counts.accepted,
        "rejected": sum(counts.rejected.values()),
        "dropped": sum(counts.dropped.values()),
        "in flight": counts.in_flight,
    }
    parts = [f"{count:,} {name}" for name, count in fates.items() if count or name == "accepted"]
    return f"{counts.offered:,} rows offered, {', '.join(parts)}"


def producer_stats(told: Mapping[str, Any]) -> ProducerStats:
    """The counts of a producer, from those of the core."""
    lanes = tuple(LaneStats(**lane) for lane in told["lanes"])
    return ProducerStats(**{**told, "lanes": lanes})


def engine_stats(core: _core.Engine) -> EngineStats:
    """The counts and latencies of an engine as they stand."""
    told = core.stats()
    producers = tuple(map(producer_stats, told["producers"]))
    rejected: Counter[str] = Counter()
    for each in producers:
        rejected.update(each.rejected)
    counts = EngineCounts(
        offered=told["offered"],
        accepted=told["accepted"],
        rejected=dict(rejected),
        dropped=told["dropped"],
        in_flight=told["in_flight"],
        outside_sessions=told["outside_sessions"],
    )
    workers = tuple(
        WorkerStats(
            **{**each, "ingest": Latency(*each["ingest"]), "close": Latency(*each["close"])}
        )
        for each in told["workers"]
    )
    return EngineStats(
        state=core.state,
        counts=counts,
        ingest=Latency(*told["ingest"]),
        close=Latency(*told["close"]),
        snapshot=Latency(*told["snapshot"]),
        worker_loads=tuple(core.worker_loads()),
        workers=workers,
        producers=producers,
        sources={source: SourceStats(**each) for source, each in told["sources"].items()},
        consumers=consumer_stats(core),
        memory_misses=told["memory_misses"],
        wal=wal_stats(core),
    )


def consumer_stats(core: _core.Engine) -> tuple[ConsumerStats, ...]:
    """The consumers of an engine as they stand."""
    return tuple(
        ConsumerStats(
            name,
            rows,
            outstanding,
            None if expires == TIME_NONE else np.datetime64(expires, "ns"),
            lost,
        )
        for name, rows, outstanding, expires, lost in core.consumers()
    )


def memory_stats(core: _core.Engine) -> EngineMemory:
    """The bytes of an engine as they stand."""
    return EngineMemory(**core.memory())
