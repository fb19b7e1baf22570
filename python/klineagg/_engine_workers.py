"""Symbols and the workers that own them, both of which come and go while trades flow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from klineagg import _core, errors
from klineagg._engine_options import WORKERS_MAX, span_ns, symbol_id
from klineagg._options import check_bool, invalid, is_integer

__all__ = ["Workers"]


class Workers:
    """The part of :class:`klineagg.Engine` that moves symbols between workers."""

    _core: _core.Engine

    @property
    def workers(self) -> int:
        """How many workers there are."""
        return self._core.worker_count()

    def rebalance(self) -> int:
        """Moves symbols so that the workers' loads since the last time are as even as can be.

        Trades go on meanwhile, and no bar changes by it.

        Returns:
            How many symbols moved.

        Raises:
            EngineError: ``engine_state`` when a producer does not come to rest within a second;
                nothing has moved then.
        """
        return self._core.rebalance()

    def move(self, symbols: Mapping[str | int, int], *, timeout: Any = "1s") -> int:
        """Gives symbols to workers by number, as :meth:`rebalance` does by load.

        Returns:
            How many moved; unknown symbols are left out.

        Raises:
            OptionError: ``invalid_option``, also for a worker that is not there.
            EngineError: ``engine_state``, as in :meth:`rebalance`.
        """
        if not isinstance(symbols, Mapping):
            raise invalid("symbols", symbols, "a mapping of symbols to numbers of workers")
        pairs = []
        for symbol, worker in symbols.items():
            pairs.append((symbol_id(symbol), self._number(worker)))
        return self._core.move(pairs, span_ns(timeout, "timeout"))

    def resize(self, workers: int, *, timeout: Any = "1s") -> None:
        """Changes the number of workers, 1 to 64.

        The symbols of those that go are shared out among the others, and some go to those that
        come. Trades go on meanwhile, and no bar changes by it.

        Raises:
            OptionError: ``invalid_option``; then, and after the next, nothing has changed.
            EngineError: ``engine_state``, as in :meth:`rebalance`.
        """
        if not is_integer(workers) or not 1 <= workers <= WORKERS_MAX:
            text = f"workers={workers!r} is not an integer in 1 ... {WORKERS_MAX}"
            raise errors.make("invalid_option", text, option="workers", value=workers)
        self._core.resize(int(workers), span_ns(timeout, "timeout"))

    def rebuild(self, worker: int, *, timeout: Any = "1s") -> None:
        """Puts a new thread with new tables in the place of a worker.

        Raises:
            OptionError: ``invalid_option`` for a worker that is not there.
            EngineError: ``engine_state``, as in :meth:`rebalance`.
        """
        self._core.rebuild(self._number(worker), span_ns(timeout, "timeout"))

    def remove_symbol(
        self, symbol: str | int, *, open_bars_too: bool = False, timeout: Any = "1s"
    ) -> str:
        """Forgets a symbol; its closed bars can still be taken.

        Args:
            symbol: name or id.
            open_bars_too: forget it though it has open bars, which are lost.
            timeout: for producers to come to rest.

        Returns:
            ``"removed"``, or why it was not: ``"unknown"``, ``"in_flight"`` (some of its trades
            are on their way), ``"open_bars"``.

        Raises:
            OptionError: ``invalid_option``.
            EngineError: ``engine_state``, as in :meth:`rebalance`.
        """
        too = check_bool(open_bars_too, "open_bars_too")
        return self._core.remove_symbol(symbol_id(symbol), too, span_ns(timeout, "timeout"))

    def _number(self, worker: int) -> int:
        if not is_integer(worker) or not 0 <= worker < self.workers:
            text = f"there is no worker {worker!r}"
            raise errors.make("invalid_option", text, option="worker", value=worker)
        return int(worker)
