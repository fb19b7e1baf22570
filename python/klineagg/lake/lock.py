"""One writer at a time, across threads, processes and machines."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from klineagg import errors
from klineagg.lake.catalog import Catalog
from klineagg.lake.patience import Patience

__all__ = ["WriterLock"]

# "klineagg" as a number: the key of the advisory lock in PostgreSQL.
_KEY: Final = 0x6B6C696E65616767
# A writer that stopped in the middle (SIGSTOP, a machine that is suspended) must not hold up its
# successor for ever. What it still tries to commit then fails at the fence.
_STALLED_MS: Final = 60_000
# A process that was stopped while it waited must not keep the others from a lock that is free.
_TURN_S: Final = 5.0
# PostgreSQL gives the lock to who has waited longest. But nobody can interrupt who waits there.
_WAIT_S: Final = 2.0


class WriterLock:
    """The lock of a catalog.

    Files take the lock of the operating system on a file beside the catalog, which a killed process
    cannot leave behind; PostgreSQL has advisory locks that end with their transaction, and hands
    them on in order.

    Who comes back at once does not pass by who waits: without turns, one that commits without a
    pause leaves a file's lock free for less time than others sleep between two looks at it, and
    maintenance never gets it. Of those that wait, one has the next turn; the others wait for that.

    Args:
        catalog: which.
        timeout_s: how long to wait.
    """

    def __init__(self, catalog: Catalog, timeout_s: float) -> None:
        self._catalog = catalog
        self._timeout_s = timeout_s
        # flock does not tell apart the threads of one process that share a file.
        self._threads = threading.Lock()
        #: How long who got it had waited for it, in sum.
        self.waited_s = 0.0

    @contextmanager
    def held(self, cursor: Any) -> Iterator[None]:
        """Holds the lock.

        Args:
            cursor: of the attached DuckDB, for catalogs with locks of their own.

        Raises:
            LakeBusyError: ``lake_busy``.
        """
        patience = Patience(self._timeout_s)
        asked = time.monotonic()
        if not self._threads.acquire(timeout=self._timeout_s):
            raise self._busy()
        try:
            path = self._catalog.path
            turn = self._postgres(cursor, patience) if path is None else self._file(path, patience)
            with turn:
                self.waited_s += time.monotonic() - asked
                yield
        finally:
            self._threads.release()

    @contextmanager
    def _file(self, path: Path, patience: Patience) -> Iterator[None]:
        import fcntl

        def taken(file: int) -> bool:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        with _opened(f"{path}.lock") as lock:
            with _opened(f"{path}.turn") as turn:
                until = time.monotonic() + min(_TURN_S, self._timeout_s / 2)
                while not taken(turn) and time.monotonic() < until:
                    patience.nap()
                while not taken(lock):
                    if patience.is_over:
                        raise self._busy()
                    patience.nap()
            yield

    @contextmanager
    def _postgres(self, cursor: Any, patience: Patience) -> Iterator[None]:
        while True:
            cursor.execute("BEGIN")
            try:
                if _locked(cursor, patience.attempt_s(_WAIT_S)):
                    yield
                    return
            finally:
                # A connection that PostgreSQL has cut off is rolled back already.
                _rollback(cursor)
            patience.waited()
            if patience.is_over:
                raise self._busy()

    def _busy(self) -> errors.KlineaggError:
        text = f"another writer held {self._catalog.label} for {self._timeout_s:g} s"
        return errors.make("lake_busy", text, timeout_s=self._timeout_s)


def _locked(cursor: Any, wait_s: float) -> bool:
    """Takes the lock of this transaction; false: it was not free for as long."""
    import duckdb

    limits = (
        f"SET LOCAL lock_timeout = {wait_s * 1000:.0f}; "
        f"SET LOCAL idle_in_transaction_session_timeout = {_STALLED_MS}"
    )
    cursor.execute("CALL postgres_execute('klineagg_lock', ?)", [limits])
    begun = time.monotonic()
    try:
        query = f"SELECT true AS taken FROM pg_advisory_xact_lock({_KEY})"
        cursor.execute("FROM postgres_query('klineagg_lock', ?)", [query])
        cursor.fetchone()
    except duckdb.Error:
        # That the wait was over is said in the language of the server alone: what fails before
        # that is something else.
        if time.monotonic() - begun < 0.9 * wait_s:
            raise
        return False
    return True


@contextmanager
def _opened(path: str) -> Iterator[int]:
    """A file for locks, which go when it is closed."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:  # the folder is gone: a disk that is not there any more
        text = f"{path} cannot be opened: {error.strerror or error}"
        raise errors.make("lake_commit", text) from error
    try:
        yield file
    finally:
        os.close(file)


def _rollback(cursor: Any) -> None:
    with suppress(Exception):  # nothing to roll back, or nobody there to do it
        cursor.execute("ROLLBACK")
