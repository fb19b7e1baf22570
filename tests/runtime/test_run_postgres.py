"""Runs and workers whose lake has its catalog on a PostgreSQL server."""

from __future__ import annotations

import shutil
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import klineagg
from bus.proxy import FaultProxy
from klineagg import errors
from lake.servers import free_port, fresh_base, postgres_url  # noqa: F401  fixtures
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


def test_a_run_begins_before_the_server_of_its_lake(
    tmp_path: Path,
    fresh_base: str,  # noqa: F811
) -> None:
    parts = write_trades(tmp_path / "whole", ROWS)
    (tmp_path / "trades").mkdir()
    direct, port = urlsplit(fresh_base), free_port()
    assert direct.port is not None
    through = fresh_base.replace(f":{direct.port}/", f":{port}/")
    more = {"lake__catalog": f'"{through}"', "lake__data_path": '"data"'}
    config = write_config(tmp_path, **FOLLOWED, **more)
    with closing(FaultProxy(direct.port, at=port)):
        shutil.copy(parts[0], tmp_path / "trades")
        with running("run", config, cwd=tmp_path) as process:
            until(lambda: answers(config) and status(config)["persist"]["commits"])
            terminated(process)
    with running("run", config, cwd=tmp_path) as process:
        shutil.copy(parts[1], tmp_path / "trades")
        until(lambda: answers(config) and status(config)["rows_read"] == ROWS // 3)
        until(lambda: status(config)["persist"]["failures"])
        assert "lake_catalog" in status(config)["lake_error"]
        assert status(config)["persist"]["commits"] == 0
        with closing(FaultProxy(direct.port, at=port)):
            shutil.copy(parts[2], tmp_path / "trades")
            until(lambda: status(config)["persist"]["commits"])
            until(lambda: status(config)["rows_read"] == ROWS * 2 // 3)
            terminated(process)
    with klineagg.Lake(fresh_base, tmp_path / "data", read_only=True) as reader:
        assert_same(reader.bars("XBTUSD", INTERVALS), expected(parts))
