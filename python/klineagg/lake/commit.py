"""One transaction for everything that a snapshot brings."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from klineagg import errors
from klineagg._bars_extras import require
from klineagg._options import is_integer
from klineagg.bars import Bars
from klineagg.lake.duck import is_contention, literal
from klineagg.lake.durable import Syncing, rollback
from klineagg.lake.files import Files, Listing
from klineagg.lake.patience import Patience
from klineagg.lake.resolve import change_of
from klineagg.lake.rows import Boundaries, table_of, units_of
from klineagg.lake.schema import BAR_COLUMNS, CLOSED_COLUMNS, OPEN_COLUMNS, open_sql
from klineagg.lake.state import CommitResult, Fence, write_fences

__all__ = ["check_snapshot", "commit_once"]

# The log of open bars is rewritten after as many commits, so that it stays a few small files.
OPEN_COMMITS_MAX: Final = 16
# How long to look at the catalog after a commit, where others are in the way.
LOOKS_S: Final = 10.0


def check_snapshot(snapshot: Any) -> None:
    """Refuses what is no snapshot before anything is locked or written.

    Raises:
        OptionError: ``invalid_option``.
    """
    hint = "commit what Engine.take() gave, or anything with id, closed, open and watermark"
    missing = [
        name for name in ("id", "closed", "open", "watermark") if not hasattr(snapshot, name)
    ]
    text = None
    if missing:
        kind = type(snapshot).__name__
        text = f"snapshot is of type {kind}, which has no {', '.join(missing)}"
    elif not (isinstance(snapshot.closed, Bars) and isinstance(snapshot.open, Bars)):
        text = "closed and open of a snapshot are not both Bars"
    elif not (
        isinstance(snapshot.id, tuple)
        and len(snapshot.id) == 2
        and all(map(is_integer, snapshot.id))
    ):
        text = f"the id of a snapshot is two integers, this one is {snapshot.id!r}"
    if text is not None:
        raise errors.make("invalid_option", text, hint=hint, option="snapshot")


def commit_once(
    cursor: Any, alias: str, files: Files, snapshot: Any, consumer: str, checkpoint: bytes | None
) -> CommitResult:
    """Commits a snapshot, or finds that the lake is past it; raises with nothing committed."""
    began = time.perf_counter()
    epoch, number = (int(part) for part in snapshot.id)
    cursor.execute("BEGIN")
    try:
        syncing = Syncing(cursor, files)
        listing = files.newest(cursor)
        known, commits = files.fences(cursor, listing)
        fence = known.get(consumer)
        if fence is not None and (epoch, number) <= fence.id:
            cursor.execute("ROLLBACK")
            took = time.perf_counter() - began
            return CommitResult(False, 0, 0, 0, listing.snapshot, fence, took)
        position = getattr(snapshot, "position", None)
        position = None if position is None else int(position)
        fence = Fence(epoch, number, position, snapshot.watermark)
        known[consumer] = fence
        units = _units(cursor, listing.units, (snapshot.closed, snapshot.open))
        added = replaced = 0
        if len(snapshot.closed):
            change = change_of(cursor, listing.tables["closed"], snapshot.closed, units)
            _apply(cursor, change)
            added, replaced = len(change.added), change.replaced
        opened = _write_open(cursor, snapshot, commits + 1)
        if checkpoint is not None:
            cursor.execute("DELETE FROM checkpoint WHERE consumer = ?", [consumer])
            cursor.execute(
                "INSERT INTO checkpoint VALUES (?, ?, ?, ?, ?)",
                [consumer, epoch, number, position, bytes(checkpoint)],
            )
        write_fences(cursor, known, commits + 1)
        # Maintenance keeps the state of the lake from before each revision; this tells it where.
        facts = {"consumer": consumer, "id": [epoch, number], "rows": added, "replaced": replaced}
        cursor.execute(
            f"CALL ducklake_set_commit_message({literal(alias)}, 'klineagg', ?, extra_info => ?)",
            [f"{consumer} {epoch}.{number}", json.dumps(facts)],
        )
        syncing.sync()
        cursor.execute("COMMIT")
    except BaseException:
        rollback(cursor)
        raise
    listing = _newest(cursor, files)
    files.remember(listing, known, commits + 1)
    took = time.perf_counter() - began
    return CommitResult(True, added, replaced, opened, listing.snapshot, fence, took)


def _newest(cursor: Any, files: Files) -> Listing:
    """The files behind a commit, however often others are in the way of reading them.

    An error here would have the committed snapshot delivered once more, and that one would be
    refused as belated, though nobody else has written.
    """
    duckdb = require("duckdb", "lake", "a lake")
    patience = Patience(LOOKS_S)
    while True:
        try:
            return files.newest(cursor)
        except duckdb.Error as error:
            if not is_contention(error):
                raise
            if patience.is_over:
                text = "the snapshot is committed, but its catalog stayed busy behind that"
                raise errors.make("lake_busy", text) from None
        patience.nap()


def _units(cursor: Any, units: dict[str, str], parts: Iterable[Bars]) -> dict[str, str]:
    """By how much time the files of each interval are cut; intervals not seen before are noted."""
    units = dict(units)
    for bars in parts:
        new = {name: unit for name, unit in units_of(bars).items() if name not in units}
        for name, unit in new.items():
            cursor.execute("INSERT INTO intervals VALUES (?, ?)", [name, unit])
        units |= new
    return units


def _apply(cursor: Any, change: Any) -> None:
    if change.removed is not None:
        cursor.register("removed_rows", change.removed)
        try:
            cursor.execute(
                "DELETE FROM closed WHERE part BETWEEN (SELECT min(part) FROM removed_rows) "
                'AND (SELECT max(part) FROM removed_rows) AND (symbol, "interval", open_time) '
                'IN (SELECT (symbol, "interval", open_time) FROM removed_rows)'
            )
        finally:
            cursor.unregister("removed_rows")
    if len(change.added):
        _insert(cursor, "closed", CLOSED_COLUMNS, change.added)


def _insert(cursor: Any, target: str, columns: dict[str, str], rows: Any) -> None:
    listed = ", ".join(f'CAST("{column}" AS {kind})' for column, kind in columns.items())
    cursor.register("delivered_rows", rows)
    try:
        cursor.execute(f"INSERT INTO {target} SELECT {listed} FROM delivered_rows")
    finally:
        cursor.unregister("delivered_rows")


def _write_open(cursor: Any, snapshot: Any, generation: int) -> int:
    """Adds the open bars that changed, and how far each series closed."""
    pa = require("pyarrow", "lake", "a lake")
    if generation % OPEN_COMMITS_MAX == 0:
        _rewrite_open(cursor)
    tables = []
    for bars in (snapshot.open, _ends(snapshot.closed)):
        if len(bars):
            spans = Boundaries(bars.intervals, bars._interval_objects).of
            tables.append(table_of(bars, spans, None))
    if tables:
        both = pa.concat_tables(table.unify_dictionaries() for table in tables)
        numbers = pa.array(np.full(len(both), generation))
        _insert(cursor, "open_log", OPEN_COLUMNS, both.append_column("generation", numbers))
    return len(snapshot.open)


def _ends(closed: Bars) -> Bars:
    """For each series a row without bars that opens where the last closed one ends."""
    if not len(closed):
        return closed
    index = closed._in_order()._series_index
    ordered = closed._in_order()
    last = index.offsets[1:] - 1
    columns = {name: ordered.column(name)[last] for name in ordered.columns}
    columns["open_time"] = np.maximum.reduceat(ordered.close_time, index.offsets[:-1])
    columns["close_time"] = columns["open_time"]
    columns["run_length"] = np.zeros(len(last), np.int32)
    return closed._with(columns)


def _rewrite_open(cursor: Any) -> None:
    listed = ", ".join(f'"{column}"' for column in (*BAR_COLUMNS, "generation"))
    live = cursor.execute(f"SELECT {listed} FROM ({open_sql()})").to_arrow_table()
    cursor.execute("DELETE FROM open_log")
    if len(live):
        _insert(cursor, "open_log", OPEN_COLUMNS, live)
