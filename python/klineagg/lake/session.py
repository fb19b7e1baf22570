"""The attached lake: one DuckDB for each process, one cursor for each call."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, Final, TypeVar

from klineagg import errors
from klineagg._bars_extras import require
from klineagg.lake import schema
from klineagg.lake.catalog import Catalog, attach, make_file, make_folders
from klineagg.lake.duck import connect, is_contention, name, without_secrets
from klineagg.lake.files import Files
from klineagg.lake.hold import Hold
from klineagg.lake.lock import WriterLock
from klineagg.lake.patience import Patience
from klineagg.lake.settle import settle

__all__ = ["ALIAS", "Session"]

T = TypeVar("T")

ALIAS: Final = "lake"
# A file that the list has and the disk does not: once is a list that was too old.
_READ_AGAIN: Final = 3


class Session:
    """A lake that is open for reading, or for reading and writing.

    Args:
        catalog: which.
        read_only: open it without the right to write.
        timeout_s: how long to wait for other writers.
    """

    def __init__(self, catalog: Catalog, *, read_only: bool, timeout_s: float) -> None:
        self._asked = catalog
        self.catalog = catalog
        self.read_only = read_only
        self.timeout_s = timeout_s
        self.lock = WriterLock(catalog, timeout_s)
        self.files = Files(catalog.kind, ALIAS)
        self._guard = threading.Lock()
        self._connection: Any = None
        self._held: Hold | None = None
        self._pid = -1
        self._closed = False

    # -- connections -----------------------------------------------------------------------------

    def connection(self) -> Any:
        """The DuckDB with the lake attached; only in the process that opened it.

        Raises:
            LakeError: ``lake_closed``, ``lake_catalog``, ``lake_version``, ``lake_extension``.
        """
        with self._guard:
            if self._closed:
                raise errors.make("lake_closed", f"{self.catalog.label} was closed")
            if self._connection is None:
                self._connection = self._open()
                self._pid = os.getpid()
            if self.forked:
                # DuckDB's threads are not there after a fork: any call would wait for ever.
                text = f"{self.catalog.label} was opened in the process that this one forked from"
                hint = "open lakes in the process that uses them"
                raise errors.make("lake_closed", text, hint=hint)
            return self._connection

    def _open(self) -> Any:
        duckdb = require("duckdb", "lake", "a lake")
        if self.read_only and not self._is_there():
            text = f"there is no lake {self.catalog.label}"
            raise errors.make("lake_catalog", text, catalog=self.catalog.label)
        patience = Patience(self.timeout_s)
        while True:
            connection = connect(self.catalog.extensions)
            try:
                self._attach(connection)
                return connection
            except duckdb.Error as error:
                connection.close()
                if not is_contention(error) or patience.is_over:
                    text = f"{self.catalog.label} cannot be opened: {without_secrets(error)}"
                    # Chained errors would show the secrets that were taken out.
                    label = self.catalog.label
                    raise errors.make("lake_catalog", text, catalog=label) from None
            except BaseException as error:
                connection.close()
                # One of another writer who was in the way is a TimeoutError, and so an OSError.
                if isinstance(error, OSError) and not isinstance(error, errors.KlineaggError):
                    raise self._unreachable(error) from error
                raise
            patience.pause()

    def _is_there(self) -> bool:
        try:
            return self.catalog.exists
        except OSError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: OSError) -> errors.KlineaggError:
        place = error.filename or self.catalog.label
        text = f"{self.catalog.label} cannot be opened: {error.strerror or error}: {place}"
        hint = "give a folder that can be made or written to, or read_only=True to read only"
        return errors.make("lake_catalog", text, hint=hint, catalog=self.catalog.label)

    def _attach(self, connection: Any) -> None:
        # Before anything is made beside a file that may be somebody else's.
        catalog = settle(connection, self._asked, read_only=self.read_only)
        if not self.read_only:
            make_folders(catalog)
            if catalog.kind == "postgres":
                attach_for_locks(connection, catalog)
            with self.lock.held(connection.cursor()):
                # Another writer may have made the lake while this one waited.
                self._settled(settle(connection, self._asked, read_only=False))
                make_file(connection, self.catalog)
                self._attach_and_check(connection)
        else:
            self._settled(catalog)
            self._attach_and_check(connection)

    def _settled(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.files.root = catalog.data_path

    def _attach_and_check(self, connection: Any) -> None:
        attach(connection, self.catalog, ALIAS, read_only=self.read_only)
        cursor = connection.cursor()
        cursor.execute(f"USE {ALIAS}")
        version = schema.version_of(cursor)
        if version is None:
            if self.read_only:
                text = f"{self.catalog.label} holds no lake of klineagg"
                raise errors.make("lake_catalog", text, catalog=self.catalog.label)
            cursor.execute("BEGIN")
            schema.create(cursor)
            cursor.execute("COMMIT")
        else:
            schema.check(version, self.catalog.label)
            if version < schema.SCHEMA_VERSION:
                if self.read_only:
                    text = f"{self.catalog.label} has the older schema version {version}"
                    hint = "open it once without read_only=True: that brings it up to date"
                    raise errors.make("lake_version", text, hint=hint, version=version)
                schema.migrate(cursor, version)
        cursor.close()

    def reading(self, work: Callable[[Any], T]) -> T:
        """Runs ``work`` with a cursor of its own, whose default database is the lake.

        It runs again when the catalog is busy for a moment, which SQLite is while the first to
        open it puts its log in order, and when a file has gone that the list of files still had.

        Raises:
            LakeError: ``lake_catalog``, for what DuckDB raises.
        """
        duckdb = require("duckdb", "lake", "a lake")
        patience = Patience(self.timeout_s)
        while True:
            cursor = self.connection().cursor()
            try:
                cursor.execute(f"USE {ALIAS}")
                return work(cursor)
            except duckdb.Error as error:
                gone = isinstance(error, (duckdb.IOException, duckdb.HTTPException))
                again = is_contention(error) or (gone and patience.attempts < _READ_AGAIN)
                if not again or patience.is_over:
                    text = f"{self.catalog.label}: {without_secrets(error)}"
                    label = self.catalog.label
                    raise errors.make("lake_catalog", text, catalog=label) from None
            finally:
                with suppress(duckdb.Error):
                    cursor.close()
            self.files.forget()
            patience.nap()

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    @property
    def forked(self) -> bool:
        """Whether this is another process than the one that opened it."""
        return self._pid not in (-1, os.getpid())

    def close(self) -> None:
        """Lets go of the lake; further calls raise ``lake_closed``."""
        if self.forked:
            return
        with self._guard:
            if self._held is not None:
                self._held.close()
            self._held = None
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            self._closed = True

    # -- writing ---------------------------------------------------------------------------------

    def _hold(self) -> AbstractContextManager[None]:
        if self.catalog.kind != "sqlite":
            return nullcontext()
        if self._held is None:
            self._held = Hold(self.connection(), ALIAS)
        return self._held.over()

    def writing(self, work: Callable[[Any], T]) -> T:
        """Runs ``work`` with a cursor under the writer's lock, again while others are in the way.

        Raises:
            LakeError: ``lake_read_only``, ``lake_commit``.
            LakeBusyError: ``lake_busy``.
        """
        if self.read_only:
            text = f"{self.catalog.label} is open for reading only"
            raise errors.make("lake_read_only", text, catalog=self.catalog.label)
        duckdb = require("duckdb", "lake", "a lake")
        patience = Patience(self.timeout_s)
        while True:
            holder = self.connection().cursor()
            try:
                with self.lock.held(holder), self._hold():
                    cursor = self.connection().cursor()
                    try:
                        cursor.execute(f"USE {name(ALIAS)}")
                        return work(cursor)
                    finally:
                        cursor.close()
            except duckdb.Error as error:
                shown = without_secrets(error)
                if not is_contention(error):
                    text = f"writing to {self.catalog.label} failed: {shown}"
                    raise errors.make("lake_commit", text, catalog=self.catalog.label) from None
                if patience.is_over:
                    text = f"{self.catalog.label} stayed busy for {self.timeout_s:g} s: {shown}"
                    raise errors.make("lake_busy", text, timeout_s=self.timeout_s) from None
            finally:
                holder.close()
            patience.pause()


def attach_for_locks(connection: Any, catalog: Catalog) -> None:
    """A second way into PostgreSQL, whose transactions hold the writer's lock."""
    from klineagg.lake.catalog import make_secrets

    make_secrets(connection, catalog)
    connection.execute("ATTACH '' AS klineagg_lock (TYPE postgres, SECRET klineagg_catalog)")
