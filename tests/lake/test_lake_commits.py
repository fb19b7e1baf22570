"""An engine that commits every second, replayed at full speed, beside maintenance and a reader."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from klineagg import Engine, SimulatedClock, aggregate
from klineagg.config.sections import TasksConfig
from klineagg.engine import Producer
from klineagg.lake import Lake, Maintenance
from lake.lakes import rows_of
from lake.test_lake_servers import start

pytest.importorskip("duckdb")

START = np.datetime64("2024-01-31T00:00:00", "ns")
SYMBOLS = [f"COMMIT{number}" for number in range(10)]
INTERVALS = ["1s", "1m"]
COMMITS = int(os.environ.get("KLINEAGG_COMMITS", "10000"))
PACED = 60  # commits more, one a second, after those at full speed

# A day of one symbol, again and again. What it saw has to be the beginning of the same seconds for
# each look: no commit in part, none that is gone again.
READER = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
import numpy as np
from klineagg.lake import Lake

took, looks, seen = [], 0, 0
begin, end = np.datetime64("2024-01-31", "ns"), np.datetime64("2024-02-01", "ns")

def tell():
    p50, p99, most = np.percentile(took, [50, 99, 100]).round(1).tolist()
    told = {"commits": seen, "looks": looks, "p50_ms": p50, "p99_ms": p99, "longest_ms": most}
    with open(sys.argv[5], "a") as file:
        print(json.dumps(told), file=file)

with Lake(sys.argv[2], read_only=True) as lake:
    while True:
        symbols = [f"COMMIT{(looks + k) % 10}" for k in range(2)]
        clock = time.perf_counter()
        bars = lake.bars(symbols[:1], "1s", begin, end, include_open=False)
        took.append(1e3 * (time.perf_counter() - clock))
        opens = bars.open_time
        wanted = begin + np.arange(len(bars)) * np.timedelta64(1, "s")
        assert np.array_equal(opens, wanted) and (bars.trade_count == 3).all()
        assert len(bars) >= seen, "what was committed stays"
        both = lake.bars(symbols, "1s", begin, end, include_open=False)
        counts = [int((both.symbol == each).sum()) for each in set(both.symbol.tolist())]
        assert len(set(counts)) <= 1 and sum(counts) >= 2 * len(bars), "commits are whole"
        before, seen, looks = seen, len(bars), looks + 1
        if seen == int(sys.argv[4]):
            break
        fast = int(sys.argv[3])
        if before < fast <= seen:
            tell()
            took.clear()  # from here on: one commit a second
        elif seen // 1000 > before // 1000 and seen < fast:
            tell()
        time.sleep(0.02)
tell()
"""


def second(number: int) -> dict[str, Any]:
    """Three trades of each symbol in one second; each second has other prices."""
    random = np.random.default_rng(number)
    count = 3 * len(SYMBOLS)
    within = np.sort(random.integers(0, 10**9, count)).astype("m8[ns]")
    return {
        "symbol": np.tile(SYMBOLS, 3),
        "time": START + np.timedelta64(number, "s") + within,
        "price": random.integers(9_000, 11_000, count) / 100,
        "quantity": random.integers(1, 5_000, count) / 1_000,
        "side": random.choice(np.array([-1, 1], np.int8), count),
    }


def commit(engine: Engine, feed: Producer, lake: Lake, number: int) -> None:
    feed.push(second(number))
    engine.advance(START + np.timedelta64(number + 1, "s"))
    with engine.take("lake", checkpoint=True) as snapshot:
        lake.commit(snapshot, checkpoint=snapshot.checkpoint)


def judged(lake: Lake, commits: int) -> None:
    """Every bar is there, with every bit."""
    parts = [second(number) for number in range(commits)]
    trades = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    end = START + np.timedelta64(commits, "s")
    wanted = aggregate(trades, "1s", coverage=(START, end), progress=False)
    assert rows_of(lake.bars(interval="1s", include_open=False)) == rows_of(wanted)


def commits_beside_a_reader(
    place: Path, fast: int, between: int, paced: int = 0
) -> list[Maintenance]:
    """``between``: seconds of the trades, so commits, from one round of maintenance to the next."""
    commits = fast + paced
    rounds: list[Maintenance] = []
    reader: subprocess.Popen[str] | None = None
    reads = place.with_name("reads.jsonl")  # what the reader tells of its work so far
    clock = SimulatedClock(START)
    with Lake(place) as lake, Engine(INTERVALS, clock=clock, max_ahead=None) as engine:
        feed = engine.producer()
        try:
            for number in range(commits):
                began = time.monotonic()
                commit(engine, feed, lake, number)
                if reader is None:
                    reader = start(READER, str(place), str(fast), str(commits), str(reads))
                assert reader.poll() is None, reader.communicate()
                if (number + 1) % between == 0:
                    rounds.append(lake.maintain())
                    print(f"{number + 1} commits: {rounds[-1]}", flush=True)
                if number >= fast:
                    time.sleep(max(0.0, began + 1 - time.monotonic()))
            assert reader is not None
            _, complaint = reader.communicate(timeout=600)
            assert reader.returncode == 0, complaint
        finally:
            if reader is not None:
                reader.kill()
                reader.communicate()
        judged(lake, commits)
    told = [json.loads(line) for line in reads.read_text().splitlines()]
    print(f"a day of a symbol was read (the last {paced} commits one a second):", *told, sep="\n  ")
    assert told[-1]["commits"] == commits
    return rounds


def test_commits_beside_maintenance_and_a_reader(tmp_path: Path) -> None:
    rounds = commits_beside_a_reader(tmp_path / "lake", 40, 20, paced=2)
    assert rounds[-1].files <= rounds[0].files + 8


@pytest.mark.slow
def test_many_commits_of_a_second_keep_the_files_few_and_every_read_whole(tmp_path: Path) -> None:
    between = 60 * TasksConfig().maintenance_minutes
    rounds = commits_beside_a_reader(tmp_path / "lake", COMMITS, between, PACED)
    # Merging leaves up to seven of each of its three sizes, of two tables, for one day.
    assert max(each.files for each in rounds) <= 64
