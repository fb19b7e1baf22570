"""Programs of the tests that run in processes of their own, to be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

PUBLISH = """
import sys
sys.path.insert(0, sys.argv[1])
from bus.records import CHECKED, checked
from klineagg.bus import Bus
path, name, batch = sys.argv[2], sys.argv[3], int(sys.argv[4])
publisher = Bus(path).publisher("ticks", name, record=CHECKED, ring_bytes=1 << 18)
print(publisher.next_sequence, flush=True)
while True:
    records = checked(publisher.next_sequence, batch)
    if batch > 8:
        with publisher.loan(batch) as loan:
            done = 0
            for array in loan.arrays:
                array[:] = records[done : done + len(array)]
                done += len(array)
    else:
        publisher.publish(records)
"""

SUBSCRIBE = """
import sys, time
sys.path.insert(0, sys.argv[1])
from bus.records import CHECKED, damaged
from klineagg.bus import Bus
path, name, seconds = sys.argv[2], sys.argv[3], float(sys.argv[4])
count = int(sys.argv[5]) if len(sys.argv) > 5 else 1 << 62
subscriber = Bus(path).subscriber("ticks", name, record=CHECKED)
print("ready", flush=True)
wrong = 0
last = {}
first = subscriber.positions
end = time.monotonic() + seconds
while time.monotonic() < end and subscriber.received + subscriber.lost < count:
    batch = subscriber.receive(timeout=0.1)
    if len(batch) == 0:
        continue
    wrong += damaged(batch)
    wrong += int((batch["number"] != batch["sequence"]).sum())
    for publisher in set(batch["publisher"].tolist()):
        mine = batch["sequence"][batch["publisher"] == publisher].astype("int64")
        wrong += int((mine[1:] <= mine[:-1]).sum()) + int(mine[0] <= last.get(publisher, 0))
        last[publisher] = int(mine[-1])
for source in subscriber.publishers():
    wrong += int(source["received"] + source["lost"] == 0)
passed = sum(next_ - first.get(name, 1) for name, next_ in subscriber.positions.items())
wrong += int(subscriber.received + subscriber.lost != passed)
print(wrong, subscriber.received, subscriber.lost, flush=True)
"""


# Some run for ever: they end with the tests that started them, also when these are killed.
WITH_ITS_PARENT = """
import ctypes, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
"""


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    """A Python program with this package's tests on its path."""
    tests = Path(__file__).parents[1]
    return subprocess.Popen(
        [sys.executable, "-c", WITH_ITS_PARENT + program, str(tests), *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def progress(what: str, done: int, of: int) -> None:
    """A line now and then, of runs that take long (to be seen with ``pytest -s``)."""
    if of >= 100 and done % (of // 20) == 0:
        print(f"{what}: {done:,} of {of:,}", flush=True)


def kill(process: subprocess.Popen[str], number: signal.Signals = signal.SIGKILL) -> None:
    process.send_signal(number)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
