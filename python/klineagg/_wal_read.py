"""What is in a write-ahead log: its records, its segments, its damages."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from klineagg import _core, errors
from klineagg._options import check_bool, invalid, is_integer, is_number, time_ns
from klineagg._wal_content import (
    TOPICS,
    TRADE_DTYPE,
    WalCheckpoint,
    WalContent,
    WalDamage,
    WalRecord,
    WalSegment,
)
from klineagg._wal_events import event_of

__all__ = ["inspect", "replay", "trades"]

_BATCH_ROWS: Final = 65_536
_INT64: Final = np.iinfo(np.int64)
_SEQUENCE_MAX: Final = 2**64 - 1


def replay(
    path: str | os.PathLike[str],
    from_seq: int | None = None,
    to_seq: int | None = None,
    topics: str | Iterable[str] | None = None,
    start: Any = None,
    end: Any = None,
    speed: float | None = None,
    *,
    salvage: bool = False,
    damages: list[WalDamage] | None = None,
) -> Iterator[WalRecord]:
    """The records of a log in their order, in bounded memory; also while it is written.

    Ends with the last record that the writer has given to the operating system by then.

    Args:
        path: the directory of the log.
        from_seq: the first sequence number; None: the oldest that there is.
        to_seq: the last one, included; None: all.
        topics: only these, one or several of :data:`klineagg.wal.TOPICS`; None: all.
        start: the earliest time of appending (datetime64, datetime, ISO text or ns, UTC). Of an
            engine with a simulated clock it is that clock's time, once it is set.
        end: where the time of appending ends, not included.
        speed: how many times as fast as it was appended: 1 takes as long as it took then. None:
            as fast as it can be read. Where a simulated clock is set there is no pause.
        salvage: go on behind damage instead of raising.
        damages: a list that gets what ``salvage`` went past.

    Yields:
        :class:`WalRecord`. Trades that follow each other come as one, of up to 65,536 rows or a
        few more; with ``speed`` as they were appended.

    Raises:
        WalDamagedError: ``wal_damaged``, at the place; ``fields`` has the range that is lost.
        WalError: ``wal_range`` when ``from_seq`` is older than the log, ``wal_io``,
            ``wal_format``, ``wal_record`` for a topic that there is not, ``wal_no_times`` when
            ``start``, ``end`` or ``speed`` is given for a log whose records have no time (earlier
            versions wrote none where an engine's clock had not been set).
        OptionError: ``invalid_option``.
    """
    if speed is not None and not (is_number(speed) and speed > 0):
        raise invalid("speed", speed, "a number above 0")
    if damages is not None and not isinstance(damages, list):
        raise invalid("damages", damages, "a list")
    reader = _open(path, from_seq, to_seq, topics, start, end, salvage)
    return _records(reader, speed, damages)


def trades(
    path: str | os.PathLike[str],
    from_seq: int | None = None,
    to_seq: int | None = None,
    start: Any = None,
    end: Any = None,
    *,
    salvage: bool = False,
    damages: list[WalDamage] | None = None,
) -> Iterator[NDArray[np.void]]:
    """The trades of a log in batches, for :func:`klineagg.aggregate`; see :func:`replay`.

    Yields:
        Arrays of :data:`klineagg.wal.TRADE_DTYPE`.
    """
    found = replay(path, from_seq, to_seq, "trade", start, end, salvage=salvage, damages=damages)
    return (record.trades for record in found if record.trades is not None)


def inspect(path: str | os.PathLike[str]) -> WalContent:
    """Reads a whole log and changes nothing; goes past damage.

    Args:
        path: the directory of the log.

    Raises:
        WalError: ``wal_io`` when it cannot be read, ``wal_format`` for another version.
    """
    where = os.fspath(path)
    _check_directory(where)
    segments = tuple(
        WalSegment(**{**one, "created": np.datetime64(one["created"], "ns")})
        for one in _core.wal_segments(where)
    )
    records: dict[str, int] = {}
    events: dict[str, int] = {}
    sizes: dict[str, int] = {}
    first = last = 0
    began: np.datetime64
    ended: np.datetime64
    began = ended = np.datetime64("NaT", "ns")
    reader = _open(where, None, None, None, None, None, True)
    while (found := reader.next(TRADE_DTYPE, 1)) is not None:
        topic, one, last, ns, _, data, said = found
        if topic != "trade" and (event := event_of(said, topic, data)) is not None:
            events[event.kind] = events.get(event.kind, 0) + 1
        records[topic] = records.get(topic, 0) + last - one + 1
        sizes[topic] = sizes.get(topic, 0) + (data.nbytes if topic == "trade" else len(data))
        first = first or one
        if ns:
            ended = _appended(ns)
            began = ended if np.isnat(began) else began
    return WalContent(
        path=where,
        segments=segments,
        records=records,
        events=events,
        checkpoints=tuple(WalCheckpoint(*one) for one in _core.wal_checkpoints(where)),
        bytes=sizes,
        first=first,
        last=last,
        start=began,
        end=ended,
        damages=tuple(WalDamage(*one) for one in reader.damages()),
        torn_bytes=reader.torn_bytes,
        is_sealed=reader.is_sealed,
    )


def _open(
    path: str | os.PathLike[str],
    from_seq: int | None,
    to_seq: int | None,
    topics: str | Iterable[str] | None,
    start: Any,
    end: Any,
    salvage: bool,
) -> _core.WalReader:
    where = os.fspath(path)
    _check_directory(where)
    for name, value in (("from_seq", from_seq), ("to_seq", to_seq)):
        if value is not None and not (is_integer(value) and 0 <= value <= _SEQUENCE_MAX):
            raise invalid(name, value, "a sequence number, from 1 on")
    return _core.WalReader(
        where,
        from_seq=from_seq or 0,
        to_seq=_SEQUENCE_MAX if to_seq is None else to_seq,
        topics=_topics(topics),
        start=_INT64.min if start is None else time_ns(start, "start"),
        end=_INT64.max if end is None else time_ns(end, "end"),
        salvage=check_bool(salvage, "salvage"),
    )


def _topics(topics: str | Iterable[str] | None) -> list[str]:
    if topics is None:
        return []
    if isinstance(topics, str):
        return [check_topic(topics)]
    if isinstance(topics, bytes) or not isinstance(topics, Iterable):
        raise invalid("topics", topics, "a topic, or several")
    return [check_topic(each) for each in topics]


def check_topic(name: Any, among: Sequence[str] = TOPICS) -> str:
    """The name of a topic of a log.

    Raises:
        WalError: ``wal_record`` for a topic that there is not.
        OptionError: ``invalid_option`` for what is no name.
    """
    if not isinstance(name, str):
        raise invalid("topic", name, f"one of {', '.join(map(repr, among))}")
    if name not in TOPICS:
        hint = f"its topics are {', '.join(among)}"
        raise errors.make("wal_record", f"a log has no topic {name!r}", hint=hint, topic=name)
    return name


def _appended(ns: int) -> np.datetime64:
    """Earlier versions wrote 0 where the clock of an engine had not been set."""
    return np.datetime64(ns, "ns") if ns else np.datetime64("NaT", "ns")


def _check_directory(path: str) -> None:
    if not os.path.isdir(path):
        text = f"there is no log: {path} is no directory"
        raise errors.make("wal_io", text, hint="give the directory of the log", path=path)


class _Pace:
    """Waits between records as long as it took to append them, or a part of that.

    Args:
        speed: how many times as fast.
    """

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._begin = time.monotonic()
        self._origin: int | None = None
        self._is_system: bool | None = None

    def wait(self, topic: str, ns: int, is_system: bool) -> None:
        """Until a record is due; ``is_system``: its time is not that of a simulated clock."""
        if not ns:
            if self._origin is None and topic == "trade":
                raise _no_times()
            return
        if self._origin is None or is_system is not self._is_system:
            # From one clock to the other there is no distance.
            self._begin, self._origin, self._is_system = time.monotonic(), ns, is_system
        left = self._begin + (ns - self._origin) / 1e9 / self._speed - time.monotonic()
        if left > 0:
            time.sleep(left)


def _no_times() -> errors.KlineaggError:
    text = "the records asked for have no time: an earlier version wrote none for such an engine"
    return errors.make("wal_no_times", text)


def _records(
    reader: _core.WalReader, speed: float | None, damages: list[WalDamage] | None
) -> Iterator[WalRecord]:
    pace = None if speed is None else _Pace(speed)
    rows = _BATCH_ROWS if speed is None else 1
    told = 0
    is_empty = True
    while True:
        found = reader.next(TRADE_DTYPE, rows)
        if damages is not None:
            lost = reader.damages()
            damages += [WalDamage(*one) for one in lost[told:]]
            told = len(lost)
        if found is None:
            if is_empty and reader.has_untimed:
                raise _no_times()
            return
        is_empty = False
        topic, first, last, ns, is_system, data, said = found
        if pace is not None:
            pace.wait(topic, ns, is_system)
        when = _appended(ns)
        if topic == "trade":
            yield WalRecord(topic, first, last, when, trades=data)
        else:
            event = event_of(said, topic, data)
            yield WalRecord(topic, first, last, when, data=data, event=event)
