"""Two public Rust crates, built by cargo from native/rust and called through ctypes."""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from benchmarks.peer import Array, Bars, PeerUnavailable, common_table
from benchmarks.toolchain import NATIVE, rust_library
from benchmarks.workload import Columns, interval_ns

_WHICH: Final = {"trade_aggregation": 0, "tickbar": 1}
_MISSING: Final = {
    "trade_aggregation": (
        "quote_volume",
        "taker_buy_quote_volume",
        "first_trade_id",
        "last_trade_id",
    ),
    "tickbar": (
        "quote_volume",
        "taker_buy_volume",
        "taker_buy_quote_volume",
        "first_trade_id",
        "last_trade_id",
        "first_trade_time",
        "last_trade_time",
    ),
}
_NOTES: Final = {
    "trade_aggregation": "trade structs made before the clock starts",
    "tickbar": "trades split by symbol and made whole numbers before the clock starts",
}
_ROW: Final = np.dtype(
    [("symbol", "i8"), ("open_time", "i8")]
    + [(name, "f8") for name in ("open", "high", "low", "close", "volume", "taker_buy_volume")]
    + [(name, "i8") for name in ("trade_count", "first_trade_time", "last_trade_time")]
)


class _Trades(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_size_t),
        *((name, ctypes.c_void_p) for name in ("symbol", "time", "price", "quantity", "side")),
    ]


@dataclass(frozen=True)
class _State:
    job: _Job
    intervals: tuple[str, ...]
    lengths: Array


class RustPeer:
    """One of the crates, by its name."""

    threads = (1,)
    rows_max = None

    def __init__(self, crate: str) -> None:
        self.crate = crate
        self.name = crate
        self.label = f"{crate} (Rust)"
        self.missing: tuple[str, ...] = _MISSING[crate]
        self.note = _NOTES[crate]

    def version(self) -> str:
        rust_library()
        manifest = (NATIVE / "rust" / "Cargo.toml").read_text()
        found = re.search(rf'^{self.crate} = .*?"=([0-9.]+)"', manifest, re.MULTILINE)
        if found is None:
            raise PeerUnavailable(f"no pinned version of {self.crate}")
        return found.group(1)

    def prepare(self, columns: Columns, intervals: tuple[str, ...], threads: int) -> _State:
        lengths = np.array([interval_ns(text) for text in intervals], dtype=np.int64)
        return _State(_Job(_WHICH[self.crate], columns), intervals, lengths)

    def run(self, state: _State) -> None:
        state.job.run(state.lengths)

    def common(self, state: _State, result: None) -> Bars:
        bars: Bars = {}
        for level, text in enumerate(state.intervals):
            rows = state.job.rows(level)
            names = [name for name in _ROW.names or () if name not in self.missing]
            bars[text] = common_table({name: rows[name] for name in names})
        return bars


class _Job:
    """Owns a job of the library: its prepared trades and its bars."""

    def __init__(self, which: int, columns: Columns) -> None:
        self._library: Any = ctypes.CDLL(str(rust_library()))
        self._library.job_new.restype = ctypes.c_void_p
        self._library.job_rows.restype = ctypes.c_size_t
        arrays = [columns[name] for name in ("symbol", "time", "price", "quantity", "side")]
        trades = _Trades(arrays[0].size, *(array.ctypes.data for array in arrays))
        symbols = ctypes.c_size_t(int(arrays[0].max()) + 1)
        self._job = ctypes.c_void_p(self._library.job_new(which, ctypes.byref(trades), symbols))

    def run(self, lengths: Array) -> None:
        pointer = ctypes.c_void_p(lengths.ctypes.data)
        self._library.job_run(self._job, pointer, ctypes.c_size_t(lengths.size))

    def rows(self, level: int) -> Array:
        count = self._library.job_rows(self._job, ctypes.c_size_t(level), None)
        rows = np.empty(count, dtype=_ROW)
        pointer = ctypes.c_void_p(rows.ctypes.data)
        self._library.job_rows(self._job, ctypes.c_size_t(level), pointer)
        return rows

    def __del__(self) -> None:
        self._library.job_free(self._job)
