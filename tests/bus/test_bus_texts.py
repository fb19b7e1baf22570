"""What the objects of the bus say of themselves in one line."""

from __future__ import annotations

from pathlib import Path

from bus.records import CHECKED, checked
from klineagg.bus import Bus, Checkpoint, ResumableSubscriber, SequenceTracker


def test_publishers_and_loans(bus: Bus, tmp_path: Path) -> None:
    publisher = bus.publisher("ticks", "feed", record=CHECKED)
    loan = publisher.loan(3)
    assert repr(loan) == "<Loan of 3 records from 1 on, not committed yet>"
    loan.commit()
    assert repr(loan) == "<Loan of 3 records from 1 on, settled>"
    assert repr(publisher) == "<Publisher 'feed' of 'ticks', next 4>"
    publisher.close()
    assert repr(publisher) == "<Publisher 'feed' of 'ticks', next 4, closed>"
    with bus.publisher("ticks", "kept", record=CHECKED, wal=tmp_path) as logged:
        assert repr(logged) == "<LoggedPublisher 'kept' of 'ticks', next 1>"


def test_subscribers_and_peeks(bus: Bus) -> None:
    subscriber = bus.subscriber("ticks", "watch", record=CHECKED)
    delayed = bus.delayed("ticks", "slow", record=CHECKED)
    bus.publisher("ticks", record=CHECKED).publish(checked(1, 5))
    peek = subscriber.peek(2)
    assert repr(peek) == "<Peek at 2 records of 'ticks', not released yet>"
    peek.release()
    assert repr(peek) == "<Peek at 2 records of 'ticks', valid>"
    assert repr(subscriber) == "<Subscriber 'watch' of 'ticks', 2 received, 0 lost, 3 behind>"
    assert repr(delayed) == "<DelayedSubscriber 'slow' of 'ticks', 0 lost, 0 conflated>"
    delayed.close()
    assert repr(delayed).endswith("conflated, closed>")


def test_reliable_ones(bus: Bus) -> None:
    subscriber = bus.reliable_subscriber("ticks", "risk", record=CHECKED)
    publisher = bus.reliable_publisher("ticks", "desk", record=CHECKED, timeout=60.0)
    publisher.send(checked(1, 1))
    wanted = "<ReliablePublisher 'desk' of 'ticks', 0 delivered, 0 failed, 1 pending>"
    assert repr(publisher) == wanted
    publisher.close()
    wanted = "<ReliablePublisher 'desk' of 'ticks', 0 delivered, 1 failed, 0 pending, closed>"
    assert repr(publisher) == wanted
    wanted = "<ReliableSubscriber 'risk' of 'ticks', 0 duplicates, 0 missing>"
    assert repr(subscriber) == wanted
    subscriber.close()
    assert repr(subscriber).endswith("missing, closed>")


def test_resumable_ones_and_their_history(bus: Bus, tmp_path: Path) -> None:
    history = bus.history("ticks", tmp_path, record=CHECKED)
    assert repr(history) == f"<LogHistory of 'ticks' in '{tmp_path}', by nobody yet>"
    bus.publisher("ticks", "feed", record=CHECKED, wal=tmp_path).publish(checked(1, 5))
    assert repr(history) == f"<LogHistory of 'ticks' in '{tmp_path}', by feed>"
    subscriber = ResumableSubscriber(bus, "ticks", "lake", history=history)
    start = "<ResumableSubscriber 'lake' of 'ticks' at "
    assert repr(subscriber) == start + "its start, 0 replayed, 0 repeated>"
    subscriber.receive()
    assert repr(subscriber) == start + "feed 6, 5 replayed, 0 repeated>"
    subscriber.close()
    assert repr(subscriber).endswith("repeated, closed>")
    assert repr(Checkpoint(tmp_path / "at.json")) == f"Checkpoint('{tmp_path}/at.json')"


def test_monitors_and_trackers(bus: Bus) -> None:
    monitor = bus.monitor()
    assert repr(monitor) == f"<Monitor of '{bus.path}': has not looked yet; idle>"
    monitor.check()
    assert repr(monitor) == f"<Monitor of '{bus.path}': no publishers; idle>"
    bus.publisher("ticks", "ended", record=CHECKED).close()
    with bus.publisher("ticks", record=CHECKED):
        monitor.check()
        assert repr(monitor) == f"<Monitor of '{bus.path}': 1 Closed, 1 Healthy; idle>"
    with bus.monitor() as running:
        assert repr(running).endswith("; runs>")
    tracker = SequenceTracker(1)
    tracker.see(3)
    assert repr(tracker) == "<SequenceTracker next 4, 2 missing, 0 duplicates>"
