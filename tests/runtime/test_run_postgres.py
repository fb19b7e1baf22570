"""Runs and workers whose lake has its catalog on a PostgreSQL server."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

import klineagg
from klineagg import errors
from lake.servers import fresh_base, postgres_url  # noqa: F401  fixtures
from runtime.runs import (
    FOLLOWED,
    INTERVALS,
    answers,
    assert_same,
    expected,
    running,
    status,
    terminated,
    until,
    write_config,
    write_trades,
)

for needed in ("duckdb", "huey", "pyarrow"):
    pytest.importorskip(needed)

ROWS = 6_000


@pytest.mark.parametrize("by", ["run", "worker"])
def test_a_killed_run_on_postgresql_neither_loses_nor_doubles(
    tmp_path: Path,
    fresh_base: str,  # noqa: F811
    by: str,
) -> None:
    parts = write_trades(tmp_path / "whole", ROWS)
    (tmp_path / "trades").mkdir()
    more = {"lake__catalog": f'"{fresh_base}"', "lake__data_path": '"data"'}
    config = write_config(tmp_path, **FOLLOWED, **more, persist__by=f'"{by}"')
    klineagg.Lake(fresh_base, tmp_path / "data").close()
    shutil.copy(parts[0], tmp_path / "trades")

    def begun() -> bool:
        if not answers(config):
            return False
        told = status(config)
        done: int = told["lent"] if by == "worker" else told["persist"]["commits"]
        return done > before

    with klineagg.Lake(fresh_base, tmp_path / "data", read_only=True) as reader:

        def is_stored() -> bool:
            try:
                return int(reader.bars("XBTUSD", "1h").trade_count.sum()) == ROWS
            except errors.ResultError:  # it has nothing yet
                return False

        before = 0
        with ExitStack() as stack:
            if by == "worker":  # the run stays
                run = stack.enter_context(running("run", config, cwd=tmp_path))
            with running(by, config, cwd=tmp_path) as process:
                until(begun)
                shutil.copy(parts[1], tmp_path / "trades")
                process.kill()
            if by == "worker":
                before = status(config)["lent"]
            with running(by, config, cwd=tmp_path) as process:
                shutil.copy(parts[2], tmp_path / "trades")
                until(begun)
                until(is_stored)
                if by == "worker":
                    terminated(run)
                terminated(process)
        found = reader.bars("XBTUSD", INTERVALS)
    assert_same(found, expected(parts))
