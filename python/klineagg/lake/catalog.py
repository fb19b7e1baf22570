"""Where a lake's catalog and its files are, and how DuckDB gets at them.

Secrets are handed to DuckDB as secrets: they are in no attached name, no message and no repr.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from klineagg import errors
from klineagg.lake.duck import literal, name, without_secrets

__all__ = ["BUSY_MS", "Catalog", "attach", "data_path_of"]

_SQLITE_SUFFIXES: Final = (".sqlite", ".sqlite3", ".db")
_CATALOG_FILE: Final = "catalog.sqlite"
# DuckDB's SQLite knows only naps of whole seconds; with a patience of less it says at once that
# it is busy, and we try again after milliseconds.
BUSY_MS: Final = 500


@dataclass(frozen=True)
class Catalog:
    """A catalog and the place of its files.

    Attributes:
        kind: ``"sqlite"``, ``"duckdb"`` or ``"postgres"``.
        path: of the catalog's file; None for PostgreSQL.
        data_path: folder or ``s3://`` prefix; None: as the catalog has it.
        parameters: of the connection to PostgreSQL, by their names in libpq.
        is_given: the data path is the user's, and not the default one.
        moved: the files are in ``data_path``, and the catalog tells where they were before.
    """

    kind: str
    path: Path | None
    data_path: str | None
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)
    is_given: bool = False
    moved: bool = False

    @classmethod
    def of(cls, catalog: str | os.PathLike[str], data_path: Any) -> Catalog:
        """The catalog that the arguments of :class:`klineagg.Lake` name.

        Raises:
            OptionError: ``invalid_option``.
        """
        text = os.fspath(catalog)
        data = None if data_path is None else _data_path(os.fspath(data_path))
        if text.startswith(("postgres://", "postgresql://", "postgres:")):
            parameters = _postgres_parameters(text)
            return cls("postgres", None, data, parameters, is_given=data is not None)
        kind, path = "sqlite", Path(text)
        for prefix in ("sqlite:", "duckdb:"):
            if text.startswith(prefix):
                kind, path = prefix[:-1], Path(text[len(prefix) :])
        if not text or "://" in text or "\0" in text:
            shown = without_secrets(text)
            hint = "give a folder, sqlite:FILE, duckdb:FILE or postgresql://..."
            raise errors.make(
                "invalid_option", f"{shown!r} is no catalog", hint=hint, option="catalog"
            )
        # One spelling for each place: DuckLake compares paths letter by letter.
        path = Path(os.path.realpath(path))
        own = f"{path}.data/"
        if path.suffix == ".duckdb" and not text.startswith("sqlite:"):
            kind = "duckdb"
        elif not text.startswith(("sqlite:", "duckdb:")) and path.suffix not in _SQLITE_SUFFIXES:
            path, own = path / _CATALOG_FILE, f"{path / 'data'}/"
        return cls(kind, path, data or own, is_given=data is not None)

    @property
    def label(self) -> str:
        """What it is called in messages: without secrets."""
        if self.path is not None:
            folder = self.path.name == _CATALOG_FILE
            return str(self.path.parent if folder else self.path)
        host, base = self.parameters.get("host", ""), self.parameters.get("dbname", "")
        return f"postgres:{host}/{base}"

    @property
    def extensions(self) -> tuple[str, ...]:
        """The extensions of DuckDB that it needs."""
        scanner = {"sqlite": ("sqlite_scanner",), "postgres": ("postgres_scanner",)}
        # Where only the catalog knows the path, it may be a remote one, which cannot be attached
        # without the extension.
        remote = ("httpfs",) if self.data_path is None or "://" in self.data_path else ()
        return ("ducklake", *scanner.get(self.kind, ()), *remote)

    @property
    def exists(self) -> bool:
        """Whether there is something to open (always true for PostgreSQL)."""
        return self.path is None or self.path.exists()


def _data_path(text: str) -> str:
    # pathlib makes s3:/bucket of s3://bucket, which would be a folder s3: in the working directory.
    if not text or re.match(r"[A-Za-z0-9]+:(/*$|/[^/]|///)", text):
        hint = "give a folder, or s3://bucket/prefix as text"
        message = f"data_path={text!r} is no place for files"
        raise errors.make("invalid_option", message, hint=hint, option="data_path")
    if "://" not in text:
        text = os.path.realpath(text)
    elif not text.startswith("s3://"):
        hint = "give a folder, or s3://bucket/prefix; other stores have gateways that speak S3"
        message = f"data_path={without_secrets(text)!r} is no place for files"
        raise errors.make("invalid_option", message, hint=hint, option="data_path")
    return text if text.endswith("/") else text + "/"


def _postgres_parameters(text: str) -> dict[str, str]:
    if "://" in text:
        parts = urlsplit(text)
        found = {
            "host": parts.hostname,
            "port": None if parts.port is None else str(parts.port),
            "user": parts.username,
            "password": parts.password,
            "dbname": parts.path.lstrip("/"),
        }
        out = {key: unquote(value) for key, value in found.items() if value}
        return out | dict(parse_qsl(parts.query))
    out = {}
    for pair in text.removeprefix("postgres:").split():
        key, equals, value = pair.partition("=")
        if not equals:
            shown = without_secrets(pair)
            hint = "postgres:host=... dbname=... or postgresql://user@host/base"
            raise errors.make(
                "invalid_option", f"{shown!r} is not KEY=VALUE", hint=hint, option="catalog"
            )
        out[key] = value
    return out


def make_folders(catalog: Catalog) -> None:
    """Makes the folders of a new lake."""
    if catalog.path is not None:
        catalog.path.parent.mkdir(parents=True, exist_ok=True)
    if catalog.data_path is not None and "://" not in catalog.data_path:
        Path(catalog.data_path).mkdir(parents=True, exist_ok=True)


def make_file(connection: Any, catalog: Catalog) -> None:
    """Makes the catalog's file, or sets its mode; under the writer's lock."""
    if catalog.kind != "sqlite":
        return
    # Without its log of writes ahead, a reader's open transaction blocks every commit. The mode is
    # a property of the file and has to be there before DuckLake opens it. DuckDB's own SQLite sets
    # it: if another one in this process closed the file, DuckDB's locks on it would be gone.
    place, patience = literal(str(catalog.path)), f"BUSY_TIMEOUT {BUSY_MS}"
    connection.execute(f"ATTACH {place} AS made (TYPE sqlite, JOURNAL_MODE 'WAL', {patience})")
    connection.execute("FROM sqlite_query('made', 'SELECT 1')").fetchall()
    connection.execute("DETACH made")


def attach(
    connection: Any, catalog: Catalog, alias: str, *, read_only: bool, version: int | None = None
) -> None:
    """Attaches a lake.

    Args:
        connection: of DuckDB, with the extensions loaded.
        catalog: which.
        alias: what it is called in statements.
        read_only: nothing can be written through it.
        version: as of this snapshot of the lake.
    """
    make_secrets(connection, catalog)
    # Inlined rows and compaction at the same time have made rows come back from the dead.
    options = ["DATA_INLINING_ROW_LIMIT 0"]
    if catalog.kind == "sqlite":
        options.append(f"META_BUSY_TIMEOUT {BUSY_MS}")
    if catalog.data_path is not None:
        options.append(f"DATA_PATH {literal(catalog.data_path)}")
    if catalog.moved:
        options.append("OVERRIDE_DATA_PATH true")
    if read_only:
        options.append("READ_ONLY")
    if version is not None:
        options.append(f"SNAPSHOT_VERSION {int(version)}")
    if catalog.kind == "postgres":
        target = "postgres:"
        options.append("META_SECRET 'klineagg_catalog'")
    else:
        target = f"{catalog.kind}:" * (catalog.kind == "sqlite") + str(catalog.path)
    place = literal(f"ducklake:{target}")
    connection.execute(f"ATTACH {place} AS {name(alias)} ({', '.join(options)})")
    if catalog.data_path is None and data_path_of(connection, alias).startswith("s3://"):
        _make_data_secret(connection)


def data_path_of(connection: Any, alias: str) -> str:
    """Where the files of an attached lake are, as its catalog has it."""
    query = f"SELECT value FROM ducklake_options({literal(alias)}) WHERE option_name = 'data_path'"
    return str(connection.execute(query).fetchone()[0])


def make_secrets(connection: Any, catalog: Catalog) -> None:
    if catalog.kind == "postgres":
        known = {"host", "port", "user", "password", "dbname"}
        given = {key: value for key, value in catalog.parameters.items() if key in known}
        parts = "".join(f", {key.upper()} {literal(value)}" for key, value in given.items())
        connection.execute(f"CREATE OR REPLACE SECRET klineagg_catalog (TYPE postgres{parts})")
    if catalog.data_path is not None and catalog.data_path.startswith("s3://"):
        _make_data_secret(connection)


def _make_data_secret(connection: Any) -> None:
    parts = "".join(f", {key} {value}" for key, value in _s3_options(os.environ).items())
    connection.execute(f"CREATE OR REPLACE SECRET klineagg_data (TYPE s3{parts})")


def _s3_options(environment: Mapping[str, str]) -> dict[str, str]:
    """The secret's parts from the variables that every tool for S3 reads."""
    out = {}
    for key, names in {
        "KEY_ID": ("AWS_ACCESS_KEY_ID",),
        "SECRET": ("AWS_SECRET_ACCESS_KEY",),
        "SESSION_TOKEN": ("AWS_SESSION_TOKEN",),
        "REGION": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    }.items():
        value = next((environment[one] for one in names if environment.get(one)), None)
        if value is not None:
            out[key] = literal(value)
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
    if endpoint:
        parts = urlsplit(endpoint)
        out["ENDPOINT"] = literal(parts.netloc + parts.path.rstrip("/"))
        out["USE_SSL"] = "false" if parts.scheme == "http" else "true"
        # Servers of one's own seldom have a host name for every bucket.
        out["URL_STYLE"] = "'path'"
    return out
