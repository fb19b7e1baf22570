"""Queries read the lake and nothing else, and change nothing on the disk."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from klineagg import errors
from klineagg.lake import Lake
from lake.lakes import delivery


def disk(folder: Path) -> dict[str, bytes]:
    """Every file with its content, but for what SQLite keeps of readers."""
    return {
        str(path): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(("-shm", "-wal"))
    }


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """The database of another application, beside a file of text."""
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE t (word TEXT)")
        other.execute("INSERT INTO t VALUES ('geheim')")
    (tmp_path / "other.csv").write_text("word\ngeheim\n")
    return path


@pytest.mark.parametrize(
    "call",
    [
        "ducklake_cleanup_old_files('lake', cleanup_all => true)",
        "ducklake_delete_orphaned_files('lake', cleanup_all => true)",
        "ducklake_merge_adjacent_files('lake')",
        "ducklake_rewrite_data_files('lake')",
        "ducklake_expire_snapshots('lake', older_than => now())",
        "ducklake_set_option('lake', 'target_file_size', '1')",
        "sqlite_query('__ducklake_metadata_lake', 'DELETE FROM ducklake_snapshot')",
    ],
)
def test_a_query_changes_no_file(lake: Lake, tmp_path: Path, call: str) -> None:
    for k in range(12):
        lake.commit(delivery(k + 1, [{"at": k}]))
    lake.maintain(longest_read="1d")  # which leaves files that a cleanup would remove
    before = disk(tmp_path)
    with Lake(tmp_path / "lake", read_only=True) as reader:
        for query in (f"FROM {call}", f"SELECT 1 WHERE EXISTS (FROM {call})"):
            with pytest.raises(errors.LakeQueryError) as caught:
                reader.sql(query)
            assert caught.value.fields["function"] == call.partition("(")[0]
    assert disk(tmp_path) == before
    assert len(lake.bars()) == 12


@pytest.mark.parametrize(
    "query",
    [
        "FROM sqlite_scan('{secret}', 't')",
        "FROM SQLITE_SCAN('{secret}', 't')",
        "FROM \"sqlite_scan\"('{secret}', 't')",
        "FROM system.main.sqlite_scan('{secret}', 't')",
        "WITH x AS (FROM sqlite_scan('{secret}', 't')) SELECT count(*) FROM x",
        "SELECT (SELECT word FROM sqlite_scan('{secret}', 't'))",
        "FROM range(1), LATERAL (FROM sqlite_scan('{secret}', 't'))",
        "SELECT 1 UNION ALL BY NAME FROM sqlite_scan('{secret}', 't')",
        "SELECT list_transform([1], x -> (SELECT word FROM sqlite_scan('{secret}', 't')))",
        "FROM (PIVOT (FROM sqlite_scan('{secret}', 't')) ON word IN ('geheim'))",
        "SUMMARIZE FROM sqlite_scan('{secret}', 't')",
        "SELECT 1 ORDER BY (SELECT word FROM sqlite_scan('{secret}', 't'))",
        "FROM repeat((SELECT word FROM sqlite_scan('{secret}', 't')), 1)",
        "FROM sqlite_attach('{secret}')",
        "CALL sqlite_attach('{secret}')",
        "EXPLAIN ANALYZE FROM sqlite_scan('{secret}', 't')",
        "FROM postgres_scan('host=127.0.0.1 port=1', 'public', 't')",
        "FROM query('FROM sqlite_scan(''{secret}'', ''t'')')",
        "FROM query_table('{folder}/other.csv')",
        "FROM summary('{folder}/other.csv')",
        "FROM histogram('{folder}/other.csv', word)",
        "FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
        "SELECT json_serialize_plan('FROM ''{folder}/other.csv''')",
        "FROM read_blob('{folder}/lake/catalog.sqlite')",
        "FROM read_text('{folder}/lake/beside.csv')",
        "FROM '{folder}/lake/beside.csv'",
        'FROM "{folder}/lake/beside".csv',
        "FROM beside.csv",
        'FROM "*".csv',
        "DESCRIBE '{folder}/lake/beside.csv'",
        "SELECT * FROM bars JOIN '{folder}/lake/beside.csv' ON true",
        "FROM '{folder}/lake/data/**/*.parquet'",
        "FROM glob('{folder}/*')",
        "FROM __ducklake_metadata_lake.accounts",
    ],
)
def test_a_query_reads_nothing_but_the_lake(
    lake: Lake, tmp_path: Path, secret: Path, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.commit(delivery(1, [{"at": 0}]))
    (tmp_path / "lake" / "beside.csv").write_text("word\ngeheim\n")
    monkeypatch.chdir(tmp_path / "lake")  # names without a folder are looked for here
    with pytest.raises(errors.LakeQueryError) as caught:
        lake.sql(query.format(secret=secret, folder=tmp_path))
    assert caught.value.name == "lake_query" and "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("SELECT count(*) FROM lake.main.bars", 1),
        ("WITH x AS (SELECT symbol FROM bars) FROM x, range(3)", 3),
        ("WITH RECURSIVE t AS (SELECT 1 x UNION ALL SELECT x + 1 FROM t WHERE x < 3) FROM t", 3),
        ("PIVOT bars ON symbol IN ('BTCUSDT') USING count(*) GROUP BY date", 1),
        ("FROM (VALUES (1), (2))", 2),
        ("SELECT unnest([1, 2])", 2),
        ("SELECT table_name FROM information_schema.tables WHERE table_name = 'bars'", 1),
        ("SELECT * FROM ducklake_snapshots('lake') LIMIT 1", 1),
        ("SELECT * FROM ducklake_table_info('lake') WHERE table_name = 'closed'", 1),
        ("SELECT * FROM __ducklake_metadata_lake.ducklake_metadata LIMIT 1", 1),
        ("SELECT * FROM bars ORDER BY open_time; -- done", 1),
    ],
)
def test_ordinary_queries_are_answered(lake: Lake, query: str, rows: int) -> None:
    lake.commit(delivery(1, [{"at": 0}]))
    assert len(lake.sql(query)) == rows


def test_a_query_can_ask_what_there_is(lake: Lake) -> None:
    described = lake.sql("DESCRIBE bars").rows()
    assert described == lake.sql("DESCRIBE SELECT * FROM bars").rows()
    assert ("open_time", "TIMESTAMP_NS") in [row[:2] for row in described]
    for query in ("SHOW TABLES", "PRAGMA show_tables"):
        assert ("bars",) in lake.sql(query).rows()
    assert len(lake.sql("SUMMARIZE bars")) == len(described)
    assert len(lake.sql("PRAGMA table_info('bars')")) == len(described)
