"""The numbers of the bus as text for Prometheus and everything that reads OpenMetrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from klineagg import errors
from klineagg._metrics_text import Labels, MetricsText, Sample
from klineagg._options import invalid

if TYPE_CHECKING:
    from klineagg.bus.core import Bus
    from klineagg.bus.feed import EngineFeed

__all__ = ["add_bus", "add_feed", "metrics_text"]

_PUBLISHERS: Final[tuple[tuple[str, str, str, str, Callable[[dict[str, Any]], float]], ...]] = (
    ("published", "counter", "", "Number of the last message.", lambda p: p["next_sequence"] - 1),
    ("takeovers", "counter", "", "Publishers of the name that came after the first.",
     lambda p: max(p["generation"] - 1, 0)),
    ("wake_ups", "counter", "", "System calls to wake subscribers.", lambda p: p["wakes"]),
    ("publisher_alive", "gauge", "", "1 while its process holds the ring.",
     lambda p: int(p["alive"])),
    ("ring_messages", "gauge", "", "Messages that its ring has room for.",
     lambda p: p["capacity"]),
    ("ring_bytes", "gauge", "bytes", "Shared memory of its ring.", lambda p: p["bytes"]),
)  # fmt: skip
_SUBSCRIBERS: Final = (
    ("received", "counter", "Messages received."),
    ("lost", "counter", "Messages that were overwritten before they were received."),
    ("duplicates", "counter", "Repeats of reliable messages."),
    ("behind", "gauge", "Messages not yet received, also when it has stopped looking."),
)


def metrics_text(bus: Bus, topics: Iterable[str] | None, labels: Labels) -> str:
    """See :meth:`klineagg.bus.Bus.metrics_text`."""
    if isinstance(topics, str):
        raise invalid("topics", topics, f"a list of names, as [{topics!r}] is")
    text = MetricsText(labels)
    add_bus(text, bus, bus.topics() if topics is None else topics)
    return text.end()


def add_feed(text: MetricsText, feed: EngineFeed) -> None:
    """What an engine has published, and its topics."""
    samples: list[Sample] = [("_total", {"kind": k}, n) for k, n in feed.counts.items()]
    text.family("bus_feed_records", "counter", "Records that the engine has published.", samples)
    add_bus(text, feed.bus, feed.topics)


def add_bus(text: MetricsText, bus: Bus, topics: Iterable[str]) -> None:
    """The families of some topics."""
    looks = {topic: _look(bus, topic) for topic in topics}
    publishers = [
        ({"topic": topic, "publisher": each["name"]}, each)
        for topic, look in looks.items()
        for each in look["publishers"]
        if not each["damaged"]
    ]
    for name, kind, unit, what, value in _PUBLISHERS:
        suffix = "_total" if kind == "counter" else ""
        samples: list[Sample] = [(suffix, labels, value(each)) for labels, each in publishers]
        text.family(f"bus_{name}", kind, what, samples, unit)
    now = time.time_ns()
    ages: list[Sample] = [
        ("", labels, max(now - each["heartbeat_ns"], 0) / 1e9) for labels, each in publishers
    ]
    what = "Since it last said that it lives."
    text.family("bus_heartbeat_age_seconds", "gauge", what, ages, "seconds")
    _subscribers(text, looks)
    _topics(text, looks)


def _look(bus: Bus, topic: str) -> dict[str, list[dict[str, Any]]]:
    try:
        return bus.inspect(topic)
    except errors.BusError as error:
        if error.name != "segment_damaged":
            raise
        return {"publishers": [{"name": "", "damaged": error.message}], "subscribers": []}


def _subscribers(text: MetricsText, looks: dict[str, dict[str, list[dict[str, Any]]]]) -> None:
    # Several of one process may have one name; as one series they are their sum.
    sums: dict[tuple[str, str, int], dict[str, int]] = {}
    for topic, look in looks.items():
        for each in look["subscribers"]:
            line = sums.setdefault((topic, each["name"], each["pid"]), {})
            for name, _, _ in _SUBSCRIBERS:
                line[name] = line.get(name, 0) + each[name]
    for name, kind, what in _SUBSCRIBERS:
        suffix = "_total" if kind == "counter" else ""
        samples: list[Sample] = [
            (suffix, {"topic": topic, "subscriber": subscriber, "pid": pid}, line[name])
            for (topic, subscriber, pid), line in sums.items()
        ]
        text.family(f"bus_{name}", kind, what, samples)


def _topics(text: MetricsText, looks: dict[str, dict[str, list[dict[str, Any]]]]) -> None:
    counts: list[Sample] = []
    fills: list[Sample] = []
    damaged: list[Sample] = []
    for topic, look in looks.items():
        labels = {"topic": topic}
        whole = [each for each in look["publishers"] if not each["damaged"]]
        fill = max((each["fill"] for each in look["subscribers"]), default=0.0)
        counts.append(("", labels, len(look["subscribers"])))
        fills.append(("", labels, fill))
        damaged.append(("", labels, len(look["publishers"]) - len(whole)))
    text.family("bus_subscribers", "gauge", "Subscribers that live.", counts)
    what = "What the slowest subscriber has still to receive, of its ring; it loses beyond 1."
    text.family("bus_ring_fill_ratio", "gauge", what, fills, "ratio")
    text.family("bus_damaged_segments", "gauge", "Segments that are none any more.", damaged)
