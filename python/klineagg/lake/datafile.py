"""A file of a lake: what it may hold, and how its rows are read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from klineagg.lake.duck import literal

__all__ = ["DataFile", "source_of"]


class DataFile(NamedTuple):
    """A Parquet file of a table.

    Attributes:
        path: of the file.
        deletes: files that name rows of it which do not count any more.
        plain: False when only DuckLake can read it.
        symbols: the least and the greatest name; None where the catalog does not say.
        intervals: likewise.
        opens_ns: the first and the last ``open_time``, nanoseconds.
        closes_ns: likewise of ``close_time``.
    """

    path: str
    deletes: tuple[str, ...]
    plain: bool
    symbols: tuple[str, str] | None
    intervals: tuple[str, str] | None
    opens_ns: tuple[int, int] | None
    closes_ns: tuple[int, int] | None

    def may_hold(
        self,
        symbols: Sequence[str] | None,
        intervals: Sequence[str],
        begin_ns: int,
        end_ns: int,
    ) -> bool:
        """Whether there may be rows of these series that cover time in ``[begin, end)``."""
        if self.opens_ns is not None and self.opens_ns[0] >= end_ns:
            return False
        if self.closes_ns is not None and self.closes_ns[1] <= begin_ns:
            return False
        return _within(self.symbols, symbols) and _within(self.intervals, intervals)


def _within(limits: tuple[str, str] | None, names: Sequence[str] | None) -> bool:
    if limits is None or names is None:
        return True
    return any(limits[0] <= each <= limits[1] for each in names)


def source_of(files: Iterable[DataFile], columns: str) -> str | None:
    """A query for the rows of files that count; None when only DuckLake can read one of them.

    Args:
        files: any number but none.
        columns: what the query gives.
    """
    whole, parts = [], []
    for file in files:
        if not file.plain:
            return None
        if not file.deletes:
            whole.append(literal(file.path))
            continue
        gone = ", ".join(map(literal, file.deletes))
        parts.append(
            f"SELECT {columns} FROM read_parquet({literal(file.path)}, "
            "hive_partitioning = false, file_row_number = true) WHERE file_row_number NOT IN "
            f"(SELECT pos FROM read_parquet([{gone}], hive_partitioning = false))"
        )
    if whole:
        listed = ", ".join(whole)
        parts.append(f"SELECT {columns} FROM read_parquet([{listed}], hive_partitioning = false)")
    return " UNION ALL ".join(parts)
