"""Bars out of a lake: only the files of the days asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

from klineagg import _bars_runs, errors
from klineagg._bars_index import no_such_series
from klineagg._bars_time import to_ns
from klineagg.bars import Bars
from klineagg.lake.rows import Boundaries, bars_of, members_of, parts_of
from klineagg.lake.schema import BAR_COLUMNS, MEMBER_COLUMNS, open_sql

__all__ = ["names_of", "read_bars", "snapshot_clause"]

_LIMITS: Final = np.iinfo(np.int64)
# The years that DuckDB's nanoseconds hold.
_FIRST_NS: Final = -(2**63) + 2 * 86_400_000_000_000
_LAST_NS: Final = 2**63 - 2 * 86_400_000_000_000


def names_of(value: Any, what: str) -> list[str] | None:
    """Names of an argument: one (also several between commas), or several; None: all."""
    if value is None:
        return None
    if isinstance(value, str):
        value = value.split(",") if what == "interval" else [value]
    elif hasattr(value, "name"):
        value = [value]
    if not isinstance(value, Iterable):
        text = f"{what}={value!r} is no name"
        raise errors.make("invalid_option", text, option=what)
    names = [one if isinstance(one, str) else str(getattr(one, "name", one)) for one in value]
    return list(dict.fromkeys(name.strip() for name in names))


def snapshot_clause(version: int | None) -> str:
    """The clause that reads a table as of a snapshot of the lake."""
    return "" if version is None else f" AT (VERSION => {int(version)})"


def read_bars(
    cursor: Any,
    symbols: Sequence[str] | None,
    intervals: Sequence[str] | None,
    start: Any,
    end: Any,
    *,
    version: int | None,
    expand: bool,
    include_open: bool,
) -> Bars:
    """The bars that open in ``[start, end)``; see :meth:`klineagg.Lake.bars`."""
    begin_ns = _FIRST_NS if start is None else max(to_ns(start, "start"), _FIRST_NS)
    end_ns = _LAST_NS if end is None else min(to_ns(end, "end"), _LAST_NS)
    at = snapshot_clause(version)
    known = dict(cursor.execute(f'SELECT "interval", unit FROM intervals{at}').fetchall())
    chosen = list(known) if intervals is None else list(intervals)
    for name in chosen:
        if name not in known:
            raise no_such_series("interval", name, list(known))
    if begin_ns >= end_ns or not chosen:
        return Bars.empty(chosen)
    queries, values = [], []
    for unit in dict.fromkeys(known[name] for name in chosen):
        names = [name for name in chosen if known[name] == unit]
        query, given = _closed_query(at, unit, names, symbols, begin_ns, end_ns)
        queries.append(query)
        values += given
    if include_open:
        query, given = _open_query(at, chosen, symbols, begin_ns, end_ns)
        queries.append(query)
        values += given
    table = cursor.execute(" UNION ALL ".join(queries), values).to_arrow_table()
    bars = bars_of(table, chosen)
    spans = Boundaries(bars.intervals, (), members_of(table)).of
    found = _bars_runs.between(bars._columns, begin_ns, end_ns, spans)
    if isinstance(found, _bars_runs.Pieces):
        bars = bars._with(found.take_from(bars._columns))
    elif len(found) != len(bars):
        bars = bars[found]
    if expand and np.any(bars.run_length > 1):
        bars = bars._with(_bars_runs.expand(bars._columns, spans).take_from(bars._columns))
    return bars


def _marks(names: Sequence[str]) -> str:
    return ", ".join("?" * len(names))


def _closed_query(
    at: str,
    unit: str,
    intervals: Sequence[str],
    symbols: Sequence[str] | None,
    begin_ns: int,
    end_ns: int,
) -> tuple[str, list[Any]]:
    times = np.array([begin_ns, end_ns - 1]).view("datetime64[ns]")
    # A run of gap bars opens and ends on one day: what opens in the range is of these days.
    days = times.astype("datetime64[D]").tolist()
    columns = ", ".join(f'"{column}"' for column in (*BAR_COLUMNS, *MEMBER_COLUMNS))
    where = [
        f'"interval" IN ({_marks(intervals)})',
        "part BETWEEN ? AND ?",
        "date BETWEEN ? AND ?",
        "open_time < make_timestamp_ns(?)",
        "close_time > make_timestamp_ns(?)",
    ]
    values = [*intervals, *parts_of(times, unit).tolist(), *days, end_ns, begin_ns]
    if symbols is not None:
        where.append(f"symbol IN ({_marks(symbols)})" if symbols else "FALSE")
        values += symbols
    return f"SELECT {columns} FROM closed{at} WHERE {' AND '.join(where)}", values


def _open_query(
    at: str, intervals: Sequence[str], symbols: Sequence[str] | None, begin_ns: int, end_ns: int
) -> tuple[str, list[Any]]:
    where = [f'"interval" IN ({_marks(intervals)})']
    values: list[Any] = list(intervals)
    if symbols is not None:
        where.append(f"symbol IN ({_marks(symbols)})" if symbols else "FALSE")
        values += symbols
    columns = ", ".join(f'"{column}"' for column in BAR_COLUMNS)
    nulls = ", ".join(f"CAST(NULL AS {kind})" for kind in MEMBER_COLUMNS.values())
    query = (
        f"SELECT {columns}, {nulls} FROM ({open_sql(f'open_log{at}', ' AND '.join(where))}) "
        "WHERE open_time >= make_timestamp_ns(?) AND open_time < make_timestamp_ns(?)"
    )
    return query, [*values, begin_ns, end_ns]


def snapshot_of(cursor: Any, alias: str, as_of: Any) -> int | None:
    """The snapshot of the lake that ``as_of`` stands for.

    Raises:
        LakeQueryError: ``lake_snapshot`` when it is not kept.
    """
    if as_of is None:
        return None
    from klineagg.lake.duck import literal

    source = f"ducklake_snapshots({literal(alias)})"
    if isinstance(as_of, (int, np.integer)) and not isinstance(as_of, bool):
        query, value = f"SELECT snapshot_id FROM {source} WHERE snapshot_id = ?", int(as_of)
        what = f"snapshot {int(as_of)}"
    else:
        value = to_ns(as_of, "as_of") // 1_000
        query = f"SELECT max(snapshot_id) FROM {source} WHERE epoch_us(snapshot_time) <= ?"
        what = f"snapshot at or before {as_of}"
    row = cursor.execute(query, [value]).fetchone()
    if row is None or row[0] is None:
        raise errors.make("lake_snapshot", f"the lake has no {what}", as_of=str(as_of))
    return int(row[0])
