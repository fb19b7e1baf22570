"""Coarser bars out of finer ones, by the core's own rules."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from klineagg import _core
from klineagg._bars_columns import COLUMNS
from klineagg.bars import Bars
from klineagg.intervals import Interval

__all__ = ["rolled"]


def rolled(
    finer: Bars, interval: Interval, opens: NDArray[np.int64], closes: NDArray[np.int64]
) -> Bars:
    """The bars over these spans, made of one series of finer bars.

    Sums are the correctly rounded ones of the finer bars' sums, which are rounded themselves.
    Prices of the finer bars count as those of trades, also where conditions of trades had kept
    them out of a bar that is longer.

    Args:
        finer: in order; runs of gap bars may be among them.
        interval: of the coarser bars.
        opens: of its spans, int64 ns ``(n,)`` in order; those without a finer bar have none.
        closes: likewise.

    Returns:
        CLOSED where all finer bars are, PARTIAL and INCOMPLETE where one is; each gap bar is a row.

    Raises:
        ResultError: ``merge_mismatch`` for bars of several series, or that lie in two spans.
    """
    result = _core.roll_rows({name: finer.column(name) for name in COLUMNS}, opens, closes)
    return Bars(result["columns"], symbols=finer.symbol_table, intervals=[interval])
