"""Where trades come into an engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from klineagg import _core, errors
from klineagg._core_tables import core_columns
from klineagg._engine_flagged import chosen_rows, split
from klineagg._engine_options import span_ns
from klineagg._engine_stats import ProducerStats, producer_stats
from klineagg._options import check_bool, invalid
from klineagg.columns import Normaliser, TradeChunk

if TYPE_CHECKING:
    from klineagg.engine import Engine

__all__ = ["Producer", "PushResult"]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class PushResult:
    """What became of the rows of one push.

    ``offered == queued + rejected + dropped + skipped + corrected``.

    Attributes:
        offered: rows that were passed in.
        queued: rows that are on their way to the workers.
        rejected: rows that cannot be trades, or that the engine does not take.
        dropped: rows that found their lane full, with ``policy="drop_newest"``.
        rejected_rows: row numbers of the rejected ones, int64 ``(rejected,)``, from 0 on, rising;
            None unless asked for.
        rejected_reasons: why, by name, one for each of ``rejected_rows``.
        skipped: rows that the log had already, see :meth:`Producer.skip_recovered`.
        corrected: rows that cancel or correct an earlier trade (``TradeFlag.CANCEL``,
            ``TradeFlag.CORRECT``) and were followed, or wait for their bar: see
            :attr:`Engine.corrections`. Those that cannot be followed are rejected.
    """

    offered: int
    queued: int
    rejected: int
    dropped: int
    rejected_rows: NDArray[np.int64] | None = None
    rejected_reasons: tuple[str, ...] | None = None
    skipped: int = 0
    corrected: int = 0

    def __repr__(self) -> str:
        parts = [f"{self.queued:,} of {self.offered:,} queued"]
        parts += [
            f"{count:,} {name}"
            for name, count in (
                ("rejected", self.rejected),
                ("dropped", self.dropped),
                ("skipped", self.skipped),
                ("corrected", self.corrected),
            )  # fmt: skip
            if count
        ]
        return f"<PushResult: {', '.join(parts)}>"


class PushOne(Protocol):
    """The signature of ``Producer.push_one``."""

    def __call__(
        self,
        symbol_id: int,
        price: float,
        quantity: float,
        time_ns: int,
        side: int = 0,
        trade_id: int = -1,
        /,
    ) -> bool:
        """True when the trade is queued, False when it was rejected or dropped."""


class Producer:
    """A way into an engine, for one feed; made by :meth:`klineagg.Engine.producer`.

    It owns one lane to each worker, so several producers do not wait for each other. Use each of
    them from one thread at a time; a second thread waits until the first has pushed its batch.

    Attributes:
        push_one: ``push_one(symbol_id, price, quantity, time_ns, side=0, trade_id=-1)`` queues a
            single trade, arguments by position only. ``symbol_id`` is what
            :func:`klineagg.intern` gave; ``side`` above 0: the taker bought. Returns True when
            the trade is queued, False when it was rejected or dropped; raises as :meth:`push`.
    """

    __slots__ = ("__weakref__", "_core", "_engine", "_normaliser", "_source", "_tail", "push_one")

    push_one: PushOne

    def __init__(
        self, engine: Engine, core: _core.Producer, normaliser: Normaliser, source: int
    ) -> None:
        self._engine = engine  # it lives as long as somebody can push
        self._core = core
        self._source = source
        self._normaliser = normaliser
        self._tail: _core.RecoveredTail | None = None
        self.push_one = core.push_one

    @property
    def name(self) -> str:
        """Its name, unique within the engine."""
        return self._core.name

    def push(
        self, trades: Any, *, return_rejected: bool = False, timeout: Any = None
    ) -> PushResult:
        """Queues trades; returns before they are in bars (see :meth:`Engine.flush`).

        A bad row is counted and left out, and never stops the batch. With ``policy="block"`` the
        call waits while lanes are full. The GIL is released; Ctrl-C ends it between blocks of rows,
        of which :meth:`stats` then knows.

        Rows with ``TradeFlag.CANCEL`` or ``TradeFlag.CORRECT`` are no trades: they are followed
        behind the trades of their chunk (batches of fitting types are one chunk), as by
        :meth:`Engine.cancel` and :meth:`Engine.correct`, and the call waits for that.

        Args:
            trades: as for :func:`klineagg.aggregate`; columns of fitting types are read in place.
            return_rejected: say which rows were rejected, and why.
            timeout: how long to wait for room in full lanes (``"1s"``, timedelta, ns), in place of
                the engine's ``push_timeout``; it begins again whenever some rows were taken.

        Raises:
            LaneFullError: ``lane_full``, after the timeout: ``fields`` has how many rows were
                ``queued``, ``rejected``, ``dropped``, and of this chunk ``left``; the latter were
                not taken, and are the last ones.
            ColumnError, TimeUnitError: the input's shape; nothing of that chunk is queued.
            EngineError: ``engine_state`` when the engine has stopped, ``worker_failed``,
                ``forked``.
            WalHaltedError: ``wal_halted``, ``wal_full``: the log takes nothing; see
                :meth:`Engine.resume`.
        """
        timeout_ns = None if timeout is None else span_ns(timeout, "timeout")
        told = check_bool(return_rejected, "return_rejected")
        return self._push(trades, _Total(told, timeout_ns))

    def push_all(
        self, trades: Any, wait: Callable[[errors.KlineaggError], None], *, timeout: Any = None
    ) -> PushResult:
        """Queues all of the trades, and goes on where it was when something is in the way.

        Where :meth:`push` would raise because lanes are full or the log has halted, ``wait`` is
        called with that error. When it returns, what was not taken yet is tried again, and nothing
        else: no row goes in twice. When it raises, the push ends with that.

        Args:
            trades: as for :meth:`push`.
            wait: for example, calls :meth:`Engine.resume` until that works.
            timeout: as for :meth:`push`.

        Raises:
            OptionError: ``invalid_option``.
            ColumnError, TimeUnitError, EngineError: as :meth:`push`.
        """
        if not callable(wait):
            raise invalid("wait", wait, "something that can be called with an error")
        timeout_ns = None if timeout is None else span_ns(timeout, "timeout")
        return self._push(trades, _Total(False, timeout_ns, wait))

    def _push(self, trades: Any, total: _Total) -> PushResult:
        engine = self._engine
        self._normaliser.restart()
        total.until_done(engine._retry_now_and_then)
        for chunk in self._normaliser.chunks(trades):
            total.until_done(partial(engine._reach_chunk, chunk))
            flagged = split(chunk)
            if flagged is None:
                total.check(self._push_trades(chunk, None, total))
            else:
                self._push_flagged(chunk, flagged, total)
        return total.result()

    def skip_recovered(self) -> int:
        """Leaves out what the log has already of the trades that come now.

        For an engine that has recovered, and a source that is read on from the last
        :meth:`Engine.note` (from the beginning, without any): it tells the trades once more that
        were accepted behind the note. Each of them that comes with :meth:`push` is skipped, as
        often as it is in the log. Trades passed to :meth:`push_one` are not looked at.

        Returns:
            How many there are.

        Raises:
            EngineError: ``engine_state`` when there are more than are held (some millions).
        """
        core = self._engine._core
        if not core.recovery()["has_whole_tail"]:
            raise errors.make("engine_state", "too many trades lie behind the last note")
        tail = core.take_recovered_tail()
        self._tail = tail if tail.left else None
        return tail.left

    def _push_trades(self, chunk: TradeChunk, rows: NDArray[np.int64] | None, total: _Total) -> int:
        """Queues a chunk, of which ``rows`` says where its rows were; gives how many are left."""
        if self._tail is not None:
            chunk, rows = self._new_rows(chunk, rows, total)
        first = chunk.first_row
        while True:
            push = partial(
                self._core.push, core_columns(chunk), total.return_rejected, total.timeout_ns
            )
            pushed = total.until_done(push)
            if rows is not None:
                pushed["rows"] = rows[pushed["rows"]]
            left = total.add(pushed, first)
            if not left:
                return 0
            if total.wait is None:
                return left
            total.wait(total.full(left))
            chunk = chosen_rows(chunk, np.arange(len(chunk) - left, len(chunk)))

    def _push_flagged(self, chunk: TradeChunk, flagged: NDArray[np.int64], total: _Total) -> None:
        """Trades first; then what is to be done to those that the log has by then."""
        plain = np.delete(np.arange(len(chunk)), flagged)
        left = 0
        if len(plain):
            left = self._push_trades(chosen_rows(chunk, plain), plain, total)
        if left:
            first = plain[len(plain) - left]  # from here on nothing was taken
            left += int((flagged > first).sum())
            flagged = flagged[flagged < first]
        for row in flagged.tolist():
            follow = partial(self._engine._follow_row, chunk, row, self._source)
            reason = total.until_done(follow)
            total.follow(row + chunk.first_row, reason)
        total.check(left)

    def _new_rows(
        self, chunk: TradeChunk, rows: NDArray[np.int64] | None, total: _Total
    ) -> tuple[TradeChunk, NDArray[np.int64] | None]:
        tail = self._tail
        assert tail is not None
        keep = tail.keep(core_columns(chunk))
        if not tail.left:
            self._tail = None
        if keep.all():
            return chunk, rows
        total.offered += len(chunk) - int(keep.sum())
        total.skipped += len(chunk) - int(keep.sum())
        kept = np.flatnonzero(keep)
        return chosen_rows(chunk, keep), kept if rows is None else rows[kept]

    def flush(self, *, timeout: Any = None) -> bool:
        """Waits until everything that this producer pushed before is applied. Ctrl-C ends it.

        Args:
            timeout: how long (``"1s"``, timedelta, ns); None: as long as it takes.

        Returns:
            False when the timeout was over first.

        Raises:
            EngineError: ``worker_failed``, ``forked``.
        """
        return self._core.flush(None if timeout is None else span_ns(timeout, "timeout"))

    def stats(self) -> ProducerStats:
        """Counts of rows, by lane."""
        return producer_stats(self._core.stats())

    def __enter__(self) -> Producer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Waits until what was pushed is applied, unless an exception is on its way."""
        if kind is None and self._engine.state == "running":
            self.flush()

    def __repr__(self) -> str:
        if self._engine.state == "forked":
            return "<Producer, forked>"
        stats = self.stats()
        return (
            f"<Producer {self.name!r}: {stats.offered:,} rows offered, {stats.in_flight:,} in "
            f"flight, {stats.dropped_total:,} dropped, {sum(stats.rejected.values()):,} rejected>"
        )


