"""Bars out of a lake: only the files of the days asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from klineagg import _bars_runs, errors
from klineagg._bars_extras import require
from klineagg._bars_index import no_such_series
from klineagg._bars_time import to_ns
from klineagg.bars import Bars
from klineagg.lake.datafile import source_of
from klineagg.lake.files import Files, Listing
from klineagg.lake.rows import Boundaries, bars_of, members_of, parts_of
from klineagg.lake.schema import (
    BAR_COLUMNS,
    CLOSED_COLUMNS,
    MEMBER_COLUMNS,
    OPEN_COLUMNS,
    open_sql,
)

__all__ = ["names_of", "read_bars", "snapshot_clause"]

# The years that DuckDB's nanoseconds hold.
_FIRST_NS: Final = -(2**63) + 2 * 86_400_000_000_000
_LAST_NS: Final = 2**63 - 2 * 86_400_000_000_000


def _quoted(columns: Iterable[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


_BARS: Final = _quoted(BAR_COLUMNS)
_MEMBERS: Final = _quoted(MEMBER_COLUMNS)
_CLOSED: Final = _quoted(CLOSED_COLUMNS)
_OPEN: Final = _quoted(OPEN_COLUMNS)


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
    names: list[Any] = [getattr(one, "name", one) for one in value]
    for one in names:
        if not isinstance(one, str):
            raise errors.make("invalid_option", f"{one!r} in {what} is no name", option=what)
    return list(dict.fromkeys(name.strip() for name in names))


def snapshot_clause(version: int | None) -> str:
    """The clause that reads a table as of a snapshot of the lake."""
    return "" if version is None else f" AT (VERSION => {int(version)})"


def read_bars(
    cursor: Any,
    files: Files,
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
    if version is None:
        listing: Listing | None = files.newest(cursor)
        assert listing is not None
        known = listing.units
    else:
        listing = None
        query = f'SELECT "interval", unit FROM intervals{snapshot_clause(version)}'
        known = dict(cursor.execute(query).fetchall())
    chosen = list(known) if intervals is None else list(intervals)
    for name in chosen:
        if name not in known:
            raise no_such_series("interval", name, list(known))
    if begin_ns >= end_ns or not chosen:
        return Bars.empty(chosen)
    wanted = _Wanted(symbols, chosen, begin_ns, end_ns)
    tables = []
    source = _closed_source(listing, version, wanted)
    if source is not None:
        for unit in dict.fromkeys(known[name] for name in chosen):
            names = [name for name in chosen if known[name] == unit]
            query, values = _closed_query(source, unit, wanted._replace(intervals=names))
            tables.append(cursor.execute(query, values).to_arrow_table())
    source = _open_source(listing, version, wanted) if include_open else None
    if source is not None:
        query, values = _open_query(source, wanted)
        tables.append(cursor.execute(query, values).to_arrow_table())
    if not tables:
        return Bars.empty(chosen)
    table = require("pyarrow", "lake", "a lake").concat_tables(tables)
    return _single(bars_of(table, chosen), table, begin_ns, end_ns, expand)


def _single(bars: Bars, table: Any, begin_ns: int, end_ns: int, expand: bool) -> Bars:
    """The bars in ``[begin, end)``: runs are cut there, and expanded when asked for."""
    spans = Boundaries(bars.intervals, (), members_of(table)).of
    found = _bars_runs.between(bars._columns, begin_ns, end_ns, spans)
    if isinstance(found, _bars_runs.Pieces):
        bars = bars._with(found.take_from(bars._columns))
    elif len(found) != len(bars):
        bars = bars[found]
    if expand and np.any(bars.run_length > 1):
        bars = bars._with(_bars_runs.expand(bars._columns, spans).take_from(bars._columns))
    return bars


class _Wanted(NamedTuple):
    symbols: Sequence[str] | None
    intervals: Sequence[str]
    begin_ns: int
    end_ns: int


def _closed_source(listing: Listing | None, version: int | None, wanted: _Wanted) -> str | None:
    """Where to read closed rows; None when no file can hold any."""
    if listing is None:
        return f"closed{snapshot_clause(version)}"
    files = [file for file in listing.tables["closed"] if file.may_hold(*wanted)]
    if not files:
        return None
    found = source_of(files, _CLOSED)
    return f"closed{snapshot_clause(listing.snapshot)}" if found is None else f"({found})"


def _open_source(listing: Listing | None, version: int | None, wanted: _Wanted) -> str | None:
    """Where to read open rows; None when none can be in the range."""
    if listing is None:
        return f"open_log{snapshot_clause(version)}"
    files = listing.tables["open_log"]
    opens = [file.opens_ns for file in files]
    if all(each and (each[1] < wanted.begin_ns or each[0] >= wanted.end_ns) for each in opens):
        return None
    # How far a series has closed may be in a file without rows in the range.
    ends = (_FIRST_NS, _LAST_NS)
    files = [file for file in files if file.may_hold(wanted.symbols, wanted.intervals, *ends)]
    if not files:
        return None
    found = source_of(files, _OPEN)
    return f"open_log{snapshot_clause(listing.snapshot)}" if found is None else f"({found})"


def _marks(names: Sequence[str]) -> str:
    return ", ".join("?" * len(names))


def _closed_query(source: str, unit: str, wanted: _Wanted) -> tuple[str, list[Any]]:
    times = np.array([wanted.begin_ns, wanted.end_ns - 1]).view("datetime64[ns]")
    # A run of gap bars opens and ends on one day: what opens in the range is of these days.
    days = times.astype("datetime64[D]").tolist()
    where = [
        f'"interval" IN ({_marks(wanted.intervals)})',
        "part BETWEEN ? AND ?",
        "date BETWEEN ? AND ?",
        "open_time < make_timestamp_ns(?)",
        "close_time > make_timestamp_ns(?)",
    ]
    parts = parts_of(times, unit).tolist()
    values = [*wanted.intervals, *parts, *days, wanted.end_ns, wanted.begin_ns]
    _add_symbols(wanted.symbols, where, values)
    return f"SELECT {_BARS}, {_MEMBERS} FROM {source} WHERE {' AND '.join(where)}", values


def _open_query(source: str, wanted: _Wanted) -> tuple[str, list[Any]]:
    where = [f'"interval" IN ({_marks(wanted.intervals)})']
    values: list[Any] = list(wanted.intervals)
    _add_symbols(wanted.symbols, where, values)
    nulls = ", ".join(
        f"CAST(NULL AS {kind}) AS {column}" for column, kind in MEMBER_COLUMNS.items()
    )
    query = (
        f"SELECT {_BARS}, {nulls} FROM ({open_sql(source, ' AND '.join(where))}) "
        "WHERE open_time >= make_timestamp_ns(?) AND open_time < make_timestamp_ns(?)"
    )
    return query, [*values, wanted.begin_ns, wanted.end_ns]


def _add_symbols(symbols: Sequence[str] | None, where: list[str], values: list[Any]) -> None:
    if symbols is not None:
        where.append(f"symbol IN ({_marks(symbols)})" if symbols else "FALSE")
        values += symbols


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
