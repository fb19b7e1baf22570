"""Reliable publishing: acknowledged, repeated, or reported as failed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from klineagg import _core, errors
from klineagg._options import choice, invalid, is_integer
from klineagg.bus._checks import (
    SYNC_MODES,
    check_publisher,
    check_role,
    count_of,
    deadline_of,
    nanoseconds,
)
from klineagg.bus._closing import Closing
from klineagg.bus.logged import check_first
from klineagg.bus.publisher import converted
from klineagg.bus.records import RecordType

if TYPE_CHECKING:
    from klineagg.bus.core import Bus

__all__ = ["ReliablePublisher"]

Required = int | Literal["all"] | Collection[str]

_STEP_S = 0.1
# So many reliable subscribers a topic can have.
_ACKS_MAX: Final = 1000


def _names(acks: Any) -> set[str]:
    """The subscribers that ``acks`` names; empty when it is a number or ``"all"``."""
    if acks == "all" or (is_integer(acks) and 1 <= acks <= _ACKS_MAX):
        return set()
    # A name that is no list is no number of subscribers either: it would mean any one of them.
    if isinstance(acks, Collection) and not isinstance(acks, (str, bytes, Mapping)) and acks:
        names = set(acks)
        if all(isinstance(name, str) and name for name in names):
            for name in names:
                _core.bus_check_name(name)
            return names
    text = f"acks={acks!r}: an integer from 1 to {_ACKS_MAX}, 'all', or a list of names is allowed"
    raise errors.make("invalid_option", text, hint="one name is ['name']", option="acks")


class ReliablePublisher(Closing):
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
        core: the thread that takes acknowledgements and repeats stays on this core.
        record: as of :meth:`klineagg.bus.Bus.publisher`, and likewise those that follow.
        ring_bytes: likewise.
        first_sequence: likewise.
        orphan_after: likewise.
        publishers_max: likewise.
        wal: likewise.
        sync: likewise.
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
        core: int | None = None,
        record: RecordType | None = None,
        ring_bytes: int | None = None,
        first_sequence: int = 1,
        orphan_after: float = 60.0,
        publishers_max: int = 10,
        wal: str | os.PathLike[str] | None = None,
        sync: Literal["none", "interval", "always"] = "interval",
    ) -> None:
        names = _names(acks)
        check_role(name, core)
        check_publisher(ring_bytes, first_sequence, publishers_max)
        if not nanoseconds(timeout, "timeout"):
            raise invalid("timeout", timeout, "a number of seconds above 0")
        count_of(retries, "retries", 0)
        count_of(pending_max, "pending_max")
        choice(sync, "sync", SYNC_MODES)
        if wal is not None:
            check_first(first_sequence)
        self.topic = topic
        self.name = name
        self.record = bus.record_type(topic, record)
        self._core = _core.BusReliablePublisher(
            bus.path,
            bus._group,
            topic,
            name,
            self.record.text,
            names=names,
            all=acks == "all",
            acks=acks if isinstance(acks, int) else 1,
            timeout_ns=nanoseconds(timeout, "timeout"),
            retries=retries,
            pending_max=pending_max,
            core=core,
            ring_bytes=ring_bytes or 0,
            first_sequence=first_sequence,
            orphan_after_ns=nanoseconds(orphan_after, "orphan_after"),
            publishers_max=publishers_max,
            wal="" if wal is None else os.fspath(wal),
            sync=sync,
        )
        self._futures: dict[int, Future[int]] = {}
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._settle, name="kla-outcomes", daemon=True)
        self._thread.start()

    @property
    def pending(self) -> int:
        """Messages that are neither acknowledged nor failed yet."""
        return self._core.pending

    @property
    def delivered(self) -> int:
        """Messages that were acknowledged by all who must."""
        return self._core.delivered

    @property
    def failed(self) -> int:
        """Messages that were not, after all retries."""
        return self._core.failed

    @property
    def repeated(self) -> int:
        """How often a message was sent again."""
        return self._core.repeated

    def send(self, record: Any) -> Future[int]:
        """Publishes one record.

        Returns:
            A future of its sequence: done when it is acknowledged; raises ``DeliveryError`` when
            it is not after all retries. ``asyncio.wrap_future`` makes it awaitable.
        """
        return self._send(record)[1]

    def _send(self, record: Any) -> tuple[int, Future[int]]:
        own = np.ascontiguousarray(converted(record, self.record))
        if own.size != 1:
            raise errors.make("invalid_option", f"one record at a time, not {own.size}")
        future: Future[int] = Future()
        # Its outcome may come at once: it is looked for when the future is known.
        with self._lock:
            sequence = self._core.send(own)
            self._futures[sequence] = future
        return sequence, future

    def publish(self, record: Any, *, timeout: float | None = None) -> int:
        """Publishes one record and waits until it is acknowledged; its sequence.

        Args:
            record: one record of the topic.
            timeout: seconds to wait here at most; None: until its outcome is known.

        Raises:
            OptionError: in a callback of :meth:`publish_callback`, whose thread it would wait for.
            DeliveryError: it was not acknowledged after all retries.
            DeliveryTimeoutError: the timeout was over first; the message is still on its way.
        """
        deadline_of(timeout)  # refused before anything is sent
        if threading.current_thread() is self._thread:
            text = "publish() in a callback of publish_callback() would wait for itself"
            hint = "use send() or publish_callback() there"
            raise errors.make("invalid_option", text, hint=hint)
        sequence, future = self._send(record)
        try:
            return future.result(timeout)
        except FutureTimeoutError as error:
            if future.done():  # what became of it, just now
                return future.result()
            text = f"the outcome of message {sequence} is not known after {timeout} s"
            raise errors.make("delivery_timeout", text, sequence=sequence) from error

    async def publish_async(self, record: Any) -> int:
        """As :meth:`publish`, awaitable."""
        import asyncio

        return await asyncio.wrap_future(self.send(record))

    def publish_callback(
        self, record: Any, callback: Callable[[int, BaseException | None], object]
    ) -> int:
        """Publishes one record; later ``callback(sequence, None or the error)``; its sequence.

        All callbacks run in one thread: each should be short, and may send, but not wait.
        """
        sequence, future = self._send(record)
        future.add_done_callback(lambda done: callback(sequence, done.exception()))
        return sequence

    def _settle(self) -> None:
        while (outcomes := self._core.outcomes(_STEP_S)) is not None:
            with self._lock:
                found = [(self._futures.pop(outcome[0]), outcome) for outcome in outcomes]
            # Callbacks may send: they run without the lock.
            for future, (sequence, delivered, missing, acknowledged, text) in found:
                if not future.set_running_or_notify_cancel():
                    continue  # nobody wants to know any more
                if delivered:
                    future.set_result(sequence)
                    continue
                error = errors.make(
                    "delivery_failed",
                    text,
                    sequence=sequence,
                    missing=sorted(missing),
                    acknowledged=sorted(acknowledged),
                )
                future.set_exception(error)

    def flush(self, timeout: float | None = None) -> bool:
        """Waits until nothing is pending; False after ``timeout`` seconds."""
        deadline = deadline_of(timeout)
        while True:  # in steps, so that Ctrl-C ends it
            left = _STEP_S if deadline is None else min(deadline - time.monotonic(), _STEP_S)
            if self._core.flush(max(left, 0.0)):
                return True
            if deadline is not None and time.monotonic() >= deadline:
                return False

    def __repr__(self) -> str:
        try:
            counts = (
                f"{self.delivered:,} delivered, {self.failed:,} failed, {self.pending:,} pending"
            )
        except errors.EngineError:  # in a forked child, where it is not to be asked
            return f"<ReliablePublisher {self.name!r} of {self.topic!r}, forked>"
        state = "" if self._thread.is_alive() else ", closed"
        return f"<ReliablePublisher {self.name!r} of {self.topic!r}, {counts}{state}>"

    def close(self) -> None:
        """Ends it at once: what is still pending fails."""
        self._core.close()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _leave(self, error: BaseException | None) -> None:
        if error is None:
            self.flush()
        self.close()
