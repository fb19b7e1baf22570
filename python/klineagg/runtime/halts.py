"""What a run does while its log takes nothing: it waits, tells, and goes on."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from klineagg import errors

if TYPE_CHECKING:
    from klineagg.engine import Engine

__all__ = ["Patience"]

_PAUSE_S: Final = (0.05, 1.0)  # the first one, and the longest
_TELL_S: Final = 30.0
_log: Final = logging.getLogger("klineagg.run")


class Patience:
    """Waits until a log that has halted goes on, or until it has room again.

    A full disk, or one that fails, is tried again and again. At the log's own limit the batch at
    hand goes in all the same, by a few segments more: what the log holds may be dropped behind a
    checkpoint in the lake, and there is none inside of a batch. The next batch waits then until
    the lake has everything, and the log is within its limit.

    Args:
        engine: with a log, or without one; then there is nothing to wait for.
        size_max: limit of the log, bytes; None: it has none.
        age_max: of the log, as for :class:`klineagg.Wal`.
        segment_bytes: of the log.
    """

    def __init__(
        self,
        engine: Engine,
        size_max: int | None = None,
        age_max: str | None = None,
        segment_bytes: int = 64 << 20,
    ) -> None:
        self._engine = engine
        self._size_max, self._age_max = size_max, age_max
        self._segment_bytes = segment_bytes
        self._stopping = threading.Event()
        self._above_limit = False
        self.waits = 0
        self.cause: str | None = None  # while it waits

    def stop(self) -> None:
        """Nobody waits any more: what is halted stays so."""
        self._stopping.set()

    def halted(self, error: errors.KlineaggError) -> None:
        """Waits until the log goes on.

        Raises:
            WalHaltedError: ``error``, when it is to wait no more.
        """
        if error.name not in ("wal_full", "wal_halted"):  # a lane was full when the log halted
            return
        is_at_limit = error.name == "wal_full" and self._size_max is not None
        if not is_at_limit:
            self._begin(str(error))
        pause, told = _PAUSE_S[0], time.monotonic()
        begin = told
        while True:
            if is_at_limit:
                self._allow_more()
            try:
                self._engine.resume()
                break
            except errors.WalError as problem:
                self.cause = problem.message
                if time.monotonic() - told > _TELL_S:
                    told = time.monotonic()
                    _log.error("nothing is accepted still: %s", problem.message)
            if self._stopping.wait(pause):
                raise error
            pause = min(2 * pause, _PAUSE_S[1])
        if not is_at_limit:
            self._end(begin)

    def look(self) -> None:
        """While there are no trades: whether the log has halted."""
        wal = self._engine.wal
        if wal is not None and wal.state == "halted" and (failure := wal.failure) is not None:
            self.halted(failure if failure.name == "wal_full" else _halted(failure))

    def before_batch(self) -> None:
        """Waits until a log that went above its limit is within it again.

        Raises:
            WalHaltedError: ``wal_full``, when it is to wait no more.
        """
        if not self._above_limit:
            return
        text = "the log is at its limit, and the lake does not have what it holds yet"
        self._begin(text)
        begin = time.monotonic()
        target = self._engine.accepted_position
        while self._committed() < target:
            self.look()  # storing writes into the log, too
            if self._stopping.wait(_PAUSE_S[0]):
                raise errors.make("wal_full", text)
        assert self._engine.wal is not None
        self._engine.wal.set_retention(size_max=self._size_max, age_max=self._age_max)
        self._above_limit = False
        self._await_removal()
        self._end(begin)

    def _await_removal(self) -> None:
        """The log's own thread removes what is above the limit."""
        wal = self._engine.wal
        assert wal is not None and self._size_max is not None
        while (stats := wal.stats()).segments > 1 and stats.segment_bytes > self._size_max:
            if wal.state != "running" or self._stopping.wait(_PAUSE_S[0]):
                return

    def describe(self) -> dict[str, Any]:
        """For the status."""
        return {"waits": self.waits, "cause": self.cause}

    def _allow_more(self) -> None:
        wal = self._engine.wal
        assert wal is not None and self._size_max is not None
        self._above_limit = True
        most = max(wal.stats().segment_bytes, self._size_max) + 2 * self._segment_bytes
        wal.set_retention(size_max=most, age_max=self._age_max)

    def _committed(self) -> int:
        stats = self._engine.stats().wal
        return 0 if stats is None else stats.committed

    def _begin(self, why: str) -> None:
        self.waits += 1
        self.cause = why
        _log.error("nothing is accepted until this is over: %s", why)

    def _end(self, begin: float) -> None:
        self.cause = None
        _log.warning("trades are accepted again, after %.1f s", time.monotonic() - begin)


def _halted(failure: errors.KlineaggError) -> errors.KlineaggError:
    return errors.make("wal_halted", failure.message)