@dataclass(slots=True)
class _Total:
    """The results of the chunks of one push."""

    return_rejected: bool
    timeout_ns: int | None = None
    wait: Callable[[errors.KlineaggError], None] | None = None
    offered: int = 0
    queued: int = 0
    rejected: int = 0
    dropped: int = 0
    skipped: int = 0
    corrected: int = 0
    rows: list[NDArray[np.int64]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def until_done(self, step: Callable[[], _T]) -> _T:
        """Does it, again and again while the log has halted and somebody waits for it."""
        while True:
            try:
                return step()
            except errors.WalHaltedError as error:  # noqa: PERF203 - as often as it halts
                if self.wait is None:
                    raise
                self.wait(error)

    def add(self, pushed: Mapping[str, Any], first: int) -> int:
        left: int = pushed["left"]
        # Those that are left are offered again, where somebody waits.
        self.offered += pushed["offered"] - (0 if self.wait is None else left)
        self.queued += pushed["queued"]
        self.rejected += pushed["rejected"]
        self.dropped += pushed["dropped"]
        if self.return_rejected:
            self.rows.append(pushed["rows"] + first)
            self.reasons += [_core.ENGINE_REJECT_REASONS[k] for k in pushed["reasons"].tolist()]
        return left

    def follow(self, row: int, reason: str) -> None:
        self.offered += 1
        if not reason:
            self.corrected += 1
            return
        self.rejected += 1
        if self.return_rejected:
            self.rows.append(np.array([row], np.int64))
            self.reasons.append(reason)

    def check(self, left: int) -> None:
        if left:
            raise self.full(left)

    def full(self, left: int) -> errors.KlineaggError:
        text = f"{left:,} rows found no room in their lanes within the timeout"
        return errors.make(
            "lane_full",
            text,
            queued=self.queued,
            rejected=self.rejected,
            dropped=self.dropped,
            left=left,
        )

    def result(self) -> PushResult:
        rows: NDArray[np.int64] | None = None
        reasons: tuple[str, ...] | None = None
        if self.return_rejected:
            none: NDArray[np.int64] = np.empty(0, np.int64)
            rows = np.concatenate([none, *self.rows])
            order = np.argsort(rows, kind="stable")
            rows, reasons = rows[order], tuple(self.reasons[at] for at in order.tolist())
        return PushResult(
            self.offered, self.queued, self.rejected, self.dropped, rows, reasons,
            self.skipped, self.corrected,
        )  # fmt: skip
