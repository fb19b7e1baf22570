"""``python -m benchmarks.lake``: commits, queries beside a writer, one day out of a large lake."""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.machine import facts, load_average
from klineagg.bars import COLUMNS, DTYPES, BarFlag, Bars
from klineagg.lake import Lake
from klineagg.lake.schema import CLOSED_COLUMNS

SECOND_NS: Final = 1_000_000_000
DAY_NS: Final = 86_400 * SECOND_NS
START_NS: Final = 1_704_067_200 * SECOND_NS  # 2024-01-01


@dataclass
class Delivery:
    """What an engine's snapshot has, as far as a lake looks at it."""

    id: tuple[int, int]
    closed: Bars
    open: Bars
    watermark: Any = None
    position: int | None = None


def made_bars(rows: int, symbols: int, step_ns: int, interval: str, first_ns: int) -> Bars:
    """Closed bars of some symbols, one after another in time."""
    each = rows // symbols
    source = np.random.default_rng(7)
    opens = first_ns + step_ns * np.tile(np.arange(each, dtype=np.int64), symbols)
    columns: dict[str, Any] = {
        name: np.zeros(len(opens), DTYPES[name])
        for name in COLUMNS
        if np.dtype(DTYPES[name]).kind != "M"
    }
    columns["symbol"] = np.repeat(np.arange(symbols, dtype=np.int32), each)
    for name in ("open", "high", "low", "close", "volume", "quote_volume"):
        columns[name] = 100.0 + np.round(source.random(len(opens)), 2)
    columns["run_length"][:] = 1
    columns["flags"][:] = int(BarFlag.CLOSED)
    columns["open_time"] = opens.view("datetime64[ns]")
    columns["close_time"] = (opens + step_ns).view("datetime64[ns]")
    columns["first_trade_time"] = columns["last_trade_time"] = columns["open_time"]
    names = {k: f"S{k:04}" for k in range(symbols)}
    return Bars({name: columns[name] for name in COLUMNS}, symbols=names, intervals=[interval])


def commit_times(folder: Path, rows: int, rounds: int) -> list[float]:
    """Seconds of commits of so many bars of a minute, each to the days after the last one."""
    out = []
    with Lake(folder / "commits") as lake:
        for number in range(rounds):
            days = rows // 1_000 // 1_440 + 1
            bars = made_bars(rows, 1_000, 60 * SECOND_NS, "1m", START_NS + number * days * DAY_NS)
            began = time.perf_counter()
            assert lake.commit(Delivery((1, number), bars, bars[:0])).rows == len(bars)
            out.append(time.perf_counter() - began)
    return out


def read_beside_writer(folder: Path, seconds: float) -> tuple[list[float], int]:
    """Seconds of queries of a day while a writer commits every second, and its commits."""
    out: list[float] = []
    over = threading.Event()
    place = folder / "beside"
    commits = 0

    def write() -> None:
        nonlocal commits
        with Lake(place) as lake:
            while not over.wait(1.0):
                first = START_NS + 2 * DAY_NS + commits * 60 * SECOND_NS
                bars = made_bars(100, 100, 60 * SECOND_NS, "1m", first)
                lake.commit(Delivery((2, commits), bars, bars[:0]))
                commits += 1

    with Lake(place) as lake:
        bars = made_bars(200_000, 100, 60 * SECOND_NS, "1m", START_NS)
        lake.commit(Delivery((1, 1), bars, bars[:0]))
    writer = threading.Thread(target=write)
    writer.start()
    try:
        with Lake(place, read_only=True) as reader:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                began = time.perf_counter()
                found = reader.bars("S0042", "1m", "2024-01-01", "2024-01-02")
                out.append(time.perf_counter() - began)
                assert len(found) == 1_440
    finally:
        over.set()
        writer.join()
    return out, commits


