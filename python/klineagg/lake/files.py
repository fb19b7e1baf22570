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

from klineagg.lake.datafile import DataFile
from klineagg.lake.duck import literal, name
from klineagg.lake.filelist import FoundFile, TablePlace, is_true, look
from klineagg.lake.state import Fence, fences

__all__ = ["Files", "Listing"]

_TABLES: Final = ("closed", "open_log", "intervals", "fence")
# The limits that leave out files, by the column's name.
_LIMITS: Final = ("symbol", "interval", "open_time", "close_time")


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
        self._places: dict[str, TablePlace] = {}

    def newest(self, cursor: Any) -> Listing:
        """The files of the newest snapshot, as far as the cursor's transaction sees it."""
        with self._guard:
            if self._listing is None or self._listing.snapshot != self._newest(cursor):
                self._listing = self._load(cursor)
            return self._listing

    def folder(self, cursor: Any) -> str | None:
        """Where all data files are; None when that is not on a disk of this machine."""
        with self._guard:
            folder = self._places_of(cursor)["closed"].folder
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

    def _places_of(self, cursor: Any) -> dict[str, TablePlace]:
        """Number, folder and columns of each table; they stay the same."""
        if self._places:
            return self._places
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
            folder = root + schema if is_true(schema_relative) else schema
            folder = folder + path if is_true(relative) else path
            columns = self._rows(
                cursor,
                "SELECT column_id, column_name FROM {}ducklake_column "
                f"WHERE table_id = {int(number)} AND end_snapshot IS NULL",
            )
            limits = {int(column): each for column, each in columns if each in _LIMITS}
            found[table] = TablePlace(int(number), folder, limits)
        self._places = found  # all of them: a catalog that is busy in between has us come again
        return found

    def _load(self, cursor: Any) -> Listing:
        places = self._places_of(cursor)
        newest = max(self._known, default=-1)
        found = look(lambda query: self._rows(cursor, query), places, newest)
        if any(file.number <= newest and file.number not in self._known for file in found.files):
            found = look(lambda query: self._rows(cursor, query), places, -1)  # its limits too
        deletes: dict[int, list[FoundFile]] = {}
        for each in found.deletes:
            deletes.setdefault(each.number, []).append(each)
        table_of = {place.number: table for table, place in places.items()}
        known: dict[int, DataFile] = {}
        tables: dict[str, list[DataFile]] = {table: [] for table in places}
        ids: dict[str, set[int]] = {table: set() for table in places}
        for each in found.files:
            file = self._known.get(each.number)
            if file is None:
                limits = _limits(found.limits.get(each.number, {}))
                file = DataFile(each.path, (), each.readable, *limits)
            known[each.number] = file
            gone = deletes.get(each.number, [])
            # Rows inside the catalog are nothing that this can read.
            readable = all(of.readable for of in gone) and each.table not in found.inlined
            file = file._replace(
                deletes=tuple(of.path for of in gone), plain=file.plain and readable
            )
            tables[table_of[each.table]].append(file)
            ids[table_of[each.table]].add(each.number)
        self._known = known
        frozen = {table: frozenset(numbers) for table, numbers in ids.items()}
        return self._with_units(cursor, Listing(found.snapshot, tables, frozen))

    def _with_units(self, cursor: Any, listing: Listing) -> Listing:
        old = self._listing
        if old is not None and old.ids["intervals"] == listing.ids["intervals"]:
            listing.units.update(old.units)
        else:
            query = f'SELECT "interval", unit FROM {name(self._alias)}.intervals'
            listing.units.update(cursor.execute(query).fetchall())
        return listing


def _limits(of: dict[str, tuple[str, str]]) -> tuple[Any, ...]:
    """The limits of a file, as DataFile has them."""
    times = (_times(of.get(column)) for column in ("open_time", "close_time"))
    return (of.get("symbol"), of.get("interval"), *times)


def _times(limits: tuple[str, str] | None) -> tuple[int, int] | None:
    """Limits of times in nanoseconds; None for what NumPy cannot read: no file is left out then."""
    if limits is None:
        return None
    try:
        first, last = np.array(limits, "datetime64[ns]").view(np.int64).tolist()
    except (ValueError, OverflowError):
        return None
    return first, last
