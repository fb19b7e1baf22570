"""Trades as users have them: arrays, mappings, data frames, Arrow data, and iterables of those."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from klineagg import errors
from klineagg._columns_data import Column, ConstantColumn, NumpyColumn
from klineagg._columns_read import arrow_of, column_of, is_scalar

__all__ = ["Source", "sources"]

ROWS_PER_GROUP: Final = 4096
"""How many single-row mappings of an iterable are put together."""


@dataclass(frozen=True, slots=True)
class Source:
    """A table of the input.

    Attributes:
        names: the names of its columns.
        pieces: gives the columns at some positions, equally long, in one or several batches.
    """

    names: tuple[str, ...]
    pieces: Callable[[Sequence[int]], Iterator[list[Column]]]


def sources(trades: Any) -> Iterator[Source]:
    """The tables in ``trades``, in order.

    Raises:
        ColumnError: ``unsupported_input``, ``column_type``, ``column_length``.
        FileError: ``stream_failed`` when the producer of Arrow data fails.
    """
    single = _table(trades)
    if single is not None:
        yield single
    elif isinstance(trades, Iterable) and not isinstance(trades, (str, bytes, np.ndarray)):
        yield from _batches(trades)
    else:
        raise _unsupported(trades)


def _batches(trades: Iterable[Any]) -> Iterator[Source]:
    rows: list[Mapping[str, Any]] = []
    for item in trades:
        is_row = isinstance(item, Mapping) and bool(item) and all(map(is_scalar, item.values()))
        if rows and (not is_row or len(rows) >= ROWS_PER_GROUP or item.keys() != rows[0].keys()):
            yield _grouped(rows)
            rows = []
        if is_row:
            rows.append(item)
            continue
        table = _table(item)
        if table is None:
            raise _unsupported(item, "an element of the iterable")
        yield table
    if rows:
        yield _grouped(rows)


def _grouped(rows: Sequence[Mapping[str, Any]]) -> Source:
    """Trades that came as one mapping each: a call into the core for each would be slow."""
    return _from_mapping({name: [row[name] for row in rows] for name in rows[0]})


def _table(trades: Any) -> Source | None:
    if isinstance(trades, np.ndarray):
        return _from_structured(trades)
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(trades, pandas.DataFrame):
        return _from_pandas(trades)
    trades = arrow_of(trades)
    if hasattr(trades, "__arrow_c_stream__"):
        return _from_arrow(trades.__arrow_c_stream__(), trades)
    if hasattr(trades, "__arrow_c_array__"):
        return _from_arrow(trades.__arrow_c_array__(), trades)
    if type(trades).__name__ == "PyCapsule":
        return _from_arrow(trades, trades)
    if isinstance(trades, Mapping):
        return _from_mapping(trades)
    return None


def _from_structured(array: Any) -> Source:
    names = array.dtype.names
    if names is None or array.ndim != 1:
        shape = f"a NumPy array of {array.dtype} and shape {array.shape}"
        raise _unsupported(array, shape)

    def pieces(positions: Sequence[int]) -> Iterator[list[Column]]:
        yield [part for place in positions for part in column_of(names[place], array[names[place]])]

    return Source(tuple(names), pieces)


def _from_pandas(frame: Any) -> Source:
    """Column by column: what is not used is not converted, and NumPy memory is used as it is."""
    names = [name if isinstance(name, str) else str(name) for name in frame.columns]
    index: list[Any] = []
    if type(frame.index).__name__ != "RangeIndex":
        levels = range(frame.index.nlevels)
        index = [frame.index.get_level_values(level) for level in levels]
        names += [
            str(name) if name is not None else f"__index_level_{level}__"
            for level, name in enumerate(frame.index.names)
        ]
    width = len(frame.columns)

    def pieces(positions: Sequence[int]) -> Iterator[list[Column]]:
        parts = [
            column_of(names[place], frame.iloc[:, place] if place < width else index[place - width])
            for place in positions
        ]
        yield from _aligned(parts)

    return Source(tuple(names), pieces)


def _from_arrow(capsule: Any, trades: Any) -> Source:
    from klineagg import _core

    reader = _core.read_arrow(capsule)
    if not reader.is_table:
        raise _unsupported(trades, f"Arrow data of type {reader.type}, which has no columns,")

    def pieces(positions: Sequence[int]) -> Iterator[list[Column]]:
        for batch in reader:
            yield [batch[place] for place in positions]

    return Source(tuple(reader.names), pieces)


def _from_mapping(trades: Mapping[Any, Any]) -> Source:
    names = tuple(key for key in trades if isinstance(key, str))

    def pieces(positions: Sequence[int]) -> Iterator[list[Column]]:
        data = [(names[place], trades[names[place]]) for place in positions]
        single = all(is_scalar(value) for _, value in data)
        parts: list[list[Column]] = []
        for name, value in data:
            if single:
                parts.append(column_of(name, [value]))
            elif is_scalar(value):
                parts.append([ConstantColumn(name, value, -1)])
            else:
                parts.append(column_of(name, value))
        yield from _aligned(parts)

    return Source(names, pieces)


def _aligned(columns: Sequence[list[Column]]) -> Iterator[list[Column]]:
    """The columns cut where any of them has a border between chunks."""
    lengths = {_name(pieces): _rows(pieces) for pieces in columns if not _is_constant(pieces)}
    if len(set(lengths.values())) > 1:
        text = ", ".join(f"{name!r} has {rows}" for name, rows in lengths.items())
        raise errors.make("column_length", f"the columns differ in length: {text}", rows=lengths)
    borders = {0}
    for pieces in columns:
        end = 0
        for piece in [] if _is_constant(pieces) else pieces:
            end += len(piece)
            borders.add(end)
    edges = sorted(borders)
    if len(edges) == 1:
        edges = [0, 0]  # no rows, but types that can be checked
    for start, stop in zip(edges, edges[1:], strict=False):
        yield [_part(pieces, start, stop) for pieces in columns]


def _part(pieces: list[Column], start: int, stop: int) -> Column:
    first = pieces[0]
    if isinstance(first, ConstantColumn):
        return ConstantColumn(first.name, first.value, stop - start)
    begin = 0
    for piece in pieces:
        if begin <= start and stop <= begin + len(piece):
            if len(piece) == stop - start:
                return piece
            return piece.slice(start - begin, stop - begin)
        begin += len(piece)
    return NumpyColumn(first.name, np.empty(0, np.int8), np.empty(0, np.bool_))


def _is_constant(pieces: Sequence[Column]) -> bool:
    return isinstance(pieces[0], ConstantColumn)


def _name(pieces: Sequence[Column]) -> str:
    return pieces[0].name


def _rows(pieces: Sequence[Column]) -> int:
    return sum(map(len, pieces))


def _unsupported(trades: Any, what: str | None = None) -> errors.KlineaggError:
    kind = f"{type(trades).__module__}.{type(trades).__qualname__}"
    name = what if what is not None else f"an object of type {kind}"
    hint = None
    if hasattr(trades, "collect"):
        hint = "call .collect() first: a lazy frame has no data"
    elif "DuckDBPyConnection" in kind:  # what execute() returns
        hint = "pass connection.sql(query), or the Arrow table of the result"
    elif isinstance(trades, (str, os.PathLike)):
        hint = "klineagg.io.read_trades(path) reads files of trades"
    text = f"{name} is no table of trades"
    if what is not None and kind not in what:
        text += f" (it is of type {kind})"
    return errors.make("unsupported_input", text, hint=hint, type=kind)
