"""`klineagg run` as a process: stores exactly its trades, goes on after kill -9, changes live."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest

from klineagg.runtime import Client
from runtime.runs import (
    assert_same,
    command,
    ended,
    expected,
    running,
    stored,
    terminated,
    until,
    write_config,
    write_trades,
)

for needed in ("duckdb", "huey", "pyarrow"):
    pytest.importorskip(needed)


def test_a_run_stores_its_trades_and_ends(tmp_path: Path) -> None:
    paths = write_trades(tmp_path / "trades", 30_000)
    config = write_config(tmp_path)
    out = ended(command("run", config, cwd=tmp_path))
    assert "30000 rows read" in out
    assert_same(stored(tmp_path), expected(paths))


@pytest.mark.parametrize(
    "cycles", [4, pytest.param(100, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_kill_of_a_run_neither_loses_nor_doubles(tmp_path: Path, cycles: int) -> None:
    paths = write_trades(tmp_path / "trades", 50_000, files=5)
    config = write_config(tmp_path)
    chance = random.Random(cycles)
    for _ in range(cycles):
        with running("run", config, cwd=tmp_path) as process:
            time.sleep(chance.uniform(0.5, 2.0))
            if process.poll() is not None:
                assert process.returncode == 0
            process.kill()
    ended(command("run", config, cwd=tmp_path))
    assert_same(stored(tmp_path), expected(paths))
