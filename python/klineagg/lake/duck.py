"""DuckDB with the extensions that a lake needs, from packages and not from the network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from klineagg import errors
from klineagg._bars_extras import require

__all__ = ["connect", "is_contention", "literal", "load", "name", "without_secrets"]

# The extension that a package brings, for each that a catalog or a data path may need.
EXTENSIONS: Final = ("ducklake", "sqlite_scanner", "postgres_scanner", "httpfs")

_CONTENTION: Final = re.compile(
    r"conflict|database is locked|could not serialize|deadlock|concurrent"
    r"|could not set lock|transaction.*aborted|schema has changed",
    re.IGNORECASE,
)
_SECRETS: Final = re.compile(
    # A quote within quotes is written twice, or behind a backslash.
    r"((?:password|passwd|secret|session_token|key_id)\s*[=:]?\s*)"
    r"('(?:[^'\\]|\\.|'')*'|[^\s'\"@]+)"
    r"|(://[^:/@\s]*:)([^@/\s]+)(?=@)",
    re.IGNORECASE,
)


def literal(text: str) -> str:
    """Text as it stands in a statement."""
    return "'" + text.replace("'", "''") + "'"


def name(text: str) -> str:
    """A name as it stands in a statement."""
    return '"' + text.replace('"', '""') + '"'


def without_secrets(text: object) -> str:
    """A message without what looks like a password or key."""
    return _SECRETS.sub(lambda m: f"{m[1] or m[3]}...", str(text))


def is_contention(error: BaseException) -> bool:
    """Whether somebody else was in the way, so that trying again may help."""
    return _CONTENTION.search(str(error)) is not None


def connect(extensions: Sequence[str]) -> Any:
    """A DuckDB in memory with these extensions loaded.

    Raises:
        MissingExtraError: duckdb is not installed.
        LakeError: ``lake_extension`` when an extension can neither be found nor fetched.
    """
    duckdb = require("duckdb", "lake", "a lake")
    # What the lake reads goes through pyarrow, which knows columns of nanoseconds.
    require("pyarrow", "lake", "a lake")
    connection = duckdb.connect(
        ":memory:",
        config={
            # A statement must never fetch code from the network by itself.
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        },
    )
    # First of all: long statements would draw on the standard output of programs, and on a busy
    # machine loading an extension is one.
    connection.execute("SET enable_progress_bar = false")
    for extension in extensions:
        load(connection, extension)
    # Times are UTC everywhere, whatever the zone of the machine.
    connection.execute("SET TimeZone = 'UTC'")
    # Every worker of a scan would open the catalog's file by itself, dozens of times a query, and
    # with the default patience of SQLite, whose shortest nap is a second in this build.
    if "sqlite_scanner" in extensions:
        connection.execute("SET GLOBAL sqlite_disable_multithreaded_scans = true")
    # Files of a lake never change.
    connection.execute("SET GLOBAL parquet_metadata_cache = true")
    return connection


def load(connection: Any, extension: str) -> None:
    """Loads an extension.

    Raises:
        LakeError: ``lake_extension``.
    """
    duckdb = require("duckdb", "lake", "a lake")
    path = _packaged(duckdb.__version__, extension)
    try:
        if path is not None:
            connection.execute(f"LOAD {literal(str(path))}")
        else:
            try:
                connection.execute(f"LOAD {extension}")
            except duckdb.Error:
                connection.execute(f"INSTALL {extension}")
                connection.execute(f"LOAD {extension}")
        if extension == "httpfs":
            # It copies the keys of the environment into settings, which every query can read.
            for setting in ("s3_access_key_id", "s3_secret_access_key", "s3_session_token"):
                connection.execute(f"SET GLOBAL {setting} = ''")
    except duckdb.Error as error:
        package = f"duckdb-extension-{extension.replace('_', '-')}"
        text = f"DuckDB {duckdb.__version__} has no extension {extension}: {error}"
        hint = f"pip install 'klineagg[lake]' brings {package} for the DuckDB that it fits"
        raise errors.make(
            "lake_extension", text, hint=hint, extension=extension, duckdb=duckdb.__version__
        ) from error


def _packaged(version: str, extension: str) -> Path | None:
    """The extension's file in the package that brings it; None when it is not installed."""
    from importlib import resources

    try:
        root = resources.files(f"duckdb_extension_{extension}")
    except ModuleNotFoundError:
        return None
    file = root / "extensions" / f"v{version}" / f"{extension}.duckdb_extension"
    path = Path(str(file))
    return path if path.is_file() else None
