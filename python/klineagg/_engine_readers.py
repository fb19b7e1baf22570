"""Bars out of an engine: snapshots, views, and what is kept for a look."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from klineagg import _core, errors
from klineagg._core_tables import bars_of
from klineagg._engine_options import name_of, span_ns, symbol_id
from klineagg._engine_snapshot import ClosedBars, PendingSnapshot, Snapshot, View, watermark_of
from klineagg._engine_stats import ConsumerStats, consumer_stats
from klineagg._engine_wait import BesideWork, wait_for
from klineagg._options import check_bool, invalid
from klineagg.bars import Bars
from klineagg.intervals import Interval
from klineagg.symbols import symbol_names

if TYPE_CHECKING:
    import asyncio

    from klineagg._core import Result
    from klineagg._engine_watch import Watch

__all__ = ["Readers"]


def _check_consumer(name: object) -> None:
    if not isinstance(name, str) or not name:
        raise invalid("consumer", name, "a name")


class Readers:
    """The part of :class:`klineagg.Engine` that hands out bars."""

    _core: _core.Engine
    _intervals: tuple[Interval, ...]
    _outputs: list[Any]  # intervals by the number that rows bear, or names of them
    _changing: threading.Lock
    _left_takes: dict[str, threading.Event]  # that Ctrl-C has left, by consumer
    _watches: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Watch]

    @property
    def state(self) -> str:
        """``"created"``, ``"running"``, ``"draining"``, ``"stopped"``, ``"failed"``, or
        ``"forked"`` in a child.
        """
        return self._core.state

    def take(
        self, consumer: str, *, lease: Any = None, checkpoint: bool = False, timeout: Any = None
    ) -> Snapshot:
        """Freezes what a consumer has not acknowledged: closed bars, and changed open ones.

        Args:
            consumer: any name; each has its own place. A new one gets all open bars, and the
                closed ones that are still kept.
            lease: in place of the engine's.
            checkpoint: with the state of the engine at the same moment, see :meth:`checkpoint`.
            timeout: how long to wait for workers that are held up (``"1s"``, timedelta, ns); None:
                as long as it takes. What it takes to freeze the rows comes on top.

        Returns:
            A snapshot at one moment for all symbols. Acknowledge it, or use it with ``with``.
            Ctrl-C ends the call; the next one has the same rows.

        Raises:
            OptionError: ``invalid_option``.
            SnapshotError: ``snapshot_outstanding`` when the consumer's last one is not settled.
            SnapshotTimeoutError: ``take_timeout``; nothing has changed.
            EngineError: ``worker_failed``, ``forked``.
        """
        take = self._taker(consumer, lease, checkpoint, timeout)
        if threading.current_thread() is not threading.main_thread():
            return take()
        left = self._left_takes.pop(consumer, None)
        if left is not None:
            try:
                wait_for(left)  # until it has given its rows back
            except BaseException:
                self._left_takes[consumer] = left
                raise
        work = BesideWork(take)
        try:
            return work.result()
        except BaseException:
            if not work.ended.is_set():
                self._left_takes[consumer] = work.ended
            raise

    def take_async(
        self, consumer: str, *, lease: Any = None, checkpoint: bool = False, timeout: Any = None
    ) -> PendingSnapshot:
        """As :meth:`take`, to be awaited: the event loop goes on meanwhile.

        ``snapshot = await engine.take_async("lake")``, or
        ``async with engine.take_async("lake") as snapshot:``.
        """
        return PendingSnapshot(consumer, self._taker(consumer, lease, checkpoint, timeout))

    def _taker(
        self, consumer: str, lease: Any, checkpoint: bool, timeout: Any
    ) -> Callable[[], Snapshot]:
        _check_consumer(consumer)
        with_state = check_bool(checkpoint, "checkpoint")
        lease_ns = None if lease is None else span_ns(lease, "lease")
        timeout_ns = None if timeout is None else span_ns(timeout, "timeout")
        return lambda: Snapshot(
            self._core.take(consumer, lease_ns, with_state, timeout_ns),
            consumer,
            self._bars_of,
        )

    def closed(self, consumer: str = "closed") -> ClosedBars:
        """Closed bars as they come: ``for bars in engine.closed():``, or ``async for``.

        Each turn yields the bars closed since the turn before, with their newest revisions. They
        are acknowledged when the loop comes back for more, and are yielded again, by another
        loop of the same consumer, when it does not. The loop ends when the engine has stopped and
        all is handed out.

        Args:
            consumer: whose place to begin at.

        Raises:
            OptionError: ``invalid_option`` for what is no name.
            EngineError: ``worker_failed``, ``forked``.
        """
        _check_consumer(consumer)
        return ClosedBars(self, consumer)

    def _news(self) -> tuple[int, str]:
        """Another one when there may be closed bars to take, or the state is another one."""
        return self._core.closed_rows(), self._core.state

    def _watch(self) -> Watch:
        """One for all tasks of a loop."""
        import asyncio  # not needed by programs without a loop

        from klineagg._engine_watch import Watch

        loop = asyncio.get_running_loop()
        watch = self._watches.get(loop)
        if watch is None:
            watch = self._watches[loop] = Watch(loop, self._news)
        return watch

    def consumers(self) -> tuple[ConsumerStats, ...]:
        """Everybody who has taken a snapshot: how far behind, and what is outstanding.

        Raises:
            EngineError: ``forked``.
        """
        return consumer_stats(self._core)

    def remove_consumer(self, consumer: str) -> bool:
        """Forgets a consumer, so that no rows are kept for it.

        Returns:
            False when there is none of that name.

        Raises:
            OptionError: ``invalid_option`` for what is no name.
            EngineError: ``forked``.
        """
        _check_consumer(consumer)
        return self._core.remove_consumer(consumer)

    def view(self) -> View:
        """The open bars of every symbol at one moment; disturbs no consumer.

        Raises:
            EngineError: ``worker_failed``, ``forked``.
        """
        result, watermark, position = self._core.view()
        return View(self._bars_of(result), watermark_of(watermark), position or None)

    def bars(self, symbol: str | int, interval: str | None = None, n: int | None = None) -> Bars:
        """The newest bars of one symbol, for a quick look; disturbs no consumer.

        These are the closed bars that the engine holds (``keep_bars``; by default none), and the
        open one behind them.

        Args:
            symbol: name or id.
            interval: one of the engine's; None: all of them, each at its own moment.
            n: the last rows of each interval, the open bar included; a run of bars without trades
                is one row. None: all that are held.

        Raises:
            ResultError: ``no_such_series`` for a symbol or interval that is not there.
            OptionError: ``invalid_option``.
            EngineError: ``worker_failed``, ``forked``.
        """
        if n is not None and (isinstance(n, bool) or not isinstance(n, int) or n < 1):
            raise errors.make("invalid_option", f"n={n!r} is not an integer above 0", option="n")
        known = [str(each.name) for each in self._intervals]
        if interval is not None and interval not in known:
            text = f"the engine has no interval {interval!r}; there are {', '.join(known)}"
            raise errors.make("no_such_series", text, hint="engine.reconfigure(add=...)")
        number = _core.find_symbol(symbol) if isinstance(symbol, str) else symbol_id(symbol)
        if number is None:
            raise _unknown(symbol)
        parts = [
            self._held(number, self._number_of(name))[-n if n else None :]
            for name in (known if interval is None else [interval])
        ]
        return parts[0] if len(parts) == 1 else Bars.concat(parts)

    def _held(self, symbol: int, output: int) -> Bars:
        try:
            return self._bars_of(self._core.bars(symbol, output))
        except errors.EngineError as error:
            if error.name != "unknown_name":
                raise
            raise _unknown(symbol_names([symbol])[0]) from None

    def _number_of(self, name: str) -> int:
        """The number that the rows of an interval of today bear: of equal names, the last."""
        return max(k for k, each in enumerate(self._outputs) if name_of(each) == name)

    def _bars_of(self, result: Result) -> Bars:
        numbers = result["series"][1]  # rising
        if len(numbers) and int(numbers[-1]) >= len(self._outputs):
            with self._changing:  # what made these rows is being told of in another thread
                pass
        return bars_of(result, tuple(self._outputs), None)


def _unknown(symbol: str | int) -> errors.KlineaggError:
    hint = "a symbol is known once it has traded, or by engine.add_symbol"
    text = f"the engine does not know symbol {symbol!r}"
    return errors.make("no_such_series", text, hint=hint, symbol=symbol)
