"""klineagg itself, through the one public call that a user makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from benchmarks.peer import ALL_COLUMNS, Bars, common_table, need
from benchmarks.workload import Columns, interval_ns

_RESULT_COLUMNS: Final = (
    *ALL_COLUMNS,
    "interval",
    "close_time",
    "run_length",
    "revision",
    "flags",
)
_TOUCH_STRIDE_BYTES: Final = 1 << 16


@dataclass(frozen=True)
class _State:
    columns: Columns
    intervals: tuple[str, ...]
    threads: int


class KlineaggPeer:
    """``klineagg.aggregate`` on a dict of columns, with every column of the result touched."""

    name = "klineagg"
    label = "klineagg"
    threads = (1, 2)
    rows_max = None
    missing: tuple[str, ...] = ()
    note = "public Python call; input checked, sums correctly rounded, rows sorted"

    def version(self) -> str:
        return str(need("klineagg").__version__)

    def prepare(self, columns: Columns, intervals: tuple[str, ...], threads: int) -> _State:
        need("klineagg")
        return _State(columns, intervals, threads)

    def run(self, state: _State) -> Any:
        bars = need("klineagg").aggregate(
            state.columns, list(state.intervals), threads=state.threads
        )
        # A result that is made when it is looked at would be no result: look at all of it.
        for name in _RESULT_COLUMNS:
            column = getattr(bars, name)
            column.view(f"i{column.itemsize}")[:: _TOUCH_STRIDE_BYTES // column.itemsize].sum()
        return bars

    def output_bytes(self, result: Any) -> int:
        """How much memory the result's columns take."""
        return sum(int(getattr(result, name).nbytes) for name in _RESULT_COLUMNS)

    def common(self, state: _State, result: Any) -> Bars:
        bars: Bars = {}
        which = np.asarray(result.interval)
        for index, text in enumerate(state.intervals):
            rows = which == index
            table = {name: np.asarray(getattr(result, name))[rows] for name in ALL_COLUMNS}
            for name in table:
                if table[name].dtype.kind == "M":
                    table[name] = table[name].view(np.int64)
            close_time = np.asarray(result.close_time)[rows].view(np.int64)
            if np.any(close_time - table["open_time"] != interval_ns(text)):
                raise ValueError(f"a {text} bar does not last {text}")
            bars[text] = common_table(table)
        return bars
