"""Reliable publishing: acknowledged, repeated, or reported as failed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from klineagg import errors
from klineagg.bus._waiting import Receiver, Records, joined
from klineagg.bus.publisher import Publisher
from klineagg.bus.records import builtin_type
from klineagg.bus.subscriber import Subscriber
from klineagg.bus.tracker import SequenceTracker

if TYPE_CHECKING:
    from klineagg.bus.core import Bus

__all__ = ["ReliablePublisher", "ReliableSubscriber"]

Required = int | Literal["all"] | Collection[str]

# Return channels and repeats are topics of their own: nobody who does not take part sees them.
_ACKS = ".acks"
_REPEATS = ".repeats"
_ACK_RING_BYTES = 1 << 18
_REPEAT_RING_BYTES = 1 << 20
_ACKNOWLEDGERS_MAX = 1000
# Repeats come through another ring than the one that is waited for.
_STEP_S = 0.02


@dataclass
class _Pending:
    record: Records
    future: Future[int]
    due: float
    retries_left: int
    waiting_for: set[str] | None  # None: any, `wanted` of them
    wanted: int
    acknowledged: set[str] = field(default_factory=set)

    def is_done(self) -> bool:
        if self.waiting_for is not None:
            return self.waiting_for <= self.acknowledged
        return len(self.acknowledged) >= self.wanted


_Outcome = tuple["Future[int]", int, "BaseException | None"]


def _settle(done: list[_Outcome]) -> None:
    for future, sequence, error in done:
        if not future.set_running_or_notify_cancel():
            continue  # nobody wants to know any more
        if error is None:
            future.set_result(sequence)
        else:
            future.set_exception(error)


class ReliablePublisher:
    """A publisher that learns of each message whether those who must have it have it.

    Args:
        bus: the bus.
        topic: its records are seen by every subscriber of the topic; reliable ones acknowledge.
        name: of the publisher.
        acks: who must acknowledge: a number of subscribers, their names, or ``"all"``: those
            reliable subscribers that are there when the message is sent (none: it fails).
        timeout: seconds until a message is repeated for those who have not acknowledged it.
        retries: how often at most; then the message has failed.
        pending_max: messages on their way at most; publishing waits for room.
        options: those of :meth:`klineagg.bus.Bus.publisher`.
    """

    def __init__(
        self,
        bus: Bus,
        topic: str,
        name: str = "publisher",
        *,
        acks: Required = 1,
        timeout: float = 0.1,
        retries: int = 3,
        pending_max: int = 65_536,
        **options: Any,
    ) -> None:
        if isinstance(acks, int) and acks < 1:
            raise errors.make("invalid_option", "acks has to be at least 1", option="acks")
        if timeout <= 0 or retries < 0 or pending_max < 1:
            raise errors.make("invalid_option", "timeout > 0, retries >= 0, pending_max >= 1")
        self._bus = bus
        self._topic = topic
        self._acks = acks
        self._timeout = timeout
        self._retries = retries
        self._pending_max = pending_max
        self._publisher = bus.publisher(topic, name, **options)
        self.name = name
        self.record = self._publisher.record
        place = (bus.path, bus._group)
        self._repeats = Publisher(
            place,
            topic + _REPEATS,
            name,
            self.record,
            ring_bytes=_REPEAT_RING_BYTES,
            keep_headers=True,
        )
        self._returns = bus.subscriber(topic + _ACKS, name, record=builtin_type("Ack"))
        self._pending: dict[int, _Pending] = {}
        self._lock = threading.Condition()
        self._closing = False
        self.repeated = 0
        self.delivered = 0
        self.failed = 0
        self._thread = threading.Thread(target=self._work, name="kla-reliable", daemon=True)
        self._thread.start()

    @property
    def pending(self) -> int:
        """Messages that are neither acknowledged nor failed yet."""
        return len(self._pending)

    def send(self, record: Any) -> Future[int]:
        """Publishes one record.

        Returns:
            A future of its sequence: done when it is acknowledged; raises ``DeliveryError`` when
            it is not after all retries. ``asyncio.wrap_future`` makes it awaitable.
        """
        return self._send(record)[1]

    def _send(self, record: Any) -> tuple[int, Future[int]]:
        own = self._publisher._converted(record).copy()
        if len(own) != 1:
            raise errors.make("invalid_option", f"one record at a time, not {len(own)}")
        waiting_for, wanted = self._required()
        future: Future[int] = Future()
        with self._lock:
            while len(self._pending) >= self._pending_max and not self._closing:
                self._lock.wait(0.1)
            if self._closing:
                raise errors.make("bus_closed", f"the publisher {self.name} is closed")
            sequence = self._publisher.publish(own)
            # A repeat has the header of the first attempt: that is how it is recognised.
            own["sequence"] = sequence
            own["publisher"] = self.name.encode()
            own["publish_time"] = np.datetime64(time.time_ns(), "ns")
            due = time.monotonic() + self._timeout
            self._pending[sequence] = _Pending(own, future, due, self._retries, waiting_for, wanted)
        return sequence, future

    def publish(self, record: Any, *, timeout: float | None = None) -> int:
        """Publishes one record and waits until it is acknowledged; its sequence.

        Raises:
            DeliveryError: it was not acknowledged in time.
        """
        return self.send(record).result(timeout)

    async def publish_async(self, record: Any) -> int:
        """As :meth:`publish`, awaitable."""
        import asyncio

        return await asyncio.wrap_future(self.send(record))

    def publish_callback(
        self, record: Any, callback: Callable[[int, BaseException | None], object]
    ) -> int:
        """Publishes one record; later ``callback(sequence, None or the error)``; its sequence."""
        sequence, future = self._send(record)
        future.add_done_callback(lambda done: callback(sequence, done.exception()))
        return sequence

    def _required(self) -> tuple[set[str] | None, int]:
        acks = self._acks
        if isinstance(acks, int):
            return None, acks
        if acks == "all":
            living = [
                info["name"]
                for info in self._bus.inspect(self._topic + _ACKS)["publishers"]
                if info["alive"]
            ]
            return (set(living), len(living)) if living else (None, 1)
        return set(acks), len(acks)

    def _work(self) -> None:
        while not self._closing:
            acks = self._returns.receive(timeout=min(self._timeout / 4, 0.05))
            mine = acks[acks["of"] == self.name.encode()]
            done: list[_Outcome] = []
            with self._lock:
                for sequence, who in zip(
                    mine["acknowledged"].tolist(), mine["subscriber"].tolist(), strict=True
                ):
                    self._acknowledge(sequence, who.decode(), done)
                self._repeat_due(done)
                if done:
                    self._lock.notify_all()
            # Callbacks may publish: they run without the lock.
            _settle(done)

    def _acknowledge(self, sequence: int, who: str, done: list[_Outcome]) -> None:
        entry = self._pending.get(sequence)
        if entry is None:
            return
        entry.acknowledged.add(who)
        if entry.is_done():
            del self._pending[sequence]
            self.delivered += 1
            done.append((entry.future, sequence, None))

    def _repeat_due(self, done: list[_Outcome]) -> None:
        now = time.monotonic()
        for sequence, entry in list(self._pending.items()):
            if entry.due > now:
                break  # in the order of their due times, since a repeat goes to the end
            del self._pending[sequence]
            if entry.retries_left == 0:
                self.failed += 1
                done.append((entry.future, sequence, self._failure(sequence, entry)))
                continue
            entry.retries_left -= 1
            entry.due = now + self._timeout
            self._pending[sequence] = entry
            self.repeated += 1
            self._repeats.publish(entry.record)

    def _failure(self, sequence: int, entry: _Pending) -> BaseException:
        missing = sorted((entry.waiting_for or set()) - entry.acknowledged)
        wanted = ", ".join(missing) or f"{entry.wanted - len(entry.acknowledged)} more"
        return errors.make(
            "delivery_failed",
            f"message {sequence} of {self._topic} was sent {self._retries + 1} times; "
            f"not acknowledged by {wanted}",
            sequence=sequence,
            missing=missing,
            acknowledged=sorted(entry.acknowledged),
        )

    def flush(self, timeout: float | None = None) -> bool:
        """Waits until nothing is pending; False after ``timeout`` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._lock:
            while self._pending:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return False
                self._lock.wait(left)
        return True

    def close(self) -> None:
        """Ends it at once: what is still pending fails."""
        self._closing = True
        self._thread.join()
        with self._lock:
            pending, self._pending = self._pending, {}
            self._lock.notify_all()
        self.failed += len(pending)
        _settle([(entry.future, n, self._failure(n, entry)) for n, entry in pending.items()])
        self._publisher.close()
        self._repeats.close()

    def __enter__(self) -> ReliablePublisher:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.flush()
        self.close()


