"""Merging small files, letting old snapshots go, and removing what nobody refers to."""

from __future__ import annotations

import time
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from klineagg import errors
from klineagg._options import duration_ns, invalid
from klineagg.lake.duck import literal
from klineagg.lake.durable import transaction
from klineagg.lake.files import Files
from klineagg.lake.history import expendable

__all__ = ["Maintenance", "Plan", "check_intervals", "maintain", "oldest_ns"]

_MIB: Final = 1 << 20
# Files of up to as many bytes are merged when there are enough of them in a partition: like this a
# row is written a few times in all, and not at every round.
_TIERS: Final = ((_MIB, 8), (16 * _MIB, 8), (128 * _MIB, 8))
# A file of which so much was replaced is written anew.
_DELETED_SHARE: Final = 0.3


@dataclass(frozen=True, slots=True)
class Plan:
    """What a round of maintenance is to do.

    Attributes:
        retention: for each interval how long its bars are kept; others stay for ever.
        history: ``"thin"`` lets snapshots go as they age, ``"all"`` keeps every one.
        longest_read_us: files that are not needed any more stay for as long.
        orphan_age_us: files that no snapshot knows are removed when they are older.
        now_us: the time, microseconds since the epoch.
    """

    retention: Mapping[str, int]
    history: str
    longest_read_us: int
    orphan_age_us: int
    now_us: int

    @classmethod
    def of(
        cls,
        retention: Mapping[str, Any] | None,
        history: str,
        longest_read: Any,
        orphan_age: Any,
    ) -> Plan:
        """The plan that the arguments of :meth:`klineagg.Lake.maintain` describe."""
        if history not in ("thin", "all"):
            text = f"history={history!r} is neither 'thin' nor 'all'"
            raise errors.make("invalid_option", text, option="history")
        return cls(
            {name: age // 1_000 for name, age in _ages_ns(retention).items()},
            history,
            duration_ns(longest_read, "longest_read") // 1_000,
            duration_ns(orphan_age, "orphan_age") // 1_000,
            time.time_ns() // 1_000,
        )


def oldest_ns(retention: Mapping[str, Any] | None) -> dict[str, int]:
    """For each interval when its oldest bar that is kept may end, nanoseconds since the epoch.

    Raises:
        OptionError: ``invalid_option``.
    """
    now = time.time_ns()
    return {name: now - age for name, age in _ages_ns(retention).items()}


def _ages_ns(retention: Mapping[str, Any] | None) -> dict[str, int]:
    if retention is not None and not isinstance(retention, Mapping):
        raise invalid("retention", retention, "a mapping such as {'1s': '7d'}")
    return {
        name: duration_ns(age, f"retention[{name!r}]") for name, age in (retention or {}).items()
    }


def check_intervals(names: Iterable[str], known: Container[str]) -> None:
    """Refuses names of no interval: their bars would be kept for ever without a word.

    One that the lake has not had yet may still come.

    Raises:
        OptionError: ``invalid_option``.
    """
    from klineagg.intervals import parse_intervals

    wanted = "an interval of the lake, nor the name of one"
    for name in names:
        if name in known:
            continue
        if not isinstance(name, str):
            raise invalid("retention", name, wanted)
        try:
            parse_intervals([name])
        except errors.IntervalError:
            raise invalid("retention", name, wanted) from None


@dataclass(frozen=True, slots=True)
class Maintenance:
    """What a round of maintenance did.

    Attributes:
        bars_expired: rows older than their interval's retention, removed.
        files_merged: small files that became part of larger ones.
        files_rewritten: files written anew without the rows that had been replaced.
        snapshots_expired: snapshots that time travel does not reach any more.
        files_removed: files that were not needed any more, removed from storage.
        orphans_removed: files of writers that were killed, removed from storage.
        files: data files that the newest snapshot consists of.
        bytes: of these files.
        seconds: how long it took.
    """

    bars_expired: int
    files_merged: int
    files_rewritten: int
    snapshots_expired: int
    files_removed: int
    orphans_removed: int
    files: int
    bytes: int
    seconds: float


def maintain(cursor: Any, alias: str, kind: str, files: Files, plan: Plan) -> Maintenance:
    """Does a round; under the writer's lock. Each step is a transaction: any may be the last."""
    began = time.perf_counter()
    lake = literal(alias)
    expired = merged = 0
    for name, age in plan.retention.items():
        with transaction(cursor, files):
            expired += _forget(cursor, name, age, plan.now_us)
    for table in ("closed", "open_log"):
        for limit, enough in _TIERS:
            if _has_many(cursor, alias, table, limit, enough):
                with transaction(cursor, files):
                    merged += _merge(cursor, alias, table, limit)
    with transaction(cursor, files):
        rewritten = _rewrite(cursor, alias)
    gone = _expire(cursor, alias, plan)
    unread = _time(plan.now_us - plan.longest_read_us)
    if kind == "sqlite":
        _make_comparable(cursor, alias)
    removed = _call(cursor, f"ducklake_cleanup_old_files({lake}, older_than => {unread})")
    left = _time(plan.now_us - plan.orphan_age_us)
    orphans = _call(cursor, f"ducklake_delete_orphaned_files({lake}, older_than => {left})")
    count, size = _extent(cursor, alias)
    seconds = time.perf_counter() - began
    return Maintenance(
        expired, merged, rewritten, gone, len(removed), len(orphans), count, size, seconds
    )


def _extent(cursor: Any, alias: str) -> tuple[int, int]:
    """Data files and files of deletions of the newest snapshot, and their bytes."""
    query = (
        "SELECT sum(file_count + delete_file_count), "
        "sum(file_size_bytes + delete_file_size_bytes) "
        f"FROM ducklake_table_info({literal(alias)})"
    )
    count, size = cursor.execute(query).fetchone()
    return int(count), int(size)


def _make_comparable(cursor: Any, alias: str) -> None:
    """Times of files that are to go, in the notation that DuckLake compares them with.

    SQLite has them as text with a blank before the hour, and the limit comes as text with a T:
    every file of the same day is older than that, also one that readers are still at.
    """
    cursor.execute(
        f'UPDATE "__ducklake_metadata_{alias}".ducklake_files_scheduled_for_deletion '
        "SET schedule_start = replace(schedule_start, ' ', 'T') "
        "WHERE contains(schedule_start, ' ')"
    ).fetchall()


def _call(cursor: Any, call: str) -> list[Any]:
    # As text: times with a zone would need a package that nothing else here needs.
    rows: list[Any] = cursor.execute(f"SELECT CAST(COLUMNS(*) AS VARCHAR) FROM {call}").fetchall()
    return rows


def _time(us: int) -> str:
    return f"make_timestamptz({int(us)})"


def _forget(cursor: Any, interval: str, age_us: int, now_us: int) -> int:
    rows = cursor.execute(
        'DELETE FROM closed WHERE "interval" = ? AND close_time <= make_timestamp_ns(?)',
        [interval, (now_us - age_us) * 1_000],
    ).fetchall()
    return int(rows[0][0])


def _has_many(cursor: Any, alias: str, table: str, limit: int, enough: int) -> bool:
    """Whether a partition has enough small files that are worth being merged."""
    metadata = f'"__ducklake_metadata_{alias}"'
    query = (
        f"SELECT count(*) FROM {metadata}.ducklake_data_file f "
        f"JOIN {metadata}.ducklake_table t USING (table_id) "
        "WHERE t.table_name = ? AND t.end_snapshot IS NULL AND f.end_snapshot IS NULL "
        "AND f.file_size_bytes < ? GROUP BY f.partition_id, regexp_extract(f.path, '^.*/') "
        "HAVING count(*) >= ?"
    )
    return bool(cursor.execute(query, [table, limit, enough]).fetchall())


def _merge(cursor: Any, alias: str, table: str, limit: int) -> int:
    return _files_of(
        cursor,
        f"ducklake_merge_adjacent_files({literal(alias)}, {literal(table)}, "
        f"max_file_size => {limit})",
    )


def _rewrite(cursor: Any, alias: str) -> int:
    return _files_of(
        cursor,
        f"ducklake_rewrite_data_files({literal(alias)}, 'closed', "
        f"delete_threshold => {_DELETED_SHARE})",
    )


def _files_of(cursor: Any, call: str) -> int:
    # All rows: a result that is not read to its end is never committed.
    rows = cursor.execute(f"SELECT files_processed FROM {call}").fetchall()
    return sum(int(row[0]) for row in rows)


def _expire(cursor: Any, alias: str, plan: Plan) -> int:
    if plan.history == "all":
        return 0
    lake = literal(alias)
    known = cursor.execute(
        f"SELECT snapshot_id, epoch_us(snapshot_time) FROM ducklake_snapshots({lake}) ORDER BY 1"
    ).fetchall()
    gone = expendable(known, plan.now_us)
    if gone:
        listed = ", ".join(map(str, gone))
        _call(cursor, f"ducklake_expire_snapshots({lake}, versions => [{listed}])")
    return len(gone)
