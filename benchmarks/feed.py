"""What publishing on the bus costs an engine: trades a second, feed by feed."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from typing import Any, Final

from benchmarks.workload import generate

ROWS: Final = 3_000_000
BATCH: Final = 65_536
INTERVALS: Final = "1s,5s,1m,5m,15m,1h,4h,1d"
FEEDS: Final[dict[str, dict[str, Any] | None]] = {
    "none": None,
    "bars": {"bars": "bars"},
    "trades": {"trades": "trade_events", "bars": None},
    "trades and bars": {"trades": "trade_events", "bars": "bars"},
    "trades and bars, with logs": {"trades": "trade_events", "bars": "bars", "wal": "logs"},
}


def engine_rate(columns: dict[str, Any], feed: dict[str, Any] | None) -> float:
    """Million trades a second, until all of them are applied and published."""
    from klineagg import Engine, SimulatedClock
    from klineagg.bus import Bus, EngineFeed

    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    folder, logs = tempfile.mkdtemp(dir=memory), tempfile.mkdtemp()
    options = dict(feed or {})
    if "wal" in options:
        options |= {"wal": logs, "sync": "none"}
    try:
        bus = EngineFeed(Bus(folder), **options) if feed is not None else None
        with Engine(
            INTERVALS, clock=SimulatedClock(), max_ahead=None, late="drop", bus=bus
        ) as engine:
            producer = engine.producer()
            rows = len(columns["time"])
            start = time.perf_counter()
            for first in range(0, rows, BATCH):
                producer.push({name: part[first : first + BATCH] for name, part in columns.items()})
            engine.flush()
            return rows / (time.perf_counter() - start) / 1e6
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(logs, ignore_errors=True)


def feeds(rounds: int = 3, rows: int = ROWS) -> dict[str, float]:
    """The middle one of some rounds of each feed; the feeds take turns."""
    columns = dict(generate(rows))
    found: dict[str, list[float]] = {name: [] for name in FEEDS}
    for _ in range(rounds):
        for name, feed in FEEDS.items():
            found[name].append(engine_rate(columns, feed))
    return {name: sorted(rates)[len(rates) // 2] for name, rates in found.items()}
