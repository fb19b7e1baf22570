"""`klineagg run` as a process: stores exactly its trades, goes on after kill -9, changes live."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from klineagg import Lake
from klineagg.config import load
from klineagg.data import load_bitmex
from klineagg.runtime.host import pack_state
from klineagg.runtime.setup import CONSUMER, claim, make_engine, open_lake
from runtime.runs import (
    FOLLOWED,
    LONG_S,
    Writer,
    answers,
    assert_same,
    command,
    ended,
    expected,
    kills,
    printed_status,
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


def test_a_run_stores_its_trades_and_ends(tmp_path: Path) -> None:
    paths = write_trades(tmp_path / "trades", 30_000)
    config = write_config(tmp_path)
    out = ended(command("run", config, cwd=tmp_path))
    assert "30000 rows read" in out
    assert_same(stored(tmp_path), expected(paths))
    again = ended(command("run", config, cwd=tmp_path))  # it goes on behind the last row
    assert "ended; 0 rows read" in again
    assert f"goes on at kind file, file {paths[-1]}, rows 10000\n" in again
    assert_same(stored(tmp_path), expected(paths))


def test_a_run_says_how_many_files_of_a_folder_it_goes_on_behind(tmp_path: Path) -> None:
    paths = write_trades(tmp_path / "trades", 3_000)
    config = write_config(tmp_path, **FOLLOWED)
    with running("run", config, cwd=tmp_path) as process:
        until(lambda: answers(config) and status(config)["rows_read"] == 3_000)
        terminated(process)
    with running("run", config, cwd=tmp_path) as process:
        said(process, f"goes on at kind directory, files {len(paths)}\n")
        until(lambda: answers(config))
        assert "0 rows read" in terminated(process)


def test_a_status_is_given_without_the_lake(tmp_path: Path) -> None:
    paths = write_trades(tmp_path / "trades", 3_000)
    config = write_config(tmp_path, **FOLLOWED)
    with running("run", config, cwd=tmp_path) as process:
        until(lambda: answers(config) and status(config)["persist"]["commits"])
        assert status(config)["lake"] and status(config)["lake_error"] is None
        (tmp_path / "lake").rename(tmp_path / "away")
        assert "lake_catalog" in status(config)["lake_error"]
        assert status(config)["state"] == "running" and status(config)["lake"] is None
        (tmp_path / "away").rename(tmp_path / "lake")
        until(lambda: status(config)["lake"] and status(config)["rows_read"] == 3_000)
        terminated(process)
    assert_same(stored(tmp_path), expected(paths))


def test_a_lake_that_cannot_be_reached_at_the_start_costs_nothing(tmp_path: Path) -> None:
    paths = write_trades(tmp_path / "trades", 3_000)
    config = write_config(tmp_path)
    (tmp_path / "lake").write_text("no folder")
    out = ended(command("run", config, cwd=tmp_path), code=3)
    assert "lake_catalog" in out and "Traceback" not in out
    (tmp_path / "lake").unlink()
    assert "3000 rows read" in ended(command("run", config, cwd=tmp_path))
    assert_same(stored(tmp_path), expected(paths))


@pytest.mark.parametrize(
    "cycles", [3, pytest.param(kills(0.2), marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_kill_of_a_run_neither_loses_nor_doubles(tmp_path: Path, cycles: int) -> None:
    # While trades come, so that there is something at stake at every instant.
    writer = Writer(tmp_path / "trades", min(4_000 * cycles, 40_000), cycles * 1.5)
    config = write_config(tmp_path, **FOLLOWED)
    chance = random.Random(cycles)
    writer.start()
    for _ in range(cycles):
        with running("run", config, cwd=tmp_path) as process:
            until(lambda: answers(config))
            time.sleep(chance.uniform(0.0, 0.6))
            process.kill()
    with running("run", config, cwd=tmp_path) as process:
        # A killed one may have stored all: this one has to be there before it can be told to end.
        until(lambda: answers(config) and not writer.is_alive())
        until(writer.is_stored)
        terminated(process)
    assert_same(stored(tmp_path), expected(writer.paths))


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_that_has_stored_all(tmp_path: Path, kind: signal.Signals) -> None:
    writer = Writer(tmp_path / "trades", 4_000, 0.1)
    # An hour: nothing but the end stores it.
    config = write_config(tmp_path, **FOLLOWED, persist__persistence_interval_ms="3_600_000")
    writer.start()
    with running("run", config, cwd=tmp_path) as process:
        until(lambda: answers(config))
        until(lambda: not writer.is_alive() and status(config)["rows_read"] == 4_000)
        found = printed_status(config)
        assert found["state"] == "running"
        assert found["process"] == process.pid
        assert (found["accepted"], found["rejected"], found["dropped"]) == (4_000, {}, {})
        assert found["persist"] == {
            "commits": 0, "rows": 0, "failures": 0, "rows_lost": 0, "last_commit_s": None,
            "error": None,
        }  # fmt: skip
        process.send_signal(kind)
        ended(process)
    assert_same(stored(tmp_path), expected(writer.paths))
    assert not answers(config)


def test_good_changes_are_taken_over_and_bad_ones_refused(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "trades", 2_000, 0.1)
    config = write_config(tmp_path, **FOLLOWED, persist__persistence_interval_ms="3_600_000")
    writer.run()
    with running("run", config, cwd=tmp_path) as process:
        until(lambda: answers(config) and status(config)["rows_read"] == 2_000)
        text = config.read_text()

        line = text.splitlines().index("persist.persistence_interval_ms = 3_600_000") + 1
        config.write_text(text.replace("3_600_000", "0"))
        said(process, f"klineagg.toml:{line}: persist.persistence_interval_ms")
        config.write_text(text.replace("3_600_000", "20") + 'engine.clock = "system"\n')
        line = len(text.splitlines()) + 1
        said(process, f"klineagg.toml:{line}: engine.clock: it cannot change")
        assert status(config)["persistence_interval_ms"] == 3_600_000

        good = text.replace("3_600_000", "20").replace('"1h"]', '"1h", "4h"]')
        config.write_text(good)
        until(lambda: status(config)["persistence_interval_ms"] == 20)
        assert status(config)["intervals"] == ["1s", "1m", "1h", "4h"]
        until(lambda: (tmp_path / "lake/catalog.sqlite").exists())
        with Lake(tmp_path / "lake/catalog.sqlite", tmp_path / "lake/data") as lake:
            until(lambda: "4h" in lake.intervals())
        terminated(process)


def test_a_second_engine_is_kept_out(tmp_path: Path) -> None:
    (tmp_path / "trades").mkdir()
    config = write_config(tmp_path, **FOLLOWED)
    with running("run", config, cwd=tmp_path) as process:
        until(lambda: answers(config))
        assert "already_running" in ended(command("run", config, cwd=tmp_path), 3)
        terminated(process)


def test_a_lake_that_comes_back_gets_everything(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "trades", 20_000, 2.0)
    config = write_config(tmp_path, **FOLLOWED)
    with running("run", config, cwd=tmp_path) as process:
        until(lambda: answers(config))
        data = tmp_path / "lake/data"
        data.mkdir(exist_ok=True)
        data.rename(tmp_path / "away")
        data.write_text("no folder")  # so that no file can be written below it
        writer.start()
        until(lambda: status(config)["persist"]["failures"] > 1)
        data.unlink()
        (tmp_path / "away").rename(data)
        until(lambda: not writer.is_alive())
        until(writer.is_stored)
        assert status(config)["persist"]["error"] is None
        terminated(process)
    assert_same(stored(tmp_path), expected(writer.paths))


def test_a_source_that_fails_gives_its_exit_code(tmp_path: Path) -> None:
    config = write_config(tmp_path, source__paths='["no/such.csv"]')
    assert "file_not_found" in ended(command("run", config, cwd=tmp_path), 3)
    assert not os.path.exists(tmp_path / "run/klineagg.sock")


GOOD_ROW = '{"symbol": "XBTUSD", "time": 1700000000000, "price": "1.5", "quantity": 3}\n'


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ("a,b\n" * 100, 3, "no row of it could be used: 100 rows (json_unreadable 100; the first"),
        (GOOD_ROW.replace("1.5", "x"), 3, "<stdin>:1: price 'x'"),
        (GOOD_ROW.replace("1.5", "-1"), 3, "no row of it could be used: 1 rows"),
        (GOOD_ROW + "[1]\n", 0, "1 rows (json_unreadable 1; the first: <stdin>:2: '[1]"),
        (GOOD_ROW, 0, "ended; 1 rows read"),
        ("", 0, "ended; 0 rows read"),
    ],
    ids=["no json", "no number", "negative", "one bad", "good", "empty"],
)
def test_rows_that_are_left_out_are_told_and_are_no_success(
    tmp_path: Path, text: str, code: int, told: str
) -> None:
    config = write_config(tmp_path, source__kind='"stdin"', source__format='"jsonl"')
    (tmp_path / "in").write_text(text)
    with (tmp_path / "in").open() as file:
        out = ended(command("run", config, cwd=tmp_path, stdin=file.fileno()), code)
    assert told in out
    is_bad = text not in (GOOD_ROW, "")
    assert out.count("WARNING") == is_bad  # one line, however many rows there are
    # The good rows are stored all the same, and what was stored does not make bad rows good.
    if is_bad and code:
        with (tmp_path / "in").open() as file:
            ended(command("run", config, cwd=tmp_path, stdin=file.fileno()), code)


def test_standard_input_that_is_closed_is_refused(tmp_path: Path) -> None:
    config = write_config(tmp_path, source__kind='"stdin"')
    shell = ["sh", "-c", f"{sys.executable} -m klineagg run {config} <&-"]
    found = subprocess.run(shell, capture_output=True, text=True, timeout=LONG_S, check=False)
    assert found.returncode == 3 and "standard input is closed" in found.stderr


def test_a_file_with_a_bad_row_is_told_of_and_read_to_its_end_once(tmp_path: Path) -> None:
    paths = write_trades(tmp_path / "trades", 200, files=1)
    lines = paths[0].read_text().splitlines(keepends=True)
    paths[0].write_text("".join([*lines[:100], "XBTUSD,never,1,1,buy\n", *lines[100:]]))
    config = write_config(tmp_path)
    out = ended(command("run", config, cwd=tmp_path))
    assert f"the first: {paths[0]}:101: time 'never'" in out
    # All of its good rows are stored: that it has no other ones is no failure.
    assert "ended; 0 rows read" in ended(command("run", config, cwd=tmp_path))


def test_standard_input_that_stays_open_is_stored_at_the_end(tmp_path: Path) -> None:
    paths = write_trades(tmp_path / "trades", 3_000, files=1)
    config = write_config(tmp_path, source__kind='"stdin"')
    with subprocess.Popen(
        [sys.executable, "-m", "klineagg", "run", str(config)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(paths[0].read_text())
            process.stdin.flush()
            until(lambda: answers(config) and status(config)["rows_read"] == 3_000)
            process.send_signal(signal.SIGTERM)
            process.wait(LONG_S)
            assert process.returncode == 0, process.stdout.read()
        finally:
            process.kill()
    assert_same(stored(tmp_path), expected(paths))


@pytest.mark.parametrize("fsync", ["none", "always"])
def test_standard_input_that_was_accepted_survives_a_kill(tmp_path: Path, fsync: str) -> None:
    paths = write_trades(tmp_path / "given", 3_000, files=1)
    lines = paths[0].read_text().splitlines(keepends=True)
    # Nothing is stored before the kill: what there is afterwards comes out of the log.
    config = write_config(
        tmp_path,
        source__kind='"stdin"',
        persist__persistence_interval_ms="3_600_000",
        wal__fsync=f'"{fsync}"',
    )
    for part in (lines[:2_001], [lines[0], *lines[2_001:]]):
        with subprocess.Popen(
            [sys.executable, "-m", "klineagg", "run", str(config)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        ) as process:  # fmt: skip
            assert process.stdin is not None
            try:
                process.stdin.write("".join(part))
                process.stdin.flush()
                until(lambda: answers(config) and status(config)["accepted"] == len(part) - 1)  # noqa: B023
            finally:
                process.kill()
    with subprocess.Popen(
        [sys.executable, "-m", "klineagg", "run", str(config)], stdin=subprocess.DEVNULL
    ) as process:
        assert process.wait(LONG_S) == 0
    assert_same(stored(tmp_path), expected(paths))


def test_a_log_that_belongs_to_another_lake_is_refused(tmp_path: Path) -> None:
    write_trades(tmp_path / "trades", 2_000)
    config = write_config(tmp_path)
    ended(command("run", config, cwd=tmp_path))
    (tmp_path / "lake").rename(tmp_path / "elsewhere")
    assert "another lake" in ended(command("run", config, cwd=tmp_path), 3)
    shutil.rmtree(tmp_path / "lake")
    (tmp_path / "wal").rename(tmp_path / "old-wal")
    (tmp_path / "elsewhere").rename(tmp_path / "lake")
    # A new log begins with what the lake has.
    assert "ended; 0 rows read" in ended(command("run", config, cwd=tmp_path))


def test_an_engine_whose_lake_another_one_takes_ends_and_says_so(tmp_path: Path) -> None:
    paths = write_trades(tmp_path / "given", 4_000)
    (tmp_path / "trades").mkdir()
    shutil.copy(paths[0], tmp_path / "trades")
    config = write_config(tmp_path, **FOLLOWED)
    with running("run", config, cwd=tmp_path) as process:
        until(lambda: answers(config) and status(config)["persist"]["commits"] > 0)
        with open_lake(load(config)) as lake:
            claim(lake, load(config))
        # It learns of it when it has something to store again.
        shutil.copy(paths[1], tmp_path / "trades")
        out, _ = process.communicate(timeout=LONG_S)
        assert process.returncode != 0
        assert "newer snapshot" in out
        assert "all bars stored" not in out


def test_an_engine_that_is_gone_cannot_commit_behind_its_successor(tmp_path: Path) -> None:
    (tmp_path / "trades").mkdir()
    config = load(write_config(tmp_path))
    trades = load_bitmex()
    with open_lake(config) as lake:
        assert claim(lake, config) is None
        with make_engine(config) as old, old.producer() as producer:
            producer.push(trades[:10_000])
            with old.take(CONSUMER, checkpoint=True) as first:
                state = pack_state({"row": 10_000}, first.checkpoint or b"")
                assert lake.commit(first, CONSUMER, state).applied
            producer.push(trades[10_000:20_000])
            late = old.take(CONSUMER)  # somebody still has it when its engine is gone
            assert len(late.closed)
            found = claim(lake, config)
            assert found is not None
            assert found[0] == {"row": 10_000}
            assert not lake.commit(late, CONSUMER).applied
            with make_engine(config) as unborn:
                assert unborn.take(CONSUMER).id > late.id
            new = make_engine(config)
            assert new.restore(found[1]) == 1
            with new, new.take(CONSUMER) as fresh:
                assert lake.commit(fresh, CONSUMER).applied
