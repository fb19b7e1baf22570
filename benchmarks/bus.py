"""``python -m benchmarks.bus``: the bus beside iceoryx2, pyzmq over ipc and multiprocessing.Queue.

A message has 128 bytes. Latency is half of a round trip between two processes; a rate is what one
subscriber has received, batch by batch, until it has all. The native figures (and those for many
subscribers, with memory) come from ``bench_bus``, where it is built, those of native iceoryx2 from
the Rust program of ``cpp/bench/iceoryx2``. ``make bench`` builds both. First comes what publishing
costs an engine. ``--write`` puts the tables into docs/BENCHMARKS-BUS.md.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing as mp
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.bus_tables import tables, write
from benchmarks.bus_transports import BATCHES, Iceoryx2, Klineagg, Queue, Transport, Zmq
from benchmarks.feed import feeds
from benchmarks.machine import facts, load_average

ROOT: Final = Path(__file__).parent.parent
PAGE: Final = ROOT / "docs" / "BENCHMARKS-BUS.md"
Line = dict[str, Any]


def _echo(transport: Transport, ready: Any) -> None:
    receive = transport.receiver("there")
    send = transport.sender("back")
    ready.set()
    while receive():
        send(1)


def latency(transport: Transport, seconds: float) -> dict[str, float]:
    """Half round trips in microseconds."""
    context = mp.get_context("fork")
    ready = context.Event()
    process = context.Process(target=_echo, args=(transport, ready))
    process.start()
    receive = transport.receiver("back")
    send = transport.sender("there")
    ready.wait(20)
    time.sleep(0.3)
    halves = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter_ns()
        send(1)
        if receive():
            halves.append((time.perf_counter_ns() - start) / 2000)
    process.join()
    found = np.percentile(halves or [np.nan], [50, 99, 99.9])
    return dict(zip(("p50", "p99", "p99.9"), map(float, found), strict=True))


def pss_kb() -> int:
    """Of this process: pages that several share count by their share; 0 where nobody says it."""
    try:
        rollup = Path("/proc/self/smaps_rollup").read_text()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))


def _count(transport: Transport, ready: Any, result: Any) -> None:
    receive = transport.receiver("there")
    ready.set()
    got = 0
    start = last = 0.0
    while count := receive():  # nothing for a second: it is over
        last = time.perf_counter()
        start = start or last
        got += count
    result.put((got, last - start, pss_kb()))


def rate(transport: Transport, batch: int, seconds: float) -> Line:
    """What one subscriber has received, what it has not, and the memory of both processes."""
    context = mp.get_context("fork")
    ready = context.Event()
    result = context.Queue()
    process = context.Process(target=_count, args=(transport, ready, result))
    process.start()
    ready.wait(20)
    send = transport.sender("there")
    time.sleep(0.3)
    sent = 0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for _ in range(32):
            send(batch)
        sent += 32 * batch
    got, took, memory = result.get(timeout=60)
    memory += pss_kb()
    process.join()
    return {
        "batch": batch, "received_per_s": got / took if took else 0.0, "sent": sent,
        "received": got, "lost": sent - got, "pss_kb": memory,
    }  # fmt: skip


def native(program: Path, *arguments: str) -> list[Line]:
    """What ``bench_bus`` or ``bench_iceoryx2`` says."""
    run = subprocess.run([program, *arguments], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in run.stdout.splitlines()]


def measured(arguments: argparse.Namespace) -> Iterator[Line]:
    """All lines, as they come."""
    seconds = str(arguments.seconds)
    yield {"machine": facts(), "load": load_average()}
    if not arguments.no_engine:
        for feed, found in feeds().items():
            yield {"engine with feed": feed, "million_trades_per_s": found}
    if arguments.program.exists():
        for line in native(arguments.program, seconds, arguments.subscribers):
            yield {"transport": "klineagg (native)", **line}
    if arguments.peer.exists():
        for line in native(arguments.peer, seconds):
            yield {"transport": "iceoryx2 (native)", **line}
    makers: dict[str, list[Callable[[], Transport]]] = {
        "klineagg": [lambda: Klineagg("spin"), lambda: Klineagg("park")],
        "iceoryx2": [Iceoryx2],
        "zmq": [Zmq],
        "queue": [Queue],
    }
    for name in filter(None, arguments.transports.split(",")):
        for make in makers[name]:
            transport = make()
            yield {"transport": transport.name, "latency_us": latency(transport, arguments.seconds)}
            for batch in BATCHES:
                transport = make()
                yield {"transport": transport.name, **rate(transport, batch, arguments.seconds)}
                if isinstance(transport, Klineagg):
                    shutil.rmtree(transport.folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bus", description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--subscribers", default="0,1,10,100,1000", help="of the native rates")
    parser.add_argument("--program", type=Path, default=ROOT / "build" / "bench" / "bench_bus")
    parser.add_argument(
        "--peer", type=Path, default=ROOT / "build" / "iceoryx2" / "release" / "bench_iceoryx2"
    )
    parser.add_argument("--transports", default="klineagg,iceoryx2,zmq,queue")
    parser.add_argument("--no-engine", action="store_true", help="not what feeds cost an engine")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PAGE.name}")
    arguments = parser.parse_args()
    lines: list[Line] = []
    for line in measured(arguments):
        lines.append(line)
        print(json.dumps(line, default=str), flush=True)
    print(tables(lines))
    if arguments.write:
        write(PAGE, lines)


if __name__ == "__main__":
    main()
