"""Which series a picture shows when the caller did not say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from klineagg import errors

if TYPE_CHECKING:
    from klineagg.bars import Bars

__all__ = ["pick_series"]


def pick_series(
    bars: Bars, symbol: str | int | None, interval: str | None, legible: int
) -> tuple[str, str, Bars]:
    """One series of ``bars``.

    Without a symbol the one with the most trades; without an interval the finest one that has at
    most ``legible`` bars of that symbol, else the one with the fewest.

    Returns:
        Names of its symbol and interval, and its rows.

    Raises:
        ResultError: ``no_such_series``, also when there are no bars at all.
    """
    if symbol is not None:
        bars = bars[symbol, :]
    if interval is not None:
        bars = bars[:, interval]
    if not len(bars):
        raise errors.make("no_such_series", "there are no bars to show", hint="the result is empty")
    if symbol is None:
        ids, where = np.unique(bars.symbol, return_inverse=True)
        trades = np.bincount(where, weights=bars.trade_count)
        bars = bars[int(ids[int(np.argmax(trades))]), :]
    lengths = {name: int(part.run_length.sum(dtype=np.int64)) for _, name, part in bars.series()}
    fitting = {name: length for name, length in lengths.items() if length <= legible}
    chosen = max(fitting, key=fitting.__getitem__, default=None)
    if chosen is None:
        chosen = min(lengths, key=lengths.__getitem__)
    bars = bars[:, chosen]
    return bars._row_symbols()[0], chosen, bars
