"""``python -m benchmarks.wal``: the engine with its log beside the disk, recovery, and the lake.

The disk's own rate is measured beside each round, in the same folder: what a log can sustain is not
more than that.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.lake import commit_times, one_day_times
from benchmarks.machine import facts, load_average
from benchmarks.workload import Columns, load, workload_dir
from klineagg import Engine, SimulatedClock, errors
from klineagg.wal import Wal

PAGE: Final = Path(__file__).parent.parent / "docs" / "BENCHMARKS-WAL.md"
ROWS: Final = 10_000_000
LARGE: Final = 100_000_000
BATCH: Final = 65_536
INTERVALS: Final = ("1s", "1m", "1h")
_BLOCK: Final = 16 << 20


@dataclass
class Line:
    """A figure of each round."""

    what: str
    unit: str
    asked: str
    runs: list[float] = field(default_factory=list)

    def text(self) -> str:
        """A row of the page's table."""
        middle = float(np.median(self.runs))
        digits = 0 if middle >= 100 else 2
        low, high = (f"{value:,.{digits}f}" for value in (min(self.runs), max(self.runs)))
        return f"| {self.what} | {middle:,.{digits}f} {self.unit} | {low} - {high} | {self.asked} |"


def disk_rate(folder: Path, blocks: int = 16) -> float:
    """Million bytes a second that the disk writes by itself: 16 MiB, then a sync, and so on."""
    data = os.urandom(_BLOCK)
    path = folder / "disk"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        os.posix_fallocate(file, 0, blocks * _BLOCK)
        os.fsync(file)
        begin = time.perf_counter()
        for number in range(blocks):
            os.pwrite(file, data, number * _BLOCK)
            os.fdatasync(file)
        return blocks * _BLOCK / (time.perf_counter() - begin) / 1e6
    finally:
        os.close(file)
        path.unlink()


def _engine(wal: Wal | None) -> Engine:
    return Engine(INTERVALS, wal=wal, clock=SimulatedClock(), max_ahead=None, on_bound="lose")


def sustained(trades: Columns, folder: Path | None, fsync: str = "interval") -> tuple[float, float]:
    """Million trades a second from the first push until all are accepted; bytes of a trade."""
    wal = None if folder is None else Wal(folder, fsync)
    rows = len(trades["time"])
    with _engine(wal) as engine:
        producer = engine.producer("bench")
        begin = time.perf_counter()
        for start in range(0, rows, BATCH):
            producer.push({name: column[start : start + BATCH] for name, column in trades.items()})
        engine.flush()
        if wal is not None:
            wal.flush(durable=fsync != "none")
        seconds = time.perf_counter() - begin
        assert engine.counts().accepted + engine.counts().dropped.get("late", 0) == rows
        size = 0 if wal is None else wal.stats().bytes
    if wal is not None:
        wal.close()
    return rows / seconds / 1e6, size / rows


def recovered(folder: Path, rows: int) -> float:
    """Seconds until an engine that begins anew has read all of the log."""
    with Wal(folder) as wal:
        begin = time.perf_counter()
        engine = _engine(wal)
        seconds = time.perf_counter() - begin
        assert engine.recovery is not None and engine.recovery.trades == rows
        engine.stop()
    return seconds


def cancelled(trades: Columns, folder: Path) -> tuple[float, float]:
    """Milliseconds of cancels out of that log: of the first one, and of those behind it."""
    took: list[float] = []
    with Wal(folder) as wal, _engine(wal) as engine:
        for row in range(len(trades["time"]) - 1, 0, -1_000)[:9]:
            symbol, number = int(trades["symbol"][row]), int(trades["trade_id"][row])
            begin = time.perf_counter()
            # The newest of its open second may have to wait for another one: the search is done.
            with suppress(errors.EngineError):
                engine.cancel(symbol, number)
            took.append(1e3 * (time.perf_counter() - begin))
    return took[0], float(np.median(took[1:]))


def with_ids(trades: Columns) -> Columns:
    """The trades with ids that rise by one for each symbol."""
    symbols = np.asarray(trades["symbol"])
    order = np.argsort(symbols, kind="stable")
    begins = np.searchsorted(symbols[order], symbols[order])
    ids = np.empty(len(symbols), np.int64)
    ids[order] = np.arange(len(symbols)) - begins
    return {**trades, "trade_id": ids}


