"""Which files hold the bars: the catalog's list of them, kept until a commit changes it.

DuckLake plans every query from its catalog anew: for a lake of many files that takes longer than
reading the one that is asked for. What is kept here is the same list, with the same limits of
each file, as of one snapshot; a single look at the catalog says whether it is still the newest.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from klineagg import errors
from klineagg.lake.datafile import DataFile
from klineagg.lake.duck import literal, name
from klineagg.lake.state import Fence, fences

__all__ = ["Files", "Listing"]

_TABLES: Final = ("closed", "open_log", "intervals", "fence")
# The limits that leave out files, by the column's name.
_LIMITS: Final = ("symbol", "interval", "open_time", "close_time")
# Looks at a catalog that somebody commits to all the time: for a listing that is newer than the
# one at hand, and for the first one.
_ATTEMPTS: Final = 8
_FIRST_ATTEMPTS: Final = 64


@dataclass(frozen=True)
class Listing:
    """The files of a snapshot of the lake.

    Attributes:
        snapshot: its number.
        tables: the files of each table.
        units: for each interval by how much time its files are cut.
        ids: the file ids of each table.
    """

    snapshot: int
    tables: dict[str, list[DataFile]]
    ids: dict[str, frozenset[int]]
    units: dict[str, str] = field(default_factory=dict)


class Files:
    """The list of files of a lake; threads may share it.

    Args:
        kind: of the catalog.
        alias: what the lake is called in statements.

    Attributes:
        root: where the files are, when it is not where the catalog says.
        synced_folders: those above partitions whose names have been synced once.
    """

    def __init__(self, kind: str, alias: str) -> None:
        self.root: str | None = None
        self.synced_folders: set[str] = set()
        self._kind, self._alias = kind, alias
        self._meta = f"__ducklake_metadata_{alias}"
        self._guard = threading.Lock()
        self._listing: Listing | None = None
        self._known: dict[int, DataFile] = {}
        self._fences: tuple[frozenset[int], dict[str, Fence], int] | None = None
        self._tables: dict[str, tuple[int, str, dict[int, str]]] = {}

    def newest(self, cursor: Any) -> Listing:
        """The files of the newest snapshot, as far as the cursor's transaction sees it.

        While others commit faster than they can be listed, those of one a moment before.

        Raises:
            LakeBusyError: ``lake_busy``: there is none from before either.
        """
        with self._guard:
            snapshot = self._newest(cursor)
            for attempt in range(_FIRST_ATTEMPTS):
                at_hand = self._listing
                if at_hand is not None and (at_hand.snapshot == snapshot or attempt >= _ATTEMPTS):
                    break
                listing = self._load(cursor, snapshot)
                # What was read in several looks is of one snapshot when that is still the newest.
                snapshot = self._newest(cursor)
                if snapshot == listing.snapshot:
                    self._listing = listing
            if self._listing is None:
                text = "others commit faster than the files of a snapshot can be listed"
                raise errors.make("lake_busy", text, attempts=_FIRST_ATTEMPTS)
            return self._listing

    def folder(self, cursor: Any) -> str | None:
        """Where all data files are; None when that is not on a disk of this machine."""
        with self._guard:
            if not self._tables:
                self._places(cursor)
            folder = self._tables["closed"][1]
        # A schema's folder lies between.
        return None if "://" in folder else os.path.dirname(os.path.dirname(folder.rstrip("/")))

    def forget(self) -> None:
        """Asks the catalog again next time."""
        with self._guard:
            self._listing = None

    def fences(self, cursor: Any, listing: Listing) -> tuple[dict[str, Fence], int]:
        """The fence of each consumer and the number of commits, as of a listing."""
        ids = listing.ids["fence"]
        with self._guard:
            if self._fences is not None and self._fences[0] == ids:
                return dict(self._fences[1]), self._fences[2]
        return fences(cursor)

    def remember(self, listing: Listing, known: dict[str, Fence], commits: int) -> None:
        """Keeps what a commit has written, so that the next one need not read it.

        Each commit writes the table anew: its files tell what it holds.
        """
        with self._guard:
            whole = not any(file.deletes for file in listing.tables["fence"])
            self._fences = (listing.ids["fence"], dict(known), commits) if whole else None

    # -- the catalog -----------------------------------------------------------------------------

    def _rows(self, cursor: Any, query: str) -> list[tuple[Any, ...]]:
        """Runs a query of the catalog where the catalog is; ``{}`` stands before its tables."""
        if self._kind == "sqlite":
            text = f"FROM sqlite_query({literal(self._meta)}, {literal(query.format(''))})"
        elif self._kind == "postgres":
            text = f"FROM postgres_query({literal(self._meta)}, {literal(query.format(''))})"
        else:
            text = query.format(f"{name(self._meta)}.")
        rows: list[tuple[Any, ...]] = cursor.execute(text).fetchall()
        return rows

    def _newest(self, cursor: Any) -> int:
        query = "SELECT max(snapshot_id) AS newest FROM {}ducklake_snapshot"
        return int(self._rows(cursor, query)[0][0])

    def _places(self, cursor: Any) -> None:
        """Number, folder and columns of each table; they stay the same."""
        query = (
            "SELECT t.table_id, t.table_name, m.value AS root, s.path AS of_schema, "
            "s.path_is_relative AS schema_relative, t.path AS of_table, "
            "t.path_is_relative AS table_relative FROM {0}ducklake_table t "
            "JOIN {0}ducklake_schema s ON s.schema_id = t.schema_id "
            "JOIN {0}ducklake_metadata m ON m.key = 'data_path' "
            "WHERE t.end_snapshot IS NULL AND s.schema_name = 'main'"
        )
        found = {}
        for number, table, root, schema, schema_relative, path, relative in self._rows(
            cursor, query
        ):
            if table not in _TABLES:
                continue
            root = self.root or root
            folder = root + schema if _true(schema_relative) else schema
            folder = folder + path if _true(relative) else path
            columns = self._rows(
                cursor,
                "SELECT column_id, column_name FROM {}ducklake_column "
                f"WHERE table_id = {int(number)} AND end_snapshot IS NULL",
            )
            limits = {int(column): each for column, each in columns if each in _LIMITS}
            found[table] = (int(number), folder, limits)
        self._tables = found  # all of them: a catalog that is busy in between has us come again

    def _load(self, cursor: Any, snapshot: int) -> Listing:
        if not self._tables:
            self._places(cursor)
        of = {number: table for table, (number, _, _) in self._tables.items()}
        listed = ", ".join(map(str, of))
        rows = self._rows(
            cursor,
            "SELECT data_file_id, table_id, path, path_is_relative, file_format, "
            "encryption_key IS NULL AND mapping_id IS NULL AS simple "
            f"FROM {{}}ducklake_data_file WHERE table_id IN ({listed}) AND end_snapshot IS NULL",
        )
        deletes = self._deletes(cursor, listed)
        new = {int(row[0]) for row in rows} - self._known.keys()
        limits = self._limits(cursor, new) if new else {}
        # Rows inside the catalog are nothing that this can read.
        query = (
            f"SELECT table_id FROM {{}}ducklake_inlined_data_tables WHERE table_id IN ({listed})"
        )
        inlined = {of[int(row[0])] for row in self._rows(cursor, query)}
        known: dict[int, DataFile] = {}
        tables: dict[str, list[DataFile]] = {table: [] for table in self._tables}
        ids: dict[str, set[int]] = {table: set() for table in self._tables}
        for file_id, table_id, path, relative, kind, simple in rows:
            number, table = int(file_id), of[int(table_id)]
            if number in self._known:
                known[number] = self._known[number]
            else:
                plain = kind == "parquet" and _true(simple)
                place = self._tables[table][1] + path if _true(relative) else path
                known[number] = DataFile(place, (), plain, *limits.get(number, (None,) * 4))
            file = known[number]
            if number in deletes:
                paths = deletes[number]
                readable = file.plain and None not in paths
                file = file._replace(deletes=tuple(map(str, paths)), plain=readable)
            if table in inlined:
                file = file._replace(plain=False)
            tables[table].append(file)
            ids[table].add(number)
        self._known = known
        return self._with_units(cursor, Listing(snapshot, tables, _frozen(ids)))

    def _with_units(self, cursor: Any, listing: Listing) -> Listing:
        old = self._listing
        if old is not None and old.ids["intervals"] == listing.ids["intervals"]:
            listing.units.update(old.units)
        else:
            query = f'SELECT "interval", unit FROM {name(self._alias)}.intervals'
            listing.units.update(cursor.execute(query).fetchall())
        return listing

    def _deletes(self, cursor: Any, listed: str) -> dict[int, list[str | None]]:
        """The files of deletions of each file; None for one that only DuckLake can read."""
        rows = self._rows(
            cursor,
            "SELECT data_file_id, table_id, path, path_is_relative, format, "
            "encryption_key IS NULL AND partial_max IS NULL AS simple "
            f"FROM {{}}ducklake_delete_file WHERE table_id IN ({listed}) AND end_snapshot IS NULL",
        )
        folders = {number: folder for number, folder, _ in self._tables.values()}
        out: dict[int, list[str | None]] = {}
        for file_id, table_id, path, relative, kind, simple in rows:
            place = folders[int(table_id)] + path if _true(relative) else path
            readable = kind == "parquet" and _true(simple)
            out.setdefault(int(file_id), []).append(place if readable else None)
        return out

    def _limits(self, cursor: Any, new: set[int]) -> dict[int, tuple[Any, ...]]:
        """The limits of new files, as DataFile has them."""
        found: dict[int, dict[str, tuple[str, str]]] = {}
        for table in ("closed", "open_log"):
            number, _, columns = self._tables[table]
            listed = ", ".join(map(str, columns))
            rows = self._rows(
                cursor,
                "SELECT data_file_id, column_id, min_value, max_value "
                f"FROM {{}}ducklake_file_column_stats WHERE table_id = {number} "
                f"AND column_id IN ({listed}) AND data_file_id >= {min(new)}",
            )
            for file_id, column, low, high in rows:
                if low is not None and high is not None and int(file_id) in new:
                    found.setdefault(int(file_id), {})[columns[int(column)]] = (low, high)
        out = {}
        for number, limits in found.items():
            times = (_times(limits.get(column)) for column in ("open_time", "close_time"))
            out[number] = (limits.get("symbol"), limits.get("interval"), *times)
        return out


def _true(value: Any) -> bool:
    """A truth value of a catalog, which may come as text."""
    return value in (True, 1, "1", "t", "true")


def _frozen(ids: dict[str, set[int]]) -> dict[str, frozenset[int]]:
    return {table: frozenset(numbers) for table, numbers in ids.items()}


def _times(limits: tuple[str, str] | None) -> tuple[int, int] | None:
    """Limits of times in nanoseconds; None for what NumPy cannot read: no file is left out then."""
    if limits is None:
        return None
    try:
        first, last = np.array(limits, "datetime64[ns]").view(np.int64).tolist()
    except (ValueError, OverflowError):
        return None
    return first, last
