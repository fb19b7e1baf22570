"""What all subscribers have in common: loops over batches, with a thread's or asyncio's waiting."""

from __future__ import annotations

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final

import numpy as np

from klineagg import _core, errors
from klineagg.bus._checks import deadline_of
from klineagg.bus._closing import Closing

__all__ = ["STEP_S", "Receiver", "Records", "joined", "time_left"]

Records = np.ndarray[Any, np.dtype[Any]]

#: Who waits looks this often whether it is still wanted, and for Ctrl-C.
STEP_S = 0.1
# So often a loop over records lets other tasks have their turn.
_TURN_RECORDS: Final = 64


def time_left(deadline: float | None) -> float:
    """Seconds until the deadline (None: there is none), a step at most."""
    return STEP_S if deadline is None else min(STEP_S, deadline - time.monotonic())


def joined(parts: list[Records]) -> Records:
    """One array of several; ``np.concatenate`` would drop the padding of the records."""
    out = np.empty(sum(map(len, parts)), parts[0].dtype)
    end = 0
    for part in parts:
        out[end : end + len(part)] = part
        end += len(part)
    return out


class Receiver(Closing, ABC):
    """A source of batches: iterators, callbacks and ``async for`` over them."""

    def __init__(self) -> None:
        self._stopped = False
        self._closed = False
        self._thread: ThreadPoolExecutor | None = None
        # What that thread receives for a task, how many tasks wait for it, and which thread it is.
        self._coming: Future[Records | None] | None = None
        self._tasks_waiting = 0
        self._thread_number = 0
        self._core_number: int | None = None
        # Batches that come before everything else at the next call.
        self._returned: list[Records] = []
        # The batch of a loop over records, and how many of them the loop has handed out.
        self._batch: Records | None = None
        self._given = 0

    def _pin(self, core: int | None) -> None:
        """Keeps the calling thread, and that which waits for asyncio, on one core."""
        if core is not None:
            _core.pin_thread(core)
            self._core_number = core

    def _make_thread(self) -> ThreadPoolExecutor:
        if self._core_number is None:
            return ThreadPoolExecutor(1, thread_name_prefix="kla-bus")
        return ThreadPoolExecutor(
            1,
            thread_name_prefix="kla-bus",
            initializer=_core.pin_thread,
            initargs=(self._core_number,),
        )

    def _check_open(self) -> None:
        # Nobody would wake who waits for more without a limit.
        if self._closed:
            raise errors.make("bus_closed", "something is received after close()")

    @property
    def _end(self) -> str:
        return ", closed" if self._closed else ""

    @abstractmethod
    def _next_batch(self, timeout: float | None) -> Records | None:
        """The next batch, not empty; None when there is none within ``timeout`` seconds."""

    def _ready_batch(self) -> Records | None:
        """The next batch if that does not make anybody wait."""
        return self._next_batch(0.0)

    def stop(self) -> None:
        """Ends all loops over this subscriber, from any thread, after their current batch."""
        self._stopped = True

    def batches(self, *, timeout: float | None = None) -> Iterator[Records]:
        """Structured arrays of what has come, at least one record each.

        Args:
            timeout: ends the loop when nothing came for so many seconds; None: never.
        """
        self._check_open()
        self._stopped = False
        deadline = deadline_of(timeout)
        while not self._stopped:
            left = time_left(deadline)
            try:
                batch = self._next_batch(max(left, 0.0))
            except errors.BusError:
                if self._closed:
                    return  # by another thread, just now
                raise
            if batch is not None:
                yield batch
                deadline = deadline_of(timeout)
            elif deadline is not None and time.monotonic() >= deadline:
                return

    def __iter__(self) -> Iterator[Any]:
        """Record by record; batches are several times faster."""
        for batch in self.batches():
            yield from self._records(batch)

    def _records(self, batch: Records) -> Iterator[Any]:
        # How far it is stands in the subscriber, not in this generator alone: a loop that is left
        # by ``break`` would throw the rest of its batch away.
        self._batch, self._given = batch, 0
        for record in batch:
            if self._batch is not batch:
                return  # the rest went to who asked for it inside the loop
            self._given += 1
            yield record
        if self._batch is batch:
            self._batch = None

    def _keep_rest(self) -> None:
        """What a loop over records has not handed out comes first at the next call."""
        self._take_coming()
        batch, self._batch = self._batch, None
        if batch is not None and self._given < len(batch):
            self._put_back(batch[self._given :])

    def _kept(self) -> list[Records]:
        """What was taken and is not handed out, in order."""
        self._take_coming()
        rest = [] if self._batch is None else [self._batch[self._given :]]
        return [part for part in rest + self._returned if len(part)]

    def run(self, callback: Callable[[Records], object], *, timeout: float | None = None) -> None:
        """Calls ``callback(batch)`` for each batch until :meth:`stop`, or the timeout.

        Args:
            callback: gets a structured array; what it raises ends the loop.
            timeout: see :meth:`batches`.
        """
        calling = False
        try:
            for batch in self.batches(timeout=timeout):
                calling = True
                callback(batch)
                calling = False
        except BaseException:
            if calling:
                self._failed()
            raise

    def _failed(self) -> None:
        """The callback of :meth:`run` has raised."""

    async def next_batch(self, timeout: float | None = None) -> Records | None:
        """The next batch; None when there is none within ``timeout`` seconds (None: no limit).

        Other tasks have their turn in each call. A task that is cancelled in here has taken
        nothing: what came for it is the next batch of whoever asks.
        """
        self._check_open()
        deadline = deadline_of(timeout)
        # Who never waits would stop all other tasks for as long as there is something.
        await asyncio.sleep(0)
        if self._coming is None and (ready := self._ready_batch()) is not None:
            return ready
        while not self._stopped:
            coming = self._coming
            if coming is None:
                coming = self._coming = self._begin_waiting(max(time_left(deadline), 0.0))
            await self._until_done(coming)
            if self._coming is not coming:
                continue  # another task has it, or close(), or a call without asyncio
            self._coming = None
            try:
                batch = coming.result()
            except errors.BusError:
                if self._closed:
                    return None  # by another thread, just now
                raise
            if batch is not None:
                return batch
            if deadline is not None and time.monotonic() >= deadline:
                return None
        return None

    def _begin_waiting(self, timeout: float) -> Future[Records | None]:
        if self._thread is None:
            self._thread = self._make_thread()
        return self._thread.submit(self._receive_for_task, timeout)

    def _receive_for_task(self, timeout: float) -> Records | None:
        self._thread_number = threading.get_ident()
        return self._next_batch(timeout)

    async def _until_done(self, coming: Future[Records | None]) -> None:
        """Waits for what the thread receives, and leaves it where it is."""
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def wake(_: Future[Records | None]) -> None:
            with suppress(RuntimeError):  # the loop has ended, and with it the task
                loop.call_soon_threadsafe(lambda: None if done.done() else done.set_result(None))

        coming.add_done_callback(wake)
        self._tasks_waiting += 1
        try:
            await done
        finally:
            self._tasks_waiting -= 1

    def _take_coming(self, *, at_end: bool = False) -> None:
        """What came for a task that was cancelled is the next batch; waits for it, for a moment.

        ``at_end``: also when a task waits for it still, which gets nothing then.
        """
        coming = self._coming
        if coming is None or threading.get_ident() == self._thread_number:
            return
        if self._tasks_waiting and not at_end:
            return
        self._coming = None
        self._put_back(coming.result())

    def _put_back(self, batch: Records | None) -> None:
        """Makes a batch the next one again."""
        if batch is not None:
            self._returned.insert(0, batch)

    async def batches_async(self) -> AsyncIterator[Records]:
        """As :meth:`batches`, for ``async for``."""
        self._check_open()
        self._stopped = False
        while not self._stopped:
            batch = await self.next_batch()
            if batch is not None:
                yield batch

    async def __aiter__(self) -> AsyncIterator[Any]:
        """Record by record, for ``async for``."""
        async for batch in self.batches_async():
            for number, record in enumerate(self._records(batch), 1):
                yield record
                if number % _TURN_RECORDS == 0:
                    await asyncio.sleep(0)

    def close(self) -> None:
        """Ends all loops and the waiting thread."""
        self.stop()
        self._closed = True
        if self._thread is not None:
            self._thread.shutdown(wait=True)
            self._thread = None
        with suppress(errors.KlineaggError):  # of receiving, which nobody wants any more
            self._take_coming(at_end=True)

    def _leave(self, error: BaseException | None) -> None:
        self.close()
