"""Trades of a topic of the bus."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Literal

from klineagg import _core, errors
from klineagg.bus.feed import trade_columns
from klineagg.bus.records import builtin_type
from klineagg.sources.base import Batch, Source

if TYPE_CHECKING:
    from pathlib import Path

    from klineagg.bus._waiting import Records
    from klineagg.bus.core import Bus
    from klineagg.bus.resumable import ResumableSubscriber
    from klineagg.bus.subscriber import Subscriber

__all__ = ["TopicSource"]

_WAIT_S: Final = 0.2
_log: Final = logging.getLogger("klineagg.source")


class TopicSource(Source):
    """Receives ``TradeEvent`` records of all publishers of a topic, for as long as it is let.

    It goes on where it was: out of the publishers' logs where they have some, and then nothing is
    missed; else out of what their rings still have, and what they have not is counted as ``lost``.
    A publisher that has never come so far, since it began anew, is counted as ``began_anew`` and
    read from its first message on.

    Args:
        bus: the bus.
        topic: the topic.
        wal: the folder of the publishers' logs; None: they have none.
        name: of the subscriber.
        core: the thread that receives stays on this core.
        position: of an earlier run; None: with what is in the logs, or what comes from now on.

    Raises:
        SourceError: ``source_failed`` when the position is of another source.
        RecordTypeError: the topic has other records.
    """

    def __init__(
        self,
        bus: Bus,
        topic: str,
        *,
        wal: Path | None = None,
        name: str = "engine",
        core: int | None = None,
        position: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if position is not None and (position.get("kind"), position.get("topic")) != ("bus", topic):
            text = f"the position in the lake is not one of the topic {topic}"
            raise errors.make("source_failed", text)
        self._topic, self._core = topic, core
        self._done: dict[str, int] = dict((position or {}).get("positions", {}))
        self._rows = 0
        self._lost = 0
        record = builtin_type("TradeEvent")
        self._from: ResumableSubscriber | Subscriber
        if wal is None:
            # A publisher that was not there yet when the position was kept: all of it is new.
            start: Literal["latest", "oldest"] = "latest" if position is None else "oldest"
            while True:
                try:
                    self._from = bus.subscriber(
                        topic, name, record=record, start=start, positions=self._done
                    )
                    break
                except errors.BusError as error:
                    self._began_anew(error)
            self._done = self._from.positions | self._done
        else:
            from klineagg.bus.logged import LogHistory
            from klineagg.bus.resumable import ResumableSubscriber

            if not wal.is_dir():  # services start in any order: it may be there in a moment
                _log.warning("no publisher of %s has a log in %s yet", topic, wal)
            history = LogHistory(topic, wal, record, missing_ok=True)
            self._from = ResumableSubscriber(
                bus, topic, name, history=history, positions=self._done, record=record
            )

    def batches(self) -> Iterator[Batch | None]:
        """Trades as they come; ends when it is told to stop."""
        if self._core is not None:
            _core.pin_thread(self._core)
        while not self._stopping:
            try:
                events = self._from.receive(timeout=_WAIT_S)
            except errors.BusError as error:
                if error.name != "resume_hole":
                    self._began_anew(error)
                    continue
                # Counted, and on behind the hole: an engine that stands still has more of them.
                lost = int(str(error.fields["last"])) + 1 - int(str(error.fields["first"]))
                self.count("lost", lost)
                continue
            self._count_lost()
            yield None if len(events) == 0 else self._batch(events)

    def _began_anew(self, error: errors.BusError) -> None:
        if error.name != "resume_ahead":
            raise error
        self._done.pop(str(error.fields["publisher"]), None)
        self.count("began_anew", 1)

    def _batch(self, events: Records) -> Batch:
        return Batch(trade_columns(events), len(events), self._from.positions)

    def _count_lost(self) -> None:
        lost = int(getattr(self._from, "lost", 0))
        if lost > self._lost:
            self.count("lost", lost - self._lost)
            self._lost = lost

    @property
    def idle_s(self) -> float:
        """It has waited itself."""
        return 0.0

    def done(self, batch: Batch) -> None:
        """The batch was taken over."""
        self._rows += batch.rows
        self._done = dict(batch.mark)

    def position(self) -> dict[str, Any] | None:
        """The next sequence of each publisher."""
        return {"kind": "bus", "topic": self._topic, "positions": self._done}

    def close(self) -> None:
        """Leaves the topic."""
        self._from.close()

    def describe(self) -> dict[str, Any]:
        """Rows so far, and what was lost."""
        return {"topic": self._topic, "rows": self._rows, "faults": dict(self.faults)}
