"""Ends a test run that hangs, and says in its last lines which test it was and where it waits.

The handler of faulthandler comes later and knows neither: it is for what holds the GIL.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TextIO

import pytest

LIMIT_S = float(os.environ.get("KLINEAGG_TEST_LIMIT_S", "300"))
_FRAMES_MAX = 12


class Watchdog:
    """A thread that looks at how long the test that runs has been in its phase."""

    def __init__(self, limit_s: float, out: TextIO) -> None:
        self._limit_s, self._out = limit_s, out
        self._now: tuple[str, str, float] | None = None
        self._over = threading.Event()
        self._main = threading.get_ident()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def begin(self, test: str, phase: str) -> None:
        self._now = test, phase, time.monotonic()

    def end(self) -> None:
        self._now = None

    def close(self) -> None:
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(min(1.0, self._limit_s / 4)):
            now = self._now
            if now is not None and time.monotonic() - now[2] > self._limit_s:
                self._out.write("\n".join(["", *self._report(*now), ""]))
                self._out.flush()
                os._exit(1)

    def _report(self, test: str, phase: str, start: float) -> Iterator[str]:
        frames = sys._current_frames()
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        mine = {threading.get_ident(), self._main}
        for ident in frames.keys() - mine:
            yield f"thread {names.get(ident, ident)}: {' < '.join(_places(frames[ident], 4))}"
        yield from _native_threads()
        yield "main thread, what it waits in first:"
        yield from (f"  {place}" for place in _places(frames[self._main], _FRAMES_MAX))
        yield f"HANGS: {test} ({phase}) after {time.monotonic() - start:.0f} s"


def _places(frame: FrameType, count: int) -> list[str]:
    found = traceback.extract_stack(frame)[::-1][:count]
    return [f"{'/'.join(Path(f.filename).parts[-3:])}:{f.lineno} {f.name}" for f in found]


def _native_threads() -> Iterator[str]:
    """Threads of the system that Python knows nothing of, and where the kernel has them."""
    for task in sorted(Path("/proc/self/task").glob("*")):
        try:
            name, place = (task / "comm").read_text().strip(), (task / "wchan").read_text()
        except OSError:
            continue
        if name.startswith("kla"):
            yield f"native thread {name}: {place or 'runs'}"


_watchdog: list[Watchdog] = []


def pytest_configure() -> None:
    # A copy of standard error from before its capture.
    _watchdog.append(Watchdog(LIMIT_S, os.fdopen(os.dup(2), "w")))


def pytest_unconfigure() -> None:
    while _watchdog:
        _watchdog.pop().close()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    return (yield from _phase(item, "setup"))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    return (yield from _phase(item, "call"))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    return (yield from _phase(item, "teardown"))


def _phase(item: pytest.Item, phase: str) -> Iterator[None]:
    for each in _watchdog:
        each.begin(item.nodeid, phase)
    try:
        return (yield)
    finally:
        for each in _watchdog:
            each.end()
