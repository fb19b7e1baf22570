"""Putting results together: names aligned, rows in the order of a result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from klineagg import errors
from klineagg._bars_columns import COLUMNS, DTYPES
from klineagg._bars_index import SeriesIndex, ranges
from klineagg._distinct import distinct, is_among

if TYPE_CHECKING:
    from klineagg.bars import Bars

__all__ = ["concat_columns", "only_bars", "sorted_rows", "with_symbols"]


def only_bars(results: Sequence[object], hint: str) -> None:
    """Refuses what is no result, before it is asked for columns that it does not have."""
    from klineagg.bars import Bars

    for result in results:
        if not isinstance(result, Bars):
            kind = type(result).__name__
            raise errors.make("unsupported_input", f"a {kind} is no Bars", hint=hint, type=kind)


def sorted_rows(
    interval: NDArray[np.int16], symbol: NDArray[np.int32], open_time: NDArray[np.datetime64]
) -> NDArray[np.int64] | None:
    """Positions that bring rows into the order of a result, stable; None when they are in it.

    Sorting millions of rows by three columns takes long, but results are made of few sorted
    stretches: whole series are moved, and only those are sorted that are not in order then.
    """
    index = SeriesIndex.of(interval, symbol)
    time_ns = open_time.view(np.int64)
    if index.in_order:
        # The usual case: time falls only where another series begins.
        falls = np.flatnonzero(time_ns[1:] < time_ns[:-1]) + 1
        if is_among(falls, index.offsets).all():
            return None
    by_key = np.argsort(index.keys, kind="stable")
    rows = ranges(index.offsets[:-1][by_key], index.offsets[1:][by_key])
    keys, times = index.keys[by_key], time_ns[rows]
    lengths = np.diff(index.offsets)[by_key]
    row_keys = np.repeat(keys, lengths)
    falls = (times[1:] < times[:-1]) & (row_keys[1:] == row_keys[:-1])
    if np.any(falls):
        wrong = is_among(row_keys, distinct(row_keys[1:][falls]))
        at = np.flatnonzero(wrong)
        rows[at] = rows[at][np.lexsort((times[at], row_keys[at]))]
    return rows


def _common_intervals(parts: Sequence[Bars]) -> tuple[list[str], dict[str, Any]]:
    """Names in the order of the first part that has them, and the intervals behind the names."""
    known: dict[str, Any] = {}
    for part in parts:
        for name, interval in zip(part.intervals, part._interval_objects, strict=True):
            known[name] = interval if known.get(name) is None else known[name]
    return list(known), known


def _common_symbols(parts: Sequence[Bars]) -> tuple[dict[int, str], list[dict[int, int]]]:
    """Names of the ids of all parts, and for each part the ids that have to change.

    Ids are the same within a process. Parts from another one may use the same id for another name;
    then the names decide, and get the ids of this process.
    """
    tables = [dict(zip(*part._present_symbols(), strict=True)) for part in parts]
    names: dict[int, str] = {}
    ids: dict[str, int] = {}
    agreed = True
    for table in tables:
        for symbol, name in table.items():
            agreed &= names.setdefault(symbol, name) == name
            agreed &= ids.setdefault(name, symbol) == symbol
    if agreed:
        return names, [{} for _ in parts]
    from klineagg.symbols import intern

    unique = list(ids)
    new_ids = dict(zip(unique, intern(unique).tolist(), strict=True))
    changes = [
        {old: new_ids[name] for old, name in table.items() if new_ids[name] != old}
        for table in tables
    ]
    return {symbol: name for name, symbol in new_ids.items()}, changes


def _renamed(codes: NDArray[Any], changes: dict[int, int]) -> NDArray[Any]:
    """Codes with some of them replaced."""
    if not changes:
        return codes
    old, inverse = np.unique(codes, return_inverse=True)
    new = np.array([changes.get(code, code) for code in old.tolist()], codes.dtype)
    return new[inverse]


def with_symbols(
    bars: Bars, new_ids: dict[int, int]
) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64] | None]:
    """The columns of ``bars`` with other symbol ids, in order, and the positions of the rows."""
    columns = {name: bars.column(name) for name in COLUMNS}
    columns["symbol"] = _renamed(columns["symbol"], new_ids)
    rows = sorted_rows(columns["interval"], columns["symbol"], columns["open_time"])
    if rows is not None:
        columns = {name: column[rows] for name, column in columns.items()}
    return columns, rows


def concat_columns(
    parts: Sequence[Bars],
) -> tuple[dict[str, NDArray[Any]], dict[int, str], dict[str, Any], NDArray[np.int64] | None]:
    """The columns of all parts in the order of a result.

    Returns:
        The columns, the names of the symbols, the intervals by name, and for each row its position
        in the parts laid end to end (None when that order was kept).
    """
    interval_names, intervals = _common_intervals(parts)
    symbols, symbol_changes = _common_symbols(parts)
    position = {name: k for k, name in enumerate(interval_names)}
    interval_changes = [
        {k: position[text] for k, text in enumerate(part.intervals) if position[text] != k}
        for part in parts
    ]

    def joined(name: str) -> NDArray[Any]:
        pieces = [part.column(name) for part in parts]
        if name in ("symbol", "interval"):
            changes = symbol_changes if name == "symbol" else interval_changes
            pieces = [_renamed(*one) for one in zip(pieces, changes, strict=True)]
        return np.concatenate(pieces) if pieces else np.empty(0, DTYPES[name])

    rows = sorted_rows(joined("interval"), joined("symbol"), joined("open_time"))
    # One column at a time: all of them joined and then sorted would take the memory twice.
    columns = {name: joined(name) if rows is None else joined(name)[rows] for name in COLUMNS}
    return columns, symbols, intervals, rows
