"""Bars into the lake: the one thing that the task of persistence does."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from klineagg import errors
from klineagg.runtime.host import unpack_state
from klineagg.runtime.setup import CONSUMER

if TYPE_CHECKING:
    from klineagg.lake import Lake

__all__ = ["Persister"]

_log: Final = logging.getLogger("klineagg.persist")


class Freezer(Protocol):
    """Who hands out snapshots: a Host in this process, or a RemoteHost."""

    def freeze(self, consumer: str, *, checkpoint: bool) -> tuple[Any, bytes | None]:
        """See :meth:`klineagg.runtime.host.Host.freeze`."""

    def mark(self) -> list[Any] | None:
        """See :meth:`klineagg.runtime.host.Host.mark`."""

    def stored(self, snapshot: Any) -> None:
        """See :meth:`klineagg.runtime.host.Host.stored`."""


class Persister:
    """Takes a snapshot, commits it with the state that goes with it, acknowledges it.

    Whatever fails before the ack gives the rows back, and they come again with the next snapshot:
    what is not acknowledged is the outbox.

    Args:
        host: hands out snapshots.
        lake: gives the lake; it may be opened when it is first needed.
    """

    def __init__(self, host: Freezer, lake: Callable[[], Lake]) -> None:
        self._host, self._lake = host, lake
        self._guard = threading.Lock()
        self._position: Any = None
        self._stateless = True
        self._mark: list[Any] | None = None  # of the last snapshot that is done with
        self.commits = self.rows = self.failures = self.rows_lost = 0
        self.commit_s = 0.0
        self.last_commit_s: float | None = None  # Unix time
        self.error: str | None = None
        self.refusal: errors.KlineaggError | None = None  # another engine has the lake

    def persist(self) -> bool:
        """Stores what there is; says whether there was anything.

        Raises:
            KlineaggError: it is not stored; :attr:`error` has the reason until it is.
        """
        with self._guard:
            try:
                done = self._persist()
            except Exception as error:
                self.failures += 1
                self.error = str(error)
                raise
            self.error = None
            return done

    def _persist(self) -> bool:
        if self._mark is not None and self._host.mark() == self._mark:
            return False  # a snapshot alone would be written into the log, and synced
        snapshot, state = self._host.freeze(CONSUMER, checkpoint=True)
        with snapshot:
            position = None if state is None else unpack_state(state)[0]
            mark = None if state is None else [snapshot.position, position]
            same = position == self._position and not self._stateless
            if not len(snapshot.closed) and not len(snapshot.open) and (state is None or same):
                snapshot.nack()  # an ack would write a checkpoint for nothing
                self._mark = mark
                return False
            result = self._lake().commit(snapshot, CONSUMER, state)
            if not result.applied:
                text = f"the lake has a newer snapshot than {tuple(snapshot.id)}"
                hint = "another engine writes to it, or the system's clock was set back"
                self.refusal = errors.make("control_refused", text, hint=hint)
                raise self.refusal
            self._host.stored(snapshot)
        self._position, self._stateless, self._mark = position, state is None, mark
        self.commits += 1
        self.rows += result.rows
        self.commit_s += result.seconds
        self.last_commit_s = time.time()
        if snapshot.rows_lost:
            self.rows_lost += snapshot.rows_lost
            _log.error("%d closed bars were given up before they were stored", snapshot.rows_lost)
        _log.debug("stored %d bars in %.0f ms", result.rows, result.seconds * 1e3)
        return True

    def describe(self) -> dict[str, Any]:
        """Counts, for the status."""
        return {
            "commits": self.commits,
            "rows": self.rows,
            "failures": self.failures,
            "rows_lost": self.rows_lost,
            "last_commit_s": self.last_commit_s,
            "error": self.error,
        }
