"""The bare C++ loops of native/bars.cpp, called through ctypes."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from benchmarks.peer import SUM_COLUMNS, Array, Bars, IntervalBars, common_table
from benchmarks.peers.cascade import sources
from benchmarks.toolchain import CXX_FLAGS, cxx, cxx_library, first_line
from benchmarks.workload import Columns, interval_ns

_MODES: Final = {"direct": 0, "rollup": 1, "exact": 2, "read": 3}
_LABELS: Final = {
    "direct": "C++ loop, every interval from the trades",
    "rollup": "C++ loop with roll-up",
    "exact": "C++ loop with roll-up, all columns, double-double sums",
    "read": "reading the memory alone (C++)",
}
_IDS_AND_TIMES: Final = (
    "first_trade_id",
    "last_trade_id",
    "first_trade_time",
    "last_trade_time",
)
_KEY: Final = [("symbol", "i8"), ("open_time", "i8")]
_PRICES: Final = [(name, "f8") for name in ("open", "high", "low", "close")]
_BASIC_ROW: Final = np.dtype([*_KEY, *_PRICES, ("volume", "f8"), ("trade_count", "i8")])
_FULL_ROW: Final = np.dtype(
    [
        *_KEY,
        *_PRICES,
        *((name, "f8") for name in SUM_COLUMNS),
        ("trade_count", "i8"),
        *((name, "i8") for name in _IDS_AND_TIMES),
    ]
)


_INPUT: Final = ("symbol", "time", "price", "quantity", "side", "trade_id")


class _Trades(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_int64),
        *(
            (name, ctypes.c_void_p)
            for name in ("symbol", "time", "price", "quantity", "side", "id")
        ),
    ]


class _Tree(ctypes.Structure):
    _fields_ = [
        ("levels", ctypes.c_int),
        ("length_ns", ctypes.c_void_p),
        ("parent", ctypes.c_void_p),
    ]


@dataclass(frozen=True)
class _State:
    library: Any
    columns: Columns
    intervals: tuple[str, ...]
    lengths: Array
    parents: Array


class NativePeer:
    """One of the loops, by its mode."""

    threads = (1,)
    rows_max = None

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.name = f"cpp-{mode}"
        self.label = _LABELS[mode]
        basic_only = (*SUM_COLUMNS[1:], *_IDS_AND_TIMES)
        self.missing: tuple[str, ...] = () if mode in ("exact", "read") else basic_only
        self.note = f"{' '.join(CXX_FLAGS[1:4])}; no checks of its input"

    def version(self) -> str:
        cxx_library()
        return first_line([cxx(), "--version"])

    def prepare(self, columns: Columns, intervals: tuple[str, ...], threads: int) -> _State:
        library = ctypes.CDLL(str(cxx_library()))
        library.bench_run.restype = ctypes.c_void_p
        library.bench_rows.restype = ctypes.c_void_p
        # Finest first: a loop closes its levels in this order.
        tree = sources(intervals)
        order = list(tree)
        parents = [-1 if source is None else order.index(source) for source in tree.values()]
        return _State(
            library,
            columns,
            tuple(order),
            np.array([interval_ns(text) for text in order], dtype=np.int64),
            np.array(parents, dtype=np.intc),
        )

    def run(self, state: _State) -> _Result:
        arrays = [state.columns[name] for name in _INPUT]
        trades = _Trades(arrays[0].size, *(array.ctypes.data for array in arrays))
        tree = _Tree(len(state.intervals), state.lengths.ctypes.data, state.parents.ctypes.data)
        symbols = int(arrays[0].max()) + 1
        handle = state.library.bench_run(
            _MODES[self.mode], ctypes.byref(trades), ctypes.byref(tree), symbols
        )
        return _Result(state.library, handle)

    def common(self, state: _State, result: _Result) -> Bars:
        if self.mode == "read":
            return {}
        row = _FULL_ROW if self.mode == "exact" else _BASIC_ROW
        return {text: result.table(level, row) for level, text in enumerate(state.intervals)}


class _Result:
    """Owns the rows that the library made."""

    def __init__(self, library: Any, handle: int) -> None:
        self._library = library
        self._handle = ctypes.c_void_p(handle)

    def table(self, level: int, row: np.dtype[Any]) -> IntervalBars:
        count = ctypes.c_int64()
        address = self._library.bench_rows(self._handle, level, ctypes.byref(count))
        size = count.value * row.itemsize
        memory: Any = (ctypes.c_char * size).from_address(address)
        rows: Array = np.frombuffer(memory, dtype=row)
        assert row.names is not None
        return common_table({name: rows[name].copy() for name in row.names})

    def __del__(self) -> None:
        self._library.bench_free(self._handle)
