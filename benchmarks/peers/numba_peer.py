"""A loop by hand, compiled by numba: what a careful user writes for speed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from benchmarks.peer import Array, Bars, PeerUnavailable, common_table, need
from benchmarks.workload import DAY_SECONDS, Columns, cache_dir, interval_ns

_REAL_NAMES: Final = (
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "taker_buy_volume",
    "taker_buy_quote_volume",
)
_WHOLE_NAMES: Final = (
    "symbol",
    "open_time",
    "trade_count",
    "first_trade_id",
    "last_trade_id",
    "first_trade_time",
    "last_trade_time",
)


@dataclass(frozen=True)
class _State:
    loop: Any
    columns: Columns
    intervals: tuple[str, ...]


@dataclass(frozen=True)
class _Result:
    reals: Array
    wholes: Array
    starts: Array
    used: Array


class NumbaPeer:
    """Trades into the finest interval, closed bars merged upwards; plain float64 sums."""

    name = "numba"
    label = "numba, a loop by hand with roll-up"
    threads = (1,)
    rows_max = None
    missing: tuple[str, ...] = ()
    note = "compiled before the clock starts; plain float64 sums, no checks of its input"

    def version(self) -> str:
        return str(need("numba").__version__)

    def prepare(self, columns: Columns, intervals: tuple[str, ...], threads: int) -> _State:
        lengths = [interval_ns(text) for text in intervals]
        if any(b % a for a, b in zip(lengths, lengths[1:], strict=False)):
            raise PeerUnavailable("the loop by hand rolls up a chain of intervals only")
        # Before the import: numba reads it once. Compiled code stays out of the source tree.
        os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_dir() / "numba"))
        from benchmarks.peers.numba_loop import loop

        return _State(loop, columns, intervals)

    def run(self, state: _State) -> _Result:
        from benchmarks.peers import numba_loop as layout

        trades = tuple(state.columns[name] for name in _INPUT)
        symbols = int(trades[0].max()) + 1
        lengths = np.array([interval_ns(text) for text in state.intervals], dtype=np.int64)
        # No more bars than trades, and no more than the day has room for: memory that is reserved
        # but never written costs nothing.
        day_ns = DAY_SECONDS * 1_000_000_000
        capacity = np.minimum(trades[0].size, symbols * (day_ns // lengths + 2))
        starts = np.concatenate([[0], np.cumsum(capacity)]).astype(np.int64)
        used = starts[:-1].copy()
        reals = np.empty((int(starts[-1]), layout.REALS), dtype=np.float64)
        wholes = np.empty((int(starts[-1]), layout.WHOLES), dtype=np.int64)
        real = np.zeros((symbols * lengths.size, layout.REALS), dtype=np.float64)
        whole = np.zeros((symbols * lengths.size, layout.WHOLES), dtype=np.int64)
        state.loop(trades, real, whole, lengths, (reals, wholes, used))
        return _Result(reals, wholes, starts, used)

    def common(self, state: _State, result: _Result) -> Bars:
        bars: Bars = {}
        for level, text in enumerate(state.intervals):
            rows = slice(int(result.starts[level]), int(result.used[level]))
            table = {name: result.reals[rows, k] for k, name in enumerate(_REAL_NAMES)}
            table |= {name: result.wholes[rows, k] for k, name in enumerate(_WHOLE_NAMES)}
            bars[text] = common_table(table)
        return bars


_INPUT: Final = ("symbol", "time", "price", "quantity", "side", "trade_id")
