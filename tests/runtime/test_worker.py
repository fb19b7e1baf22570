"""`klineagg worker`: a second process stores the bars; it, or the engine, may be killed."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from runtime.runs import (
    FOLLOWED,
    Writer,
    answers,
    assert_same,
    command,
    ended,
    expected,
    kills,
    running,
    status,
    stored,
    terminated,
    until,
    write_config,
    write_trades,
)

for needed in ("duckdb", "huey", "pyarrow"):
    pytest.importorskip(needed)

BY_WORKER = {"persist__by": '"worker"'}


def test_a_worker_stores_what_the_engine_has(tmp_path: Path) -> None:
    paths = write_trades(tmp_path / "trades", 30_000)
    config = write_config(tmp_path, **BY_WORKER, source__on_end='"wait"')
    with (
        running("worker", config, cwd=tmp_path) as worker,
        running("run", config, cwd=tmp_path) as run,
    ):
        until(lambda: answers(config) and status(config)["lent"])
        until(lambda: status(config)["lake"] is not None)
        until(lambda: status(config)["consumers"][0]["stored"])
        (consumer,) = status(config)["consumers"]
        assert (consumer["consumer"], consumer["process"]) == ("lake", worker.pid)
        assert 1 <= consumer["stored"] <= consumer["lent"] and consumer["seen_s"] < 30
        terminated(run)
        terminated(worker)
    assert_same(stored(tmp_path), expected(paths))


def test_the_status_tells_who_stores(tmp_path: Path) -> None:
    write_trades(tmp_path / "trades", 5_000)
    config = write_config(tmp_path, **BY_WORKER, source__on_end='"wait"')
    with running("run", config, cwd=tmp_path) as run:
        until(lambda: answers(config))
        assert "consumers                none\n" in ended(command("status", config, cwd=tmp_path))
        with running("worker", config, cwd=tmp_path) as worker:
            until(lambda: status(config)["consumers"])
            told = ended(command("status", config, cwd=tmp_path))
            assert f"consumer lake, process {worker.pid}, lent " in told
            terminated(worker)
        until(lambda: not status(config)["consumers"])
        terminated(run)


def test_an_engine_that_ends_without_a_worker_stores_the_rest_itself(tmp_path: Path) -> None:
    paths = write_trades(tmp_path / "trades", 5_000)
    config = write_config(tmp_path, **BY_WORKER)
    ended(command("run", config, cwd=tmp_path))
    assert_same(stored(tmp_path), expected(paths))


def test_a_worker_needs_the_configuration_to_say_so(tmp_path: Path) -> None:
    config = write_config(tmp_path, persist__by='"run"')
    told = ended(command("worker", config, cwd=tmp_path), 2)
    line = config.read_text().splitlines().index('persist.by = "run"') + 1
    assert f"{config}:{line}: persist.by: " in told


@pytest.mark.parametrize("both", [False, True], ids=["worker", "worker-and-engine"])
@pytest.mark.parametrize(
    "cycles", [2, pytest.param(kills(0.2), marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_kill_of_a_worker_neither_loses_nor_doubles(
    tmp_path: Path, cycles: int, both: bool
) -> None:
    writer = Writer(tmp_path / "trades", min(4_000 * cycles, 40_000), cycles * 2.0)
    config = write_config(tmp_path, **FOLLOWED, **BY_WORKER)
    chance = random.Random(cycles)
    writer.start()
    run = command("run", config, cwd=tmp_path)
    try:
        for _ in range(cycles):
            worker = command("worker", config, cwd=tmp_path)
            time.sleep(chance.uniform(0.8, 1.8))
            first, second = (run, worker) if chance.random() < 0.5 else (worker, run)
            if both:
                # The one that is left goes on for a moment with what it has of the other.
                first.kill()
                time.sleep(chance.uniform(0.0, 0.1))
                second.kill()
                run.communicate()
                run = command("run", config, cwd=tmp_path)
            else:
                worker.kill()
            worker.communicate()
        until(lambda: answers(config))
        before = status(config)["lent"]
        with running("worker", config, cwd=tmp_path) as worker:
            # Others may have stored all: these two have to be there before they can be ended.
            until(lambda: status(config)["lent"] > before and not writer.is_alive())
            until(writer.is_stored)
            terminated(run)
            terminated(worker)
    finally:
        run.kill()
        run.communicate()
    assert_same(stored(tmp_path), expected(writer.paths))
