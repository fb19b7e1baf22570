"""Trades of unsorted files in order, in memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from klineagg.columns import TradeChunk, iter_chunks

__all__ = ["sorted_trades"]

_NAT: Final = np.iinfo(np.int64).min


def sorted_trades(batches: Iterable[Any]) -> dict[str, NDArray[Any]]:
    """All trades of ``batches`` by time, then id, then their order of arrival.

    Where time only ever falls, as in dumps that begin with the newest trade, the order of arrival
    is turned around first: trades of one stamp stand in reverse there as well.

    Args:
        batches: chunks that :func:`klineagg.aggregate` takes.

    Returns:
        Columns ``symbol`` int32, ``time`` datetime64[ns], ``price``, ``quantity`` float64, and
        where any chunk has them ``side`` int8, ``trade_id`` (or ``first_trade_id`` and
        ``last_trade_id``) int64, ``flags`` uint8; all ``(n,)``.
    """
    parts = [_plain(chunk) for chunk in iter_chunks(batches)]
    names = list(dict.fromkeys(name for part in parts for name in part))
    columns = {
        name: np.concatenate(
            [part[name] if name in part else _missing(name, len(part["time"])) for part in parts]
        )
        for name in names
    }
    if not columns:
        return {
            "symbol": np.empty(0, np.int32),
            "time": np.empty(0, "datetime64[ns]"),
            "price": np.empty(0),
            "quantity": np.empty(0),
        }
    time = columns["time"].view(np.int64)
    if _falls(time, columns["symbol"]):
        columns = {name: column[::-1] for name, column in columns.items()}
        time = columns["time"].view(np.int64)
    ids = columns.get("trade_id", columns.get("first_trade_id"))
    keys = (time,) if ids is None else (ids, time)
    order = np.lexsort(keys)
    return {name: column[order] for name, column in columns.items()}


def _falls(time: NDArray[np.int64], symbol: NDArray[np.int32]) -> bool:
    """Whether time never rises within a symbol, and falls somewhere."""
    by_symbol = np.argsort(symbol, kind="stable")
    steps = np.diff(time[by_symbol])[np.diff(symbol[by_symbol]) == 0]
    return bool(len(steps)) and bool(np.all(steps <= 0)) and bool(np.any(steps < 0))


def _plain(chunk: TradeChunk) -> dict[str, NDArray[Any]]:
    """The columns of a chunk in one form, whatever the form of the input was."""
    limit = np.iinfo(np.int64).max // chunk.time_scale
    inside = np.abs(chunk.time) <= limit
    # What does not fit is a bad time either way; it must not wrap around to a good one.
    time = np.where(inside, np.where(inside, chunk.time, 0) * chunk.time_scale, _NAT)
    columns: dict[str, NDArray[Any]] = {
        "symbol": np.asarray(chunk.symbol),
        "time": time.view("datetime64[ns]"),
        "price": chunk.price,
        "quantity": chunk.quantity,
    }
    if chunk.side is not None:
        if chunk.side_rule == "maker":
            columns["side"] = np.where(chunk.side != 0, -1, 1).astype(np.int8)
        elif chunk.side.dtype == np.bool_:
            columns["side"] = np.where(chunk.side, 1, -1).astype(np.int8)
        else:
            columns["side"] = chunk.side.astype(np.int8)
    if chunk.last_trade_id is not None and chunk.trade_id is not None:
        columns["first_trade_id"] = chunk.trade_id
        columns["last_trade_id"] = chunk.last_trade_id
    elif chunk.trade_id is not None:
        columns["trade_id"] = chunk.trade_id
    if chunk.flags is not None:
        columns["flags"] = chunk.flags
    return columns


def _missing(name: str, rows: int) -> NDArray[Any]:
    """What stands for a column that a chunk does not have."""
    if name.endswith("_id"):
        return np.full(rows, -1, np.int64)
    return np.zeros(rows, np.uint8 if name == "flags" else np.int8)
