"""Trades as columns, and what they have to become."""

from __future__ import annotations

from typing import Any

import numpy as np

from klineagg.columns import TradeChunk, iter_chunks

START = 1_600_000_000 * 10**9


def columns(rows: int = 5) -> dict[str, Any]:
    return {
        "symbol": np.arange(rows, dtype=np.int32),
        "time": START + np.arange(rows, dtype=np.int64),
        "price": 100.0 + np.arange(rows),
        "quantity": 1.0 + np.arange(rows),
        "side": np.resize(np.array([1, -1, 0], np.int8), rows),
        "trade_id": 10 + np.arange(rows, dtype=np.int64),
    }


def only(trades: Any, **options: Any) -> TradeChunk:
    (chunk,) = list(iter_chunks(trades, **options))
    return chunk


def check(chunk: TradeChunk, rows: int = 5) -> None:
    expected = columns(rows)
    assert chunk.time_scale == 1
    assert chunk.side_rule == "sign"
    for name, values in expected.items():
        got = getattr(chunk, name)
        assert (got.dtype, got.tolist()) == (values.dtype, values.tolist()), name
    assert chunk.last_trade_id is None
    assert chunk.flags is None
    assert len(chunk) == rows
