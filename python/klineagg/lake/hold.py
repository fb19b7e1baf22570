"""A connection to a catalog in SQLite that stays open while its writer lives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from klineagg._bars_extras import require
from klineagg.lake.duck import is_contention

__all__ = ["Hold"]

# SQLite begins its log of writes anew when all of it has gone into the database, and nobody looks
# at a state that is in the log alone, as a connection does that was opened before that.
_WRITES_BETWEEN: Final = 64


class Hold:
    """Keeps what SQLite has set up for a catalog in place, from one write to the next.

    DuckDB opens a connection for each statement. When it closes the last one of all processes,
    SQLite takes its log of writes ahead down, and the next one to come sets it up again, alone:
    others that come just then look again a few times and after that sleep for a second, which is
    the shortest nap of this build. Readers beside a busy writer did so every hundredth time.

    Args:
        connection: of DuckDB, with the lake attached.
        alias: what the lake is called.
    """

    def __init__(self, connection: Any, alias: str) -> None:
        self._connection = connection
        # What DuckDB raises; a mistake of ours must not look like a catalog that is busy.
        self._error = require("duckdb", "lake", "a lake").Error
        metadata = f"__ducklake_metadata_{alias}"
        self._look = f'SELECT 1 FROM "{metadata}".ducklake_metadata LIMIT 1'
        # It leaves nothing behind, and yet its page is written: it came and went.
        table = f'"{metadata}".ducklake_metadata'
        self._write = (
            "BEGIN",
            f"INSERT INTO {table} (key, value) VALUES ('klineagg', '')",
            f"DELETE FROM {table} WHERE key = 'klineagg'",
            "COMMIT",
        )
        self._move = f"FROM sqlite_query('{metadata}', 'PRAGMA wal_checkpoint')"
        self._held: Any = None
        self._writes = 0

    @contextmanager
    def over(self) -> Iterator[None]:
        """Around a write, under the writer's lock."""
        try:
            yield
        except self._error as error:
            if not is_contention(error):
                self._write_over()
            raise
        finally:
            self._writes += 1
            # At worst nothing is held until the next write.
            with suppress(self._error):
                self._renew()
                if self._writes % _WRITES_BETWEEN == 0:
                    self._connection.cursor().execute(self._move).fetchall()
                    self._renew()

    def close(self) -> None:
        """Lets go of it; the next write takes it again."""
        if self._held is not None:
            with suppress(self._error):
                self._held.execute("ROLLBACK")
            self._held.close()
        self._held = None

    def _write_over(self) -> None:
        """Puts something harmless where a write has failed.

        A write whose sync failed is over, and DuckLake has removed its files, but it stands whole
        behind the end of the log: SQLite would find it there when it sets the log up again. What
        is written next takes its place, even if its own sync fails as well.
        """
        with self._connection.cursor() as cursor, suppress(self._error):
            for statement in self._write:
                cursor.execute(statement)

    def _renew(self) -> None:
        cursor = self._connection.cursor()
        cursor.execute("BEGIN")
        cursor.execute(self._look).fetchall()
        self.close()  # behind it: one of the two is open all the time
        self._held = cursor
