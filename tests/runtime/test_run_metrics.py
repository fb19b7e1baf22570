"""What a run tells Prometheus of its rounds, and of those of its workers."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from klineagg import errors
from klineagg.config import load
from klineagg.runtime.app import App
from runtime.runs import (
    answers,
    command,
    ended,
    running,
    status,
    terminated,
    until,
    write_config,
    write_trades,
)

for needed in ("duckdb", "huey", "pyarrow"):
    pytest.importorskip(needed)

HOURLY = {"persist__persistence_interval_ms": "3_600_000", "source__on_end": '"wait"'}


def value(app: App, name: str) -> float:
    text = app._answer(0, {"op": "metrics"})[0]["text"]
    assert text.endswith("# EOF\n") and text.count("# EOF") == 1
    (line,) = (line for line in text.splitlines() if line.startswith(f"klineagg_{name} "))
    return float(line.split()[-1])


def test_a_round_moves_the_counts_and_a_failed_one_those_of_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_trades(tmp_path / "trades", 3_000)
    app = App(load(write_config(tmp_path, **HOURLY)))
    app.start()
    try:
        until(lambda: app.status()["source_ended"] and not app.engine.counts().in_flight)
        assert value(app, "persist_commits_total") == 0
        with monkeypatch.context() as patched:

            def refuses(*unused: Any) -> None:
                raise errors.make("lake_busy", "another writer")

            patched.setattr(app.lake, "commit", refuses)
            with pytest.raises(errors.LakeError):
                app.persister.persist()
        assert value(app, "persist_failures_total") == 1
        assert value(app, "persist_rows_total") == 0
        before = time.time()
        assert app.persister.persist()
        stored = app.lake.bars("XBTUSD", list(app.engine.intervals), gaps="runs")
        closed = int(stored.is_closed.sum())
        assert 0 < closed < len(stored)
        assert value(app, "persist_commits_total") == 1
        assert value(app, "persist_rows_total") == closed
        assert value(app, "persist_commit_seconds_sum") > 0
        at = value(app, "persist_last_commit_timestamp_seconds")
        assert before <= at <= time.time()
    finally:
        app.stop()


def test_rounds_of_maintenance_are_counted_and_say_how_large_the_lake_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_trades(tmp_path / "trades", 3_000)
    app = App(load(write_config(tmp_path, **HOURLY)))
    app.start()
    try:
        until(lambda: app.status()["source_ended"] and not app.engine.counts().in_flight)
        assert app.persister.persist()
        assert "\nklineagg_lake_files " not in app.metrics_text()  # 0 would be an empty lake
        with monkeypatch.context() as patched:

            def refuses(**unused: Any) -> None:
                raise errors.make("lake_busy", "another writer")

            patched.setattr(app.lake, "maintain", refuses)
            with pytest.raises(errors.LakeError):
                app.upkeep(app.config, app.lake)
        app.upkeep(app.config, app.lake)
        assert value(app, "maintenance_failures_total") == 1
        assert value(app, "maintenance_rounds_total") == 1
        assert app.upkeep.last is not None
        assert value(app, "maintenance_seconds_total") == app.upkeep.last.seconds > 0
        files = list((tmp_path / "lake").rglob("*.parquet"))
        assert value(app, "lake_files") == len(files) > 0
        assert value(app, "lake_bytes") == sum(path.stat().st_size for path in files)
        old = {"1m": "1d"}
        stored = int(app.lake.bars("XBTUSD", "1m", gaps="runs").is_closed.sum())
        changed = replace(app.config, tasks=replace(app.config.tasks, retention=old))
        app.upkeep(changed, app.lake)
        assert value(app, 'maintenance_done_total{what="bars_expired"}') == stored > 0
    finally:
        app.stop()


def test_a_run_knows_what_its_worker_has_stored(tmp_path: Path) -> None:
    write_trades(tmp_path / "trades", 5_000)
    config = write_config(tmp_path, persist__by='"worker"', source__on_end='"wait"')
    with (
        running("run", config, cwd=tmp_path) as run,
        running("worker", config, cwd=tmp_path) as worker,
    ):
        until(lambda: answers(config) and status(config)["source_ended"])
        until(lambda: status(config)["loans"]["rows"])
        told = terminated(worker)
        until(lambda: not status(config)["consumers"])
        loans = status(config)["loans"]
        assert loans["acked"] >= 1 and loans["nacked"] == loans["expired"] == 0, told
        text = ended(command("status", config, "--metrics", cwd=tmp_path))
        assert f"klineagg_loans_stored_rows_total {loans['rows']}\n" in text
        assert f'klineagg_loans_total{{end="acked"}} {loans["acked"]}\n' in text
        terminated(run)


def test_how_loans_end_is_counted(tmp_path: Path) -> None:
    write_trades(tmp_path / "trades", 3_000)
    app = App(load(write_config(tmp_path, persist__by='"worker"', source__on_end='"wait"')))
    app.start()
    try:
        until(lambda: app.status()["source_ended"] and not app.engine.counts().in_flight)

        def lent() -> tuple[int, ...]:
            message, _ = app.lender.take(1, "lake", checkpoint=False)
            return tuple(message["id"])

        app.lender.settle("nack", lent())
        app.lender.lease_s = -1.0
        lent()
        app.lender.expire()
        app.lender.lease_s = 60.0
        lent()
        app.lender.left(1)
        counts = app.lender.describe()
        assert counts == {
            "acked": 0, "nacked": 1, "empty": 0, "expired": 1, "abandoned": 1, "rows": 0,
        }  # fmt: skip
        number = lent()
        rows = app.lender._loans[number[0], number[1]].rows
        app.lender.settle("ack", number)
        assert rows > 0
        assert app.lender.describe() == {**counts, "acked": 1, "rows": rows}
        app.lender.settle("nack", lent())
        assert app.lender.describe()["empty"] == 1  # nothing has changed since
    finally:
        app.stop()
