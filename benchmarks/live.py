"""``python -m benchmarks.live``: what the live engine costs, measured through its Python calls."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

import klineagg
from benchmarks.machine import facts, load_average
from benchmarks.workload import INTERVAL_SETS, ROWS, Columns, load, workload_dir
from klineagg.engine import Engine, Producer, SimulatedClock

PAGE: Final = Path(__file__).parent.parent / "docs" / "BENCHMARKS-ENGINE.md"
BATCH: Final = 65_536
SNAPSHOT_PERIOD_S: Final = 0.1
SECOND_NS: Final = 1_000_000_000
DAYS: Final = 2  # that are timed
GAP_NS: Final = 1_000  # one look at the clock takes a tenth of it


@dataclass
class Line:
    """A row of the table: what was measured, the runs, their unit, and what is asked."""

    what: str
    unit: str
    asked: str
    runs: list[float]

    def middle(self) -> float:
        """The median of the runs."""
        return statistics.median(self.runs)

    def text(self) -> str:
        return (
            f"| {self.what} | {self.middle():,.2f} {self.unit} "
            f"| {min(self.runs):,.2f} - {max(self.runs):,.2f} | {self.asked} |"
        )


def _engine(intervals: tuple[str, ...], **options: Any) -> Engine:
    """One worker on a clock that stands still: trades of the past are not late behind it."""
    chosen: dict[str, Any] = {
        "clock": SimulatedClock(), "max_ahead": None, "wait": "backoff", "workers": 1,
        "unacknowledged_max": 2**18,
    }  # fmt: skip
    return Engine(intervals, **(chosen | options))


def _batches(trades: Columns, rows: int) -> Iterator[Columns]:
    for start in range(0, len(trades["time"]), rows):
        yield {name: column[start : start + rows] for name, column in trades.items()}


@contextmanager
def _snapshots(engine: Engine, took_ms: list[float]) -> Iterator[None]:
    """A consumer that takes and acknowledges ten times a second meanwhile."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(SNAPSHOT_PERIOD_S):
            begin = time.perf_counter()
            with engine.take("bench"):
                took_ms.append(1e3 * (time.perf_counter() - begin))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def push_rate(
    days: list[list[Columns]],
    intervals: tuple[str, ...],
    *,
    snapshots: bool = False,
    late: str = "amend",
) -> float:
    """Million trades a second, sustained: of days in batches, the first of which is not timed.

    While that one lasts, the system gives the memory that the engine uses from then on.
    """
    rows = [sum(len(batch["time"]) for batch in day) for day in days]
    with _engine(intervals, late=late) as engine, engine.producer("bench") as producer:
        with _snapshots(engine, []) if snapshots else nullcontext():
            _push_all(engine, producer, days[0])
            begin = time.perf_counter()
            for day in days[1:]:
                _push_all(engine, producer, day)
            seconds = time.perf_counter() - begin
        accepted = engine.counts().accepted
    assert accepted == sum(rows), f"{accepted:,} trades were applied"
    return sum(rows[1:]) / seconds / 1e6


def _day(trades: Columns, number: int) -> Columns:
    """The trades as they would come so many days later, with ids of their own."""
    later = {
        "time": number * 86_400 * SECOND_NS,
        "trade_id": number * (int(trades["trade_id"].max()) + 1),
    }
    return {name: column + later.get(name, 0) for name, column in trades.items()}


def _push_all(engine: Engine, producer: Producer, batches: list[Columns]) -> None:
    for batch in batches:
        producer.push(batch)
    engine.flush()


def push_one_rate(calls: int = 1_000_000) -> float:
    """Million calls a second of ``push_one`` in a Python loop, behind a tenth that does not count.

    In that, the lane gets its memory from the system.
    """
    symbol = int(klineagg.intern("BENCH")[0])
    first = calls // 10
    with _engine(("1m",)) as engine, engine.producer("bench") as producer:
        push_one = producer.push_one
        begin_ns = 1_741_651_200 * SECOND_NS
        stamps = range(begin_ns, begin_ns + 1_000 * (first + calls), 1_000)
        for stamp in stamps[:first]:
            push_one(symbol, 100.25, 0.5, stamp)
        begin = time.perf_counter()
        for stamp in stamps[first:]:
            push_one(symbol, 100.25, 0.5, stamp)
        seconds = time.perf_counter() - begin
        engine.flush()
        accepted = engine.counts().accepted
    assert accepted == first + calls, f"{accepted:,} trades were applied"
    return calls / seconds / 1e6


