"""Gap bars that a lake has as single rows, joined to the runs that it stores."""

from __future__ import annotations

import numpy as np

from klineagg._bars_columns import COLUMNS, BarFlag
from klineagg.bars import Bars

__all__ = ["in_runs"]


def in_runs(bars: Bars) -> Bars:
    """Gap bars of a symbol that are alike and follow each other as one row."""
    if not len(bars):
        return bars
    gap = bars.flags & np.uint16(BarFlag.GAP) != 0
    joined = np.zeros(len(bars), np.bool_)
    joined[1:] = gap[1:] & gap[:-1] & (bars.open_time[1:] == bars.close_time[:-1])
    for name in ("interval", "close", "revision", "flags"):
        column = bars.column(name)
        joined[1:] &= column[1:] == column[:-1]
    first = np.flatnonzero(~joined)
    last = np.append(first[1:], len(bars)) - 1
    columns = {name: bars.column(name)[first] for name in COLUMNS}
    columns["close_time"] = bars.close_time[last]
    columns["run_length"] = (last - first + 1).astype(np.int32)
    return bars._with(columns)
