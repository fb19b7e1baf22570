"""Every key that a running engine takes over, through a file that is saved anew."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from klineagg.config import load
from klineagg.config.sections import SECTIONS
from klineagg.runtime.app import App
from runtime.runs import FOLLOWED, until, write_config

for needed in ("duckdb", "huey", "pyarrow"):
    pytest.importorskip(needed)

# Its value as TOML has it, and where the running engine shows that it has it.
Shown = Callable[[Any], Any]
MIDNIGHT = datetime(2024, 1, 31)


def told(**change: Any) -> Shown:
    """An engine that is asked for what it has already changes nothing."""
    return lambda app: not app.engine.reconfigure(**change)


LIVE: dict[str, tuple[str, Shown]] = {
    "engine.intervals": ('["1m", "2h"]', lambda app: app.engine.intervals == ("1m", "2h")),
    "engine.policy": ('"drop_newest"', told(policy="drop_newest")),
    "engine.lateness": ('"3s"', told(lateness="3s")),
    "engine.amend_horizon": ('"7m"', told(amend_horizon="7m")),
    "engine.gaps": ('"none"', told(gaps="none")),
    "engine.close_delay": ('"4s"', told(close_delay="4s")),
    "engine.lease": ('"11s"', lambda app: app.lender.lease_s == 11),
    "source.poll_ms": ("17", lambda app: app.source.poll_s == 0.017),
    "source.settle_ms": ("18", lambda app: app.source.settle_s == 0.018),
    "persist.persistence_interval_ms": ("40", lambda app: app.timer.interval_ms == 40),
    "tasks.daily_hour": ("7", lambda app: is_daily(app, 7, 5)),
    "tasks.daily_minute": ("9", lambda app: is_daily(app, 7, 9)),
    "tasks.daily_files": (
        '["a/{date}.csv"]',
        lambda app: app.config.tasks.daily_files == ("a/{date}.csv",),
    ),
    "tasks.maintenance_minutes": ("0", lambda app: not app.tasks._is_maintenance(MIDNIGHT)),
    "tasks.retention": ('{ "1s" = "7d" }', lambda app: app.config.tasks.retention == {"1s": "7d"}),
    "logging.level": (
        '"warning"',
        lambda app: logging.getLogger("klineagg").level == logging.WARNING,
    ),
}


def is_daily(app: Any, hour: int, minute: int) -> bool:
    return bool(app.tasks._is_daily(MIDNIGHT.replace(hour=hour, minute=minute)))


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    (tmp_path / "trades").mkdir()
    path = write_config(
        tmp_path, **FOLLOWED, tasks__daily_hour="6", tasks__maintenance_minutes="1",
        logging__level='"info"',
    )  # fmt: skip
    level = logging.getLogger("klineagg").level
    app = App(load(path))
    try:
        app.start()
        yield app
        app.stop()
    finally:
        logging.getLogger("klineagg").setLevel(level)


def save(app: App, key: str, value: str) -> None:
    """The file with another value of a key, and nothing else changed."""
    path = app.config.path
    assert path is not None
    lines = [line for line in path.read_text().splitlines() if not line.startswith(f"{key} =")]
    path.write_text("\n".join([*lines, f"{key} = {value}"]) + "\n")


def test_the_table_has_every_key_that_is_live() -> None:
    live = {
        f"{section}.{each.name}"
        for section, kind in SECTIONS.items()
        for each in fields(kind)
        if each.metadata["live"]
    }
    assert live == set(LIVE)


def test_each_live_key_is_taken_over_by_itself(app: App) -> None:
    for key, (value, shown) in LIVE.items():
        # Those of the engine are seen by asking it for the same, which would make it so itself.
        if not key.startswith("engine.") or key in ("engine.intervals", "engine.lease"):
            assert not shown(app), key
        save(app, key, value)
        assert app.step()
        assert shown(app), key
    assert app.config.changes(load(app.config.path)) == {}  # type: ignore[arg-type]


def test_what_the_engine_refuses_changes_nothing(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    before = app.config
    save(app, "engine.lateness", '"400d"')
    assert app.step()
    assert "the changed configuration is refused" in caplog.text and "366 days" in caplog.text
    assert app.config is before and not app.engine.reconfigure(lateness="0s")


def test_a_smaller_amend_horizon_is_that_of_the_next_late_trade(app: App) -> None:
    start = np.datetime64("2024-01-01", "ns")
    path = app.config.at("trades/a.csv")
    path.write_text("symbol,time,price,quantity,side\n")

    def trade(seconds: int) -> int:
        """One that comes now; how many are too late by then."""
        rows = app.host.rows
        with path.open("a") as file:
            file.write(f"X,{(start + np.timedelta64(seconds, 's')).astype(int)},1.5,2.0,buy\n")
        until(lambda: app.host.rows > rows)
        app.engine.flush()
        return app.engine.counts().dropped.get("beyond_horizon", 0)

    assert [trade(0), trade(1_000), trade(500)] == [0, 0, 0]  # within an hour
    save(app, "engine.amend_horizon", '"1m"')
    assert app.step()
    assert [trade(501), trade(970)] == [1, 1]
