"""Visits all peers side by side, in rounds, and gathers what they found."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.machine import cores
from benchmarks.peer import Peer
from benchmarks.peers import SUBJECT, all_peers
from benchmarks.workload import INTERVAL_SETS

ROOT: Final = Path(__file__).resolve().parent.parent
VISIT_SECONDS_MAX: Final = 600
# A peer whose one run takes this long varies little, and would make the rounds last for ever.
SLOW_SECONDS: Final = 5.0
SLOW_ROUNDS: Final = 3
# Beside the full set: who else is asked for one interval, and for sixteen.
EXTRA_SETS: Final[dict[str, tuple[str, ...]]] = {
    "1m": (SUBJECT, "duckdb", "polars", "numba", "cpp-direct", "cpp-exact"),
    "16": (SUBJECT,),
}


@dataclass(frozen=True)
class Entry:
    """One row of a table: a peer with a thread count on a set of intervals."""

    peer: str
    threads: int
    intervals: str


@dataclass
class Found:
    """Everything that the visits to one entry found."""

    version: str = ""
    problem: str = ""
    skipped: bool = False
    rows: int = 0
    seconds: list[float] = field(default_factory=list)
    cores_used: float = 0.0
    memory_peak_bytes: int = 0
    memory_input_bytes: int = 0
    memory_output_bytes: int = 0
    bars: int = 0
    checks: dict[str, Any] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Median trades per second; 0 without a measurement."""
        return self.rows / statistics.median(self.seconds) if self.seconds else 0.0

    @property
    def rates(self) -> tuple[float, float]:
        """Lowest and highest trades per second."""
        if not self.seconds:
            return 0.0, 0.0
        return self.rows / max(self.seconds), self.rows / min(self.seconds)

    @property
    def equal(self) -> bool:
        """Whether all bars were the reference's, on the columns that the peer computes."""
        return bool(self.checks) and all(check["equal"] for check in self.checks.values())

    @property
    def sums_exact(self) -> bool:
        """Whether every sum was the correctly rounded one."""
        return bool(self.checks) and all(check["sums_exact"] for check in self.checks.values())

    @property
    def sum_error_max(self) -> float:
        """The largest relative error of a sum."""
        return max((check["sum_error_max"] for check in self.checks.values()), default=0.0)

    def add(self, visit: dict[str, Any]) -> None:
        """Take in one visit's findings."""
        if visit["unavailable"]:
            self.problem, self.skipped = visit["unavailable"], True
            return
        self.version, self.rows = visit["version"], visit["rows"]
        self.seconds.extend(visit["seconds"])
        self.cores_used = max(self.cores_used, visit["cores_used"])
        self.memory_peak_bytes = max(self.memory_peak_bytes, visit["memory_peak_bytes"])
        self.memory_input_bytes = visit["memory_input_bytes"]
        self.memory_output_bytes = visit["memory_output_bytes"]
        if visit["checks"]:
            self.bars, self.checks = visit["bars"], visit["checks"]


def plan(names: list[str], sets: list[str]) -> list[Entry]:
    """All entries for these peers and interval sets that this machine has cores for."""
    peers: dict[str, Peer] = all_peers()
    return [
        Entry(name, threads, which)
        for which in sets
        for name in names
        if name in EXTRA_SETS.get(which, names)
        for threads in peers[name].threads
        if threads <= max(2, cores())
    ]


def _environment(threads: int) -> dict[str, str]:
    """Every library that sizes its thread pool by the environment is held to this many."""
    names = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS")
    return os.environ | dict.fromkeys(names, str(threads)) | {"PYTHONDONTWRITEBYTECODE": "1"}


def visit(entry: Entry, workload: Path, reference: Path, *, check: bool) -> dict[str, Any]:
    """One visit in a fresh process; a failure becomes the reason in ``unavailable``."""
    job = {
        "peer": entry.peer,
        "threads": entry.threads,
        "intervals": INTERVAL_SETS[entry.intervals],
        "workload": str(workload),
        "reference": str(reference),
        "rows": all_peers()[entry.peer].rows_max,
        "check": check,
    }
    command = [sys.executable, "-m", "benchmarks.worker", json.dumps(job)]
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=_environment(entry.threads),
            capture_output=True,
            text=True,
            timeout=VISIT_SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"unavailable": f"did not end within {VISIT_SECONDS_MAX} s"}
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"unavailable": f"failed with exit status {done.returncode}: {last}"}
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def measure(
    entries: list[Entry], rounds: int, workload: Path, references: dict[str, Path]
) -> Iterator[tuple[int, int, Entry, dict[Entry, Found]]]:
    """Visit all entries in each round; before each visit yields (done, planned, entry, found).

    The order turns from round to round, so that no peer always runs behind the same neighbour or in
    the same phase of a machine that grows warm.
    """
    found = {entry: Found() for entry in entries}
    planned = rounds * len(entries)
    for number in range(rounds):
        turned = entries[number:] + entries[:number] if number % 2 == 0 else entries[::-1]
        for index, entry in enumerate(turned):
            yield number * len(entries) + index, planned, entry, found
            known = found[entry]
            slow = bool(known.seconds) and statistics.median(known.seconds) > SLOW_SECONDS
            if known.skipped or (slow and number >= SLOW_ROUNDS):
                continue
            known.add(visit(entry, workload, references[entry.intervals], check=number == 0))
    yield planned, planned, entries[-1], found


_IMPORT_PROBE: Final = """
import sys, time
import numpy
before = set(sys.modules)
start = time.perf_counter()
import klineagg
seconds = time.perf_counter() - start
print(seconds, *sorted({name.partition(".")[0] for name in set(sys.modules) - before}))
"""


def import_cost(repeats: int = 9) -> tuple[float, list[str]]:
    """Median seconds that importing klineagg takes beyond NumPy, and the packages that it loads."""
    seconds: list[float] = []
    packages: list[str] = []
    for _ in range(repeats + 1):
        probe = subprocess.run(
            [sys.executable, "-c", _IMPORT_PROBE], capture_output=True, text=True, check=False
        )
        if probe.returncode != 0:
            return 0.0, []
        first, *packages = probe.stdout.split()
        seconds.append(float(first))
        time.sleep(0.05)
    # The first one may have compiled the sources.
    return statistics.median(seconds[1:]), packages
