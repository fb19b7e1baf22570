"""What a write-ahead log tells about itself, and what its records are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from klineagg._wal_events import WalEvent

__all__ = [
    "TOPICS",
    "TRADE_DTYPE",
    "WalCheckpoint",
    "WalContent",
    "WalDamage",
    "WalRecord",
    "WalSegment",
    "WalStats",
]

TOPICS: Final = ("trade", "account", "l2", "bar", "clock", "command", "application")
"""What records of a log may be about."""

TRADE_DTYPE: Final = np.dtype(
    [
        ("time", "<M8[ns]"),
        ("price", "<f8"),
        ("quantity", "<f8"),
        ("first_trade_id", "<i8"),
        ("last_trade_id", "<i8"),
        ("symbol", "<i4"),
        ("side", "i1"),
        ("flags", "u1"),
        ("source", "<u2"),
    ]
)
"""Trades out of a log: times in UTC (NaT: none was given), ids of symbols of this process (see
:func:`klineagg.symbol_names`; -1: none), ids of trades (-1: none), side 1 where the taker bought
and -1 elsewhere, bits of TradeFlag."""


@dataclass(frozen=True, slots=True)
class WalRecord:
    """A record of a log, or several that are trades.

    Attributes:
        topic: one of :data:`TOPICS`.
        first, last: sequence numbers; the same unless ``trades`` has several rows.
        time: when the (first) record was appended, UTC; by a simulated clock of its engine once
            that is set. NaT: by an earlier version, before the engine's clock was set.
        data: the bytes that were appended; None for trades.
        trades: rows of :data:`TRADE_DTYPE`, shape ``(last - first + 1,)``, which
            :func:`klineagg.aggregate` takes; None for other topics.
        event: what ``data`` says, when an engine has written it.
    """

    topic: str
    first: int
    last: int
    time: np.datetime64
    data: bytes | None = None
    trades: NDArray[np.void] | None = None
    event: WalEvent | None = None


@dataclass(frozen=True, slots=True)
class WalDamage:
    """Bytes that are not what was written.

    Attributes:
        path: of the segment.
        offset, bytes: where in it, and how many.
        first, last: sequence numbers of the records that are lost; ``last < first``: none is.
    """

    path: str
    offset: int
    bytes: int
    first: int
    last: int

    @property
    def records(self) -> int:
        """How many records are lost."""
        return max(self.last - self.first + 1, 0)

    def __str__(self) -> str:
        lost = f"records {self.first} ... {self.last} are lost" if self.records else "none is lost"
        return f"{self.path}: {self.bytes:,} bytes at {self.offset:,} are damaged; {lost}"


@dataclass(frozen=True, slots=True)
class WalSegment:
    """A file of a log.

    Attributes:
        path: where it is.
        first: the first sequence number that may be in it.
        bytes: its size; room that is not written yet included.
        has_header: whether its header can be read; without it nothing below is known.
        log: the log that it belongs to.
        created: when, UTC.
        fsync: the mode in which it was written.
    """

    path: str
    first: int
    bytes: int
    has_header: bool
    log: str
    created: np.datetime64
    fsync: str


@dataclass(frozen=True, slots=True)
class WalCheckpoint:
    """A state of an engine that a consumer has committed; the log goes on behind it.

    Attributes:
        consumer: who; empty: what a new log began with.
        position: of the last record that is in it; None: the file cannot be read.
        bytes: its size.
    """

    consumer: str
    position: int | None
    bytes: int


@dataclass(frozen=True, slots=True)
class WalContent:
    """What a whole log holds, as far as it can be read.

    Attributes:
        path: its directory.
        segments: its files, in order.
        records: how many there are, by topic.
        events: of these, how many were written by engines, by :attr:`WalEvent.kind`.
        checkpoints: the states that lie beside the log.
        bytes: of payloads, by topic; of trades those of :data:`TRADE_DTYPE`.
        first, last: sequence numbers of the first and the last record; 0: there is none.
        start, end: when the first and the last record with a time were appended, UTC; NaT: there
            is none.
        damages: what cannot be read.
        torn_bytes: bytes behind the last record that are none: a writer was killed, or is at work.
        is_sealed: whether the last writer closed the log.
    """

    path: str
    segments: tuple[WalSegment, ...]
    records: dict[str, int]
    events: dict[str, int]
    checkpoints: tuple[WalCheckpoint, ...]
    bytes: dict[str, int]
    first: int
    last: int
    start: np.datetime64
    end: np.datetime64
    damages: tuple[WalDamage, ...]
    torn_bytes: int
    is_sealed: bool

    @property
    def lost_records(self) -> int:
        """How many records the damages took."""
        return sum(damage.records for damage in self.damages)


@dataclass(frozen=True, slots=True)
class WalStats:
    """Counts of a log.

    Attributes:
        next: the sequence number that the next record will have.
        written, durable, committed: see :class:`Wal`.
        frames, bytes: that this object has written.
        writes, syncs: calls of the system for them, as of the last write.
        sync_ns_max: the longest sync, in nanoseconds.
        segments, segment_bytes: files on the disk, and their size.
        removed_segments: files that retention has removed; failed_removals: that it could not.
        halts, resumes: how often the log has halted and gone on.
        would_block: how often the ring was full.
        ring_bytes, ring_used_bytes: the memory between those who append and the writer.
    """

    next: int
    written: int
    durable: int
    committed: int
    frames: int
    bytes: int
    writes: int
    syncs: int
    sync_ns_max: int
    segments: int
    segment_bytes: int
    removed_segments: int
    failed_removals: int
    halts: int
    resumes: int
    would_block: int
    ring_bytes: int
    ring_used_bytes: int
