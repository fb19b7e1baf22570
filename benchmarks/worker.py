"""One visit to one peer, in a process of its own: ``python -m benchmarks.worker JOB`` (JSON).

A fresh process for each visit keeps peers from inheriting one another's allocator, thread pools and
page tables, and gives each its own peak of memory.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.checksum import check_interval
from benchmarks.peer import Peer, PeerUnavailable
from benchmarks.peers import all_peers
from benchmarks.peers.klineagg_peer import KlineaggPeer
from benchmarks.reference import load_reference, reference_bars
from benchmarks.workload import Columns, load

_WARM_UP_SHARE: Final = 100
_WARM_UP_ROWS_MIN: Final = 1000


@dataclass(frozen=True)
class Job:
    """What to measure in one visit."""

    peer: str
    threads: int
    intervals: tuple[str, ...]
    workload: str
    reference: str
    rows: int | None = None
    repeats_max: int = 3
    seconds_max: float = 3.0
    check: bool = True


@dataclass
class Visit:
    """What one visit found."""

    version: str = ""
    unavailable: str = ""
    rows: int = 0
    seconds: list[float] = field(default_factory=list)
    cores_used: float = 0.0
    memory_peak_bytes: int = 0
    memory_input_bytes: int = 0
    memory_output_bytes: int = 0
    bars: int = 0
    checks: dict[str, Any] = field(default_factory=dict)


def _status_bytes(name: str) -> int | None:
    """A figure of /proc/self/status in bytes; None where there is no such file."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    return None


def _peak_bytes() -> int:
    """Highest resident memory since the last reset (or since the start, where none is possible)."""
    peak = _status_bytes("VmHWM")
    if peak is not None:
        return peak
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _reset_peak() -> int:
    """Start a new peak and return what is resident now."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return _peak_bytes()
    return _status_bytes("VmRSS") or _peak_bytes()


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _head(columns: Columns, rows: int) -> Columns:
    return {name: values[:rows].copy() for name, values in columns.items()}


def _warm_up(peer: Peer, columns: Columns, job: Job) -> None:
    """Imports, compilation and thread pools are not what is measured."""
    rows = max(_WARM_UP_ROWS_MIN, columns["time"].size // _WARM_UP_SHARE)
    state = peer.prepare(_head(columns, rows), job.intervals, job.threads)
    peer.common(state, peer.run(state))


def _timed_runs(peer: Peer, state: Any, job: Job, visit: Visit) -> Any:
    """Run until the repeats or the seconds are spent; the last result comes back."""
    result = None
    while len(visit.seconds) < job.repeats_max and (
        not visit.seconds or sum(visit.seconds) < job.seconds_max
    ):
        # The old result goes first, outside the clock: with two the peak would be too high.
        result = None
        gc.collect()
        cpu, start = _cpu_seconds(), time.perf_counter()
        result = peer.run(state)
        elapsed = time.perf_counter() - start
        visit.cores_used = max(visit.cores_used, (_cpu_seconds() - cpu) / elapsed)
        visit.seconds.append(elapsed)
        if len(visit.seconds) == 1:
            visit.memory_peak_bytes = _peak_bytes()
    return result


def visit_peer(job: Job) -> Visit:
    """Measure one peer, and compare its bars with the reference when the job says so."""
    peer = all_peers()[job.peer]
    visit = Visit(version=peer.version())
    columns = load(Path(job.workload))
    if job.rows is not None and job.rows < columns["time"].size:
        columns = _head(columns, job.rows)
    visit.rows = int(columns["time"].size)
    visit.memory_input_bytes = sum(values.nbytes for values in columns.values())
    gc.collect()
    resident = _reset_peak()
    _warm_up(peer, columns, job)
    state = peer.prepare(columns, job.intervals, job.threads)
    result = _timed_runs(peer, state, job, visit)
    visit.memory_peak_bytes -= resident
    if isinstance(peer, KlineaggPeer):
        visit.memory_output_bytes = peer.output_bytes(result)
    if job.check:
        _check(peer, state, result, columns, job, visit)
    return visit


def _check(peer: Peer, state: Any, result: Any, columns: Columns, job: Job, visit: Visit) -> None:
    bars = peer.common(state, result)
    whole = job.rows is None
    expected = {} if whole or not bars else reference_bars(columns, job.intervals)
    for text, table in bars.items():
        true = load_reference(Path(job.reference), text) if whole else expected[text]
        check = check_interval(table, true)
        visit.bars += check.rows
        visit.checks[text] = check.as_json()


def main() -> int:
    """Read the job from the first argument, print the visit as one line of JSON."""
    given = json.loads(sys.argv[1])
    given["intervals"] = tuple(given["intervals"])
    try:
        visit = visit_peer(Job(**given))
    except PeerUnavailable as reason:
        visit = Visit(unavailable=str(reason))
    # On a line of its own, last: libraries may print before.
    print("\n" + json.dumps(asdict(visit)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
