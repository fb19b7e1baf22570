"""Work of the core with a progress bar beside it, and with Ctrl-C that works."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from klineagg.progress import Progress, ProgressOption

__all__ = ["follow"]

T = TypeVar("T")

# Below this the core is done before anybody would look, and a thread would cost more than it shows.
FOLLOW_ROWS_MIN: Final = 4_000_000
POLL_S: Final = 0.05


def follow(
    work: Callable[[], T],
    *,
    rows: int,
    passed: Callable[[], int],
    cancel: Callable[[], None],
    option: ProgressOption,
) -> T:
    """Runs ``work`` and shows ``passed()`` of ``rows``; an interrupt cancels it."""
    if option is False or (option is None and rows < FOLLOW_ROWS_MIN):
        return work()
    results: list[T] = []
    failures: list[BaseException] = []
    # Not Thread.join(): up to Python 3.12, one that is interrupted takes a running thread for done.
    ended = threading.Event()

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # handed to the caller below, whatever it is
            failures.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=run, name="klineagg-aggregate", daemon=True)
    with Progress(rows, option=option, desc="aggregate", unit="rows") as progress:
        thread.start()
        try:
            while not ended.wait(POLL_S):
                progress.update(min(passed(), rows) - progress.done)
        except BaseException:
            _stop(ended, cancel)
            raise
        if failures:
            raise failures[0]
        progress.update(rows - progress.done)
    return results[0]


def _stop(ended: threading.Event, cancel: Callable[[], None]) -> None:
    """Returns when the work has ended; until then nobody may touch what it works on."""
    while not ended.is_set():
        # A second Ctrl-C changes nothing: leaving now would let the work run on unseen.
        with suppress(KeyboardInterrupt):
            cancel()  # again and again: work that has not begun yet would not hear it
            ended.wait(POLL_S)
