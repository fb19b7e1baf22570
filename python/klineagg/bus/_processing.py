"""Subscribers for whom a batch counts when it was processed, and not when it was received."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from klineagg.bus._waiting import Receiver, Records

__all__ = ["Processing"]


class Processing(Receiver):
    """A batch is processed when the next one is asked for, and not when its block fails."""

    def __init__(self) -> None:
        super().__init__()
        #: What was handed out last, and is not known to be processed.
        self._current: Records | None = None

    def batches(self, *, timeout: float | None = None) -> Iterator[Records]:
        """As :meth:`Receiver.batches`; all it gave is processed when :meth:`stop` ends it."""
        yield from super().batches(timeout=timeout)
        if self._stopped:
            self._at_stop()

    async def batches_async(self) -> AsyncIterator[Records]:
        """As :meth:`batches`, for ``async for``."""
        async for batch in super().batches_async():
            yield batch
        if self._stopped:
            self._at_stop()

    def _at_stop(self) -> None:
        """A loop was ended by :meth:`stop`, behind its last batch."""

    def _failed(self) -> None:
        """What was handed out last is not finished: it comes again, here or after a restart."""
        self._take_coming(at_end=True)  # with it, what was at hand before counts as processed
        batch = self._current
        if batch is not None and self._batch is batch:
            self._keep_rest()
            batch = batch[max(self._given - 1, 0) : self._given]
        self._put_back(batch)

    def _put_back(self, batch: Records | None) -> None:
        super()._put_back(batch)
        self._current = None

    def _leave(self, error: BaseException | None) -> None:
        if error is not None:
            self._failed()
        self.close()
