"""What every peer offers to the runner, and the common form of bars in which all are compared."""

from __future__ import annotations

import importlib
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.workload import Columns

Array = NDArray[Any]
IntervalBars = dict[str, Array]
Bars = dict[str, IntervalBars]
"""Bars by interval text; each a table of the columns below (those that the peer computes)."""

KEY_COLUMNS: Final = ("symbol", "open_time")
# Copied from single trades or counted: two right answers are equal bit for bit.
EXACT_COLUMNS: Final = (
    "open",
    "high",
    "low",
    "close",
    "trade_count",
    "first_trade_id",
    "last_trade_id",
    "first_trade_time",
    "last_trade_time",
)
# Sums of float64: a peer that adds in floating point differs from the exact sum in the last bits.
SUM_COLUMNS: Final = (
    "volume",
    "quote_volume",
    "taker_buy_volume",
    "taker_buy_quote_volume",
)
FLOAT_COLUMNS: Final = frozenset(("open", "high", "low", "close", *SUM_COLUMNS))
ALL_COLUMNS: Final = (*KEY_COLUMNS, *EXACT_COLUMNS, *SUM_COLUMNS)


class PeerUnavailable(Exception):
    """This peer cannot run on this machine; the message says why."""


def need(module: str) -> Any:
    """Import a peer's optional module, or say in a PeerUnavailable that it is not there."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise PeerUnavailable(f"{module} cannot be imported ({error})") from error


class Peer(Protocol):
    """One way to make bars from trades.

    ``run`` alone is timed. ``prepare`` brings the trades into the peer's own form (nothing, when it
    reads NumPy or Arrow columns), ``common`` brings its result into the common form.
    """

    @property
    def name(self) -> str:
        """Short name, without spaces, that chooses the peer on the command line."""
        ...

    @property
    def label(self) -> str:
        """Name in the tables."""
        ...

    @property
    def threads(self) -> tuple[int, ...]:
        """The thread counts that the peer can be held to."""
        ...

    @property
    def rows_max(self) -> int | None:
        """How many trades this peer gets at most, when all would take minutes; else None."""
        ...

    @property
    def missing(self) -> tuple[str, ...]:
        """Columns that this peer does not compute."""
        ...

    @property
    def note(self) -> str:
        """What a reader must know to judge the number."""
        ...

    def version(self) -> str:
        """The version, after a check that it can run; raises PeerUnavailable with the reason."""
        ...

    def prepare(self, columns: Columns, intervals: tuple[str, ...], threads: int) -> Any:
        """The state that ``run`` works on; not timed."""
        ...

    def run(self, state: Any) -> Any:
        """Make all bars and return them in the peer's own form; this is timed."""
        ...

    def common(self, state: Any, result: Any) -> Bars:
        """The result in the common form; not timed."""
        ...


def common_table(columns: dict[str, Any]) -> IntervalBars:
    """Columns as int64 or float64 arrays, in the order and with the names of the common form."""
    return {
        name: np.ascontiguousarray(
            columns[name], dtype=np.float64 if name in FLOAT_COLUMNS else np.int64
        )
        for name in ALL_COLUMNS
        if name in columns
    }
