"""The same lake on SQLite, on PostgreSQL and on PostgreSQL with S3; several processes at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from klineagg import errors
from klineagg.lake import Lake
from lake.lakes import GAP, REVISED, Model, content, delivery
from lake.servers import PASSWORD

TESTS = Path(__file__).resolve().parents[1]

# A server takes long to start: by default only what is about several writers has one.
SQLITE_BY_DEFAULT = pytest.mark.parametrize(
    "place",
    ["sqlite", *(pytest.param(one, marks=pytest.mark.slow) for one in ("postgres", "postgres+s3"))],
    indirect=True,
)

WORKER = """
import json, random, sys
sys.path.insert(0, sys.argv[1])
from klineagg.lake import Lake
from lake.test_lake_servers import batches

seed, catalog, data = int(sys.argv[2]), sys.argv[3], sys.argv[4] or None
order = batches()
random.Random(seed).shuffle(order)
applied = []
with Lake(catalog, data, timeout=120) as lake:
    # Every process delivers all snapshots, rising, and some of them late and again.
    for snapshot in sorted(order, key=lambda one: one.id) + order[:3]:
        if lake.commit(snapshot, checkpoint=str(snapshot.id).encode()).applied:
            applied.append(snapshot.id[1])
print(json.dumps(applied))
"""


def batches() -> list[Any]:
    """Snapshots of two symbols with revisions, runs that are cut again, and open bars."""
    out = []
    for number in range(1, 7):
        at = number * 10
        closed: list[dict[str, Any]] = [
            {"at": at},
            {"at": at + 1, "run_length": 7, "flags": GAP},
            {"at": at + 8},
            {"at": at - 7, "revision": 1, "flags": REVISED, "close": 100.0 + number},
            {"at": number, "symbol": 1},
        ]
        opened: list[dict[str, Any]] = [
            {"at": at + 9},
            {"at": 0, "interval": 1, "close": float(number)},
        ]
        out.append(delivery(number, closed, opened, position=number * 100))
    return out


def start(source: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", source, str(TESTS), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


def test_three_processes_deliver_the_same_snapshots(place: tuple[str, str | None]) -> None:
    catalog, data = place
    Lake(catalog, data).close()
    running = [start(WORKER, str(seed), catalog, data or "") for seed in range(3)]
    applied: list[int] = []
    for process in running:
        said, complaint = process.communicate(timeout=300)
        assert process.returncode == 0, complaint
        applied += json.loads(said)
    model = Model()
    for snapshot in batches():
        model.commit(snapshot)
    with Lake(catalog, data) as lake:
        assert len(applied) == len(set(applied)), "one of them committed each snapshot, once"
        assert content(lake) == model.rows()
        fence = lake.fence()
        assert fence is not None and (fence.id, fence.position) == ((1, 6), 600)
        assert lake.checkpoint() == (b"(1, 6)", 600)


@SQLITE_BY_DEFAULT
def test_every_stack_commits_reads_travels_and_maintains(place: tuple[str, str | None]) -> None:
    catalog, data = place
    model = Model()
    with Lake(catalog, data) as lake:
        states = []
        for snapshot in batches():
            model.commit(snapshot)
            states.append((lake.commit(snapshot).snapshot, model.rows()))
        assert not lake.commit(batches()[0]).applied
        assert content(lake) == model.rows()
        for number, rows in states[::2]:
            assert content(lake, as_of=number) == rows
        done = lake.maintain(history="all")
        assert done.snapshots_expired == 0
        assert content(lake) == model.rows() and content(lake, as_of=states[1][0]) == states[1][1]
        counted = lake.sql("SELECT count(*) AS n FROM bars WHERE symbol = ?", ["BTCUSDT"])["n"]
        assert counted[0] == len([row for row in model.rows() if row[0] == "BTCUSDT"])
        with Lake(catalog, data, read_only=True) as reader:
            assert content(reader) == model.rows()


def test_secrets_are_in_no_text(
    fresh_base: str, s3_variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in s3_variables.items():
        monkeypatch.setenv(key, value)
    with Lake(fresh_base, "s3://lake/hidden") as lake:
        lake.commit(delivery(1, [{"at": 0}]))
        queries = (
            "SELECT * FROM duckdb_databases()", "SELECT * FROM duckdb_secrets()",
            "SELECT * FROM duckdb_settings()", "SELECT * FROM duckdb_views()",
        )  # fmt: skip
        texts = [repr(lake), *(str(lake.sql(query).rows()) for query in queries)]
    with Lake(fresh_base, read_only=True) as reader:
        # The catalog knows where the files are; the keys are in no setting either.
        assert len(reader.bars()) == 1 == len(reader.sql("FROM bars"))
        texts += [str(reader.sql(query).rows()) for query in queries]
    gone = fresh_base.replace("/lake_", "/gone_")
    for wrong, data in ((gone, None), (fresh_base, "s3://nowhere/lake")):
        with pytest.raises(errors.LakeError) as caught:
            Lake(wrong, data)
        texts += [str(caught.value), str(caught.value.fields), repr(caught.value.__cause__)]
    assert PASSWORD not in "".join(texts) and "%27cret" not in "".join(texts)


@SQLITE_BY_DEFAULT
def test_a_writer_waits_for_its_turn_and_gives_up_in_time(place: tuple[str, str | None]) -> None:
    catalog, data = place
    with Lake(catalog, data) as first, Lake(catalog, data, timeout=0.3) as second:
        first.commit(delivery(1, [{"at": 0}]))

        def hold(cursor: Any) -> None:
            with pytest.raises(errors.LakeBusyError) as caught:
                second.commit(delivery(2, [{"at": 1}]))
            assert caught.value.name == "lake_busy"
            assert len(second.bars()) == 1, "readers do not wait"

        first._session.writing(hold)
        assert second.commit(delivery(2, [{"at": 1}])).applied
