"""What comes out of an engine: snapshots, and streams of closed bars."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import numpy as np

from klineagg import _core
from klineagg._options import TIME_NONE
from klineagg.bars import Bars

if TYPE_CHECKING:
    from klineagg._core import Result
    from klineagg._engine_readers import Readers

__all__ = ["ClosedBars", "PendingSnapshot", "Snapshot", "SnapshotId", "View"]

T = TypeVar("T")

# A loop in this process cannot vanish without giving its rows back.
_NO_LEASE_NS: Final = 366 * 86_400 * 10**9


class SnapshotId(NamedTuple):
    """Rises for each consumer, also from one engine to the next."""

    epoch: int
    number: int


def watermark_of(ns: int) -> np.datetime64 | None:
    """The clock's watermark; None when it was never raised."""
    return None if ns == TIME_NONE else np.datetime64(ns, "ns")


class Snapshot:
    """Bars frozen at one moment, owed to a consumer until it acknowledges them.

    As a context manager it acknowledges when the block ends, and gives the rows back when the
    block raises. A snapshot that is dropped without either gives its rows back too.

    Attributes:
        consumer: name of the consumer.
        id: ``(epoch, number)``, higher than that of every earlier snapshot of the consumer.
        closed: bars closed since the consumer's last acknowledged snapshot, in their newest
            revision; read-only columns over the engine's own memory, valid for as long as
            anything refers to them.
        open: the open bars of the symbols that changed since then (of all in the first
            snapshot); with a lateness also the gaps before them, GAP without CLOSED.
        watermark: how far the clock had closed all bars; None when it was never raised. A run of
            gap bars that still grows reaches up to here.
        checkpoint: the state of the engine at this moment, when it was asked for, else None; also
            None while the engine's log has halted and is not on the disk up to here.
        position: of the last record of the engine's log that is in it; None without a log.
        rows_lost: closed bars that the engine had to give up before this snapshot, because the
            consumer left too many unacknowledged.
    """

    __slots__ = (
        "__weakref__", "_core", "_state", "checkpoint", "closed", "consumer", "id", "open",
        "position", "rows_lost", "watermark",
    )  # fmt: skip

    def __init__(
        self, core: _core.Snapshot, consumer: str, bars_of: Callable[[Result], Bars]
    ) -> None:
        self._core = core
        self._state = "outstanding"
        self.consumer: Final = consumer
        self.id: Final = SnapshotId(*core.id)
        self.closed: Final[Bars] = bars_of(core.closed())
        self.open: Final[Bars] = bars_of(core.open())
        self.watermark: Final = watermark_of(core.watermark)
        self.position: Final[int | None] = core.position or None
        self.rows_lost: Final[int] = core.rows_lost
        self.checkpoint: Final[bytes | None] = core.checkpoint()

    @property
    def state(self) -> str:
        """``"outstanding"``, ``"acknowledged"`` or ``"returned"``.

        That a lease has expired shows in :meth:`ack`.
        """
        return self._state

    def ack(self) -> None:
        """Commits: the consumer's next snapshot begins behind this one.

        Raises:
            SnapshotError: ``snapshot_over`` when its lease has expired, or it is settled already;
                the next snapshot then has these rows again.
            EngineError: ``forked``.
        """
        self._core.ack()
        self._state = "acknowledged"

    def nack(self) -> None:
        """Gives the rows back: the next snapshot has them again. Of a settled one: does nothing.

        Raises:
            EngineError: ``forked``.
        """
        self._core.nack()
        if self._state == "outstanding":
            self._state = "returned"

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # What the block has settled itself stays as it is.
        if self._state != "outstanding":
            return
        if kind is None:
            self.ack()
        else:
            self.nack()

    def __repr__(self) -> str:
        lost = f", {self.rows_lost:,} rows lost" if self.rows_lost else ""
        at = "" if self.watermark is None else f", watermark {self.watermark}"
        return (
            f"<Snapshot {self.consumer!r} #{self.id.number}: {len(self.closed):,} closed, "
            f"{len(self.open):,} open{at}{lost}, {self._state}>"
        )


@dataclass(frozen=True, slots=True)
class View:
    """All open bars at one moment.

    Attributes:
        open: the open bars of every symbol and interval; with a lateness several may be open at
            once, and the gaps before them are rows too (GAP without CLOSED).
        watermark: how far the clock had closed all bars; None when it was never raised.
        position: of the last record of the engine's log that is in it; None without a log.
    """

    open: Bars
    watermark: np.datetime64 | None
    position: int | None = None

    def __repr__(self) -> str:
        at = "" if self.watermark is None else f", watermark {self.watermark}"
        return f"<View: {len(self.open):,} open bars{at}>"


async def run_in_thread(work: Callable[[], T]) -> T:
    """The result of ``work``, which runs beside the event loop."""
    import asyncio  # not needed by programs without a loop

    return await asyncio.get_running_loop().run_in_executor(None, work)


class PendingSnapshot:
    """A snapshot that is being taken: ``await`` it, or use it with ``async with``."""

    __slots__ = ("_consumer", "_snapshot", "_take")

    def __init__(self, consumer: str, take: Callable[[], Snapshot]) -> None:
        self._consumer = consumer
        self._take = take
        self._snapshot: Snapshot | None = None

    def __await__(self) -> Generator[Any, None, Snapshot]:
        # When the waiting task is cancelled nobody gets the snapshot, and dropping it gives its
        # rows back.
        return run_in_thread(self._take).__await__()

    async def __aenter__(self) -> Snapshot:
        self._snapshot = await self
        return self._snapshot

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._snapshot is not None:
            self._snapshot.__exit__(kind, error, trace)

    def __repr__(self) -> str:
        return f"<PendingSnapshot of {self._consumer!r}, to be awaited>"


class ClosedBars:
    """Closed bars as they come, for ``for`` and ``async for``; see :meth:`Engine.closed`."""

    __slots__ = ("_consumer", "_engine")

    def __init__(self, engine: Readers, consumer: str) -> None:
        self._engine = engine
        self._consumer = consumer

    def __iter__(self) -> Iterator[Bars]:
        engine, ended = self._engine, False
        while not ended:
            # Asked first: what was closed before the end is in the snapshot after it.
            ended = engine.state == "stopped"
            with engine.take(self._consumer, lease=_NO_LEASE_NS) as snapshot:
                if len(snapshot.closed):
                    yield snapshot.closed
            if not ended:
                engine._core.wait_closed(self._consumer)

    async def __aiter__(self) -> AsyncIterator[Bars]:
        engine, ended = self._engine, False
        watch = engine._watch()
        while not ended:
            seen, ended = engine._news(), engine.state == "stopped"
            pending = engine.take_async(self._consumer, lease=_NO_LEASE_NS)
            async with pending as snapshot:
                if len(snapshot.closed):
                    yield snapshot.closed
            if not ended:
                await watch.wait(seen)

    def __repr__(self) -> str:
        return f"<ClosedBars of consumer {self._consumer!r}>"
