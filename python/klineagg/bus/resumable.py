"""Resumable subscribers: where they were, what they missed, and on with the live ring."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from klineagg import errors
from klineagg._options import invalid
from klineagg.bus._checks import count_of, deadline_of, positions_of
from klineagg.bus._processing import Processing
from klineagg.bus._waiting import Records
from klineagg.bus.checkpoint import Checkpoint

if TYPE_CHECKING:
    from klineagg.bus.core import Bus

__all__ = ["Checkpoint", "History", "ResumableSubscriber"]


class History(Protocol):
    """What keeps records before they are published: a log, or whatever can be read like one."""

    def publishers(self) -> list[str]:
        """Names of those whose records it has."""

    def read(self, publisher: str, start: int, end: int | None) -> Iterator[Records]:
        """Records ``start <= sequence < end`` (None: to the end there is now), in order.

        It may begin later than ``start`` when it no longer has the first ones; that is noticed.
        """


_Part = Records | errors.KlineaggError


def _publisher(batch: Records) -> str:
    name: bytes = batch["publisher"][-1]
    return name.decode()


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
        options: those of :meth:`klineagg.bus.Bus.subscriber`; ``start`` is ``"oldest"`` here.

    Raises:
        BusError: while receiving: the history no longer has what is needed (``resume_hole``). The
            next call goes on behind the hole. Or the position lies behind all that its publisher
            has ever sent (``resume_ahead``): the topic began anew, or an older state of it was
            restored. The next call goes on with its first message; until one of them was handed
            out, :attr:`positions` and the checkpoint stay as they were.
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
        **options: Any,
    ) -> None:
        super().__init__()
        count_of(every, "every")
        if checkpoint is not None and positions is not None:
            text = "checkpoint and positions exclude each other: both say where it goes on"
            raise errors.make("invalid_option", text, option="positions")
        if not callable(getattr(history, "read", None)):
            raise invalid("history", history, "a History, as Bus.history() makes one")
        self._history = history
        self._checkpoint = None if checkpoint is None else Checkpoint(checkpoint)
        self._every = every
        saved = {} if self._checkpoint is None else self._checkpoint.load()
        self._seen = {} if self._checkpoint is None else self._checkpoint.load_seen()
        self._next = saved | positions_of(positions)
        self._handed_out = dict(self._next)
        # Of these nobody has shown yet that their publisher has ever come so far.
        self._unproven = {publisher for publisher, next_ in self._next.items() if next_ > 1}
        self._uncheckpointed = 0
        # The live ring first: what is published from now on is in it, or later in the history.
        self._live = bus.subscriber(topic, name, **{"start": "oldest", **options})
        self._core_number = self._live._core_number
        self.record = self._live.record
        self._parts = self._catch_up()
        #: Records that came from the history.
        self.replayed = 0
        #: Records that were handed out before the last start, too.
        self.repeated = 0

    @property
    def positions(self) -> dict[str, int]:
        """Publisher -> next sequence, behind what was handed out last.

        That is a batch, or in a loop over records one of them.
        """
        positions = dict(self._handed_out)
        if self._batch is not None and self._given < len(self._batch):
            rest = self._batch[self._given :]
            positions[_publisher(rest)] = int(rest["sequence"][0])
        return positions

    def repeats(self, batch: Records) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which records of a batch were handed out before the last start already: bool, ``(n,)``.

        Known with a ``checkpoint`` file only, and after a crash of the process; after a crash of
        the machine a few may not be marked. Batches are marked when they are handed out: after a
        crash within a loop over records, all of its last batch (``every`` records at most) are.
        """
        marks = np.zeros(len(batch), np.bool_)
        for publisher, end in self._seen.items():
            own = batch["publisher"] == publisher.encode()
            marks |= own & (batch["sequence"] < end)
        return marks

    def receive(self, *, timeout: float | None = 0.0) -> Records:
        """The next batch, of one publisher; empty after ``timeout`` seconds (None: no limit)."""
        self._check_open()
        self._keep_rest()
        self._processed()
        if self._returned:
            return self._hand_out(self._returned.pop(0))
        deadline = deadline_of(timeout)
        while True:
            part = next(self._parts, None)
            if isinstance(part, Exception):
                raise part
            if part is not None:
                return self._hand_out(part)
            left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            live = self._live.receive(timeout=left)
            if len(live) == 0:
                return live
            self._parts = self._filled(live)  # all of it may have come out of the history

    def _hand_out(self, batch: Records) -> Records:
        self._handed_out[_publisher(batch)] = int(batch["sequence"][-1]) + 1
        self._current = batch
        if self._checkpoint is not None:
            self.repeated += int(self.repeats(batch).sum())
            self._checkpoint.save_seen(self._handed_out)
        return batch

    def _processed(self) -> None:
        self._uncheckpointed += 0 if self._current is None else len(self._current)
        self._current = None
        if self._uncheckpointed >= self._every:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Saves the positions now: everything that was handed out counts as processed."""
        if self._checkpoint is not None:
            self._checkpoint.save(self.positions)
        self._uncheckpointed = 0

    # What these hand on is received, or raised; then they go on behind it.

    def _catch_up(self) -> Iterator[_Part]:
        logged = self._history.publishers()
        for publisher in dict.fromkeys([*logged, *self._ring_ends()]):
            yield from self._proven(publisher)
            if publisher in logged:
                yield from self._replay(publisher, self._next.get(publisher, 1), None)

    def _ring_ends(self) -> dict[str, int]:
        rings = self._live.publishers()
        return {each["name"]: each["next_sequence"] + each["behind"] for each in rings}

    def _proven(self, publisher: str) -> Iterator[_Part]:
        """An error when its publisher has never come to the position that it is to go on at."""
        if publisher not in self._unproven:
            return
        self._unproven.remove(publisher)
        position = self._next[publisher]
        if self._ring_ends().get(publisher, 1) >= position or any(
            int(batch["sequence"][-1]) >= position - 1
            for batch in self._history.read(publisher, position - 1, None)
        ):
            return
        yield errors.make(
            "resume_ahead",
            f"to go on at message {position} of {publisher}, to which neither the ring nor the "
            "history has come: the topic began anew, or an older state of it was restored",
            hint="receive again: from its first message on; or restore what was lost",
            publisher=publisher,
            position=position,
        )
        self._next[publisher] = 1
        self._seen.pop(publisher, None)

    def _replay(self, publisher: str, start: int, end: int | None) -> Iterator[_Part]:
        for batch in self._history.read(publisher, start, end):
            yield from self._in_order(publisher, batch, replayed=True)

    def _filled(self, records: Records) -> Iterator[_Part]:
        """Live records, cut by publisher, with what is missing before them out of the history."""
        for name in dict.fromkeys(records["publisher"].tolist()):
            publisher = name.decode()
            own = records[records["publisher"] == name]
            yield from self._proven(publisher)
            breaks = np.flatnonzero(np.diff(own["sequence"].astype(np.int64)) != 1) + 1
            for run in np.split(own, breaks):
                first = int(run["sequence"][0])
                expected = self._next.get(publisher, 1)
                if first > expected:
                    yield from self._replay(publisher, expected, first)
                yield from self._in_order(publisher, run, replayed=False)

    def _in_order(self, publisher: str, run: Records, *, replayed: bool) -> Iterator[_Part]:
        expected = self._next.get(publisher, 1)
        new = run[run["sequence"] >= expected]
        if len(new) == 0:
            return
        first = int(new["sequence"][0])
        self._next[publisher] = int(new["sequence"][-1]) + 1
        if first > expected:
            yield errors.make(
                "resume_hole",
                f"messages {expected} to {first - 1} of {publisher} are neither in the ring nor "
                "in the history",
                publisher=publisher,
                first=expected,
                last=first - 1,
            )
        if replayed:
            self.replayed += len(new)
        # A log gives thousands at once: who dies among them would begin before all of them.
        while len(new):
            to_checkpoint = self._every - self._uncheckpointed
            part, new = new[:to_checkpoint], new[to_checkpoint:]
            yield part

    def __repr__(self) -> str:
        at = ", ".join(f"{name} {next_:,}" for name, next_ in self.positions.items()) or "its start"
        counts = f"{self.replayed:,} replayed, {self.repeated:,} repeated"
        live = self._live
        return f"<ResumableSubscriber {live.name!r} of {live.topic!r} at {at}, {counts}{self._end}>"

    def _at_stop(self) -> None:
        if not self._closed:
            self._processed()
            self.checkpoint()

    def _next_batch(self, timeout: float | None) -> Records | None:
        batch = self.receive(timeout=timeout)
        return batch if len(batch) else None

    def _put_back(self, batch: Records | None) -> None:
        if batch is None or len(batch) == 0:
            return
        current = self._current
        super()._put_back(batch)
        # Positions behind it would lose it across a restart.
        self._handed_out[_publisher(batch)] = int(batch["sequence"][0])
        if current is not None:
            self._uncheckpointed += len(current) - len(batch)
        if self._checkpoint is not None:
            self.repeated -= int(self.repeats(batch).sum())

    def _keep_rest(self) -> None:
        if self._batch is None:
            return
        super()._keep_rest()
        if self._checkpoint is not None:
            # The marks of the whole batch would make repeats of what nobody has seen.
            self._checkpoint.save_seen(self._handed_out)

    def close(self) -> None:
        """Ends it, with a checkpoint of everything that was handed out."""
        super().close()
        self._keep_rest()
        self._processed()
        self.checkpoint()
        if self._checkpoint is not None:
            self._checkpoint.close()
        self._live.close()
