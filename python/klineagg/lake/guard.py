"""What a query of the user may touch: the tables of the lake, and functions that only compute.

DuckDB's own settings do not hold its extensions back: a SELECT could remove files of the lake, and
open other databases. So DuckDB parses the statement, and everything that it reads is looked at
before anything is bound or run: some functions do their work while they are bound.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from klineagg import errors

__all__ = ["check_query"]

# What stands after FROM with arguments. A list of what is refused would lack what the next DuckDB
# brings.
_TABLE_FUNCTIONS: Final = frozenset(
    {
        # they make rows of their arguments
        *("range", "generate_series", "unnest", "repeat", "repeat_row", "json_each", "json_tree"),
        # what there is; secrets come without their values
        *("duckdb_columns", "duckdb_constraints", "duckdb_databases", "duckdb_dependencies"),
        *("duckdb_extensions", "duckdb_functions", "duckdb_indexes", "duckdb_keywords"),
        *("duckdb_memory", "duckdb_optimizers", "duckdb_schemas", "duckdb_secrets"),
        *("duckdb_sequences", "duckdb_settings", "duckdb_tables", "duckdb_types"),
        *("duckdb_variables", "duckdb_views", "icu_calendar_names", "pg_timezone_names"),
        *("pragma_collations", "pragma_platform", "pragma_show", "pragma_table_info"),
        *("pragma_user_agent", "pragma_version"),
        # what the lake has, and what it had
        *("ducklake_current_snapshot", "ducklake_last_committed_snapshot", "ducklake_list_files"),
        *("ducklake_options", "ducklake_settings", "ducklake_snapshots", "ducklake_table_changes"),
        *("ducklake_table_deletions", "ducklake_table_info", "ducklake_table_insertions"),
    }
)
# Of the functions of single values one plans any statement that it is given as text, and planning
# opens files; the other writes.
_REFUSED: Final = frozenset({"json_serialize_plan", "write_log"})
# A name that is none of a table is taken for that of a file, which has a dot or a folder in it.
_FILE: Final = re.compile(r"[./\\:*?\[~]")
# DuckLake's own tables in the catalog. A PostgreSQL database has other people's beside them.
_METADATA: Final = "__ducklake_metadata_"


def check_query(cursor: Any, query: str) -> None:
    """Refuses a statement that may do more than read the lake.

    Args:
        cursor: of any DuckDB; nothing of the statement is run.
        query: one statement.

    Raises:
        LakeQueryError: ``lake_query``, with what it is that is not allowed.
    """
    row = cursor.execute("SELECT json_serialize_sql(?::VARCHAR)", [query]).fetchone()
    try:
        parsed = json.loads(row[0])
    except RecursionError:
        raise _refused("a query is nested too deeply", {}) from None
    if parsed["error"]:
        raise _refused(f"a query is one SELECT: {parsed['error_message']}", {})
    for node in _nodes(parsed):
        # Looked at first: its name is a scalar function's as well.
        if node.get("type") == "TABLE_FUNCTION":
            _check_table_function(node)
        elif node.get("type") == "BASE_TABLE":
            _check_table(node)
        elif str(node.get("function_name", "")).lower() in _REFUSED:
            raise _refused_function(node["function_name"])


def _nodes(parsed: Any) -> Iterator[dict[str, Any]]:
    """Every object in it, at any depth."""
    todo = [parsed]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            yield one
            todo.extend(one.values())
        elif isinstance(one, list):
            todo.extend(one)


def _check_table_function(node: dict[str, Any]) -> None:
    function = str(node["function"].get("function_name", "?"))
    if function.lower() not in _TABLE_FUNCTIONS:
        raise _refused_function(function)


def _check_table(node: dict[str, Any]) -> None:
    parts = [node.get(key, "") for key in ("catalog_name", "schema_name", "table_name")]
    parts = [part for part in parts if part]
    text = ".".join(parts)
    # The parts of a name that no table has are put together again: lake.csv may be a file.
    is_file = any(map(_FILE.search, parts)) or (len(parts) > 1 and Path(text).exists())
    in_catalog = any(part.lower().startswith(_METADATA) for part in parts[:-1])
    if is_file or (in_catalog and not parts[-1].lower().startswith("ducklake_")):
        raise _refused(f"{text!r} is no table of the lake", {"table": text})


def _refused_function(function: str) -> errors.KlineaggError:
    text = f"{function}() does more than read the lake, or reads something else"
    return _refused(text, {"function": function})


def _refused(text: str, fields: dict[str, str]) -> errors.KlineaggError:
    return errors.make("lake_query", text, **fields)
