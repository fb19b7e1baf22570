"""Publishers with a write-ahead log, and what comes back out of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from klineagg import _core, errors
from klineagg._options import invalid, is_integer, time_ns
from klineagg.bus._checks import check_publisher, nanoseconds
from klineagg.bus._waiting import Records
from klineagg.bus.publisher import Publisher
from klineagg.bus.records import RecordType

if TYPE_CHECKING:
    from klineagg.bus.historical import HistoricalSubscriber

__all__ = ["LogHistory", "LoggedPublisher", "check_first"]


def check_first(first_sequence: int) -> None:
    """A log says where its publisher's sequence begins, and nobody else."""
    if first_sequence != 1:
        text = f"first_sequence={first_sequence!r} with wal=: the log's numbers are the sequence"
        hint = "leave first_sequence out, or publish without wal="
        raise errors.make("invalid_option", text, hint=hint, option="first_sequence")


class LoggedPublisher(Publisher):
    """A publisher whose records are in a log before anybody sees them.

    The numbers of the log are the sequence of the messages. What a predecessor had in the log and
    could not show any more is shown at the start. See :meth:`klineagg.bus.Bus.publisher`.
    """

    def __init__(
        self,
        place: tuple[str, int],
        topic: str,
        name: str,
        record: RecordType,
        *,
        wal: str | os.PathLike[str],
        sync: str = "interval",
        ring_bytes: int | None = None,
        orphan_after: float = 60.0,
        publishers_max: int = 10,
    ) -> None:
        check_publisher(ring_bytes, 1, publishers_max)
        self.topic = topic
        self.name = name
        self.record = record
        self._core = self._logged = _core.BusLoggedPublisher(
            place[0],
            place[1],
            topic,
            name,
            record.text,
            ring_bytes or 0,
            nanoseconds(orphan_after, "orphan_after"),
            publishers_max,
            os.fspath(wal),
            sync,
        )

    @property
    def durable(self) -> int:
        """Messages up to this sequence survive a power cut, too; 0 with ``sync="none"``."""
        return self._logged.durable


class LogHistory:
    """The logs of a topic's publishers, as a :class:`klineagg.bus.History`.

    Args:
        topic: the topic.
        wal: the folder that the publishers were given.
        record: what the records are.
        missing_ok: there may be no such folder yet, for one who starts before the publishers.

    Raises:
        WalError: ``wal_io``: there is no such folder. An empty one is the history of publishers
            that have sent nothing yet.
    """

    def __init__(
        self,
        topic: str,
        wal: str | os.PathLike[str],
        record: RecordType,
        *,
        missing_ok: bool = False,
    ) -> None:
        if not missing_ok and not os.path.isdir(wal):
            text = f"there are no logs of {topic}: {os.fspath(wal)} is no folder"
            hint = "give the folder that the publishers have as wal=; they make it when they start"
            raise errors.make("wal_io", text, hint=hint, path=os.fspath(wal))
        self.topic = topic
        self.record = record
        self._root = os.fspath(wal)

    @property
    def _place(self) -> tuple[str, str]:
        return self._root, self.topic

    def __repr__(self) -> str:
        names = ", ".join(self.publishers()) or "nobody yet"
        return f"<LogHistory of {self.topic!r} in {self._root!r}, by {names}>"

    def publishers(self) -> list[str]:
        """Names that have a log, sorted."""
        return _core.bus_logged_publishers(self._root, self.topic)

    def read(self, publisher: str, start: int, end: int | None) -> Iterator[Records]:
        """Records ``start <= sequence < end``; None: to the end that the log has by then."""
        yield from self._read(publisher, start, end, None, None)

    def _read(
        self,
        publisher: str,
        start: int,
        end: int | None,
        start_ns: int | None,
        end_ns: int | None,
    ) -> Iterator[Records]:
        for option, value in (("start", start), ("end", 1 if end is None else end)):
            if not is_integer(value):
                raise invalid(option, value, "the sequence of a message")
        if publisher not in self.publishers():
            return
        text = self.record.text
        replay = _core.BusLogReplay(
            self._root, self.topic, publisher, text, max(start, 1), end, start_ns, end_ns
        )
        while (records := replay.next(self.record.dtype)) is not None:
            yield records

    def replay(
        self,
        publisher: str,
        *,
        start: int = 1,
        end: int | None = None,
        start_time: Any = None,
        end_time: Any = None,
    ) -> Iterator[Records]:
        """What was published, as a historical subscriber: by sequence, by time, or both.

        Args:
            publisher: whose.
            start: first sequence.
            end: where it ends, not included.
            start_time: of publishing: datetime64, datetime or ISO text, in UTC, or ns.
            end_time: where it ends, not included.
        """
        first = None if start_time is None else time_ns(start_time, "start_time")
        last = None if end_time is None else time_ns(end_time, "end_time")
        yield from self._read(publisher, start, end, first, last)

    def subscriber(
        self,
        *publishers: str,
        start: int = 1,
        end: int | None = None,
        start_time: Any = None,
        end_time: Any = None,
    ) -> HistoricalSubscriber:
        """The records of several publishers as one stream, in the order of publish times.

        Args:
            publishers: whose; none: of all that have a log.
            start: as of :meth:`replay`, likewise those that follow.
            end: likewise.
            start_time: likewise.
            end_time: likewise.

        Returns:
            What loops, :meth:`~HistoricalSubscriber.run` and ``async for`` take; they end where
            the logs end. Each publisher's records stay in the order of their sequence.
        """
        from klineagg.bus.historical import HistoricalSubscriber, merged

        limits = {"start": start, "end": end, "start_time": start_time, "end_time": end_time}
        names = publishers or self.publishers()
        sources = {name: self.replay(name, **limits) for name in names}
        return HistoricalSubscriber(self.topic, merged(sources))
