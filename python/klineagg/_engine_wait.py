"""Work of the core that Ctrl-C leaves alone, and what becomes of it then."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, Generic, TypeVar

__all__ = ["BesideWork"]

T = TypeVar("T")

POLL_S: Final = 0.05


class BesideWork(Generic[T]):
    """Runs beside the main thread, which Python's signals come to, so that it can stop waiting.

    The work itself goes on to its end then, and what it gives is dropped.
    """

    __slots__ = ("_abandoned", "_failure", "_lock", "_result", "_work", "ended")

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._abandoned = False
        self._result: list[T] = []
        self._failure: BaseException | None = None
        self.ended = threading.Event()

    def _run(self) -> None:
        try:
            result = [self._work()]
            with self._lock:
                if not self._abandoned:
                    self._result = result
            del result
        except BaseException as error:  # raised again where it is waited for
            self._failure = error
        finally:
            self.ended.set()

    def result(self) -> T:
        """What the work gives or raises.

        Raises:
            KeyboardInterrupt: or what else the handler of a signal raises.
        """
        threading.Thread(target=self._run, name="klineagg-take", daemon=True).start()
        try:
            wait_for(self.ended)
        except BaseException:
            with self._lock:
                self._abandoned = True
                self._result.clear()
            raise
        if self._failure is not None:
            raise self._failure
        return self._result.pop()


def wait_for(ended: threading.Event) -> None:
    """Until it is set, or a signal's handler raises."""
    while not ended.wait(POLL_S):
        pass
