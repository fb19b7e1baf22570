"""Threads of the bus stay on the core that was asked for."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bus.records import CHECKED, checked
from klineagg import _core
from klineagg.bus import TRADE_EVENT, Bus, Iceoryx2Bridge, ResumableSubscriber
from klineagg.errors import EngineError
from klineagg.sources.topic import TopicSource

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="this system cannot pin threads"
)

KINDS = pytest.mark.parametrize("kind", ["plain", "delayed", "reliable", "resumable"])


def subscriber_of(bus: Bus, wal: Path, kind: str, core: int) -> Any:
    history = bus.history("ticks", wal, record=CHECKED)
    makers: dict[str, Callable[[], Any]] = {
        "plain": lambda: bus.subscriber("ticks", core=core),
        "delayed": lambda: bus.delayed("ticks", core=core, interval=0.0),
        "reliable": lambda: bus.reliable_subscriber("ticks", core=core),
        "resumable": lambda: ResumableSubscriber(bus, "ticks", history=history, core=core),
    }
    return makers[kind]()


def in_thread(act: Callable[[], None]) -> None:
    """In a thread that may be pinned; what it raises is raised."""
    raised: list[BaseException] = []

    def guarded() -> None:
        try:
            act()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def cores_of(name: str) -> list[set[int]]:
    """Of this process's threads of that name, native ones, too."""
    return [
        os.sched_getaffinity(int(task.name))
        for task in Path("/proc/self/task").iterdir()
        if (task / "comm").read_text().strip() == name
    ]


@KINDS
def test_the_receiving_thread_and_asyncios_are_pinned(bus: Bus, tmp_path: Path, kind: str) -> None:
    wanted = max(os.sched_getaffinity(0))
    publisher = bus.publisher("ticks", "feed", record=CHECKED, wal=tmp_path)
    found: dict[str, set[int]] = {}

    async def receive(subscriber: Any) -> None:
        waiting = asyncio.create_task(subscriber.next_batch(timeout=120))
        await asyncio.sleep(0)
        while not any(t.name.startswith("kla-bus") for t in threading.enumerate()):
            await asyncio.sleep(0.001)
        publisher.publish(checked(1, 1))
        assert await waiting is not None
        for thread in threading.enumerate():
            if thread.name.startswith("kla-bus") and thread.native_id is not None:
                found["asyncio"] = os.sched_getaffinity(thread.native_id)

    def subscribe() -> None:
        subscriber = subscriber_of(bus, tmp_path, kind, wanted)
        found["subscriber"] = os.sched_getaffinity(0)
        asyncio.run(receive(subscriber))
        subscriber.close()

    in_thread(subscribe)
    assert found == {"subscriber": {wanted}, "asyncio": {wanted}}
    publisher.close()
    with pytest.raises(EngineError, match="allowed cores"):
        subscriber_of(bus, tmp_path, kind, 4095)


def test_the_thread_that_takes_acknowledgements_is_pinned(bus: Bus) -> None:
    wanted = max(os.sched_getaffinity(0))
    before = os.sched_getaffinity(0)
    with bus.reliable_publisher("ticks", record=CHECKED, core=wanted):
        if Path("/proc/self/task").is_dir():
            assert {wanted} in cores_of("kla-reliable")
        assert os.sched_getaffinity(0) == before  # the caller's own is left alone


def test_a_source_of_a_run_is_pinned(bus: Bus) -> None:
    wanted = max(os.sched_getaffinity(0))
    publisher = bus.publisher("trade_events", "feed")
    found: list[set[int]] = []

    def run() -> None:
        source = TopicSource(bus, "trade_events", core=wanted)
        trades = publisher.empty(1)
        trades["instrument"], trades["price"], trades["volume"] = b"A", 1.0, 1.0
        assert trades.dtype == TRADE_EVENT
        publisher.publish(trades)
        assert next(iter(source.batches())) is not None
        found.append(os.sched_getaffinity(0))
        source.close()

    in_thread(run)
    assert found == [{wanted}]
    publisher.close()


def test_a_bridge_to_iceoryx2_is_pinned(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("iceoryx2")
    wanted = max(os.sched_getaffinity(0))
    pinned: list[tuple[str, int]] = []
    monkeypatch.setattr(
        _core, "pin_thread", lambda core: pinned.append((threading.current_thread().name, core))
    )
    bridge = Iceoryx2Bridge(bus, "bars", core=wanted)
    with bridge:
        pass
    assert pinned == [("kla-iceoryx2", wanted)]
    with pytest.raises(EngineError, match="allowed cores"):
        Iceoryx2Bridge(bus, "bars", core=4095)
