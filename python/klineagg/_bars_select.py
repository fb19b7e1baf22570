"""What ``bars[...]`` means: from a key to rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from klineagg import errors
from klineagg._bars_index import SeriesIndex, no_such_series
from klineagg._distinct import is_among

if TYPE_CHECKING:
    from klineagg.bars import Bars

__all__ = ["rows_of", "series_rows"]

Rows = slice | NDArray[Any]


def rows_of(bars: Bars, key: Any) -> tuple[Rows, SeriesIndex | None]:
    """The rows that ``bars[key]`` stands for, and their index when it is known already.

    Raises:
        ResultError: ``no_such_series``.
        OptionError: ``invalid_option`` for what is no key.
    """
    if isinstance(key, slice):
        return key, None
    if isinstance(key, tuple):
        if len(key) != 2:
            raise _no_key(key)
        return _series_rows(bars, *key)
    if isinstance(key, str):
        return _series_rows(bars, key, slice(None))
    if isinstance(key, (list, np.ndarray)):
        if len(key) and isinstance(key[0], str):
            return _series_rows(bars, list(key), slice(None))
        array = np.asarray(key) if len(key) else np.empty(0, np.int64)
        if array.ndim == 1 and array.dtype.kind in "iu":
            return array, None
        if array.ndim == 1 and array.dtype.kind == "b":
            if len(array) != len(bars):
                text = f"a mask of {len(array)} values for {len(bars)} rows"
                raise errors.make("invalid_option", text, hint="give one value for each row")
            return array, None
    raise _no_key(key)


def _no_key(key: Any) -> errors.KlineaggError:
    text = f"{key!r} does not say which bars"
    hint = "use bars['BTCUSDT', '1m'], bars[:, '1m'], bars[10:20], or a mask"
    return errors.make("invalid_option", text, hint=hint)


def series_rows(index: SeriesIndex, stretches: NDArray[np.intp]) -> tuple[Rows, SeriesIndex | None]:
    """Rows of whole stretches and, for a single one, their index."""
    rows = index.rows(stretches)
    if len(stretches) != 1:
        return rows, None
    k = int(stretches[0])
    length = index.offsets[k + 1] - index.offsets[k]
    one = SeriesIndex(index.interval[k : k + 1], index.symbol[k : k + 1], np.array([0, length]))
    return rows, one


def _series_rows(bars: Bars, symbol: Any, interval: Any) -> tuple[Rows, SeriesIndex | None]:
    index = bars._series_index
    spans = None if _is_all(interval) else [_position(bars, one) for one in _each(interval)]
    symbols = None if _is_all(symbol) else [_symbol_id(bars, one) for one in _each(symbol)]
    if symbols is not None and spans is not None and len(symbols) == len(spans) == 1:
        stretches = index.find(spans[0], symbols[0])
        if len(stretches):
            return series_rows(index, stretches)
    for given, found in zip(_each(symbol), symbols or (), strict=False):
        # Looked up in all series only now, so that a loop over many series stays fast.
        if not np.any(index.symbol == found):
            raise no_such_series("symbol", given, bars.symbols)
    chosen = np.ones(len(index), np.bool_)
    if symbols is not None:
        chosen &= is_among(index.symbol, symbols)
    if spans is not None:
        chosen &= is_among(index.interval, spans)
    return series_rows(index, np.flatnonzero(chosen))


def _is_all(key: Any) -> bool:
    return isinstance(key, slice) and key == slice(None)


def _each(key: Any) -> list[Any]:
    return list(key) if isinstance(key, (list, tuple, np.ndarray)) else [key]


def _symbol_id(bars: Bars, symbol: Any) -> int:
    """The id of a symbol, given by its name or as it is."""
    if isinstance(symbol, (int, np.integer)) and not isinstance(symbol, bool):
        return int(symbol)
    if not isinstance(symbol, str):
        raise _no_key(symbol)
    found = bars._table.find(symbol)
    if found is None:
        raise no_such_series("symbol", symbol, bars.symbols)
    return found


def _position(bars: Bars, interval: Any) -> int:
    """The position of an interval, given by its name or by itself."""
    name = interval if isinstance(interval, str) else getattr(interval, "name", None)
    if not isinstance(name, str):
        raise _no_key(interval)
    if name not in bars.intervals:
        raise no_such_series("interval", name, bars.intervals)
    return bars.intervals.index(name)
