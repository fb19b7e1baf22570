"""Runs that begin without their lake: the log has what they need, and the lake joins later."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from klineagg import Lake
from klineagg.config import load
from klineagg.data import load_bitmex
from klineagg.runtime.place import PlaceFile
from runtime.runs import (
    FOLLOWED,
    answers,
    assert_same,
    command,
    ended,
    expected,
    running,
    said,
    status,
    stored,
    terminated,
    until,
    write_config,
    write_trades,
)

for needed in ("duckdb", "huey", "pyarrow"):
    pytest.importorskip(needed)


def take_away(folder: Path) -> None:
    """As a mount that is gone; a folder that is not there would be made, with an empty lake."""
    (folder / "lake").rename(folder / "away")
    (folder / "lake").write_text("no folder")


def put_back(folder: Path) -> None:
    (folder / "lake").unlink()
    (folder / "away").rename(folder / "lake")


def has_read(config: Path, rows: int) -> bool:
    """In this process."""
    return answers(config) and status(config)["rows_read"] == rows


def test_runs_go_on_without_their_lake_and_it_misses_nothing(tmp_path: Path) -> None:
    parts = write_trades(tmp_path / "whole", 30_000, files=5)
    (tmp_path / "trades").mkdir()
    config = write_config(tmp_path, **FOLLOWED)
    shutil.copy(parts[0], tmp_path / "trades")
    with running("run", config, cwd=tmp_path) as process:
        until(lambda: answers(config) and status(config)["persist"]["commits"])
        terminated(process)
    take_away(tmp_path)
    # Killed ones first, so that the last one finds trades that no lake has heard of.
    for number in (1, 2):
        with running("run", config, cwd=tmp_path) as process:
            said(process, "goes on from the checkpoint beside the log")
            shutil.copy(parts[number], tmp_path / "trades")
            until(lambda: has_read(config, 6_000))
            process.kill()
    with running("run", config, cwd=tmp_path) as process:
        shutil.copy(parts[3], tmp_path / "trades")
        until(lambda: has_read(config, 6_000))
        until(lambda: status(config)["persist"]["failures"])
        found = status(config)
        assert "no folder" not in found["lake_error"] and "lake_catalog" in found["lake_error"]
        assert found["lake"] is None and found["persist"]["commits"] == 0
        put_back(tmp_path)
        until(lambda: status(config)["persist"]["commits"])
        assert status(config)["lake_error"] is None
        shutil.copy(parts[4], tmp_path / "trades")
        until(lambda: has_read(config, 12_000))
        assert "the lake is there" in terminated(process)
    assert_same(stored(tmp_path), expected(parts))
    with running("run", config, cwd=tmp_path) as process:  # nor did the lake get a wrong state
        until(lambda: answers(config))
        assert "ended; 0 rows read" in terminated(process)
    assert_same(stored(tmp_path), expected(parts))


def test_the_place_in_the_source_is_known_without_the_lake(tmp_path: Path) -> None:
    """All was stored, so the log behind the checkpoint has no note of it."""
    parts = write_trades(tmp_path / "trades", 6_000)
    config = write_config(tmp_path)
    ended(command("run", config, cwd=tmp_path))
    take_away(tmp_path)
    with running("run", config, cwd=tmp_path) as process:
        said(process, f"goes on at kind file, file {parts[-1]}, rows 2000\n")
        said(process, "the source has ended after 0 rows")
        process.kill()
    put_back(tmp_path)
    assert "ended; 0 rows read" in ended(command("run", config, cwd=tmp_path))
    assert_same(stored(tmp_path), expected(parts))


def test_a_run_that_ends_without_its_lake_keeps_its_bars_for_the_next_one(tmp_path: Path) -> None:
    parts = write_trades(tmp_path / "whole", 6_000)
    (tmp_path / "trades").mkdir()
    config = write_config(tmp_path, runtime__shutdown_timeout='"1s"')
    for number, part in enumerate(parts):
        shutil.copy(part, tmp_path / "trades")
        if number == 1:
            take_away(tmp_path)
        told = ended(command("run", config, cwd=tmp_path), 3 if number == 1 else 0)
        assert ("lake_catalog" in told) == (number == 1) and "Traceback" not in told
        if number == 1:
            put_back(tmp_path)
    assert_same(stored(tmp_path), expected(parts))


def test_a_place_that_cannot_be_written_is_none_and_stops_nothing(tmp_path: Path) -> None:
    parts = write_trades(tmp_path / "whole", 6_000)
    (tmp_path / "trades").mkdir()
    config = write_config(tmp_path)
    place = tmp_path / "wal/place.json"
    for part in parts[:2]:
        shutil.copy(part, tmp_path / "trades")
        told = ended(command("run", config, cwd=tmp_path))
        if part == parts[0]:
            assert PlaceFile(load(config)).load() is not None
            (tmp_path / "wal/place.json.new").mkdir()  # as a full disk would have it
    assert "place.json cannot be written" in told and not place.exists()
    assert_same(stored(tmp_path), expected(parts[:2]))
    (tmp_path / "wal/place.json.new").rmdir()
    shutil.copy(parts[2], tmp_path / "trades")
    ended(command("run", config, cwd=tmp_path))
    assert place.exists()
    assert_same(stored(tmp_path), expected(parts))


@pytest.mark.parametrize("why", ["never stored", "no log", "another log", "damaged place"])
def test_without_what_it_needs_a_run_does_not_begin_without_its_lake(
    tmp_path: Path, why: str
) -> None:
    parts = write_trades(tmp_path / "trades", 3_000)
    more = {"wal__fsync": '"off"'} if why == "no log" else {}
    config = write_config(tmp_path, **more)
    if why != "never stored":
        ended(command("run", config, cwd=tmp_path))
    else:
        Lake(tmp_path / "lake/catalog.sqlite", tmp_path / "lake/data").close()
    if why == "damaged place":
        (tmp_path / "wal/place.json").write_text('{"log": "')
    if why == "another log":
        for path in (tmp_path / "wal").iterdir():
            if path.name != "place.json":
                path.unlink()
    take_away(tmp_path)
    told = ended(command("run", config, cwd=tmp_path), 3)
    assert "lake_catalog" in told and "Traceback" not in told
    put_back(tmp_path)
    ended(command("run", config, cwd=tmp_path))
    assert_same(stored(tmp_path), expected(parts))


def test_a_lake_that_is_another_ones_never_joins(tmp_path: Path) -> None:
    write_trades(tmp_path / "trades", 3_000)
    config = write_config(tmp_path, **FOLLOWED)
    with running("run", config, cwd=tmp_path) as process:
        until(lambda: answers(config) and status(config)["persist"]["commits"])
        terminated(process)
    take_away(tmp_path)
    with running("run", config, cwd=tmp_path) as process:
        until(lambda: answers(config))
        (tmp_path / "lake").unlink()  # what is made there then is an empty one
        assert "belongs to another lake" in ended(process, 3)


def test_a_lake_that_is_ahead_of_the_log_never_joins(tmp_path: Path) -> None:
    parts = write_trades(tmp_path / "whole", 6_000)
    (tmp_path / "trades").mkdir()
    config = write_config(tmp_path, wal__fsync='"none"')
    log, older = tmp_path / "wal", tmp_path / "older"
    for number, part in enumerate(parts[:2]):
        shutil.copy(part, tmp_path / "trades")
        ended(command("run", config, cwd=tmp_path))
        if number == 0:
            shutil.copytree(log, older)
    shutil.rmtree(log)
    older.rename(log)
    take_away(tmp_path)
    with running("run", config, cwd=tmp_path) as process:
        until(lambda: answers(config))
        put_back(tmp_path)
        told = ended(process, 3)
        assert "the lake is ahead of the log" in told and "move the log's folder away" in told
    log.rename(older)
    shutil.copy(parts[2], tmp_path / "trades")
    ended(command("run", config, cwd=tmp_path))
    assert_same(stored(tmp_path), expected(sorted((tmp_path / "trades").iterdir())))


def test_a_lake_that_was_repaired_meanwhile_joins_the_next_run(tmp_path: Path) -> None:
    parts = write_trades(tmp_path / "whole", 30_000)
    (tmp_path / "trades").mkdir()
    config = write_config(tmp_path, **FOLLOWED, engine__amend_horizon='"30d"')
    shutil.copy(parts[0], tmp_path / "trades")
    with running("run", config, cwd=tmp_path) as process:
        until(lambda: answers(config) and status(config)["persist"]["commits"])
        terminated(process)
    trades = load_bitmex()[:8_000]
    first, last = (trades["time"][k].astype("datetime64[m]") for k in (0, -1))
    lines = parts[0].read_text().splitlines()
    (tmp_path / "repair.csv").write_text("\n".join([*lines[:101], *lines[102:8_001]]) + "\n")
    repaired = ended(
        command("repair", "XBTUSD", "--from", first, "--to", last, "--write",
                "--lake", tmp_path / "lake/catalog.sqlite", "--data-path", tmp_path / "lake/data",
                "--trades", tmp_path / "repair.csv", cwd=tmp_path),
    )  # fmt: skip
    assert "1s" in repaired
    take_away(tmp_path)
    with running("run", config, cwd=tmp_path) as process:
        until(lambda: answers(config))
        shutil.copy(parts[1], tmp_path / "trades")
        until(lambda: has_read(config, 10_000))
        put_back(tmp_path)
        told = ended(process, 3)
        assert "repaired while no engine ran" in told and "start it again" in told
    with running("run", config, cwd=tmp_path) as process:
        until(lambda: answers(config))
        terminated(process)
    found, wanted = stored(tmp_path), expected(parts[:2])
    # One trade, and the hour is not over within what was repaired.
    assert found.trade_count.sum() == wanted.trade_count.sum() - 2


def test_a_worker_gets_nothing_before_the_lake_has_joined(tmp_path: Path) -> None:
    parts = write_trades(tmp_path / "whole", 6_000)
    (tmp_path / "trades").mkdir()
    config = write_config(tmp_path, **FOLLOWED, persist__by='"worker"')
    shutil.copy(parts[0], tmp_path / "trades")

    def is_stored(rows: int) -> bool:
        try:
            return int(stored(tmp_path).trade_count.sum()) == 3 * rows
        except Exception:
            return False

    with running("run", config, cwd=tmp_path) as run:
        until(lambda: answers(config))
        with running("worker", config, cwd=tmp_path) as worker:
            until(lambda: is_stored(2_000))
            terminated(worker)
        terminated(run)
    take_away(tmp_path)
    with running("run", config, cwd=tmp_path) as run:
        shutil.copy(parts[1], tmp_path / "trades")
        until(lambda: has_read(config, 2_000))
        assert "lake_catalog" in ended(command("worker", config, cwd=tmp_path), 3)
        put_back(tmp_path)
        with running("worker", config, cwd=tmp_path) as worker:
            shutil.copy(parts[2], tmp_path / "trades")
            until(lambda: is_stored(6_000))
            terminated(worker)
        terminated(run)
    assert_same(stored(tmp_path), expected(parts))
