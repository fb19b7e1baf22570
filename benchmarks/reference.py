"""The bars that are true: slow, with exact sums in integers, sharing nothing with klineagg's core.

Each amount is cut into three integers (whole part and twice 33 bits), so that sums are sums of
int64 and cannot round; the one rounding is at the end, by Python's exact division of integers.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.peer import ALL_COLUMNS, SUM_COLUMNS, Array, Bars, IntervalBars, common_table
from benchmarks.workload import Columns, interval_ns

_LIMB_BITS: Final = 33
_LIMB: Final = 1 << _LIMB_BITS
_MAX_WHOLE: Final = float(1 << 40)

Limbs = tuple[Array, Array, Array]
_MIN_COLUMNS: Final = ("low", "first_trade_time", "first_trade_id")
_MAX_COLUMNS: Final = ("high", "last_trade_time", "last_trade_id")


def _limbs(amount: Array) -> Limbs:
    whole = np.floor(amount)
    middle = np.floor((amount - whole) * _LIMB)
    last = ((amount - whole) * _LIMB - middle) * _LIMB
    if np.any(amount < 0) or np.any(whole >= _MAX_WHOLE) or np.any(last != np.floor(last)):
        raise ValueError("the reference sums amounts below 2**40 with bits down to 2**-66 only")
    return whole.astype(np.int64), middle.astype(np.int64), last.astype(np.int64)


def _rounded(limbs: Limbs) -> Array:
    """The float64 nearest to each sum."""
    whole, middle, last = (limb.copy() for limb in limbs)
    middle += last >> _LIMB_BITS
    last &= _LIMB - 1
    whole += middle >> _LIMB_BITS
    middle &= _LIMB - 1
    tail = middle.astype(np.longdouble) + last.astype(np.longdouble) / _LIMB
    value = whole.astype(np.longdouble) + tail / _LIMB
    # Where the long double is far enough from a tie, rounding it is rounding the exact sum.
    slack = np.abs(value) * (8 * np.finfo(np.longdouble).eps)
    result: Array = (value - slack).astype(np.float64)
    for row in np.flatnonzero(result != (value + slack).astype(np.float64)):
        exact = (int(whole[row]) << 2 * _LIMB_BITS) + (int(middle[row]) << _LIMB_BITS)
        result[row] = (exact + int(last[row])) / (1 << 2 * _LIMB_BITS)
    return result


class _Level:
    """Bars of one interval (or the trades themselves) with their sums still exact."""

    def __init__(self, table: IntervalBars, sums: dict[str, Limbs]) -> None:
        self.table = table
        self.sums = sums

    def rolled_up(self, ns: int) -> _Level:
        symbol, bucket = self.table["symbol"], self.table["open_time"] // ns * ns
        first = np.ones(symbol.size, dtype=bool)
        first[1:] = (symbol[1:] != symbol[:-1]) | (bucket[1:] != bucket[:-1])
        starts = np.flatnonzero(first)
        ends = np.append(starts[1:], symbol.size) - 1
        old = self.table
        table = {
            "symbol": symbol[starts],
            "open_time": bucket[starts],
            "open": old["open"][starts],
            "close": old["close"][ends],
            "trade_count": np.add.reduceat(old["trade_count"], starts),
        }
        for name in _MIN_COLUMNS:
            table[name] = np.minimum.reduceat(old[name], starts)
        for name in _MAX_COLUMNS:
            table[name] = np.maximum.reduceat(old[name], starts)
        sums: dict[str, Limbs] = {}
        for name, (whole, middle, last) in self.sums.items():
            sums[name] = (
                np.add.reduceat(whole, starts),
                np.add.reduceat(middle, starts),
                np.add.reduceat(last, starts),
            )
        return _Level(table, sums)

    def bars(self) -> IntervalBars:
        return common_table({**self.table, **{n: _rounded(s) for n, s in self.sums.items()}})


def _trades(columns: Columns) -> _Level:
    order = np.argsort(columns["symbol"].astype(np.int16), kind="stable")
    trade = {name: values[order] for name, values in columns.items()}
    price, quantity = trade["price"].astype(np.float64), trade["quantity"].astype(np.float64)
    buys = trade["side"] > 0
    value = price * quantity
    table = {
        "symbol": trade["symbol"],
        "open_time": trade["time"],
        "trade_count": np.ones(price.size, dtype=np.int64),
    }
    table |= dict.fromkeys(("open", "high", "low", "close"), price)
    table |= dict.fromkeys(("first_trade_time", "last_trade_time"), trade["time"])
    table |= dict.fromkeys(("first_trade_id", "last_trade_id"), trade["trade_id"])
    amounts = (quantity, value, np.where(buys, quantity, 0.0), np.where(buys, value, 0.0))
    return _Level(table, {n: _limbs(a) for n, a in zip(SUM_COLUMNS, amounts, strict=True)})


def reference_bars(columns: Columns, intervals: tuple[str, ...]) -> Bars:
    """Bars of trades that are sorted by time, with ids that rise within a symbol.

    Args:
        columns: A workload's columns.
        intervals: Such as ``("1s", "1m")``.

    Returns:
        For each interval all common columns, sorted by symbol and time; sums are correctly rounded.
    """
    levels: dict[int, _Level] = {1: _trades(columns)}
    for ns in sorted({interval_ns(text) for text in intervals}):
        finer = max(known for known in levels if ns % known == 0)
        levels[ns] = levels[finer].rolled_up(ns)
    del levels[1]
    return {text: levels[interval_ns(text)].bars() for text in intervals}


def saved_reference(workload: Path, columns: Columns, intervals: tuple[str, ...]) -> Path:
    """The directory with the reference bars of a whole workload, made on first use."""
    path = workload / ("bars-" + "-".join(intervals))
    if not path.is_dir():
        with tempfile.TemporaryDirectory(dir=workload) as scratch:
            target = Path(scratch) / "new"
            for text, table in reference_bars(columns, intervals).items():
                (target / text).mkdir(parents=True)
                for name, values in table.items():
                    np.save(target / text / f"{name}.npy", values)
            target.rename(path)
    return path


def load_reference(path: Path, interval: str) -> IntervalBars:
    """One interval's table of a saved reference."""
    return {name: np.load(path / interval / f"{name}.npy") for name in ALL_COLUMNS}
