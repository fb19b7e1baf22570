"""Bars out of an engine: snapshots, views, and what is kept for a look."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from klineagg import _core, errors
from klineagg._bars_index import no_such_series
from klineagg._core_tables import bars_of
from klineagg._engine_options import span_ns, symbol_id
from klineagg._engine_snapshot import ClosedBars, PendingSnapshot, Snapshot, View, watermark_of
from klineagg.bars import Bars
from klineagg.intervals import Interval
from klineagg.symbols import symbol_names

if TYPE_CHECKING:
    from klineagg._core import Result

__all__ = ["Readers"]


class Readers:
    """The part of :class:`klineagg.Engine` that hands out bars."""

    _core: _core.Engine
    _intervals: tuple[Interval, ...]
    _outputs: list[Interval]
    _changing: threading.Lock

    @property
    def state(self) -> str:
        """``"created"``, ``"running"``, ``"draining"``, ``"stopped"``, ``"failed"``, or
        ``"forked"`` in a child.
        """
        return self._core.state

    def take(self, consumer: str, *, lease: Any = None) -> Snapshot:
        """Freezes what a consumer has not acknowledged: closed bars, and changed open ones.

        Args:
            consumer: any name; each has its own place. A new one gets all open bars, and the
                closed ones that are still kept.
            lease: in place of the engine's.

        Returns:
            A snapshot at one moment for all symbols. Acknowledge it, or use it with ``with``.

        Raises:
            SnapshotError: ``snapshot_outstanding`` when the consumer's last one is not settled.
            EngineError: ``worker_failed``, ``forked``.
        """
        return self._taker(consumer, lease)()

    def take_async(self, consumer: str, *, lease: Any = None) -> PendingSnapshot:
        """As :meth:`take`, to be awaited: the event loop goes on meanwhile.

        ``snapshot = await engine.take_async("lake")``, or
        ``async with engine.take_async("lake") as snapshot:``.
        """
        return PendingSnapshot(self._taker(consumer, lease))

    def _taker(self, consumer: str, lease: Any) -> Callable[[], Snapshot]:
        if not isinstance(consumer, str) or not consumer:
            text = f"consumer={consumer!r} is not a name"
            raise errors.make("invalid_option", text, option="consumer", value=consumer)
        lease_ns = None if lease is None else span_ns(lease, "lease")
        return lambda: Snapshot(self._core.take(consumer, lease_ns), consumer, self._bars_of)

    def closed(self, consumer: str = "closed", *, poll: float = 0.002) -> ClosedBars:
        """Closed bars as they come: ``for bars in engine.closed():``, or ``async for``.

        Each turn yields the bars closed since the turn before, with their newest revisions. They
        are acknowledged when the loop comes back for more, and are yielded again, by another
        loop of the same consumer, when it does not. The loop ends when the engine has stopped and
        all is handed out.

        Args:
            consumer: whose place to begin at.
            poll: seconds between looks when there is nothing; a look costs a microsecond.

        Raises:
            EngineError: ``worker_failed``, ``forked``.
        """
        return ClosedBars(self, consumer, poll)

    def _has_ended(self) -> bool:
        return self._core.state == "stopped"

    def _news(self) -> tuple[int, str]:
        """Another one when there may be closed bars to take, or the state is another one."""
        return self._core.closed_rows(), self._core.state

    def view(self) -> View:
        """The open bars of every symbol at one moment; disturbs no consumer.

        Raises:
            EngineError: ``worker_failed``, ``forked``.
        """
        result, watermark = self._core.view()
        return View(self._bars_of(result), watermark_of(watermark))

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
            raise no_such_series("interval", interval, known)
        number = _core.find_symbol(symbol) if isinstance(symbol, str) else symbol_id(symbol)
        if number is None:
            raise no_such_series("symbol", symbol, ())
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
            raise no_such_series("symbol", symbol_names([symbol])[0], ()) from None

    def _number_of(self, name: str) -> int:
        """The number that the rows of an interval of today bear: of equal names, the last."""
        return max(k for k, each in enumerate(self._outputs) if each.name == name)

    def _bars_of(self, result: Result) -> Bars:
        numbers = result["series"][1]
        if len(numbers) and int(numbers.max()) >= len(self._outputs):
            with self._changing:  # what made these rows is being told of in another thread
                pass
        return bars_of(result, tuple(self._outputs), None)
