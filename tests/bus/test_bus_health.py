"""Health of publishers, in callbacks and on the command line."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from bus import programs
from bus.records import CHECKED, checked
from klineagg.bus import Bus, Health, PublisherHealth
from klineagg.cli import main


def wait_for(bus: Bus, health: Health, timeout: float) -> list[PublisherHealth]:
    monitor = bus.monitor(timeout=timeout)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = monitor.check()
        if found and found[0].health is health:
            return found
        time.sleep(0.02)
    raise AssertionError(f"never {health}: {monitor.check()}")


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
        process.send_signal(signal.SIGSTOP)
        wait_for(bus, Health.DEGRADED, 0.8)
        wait_for(bus, Health.FAILED, 0.8)
        process.send_signal(signal.SIGCONT)
        wait_for(bus, Health.HEALTHY, 0.8)
        started = time.monotonic()
        programs.kill(process)
        wait_for(bus, Health.FAILED, 0.8)
        assert time.monotonic() - started < 2
        deadline = time.monotonic() + 5
        while seen[-1][0] is not Health.FAILED and time.monotonic() < deadline:
            time.sleep(0.02)
    states = [state for state, _ in seen]
    assert states[0] is Health.HEALTHY
    assert states[-1] is Health.FAILED
    assert Health.DEGRADED in states
    assert all(now is not before for now, before in seen)
    assert sum(monitor.changes.values()) == len(seen)


def test_an_idle_publisher_is_healthy_and_a_closed_one_closed(bus: Bus) -> None:
    publisher = bus.publisher("ticks", record=CHECKED)
    time.sleep(0.5)
    (one,) = bus.monitor(timeout=0.45).check()
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
    whole.close()
