"""Data files are on the disk before the catalog refers to them.

DuckDB leaves that to the system, which may take half a minute, while the catalog is synced with
every commit: a power cut would leave a lake that knows of files without content, and the engine's
log may have gone by then.
"""

from __future__ import annotations

import errno
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from klineagg import errors
from klineagg._bars_extras import require
from klineagg.lake.files import Files

__all__ = ["Syncing", "rollback", "transaction"]

# The times of files are those of the system's last tick.
_TICK_NS: Final = 100_000_000


class Syncing:
    """Syncs what was written into the folder of a lake since this was made.

    Args:
        cursor: in the transaction that writes.
        files: of the lake.
    """

    def __init__(self, cursor: Any, files: Files) -> None:
        self._folder, self._known = files.folder(cursor), files.synced_folders
        self._began_ns = time.monotonic_ns()
        self._since_ns = 0  # all that is there then was written in this transaction
        if self._folder is not None and os.path.exists(self._folder):
            self._since_ns = _file_time_ns(self._folder)

    def sync(self) -> int:
        """Returns how many files were synced.

        Raises:
            LakeError: ``lake_commit``: what is written may not be on the disk.
        """
        if self._folder is None or not os.path.exists(self._folder):
            return 0  # nothing was written
        passed_ns = time.monotonic_ns() - self._began_ns
        # A clock that was set back meanwhile gave files a time before the one they began at.
        began_ns = min(self._since_ns, _file_time_ns(self._folder) - passed_ns)
        self._since_ns = began_ns - _TICK_NS
        try:
            return self._sync_below(self._folder)
        except OSError as error:
            text = f"{error.filename or self._folder} cannot be synced: {error.strerror or error}"
            raise errors.make("lake_commit", text) from error

    def _sync_below(self, folder: str) -> int:
        # A partition has files alone, and its time is that of the last one that came or went.
        is_partition = "=" in os.path.basename(folder)
        is_new = os.stat(folder).st_mtime_ns >= self._since_ns
        if is_partition and not is_new:
            return 0
        # Who made the lake may have made this one, and not have written since.
        is_new = is_new or folder not in self._known
        synced = 0
        with os.scandir(folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # of a writer that has taken it back
                    if entry.is_dir(follow_symlinks=False):
                        synced += self._sync_below(entry.path)
                    elif entry.stat().st_mtime_ns >= self._since_ns:
                        _sync(entry.path)
                        synced += 1
        if is_new:
            _sync(folder)  # the names in it
            if not is_partition:
                self._known.add(folder)
        return synced


def _file_time_ns(folder: str) -> int:
    """The time that a file written now gets: that of a file server may be another than ours.

    Raises:
        LakeError: ``lake_commit``.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as made:
            return os.fstat(made.fileno()).st_mtime_ns
    except OSError as error:
        text = f"{folder} cannot be written into: {error.strerror or error}"
        raise errors.make("lake_commit", text) from error


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems cannot sync a folder and say so.
        if error.errno != errno.EINVAL or not os.path.isdir(path):
            error.filename = path
            raise
    finally:
        os.close(descriptor)


@contextmanager
def transaction(cursor: Any, files: Files) -> Iterator[None]:
    """A transaction whose files are on the disk when it is committed; else nothing is.

    Raises:
        LakeError: ``lake_commit``.
    """
    cursor.execute("BEGIN")
    try:
        syncing = Syncing(cursor, files)
        yield
        syncing.sync()
        cursor.execute("COMMIT")
    except BaseException:
        rollback(cursor)
        raise


def rollback(cursor: Any) -> None:
    """Ends a transaction that may have ended by itself."""
    duckdb = require("duckdb", "lake", "a lake")
    with suppress(duckdb.Error):
        cursor.execute("ROLLBACK")
