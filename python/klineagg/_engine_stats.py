"""Counts of an engine: what became of the rows, by producer and lane."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from klineagg import _core

__all__ = [
    "EngineCounts",
    "EngineStats",
    "LaneStats",
    "ProducerStats",
    "engine_stats",
    "producer_stats",
]


@dataclass(frozen=True, slots=True)
class LaneStats:
    """One lane, from one producer to one worker; rows, unless said otherwise.

    Attributes:
        worker: number of the worker.
        offered: rows that came to the lane: ``applied + dropped_total + in_flight``.
        applied: rows that the worker is done with.
        dropped_newest, dropped_oldest: rows that were dropped, by policy.
        in_flight: rows that wait, or that the worker has in hand.
        queue_fill_ratio: rows that wait / capacity, 0 to 1.
        backpressure_events: pushes that found less room than they needed.
        blocked_ns: time spent waiting for room, ns.
    """

    worker: int
    offered: int
    applied: int
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


@dataclass(frozen=True, slots=True)
class ProducerStats:
    """What came in by one producer.

    Attributes:
        name: of the producer.
        rejected: rejected rows by reason.
        lanes: one for each worker.
    """

    name: str
    rejected: Mapping[str, int]
    lanes: tuple[LaneStats, ...]

    @property
    def offered(self) -> int:
        """Rows passed in, but for those that a full lane left with their caller."""
        return sum(self.rejected.values()) + sum(lane.offered for lane in self.lanes)

    @property
    def dropped_total(self) -> int:
        """Rows dropped by any policy."""
        return sum(lane.dropped_total for lane in self.lanes)

    @property
    def in_flight(self) -> int:
        """Rows on their way."""
        return sum(lane.in_flight for lane in self.lanes)


@dataclass(frozen=True, slots=True)
class EngineCounts:
    """What became of the rows so far; at rest ``offered == accepted + rejected + dropped``.

    Attributes:
        offered: rows that producers passed in, but for those that a full lane left with them.
        accepted: rows that are in bars (or outside the sessions of some interval).
        rejected: rows that cannot be trades, by reason: as in :class:`klineagg.Report`, and
            ``time_ahead`` (more than ``max_ahead`` past the clock), ``symbol_unknown``.
        dropped: good rows that are in no bar, by reason: ``late``, ``beyond_horizon``,
            ``lane_newest``, ``lane_oldest``.
        in_flight: rows on their way to the workers.
        outside_sessions: accepted rows that were outside every session, for any interval.
    """

    offered: int
    accepted: int
    rejected: Mapping[str, int]
    dropped: Mapping[str, int]
    in_flight: int
    outside_sessions: int


@dataclass(frozen=True, slots=True)
class EngineStats:
    """How an engine is doing.

    Attributes:
        state: as :attr:`Engine.state`.
        counts: rows by what became of them.
        worker_loads: rows applied by each worker.
        producers: counts by producer and lane.
        log_waits: how often a worker waited for memory, or for consumers to acknowledge.
    """

    state: str
    counts: EngineCounts
    worker_loads: tuple[int, ...]
    producers: tuple[ProducerStats, ...]
    log_waits: int


def producer_stats(core: _core.Producer) -> ProducerStats:
    """The counts of a producer as they stand."""
    lanes = tuple(
        LaneStats(
            worker=worker,
            offered=lane["offered"],
            applied=lane["applied"],
            dropped_newest=lane["dropped_newest"],
            dropped_oldest=lane["dropped_oldest"],
            in_flight=lane["in_flight"],
            queue_fill_ratio=lane["queue_fill_ratio"],
            backpressure_events=lane["backpressure_events"],
            blocked_ns=lane["blocked_ns"],
        )
        for worker, lane in enumerate(core.lanes())
    )
    return ProducerStats(core.name, core.rejected(), lanes)


def engine_stats(core: _core.Engine, producers: Iterable[_core.Producer]) -> EngineStats:
    """The counts of an engine and of its producers as they stand."""
    told = core.counts()
    stats = tuple(map(producer_stats, producers))
    lanes = [lane for each in stats for lane in each.lanes]
    rejected: Counter[str] = Counter()
    for each in stats:
        rejected.update(each.rejected)
    late = {"late": told["late"], "beyond_horizon": told["beyond_horizon"]}
    dropped = {
        **late,
        "lane_newest": sum(lane.dropped_newest for lane in lanes),
        "lane_oldest": sum(lane.dropped_oldest for lane in lanes),
    }
    counts = EngineCounts(
        offered=sum(each.offered for each in stats),
        accepted=sum(lane.applied for lane in lanes) - sum(late.values()),
        rejected=dict(rejected),
        dropped={reason: count for reason, count in dropped.items() if count},
        in_flight=sum(lane.in_flight for lane in lanes),
        outside_sessions=told["outside"],
    )
    return EngineStats(core.state, counts, tuple(core.worker_loads()), stats, told["log_waits"])
