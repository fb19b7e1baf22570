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
    close = 100.0 + np.round(np.cumsum(source.normal(0.0, 0.02, len(opens))), 2)
    columns["close"], columns["open"] = close, np.roll(close, 1)
    columns["high"] = np.maximum(close, columns["open"]) + 0.01
    columns["low"] = np.minimum(close, columns["open"]) - 0.01
    columns["volume"] = np.round(source.exponential(50.0, len(opens)), 3)
    columns["quote_volume"] = columns["volume"] * close
    columns["trade_count"][:] = source.integers(1, 500, len(opens))
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


def read_beside_writer(place: Path, seconds: float) -> tuple[list[float], int]:
    """Seconds of queries of a day while a writer commits every second, and its commits."""
    out: list[float] = []
    over = threading.Event()
    commits = 0

    def write() -> None:
        nonlocal commits
        with Lake(place) as lake:
            while not over.wait(1.0):
                first = START_NS + 2 * DAY_NS + commits * 60 * SECOND_NS
                bars = made_bars(100, 100, 60 * SECOND_NS, "1m", first)
                lake.commit(Delivery((2, commits), bars, bars[:0]), "beside")
                commits += 1

    with Lake(place) as lake:
        bars = made_bars(200_000, 100, 60 * SECOND_NS, "1m", START_NS)
        lake.commit(Delivery((1, 1), bars, bars[:0]), "before")
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


def fill(lake: Lake, rows: int, symbols: int, days_at_once: int = 2) -> int:
    """A large lake of bars of a minute, made by SQL some days at a time; returns its days."""
    days = max(rows // (symbols * 1_440), 1)
    minute = 60 * SECOND_NS
    chance = "(hash(s * 1000003 + o // 60000000000) % 100000)"
    values = {
        "symbol": "printf('S%04d', s)",
        "interval": "'1m'",
        "open_time": "make_timestamp_ns(o)",
        "close_time": f"make_timestamp_ns(o + {minute})",
        "first_trade_time": "make_timestamp_ns(o)",
        "last_trade_time": f"make_timestamp_ns(o + {minute - 1})",
        "run_length": "1",
        "revision": "0",
        "flags": "1",
        "first_trade_id": "-1",
        "last_trade_id": "-1",
        "volume": f"{chance} / 1000.0",
        "quote_volume": f"{chance} * 0.1",
        "trade_count": f"1 + {chance} % 500",
        "date": "CAST(make_timestamp_ns(o) AS DATE)",
        "part": "CAST(make_timestamp_ns(o) AS DATE)",
        "member_opens": "NULL",
        "member_closes": "NULL",
    }
    listed = ", ".join(
        f"CAST({values.get(name, f'100 + s + {chance} % 1000 / 100.0')} AS {kind})"
        for name, kind in CLOSED_COLUMNS.items()
    )

    def insert(cursor: Any) -> None:
        cursor.execute("INSERT INTO intervals VALUES ('1m', 'day')")
        for day in range(0, days, days_at_once):
            first, many = START_NS + day * DAY_NS, min(days_at_once, days - day) * 1_440
            cursor.execute(
                f"INSERT INTO closed SELECT {listed} FROM (SELECT s, {first} + m * {minute} AS o "
                f"FROM range({symbols}) a(s), range({many}) b(m))"
            )

    lake._session.writing(insert)
    return days


def one_day_times(place: Path, rows: int, rounds: int) -> tuple[list[float], int]:
    """Seconds of reads of one symbol's day out of a large lake, and the rows of the lake."""
    symbols = 500
    out = []
    with Lake(place) as lake:
        days = max(rows // (symbols * 1_440), 1)
        if "1m" not in lake.intervals():
            fill(lake, rows, symbols)
    with Lake(place, read_only=True) as lake:
        source = np.random.default_rng(1)
        for _ in range(rounds):
            day = np.datetime64("2024-01-01") + int(source.integers(days))
            symbol = f"S{int(source.integers(symbols)):04}"
            began = time.perf_counter()
            found = lake.bars(symbol, "1m", str(day), str(day + 1))
            out.append(time.perf_counter() - began)
            assert len(found) == 1_440
    return out, days * symbols * 1_440


def replay(place: Path, commits: int) -> dict[str, float]:
    """Commits of a second each at full speed, with maintenance after every 60 of them."""
    began = time.perf_counter()
    most = 0
    with Lake(place) as lake:
        for number in range(commits):
            at = START_NS + number * SECOND_NS
            closed = made_bars(50, 50, SECOND_NS, "1s", at)
            opened = made_bars(50, 50, 60 * SECOND_NS, "1m", at - at % (60 * SECOND_NS))
            lake.commit(Delivery((1, number), closed, opened, position=number), checkpoint=b"1")
            if number % 60 == 59:
                most = max(most, lake.maintain().files)
        done = lake.maintain()
    return {
        "seconds": time.perf_counter() - began,
        "files": done.files,
        "files_most": most,
        "files_on_disk": sum(1 for _ in place.rglob("*.parquet")),
    }


def _line(what: str, seconds: list[float], share: float, asked: str) -> None:
    spread = f"{1e3 * min(seconds):,.0f} - {1e3 * max(seconds):,.0f}"
    value = 1e3 * float(np.quantile(seconds, share))
    print(f"{what:<58} {value:>9,.0f} ms  ({spread}, {len(seconds)} runs; asked: {asked})")


def main(given: list[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lake", description=__doc__)
    parser.add_argument("--bars", type=int, default=1_000_000, help="of a commit")
    parser.add_argument("--large", type=int, default=100_000_000, help="bars of the large lake")
    parser.add_argument("--seconds", type=float, default=30.0, help="of reading beside a writer")
    parser.add_argument("--rounds", type=int, default=5, help="commits")
    parser.add_argument("--commits", type=int, default=0, help="of a second, replayed before that")
    parser.add_argument("--folder", type=Path, help="of the lakes; they stay (default: removed)")
    parser.add_argument("--only", choices=["commit", "beside", "day"], help="one of them")
    arguments = parser.parse_args(given)
    for name, value in facts().items():
        print(f"{name}: {value}")
    print(f"load before: {load_average()}")
    with tempfile.TemporaryDirectory(prefix="klineagg-lake-") as name:
        folder = arguments.folder or Path(name)
        if arguments.only in (None, "commit"):
            took = commit_times(folder, arguments.bars, arguments.rounds)
            _line(f"commit of {arguments.bars:,} bars, median", took, 0.5, "< 1,000 ms")
        if arguments.only in (None, "beside"):
            if arguments.commits:
                print(f"replay of {arguments.commits:,} commits:", end=" ", flush=True)
                print(replay(folder / "beside", arguments.commits))
            if arguments.seconds:
                took, commits = read_beside_writer(folder / "beside", arguments.seconds)
                what = f"a day of a symbol, {commits} commits beside it, 99th percentile"
                _line(what, took, 0.99, "< 200 ms")
        if arguments.only in (None, "day"):
            took, rows = one_day_times(folder / "large", arguments.large, 50)
            _line(f"a day of a symbol of {rows:,} bars, median", took, 0.5, "< 50 ms")
    print(f"load after: {load_average()}")


if __name__ == "__main__":
    main()
