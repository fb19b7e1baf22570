"""Health: which publishers live, which are late, which are gone."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from klineagg import errors
from klineagg._options import invalid
from klineagg.bus._closing import Closing

if TYPE_CHECKING:
    from klineagg.bus.core import Bus

__all__ = ["Health", "Monitor", "PublisherHealth"]


class Health(Enum):
    """How a publisher is."""

    HEALTHY = "Healthy"
    #: No heartbeat for longer than the timeout: stopped, starved, or its machine sleeps.
    DEGRADED = "Degraded"
    #: No heartbeat for two timeouts, or its process has died.
    FAILED = "Failed"
    #: It was closed by its program.
    CLOSED = "Closed"
    #: Its segment, or that of the whole topic (then it has no name), is no segment any more.
    DAMAGED = "Damaged"


@dataclass(frozen=True)
class PublisherHealth:
    """A publisher at one look.

    Attributes:
        topic: its topic.
        name: its name.
        health: see :class:`Health`.
        generation: of the publisher.
        pid: its process.
        last_sequence: of the last message it has published.
        heartbeat_age: seconds since it last said that it lives.
        rate: messages a second since the look before.
    """

    topic: str
    name: str
    health: Health
    generation: int
    pid: int
    last_sequence: int
    heartbeat_age: float
    rate: float


_CLOSED_STATE = 2
_log: Final = logging.getLogger("klineagg.bus")


def health_of(info: dict[str, Any], timeout: float, now_ns: int) -> tuple[Health, float]:
    """Health and age of the heartbeat, from what :meth:`Bus.inspect` says of a publisher."""
    if info["damaged"]:
        return Health.DAMAGED, 0.0
    age = max((now_ns - info["heartbeat_ns"]) / 1e9, 0.0)
    if not info["alive"]:
        return (Health.CLOSED if info["state"] == _CLOSED_STATE else Health.FAILED), age
    if age > 2 * timeout:
        return Health.FAILED, age
    return (Health.DEGRADED if age > timeout else Health.HEALTHY), age


def publishers_of(bus: Bus, topic: str) -> list[dict[str, Any]]:
    """As :meth:`Bus.inspect` has them; one without a name when the topic's segment is damaged."""
    try:
        return bus.inspect(topic)["publishers"]
    except errors.BusError as error:
        if error.name != "segment_damaged":
            raise
        return [{"name": "", "damaged": error.message, "generation": 0, "pid": 0,
                 "next_sequence": 1}]  # fmt: skip


class Monitor(Closing):
    """Watches the publishers of a bus.

    Publishers write a heartbeat every 0.2 s, from a thread of their own, and hold a lock that the
    kernel releases when they die, however they die.

    Args:
        bus: the bus.
        topics: which; None: all, also those that come later.
        timeout: seconds without a heartbeat until a publisher is degraded; twice as many: failed.
        interval: seconds between two looks of :meth:`start`.
        on_change: called as ``on_change(now, before)`` with the :class:`PublisherHealth` of a
            publisher whenever its health changes; ``before`` is None for a new one.
    """

    def __init__(
        self,
        bus: Bus,
        *,
        topics: Iterable[str] | None = None,
        timeout: float = 0.8,
        interval: float = 0.2,
        on_change: Callable[[PublisherHealth, PublisherHealth | None], object] | None = None,
    ) -> None:
        for option, value in (("timeout", timeout), ("interval", interval)):
            if not 0 < value < float("inf"):  # NaN would find everybody healthy
                raise invalid(option, value, "a number of seconds above 0")
        if isinstance(topics, str):
            raise invalid("topics", topics, f"a list of names, as [{topics!r}] is")
        self._bus = bus
        self._topics = None if topics is None else list(topics)
        self._timeout = timeout
        self._interval = interval
        self._on_change = on_change
        self._known: dict[tuple[str, str], PublisherHealth] = {}
        self._looked = 0.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        #: How often a publisher became what: name of the health -> count.
        self.changes: dict[str, int] = {health.value: 0 for health in Health}

    def check(self) -> list[PublisherHealth]:
        """Looks now; the publishers by topic and name. Calls ``on_change`` where needed."""
        with self._lock:
            now = time.monotonic()
            elapsed = now - self._looked if self._looked else 0.0
            self._looked = now
            seen = {}
            for topic in self._bus.topics() if self._topics is None else self._topics:
                for info in publishers_of(self._bus, topic):
                    one = self._look(topic, info, elapsed)
                    seen[topic, one.name] = one
            before, self._known = self._known, seen
            changed = [
                (one, before.get(key))
                for key, one in seen.items()
                if key not in before or before[key].health is not one.health
            ]
            for one, _ in changed:
                self.changes[one.health.value] += 1
        self._tell(changed)
        return list(seen.values())

    def _tell(self, changed: list[tuple[PublisherHealth, PublisherHealth | None]]) -> None:
        """Of all that changed, whatever one call raises: nobody would hear of it again."""
        if self._on_change is None:
            return
        first: Exception | None = None
        for one, old in changed:
            try:
                self._on_change(one, old)
            except Exception as error:  # noqa: PERF203
                first = first or error
        if first is not None:
            raise first

    def _look(self, topic: str, info: dict[str, Any], elapsed: float) -> PublisherHealth:
        health, age = health_of(info, self._timeout, time.time_ns())
        last = max(info["next_sequence"] - 1, 0)
        old = self._known.get((topic, info["name"]))
        rate = 0.0
        if old is not None and elapsed > 0:
            rate = max(last - old.last_sequence, 0) / elapsed
        return PublisherHealth(
            topic, info["name"], health, info["generation"], info["pid"], last, age, rate
        )

    def start(self) -> Monitor:
        """Looks again and again in a thread of its own, until :meth:`stop`."""
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="kla-monitor", daemon=True)
            self._thread.start()
        return self

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            try:
                self.check()
            except Exception:  # noqa: PERF203 - nobody would see that the watch has ended
                _log.exception("a look at the publishers of %s failed", self._bus.path)

    def stop(self) -> None:
        """Ends the thread."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._thread = None

    def __repr__(self) -> str:
        found = [one.health.value for one in self._known.values()]
        counts = [f"{found.count(each)} {each}" for each in dict.fromkeys(found)]
        what = ", ".join(counts) if self._looked else "has not looked yet"
        state = "idle" if self._thread is None else "runs"
        return f"<Monitor of {self._bus.path!r}: {what or 'no publishers'}; {state}>"

    def __enter__(self) -> Monitor:
        return self.start()

    def _leave(self, error: BaseException | None) -> None:
        self.stop()
