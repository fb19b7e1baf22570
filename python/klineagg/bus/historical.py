"""Historical subscribers: what several publishers have sent, merged by time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from klineagg.bus._waiting import Receiver, Records, joined

__all__ = ["HistoricalSubscriber", "merged"]


class HistoricalSubscriber(Receiver):
    """What was published, to its end; see :meth:`klineagg.bus.LogHistory.subscriber`.

    Loops, callbacks (:meth:`run`) and ``async for`` as with live subscribers, but they end where
    the logs end. A loop that was left goes on where it was.
    """

    def __init__(self, topic: str, batches: Iterator[Records]) -> None:
        super().__init__()
        self.topic = topic
        self._source = batches
        self._taken = 0

    def receive(self) -> Records | None:
        """The next batch, in the order of publish times; None at the end."""
        self._check_open()
        self._keep_rest()
        if self._returned:
            return self._returned.pop(0)
        batch = next(self._source, None)
        self._taken += 0 if batch is None else len(batch)
        return batch

    @property
    def received(self) -> int:
        """Records handed out so far."""
        return self._taken - sum(map(len, self._kept()))

    def _next_batch(self, timeout: float | None) -> Records | None:
        batch = self.receive()
        if batch is None:
            self._stopped = True  # more never comes
        return batch

    def _ready_batch(self) -> Records | None:
        # Reading from the disk is for the thread.
        return self.receive() if self._batch is not None or self._returned else None

    def __repr__(self) -> str:
        return f"<HistoricalSubscriber of {self.topic!r}, {self.received:,} received{self._end}>"


class _Line:
    """One publisher's records, those at hand with the keys that they are merged by."""

    def __init__(self, batches: Iterator[Records]) -> None:
        self._batches = batches
        self.records: Records | None = None
        self._keys = np.empty(0, np.int64)
        self._last = np.iinfo(np.int64).min

    def fill(self) -> bool:
        """False at the end."""
        if self.records is None or len(self.records) == 0:
            self.records = next(self._batches, None)
            if self.records is not None:
                times = self.records["publish_time"].astype(np.int64)
                # A clock that was set back must not turn the publisher's own order around.
                self._keys = np.maximum(np.maximum.accumulate(times), self._last)
                self._last = self._keys[-1]
        return self.records is not None

    @property
    def last(self) -> int:
        return int(self._keys[-1])

    def take(self, bound: int) -> tuple[Records, np.ndarray[Any, np.dtype[np.int64]]]:
        """The records whose key is no later."""
        assert self.records is not None
        end = int(np.searchsorted(self._keys, bound, side="right"))
        part = self.records[:end], self._keys[:end]
        self.records, self._keys = self.records[end:], self._keys[end:]
        return part


def merged(sources: Mapping[str, Iterator[Records]]) -> Iterator[Records]:
    """Batches of several publishers as one, by publish time, each publisher's in its own order."""
    lines = [_Line(batches) for batches in sources.values()]
    while lines := [line for line in lines if line.fill()]:
        # Up to here nothing of anybody is still to be read.
        bound = min(line.last for line in lines)
        parts = [line.take(bound) for line in lines]
        records = joined([records for records, _ in parts])
        order = np.argsort(np.concatenate([keys for _, keys in parts]), kind="stable")
        yield records[order]
