"""Queries of the user: one statement that reads, in a DuckDB that can do nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from klineagg import errors
from klineagg._bars_extras import require
from klineagg.lake.catalog import Catalog, attach, data_path_of
from klineagg.lake.duck import connect, is_contention, literal, name, without_secrets
from klineagg.lake.guard import check_query
from klineagg.lake.patience import Patience

if TYPE_CHECKING:
    import numpy as np
    import pandas
    import polars
    import pyarrow
    from numpy.typing import NDArray

T = TypeVar("T")

__all__ = ["QueryResult", "copy_catalog", "open_guarded", "run_query"]

_ROWS_SHOWN: Final = 10
# How long a query waits for a catalog that is busy for a moment.
_BUSY_S: Final = 5.0


class QueryResult:
    """The rows of a query; columns as Arrow, NumPy, pandas or polars data, or row by row."""

    __slots__ = ("_table",)

    def __init__(self, table: Any) -> None:
        self._table = table

    def __len__(self) -> int:
        return int(self._table.num_rows)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self._table.column_names)

    def to_arrow(self) -> pyarrow.Table:
        """A pyarrow Table; not a copy."""
        return self._table

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """The Arrow PyCapsule interface, for polars, DuckDB and others."""
        return self._table.__arrow_c_stream__(requested_schema)

    def to_numpy(self) -> dict[str, NDArray[Any]]:
        """Each column as an array ``(n,)``: numbers and times as such, texts as objects."""
        return {
            column: self._table.column(column).to_numpy() for column in self._table.column_names
        }

    def to_pandas(self) -> pandas.DataFrame:
        """A pandas DataFrame.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        require("pandas", "pandas", "to_pandas()")
        frame: pandas.DataFrame = self._table.to_pandas()
        return frame

    def to_polars(self) -> polars.DataFrame:
        """A polars DataFrame.

        Raises:
            MissingExtraError: polars is not installed.
        """
        pl = require("polars", "polars", "to_polars()")
        frame: polars.DataFrame = pl.from_arrow(self._table)
        return frame

    def __getitem__(self, column: str) -> NDArray[np.generic]:
        """A column as an array ``(n,)``.

        Raises:
            ColumnError: ``missing_column``.
        """
        if column not in self._table.column_names:
            hint = f"there are {', '.join(self.columns)}"
            text = f"the query has no column {column!r}"
            raise errors.make("missing_column", text, hint=hint, column=column)
        array: NDArray[np.generic] = self._table.column(column).to_numpy()
        return array

    def rows(self) -> list[tuple[Any, ...]]:
        """All rows as tuples of Python objects."""
        columns = [column.to_pylist() for column in self._table.columns]
        return list(zip(*columns, strict=True))

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self.rows())

    def __repr__(self) -> str:
        names = list(self.columns)
        head = self._table.slice(0, _ROWS_SHOWN)
        cells = [names, *([str(x) for x in row] for row in QueryResult(head).rows())]
        widths = [max(len(row[k]) for row in cells) for k in range(len(names))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in cells
        ]
        if len(self) > _ROWS_SHOWN:
            lines.append(f"... {len(self):,} rows")
        return "\n".join(lines)


def copy_catalog(cursor: Any, catalog: Catalog, alias: str, folder: Path) -> Catalog:
    """A copy of a catalog in a DuckDB file, which no second DuckDB may open even to read.

    DuckDB makes it: who opens the file by other means takes DuckDB's lock off it by closing it.

    Args:
        cursor: of the DuckDB that has the lake attached.
        catalog: which.
        alias: what the lake is called there.
        folder: of the copy.
    """
    path = folder / "catalog.duckdb"
    path.unlink(missing_ok=True)
    source = name(f"__ducklake_metadata_{alias}")
    cursor.execute(f"ATTACH {literal(str(path))} AS klineagg_copy")
    try:
        cursor.execute(f"COPY FROM DATABASE {source} TO klineagg_copy")
    finally:
        cursor.execute("DETACH klineagg_copy")
    return replace(catalog, path=path)


def open_guarded(catalog: Catalog, alias: str, version: int | None) -> Any:
    """A DuckDB with the lake attached for reading, which reaches no other file and no network.

    Raises:
        LakeError: ``lake_catalog``.
    """
    duckdb = require("duckdb", "lake", "a lake")
    connection = connect(catalog.extensions)
    try:
        _patiently(lambda: attach(connection, catalog, alias, read_only=True, version=version))
        data_path = catalog.data_path or _patiently(lambda: data_path_of(connection, alias))
        paths = [data_path]
        if catalog.path is not None:
            paths.append(f"{catalog.path.parent}/")
        listed = ", ".join(literal(path) for path in paths)
        for statement in (
            f"SET allowed_directories = [{listed}]",
            "SET enable_external_access = false",
            "SET lock_configuration = true",  # nobody can take these back
            # Last, as what follows it looks into the catalog, which a writer may hold just then.
            f"USE {alias}",
        ):
            _patiently(partial(connection.execute, statement))
    except duckdb.Error as error:
        connection.close()
        text = f"{catalog.label} cannot be opened: {without_secrets(error)}"
        raise errors.make("lake_catalog", text, catalog=catalog.label) from None
    return connection


def _patiently(work: Callable[[], T]) -> T:
    """What ``work`` gives; it runs again while the catalog is busy for a moment."""
    duckdb = require("duckdb", "lake", "a lake")
    patience = Patience(_BUSY_S)
    while True:
        try:
            return work()
        except duckdb.Error as error:
            if not is_contention(error) or patience.is_over:
                raise
        patience.nap()


def run_query(
    connection: Any, alias: str, query: str, params: Sequence[Any] | Mapping[str, Any] | None
) -> QueryResult:
    """Runs one statement that reads.

    Raises:
        LakeQueryError: ``lake_query`` when it is none, or DuckDB refuses it.
    """
    duckdb = require("duckdb", "lake", "a lake")
    if not isinstance(query, str):
        raise errors.make("lake_query", f"a query is text, and not {type(query).__name__}")
    try:
        return _patiently(lambda: _run(connection, alias, query, params))
    except duckdb.Error as error:
        raise errors.make("lake_query", without_secrets(error), hint=_hint(error)) from None


def _hint(error: BaseException) -> str:
    """What helps; nothing where DuckDB says it all: the statement is one that reads by then."""
    duckdb = require("duckdb", "lake", "a lake")
    # A damaged file is no error of its own in DuckDB.
    if isinstance(error, duckdb.IOException) or ".parquet'" in str(error):
        return "the query is not at fault: check the files of the lake and the rights to them"
    if isinstance(error, (duckdb.BinderException, duckdb.CatalogException)):
        return "the views are bars and rows; DESCRIBE bars tells their columns"
    return ""


def _run(
    connection: Any, alias: str, query: str, params: Sequence[Any] | Mapping[str, Any] | None
) -> QueryResult:
    cursor = connection.cursor()
    try:
        statements = cursor.extract_statements(query)
        kinds = [str(statement.type).rpartition(".")[2].upper() for statement in statements]
        # EXPLAIN is listed by its own kind, and may hold any statement: ANALYZE would run it.
        if kinds != ["SELECT"]:
            what = ", ".join(kinds) or "nothing"
            raise errors.make("lake_query", f"a query is one SELECT, this is {what}", kinds=kinds)
        # Its text, not the user's: a PRAGMA has become the SELECT that it stands for.
        check_query(cursor, statements[0].query)
        cursor.execute(f"USE {alias}")
        cursor.execute(statements[0], params) if params else cursor.execute(statements[0])
        return QueryResult(cursor.to_arrow_table())
    finally:
        cursor.close()
