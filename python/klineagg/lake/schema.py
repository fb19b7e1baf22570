"""The tables and views of a lake, their version, and the way from an older version.

==============  ==================================================================================
``closed``      closed bars as they were delivered: a run of gap bars is one row
``open_log``    open bars: each commit adds those that changed
``fence``       for each consumer the last snapshot, and how many commits the lake has had
``checkpoint``  for each consumer the engine's state at one position of its log
``intervals``   the intervals, and by how much time their files are cut
``klineagg``    the version of all this
``bars``        view: every bar a row, open ones too, runs expanded
``rows``        view: the same with runs as single rows
==============  ==================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from klineagg import errors
from klineagg._bars_columns import COLUMNS, DTYPES

__all__ = ["MIGRATIONS", "SCHEMA_VERSION", "create", "migrate", "version_of"]

SCHEMA_VERSION: Final = 1

_SQL_TYPES: Final = {
    "int32": "INTEGER",
    "int64": "BIGINT",
    "uint16": "USMALLINT",
    "float64": "DOUBLE",
    # Microseconds would not hold the times of trades.
    "datetime64[ns]": "TIMESTAMP_NS",
}

BAR_COLUMNS: Final = {
    "symbol": "VARCHAR",
    "interval": "VARCHAR",
    **{column: _SQL_TYPES[str(DTYPES[column])] for column in COLUMNS[2:]},
}
MEMBER_COLUMNS: Final = {"member_opens": "TIMESTAMP_NS[]", "member_closes": "TIMESTAMP_NS[]"}
CLOSED_COLUMNS: Final = {**BAR_COLUMNS, "date": "DATE", "part": "DATE", **MEMBER_COLUMNS}
OPEN_COLUMNS: Final = {**BAR_COLUMNS, "generation": "BIGINT"}


def columns_sql(columns: dict[str, str]) -> str:
    """Columns and their types for CREATE TABLE."""
    return ", ".join(f'"{column}" {kind}' for column, kind in columns.items())


# The single bars of a run: its members where they differ in length, else equal parts.
_OPENS: Final = (
    "coalesce(member_opens[nth], make_timestamp_ns(epoch_ns(open_time) + (nth - 1) "
    "* ((epoch_ns(close_time) - epoch_ns(open_time)) // run_length)))"
)
_CLOSES: Final = (
    "coalesce(member_closes[nth], make_timestamp_ns(epoch_ns(open_time) + nth "
    "* ((epoch_ns(close_time) - epoch_ns(open_time)) // run_length)))"
)


def _select(**changed: str) -> str:
    return ", ".join(
        f'{changed[column]} AS "{column}"' if column in changed else f'"{column}"'
        for column in BAR_COLUMNS
    )


def open_sql(source: str = "open_log", where: str = "TRUE") -> str:
    """The open bars as of the last commit: all columns of ``open_log``.

    An open bar counts until a newer state of it is delivered, or its series closed behind it. How
    far a series has closed is a row of the log with a ``run_length`` of 0.
    """
    return (
        "SELECT * EXCLUDE (_closed, _newest) FROM (SELECT *, "
        "max(CASE WHEN run_length = 0 THEN open_time END) "
        'OVER (PARTITION BY symbol, "interval") AS _closed, '
        'max(generation) OVER (PARTITION BY symbol, "interval", open_time, run_length = 0) '
        f"AS _newest FROM {source} WHERE {where}) "
        "WHERE run_length > 0 AND generation = _newest "
        "AND (_closed IS NULL OR open_time >= _closed)"
    )


def _views() -> dict[str, str]:
    opened = f"SELECT {_select()}, CAST(open_time AS DATE) AS date FROM ({open_sql()})"
    single = f"SELECT {_select()}, date FROM closed WHERE run_length = 1"
    run = _select(open_time=_OPENS, close_time=_CLOSES, run_length="CAST(1 AS INTEGER)")
    runs = (
        f"SELECT {run}, date FROM (SELECT *, unnest(range(1, run_length + 1)) AS nth "
        "FROM closed WHERE run_length > 1)"
    )
    return {
        "bars": f"{single} UNION ALL {runs} UNION ALL {opened}",
        "rows": f"SELECT {_select()}, date FROM closed UNION ALL {opened}",
    }


def create(cursor: Any) -> None:
    """Makes everything in the lake that is the cursor's default; inside a transaction."""
    statements = [
        "CREATE TABLE klineagg (schema_version INTEGER, written_by VARCHAR)",
        'CREATE TABLE intervals ("interval" VARCHAR, unit VARCHAR)',
        f"CREATE TABLE closed ({columns_sql(CLOSED_COLUMNS)})",
        "ALTER TABLE closed SET PARTITIONED BY (part)",
        'ALTER TABLE closed SET SORTED BY ("interval" ASC, symbol ASC, open_time ASC)',
        f"CREATE TABLE open_log ({columns_sql(OPEN_COLUMNS)})",
        "CREATE TABLE fence (consumer VARCHAR, epoch BIGINT, number BIGINT, position BIGINT, "
        "watermark TIMESTAMP_NS, commits BIGINT, committed_at TIMESTAMP)",
        "CREATE TABLE checkpoint (consumer VARCHAR, epoch BIGINT, number BIGINT, "
        "position BIGINT, state BLOB)",
    ]
    statements += [f'CREATE VIEW "{view}" AS {query}' for view, query in _views().items()]
    for statement in statements:
        cursor.execute(statement)
    from klineagg import __version__

    cursor.execute("INSERT INTO klineagg VALUES (?, ?)", [SCHEMA_VERSION, __version__])


# From each version to the next one: what has to be done, in one transaction with the new number.
MIGRATIONS: Final[dict[int, Callable[[Any], None]]] = {}


def version_of(cursor: Any) -> int | None:
    """The version of the lake; None when there are no tables of ours in it."""
    query = (
        "SELECT count(*) FROM duckdb_tables() WHERE database_name = current_database() "
        "AND table_name = 'klineagg'"
    )
    if not cursor.execute(query).fetchone()[0]:
        return None
    row = cursor.execute("SELECT max(schema_version) FROM klineagg").fetchone()
    return None if row[0] is None else int(row[0])


def check(version: int, label: str) -> None:
    """Refuses a lake that a later klineagg wrote.

    Raises:
        LakeError: ``lake_version``.
    """
    if version > SCHEMA_VERSION:
        text = f"{label} has schema version {version}, this klineagg knows {SCHEMA_VERSION}"
        raise errors.make("lake_version", text, version=version, known=SCHEMA_VERSION)


def migrate(
    cursor: Any,
    version: int,
    target: int = SCHEMA_VERSION,
    steps: dict[int, Callable[[Any], None]] | None = None,
) -> None:
    """Brings an older lake to ``target``, step by step; each step is one transaction.

    Raises:
        LakeError: ``lake_version`` when there is no way.
    """
    steps = MIGRATIONS if steps is None else steps
    for old in range(version, target):
        if old not in steps:
            text = f"there is no way from schema version {old} to {old + 1}"
            raise errors.make("lake_version", text, version=version, known=target)
        cursor.execute("BEGIN")
        try:
            steps[old](cursor)
            cursor.execute("UPDATE klineagg SET schema_version = ?", [old + 1])
            cursor.execute("COMMIT")
        except BaseException:
            cursor.execute("ROLLBACK")
            raise
