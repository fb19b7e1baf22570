"""Resumable subscribers: where they were, what they missed, and on with the live ring."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from klineagg import _core, errors
from klineagg._options import invalid
from klineagg.bus._checks import check_role, count_of, deadline_of, positions_of
from klineagg.bus._processing import Processing
from klineagg.bus._waiting import Records
from klineagg.bus.checkpoint import Checkpoint
from klineagg.bus.logged import LogHistory
from klineagg.bus.records import RecordType

if TYPE_CHECKING:
    from klineagg.bus.core import Bus, Wait

__all__ = ["Checkpoint", "History", "ResumableSubscriber"]


class History(Protocol):
    """What keeps records before they are published: a log, or whatever can be read like one."""

    def publishers(self) -> list[str]:
        """Names of those whose records it has."""

    def read(self, publisher: str, start: int, end: int | None) -> Iterator[Records]:
        """Records ``start <= sequence < end`` (None: to the end there is now), in order.

        It may begin later than ``start`` when it no longer has the first ones; that is noticed.
        """


class ResumableSubscriber(Processing):
    """Receives everything, from where it was, across restarts and however slow it is.

    It replays the history from its checkpoint, joins what the ring still has without a hole, and
    goes back to the history whenever the ring has overtaken it. A batch counts as processed when
    the next one is asked for (or at :meth:`close`), in a loop over records each when the next one
    is. A block that an exception ends does not count what it had at hand, and so does :meth:`run`
    whose callback raises: that comes again.

    Args:
        bus: the bus.
        topic: the topic.
        name: of the subscriber.
        history: has every record before it is published.
        checkpoint: file to keep the positions in. None: they are kept elsewhere, by ``positions``.
        positions: publisher -> next sequence, out of the caller's own transaction: whoever writes
            his output and :attr:`positions` in one transaction has each message exactly once.
        every: messages between two checkpoints.
        record: as of :meth:`klineagg.bus.Bus.subscriber`.
        wait: likewise.
        core: likewise.

    Raises:
        FileError: ``file_not_found``: the checkpoint's folder is not there; ``file_format``: the
            file is no checkpoint.
        BusError: while receiving: the history no longer has what is needed (``resume_hole``; its
            ``fields`` have the ``first`` and the ``last`` sequence). The next call goes on behind
            the hole. Or the position lies behind all that its publisher has ever sent
            (``resume_ahead``): the topic began anew, or an older state of it was restored. The
            next call goes on with its first message; until one of them was handed out,
            :attr:`positions` and the checkpoint stay as they were.
    """

    def __init__(
        self,
        bus: Bus,
        topic: str,
        name: str = "subscriber",
        *,
        history: History,
        checkpoint: str | os.PathLike[str] | None = None,
        positions: Mapping[str, int] | None = None,
        every: int = 1000,
        record: RecordType | None = None,
        wait: Wait = "park",
        core: int | None = None,
    ) -> None:
        super().__init__()
        check_role(name, core, wait)
        count_of(every, "every")
        if checkpoint is not None and positions is not None:
            text = "checkpoint and positions exclude each other: both say where it goes on"
            raise errors.make("invalid_option", text, option="positions")
        if checkpoint is not None and not os.fspath(checkpoint):
            raise invalid("checkpoint", checkpoint, "the name of a file")  # the core's "none"
        if not callable(getattr(history, "read", None)):
            raise invalid("history", history, "a History, as Bus.history() makes one")
        self.topic, self.name = topic, name
        self.record = bus.record_type(topic, record)
        self._core = _core.BusResumable(
            bus._path,
            bus._group,
            topic,
            self.record.text,
            name,
            wait,
            history._place if type(history) is LogHistory else history,
            None if checkpoint is None else os.fspath(checkpoint),
            positions_of(positions),
            every,
        )
        self._pin(core)

    @property
    def positions(self) -> dict[str, int]:
        """Publisher -> next sequence, behind what was handed out last.

        That is a batch, or in a loop over records one of them.
        """
        self._take_coming()
        positions = self._core.positions()
        if self._batch is not None and self._given < len(self._batch):
            rest = self._batch[self._given]
            positions[rest["publisher"].decode()] = int(rest["sequence"])
        return positions

    @property
    def replayed(self) -> int:
        """Records that came from the history."""
        return self._core.replayed

    @property
    def repeated(self) -> int:
        """Records that were handed out before the last start, too."""
        return self._core.repeated

    def repeats(self, batch: Records) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which records of a batch were handed out before the last start already: bool, ``(n,)``.

        Known with a ``checkpoint`` file only, and after a crash of the process; after a crash of
        the machine a few may not be marked. Batches are marked when they are handed out: after a
        crash within a loop over records, all of its last batch (``every`` records at most) are.
        """
        marks = np.zeros(len(batch), np.bool_)
        for publisher, end in self._core.seen().items():
            own = batch["publisher"] == publisher.encode()
            marks |= own & (batch["sequence"] < end)
        return marks

    def receive(self, *, timeout: float | None = 0.0) -> Records:
        """The next batch, of one publisher; empty after ``timeout`` seconds (None: no limit)."""
        batch = self._next_batch(timeout)
        return np.empty(0, self.record.dtype) if batch is None else batch

    def _next_batch(self, timeout: float | None) -> Records | None:
        deadline_of(timeout)  # NaN would never come
        self._check_open()
        self._keep_rest()
        self._current = None
        self._current = self._core.receive(self.record.dtype, timeout)
        return self._current

    def checkpoint(self) -> None:
        """Saves the positions now: everything that was handed out counts as processed."""
        self._keep_rest()
        self._core.checkpoint()

    def _at_stop(self) -> None:
        if not self._closed:
            self.checkpoint()

    def _put_back(self, batch: Records | None) -> None:
        if batch is not None:
            self._core.put_back(len(batch), True)
        self._current = None

    def _keep_rest(self) -> None:
        self._take_coming()
        batch, self._batch = self._batch, None
        if batch is not None and self._given < len(batch):
            self._core.put_back(len(batch) - self._given, False)

    def close(self) -> None:
        """Ends it, with a checkpoint of everything that was handed out."""
        super().close()
        self._keep_rest()
        self._core.close()

    def __repr__(self) -> str:
        at = ", ".join(f"{name} {next_:,}" for name, next_ in self.positions.items()) or "its start"
        counts = f"{self.replayed:,} replayed, {self.repeated:,} repeated"
        return f"<ResumableSubscriber {self.name!r} of {self.topic!r} at {at}, {counts}{self._end}>"