def measure(trades: Columns, place: Path, rounds: int, bars: int, large: int) -> list[Line]:
    """All figures, round by round."""
    rows = len(trades["time"])
    disk = Line("the disk by itself, 16 MiB a sync", "MB/s", "")
    plain = Line("the engine without a log", "million trades/s", "")
    modes = {
        fsync: Line(f'the engine with its log, `fsync="{fsync}"`', "million trades/s", asked)
        for fsync, asked in (("none", ""), ("interval", ">= 5"), ("always", ""))
    }
    size = Line("of the log", "bytes a trade", "<= 48")
    recovery = Line(f"recovery of {rows:,} trades", "s", f"< {5 * rows / 1e7:g}")
    first = Line("the first cancel, which reads all of the log", "ms", "")
    later = Line("a later cancel", "ms", "")
    for _ in range(rounds):
        disk.runs.append(disk_rate(place))
        plain.runs.append(sustained(trades, None)[0])
        for fsync, line in modes.items():
            shutil.rmtree(place / "log", ignore_errors=True)
            rate, each = sustained(trades, place / "log", fsync)
            line.runs.append(rate)
        size.runs.append(each)
        recovery.runs.append(recovered(place / "log", rows))
        for line, took in zip((first, later), cancelled(trades, place / "log"), strict=True):
            line.runs.append(took)
    shutil.rmtree(place / "log", ignore_errors=True)
    commit = Line(f"commit of {bars:,} bars to the lake", "s", f"< {bars / 1e6:g}")
    commit.runs += commit_times(place, bars, rounds)
    took_days, held = one_day_times(place / "large", large, 20)
    day = Line(f"one day of one symbol out of {held:,} bars", "ms", "< 50")
    day.runs += [1e3 * each for each in took_days]
    lines = [disk, plain, *modes.values(), size, recovery, first, later, commit, day]
    return lines


def page(lines: list[Line], options: dict[str, Any], load: str) -> str:
    """The page of the docs."""
    by = {line.what: float(np.median(line.runs)) for line in lines}
    logged = by['the engine with its log, `fsync="interval"`']
    written = logged * by["of the log"]
    return "\n".join(
        [
            "# Benchmarks of the log and the lake",
            "",
            "Written by `make bench` (`python -m benchmarks.wal`); change the command, not this",
            "page.",
            "",
            f"{options['rows']:,} trades of the workload of [BENCHMARKS.md](BENCHMARKS.md) with",
            f"trade ids, pushed as NumPy batches of {BATCH:,} rows by one producer, one worker,",
            f"bars of {', '.join(INTERVALS)}, default options. The clock stops when all are",
            "accepted and, but for `none`, on the disk. Medians and the range of "
            f"{options['rounds']} rounds (of the",
            f"day: 20 reads); load average before: {load}.",
            "",
            *[f"- {name}: {fact}" for name, fact in facts().items()],
            "",
            "| what | median | lowest - highest | asked |",
            "| --- | ---: | ---: | ---: |",
            *[line.text() for line in lines],
            "",
            f"With the log and `interval` the engine writes {written:,.0f} MB/s, "
            f"{written / by['the disk by itself, 16 MiB a sync']:.0%} of what the disk does by",
            f"itself, at {logged / by['the engine without a log']:.0%} of the rate without a log.",
            "",
        ]
    )


def main(given: list[str] | None = None) -> None:
    """Measure, print, and write the page when asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wal", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help=f"trades (default {ROWS:,})")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--bars", type=int, default=1_000_000, help="of a commit")
    parser.add_argument("--large", type=int, default=LARGE, help="bars of the large lake")
    parser.add_argument("--folder", type=Path, help="on the disk to measure (default: temporary)")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    options = parser.parse_args(given)
    load_before = f"{load_average():.1f}"
    trades = with_ids(load(workload_dir(options.rows)))
    with tempfile.TemporaryDirectory(prefix="klineagg-wal-", dir=options.folder) as name:
        lines = measure(trades, Path(name), options.rounds, options.bars, options.large)
    text = page(lines, vars(options), load_before)
    print(text)
    if options.write:
        PAGE.write_text(text)


if __name__ == "__main__":
    main()
