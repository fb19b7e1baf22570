"""Health of publishers, in callbacks and on the command line."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bus import programs
from bus.records import CHECKED, checked
from klineagg.bus import Bus, Health, PublisherHealth
from klineagg.cli import main


def wait_for(bus: Bus, health: Health, timeout: float) -> list[PublisherHealth]:
    monitor = bus.monitor(timeout=timeout)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = monitor.check()
        if found and found[0].health is health:
            return found
        time.sleep(0.02)
    raise AssertionError(f"never {health}: {monitor.check()}")


def wait_until_degraded(bus: Bus) -> None:
    """Its age only grows: it is between one and two timeouts of two thirds of it for a while."""
    age = 0.0
    while True:
        (one,) = bus.monitor(timeout=max(age, 0.8) / 1.5).check()
        if age > 0.8 and one.health is Health.DEGRADED:
            return
        assert one.heartbeat_age < 120, f"never degraded: {one}"
        age = one.heartbeat_age


def test_a_stopped_publisher_degrades_fails_and_recovers(bus: Bus) -> None:
    seen: list[tuple[Health, Health | None]] = []
    process = programs.start(programs.PUBLISH, bus.path, "feed", 1)
    programs.first_line(process)
    monitor = bus.monitor(
        timeout=0.8,
        interval=0.05,
        on_change=lambda now, before: seen.append((now.health, before and before.health)),
    )
    with monitor:
        wait_for(bus, Health.HEALTHY, 0.8)
        # A monitor that is held up for long misses what lasts for less: then once more.
        for _ in range(20):
            process.send_signal(signal.SIGSTOP)
            wait_until_degraded(bus)
            wait_for(bus, Health.FAILED, 0.8)
            process.send_signal(signal.SIGCONT)
            wait_for(bus, Health.HEALTHY, 0.8)
            if {Health.HEALTHY, Health.DEGRADED} <= {state for state, _ in seen}:
                break
        else:
            raise AssertionError(f"nobody was told that it was late: {seen}")
        programs.kill(process)
        wait_for(bus, Health.FAILED, 3_600.0)  # its death is seen without any timeout
        while seen[-1][0] is not Health.FAILED:
            time.sleep(0.02)
    assert all(now is not before for now, before in seen)
    assert sum(monitor.changes.values()) == len(seen)


def test_an_idle_publisher_is_healthy_and_a_closed_one_closed(bus: Bus) -> None:
    publisher = bus.publisher("ticks", record=CHECKED)
    time.sleep(0.5)
    (one,) = wait_for(bus, Health.HEALTHY, 0.45)  # nobody publishes, and it says that it lives
    assert (one.health, one.last_sequence, one.generation) == (Health.HEALTHY, 0, 1)
    publisher.close()
    (one,) = bus.monitor().check()
    assert one.health is Health.CLOSED


def test_top_shows_publishers_and_subscribers(bus: Bus, capsys: pytest.CaptureFixture[str]) -> None:
    publisher = bus.publisher("ticks", "feed", record=CHECKED)
    subscriber = bus.subscriber("ticks", "watcher")
    publisher.publish(checked(1, 12))
    subscriber.receive(5)
    assert main(["bus", "top", "--once", "--json", "--path", bus.path]) == 0
    found = json.loads(capsys.readouterr().out)
    (one,) = found["publishers"]
    assert (one["topic"], one["name"], one["health"]) == ("ticks", "feed", "Healthy")
    assert one["last_sequence"] == 12
    (seat,) = found["subscribers"]
    assert (seat["name"], seat["received"], seat["behind"]) == ("watcher", 5, 7)
    assert main(["bus", "top", "--once", "--path", bus.path]) == 0
    text = capsys.readouterr().out
    assert "feed" in text and "Healthy" in text and "watcher" in text
    publisher.close()
    assert main(["bus", "clean", "--older-than", "0", "--json", "--path", bus.path]) == 0
    assert json.loads(capsys.readouterr().out)["removed"] == {"ticks": 1}


def test_a_death_is_seen_within_two_seconds(bus: Bus) -> None:
    process = programs.start(programs.PUBLISH, bus.path, "feed", 1)
    programs.first_line(process)
    subscriber = bus.subscriber("ticks", record=CHECKED)
    monitor = bus.monitor()
    wait_for(bus, Health.HEALTHY, 0.8)
    process.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    while monitor.check()[0].health is not Health.FAILED:
        assert time.monotonic() - killed < 2
        time.sleep(0.001)
    while subscriber.publishers()[0]["alive"]:
        assert time.monotonic() - killed < 2
    programs.kill(process)


LIVE_TOP = [sys.executable, "-m", "klineagg", "bus", "top", "--interval", "0.05"]


def test_top_goes_on_showing_what_changes(bus: Bus) -> None:
    publisher = bus.publisher("ticks", "feed", record=CHECKED)
    publisher.publish(checked(1, 7_341))
    process = subprocess.Popen(
        [*LIVE_TOP, "--path", bus.path], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    for number in (b"7,341", b"8,452"):
        while number not in (line := process.stdout.readline()):
            assert line, "it has ended"
        publisher.publish(checked(publisher.next_sequence, 8_452 - 7_341))
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 130
    assert b"Traceback" not in told
    publisher.close()


def test_top_stands_still_in_a_terminal(bus: Bus) -> None:
    pty = pytest.importorskip("pty")
    publisher = bus.publisher("ticks", "feed", record=CHECKED)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*LIVE_TOP, "--path", bus.path], stdout=theirs, stderr=subprocess.PIPE
    )
    os.close(theirs)
    shown = b""
    while shown.count(b"\x1b[H") < 3:  # each table begins where the last one did
        shown += os.read(ours, 4096)
    tables = shown.split(b"\x1b[H")
    assert tables[0] == b""
    for table in tables[1:-1]:
        assert b"feed" in table
        assert b"\x1b[32m" in table  # Healthy, in green
        assert table.rstrip().endswith(b"\x1b[J")
    process.send_signal(signal.SIGINT)
    while process.poll() is None:
        with contextlib.suppress(OSError):
            os.read(ours, 4096)
    _, told = process.communicate()
    assert process.returncode == 130
    assert b"Traceback" not in told
    os.close(ours)
    publisher.close()


def test_damaged_segments_are_shown_and_hide_nobody(
    bus: Bus, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = bus.publisher("ticks", "whole", record=CHECKED)
    whole.publish(checked(1, 3))
    bus.publisher("ticks", "broken", record=CHECKED).close()
    ring = Path(bus.path) / "ticks@broken.ring"
    Path(bus.path, "ticks@empty.ring").touch()
    for damage in (b"", b"no ring", b"\xff" * ring.stat().st_size):
        ring.write_bytes(damage)
        seen = {one.name: one.health for one in bus.monitor().check()}
        assert seen == {
            "broken": Health.DAMAGED, "empty": Health.DAMAGED, "whole": Health.HEALTHY,
        }  # fmt: skip
        assert main(["bus", "top", "--once", "--path", bus.path]) == 0
        assert "Damaged" in capsys.readouterr().out
    assert bus.record_type("ticks") == CHECKED
    Path(bus.path, "other.topic").write_bytes(b"no topic either")
    assert main(["bus", "top", "--once", "--json", "--path", bus.path]) == 0
    values = json.loads(capsys.readouterr().out)
    found = {(one["topic"], one["name"]): one["health"] for one in values["publishers"]}
    assert found["other", ""] == "Damaged"
    assert found["ticks", "whole"] == "Healthy"
    Path(bus.path, "other.topic").write_bytes(b"")
    both = {(one.topic, one.name): one.health for one in bus.monitor().check()}
    assert both["other", ""] == Health.DAMAGED and both["ticks", "whole"] == Health.HEALTHY
    whole.close()


def test_a_callback_that_raises_neither_ends_the_watch_nor_hides_the_others(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []

    def on_change(now: PublisherHealth, before: PublisherHealth | None) -> None:
        told.append(now.name)
        raise RuntimeError(f"about {now.name}")

    def until(name: str) -> None:
        deadline = time.monotonic() + 120
        while name not in told:
            assert time.monotonic() < deadline, told
            time.sleep(0.01)

    publishers = [bus.publisher("ticks", name, record=CHECKED) for name in ("a", "b")]
    monitor = bus.monitor(on_change=on_change, interval=0.01)
    with pytest.raises(RuntimeError, match="about a"):
        monitor.check()
    assert told == ["a", "b"]
    with monitor:
        publishers.append(bus.publisher("ticks", "c", record=CHECKED))
        until("c")
        publishers.append(bus.publisher("ticks", "d", record=CHECKED))
        until("d")
    assert "about c" in caplog.text
