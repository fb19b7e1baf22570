"""The bus: trades, bars, books and account updates to other processes through shared memory.

>>> import tempfile
>>> from klineagg.bus import Bus
>>> folder = tempfile.TemporaryDirectory()
>>> bus = Bus(folder.name)
>>> subscriber = bus.subscriber("trade_events")
>>> publisher = bus.publisher("trade_events", "feed")
>>> trade = publisher.empty(1)
>>> trade["instrument"], trade["price"] = b"BTCUSDT", 27500.5
>>> publisher.publish(trade)
1
>>> received = subscriber.receive()
>>> received["price"], received["sequence"]
(array([27500.5]), array([1], dtype=uint64))
>>> publisher.close()
>>> folder.cleanup()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# A program that only publishes need not load what makes tables and transactions.
_LAZY = {
    "Bus": "core",
    "Publisher": "publisher",
    "Loan": "publisher",
    "Subscriber": "subscriber",
    "Peek": "subscriber",
    "DelayedSubscriber": "delayed",
    "RecordType": "records",
    "record_type": "records",
    "TRADE_EVENT": "records",
    "ACCOUNT_UPDATE": "records",
    "MARKET_L2": "records",
    "BAR": "records",
    "HEARTBEAT": "records",
    "ACK": "records",
    "EngineFeed": "feed",
    "trade_columns": "feed",
    "LogHistory": "logged",
    "LoggedPublisher": "logged",
    "ReliablePublisher": "reliable",
    "ReliableSubscriber": "reliable_subscriber",
    "ResumableSubscriber": "resumable",
    "Checkpoint": "resumable",
    "HistoricalSubscriber": "historical",
    "History": "resumable",
    "SequenceTracker": "tracker",
    "Health": "health",
    "Monitor": "health",
    "PublisherHealth": "health",
    "Iceoryx2Bridge": "iceoryx",
    "ctypes_type": "_iceoryx_records",
}

if TYPE_CHECKING:
    from klineagg.bus._iceoryx_records import ctypes_type
    from klineagg.bus.core import Bus
    from klineagg.bus.delayed import DelayedSubscriber
    from klineagg.bus.feed import EngineFeed, trade_columns
    from klineagg.bus.health import Health, Monitor, PublisherHealth
    from klineagg.bus.historical import HistoricalSubscriber
    from klineagg.bus.iceoryx import Iceoryx2Bridge
    from klineagg.bus.logged import LoggedPublisher, LogHistory
    from klineagg.bus.publisher import Loan, Publisher
    from klineagg.bus.records import (
        ACCOUNT_UPDATE,
        ACK,
        BAR,
        HEARTBEAT,
        MARKET_L2,
        TRADE_EVENT,
        RecordType,
        record_type,
    )
    from klineagg.bus.reliable import ReliablePublisher
    from klineagg.bus.reliable_subscriber import ReliableSubscriber
    from klineagg.bus.resumable import Checkpoint, History, ResumableSubscriber
    from klineagg.bus.subscriber import Peek, Subscriber
    from klineagg.bus.tracker import SequenceTracker

__all__ = [
    "ACCOUNT_UPDATE",
    "ACK",
    "BAR",
    "HEARTBEAT",
    "MARKET_L2",
    "TRADE_EVENT",
    "Bus",
    "Checkpoint",
    "DelayedSubscriber",
    "EngineFeed",
    "Health",
    "HistoricalSubscriber",
    "History",
    "Iceoryx2Bridge",
    "Loan",
    "LogHistory",
    "LoggedPublisher",
    "Monitor",
    "Peek",
    "Publisher",
    "PublisherHealth",
    "RecordType",
    "ReliablePublisher",
    "ReliableSubscriber",
    "ResumableSubscriber",
    "SequenceTracker",
    "Subscriber",
    "ctypes_type",
    "record_type",
    "trade_columns",
]


if not TYPE_CHECKING:  # type checkers would take every misspelt name for one of these

    def __getattr__(name: str) -> Any:
        from importlib import import_module

        module = _LAZY.get(name)
        if module is None:
            raise AttributeError(f"module 'klineagg.bus' has no attribute {name!r}")
        value = getattr(import_module(f"klineagg.bus.{module}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
