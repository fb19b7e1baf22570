"""Something that is done again and again, on a grid of time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final

__all__ = ["Timer"]

_log: Final = logging.getLogger("klineagg.run")
# So long may a new interval take to be noticed.
_LOOK_S: Final = 0.1


class Timer:
    """Calls ``work`` every ``interval_ms``; ticks that come while it is at work are left out.

    Args:
        interval_ms: may be set at any time.
        work: what to do; an exception is logged, and does not end the timer.
    """

    def __init__(self, interval_ms: int, work: Callable[[], Any]) -> None:
        self.interval_ms = interval_ms
        self._work = work
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="klineagg-timer", daemon=True)

    def start(self) -> None:
        """Begins; the first tick comes an interval later."""
        self._thread.start()

    def stop(self) -> None:
        """Ends, and waits for the work at hand."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        last = time.monotonic()
        while not self._stop.is_set():
            due = last + self.interval_ms / 1e3
            now = time.monotonic()
            if now < due:
                self._stop.wait(min(due - now, _LOOK_S))
                continue
            # On the grid, but never a burst of what was missed.
            last = due if now - due < self.interval_ms / 1e3 else now
            try:
                self._work()
            except Exception:
                _log.exception("a tick failed")
