"""The columns of a result: their names, types and units, and typed access to each."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from klineagg import errors

__all__ = ["COLUMNS", "DTYPES", "Bar", "BarFlag", "ColumnProperties", "freeze"]

DTYPES: Final[Mapping[str, np.dtype[Any]]] = MappingProxyType(
    {
        "symbol": np.dtype("int32"),
        "interval": np.dtype("int16"),
        "open_time": np.dtype("datetime64[ns]"),
        "close_time": np.dtype("datetime64[ns]"),
        "open": np.dtype("float64"),
        "high": np.dtype("float64"),
        "low": np.dtype("float64"),
        "close": np.dtype("float64"),
        "volume": np.dtype("float64"),
        "quote_volume": np.dtype("float64"),
        "trade_count": np.dtype("int64"),
        "taker_buy_volume": np.dtype("float64"),
        "taker_buy_quote_volume": np.dtype("float64"),
        "first_trade_id": np.dtype("int64"),
        "last_trade_id": np.dtype("int64"),
        "first_trade_time": np.dtype("datetime64[ns]"),
        "last_trade_time": np.dtype("datetime64[ns]"),
        "run_length": np.dtype("int32"),
        "revision": np.dtype("int32"),
        "flags": np.dtype("uint16"),
    }
)
"""Type of each column, in the order of the result."""

COLUMNS: Final[tuple[str, ...]] = tuple(DTYPES)


class BarFlag(enum.IntFlag):
    """Bits of the ``flags`` column."""

    CLOSED = 1
    """The watermark has passed the end of the bar: without an amendment it will not change."""
    GAP = 2
    """Nobody traded: flat at the previous close, no volume."""
    GENESIS = 4
    """First bar of a symbol that was given a last price, before anybody traded."""
    PARTIAL = 8
    """The coverage began inside the bar."""
    INCOMPLETE = 16
    """The feed is known to have missed trades in it."""
    REVISED = 32
    """It was changed after it had been closed."""


class Bar(NamedTuple):
    """One row of a result, with the names of its symbol and interval."""

    symbol: str
    interval: str
    open_time: np.datetime64
    close_time: np.datetime64
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float
    trade_count: int
    taker_buy_volume: float
    taker_buy_quote_volume: float
    first_trade_id: int
    last_trade_id: int
    first_trade_time: np.datetime64
    last_trade_time: np.datetime64
    run_length: int
    revision: int
    flags: BarFlag


def freeze(columns: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Read-only views of ``columns`` in the order of the result; nothing is copied.

    Raises:
        ColumnError: ``missing_column``, ``column_type`` or ``column_length``.
    """
    out: dict[str, NDArray[Any]] = {}
    rows = -1
    for name, dtype in DTYPES.items():
        if name not in columns:
            raise errors.make("missing_column", f"there is no column {name!r}", column=name)
        array = columns[name]
        if array.dtype != dtype or array.ndim != 1:
            got = f"{array.dtype} with {array.ndim} dimension(s)"
            text = f"column {name!r} has to be {dtype} with 1 dimension, not {got}"
            raise errors.make("column_type", text, column=name)
        if rows not in (-1, len(array)):
            text = f"column {name!r} has {len(array)} rows, the others have {rows}"
            raise errors.make("column_length", text, column=name)
        rows = len(array)
        if array.flags.writeable:
            array = array.view()
            array.flags.writeable = False
        out[name] = array
    return out


