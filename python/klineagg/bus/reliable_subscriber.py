"""Reliable receiving: each message once, acknowledged to who sent it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np

from klineagg import _core, errors
from klineagg.bus._checks import check_role, deadline_of, positions_of
from klineagg.bus._processing import Processing
from klineagg.bus._waiting import Records, joined, time_left
from klineagg.bus.records import RecordType

if TYPE_CHECKING:
    from klineagg.bus.core import Bus

__all__ = ["ReliableSubscriber"]

_BATCH_MAX = 1024


class ReliableSubscriber(Processing):
    """A subscriber that acknowledges: each message once, repeats recognised.

    Messages that were lost at first come late, and so out of order: look at ``sequence``.

    Args:
        bus: the bus.
        topic: the topic.
        name: by which publishers know it; one of a name lives at a time.
        acknowledge: ``"received"``: at once; ``"processed"``: when the next batch is asked for
            (or at :meth:`acknowledge` and :meth:`close`), so that a crash in between has it sent
            again. So has a block that an exception ends, for what it had at hand, in a loop over
            records from that record on; :meth:`run` whose callback raises gets it again.
        drop: injects faults, for tests: ``drop(sequence)`` true loses a message, or its repeat.
        record: as of :meth:`klineagg.bus.Bus.subscriber`, and likewise those that follow.
        wait: likewise.
        start: likewise.
        positions: likewise.
        core: likewise.
    """

    def __init__(
        self,
        bus: Bus,
        topic: str,
        name: str = "subscriber",
        *,
        acknowledge: Literal["received", "processed"] = "received",
        drop: Callable[[int], bool] | None = None,
        record: RecordType | None = None,
        wait: Literal["spin", "backoff", "park"] = "park",
        start: Literal["latest", "oldest"] = "latest",
        positions: Mapping[str, int] | None = None,
        core: int | None = None,
    ) -> None:
        super().__init__()
        if acknowledge not in ("received", "processed"):
            text = f"acknowledge={acknowledge!r}: 'received' or 'processed' is allowed"
            raise errors.make("invalid_option", text, option="acknowledge")
        check_role(name, core, wait)
        self.topic = topic
        self.name = name
        self._at_once = acknowledge == "received"
        self._pin(core)
        self.record = bus.record_type(topic, record)
        self._core = _core.BusReliableSubscriber(
            bus.path, bus._group, topic, self.record.text, name, wait, start,
            positions_of(positions), self._at_once, drop,
        )  # fmt: skip

    def receive(self, *, timeout: float | None = 0.0) -> Records:
        """New messages, each once; empty after ``timeout`` seconds (None: no limit)."""
        self._check_open()
        self._keep_rest()
        if self._returned:
            self._current = self._returned.pop(0)
            return self._current
        # Nothing is kept: asking for more acknowledges all that there was.
        deadline = deadline_of(timeout)
        while True:
            self._check_open()  # another thread may close it
            new: Records = self._core.receive(self.record.dtype, _BATCH_MAX)
            left = time_left(deadline)
            if len(new) or left <= 0:
                self._current = new if len(new) else None
                return new
            self._core.wait(left)

    def acknowledge(self) -> None:
        """Acknowledges all that was handed out so far."""
        self._core.acknowledge(self._not_done())

    def _not_done(self) -> Records:
        kept = self._kept()
        return joined(kept) if kept else np.empty(0, self.record.dtype)

    def _failed(self) -> None:
        if not self._at_once:  # else its sender knows already that it has arrived
            super()._failed()

    @property
    def duplicates(self) -> int:
        """Repeats of messages that had come already."""
        return self._core.duplicates

    @property
    def missing(self) -> int:
        """Messages that were lost and have not been repeated (yet)."""
        return self._core.missing

    def __repr__(self) -> str:
        counts = f"{self.duplicates:,} duplicates, {self.missing:,} missing"
        return f"<ReliableSubscriber {self.name!r} of {self.topic!r}, {counts}{self._end}>"

    def _next_batch(self, timeout: float | None) -> Records | None:
        batch = self.receive(timeout=timeout)
        return batch if len(batch) else None

    def close(self) -> None:
        """Acknowledges what was handed out, and ends it."""
        super().close()
        self._core.close(self._not_done())