def fill(lake: Lake, rows: int, symbols: int) -> int:
    """A large lake of bars of a minute, made by SQL day by day; returns its days."""
    days = max(rows // (symbols * 1_440), 1)
    values = {
        "symbol": "printf('S%04d', s)",
        "interval": "'1m'",
        "open_time": "make_timestamp_ns(o)",
        "close_time": f"make_timestamp_ns(o + {60 * SECOND_NS})",
        "first_trade_time": "make_timestamp_ns(o)",
        "last_trade_time": "make_timestamp_ns(o)",
        "run_length": "1",
        "revision": "0",
        "flags": "1",
        "first_trade_id": "-1",
        "last_trade_id": "-1",
        "trade_count": "m",
        "date": "CAST(make_timestamp_ns(o) AS DATE)",
        "part": "CAST(make_timestamp_ns(o) AS DATE)",
        "member_opens": "NULL",
        "member_closes": "NULL",
    }
    listed = ", ".join(
        f"CAST({values.get(name, '100 + (m * 7919 + s) % 1000 / 100.0')} AS {kind})"
        for name, kind in CLOSED_COLUMNS.items()
    )

    def insert(cursor: Any) -> None:
        cursor.execute("INSERT INTO intervals VALUES ('1m', 'day')")
        for day in range(days):
            first = START_NS + day * DAY_NS
            cursor.execute(
                f"INSERT INTO closed SELECT {listed} FROM (SELECT s, m, {first} + m * "
                f"{60 * SECOND_NS} AS o FROM range({symbols}) a(s), range(1440) b(m)) "
                "ORDER BY s, o"
            )

    lake._session.writing(insert)
    return days


def one_day_times(folder: Path, rows: int, rounds: int) -> tuple[list[float], int]:
    """Seconds of reads of one symbol's day out of a large lake, and the rows of the lake."""
    symbols = 500
    out = []
    with Lake(folder / "large") as lake:
        days = fill(lake, rows, symbols)
        source = np.random.default_rng(1)
        for _ in range(rounds):
            day = np.datetime64("2024-01-01") + int(source.integers(days))
            symbol = f"S{int(source.integers(symbols)):04}"
            began = time.perf_counter()
            found = lake.bars(symbol, "1m", str(day), str(day + 1))
            out.append(time.perf_counter() - began)
            assert len(found) == 1_440
    return out, days * symbols * 1_440


def _line(what: str, seconds: list[float], share: float, asked: str) -> None:
    spread = f"{1e3 * min(seconds):,.0f} - {1e3 * max(seconds):,.0f}"
    value = 1e3 * float(np.quantile(seconds, share))
    print(f"{what:<58} {value:>9,.0f} ms  ({spread}, {len(seconds)} runs; asked: {asked})")


def main(given: list[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lake", description=__doc__)
    parser.add_argument("--bars", type=int, default=1_000_000, help="of a commit")
    parser.add_argument("--large", type=int, default=100_000_000, help="bars of the large lake")
    parser.add_argument("--seconds", type=float, default=60.0, help="of reading beside a writer")
    parser.add_argument("--rounds", type=int, default=5, help="commits")
    arguments = parser.parse_args(given)
    for name, value in facts().items():
        print(f"{name}: {value}")
    print(f"load before: {load_average()}")
    with tempfile.TemporaryDirectory(prefix="klineagg-lake-") as name:
        folder = Path(name)
        took = commit_times(folder, arguments.bars, arguments.rounds)
        _line(f"commit of {arguments.bars:,} bars, median", took, 0.5, "< 1,000 ms")
        took, commits = read_beside_writer(folder, arguments.seconds)
        what = f"a day of a symbol, {commits} commits beside it, 99th percentile"
        _line(what, took, 0.99, "< 200 ms")
        took, rows = one_day_times(folder, arguments.large, 50)
        _line(f"a day of a symbol of {rows:,} bars, median", took, 0.5, "< 50 ms")
    print(f"load after: {load_average()}")


if __name__ == "__main__":
    main()
