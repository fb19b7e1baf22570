"""Where the files of an existing lake are: as its catalog says, or beside it if it was moved."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from klineagg import errors
from klineagg.lake.catalog import BUSY_MS, Catalog
from klineagg.lake.duck import literal, load

__all__ = ["settle"]


def settle(connection: Any, catalog: Catalog, *, read_only: bool) -> Catalog:
    """The catalog with the place of its files; unchanged for a lake that is still to be made.

    Args:
        connection: of DuckDB, with the extensions of ``catalog`` loaded; those that the place
            needs beyond that are loaded into it.
        catalog: which.
        read_only: nothing is to be written.

    Raises:
        LakeError: ``lake_catalog`` for another application's database, for files that are not
            there, and for a place that is not the one that was asked for.
    """
    path = catalog.path
    if path is None or not path.is_file() or not path.stat().st_size:
        return catalog
    with _opened(connection, catalog, read_only=read_only) as run:
        tables = {row[0] for row in run("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables:
            return catalog  # a writer has made the file, and DuckLake is yet to fill it
        if "ducklake_metadata" not in tables:
            text = f"{path} is the database of something else, and no lake"
            hint = "give the lake a file or folder of its own"
            raise errors.make("lake_catalog", text, hint=hint, catalog=catalog.label)
        stored = run("SELECT value FROM ducklake_metadata WHERE key = 'data_path'")[0][0]
    settled = _placed(catalog, path, str(stored))
    for extension in settled.extensions:
        if extension not in catalog.extensions:
            load(connection, extension)
    return settled


@contextmanager
def _opened(connection: Any, catalog: Catalog, *, read_only: bool) -> Iterator[Any]:
    """The catalog's file as a plain database: what runs a query there."""
    options = [f"TYPE {catalog.kind}"]
    # A DuckDB file whose writer was killed has to be put in order first, which is writing.
    if read_only or catalog.kind == "sqlite":
        options.append("READ_ONLY")
    if catalog.kind == "sqlite":
        options.append(f"BUSY_TIMEOUT {BUSY_MS}")
    place = literal(str(catalog.path))
    connection.execute(f"ATTACH {place} AS klineagg_look ({', '.join(options)})")
    cursor = connection.cursor()

    def run(query: str) -> list[tuple[Any, ...]]:
        if catalog.kind == "sqlite":
            query = f"FROM sqlite_query('klineagg_look', {literal(query)})"
        rows: list[tuple[Any, ...]] = cursor.execute(query).fetchall()
        return rows

    try:
        if catalog.kind == "duckdb":
            cursor.execute("USE klineagg_look")
        yield run
    finally:
        cursor.close()
        connection.execute("DETACH klineagg_look")


def _placed(catalog: Catalog, path: Path, stored: str) -> Catalog:
    own = catalog.data_path
    if own is None or _real(own) == _real(stored):
        # The catalog's own spelling: DuckLake compares letter by letter.
        return replace(catalog, data_path=stored)
    if catalog.is_given and not _went_along(own, stored, path):
        raise _elsewhere(catalog, stored)
    if "://" in stored:
        return replace(catalog, data_path=stored)
    there = Path(stored).is_dir()
    # Where a catalog is beside the old place this one is a copy of it: to write there, or to tidy
    # up, would spoil the original.
    is_copy = there and _beside(Path(stored), path).is_file()
    if Path(own, "main").is_dir() and (is_copy or not there):
        return replace(catalog, moved=True)
    if not there:
        text = f"the files of {catalog.label} were in {stored}, which is not there"
        hint = f"put them back, or into {own}"
        raise errors.make("lake_catalog", text, hint=hint, catalog=catalog.label, data_path=stored)
    if catalog.is_given:
        raise _elsewhere(catalog, stored)
    return replace(catalog, data_path=stored)


def _elsewhere(catalog: Catalog, stored: str) -> errors.KlineaggError:
    text = f"the files of {catalog.label} are in {stored}, and not in {catalog.data_path}"
    hint = "leave the data path out: the catalog knows it"
    return errors.make("lake_catalog", text, hint=hint, catalog=catalog.label, data_path=stored)


def _went_along(own: str, stored: str, path: Path) -> bool:
    """Whether a data path that was given is the old folder, beside the catalog as before.

    A configuration names it always, so that one that was moved with its lake would be refused. A
    folder elsewhere stays refused: tidying up there would take what belongs to another lake.
    """
    if "://" in own or "://" in stored or Path(own).name != Path(stored).name:
        return False
    return _real(str(Path(own).parent)) == _real(str(path.parent))


def _beside(data: Path, path: Path) -> Path:
    """The catalog that a data folder of the default layout belongs to."""
    return data.parent / (data.name.removesuffix(".data") if data.suffix == ".data" else path.name)


def _real(place: str) -> str:
    return place if "://" in place else os.path.realpath(place)
