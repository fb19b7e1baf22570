"""A full disk, a disk that fails, a snapshot whose lease ran out: nothing acknowledged is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klineagg
from disks import filled
from klineagg import SimulatedClock, errors
from klineagg.data import load_bitmex
from klineagg.lake import Lake
from lake.lakes import Model, content, delivery, rows_of
from lake.test_lake_servers import TESTS

# SQLite's index of its log of writes ahead: without it a catalog cannot be read either.
SQLITE_NEEDS = 65_536
# Commits until one fails; tells each that did not.
WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from klineagg import errors
from klineagg.lake import Lake
from lake.lakes import delivery

with Lake(sys.argv[2], timeout=2) as lake:
    for number in range(2, 26):
        try:
            rows = [{"at": number}, {"at": number, "symbol": 1}]
            lake.commit(delivery(number, rows, [{"at": number + 1}], position=number))
        except errors.LakeError as error:
            print("failed", error.name, flush=True)
        else:
            print(number, flush=True)
"""


@pytest.mark.parametrize("left", [0, 8_192, 65_536])
def test_a_full_disk_fails_a_commit_and_costs_nothing(small_disk: Path, left: int) -> None:
    pytest.importorskip("duckdb_extension_ducklake")
    model = Model()
    with Lake(small_disk / "lake", timeout=1) as lake:
        number, failed = 0, None
        while failed is None and number < 40:
            number += 1
            if number == 3:
                filler = filled(small_disk, left)
            rows = [{"at": 200 * number + k} for k in range(200)]
            snapshot = delivery(number, rows, [{"at": 200 * number + 200}], position=number)
            try:
                lake.commit(snapshot)
            except errors.LakeError as error:
                failed = error
            else:
                model.commit(snapshot)
        assert failed is not None and failed.name in ("lake_commit", "lake_busy")
        if left >= SQLITE_NEEDS:
            assert content(lake) == model.rows(), "readers go on with the last commit"
            with Lake(small_disk / "lake", read_only=True) as reader:
                assert content(reader) == model.rows()
        filler.unlink()
        assert content(lake) == model.rows()
        fence = lake.fence()
        assert fence is not None and fence.number == number - 1
        assert lake.commit(snapshot).applied, "there is room again"
        model.commit(snapshot)
        assert content(lake) == model.rows()
        lake.maintain(orphan_age="1ns", longest_read="1ns")
        assert content(lake) == model.rows()


# Each call of a whole commit and of what follows, the last one behind the first commit.
LAST = {"fsync,fdatasync": 11, "write,pwrite64": 30}
CASES = [
    *((call, "3") for call in LAST),
    *(
        pytest.param(call, when, marks=pytest.mark.slow)
        for call, last in LAST.items()
        for when in ("2+", "9+", *map(str, (1, 2, *range(4, last + 1))))
    ),
]


@pytest.mark.skipif(
    shutil.which("strace") is None, reason="no strace here (Debian package: strace)"
)
@pytest.mark.parametrize(("call", "when"), CASES)
def test_a_disk_that_fails_costs_nothing_that_was_acknowledged(
    tmp_path: Path, call: str, when: str
) -> None:
    pytest.importorskip("duckdb_extension_ducklake")
    place = tmp_path / "lake"
    model = Model()
    with Lake(place) as lake:
        lake.commit(delivery(1, [{"at": 1}, {"at": 1, "symbol": 1}], [{"at": 2}], position=1))
    catalog = str(place / "catalog.sqlite")
    done = subprocess.run(
        ["strace", "-f", "-qq", "-o", str(tmp_path / "trace"), "-e", f"trace={call}",
         "-P", catalog, "-P", f"{catalog}-wal", "-e", f"inject={call}:error=EIO:when={when}",
         sys.executable, "-c", WRITER, str(TESTS), str(place)],
        capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    if "ptrace" in done.stderr.lower() and "not permitted" in done.stderr.lower():
        pytest.skip("strace may not trace here")
    told = done.stdout.split()
    acknowledged = {int(text) for text in told if text.isdecimal()} | {1}
    assert "(INJECTED)" in (tmp_path / "trace").read_text(), "the failure came to pass"
    if when == str(LAST[call]):
        assert 2 in acknowledged, "so each call of the first commit has failed once"
    with Lake(place) as lake:
        fence = lake.fence()
        assert fence is not None and fence.number >= max(acknowledged)
        stored = set(lake.bars("ETHUSDT", "1m", include_open=False).open_time.tolist())
        minutes = {(at - 1_514_764_800 * 10**9) // (60 * 10**9) for at in stored}
        # A commit whose last step failed may be there and not be told.
        assert acknowledged <= minutes <= set(range(1, 26))
        for number in sorted(minutes):
            rows = [{"at": number}, {"at": number, "symbol": 1}]
            model.commit(delivery(number, rows, [{"at": number + 1}]))
        assert content(lake) == model.rows()
        after = delivery(27, [{"at": 27}])
        model.commit(after)
        assert lake.commit(after).applied and content(lake) == model.rows()


def test_a_snapshot_whose_lease_ran_out_is_refused_after_its_successor(lake: Lake) -> None:
    trades = load_bitmex()
    clock = SimulatedClock(trades["time"][0])
    options: dict[str, Any] = {"clock": clock, "max_ahead": None, "lease": "30s"}
    with klineagg.Engine("1m,1h", **options) as engine, engine.producer() as producer:
        producer.push(trades[:20_000])
        engine.flush()
        belated = engine.take("lake")
        assert len(belated.closed)
        clock.advance(trades["time"][20_000] + np.timedelta64(60, "s"))
        producer.push(trades[20_000:40_000])
        engine.flush()
        successor = engine.take("lake")  # the lease has ended: the rows come again, and more
        assert len(successor.closed) > len(belated.closed) and successor.id > belated.id
        assert lake.commit(successor).applied
        before = content(lake)
        late = lake.commit(belated)
        assert not late.applied and late.fence.id == tuple(successor.id)
        assert content(lake) == before
        assert rows_of(lake.bars(gaps="runs", include_open=False)) == rows_of(
            successor.closed.resolve()
        )
        successor.ack()
