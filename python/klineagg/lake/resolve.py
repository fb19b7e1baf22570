"""What a commit changes: which rows of the lake are replaced, and by what.

The rule is that of :meth:`klineagg.Bars.resolve`, applied to the delivered rows and those of the
lake that cover the same time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from klineagg import _bars_concat, _bars_runs
from klineagg._bars_columns import COLUMNS
from klineagg._bars_extras import require
from klineagg._bars_index import series_keys
from klineagg._bars_spans import is_activity
from klineagg._distinct import distinct, is_among
from klineagg.bars import Bars
from klineagg.lake.datafile import DataFile, source_of
from klineagg.lake.rows import Boundaries, bars_of, cut_at_days, members_of, parts_of, table_of
from klineagg.lake.schema import BAR_COLUMNS, CLOSED_COLUMNS, MEMBER_COLUMNS

__all__ = ["Change", "change_of"]

_CLOSED: Final = ", ".join(f'"{column}"' for column in CLOSED_COLUMNS)


@dataclass(frozen=True, slots=True)
class Change:
    """Rows to write, as a pyarrow Table, and rows to take away: those of ``removed``, or None."""

    added: Any
    removed: Any | None

    @property
    def replaced(self) -> int:
        """Number of rows taken away."""
        return 0 if self.removed is None else len(self.removed)


def change_of(
    cursor: Any, files: Sequence[DataFile], closed: Bars, units: dict[str, str]
) -> Change:
    """What the delivery of ``closed`` changes; within the transaction that will write it.

    ``files`` are those of the table ``closed`` in the newest snapshot.

    Raises:
        ResultError: ``merge_mismatch`` when bars of the lake would be replaced in part only.
        IntervalError: ``invalid_interval`` when a run does not fit its interval.
    """
    boundaries = Boundaries(closed.intervals, closed._interval_objects)
    timeless = [k for k, name in enumerate(closed.intervals) if is_activity(name)]
    ordered = closed._in_order()
    pieces = _bars_runs.newest(ordered._columns, boundaries.of, timeless)
    mine = ordered if pieces is None else ordered._with(pieces.take_from(ordered._columns))
    mine = cut_at_days(mine, boundaries.of)
    found = _existing(cursor, files, mine, units)
    if found is None:
        return Change(table_of(mine, boundaries.of, units), None)
    theirs = bars_of(found, [])
    return _changed(mine, theirs, units, members_of(found))


def _existing(
    cursor: Any, files: Sequence[DataFile], bars: Bars, units: dict[str, str]
) -> Any | None:
    """Rows of the lake that cover some of the time of each series; None when there are none."""
    pa = require("pyarrow", "lake", "a lake")
    index = bars._series_index
    opens, closes = bars.open_time, bars.close_time
    first, last = opens[index.offsets[:-1]], closes[index.offsets[1:] - 1]
    symbols, intervals = bars._table.names(index.symbol), bars.intervals
    series = pa.table(
        {
            "symbol": pa.array(symbols, pa.string()),
            "interval": pa.array([intervals[k] for k in index.interval.tolist()], pa.string()),
            "first_open": pa.array(first.view(np.int64)).cast(pa.timestamp("ns")),
            "last_close": pa.array(last.view(np.int64)).cast(pa.timestamp("ns")),
        }
    )
    columns = ", ".join(f'c."{column}"' for column in (*BAR_COLUMNS, *MEMBER_COLUMNS))
    found = []
    cursor.register("delivered_series", series)
    try:
        for position in distinct(index.interval).tolist():
            chosen = index.interval == position
            begin, end = first[chosen].min(), last[chosen].max()
            wanted = ([symbols[k] for k in np.flatnonzero(chosen)], [intervals[position]])
            limits = (int(begin.astype(np.int64)), int(end.astype(np.int64)))
            may = [file for file in files if file.may_hold(*wanted, *limits)]
            if not may:
                continue
            source = source_of(may, _CLOSED)
            source = "closed" if source is None else f"({source})"
            part = parts_of(np.array([begin, end - 1]), units[intervals[position]])
            # The constants let DuckDB leave out files by what the catalog knows about them.
            rows = cursor.execute(
                f"SELECT {columns} FROM {source} c JOIN delivered_series s ON c.symbol = s.symbol "
                "AND c.close_time > s.first_open AND c.open_time < s.last_close "
                'AND s."interval" = c."interval" '
                'WHERE c."interval" = ? AND c.part BETWEEN ? AND ? '
                "AND c.close_time > make_timestamp_ns(?) AND c.open_time < make_timestamp_ns(?)",
                [intervals[position], *part.tolist(), *limits],
            ).to_arrow_table()
            if len(rows):
                found.append(rows)
    finally:
        cursor.unregister("delivered_series")
    return pa.concat_tables(found) if found else None


def _changed(
    mine: Bars,
    theirs: Bars,
    units: dict[str, str],
    members: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> Change:
    # Laid end to end with theirs first: among equal revisions the later row wins.
    columns, symbols, objects, order = _bars_concat.concat_columns([theirs, mine])
    intervals = [name if item is None else item for name, item in objects.items()]
    both = Bars(columns, symbols=symbols, intervals=intervals)
    source = np.arange(len(both)) if order is None else order
    ours = source >= len(theirs)
    boundaries = Boundaries(both.intervals, both._interval_objects, members)
    timeless = [k for k, name in enumerate(both.intervals) if is_activity(name)]
    pieces = _bars_runs.newest(both._columns, boundaries.of, timeless)
    if pieces is None:
        pieces = _all_of(both)
    # Rows of the lake that stay as they are.
    opens, closes = both.open_time.view(np.int64), both.close_time.view(np.int64)
    whole = (pieces.opens == opens[pieces.rows]) & (pieces.closes == closes[pieces.rows])
    unchanged = whole & ~ours[pieces.rows]
    kept = np.zeros(len(both), np.bool_)
    kept[pieces.rows[unchanged]] = True
    written = _bars_runs.Pieces(*(array[~unchanged] for array in pieces))
    removed = np.flatnonzero(~ours & ~kept)
    added = both._with(written.take_from(both._columns))
    activity = is_among(added.interval, timeless)
    # A row that is delivered again changes nothing.
    gone, again = _same(both, removed, added)
    if activity.any():
        again |= activity & _seen(theirs, added)
    removed = removed[~gone]
    added = added if not again.any() else added[~again]
    table = table_of(added, boundaries.of, units)
    if not len(removed):
        return Change(table, None)
    keys = table_of(both[removed], boundaries.of, units)
    return Change(table, keys.select(["symbol", "interval", "open_time", "part"]))


def _all_of(bars: Bars) -> _bars_runs.Pieces:
    return _bars_runs.Pieces(
        np.arange(len(bars)),
        bars.open_time.view(np.int64),
        bars.close_time.view(np.int64),
        bars.run_length.astype(np.int64),
    )


def _same(
    bars: Bars, removed: NDArray[np.int64], added: Bars
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which removed and which added rows are the same, bit for bit."""
    gone, again = np.zeros(len(removed), np.bool_), np.zeros(len(added), np.bool_)
    old = bars[removed]
    key = np.concatenate([series_keys(x.interval, x.symbol) for x in (old, added)])
    opens = np.concatenate([old.open_time, added.open_time])
    side = np.repeat([0, 1], [len(old), len(added)])
    order = np.lexsort((side, opens, key))
    a, b = order[:-1], order[1:]
    pair = (key[a] == key[b]) & (opens[a] == opens[b]) & (side[a] == 0) & (side[b] == 1)
    a, b = a[pair], b[pair] - len(old)
    same = np.ones(len(a), np.bool_)
    for name in COLUMNS:
        x, y = old.column(name)[a], added.column(name)[b]
        bits = f"u{x.dtype.itemsize}"
        same &= x.view(bits) == y.view(bits)
    gone[a[same]] = True
    again[b[same]] = True
    return gone, again


def _seen(theirs: Bars, added: Bars) -> NDArray[np.bool_]:
    """Which rows of activity bars, which have no revisions, the lake has already."""

    def keys(bars: Bars) -> list[bytes]:
        bits = [
            bars.column(name).view(f"V{bars.column(name).dtype.itemsize}") for name in COLUMNS[2:]
        ]
        names, spans = bars._row_symbols(), bars.interval.tolist()
        return [
            f"{names[k]}\0{bars.intervals[spans[k]]}\0".encode()
            + b"".join(column[k].tobytes() for column in bits)
            for k in range(len(bars))
        ]

    known = set(keys(theirs))
    return np.array([key in known for key in keys(added)], np.bool_)
