"""What an engine publishes from its workers, and trades of a topic as what an engine takes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from klineagg import _core
from klineagg._options import duration_ns, invalid, is_integer
from klineagg.bus.publisher import converted
from klineagg.bus.records import builtin_type

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from klineagg.bus.core import Bus

__all__ = ["EngineFeed", "trade_columns"]

_PUBLISHERS_MAX = 10


class EngineFeed:
    """Makes an engine publish: ``Engine("1m", bus=EngineFeed(bus, trades="trade_events"))``.

    Its workers write into the rings themselves, a block at a time. A symbol has one publisher in
    each topic, by its name, so its records stay in their order, also while it moves from one worker
    to another. Closed bars come as they close, amended ones again with a higher revision. Open bars
    come in their last state, at most once in each interval. The publishers end with the engine,
    whose ``cores`` say where its workers, and so they, write.

    Args:
        bus: where to.
        name: of the publisher; with several, ``"<name>-0"`` and so on.
        trades: topic of accepted trades (records ``TradeEvent``); None: not published.
        bars: topic of closed bars (records ``Bar``); None: not published.
        open_bars: topic of open bars; None: not published. May be that of the closed ones.
        open_interval: an open bar is sent at most so often (``"100ms"``, timedelta, ns).
        publishers: of each topic, 1 to 10, which symbols are spread over.
        ring_bytes: at most so much for the records of each ring; None: the topic's default.
        wal: a folder for logs; accepted trades and closed bars are in the log of their topic and
            publisher before they are shown, and its numbers are their sequence. An engine that goes
            on from its own log publishes what the one before it could not any more, and nothing
            twice. Topics of open bars alone have none. None: no logs.
        sync: of the logs: what a power cut may take, as of :meth:`klineagg.bus.Bus.publisher`.
        wal_size_max: bytes of each log, of which the oldest records go; None: no limit.

    Raises:
        OptionError: ``invalid_option``.
        WalError: a log cannot be opened.
        PublisherExistsError: one of that name lives.
        BusError: no room in the shared memory, or too many publishers.
    """

    def __init__(
        self,
        bus: Bus,
        name: str = "engine",
        *,
        trades: str | None = None,
        bars: str | None = "bars",
        open_bars: str | None = None,
        open_interval: Any = "100ms",
        publishers: int = 1,
        ring_bytes: int | None = None,
        wal: str | os.PathLike[str] | None = None,
        sync: Literal["none", "interval", "always"] = "interval",
        wal_size_max: int | None = None,
    ) -> None:
        interval_ns = duration_ns(open_interval, "open_interval")
        if not is_integer(publishers) or not 1 <= publishers <= _PUBLISHERS_MAX:
            raise invalid("publishers", publishers, f"an integer in 1 ... {_PUBLISHERS_MAX}")
        if not (trades or bars or open_bars):
            raise invalid("bars", bars, "a topic, when neither trades nor open bars have one")
        self.bus, self.name = bus, name
        #: Topics that it publishes in.
        self.topics = tuple(dict.fromkeys(filter(None, (trades, bars, open_bars))))
        self._core = _core.BusEngineFeed(
            bus.path, bus._group, name, trades or "", bars or "", open_bars or "", interval_ns,
            publishers, ring_bytes or 0, "" if wal is None else os.fspath(wal), sync,
            wal_size_max or 0,
        )  # fmt: skip

    @property
    def counts(self) -> Mapping[str, int]:
        """Records sent: ``trades``, ``bars``, ``open_bars``; and left out as ``unnamed``.

        An instrument has at most 16 bytes on the bus and an interval 24; what has a longer name is
        not published, and counted here.
        """
        return self._core.counts()

    @property
    def next_sequences(self) -> Mapping[str, int]:
        """The next sequence of each publisher, by ``"topic@publisher"``."""
        return self._core.next_sequences()

    def close(self) -> None:
        """Ends the publishers of a feed that no engine was made with; an engine's ends with it."""
        self._core.stopped()

    def __repr__(self) -> str:
        counts = self.counts
        return f"<EngineFeed {self.name}: {counts['trades']:,} trades, {counts['bars']:,} bars>"


def trade_columns(events: NDArray[np.void]) -> dict[str, Any]:
    """Columns that :meth:`klineagg.Producer.push` takes, of an array of ``TRADE_EVENT``.

    Trade ids that are no numbers (nor ``first-last`` of aggregated trades) count as none; trades
    without instrument are rejected by the engine. Symbols are interned.

    Raises:
        RecordTypeError: the array has other records.
    """
    whole = converted(events, builtin_type("TradeEvent"))
    return dict(_core.bus_trade_columns(np.ascontiguousarray(whole)))