class ColumnProperties:
    """One typed, documented property for each column of a result of ``n`` rows."""

    __slots__ = ("_columns",)
    _columns: dict[str, NDArray[Any]]

    @property
    def symbol(self) -> NDArray[np.int32]:
        """Symbol ids, int32 ``(n,)``; their names are in :attr:`Bars.symbol_table`."""
        return self._columns["symbol"]

    @property
    def interval(self) -> NDArray[np.int16]:
        """Index into :attr:`Bars.intervals`, int16 ``(n,)``."""
        return self._columns["interval"]

    @property
    def open_time(self) -> NDArray[np.datetime64]:
        """Begin of the bar, inclusive, datetime64[ns] ``(n,)``, UTC."""
        return self._columns["open_time"]

    @property
    def close_time(self) -> NDArray[np.datetime64]:
        """End of the bar, exclusive, datetime64[ns] ``(n,)``, UTC."""
        return self._columns["close_time"]

    @property
    def open(self) -> NDArray[np.float64]:
        """Price of the first trade, float64 ``(n,)``, quote currency per unit."""
        return self._columns["open"]

    @property
    def high(self) -> NDArray[np.float64]:
        """Highest price, float64 ``(n,)``, quote currency per unit."""
        return self._columns["high"]

    @property
    def low(self) -> NDArray[np.float64]:
        """Lowest price, float64 ``(n,)``, quote currency per unit."""
        return self._columns["low"]

    @property
    def close(self) -> NDArray[np.float64]:
        """Price of the last trade, float64 ``(n,)``, quote currency per unit."""
        return self._columns["close"]

    @property
    def volume(self) -> NDArray[np.float64]:
        """Correctly rounded sum of the quantities, float64 ``(n,)``, base units."""
        return self._columns["volume"]

    @property
    def quote_volume(self) -> NDArray[np.float64]:
        """Correctly rounded sum of price x quantity, float64 ``(n,)``, quote currency."""
        return self._columns["quote_volume"]

    @property
    def trade_count(self) -> NDArray[np.int64]:
        """Number of trades, int64 ``(n,)``; an aggregated trade counts as all of its trades."""
        return self._columns["trade_count"]

    @property
    def taker_buy_volume(self) -> NDArray[np.float64]:
        """Part of ``volume`` in which the taker bought, float64 ``(n,)``, base units."""
        return self._columns["taker_buy_volume"]

    @property
    def taker_buy_quote_volume(self) -> NDArray[np.float64]:
        """Part of ``quote_volume`` in which the taker bought, float64 ``(n,)``, quote currency."""
        return self._columns["taker_buy_quote_volume"]

    @property
    def first_trade_id(self) -> NDArray[np.int64]:
        """Id of the first trade, int64 ``(n,)``; -1 when there is none."""
        return self._columns["first_trade_id"]

    @property
    def last_trade_id(self) -> NDArray[np.int64]:
        """Id of the last trade, int64 ``(n,)``; -1 when there is none."""
        return self._columns["last_trade_id"]

    @property
    def first_trade_time(self) -> NDArray[np.datetime64]:
        """Time of the first trade, datetime64[ns] ``(n,)``, UTC; NaT when there is none."""
        return self._columns["first_trade_time"]

    @property
    def last_trade_time(self) -> NDArray[np.datetime64]:
        """Time of the last trade, datetime64[ns] ``(n,)``, UTC; NaT when there is none."""
        return self._columns["last_trade_time"]

    @property
    def run_length(self) -> NDArray[np.int32]:
        """Number of bars that the row stands for, int32 ``(n,)``; above 1 for a run of gaps."""
        return self._columns["run_length"]

    @property
    def revision(self) -> NDArray[np.int32]:
        """How often the bar was changed after it had been closed, int32 ``(n,)``."""
        return self._columns["revision"]

    @property
    def flags(self) -> NDArray[np.uint16]:
        """Bits of :class:`BarFlag`, uint16 ``(n,)``."""
        return self._columns["flags"]

    def _has(self, flag: BarFlag) -> NDArray[np.bool_]:
        flags: NDArray[np.uint16] = self._columns["flags"]
        out: NDArray[np.bool_] = (flags & np.uint16(flag)) != 0
        return out

    @property
    def is_closed(self) -> NDArray[np.bool_]:
        """Bars that are final, bool ``(n,)``."""
        return self._has(BarFlag.CLOSED)

    @property
    def is_gap(self) -> NDArray[np.bool_]:
        """Bars in which nobody traded, bool ``(n,)``."""
        return self._has(BarFlag.GAP)

    @property
    def is_genesis(self) -> NDArray[np.bool_]:
        """Bars that hold only a last price given by the caller, bool ``(n,)``."""
        return self._has(BarFlag.GENESIS)

    @property
    def is_partial(self) -> NDArray[np.bool_]:
        """Bars in which the coverage began, bool ``(n,)``."""
        return self._has(BarFlag.PARTIAL)

    @property
    def is_incomplete(self) -> NDArray[np.bool_]:
        """Bars of which the feed missed trades, bool ``(n,)``."""
        return self._has(BarFlag.INCOMPLETE)

    @property
    def is_revised(self) -> NDArray[np.bool_]:
        """Bars that were changed after they had been closed, bool ``(n,)``."""
        return self._has(BarFlag.REVISED)
