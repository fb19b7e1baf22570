"""Checksums of bars, and how far a peer's bars are from the reference."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.peer import EXACT_COLUMNS, SUM_COLUMNS, Array, IntervalBars

# Plain float64 addition over a day of trades stays well inside this; a lost trade does not.
SUM_TOLERANCE: Final = 1e-9


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Each value scrambled (splitmix64), so that a sum of them tells sets of values apart."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _bits(values: Array) -> NDArray[np.uint64]:
    return np.ascontiguousarray(values).view(np.uint64)


def row_keys(table: IntervalBars) -> NDArray[np.uint64]:
    """A 64-bit key of each row's symbol and open time."""
    return _mixed(_mixed(_bits(table["symbol"])) ^ _bits(table["open_time"]))


def column_checksum(keys: NDArray[np.uint64], values: Array) -> int:
    """A sum over rows of (key, bits of the value) scrambled: independent of the order of rows."""
    return int(_mixed(keys ^ _mixed(_bits(values))).sum(dtype=np.uint64))


@dataclass
class IntervalCheck:
    """One interval's bars, compared with the reference."""

    rows: int
    rows_expected: int
    trades: int
    checksums: dict[str, str]
    columns_wrong: list[str] = field(default_factory=list)
    sums_exact: bool = True
    sum_error_max: float = 0.0

    @property
    def equal(self) -> bool:
        """Whether every computed column is the reference's (sums within the tolerance)."""
        return self.rows == self.rows_expected and not self.columns_wrong

    def as_json(self) -> dict[str, Any]:
        """Plain values for the results file."""
        return asdict(self) | {"equal": self.equal}


def _sorted_rows(table: IntervalBars) -> IntervalBars:
    order = np.lexsort((table["open_time"], table["symbol"]))
    return {name: values[order] for name, values in table.items()}


def _relative_error_max(mine: Array, true: Array) -> float:
    scale = np.maximum(np.abs(true), np.finfo(np.float64).tiny)
    return float((np.abs(mine - true) / scale).max(initial=0.0))


def check_interval(table: IntervalBars, expected: IntervalBars) -> IntervalCheck:
    """Compare one interval's bars with the reference's, on the columns that are there."""
    keys, expected_keys = row_keys(table), row_keys(expected)
    check = IntervalCheck(
        rows=int(keys.size),
        rows_expected=int(expected_keys.size),
        trades=int(table["trade_count"].sum()) if "trade_count" in table else 0,
        checksums={"key": f"{int(_mixed(keys).sum(dtype=np.uint64)):016x}"},
    )
    if check.checksums["key"] != f"{int(_mixed(expected_keys).sum(dtype=np.uint64)):016x}":
        check.columns_wrong.append("key")
    for name in EXACT_COLUMNS:
        if name in table:
            found = column_checksum(keys, table[name])
            check.checksums[name] = f"{found:016x}"
            if found != column_checksum(expected_keys, expected[name]):
                check.columns_wrong.append(name)
    sums = [name for name in SUM_COLUMNS if name in table]
    if "key" in check.columns_wrong or check.rows != check.rows_expected:
        check.sums_exact = False
        check.columns_wrong.extend(sums)
        return check
    mine, true = _sorted_rows(table), _sorted_rows(expected)
    for name in sums:
        if np.array_equal(mine[name], true[name]):
            continue
        check.sums_exact = False
        error = _relative_error_max(mine[name], true[name])
        check.sum_error_max = max(check.sum_error_max, error)
        if not error <= SUM_TOLERANCE:
            check.columns_wrong.append(name)
    return check
