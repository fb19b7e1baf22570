"""Publishers and subscribers that are killed at random, or stopped: what survives is right."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from bus import programs
from bus.records import CHECKED, damaged
from klineagg.bus import Bus


def kill_publishers(bus: Bus, cycles: int, seed: int) -> list[float]:
    """Kills and restarts a publisher; a subscriber checks each record. Seconds until the next."""
    chance = random.Random(seed)
    subscriber = bus.subscriber("ticks", record=CHECKED)
    recoveries = []
    received = 0
    last = 0
    for cycle in range(cycles):
        batch = chance.choice([1, 7, 100, 500])
        process = programs.start(programs.PUBLISH, bus.path, "feed", batch)
        first = int(programs.first_line(process))
        started = time.monotonic()
        assert first > last
        stop = started + chance.uniform(0.001, 0.08)
        fresh = False
        while time.monotonic() < stop or not fresh:
            records = subscriber.receive(timeout=120)
            assert len(records), "nothing came"
            assert damaged(records) == 0
            assert (records["number"] == records["sequence"]).all()
            sequences = records["sequence"].astype("int64")
            assert sequences[0] > last
            assert (sequences[1:] > sequences[:-1]).all()
            last = int(sequences[-1])
            received += len(records)
            if not fresh and last >= first:
                fresh = True
                recoveries.append(time.monotonic() - started)
        programs.kill(process)
        programs.progress("publishers killed", cycle + 1, cycles)
        (source,) = subscriber.publishers()
        assert not source["alive"]
        assert source["generation"] == cycle + 1
        last = max(last, source["next_sequence"] - 1)
    while len(records := subscriber.receive()):
        received += len(records)
    (source,) = subscriber.publishers()
    # Exactly: what was published was received or counted as lost.
    (ring,) = bus.inspect("ticks")["publishers"]
    assert received + subscriber.lost == ring["next_sequence"] - 1
    assert received == source["received"]
    return recoveries


def test_killed_publishers_leave_no_torn_record(bus: Bus) -> None:
    assert len(kill_publishers(bus, 6, seed=1)) == 6


@pytest.mark.slow
def test_publishers_killed_a_thousand_times(bus: Bus) -> None:
    recoveries = sorted(kill_publishers(bus, 1000, seed=2))
    assert recoveries[-1] < 5
    assert recoveries[len(recoveries) // 2] < 1


def kill_subscribers(bus: Bus, cycles: int, seed: int) -> None:
    chance = random.Random(seed)
    publisher = programs.start(programs.PUBLISH, bus.path, "feed", 50)
    programs.first_line(publisher)
    survivor = programs.start(programs.SUBSCRIBE, bus.path, "survivor", 2 + cycles * 0.5)
    assert programs.first_line(survivor) == "ready"
    for cycle in range(cycles):
        victim = programs.start(programs.SUBSCRIBE, bus.path, "victim", 60)
        assert programs.first_line(victim) == "ready"
        time.sleep(chance.uniform(0.001, 0.1))
        programs.kill(victim)
        programs.progress("subscribers killed", cycle + 1, cycles)
        names = [info["name"] for info in bus.inspect("ticks")["subscribers"]]
        assert "victim" not in names
    wrong, received, lost = map(int, programs.first_line(survivor).split())
    survivor.wait()
    programs.kill(publisher)
    assert wrong == 0  # that its losses are exactly what it has not received is among it
    assert received > 0
    (ring,) = bus.inspect("ticks")["publishers"]
    assert received + lost <= ring["next_sequence"] - 1


def test_killed_subscribers_disturb_nobody(bus: Bus) -> None:
    kill_subscribers(bus, 4, seed=3)


@pytest.mark.slow
def test_subscribers_killed_a_thousand_times(bus: Bus) -> None:
    kill_subscribers(bus, 1000, seed=4)


MAPS = """
import sys
sys.path.insert(0, sys.argv[1])
from bus.records import CHECKED
from klineagg.bus import Bus, ResumableSubscriber
bus = Bus(sys.argv[2])
subscriber = bus.subscriber("ticks", record=CHECKED)
delayed = bus.delayed("ticks")
assert len(subscriber.receive(timeout=60)) or subscriber.publishers()
with subscriber.peek():
    print("ready", flush=True)
    print(open("/proc/self/maps").read(), flush=True)
"""


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="this system does not tell")
def test_readers_map_rings_for_reading_only(bus: Bus) -> None:
    publisher = bus.publisher("ticks", "feed", record=CHECKED, ring_bytes=1 << 16)
    reader = programs.start(MAPS, bus.path)
    assert programs.first_line(reader) == "ready"
    assert reader.stdout is not None
    modes: dict[str, set[str]] = {}
    for line in reader.stdout.read().splitlines():
        if bus.path in line:
            modes.setdefault(line.rpartition(".")[2], set()).add(line.split()[1])
    reader.wait()
    assert modes == {"ring": {"r--s"}, "topic": {"rw-s"}}
    publisher.close()


def test_a_stopped_reader_holds_nobody_up_and_knows_its_gap(bus: Bus) -> None:
    count = 20_010
    reader = programs.start(programs.SUBSCRIBE, bus.path, "stopped", 240, count)
    publisher = bus.publisher("ticks", "feed", record=CHECKED, ring_bytes=1 << 16)
    assert programs.first_line(reader) == "ready"
    from bus.records import checked

    publisher.publish(checked(1, 10))
    time.sleep(0.3)
    reader.send_signal(signal.SIGSTOP)
    while publisher.next_sequence <= count:  # many rounds of the ring, nobody waits
        publisher.publish(checked(publisher.next_sequence, 100))
    reader.send_signal(signal.SIGCONT)
    wrong, received, lost = map(int, programs.first_line(reader).split())
    reader.wait()
    assert wrong == 0
    assert received + lost == publisher.next_sequence - 1 == count
    assert lost > 20_000 - 2 * publisher.capacity


@pytest.mark.slow
def test_a_thousand_subscriber_processes(bus: Bus) -> None:
    publisher = bus.publisher("ticks", "feed", record=CHECKED, ring_bytes=1 << 22)
    from bus.records import checked

    children = []
    try:
        for _ in range(1000):
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    subscriber = bus.subscriber("ticks", "many", record=CHECKED)
                    got = 0
                    while got < 5000:
                        # A thousand processes take their time to start where two cores do it.
                        records = subscriber.receive(timeout=3600)
                        if not len(records) or damaged(records):
                            break
                        got += len(records)
                    code = 0 if got == 5000 and subscriber.lost == 0 else 2
                finally:
                    os._exit(code)
            children.append(pid)
        while len(bus.inspect("ticks")["subscribers"]) < 1000:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            assert ended is None, "a subscriber has ended"
            time.sleep(0.2)
        for _ in range(50):
            publisher.publish(checked(publisher.next_sequence, 100))
        codes = []
        while children:
            codes.append(os.waitpid(children[-1], 0)[1])
            children.pop()
        assert codes == [0] * 1000
    finally:
        for pid in children:  # of a test that has failed
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