class ReliableSubscriber(Receiver):
    """A subscriber that acknowledges: each message once, repeats recognised.

    Messages that were lost at first come late, and so out of order: look at ``sequence``.

    Args:
        bus: the bus.
        topic: the topic.
        name: by which publishers know it; one of a name lives at a time.
        acknowledge: ``"received"``: at once; ``"processed"``: when the next batch is asked for
            (or :meth:`acknowledge` is called), so that a crash in between has it sent again.
        drop: injects faults, for tests: ``drop(sequence)`` true loses a message, or its repeat.
        options: those of :meth:`klineagg.bus.Bus.subscriber`.
    """

    def __init__(
        self,
        bus: Bus,
        topic: str,
        name: str = "subscriber",
        *,
        acknowledge: Literal["received", "processed"] = "received",
        drop: Callable[[int], bool] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.name = name
        self._at_once = acknowledge == "received"
        self._drop = drop
        self._acks = bus.publisher(
            topic + _ACKS,
            name,
            record=builtin_type("Ack"),
            ring_bytes=_ACK_RING_BYTES,
            publishers_max=_ACKNOWLEDGERS_MAX,
        )
        self._main: Subscriber = bus.subscriber(topic, name, **options)
        self.record = self._main.record
        self._again: Subscriber = bus.subscriber(topic + _REPEATS, name, record=self.record)
        self._trackers: dict[bytes, SequenceTracker] = {}
        self._unacknowledged: list[Records] = []
        self._returned: list[Records] = []

    def receive(self, *, timeout: float | None = 0.0) -> Records:
        """New messages, each once; empty after ``timeout`` seconds (None: no limit)."""
        if self._returned:
            return self._returned.pop(0)
        self.acknowledge()
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            parts = [self._main.receive(), self._again.receive()]
            new = joined([self._new(part) for part in parts])
            if len(new):
                return new
            left = _STEP_S if deadline is None else min(deadline - time.monotonic(), _STEP_S)
            if left <= 0:
                return new
            self._main.wait(left)

    def _new(self, records: Records) -> Records:
        if self._drop is not None and len(records):
            drop = self._drop
            records = records[[not drop(n) for n in records["sequence"].tolist()]]
        if len(records) == 0:
            return records
        keep = np.ones(len(records), bool)
        for publisher in np.unique(records["publisher"]).tolist():
            rows = np.flatnonzero(records["publisher"] == publisher)
            keep[rows] = self._tracker(publisher).see_all(records["sequence"][rows])
        repeated = int(len(records) - keep.sum())
        if repeated:
            self._main._core.count_duplicates(repeated)
        # Repeats are acknowledged, too: it was the acknowledgement that got lost.
        self._unacknowledged.append(records)
        if self._at_once:
            self.acknowledge()
        return records[keep]

    def _tracker(self, publisher: bytes) -> SequenceTracker:
        if publisher not in self._trackers:
            first = None
            for info in self._main._core.sources():
                if info["name"].encode() == publisher:
                    first = info["next_sequence"] - info["received"] - info["lost"]
            self._trackers[publisher] = SequenceTracker(first)
        return self._trackers[publisher]

    def acknowledge(self) -> None:
        """Acknowledges all that was received so far."""
        for records in self._unacknowledged:
            acks = self._acks.empty(len(records))
            acks["subscriber"] = self.name.encode()
            acks["of"] = records["publisher"]
            acks["acknowledged"] = records["sequence"]
            acks["time"] = np.datetime64(time.time_ns(), "ns")
            self._acks.publish(acks)
        self._unacknowledged.clear()

    @property
    def duplicates(self) -> int:
        """Repeats of messages that had come already."""
        return sum(tracker.duplicates for tracker in self._trackers.values())

    @property
    def missing(self) -> int:
        """Messages that were lost and have not been repeated (yet)."""
        return sum(tracker.missing_count for tracker in self._trackers.values())

    def _next_batch(self, timeout: float | None) -> Records | None:
        batch = self.receive(timeout=timeout)
        return batch if len(batch) else None

    def _put_back(self, batch: Records | None) -> None:
        if batch is not None:
            self._returned.append(batch)

    def close(self) -> None:
        """Acknowledges what was received, and ends it."""
        super().close()
        self.acknowledge()
        self._acks.close()
