"""The lake: bars, open bars, checkpoints and fences, committed together."""

from __future__ import annotations

import math
import os
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from klineagg import errors
from klineagg._bars_time import to_ns
from klineagg._options import check_bytes, invalid
from klineagg.lake.catalog import Catalog
from klineagg.lake.commit import check_snapshot, commit_once
from klineagg.lake.maintain import Maintenance, Plan, check_intervals, maintain, oldest_ns
from klineagg.lake.query import QueryResult, copy_catalog, open_guarded, run_query
from klineagg.lake.read import names_of, read_bars, snapshot_of
from klineagg.lake.session import ALIAS, Session
from klineagg.lake.state import CommitResult, Fence, fences, revised_rows

if TYPE_CHECKING:
    from klineagg.bars import Bars

__all__ = ["Lake"]


class Lake:
    """Bars in Parquet files with a catalog: written by one, read by many at the same time.

    ======================  ====================================================================
    ``"lake"``              a folder: the catalog is SQLite, the files are beside it
    ``"sqlite:bars.db"``    a SQLite file; also any name that ends in ``.sqlite`` or ``.db``
    ``"duckdb:bars.db"``    a DuckDB file: while one process has it open, no other can
    ``"postgresql://..."``  a PostgreSQL database, for several writers and machines
    ======================  ====================================================================

    A lake that is not there is made. Threads may share it, processes each open it for themselves.

    Args:
        catalog: where the catalog is, see above.
        data_path: where the files are: a folder, or ``s3://bucket/prefix`` with the access in the
            environment (``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_REGION``,
            ``AWS_ENDPOINT_URL``). Needed once, where a new lake is not to have them beside the
            catalog: the catalog knows the place of those of a lake that exists.
        read_only: only read; a lake that is not there is an error then.
        timeout: seconds to wait for other writers.
        lazy: open it when it is first used, which then raises what opening it raises; for a
            catalog that may not be there yet.

    Raises:
        MissingExtraError: ``missing_extra`` without the extra ``lake``.
        LakeError: ``lake_catalog``, ``lake_version``, ``lake_extension``.
        OptionError: ``invalid_option``.
    """

    def __init__(
        self,
        catalog: str | os.PathLike[str] = "lake",
        data_path: str | os.PathLike[str] | None = None,
        *,
        read_only: bool = False,
        timeout: float = 30.0,
        lazy: bool = False,
    ) -> None:
        # Written so that NaN is refused too.
        if not (isinstance(timeout, (int, float)) and 0 <= timeout < math.inf):
            raise invalid("timeout", timeout, "a number of seconds from 0 up")
        self._session = Session(
            Catalog.of(catalog, data_path), read_only=read_only, timeout_s=timeout
        )
        self._guarded: dict[int | None, Any] = {}
        self._guard = threading.Lock()
        if not lazy:
            self._session.connection()

    # -- writing ---------------------------------------------------------------------------------

    def commit(
        self, snapshot: Any, consumer: str = "lake", checkpoint: bytes | None = None
    ) -> CommitResult:
        """Commits a snapshot: its bars, open bars, id and position, all or nothing.

        A snapshot whose id is not above the last one of ``consumer`` changes nothing, so it may be
        delivered again, by several at once, or late. Bars of a higher revision replace what they
        cover, by the rule of :meth:`klineagg.Bars.resolve`.

        Args:
            snapshot: of :meth:`klineagg.Engine.take`, or anything with ``id`` (two ints),
                ``closed`` and ``open`` (:class:`klineagg.Bars`), ``watermark`` and, where there is
                a log, ``position``.
            consumer: in whose name.
            checkpoint: the engine's state at ``position``; None leaves the last one as it is.

        Raises:
            LakeBusyError: ``lake_busy``.
            LakeError: ``lake_read_only``, ``lake_commit``.
            ResultError: ``merge_mismatch`` when a bar of the lake would be replaced in part only.
            OptionError: ``invalid_option``.
        """
        check_snapshot(snapshot)
        if not isinstance(consumer, str) or not consumer:
            raise invalid("consumer", consumer, "the name of a consumer")
        if checkpoint is not None:
            check_bytes(checkpoint, "checkpoint")  # bytes(5) would be five zeros
        return self._session.writing(
            lambda cursor: commit_once(
                cursor, ALIAS, self._session.files, snapshot, consumer, checkpoint
            )
        )

    def maintain(
        self,
        *,
        retention: Mapping[str, Any] | None = None,
        history: Literal["thin", "all"] = "thin",
        longest_read: Any = "10m",
        orphan_age: Any = "1d",
    ) -> Maintenance:
        """A round of maintenance: fewer and larger files, and nothing that nobody needs.

        Safe beside readers and a writer, who waits for its turn. Run it every minute or so.

        Args:
            retention: for each interval how long its bars are kept, for example ``{"1s": "7d"}``.
            history: ``"thin"`` keeps the last snapshots, one of each minute for an hour, one of
                each hour for 30 days and one of each day; ``"all"`` keeps every one, and its files.
            longest_read: a file that is not needed any more stays for as long, for readers that
                began before.
            orphan_age: files that writers left when they were killed are removed when they are
                older.

        Raises:
            LakeBusyError: ``lake_busy``.
            LakeError: ``lake_read_only``, ``lake_commit``.
            OptionError: ``invalid_option``.
        """
        plan = Plan.of(retention, history, longest_read, orphan_age)
        if plan.retention:
            check_intervals(plan.retention, self.intervals())
        kind = self._session.catalog.kind
        files = self._session.files
        return self._session.writing(lambda cursor: maintain(cursor, ALIAS, kind, files, plan))

    def fill(self, intervals: Any, *, retention: Mapping[str, Any] | None = None) -> int:
        """Makes the bars that intervals lack before their first whole one of finer bars.

        For an interval that came later. A bar that is there and ``PARTIAL`` becomes whole, as a
        revision. Sums are those of the finer bars' rounded volumes: in the last bit they may differ
        from those of the trades. One that is filled already costs a look at the bounds of the lake.

        Args:
            intervals: of which some refine others, ``"1m,5m,1h"``: those that lack bars are filled.
            retention: as of :meth:`maintain`; what is older is not made. Without it, what
                maintenance took of an interval comes back as long as there are finer bars of it.

        Returns:
            How many rows it wrote.

        Raises:
            LakeBusyError: ``lake_busy``.
            LakeError: ``lake_read_only``, ``lake_commit``.
            OptionError: ``invalid_option``.
        """
        from klineagg.lake.fill import fill

        return fill(self, intervals, oldest_ns(retention))

    # -- state -----------------------------------------------------------------------------------

    def fence(self, consumer: str = "lake") -> Fence | None:
        """The last snapshot of a consumer that the lake holds; None when there was none."""
        return self._session.reading(lambda cursor: fences(cursor)[0].get(consumer))

    def checkpoint(self, consumer: str = "lake") -> tuple[bytes, int | None] | None:
        """The newest state that came with a commit, and its position; None when there is none."""
        query = "SELECT state, position FROM checkpoint WHERE consumer = ?"
        row = self._session.reading(lambda cursor: cursor.execute(query, [consumer]).fetchone())
        return None if row is None else (bytes(row[0]), row[1])

    def revisions(self, since: Any) -> list[tuple[str, str, int, int, int]]:
        """For ``Engine(revisions=)``: the revised rows that end behind a time."""
        since_ns = to_ns(since, "since")
        return self._session.reading(lambda cursor: revised_rows(cursor, since_ns))

    # -- reading ---------------------------------------------------------------------------------

    def bars(
        self,
        symbols: Any = None,
        interval: Any = None,
        start: Any = None,
        end: Any = None,
        *,
        as_of: Any = None,
        gaps: Literal["expand", "runs"] = "expand",
        include_open: bool = True,
    ) -> Bars:
        """The bars that open in ``[start, end)``, in the order of every result.

        Args:
            symbols: a name or several; None: all.
            interval: a name or several; None: all.
            start: ISO 8601 text, ``datetime``, ``datetime64``, or int nanoseconds; None: the first.
            end: likewise, not included; None: the last.
            as_of: read the lake as it was: the number of a snapshot (see :meth:`snapshots` and
                :class:`CommitResult`), or a time.
            gaps: ``"expand"``: each gap bar is a row; ``"runs"``: runs stay single rows.
            include_open: open bars too, as of the last commit; they lack the flag ``CLOSED``.

        Raises:
            ResultError: ``no_such_series`` for an unknown interval. (A symbol without bars in the
                range has no rows.)
            LakeQueryError: ``lake_snapshot``.
            OptionError: ``invalid_option``.
        """
        if gaps not in ("expand", "runs"):
            text = f"gaps={gaps!r} is neither 'expand' nor 'runs'"
            raise errors.make("invalid_option", text, option="gaps")
        names, intervals = names_of(symbols, "symbols"), names_of(interval, "interval")
        return self._session.reading(
            lambda cursor: read_bars(
                cursor,
                self._session.files,
                names,
                intervals,
                start,
                end,
                version=snapshot_of(cursor, ALIAS, as_of),
                expand=gaps == "expand",
                include_open=include_open,
            )
        )

    def sql(
        self,
        query: str,
        params: Sequence[Any] | Mapping[str, Any] | None = None,
        *,
        as_of: Any = None,
    ) -> QueryResult:
        """The rows of one SELECT over the views ``bars`` (each gap bar a row) and ``rows`` (runs).

        Both have the columns of :class:`klineagg.Bars` with names for symbol and interval, and
        ``date``, the day of UTC on which a bar opens: a condition on it leaves out files.

        The statement runs in a DuckDB of its own, which has the lake attached for reading and
        reaches no other file and no network.

        Args:
            query: in the SQL of DuckDB, with ``?`` or ``$name`` for parameters.
            params: values of the parameters.
            as_of: as in :meth:`bars`.

        Raises:
            LakeQueryError: ``lake_query``, ``lake_snapshot``.
        """
        version = None
        if as_of is not None:
            version = self._session.reading(lambda cursor: snapshot_of(cursor, ALIAS, as_of))
        return run_query(self._guarded_connection(version), ALIAS, query, params)

    def _guarded_connection(self, version: int | None) -> Any:
        with self._guard:
            self._session.connection()  # raises when the lake was closed
            if self._session.catalog.kind == "duckdb":
                return self._copied_connection(version)
            if version not in self._guarded:
                for old in [key for key in self._guarded if key is not None]:
                    self._guarded.pop(old)
                self._guarded[version] = open_guarded(self._session.catalog, ALIAS, version)
            return self._guarded[version]

    def _copied_connection(self, version: int | None) -> Any:
        def copied(cursor: Any) -> Any:
            newest = cursor.execute(f"FROM ducklake_current_snapshot('{ALIAS}')").fetchone()[0]
            wanted = int(newest if version is None else version)
            if wanted not in self._guarded:
                # Queries that still run keep the old DuckDB until they end.
                self._guarded.clear()
                with tempfile.TemporaryDirectory(prefix="klineagg-") as folder:
                    copy = copy_catalog(cursor, self._session.catalog, ALIAS, Path(folder))
                    # On Linux and macOS the open file outlives its folder.
                    self._guarded[wanted] = open_guarded(copy, ALIAS, wanted)
            return self._guarded[wanted]

        return self._session.reading(copied)

    def intervals(self) -> tuple[str, ...]:
        """Names of all intervals that were ever committed."""
        return tuple(self._session.reading(self._session.files.newest).units)

    def symbols(self, interval: str | None = None) -> tuple[str, ...]:
        """Names of all symbols with bars, sorted; of one interval when it is given."""
        where, values = ("", []) if interval is None else ('WHERE "interval" = ?', [interval])
        query = (
            f"SELECT DISTINCT symbol FROM (SELECT symbol FROM closed {where} "
            f"UNION ALL SELECT symbol FROM open_log {where}) ORDER BY symbol"
        )
        rows = self._session.reading(lambda cursor: cursor.execute(query, values * 2).fetchall())
        return tuple(row[0] for row in rows)

    def snapshots(self) -> list[tuple[int, np.datetime64, str]]:
        """What ``as_of`` can reach: number, time and origin of each snapshot that is kept."""
        query = (
            "SELECT snapshot_id, epoch_us(snapshot_time), coalesce(commit_message, '') "
            f"FROM ducklake_snapshots('{ALIAS}') ORDER BY snapshot_id"
        )
        rows = self._session.reading(lambda cursor: cursor.execute(query).fetchall())
        return [(number, np.datetime64(time_us, "us"), text) for number, time_us, text in rows]

    # -- life ------------------------------------------------------------------------------------

    @property
    def waited_s(self) -> float:
        """What this object's writes have waited for other writers, in seconds."""
        return self._session.lock.waited_s

    @property
    def read_only(self) -> bool:
        """Whether it was opened for reading only."""
        return self._session.read_only

    def close(self) -> None:
        """Lets go of files and connections; every further call raises ``lake_closed``."""
        if not self._session.forked:
            with self._guard:
                for connection in self._guarded.values():
                    connection.close()
                self._guarded = {}
        self._session.close()

    def __enter__(self) -> Lake:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        mode = ", read-only" * self.read_only + ", closed" * self._session.closed
        return f"<Lake {self._session.catalog.label} ({self._session.catalog.kind}{mode})>"
