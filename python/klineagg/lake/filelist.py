"""What a catalog says of files, in one look: whoever commits meanwhile, it is of one snapshot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

__all__ = ["FoundFile", "Look", "TablePlace", "is_true", "look"]

_VALUES: Final = 6  # of a row, at most


class TablePlace(NamedTuple):
    """Where a table's files are.

    Attributes:
        number: of the table in the catalog.
        folder: of its files.
        limits: the columns by which files are left out: names by the columns' numbers.
    """

    number: int
    folder: str
    limits: dict[int, str]


class FoundFile(NamedTuple):
    """A file as the catalog has it.

    Attributes:
        number: of the file; for one of deletions, that of the file whose rows it names.
        table: the table's number.
        path: the whole path.
        readable: that it is Parquet which anybody can read, not DuckLake alone.
    """

    number: int
    table: int
    path: str
    readable: bool


@dataclass
class Look:
    """The files of one snapshot.

    Attributes:
        snapshot: its number.
        files: those with rows.
        deletes: those that name rows which do not count any more.
        limits: by file and column's name the least and the greatest value, of files that were
            not known before.
        inlined: the numbers of tables with rows in the catalog itself.
    """

    snapshot: int = -1
    files: list[FoundFile] = field(default_factory=list)
    deletes: list[FoundFile] = field(default_factory=list)
    limits: dict[int, dict[str, tuple[str, str]]] = field(default_factory=dict)
    inlined: set[int] = field(default_factory=set)


def look(
    rows_of: Callable[[str], Sequence[Sequence[str]]], places: Mapping[str, TablePlace], known: int
) -> Look:
    """Lists the files of the newest snapshot.

    Args:
        rows_of: runs a query where the catalog is; ``{0}`` stands before its tables.
        places: of the tables whose files are wanted.
        known: the newest file whose limits are known; -1 for none.
    """
    by_number = {place.number: place for place in places.values()}
    found = Look()
    for kind, one, two, three, four, five, six in rows_of(_statement(by_number, known)):
        if kind == "snapshot":
            found.snapshot = int(one)
        elif kind == "inlined":
            found.inlined.add(int(one))
        elif kind == "limits":
            column = by_number[int(two)].limits[int(three)]
            found.limits.setdefault(int(one), {})[column] = (four, five)
        else:
            place = by_number[int(two)]
            path = place.folder + three if is_true(four) else three
            file = FoundFile(int(one), place.number, path, five == "parquet" and is_true(six))
            (found.files if kind == "file" else found.deletes).append(file)
    return found


def is_true(value: object) -> bool:
    """A truth value of a catalog, which may come as text."""
    return value in (True, 1, "1", "t", "true")


def _statement(places: Mapping[int, TablePlace], known: int) -> str:
    """One statement sees one state of the catalog; several would each see another one."""
    tables = ", ".join(map(str, places))
    limited = " OR ".join(
        f"(table_id = {number} AND column_id IN ({', '.join(map(str, place.limits))}))"
        for number, place in places.items()
        if place.limits
    )
    parts = (
        _part("snapshot", "max(snapshot_id)") + "FROM {0}ducklake_snapshot",
        _part(
            "file", "data_file_id", "table_id", "path", "path_is_relative", "file_format",
            "encryption_key IS NULL AND mapping_id IS NULL",
        )
        + f"FROM {{0}}ducklake_data_file WHERE table_id IN ({tables}) AND end_snapshot IS NULL",
        _part(
            "deletes", "data_file_id", "table_id", "path", "path_is_relative", "format",
            "encryption_key IS NULL AND partial_max IS NULL",
        )
        + f"FROM {{0}}ducklake_delete_file WHERE table_id IN ({tables}) AND end_snapshot IS NULL",
        _part("limits", "data_file_id", "table_id", "column_id", "min_value", "max_value")
        + f"FROM {{0}}ducklake_file_column_stats WHERE data_file_id > {known} AND ({limited}) "
        "AND min_value IS NOT NULL AND max_value IS NOT NULL",
        _part("inlined", "table_id")
        + f"FROM {{0}}ducklake_inlined_data_tables WHERE table_id IN ({tables})",
    )  # fmt: skip
    return " UNION ALL ".join(parts)


def _part(kind: str, *values: str) -> str:
    """The beginning of a part: all of it text, which every kind of catalog writes alike."""
    padded = [*values, *["''"] * (_VALUES - len(values))]
    listed = ", ".join(f"CAST({each} AS VARCHAR) AS value_{i}" for i, each in enumerate(padded))
    return f"SELECT CAST('{kind}' AS VARCHAR) AS kind, {listed} "
