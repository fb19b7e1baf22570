"""Resumable subscribers: where they were, what they missed, and on with the live ring."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from klineagg import errors
from klineagg.bus._waiting import Receiver, Records

if TYPE_CHECKING:
    from klineagg.bus.core import Bus

__all__ = ["Checkpoint", "History", "ResumableSubscriber"]

_SEEN_BYTES = 4096


class History(Protocol):
    """What keeps records before they are published: a log, or whatever can be read like one."""

    def publishers(self) -> list[str]:
        """Names of those whose records it has."""

    def read(self, publisher: str, start: int, end: int | None) -> Iterator[Records]:
        """Records ``start <= sequence < end`` (None: to the end there is now), in order.

        It may begin later than ``start`` when it no longer has the first ones; that is noticed.
        """


class Checkpoint:
    """Positions in a file, replaced as a whole: a crash leaves the old ones or the new ones.

    Args:
        path: the file; beside it, ``<path>.seen`` has what was handed out since, for the marks.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._seen_path = Path(f"{self._path}.seen")
        self._seen_file: int | None = None

    def load(self) -> dict[str, int]:
        """Publisher -> next sequence; empty when there is no file yet."""
        try:
            text = self._path.read_text(encoding="ascii")
        except FileNotFoundError:
            return {}
        try:
            return {str(name): int(next_) for name, next_ in json.loads(text).items()}
        except (ValueError, AttributeError) as error:
            raise errors.make(
                "file_format", f"{self._path} is no checkpoint", path=str(self._path)
            ) from error

    def save(self, positions: Mapping[str, int]) -> None:
        """On the disk when it returns."""
        draft = Path(f"{self._path}.new")
        with draft.open("w", encoding="ascii") as file:
            json.dump(dict(positions), file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def load_seen(self) -> dict[str, int]:
        """What was handed out at last, saved or not: what lies below may have had its effect."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            text = self._seen_path.read_text(encoding="ascii").rstrip()
            return {str(name): int(next_) for name, next_ in json.loads(text).items()}
        return {}

    def save_seen(self, positions: Mapping[str, int]) -> None:
        """Survives the death of the process, not that of the machine: nothing is synced."""
        text = json.dumps(dict(positions)).encode("ascii")
        if len(text) > _SEEN_BYTES:
            return
        if self._seen_file is None:
            self._seen_file = os.open(self._seen_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # One page in one call: it is there as a whole or not at all.
        os.pwrite(self._seen_file, text.ljust(_SEEN_BYTES), 0)

    def close(self) -> None:
        """Closes the file of marks."""
        if self._seen_file is not None:
            os.close(self._seen_file)
            self._seen_file = None


class ResumableSubscriber(Receiver):
    """Receives everything, from where it was, across restarts and however slow it is.

    It replays the history from its checkpoint, joins the live ring without a hole, and goes back
    to the history whenever the ring has overtaken it. A batch counts as processed when the next
    one is asked for (or at :meth:`close`).

    Args:
        bus: the bus.
        topic: the topic.
        name: of the subscriber.
        history: has every record before it is published.
        checkpoint: file to keep the positions in. None: they are kept elsewhere, by ``positions``.
        positions: publisher -> next sequence, out of the caller's own transaction: whoever writes
            his output and :attr:`positions` in one transaction has each message exactly once.
        every: messages between two checkpoints.
        options: those of :meth:`klineagg.bus.Bus.subscriber`.

    Raises:
        BusError: while receiving: the history no longer has what is needed (``resume_hole``). The
            next call goes on behind the hole.
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
        if every < 1:
            raise errors.make("invalid_option", "every has to be at least 1", option="every")
        self._history = history
        self._checkpoint = None if checkpoint is None else Checkpoint(checkpoint)
        self._every = every
        saved = {} if self._checkpoint is None else self._checkpoint.load()
        self._seen = {} if self._checkpoint is None else self._checkpoint.load_seen()
        self._next = saved | dict(positions or {})
        self._handed_out = dict(self._next)
        self._uncheckpointed = 0
        self._unprocessed = 0
        self._returned: list[Records] = []
        # The live ring first: what is published from now on is in it, or later in the history.
        self._live = bus.subscriber(topic, name, **options)
        self.record = self._live.record
        self._parts = self._catch_up()
        #: Records that came from the history.
        self.replayed = 0
        #: Records that were handed out before the last start, too.
        self.repeated = 0

    @property
    def positions(self) -> dict[str, int]:
        """Publisher -> next sequence, behind the batch that was handed out last."""
        return dict(self._handed_out)

    def repeats(self, batch: Records) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which records of a batch were handed out before the last start already: bool, ``(n,)``.

        Known with a ``checkpoint`` file only, and after a crash of the process; after a crash of
        the machine a few may not be marked.
        """
        marks = np.zeros(len(batch), np.bool_)
        for publisher, end in self._seen.items():
            own = batch["publisher"] == publisher.encode()
            marks |= own & (batch["sequence"] < end)
        return marks

    def receive(self, *, timeout: float | None = 0.0) -> Records:
        """The next batch, of one publisher; empty after ``timeout`` seconds (None: no limit)."""
        self._processed()
        if self._returned:
            return self._hand_out(self._returned.pop(0))
        batch = next(self._parts, None)
        if batch is None:
            self._parts = self._filled(self._live.receive(timeout=timeout))
            batch = next(self._parts, None)
        return np.empty(0, self.record.dtype) if batch is None else self._hand_out(batch)

    def _hand_out(self, batch: Records) -> Records:
        publisher = batch["publisher"][-1].decode()
        self._handed_out[publisher] = int(batch["sequence"][-1]) + 1
        self._unprocessed = len(batch)
        if self._checkpoint is not None:
            self.repeated += int(self.repeats(batch).sum())
            self._checkpoint.save_seen(self._handed_out)
        return batch

    def _processed(self) -> None:
        self._uncheckpointed += self._unprocessed
        self._unprocessed = 0
        if self._uncheckpointed >= self._every:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Saves the positions now: everything that was handed out counts as processed."""
        if self._checkpoint is not None:
            self._checkpoint.save(self._handed_out)
        self._uncheckpointed = 0

    def _catch_up(self) -> Iterator[Records]:
        for publisher in self._history.publishers():
            yield from self._replay(publisher, self._next.get(publisher, 1), None)

    def _replay(self, publisher: str, start: int, end: int | None) -> Iterator[Records]:
        for batch in self._history.read(publisher, start, end):
            yield from self._in_order(publisher, batch, replayed=True)

    def _filled(self, records: Records) -> Iterator[Records]:
        """Live records, cut by publisher, with what is missing before them out of the history."""
        for name in dict.fromkeys(records["publisher"].tolist()):
            publisher = name.decode()
            own = records[records["publisher"] == name]
            breaks = np.flatnonzero(np.diff(own["sequence"].astype(np.int64)) != 1) + 1
            for run in np.split(own, breaks):
                first = int(run["sequence"][0])
                expected = self._next.get(publisher, 1)
                if first > expected:
                    yield from self._replay(publisher, expected, first)
                yield from self._in_order(publisher, run, replayed=False)

    def _in_order(self, publisher: str, run: Records, *, replayed: bool) -> Iterator[Records]:
        expected = self._next.get(publisher, 1)
        new = run[run["sequence"] >= expected]
        if len(new) == 0:
            return
        first = int(new["sequence"][0])
        self._next[publisher] = int(new["sequence"][-1]) + 1
        if first > expected:
            self._returned.append(new)
            raise errors.make(
                "resume_hole",
                f"messages {expected} to {first - 1} of {publisher} are neither in the ring nor "
                "in the history",
                publisher=publisher,
                first=expected,
                last=first - 1,
            )
        if replayed:
            self.replayed += len(new)
        yield new

    def _next_batch(self, timeout: float | None) -> Records | None:
        batch = self.receive(timeout=timeout)
        return batch if len(batch) else None

    def _put_back(self, batch: Records | None) -> None:
        if batch is not None:
            self._unprocessed = 0
            self._returned.append(batch)

    def close(self) -> None:
        """Ends it, with a checkpoint of everything that was handed out."""
        super().close()
        self._processed()
        self.checkpoint()
        if self._checkpoint is not None:
            self._checkpoint.close()
        self._live.close()