def take_ms(symbols: int = 10_000, takes: int = 20) -> float:
    """Milliseconds of a ``take`` when every symbol is dirty at 8 intervals.

    The first few are left out: the system gives them their memory, which later ones use again.
    """
    start = 1_741_651_200 * SECOND_NS
    trades = {
        "symbol": np.arange(symbols, dtype=np.int32), "price": np.full(symbols, 10.0),
        "quantity": np.full(symbols, 1.0),
    }  # fmt: skip
    runs = []
    with _engine(INTERVAL_SETS["8"]) as engine, engine.producer("bench") as producer:
        for number in range(takes):
            times = np.full(symbols, start + number * 1_000_000)
            producer.push({**trades, "time": times})
            engine.flush()
            begin = time.perf_counter()
            snapshot = engine.take("bench")
            runs.append(1e3 * (time.perf_counter() - begin))
            assert len(snapshot.open) == symbols * 8, len(snapshot.open)
            snapshot.ack()
    return statistics.median(runs[takes // 4 :])


def tick_us(active: int, idle: int, ticks: int = 50) -> float:
    """Microseconds of a clock tick that closes ``active`` symbols among ``idle`` others."""
    start = 1_741_651_200 * SECOND_NS
    count = active + idle
    with _engine(("1s",), gaps="none") as engine, engine.producer("bench") as producer:
        everybody = {
            "symbol": np.arange(count, dtype=np.int32), "price": np.full(count, 10.0),
            "quantity": np.full(count, 1.0), "time": np.full(count, start),
        }  # fmt: skip
        producer.push(everybody)
        engine.advance(start + SECOND_NS)
        runs = []
        for tick in range(1, ticks):
            some = {name: column[:active] for name, column in everybody.items()}
            some["time"] = np.full(active, start + tick * SECOND_NS)
            producer.push(some)
            engine.flush()
            begin = time.perf_counter()
            engine.advance(start + (tick + 1) * SECOND_NS)
            runs.append(1e6 * (time.perf_counter() - begin))
    return statistics.median(runs)


def applied_us(per_second: int = 100_000, seconds: float = 2.0) -> tuple[float, float]:
    """(99th, 99.9th percentile) of push to applied, in us, of single rows at a steady rate.

    The worker spins: with a core for each of the two threads this is the path itself, on a busy
    machine the gaps of the two, which are measured beside it.
    """
    symbol = int(klineagg.intern("BENCH")[0])
    rows, pause = int(per_second * seconds), SECOND_NS // per_second
    own, other = _two_cores()
    with (
        _engine(INTERVAL_SETS["8"], wait="spin", cores=other) as engine,
        engine.producer("bench") as producer,
        _on_core(own),
    ):
        push_one = producer.push_one
        due = time.perf_counter_ns()
        for row in range(rows):
            due += pause
            while time.perf_counter_ns() < due:
                pass
            push_one(symbol, 100.25, 0.5, 1_741_651_200 * SECOND_NS + row * pause)
        engine.flush()
        latency = engine.stats().ingest
    assert latency.count, "nothing was measured"
    return latency.p99_ns / 1e3, latency.p999_ns / 1e3


def _two_cores() -> tuple[int | None, list[int] | None]:
    """A core for the producer and one for the worker, where threads can be pinned."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[0], [allowed[-1]]) if len(allowed) > 1 else (None, None)


@contextmanager
def _on_core(core: int | None) -> Iterator[None]:
    """The calling thread on a core of its own: left to itself it may share the worker's."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def floor_us(per_second: int = 100_000, seconds: float = 2.0) -> tuple[float, float]:
    """(99th percentile, maximum) of what such rows would wait for the machine alone, in us.

    Two processes that do nothing but look at the clock, as producer and worker are two threads
    that never sleep: a row that comes while one of them does not run waits until it does.
    """
    own, other = _two_cores()
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as two:
        begin = time.perf_counter_ns() + SECOND_NS  # both have started by then
        cores = [own, None if other is None else other[0]]
        gaps = two.map(_gaps, cores, [begin] * 2, [seconds] * 2)
        arrivals = begin + np.arange(int(per_second * seconds)) * (SECOND_NS // per_second)
        waits = np.zeros(len(arrivals))
        for starts, ends in gaps:
            at = np.searchsorted(starts, arrivals, side="right") - 1
            inside = (at >= 0) & (arrivals < ends[at])
            waits = np.maximum(waits, np.where(inside, ends[at] - arrivals, 0))
    return float(np.percentile(waits, 99)) / 1e3, float(waits.max()) / 1e3


def _gaps(
    core: int | None, begin: int, seconds: float
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """When a thread that looks at the clock all the time did not: starts and ends, in ns."""
    end = begin + int(seconds * SECOND_NS)
    last = begin
    found = []
    with _on_core(core):
        while time.perf_counter_ns() < begin:
            pass
        while last < end:
            now = time.perf_counter_ns()
            if now - last > GAP_NS:
                found.append((last, now))
            last = now
    starts, ends = np.array([(0, 0), *found]).T
    return starts, ends


EIGHT: Final = "push, 8 intervals"
SNAPSHOTS: Final = "push, 8 intervals, a snapshot each 100 ms"
SIXTEEN: Final = "push, 16 intervals"
DROP: Final = "push, 8 intervals, late trades dropped"
BATCH_PATH: Final = "`aggregate` of the same, one thread"
TICK: Final = "clock tick, 100 active symbols"
TICK_IDLE: Final = "clock tick, 100 active among 100,000 idle"


def measure(trades: Columns, rounds: int) -> list[Line]:
    """All measurements, round after round side by side, so that a slow minute hits them alike."""
    eight = INTERVAL_SETS["8"]
    # Once: the system is busy for a while with what is given back to it.
    days = [list(_batches(_day(trades, number), BATCH)) for number in range(1 + DAYS)]
    plan: list[tuple[str, str, str, Callable[[], float]]] = [
        (EIGHT, "M trades/s", ">= 30", lambda: push_rate(days, eight)),
        (SNAPSHOTS, "M trades/s", "", lambda: push_rate(days, eight, snapshots=True)),
        (DROP, "M trades/s", "", lambda: push_rate(days, eight, late="drop")),
        ("push, 1 interval (1s)", "M trades/s", "", lambda: push_rate(days, ("1s",))),
        (SIXTEEN, "M trades/s", "", lambda: push_rate(days, INTERVAL_SETS["16"])),
        (BATCH_PATH, "M trades/s", "", lambda: _aggregate_rate(trades)),
        ("`push_one` in a loop", "M calls/s", ">= 8", push_one_rate),
        ("`take`, 10,000 dirty symbols x 8 intervals", "ms", "< 5", take_ms),
        (TICK, "us", "", lambda: tick_us(100, 0)),
        (TICK_IDLE, "us", "", lambda: tick_us(100, 100_000)),
        ("push to applied at 100,000/s, p99", "us", "< 10", lambda: applied_us()[0]),
        ("the same wait for two busy threads alone, p99", "us", "", lambda: floor_us()[0]),
        ("the same wait for two busy threads alone, longest", "us", "", lambda: floor_us()[1]),
    ]
    lines = [Line(what, unit, asked, []) for what, unit, asked, _ in plan]
    for number in range(rounds):
        for line, (what, _, _, run) in zip(lines, plan, strict=True):
            line.runs.append(run())
            print(f"round {number + 1}: {what}: {line.runs[-1]:,.2f} {line.unit}", flush=True)
    return lines


def ratios(lines: list[Line]) -> list[str]:
    """What a table of single figures does not say: medians over the rounds, each side by side."""
    runs = {line.what: line.runs for line in lines}

    def ratio(one: str, other: str) -> float:
        return statistics.median(a / b for a, b in zip(runs[one], runs[other], strict=True))

    snapshots = 1 - ratio(SNAPSHOTS, EIGHT)
    return [
        f"- Snapshots each 100 ms cost {snapshots:.1%} of the rate (asked: < 5 %).",
        f"- 16 intervals cost {ratio(EIGHT, SIXTEEN):.2f} x what 8 do (asked: <= 1.3).",
        f"- Keeping closed bars for late trades costs {ratio(DROP, EIGHT):.2f} x.",
        f"- The batch path is {ratio(BATCH_PATH, EIGHT):.2f} x as fast as the engine.",
        f"- 100,000 idle symbols make a tick {ratio(TICK_IDLE, TICK):.2f} x as long.",
    ]


def _aggregate_rate(trades: Columns) -> float:
    begin = time.perf_counter()
    klineagg.aggregate(trades, INTERVAL_SETS["8"], progress=False)
    return len(trades["time"]) / (time.perf_counter() - begin) / 1e6


def page(lines: list[Line], rows: int, rounds: int, load: str) -> str:
    """The page of the docs."""
    return "\n".join(
        [
            "# Benchmarks of the live engine",
            "",
            "Written by `make bench` (`python -m benchmarks.live`); change the command, not this",
            "page.",
            "",
            f"{rows:,} trades of the workload of [BENCHMARKS.md](BENCHMARKS.md), pushed as NumPy",
            f"batches of {BATCH:,} rows by one producer, one worker, default options (lateness 0,",
            f"amendments, gap runs): the same day {1 + DAYS} times over, the first not timed; the",
            "clock stops when all trades are applied. Medians and the range of",
            f"{rounds} rounds, side by side; load average before: {load}.",
            "",
            *[f"- {name}: {fact}" for name, fact in facts().items()],
            "",
            "| what | median | lowest - highest | asked |",
            "| --- | ---: | ---: | ---: |",
            *[line.text() for line in lines],
            "",
            *ratios(lines),
            "",
        ]
    )


def main() -> None:
    """Measure, print, and write the page when asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help=f"trades (default {ROWS:,})")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    given = parser.parse_args()
    load_before = f"{load_average():.1f}"
    trades = load(workload_dir(given.rows))
    lines = measure(trades, given.rounds)
    text = page(lines, given.rows, given.rounds, load_before)
    print(text)
    if given.write:
        PAGE.write_text(text)


if __name__ == "__main__":
    main()
