"""Tables on their way into the core and out of it; nothing is copied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from klineagg._bars_index import SeriesIndex
from klineagg._options import TIME_MAX_NS, TIME_MIN_NS
from klineagg.bars import Bars
from klineagg.columns import TradeChunk
from klineagg.report import Report
from klineagg.symbols import names_later

if TYPE_CHECKING:
    from klineagg._core import Result, TradeColumns

__all__ = ["PARTIAL_DTYPE", "bars_of", "core_columns", "time_range"]

PARTIAL_DTYPE: Final = np.dtype(
    {
        "names": [
            "close_time", "high", "low", "close", "last_time", "last_key_id", "last_id",
            "trade_count", "sums_hi", "sums_lo", "open_time", "open", "first_time", "first_id",
            "run_length", "revision", "flags", "version", "sum_form", "keys_split",
            "open_key_time", "open_key_id", "close_key_time", "close_key_id", "sums_rest",
        ],
        "formats": [
            "<i8", "<f8", "<f8", "<f8", "<i8", "<i8", "<i8",
            "<i8", ("<f8", 4), ("<f8", 4), "<i8", "<f8", "<i8", "<i8",
            "<i4", "<i4", "<u2", "<u2", "u1", "u1",
            "<i8", "<i8", "<i8", "<i8", ("<u8", 12),
        ],
        "offsets": [
            0, 8, 16, 24, 32, 40, 48,
            56, 64, 96, 128, 136, 144, 152,
            160, 164, 168, 170, 172, 173,
            176, 184, 192, 200, 208,
        ],
        "itemsize": 320,
    }
)  # fmt: skip
"""The layout of a partial bar (version 2): a bar that can still be merged exactly.

``sums_hi + sums_lo`` are the exact sums (volume, quote volume and their taker-buy parts) while
``sum_form`` is 0; else ``sums_hi``, ``sums_lo`` and ``sums_rest`` hold four 320-bit integers in
units of 2**-152. Equal bars have equal bytes.
"""


def time_range(chunk: TradeChunk) -> tuple[int, ...]:
    """The first and last good time of a chunk in ns; bad ones are found by the core."""
    unit = chunk.time_scale
    time = chunk.time
    low, high = int(time.min()), int(time.max())
    if low < TIME_MIN_NS // unit or high > TIME_MAX_NS // unit:
        time = time[(time >= TIME_MIN_NS // unit) & (time <= TIME_MAX_NS // unit)]
        if not len(time):
            return ()
        low, high = int(time.min()), int(time.max())
    return low * unit, high * unit


def core_columns(chunk: TradeChunk) -> TradeColumns:
    """The columns of a chunk of trades."""
    return {
        "symbol": chunk.symbol,
        "time": chunk.time,
        "price": chunk.price,
        "quantity": chunk.quantity,
        "side": chunk.side,
        "trade_id": chunk.trade_id,
        "last_trade_id": chunk.last_trade_id,
        "flags": chunk.flags,
        "time_scale": chunk.time_scale,
        "side_is_maker": chunk.side_rule == "maker",
    }


def bars_of(result: Result, names: Sequence[Any], report: Report | None) -> Bars:
    """A table of the core; ``names``: the intervals, or their names, by number."""
    symbol, interval, begin, end = result["series"]
    partials = result["partials"]
    return Bars(
        result["columns"],
        symbols=names_later(symbol),
        intervals=names,
        series=SeriesIndex(interval, symbol, (begin, end)),
        report=report,
        partials=None if partials is None else partials.view(PARTIAL_DTYPE),
    )
