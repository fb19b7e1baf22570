"""A run whose log lost its end, as a power cut takes it from one that is never synced."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from runtime.runs import (
    assert_same,
    command,
    ended,
    expected,
    stored,
    write_config,
    write_trades,
)

for needed in ("duckdb", "huey", "pyarrow"):
    pytest.importorskip(needed)


def test_a_lake_that_is_ahead_of_the_log_is_gone_on_from_without_the_log(tmp_path: Path) -> None:
    parts = write_trades(tmp_path / "whole", 30_000)
    (tmp_path / "trades").mkdir()
    config = write_config(tmp_path, wal__fsync='"none"')
    log, older = tmp_path / "wal", tmp_path / "older"
    for number, part in enumerate(parts[:2]):
        shutil.copy(part, tmp_path / "trades")
        ended(command("run", config, cwd=tmp_path))
        if number == 0:
            shutil.copytree(log, older)
    shutil.rmtree(log)
    shutil.copytree(older, log)
    told = ended(command("run", config, cwd=tmp_path), 3)
    assert "the checkpoint is ahead of the log" in told and "move the log's folder away" in told
    log.rename(tmp_path / "away")
    shutil.copy(parts[2], tmp_path / "trades")
    for _ in range(2):  # the second one begins with the new log
        ended(command("run", config, cwd=tmp_path))
        assert_same(stored(tmp_path), expected(sorted((tmp_path / "trades").iterdir())))
