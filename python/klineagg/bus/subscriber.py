"""Real-time subscribers: all publishers of a topic, merged."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np

from klineagg import _core, errors
from klineagg.bus._checks import count_of, deadline_of, positions_of
from klineagg.bus._closing import Closing
from klineagg.bus._waiting import STEP_S, Receiver, Records, time_left
from klineagg.bus.records import RecordType

__all__ = ["Peek", "Subscriber"]

_BATCH_MAX = 65_536


class Subscriber(Receiver):
    """Receives a topic as it happens; see :meth:`klineagg.bus.Bus.subscriber`.

    Each publisher's records come in its order. Who is slower than the ring loses the oldest ones
    and sees in :attr:`lost` exactly how many.
    """

    def __init__(
        self,
        place: tuple[str, int],
        topic: str,
        name: str,
        record: RecordType,
        *,
        wait: str = "park",
        start: str = "latest",
        positions: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        self.topic = topic
        self.name = name
        self.record = record
        self._last_peek: weakref.ref[Peek] | None = None
        self._core = _core.BusSubscriber(
            place[0], place[1], topic, record.text, name, wait, start, positions_of(positions)
        )

    def receive(self, count_max: int = _BATCH_MAX, *, timeout: float | None = 0.0) -> Records:
        """What has come: copied once, whole records only.

        Args:
            count_max: records at most.
            timeout: seconds to wait for the first one; 0: none, None: no limit.

        Returns:
            A structured array of the topic's dtype, shape ``(n,)``; empty after the timeout.
        """
        self._check_open()
        if type(count_max) is not int or count_max < 1:
            count_max = count_of(count_max, "count_max")
        self._keep_rest()
        if self._returned:
            return self._from_returned(count_max)
        deadline = deadline_of(timeout)
        while True:
            self._check_open()  # another thread may close it
            records: Records = self._core.receive(self.record.dtype, count_max)
            if len(records) or timeout == 0.0:
                return records
            left = time_left(deadline)
            if left <= 0:
                return records
            # It may have been only lost records that there were to receive: then on with waiting.
            self._core.wait(left)

    def _from_returned(self, count_max: int) -> Records:
        batch = self._returned.pop(0)
        if len(batch) > count_max:
            self._returned.insert(0, batch[count_max:])
        return batch[:count_max]

    def wait(self, timeout: float | None = None) -> bool:
        """Waits without the GIL until there is something to receive; False after the timeout."""
        deadline = deadline_of(timeout)
        while True:
            self._check_open()
            left = time_left(deadline)
            if self._kept() or self._core.wait(max(left, 0.0)):
                return True
            if left < STEP_S:
                return False

    def _next_batch(self, timeout: float | None) -> Records | None:
        batch = self.receive(timeout=timeout)
        return batch if len(batch) else None

    def peek(self, count_max: int = _BATCH_MAX) -> Peek:
        """Records where they lie in the ring, nothing copied; see :class:`Peek`.

        Raises:
            BusError: ``loan_outstanding``: the last peek is not released, so that this one would
                show the same records.
        """
        self._check_open()
        last = None if self._last_peek is None else self._last_peek()
        if last is not None and last.valid is None and len(last):
            text = f"a peek at {len(last)} records of {self.topic} is not released"
            raise errors.make("loan_outstanding", text, count=len(last))
        peek = Peek(self, count_of(count_max, "count_max", 0))
        self._last_peek = weakref.ref(peek)
        return peek

    @property
    def received(self) -> int:
        """Records received so far."""
        return self._core.received - sum(map(len, self._kept()))

    @property
    def lost(self) -> int:
        """Records that were overwritten before they were received."""
        return self._core.lost

    @property
    def behind(self) -> int:
        """Records that are published and not yet received."""
        return self._core.behind + sum(map(len, self._kept()))

    @property
    def positions(self) -> dict[str, int]:
        """Publisher -> the next sequence to be received."""
        positions = self._core.positions()
        for batch in reversed(self._kept()):
            names, first = np.unique(batch["publisher"], return_index=True)
            sequences = batch["sequence"][first].tolist()
            positions |= {n.decode(): s for n, s in zip(names.tolist(), sequences, strict=True)}
        return positions

    def close(self) -> None:
        """Ends all loops; other processes do not see it any more. Its counts stay."""
        super().close()
        self._core.close()

    def publishers(self) -> list[dict[str, Any]]:
        """The publishers: name, generation, pid, alive, heartbeat_ns, behind, received, lost."""
        self._core.refresh()
        return self._core.sources()

    def __repr__(self) -> str:
        counts = f"{self.received:,} received, {self.lost:,} lost, {self.behind:,} behind"
        return f"<Subscriber {self.name!r} of {self.topic!r}, {counts}{self._end}>"


class Peek(Closing):
    """Records lent by a ring: read them, then ask whether they were still there.

    The publisher does not wait for anybody. After working with the arrays, leave the context (or
    call :meth:`release`) and use what was computed only if :attr:`valid` is true. One at a time: a
    peek that is dropped without release has moved nothing, its records come again. So do those that
    a :meth:`Subscriber.receive` before the release has left of them.

    Attributes:
        arrays: read-only structured arrays over the ring: none, one, or two.
        valid: after the release, whether nothing was overwritten before it.
    """

    def __init__(self, subscriber: Subscriber, count_max: int) -> None:
        self._subscriber = subscriber
        self.arrays: list[Records]
        self.valid: bool | None = None
        self._peek: _core.BusPeek | None = None
        self._part: Records | None = None
        subscriber._keep_rest()
        if subscriber._returned:
            # They have left the ring already; what lies there comes behind them.
            self._part = subscriber._returned[0]
            self.arrays = [self._part[:count_max]]
            self.arrays[0].flags.writeable = False
            return
        self._peek, self.arrays = subscriber._core.peek(subscriber.record.dtype, count_max)

    def __len__(self) -> int:
        return sum(len(array) for array in self.arrays)

    def still_valid(self) -> bool:
        """Whether none of the records has been overwritten so far."""
        return self._peek is None or self._subscriber._core.still_valid(self._peek)

    def release(self) -> bool:
        """Goes past the records: they count as received, or as lost when they were overwritten."""
        if self.valid is None:
            if self._peek is None:
                returned = self._subscriber._returned
                if returned and returned[0] is self._part:  # else received meanwhile
                    self._subscriber._from_returned(len(self))
                self.valid = True
            else:
                self.valid = self._subscriber._core.release_peek(self._peek)
        return self.valid

    def _leave(self, error: BaseException | None) -> None:
        self.release()

    def __repr__(self) -> str:
        states = {None: "not released yet", True: "valid", False: "overwritten"}
        return (
            f"<Peek at {len(self):,} records of {self._subscriber.topic!r}, {states[self.valid]}>"
        )
