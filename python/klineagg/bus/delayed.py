"""Delayed subscribers: batches by size or time, the latest of each key if wanted."""

from __future__ import annotations

from klineagg._options import invalid
from klineagg.bus._checks import count_of, deadline_of, nanoseconds
from klineagg.bus._waiting import STEP_S, Receiver, Records, time_left
from klineagg.bus.subscriber import Subscriber

__all__ = ["DelayedSubscriber"]


class DelayedSubscriber(Receiver):
    """Receives in batches; see :meth:`klineagg.bus.Bus.delayed`."""

    def __init__(
        self,
        subscriber: Subscriber,
        *,
        batch_size: int = 1024,
        interval: float = 0.1,
        conflate: str | None = None,
    ) -> None:
        super().__init__()
        self.subscriber = subscriber
        self._core_number = subscriber._core_number
        if conflate is not None and not isinstance(conflate, str):
            raise invalid("conflate", conflate, "the name of a field, or None")
        count, interval_ns = count_of(batch_size, "batch_size"), nanoseconds(interval, "interval")
        subscriber._core.delay(count, interval_ns, conflate or "")

    def collect(self, timeout: float | None = None) -> Records | None:
        """The next batch that is due; None when there is none within ``timeout`` seconds."""
        self._check_open()
        self._keep_rest()
        if self._returned:
            return self._returned.pop(0)
        deadline = deadline_of(timeout)
        while True:
            self._check_open()  # another thread may close it
            left = time_left(deadline)
            core, dtype = self.subscriber._core, self.subscriber.record.dtype
            batch: Records | None = core.collect(dtype, max(left, 0.0))
            if batch is not None or left < STEP_S:
                return batch

    def _next_batch(self, timeout: float | None) -> Records | None:
        return self.collect(timeout)

    def close(self) -> None:
        """Ends it, and the subscriber that it collects from."""
        super().close()
        self.subscriber.close()

    @property
    def conflated(self) -> int:
        """Records that later ones of the same key have replaced."""
        return self.subscriber._core.conflated()

    def __repr__(self) -> str:
        of, counts = self.subscriber, f"{self.lost:,} lost, {self.conflated:,} conflated"
        return f"<DelayedSubscriber {of.name!r} of {of.topic!r}, {counts}{self._end}>"

    @property
    def lost(self) -> int:
        """See :attr:`Subscriber.lost`."""
        return self.subscriber.lost
