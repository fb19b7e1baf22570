"""The write-ahead log: what was appended comes back, after whatever ended the process.

>>> import klineagg, tempfile
>>> from klineagg.data import load_bitmex
>>> folder = tempfile.TemporaryDirectory()
>>> with klineagg.Wal(folder.name) as wal:
...     number = wal.append_trades(load_bitmex())
>>> bars = klineagg.aggregate(klineagg.Wal.read_trades(folder.name), "1h")
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from klineagg import _core, errors
from klineagg._core_tables import core_columns
from klineagg._options import check_bool, check_bytes, choice, duration_ns, invalid, is_integer
from klineagg._wal_content import (
    TOPICS,
    TRADE_DTYPE,
    WalCheckpoint,
    WalContent,
    WalDamage,
    WalRecord,
    WalSegment,
    WalStats,
)
from klineagg._wal_events import WalEvent
from klineagg._wal_read import check_topic, inspect, replay, trades
from klineagg.columns import Normaliser

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "TOPICS",
    "TRADE_DTYPE",
    "Wal",
    "WalCheckpoint",
    "WalContent",
    "WalDamage",
    "WalEvent",
    "WalRecord",
    "WalSegment",
    "WalStats",
    "inspect",
    "replay",
    "trades",
]


class Wal:
    """The one writer of a log; any number of readers may read it meanwhile.

    Appending gives the records their sequence numbers (from 1 on, none is left out) and returns;
    a thread writes them. A record has survived a crash of the process when :attr:`written` has
    reached its number, and a power cut when :attr:`durable` has; :meth:`flush` waits for that.
    Opening repairs what a crash left behind its last whole record. Several threads may append.

    Args:
        path: the directory of the log; made when it is not there.
        fsync: ``"none"``: the system decides when bytes reach the disk; ``"interval"``: at the
            latest ``interval`` after they were written; ``"always"``: at once.
        interval: of ``fsync="interval"`` (``"100ms"``, timedelta, ns), from 1 ms to 1 h.
        segment_bytes: size of a file, from 16 KiB to 4 GiB.
        ring_bytes: memory for what waits to be written, from 4 KiB to 1 GiB.
        size_max: of all files; the oldest ones go above it; None: no limit.
        age_max: older files go (``"1d"``, timedelta, ns); None: none does by its age.
        keep_uncommitted: nothing goes that lies behind :meth:`set_committed`; at ``size_max`` the
            log halts then. False: it goes.
        timeout: how long appending waits for room (``"1s"``, timedelta, ns) when the disk is
            slower than what comes in; None: as long as it takes.
        salvage: opens a log whose last file is damaged, too; :attr:`lost` says what is lost. An
            engine with this log goes past all damage of it, and marks bars INCOMPLETE.

    Raises:
        WalError: ``wal_locked`` when another writer has it, ``wal_io``, ``wal_format``.
        WalDamagedError: ``wal_damaged`` for damage in the last file that no crash explains. Files
            before it may be many and are not read here: who reads them is told, and
            ``klineagg wal verify`` reads them all.
        OptionError: ``invalid_option``.
    """

    __slots__ = ("__weakref__", "_core", "_finalizer", "_path", "_salvages", "_timeout_ns")

    read = staticmethod(replay)
    read_trades = staticmethod(trades)
    inspect = staticmethod(inspect)

    def __init__(
        self,
        path: str | os.PathLike[str],
        fsync: str = "interval",
        *,
        interval: Any = "100ms",
        segment_bytes: int = 64 << 20,
        ring_bytes: int = 32 << 20,
        size_max: int | None = None,
        age_max: Any = None,
        keep_uncommitted: bool = True,
        timeout: Any = None,
        salvage: bool = False,
    ) -> None:
        self._path = os.fsdecode(path)
        # The call to the system would take what is before the null character.
        if not self._path or "\0" in self._path:
            raise invalid("path", self._path, "the path of a folder")
        self._timeout_ns = _timeout(timeout)
        self._salvages = check_bool(salvage, "salvage")
        choice(fsync, "fsync", ("none", "interval", "always"))
        self._core = _core.Wal(
            self._path,
            fsync=fsync,
            interval_ns=duration_ns(interval, "interval"),
            segment_bytes=_size(segment_bytes, "segment_bytes"),
            ring_bytes=_size(ring_bytes, "ring_bytes"),
            size_max=0 if size_max is None else _size(size_max, "size_max"),
            age_max_ns=0 if age_max is None else duration_ns(age_max, "age_max"),
            keep_uncommitted=check_bool(keep_uncommitted, "keep_uncommitted"),
            salvage=self._salvages,
        )
        # Also at the end of the interpreter, which destroys nothing for certain.
        self._finalizer = weakref.finalize(self, _close_quietly, self._core)

    # --- writing

    def append(self, topic: str, data: Buffer, *, timeout: Any = None) -> int:
        """Appends one record.

        Args:
            topic: one of :data:`TOPICS` but ``"trade"``.
            data: contiguous bytes, of at most :attr:`record_bytes_max`.
            timeout: in place of that of the log.

        Returns:
            Its sequence number.

        Raises:
            WalError: ``wal_record`` for what cannot be a record, ``wal_closed``.
            OptionError: ``invalid_option`` for a topic that is no text, and data without bytes.
            WalHaltedError: ``wal_halted``, ``wal_full``.
            WalTimeoutError: ``wal_timeout``; nothing was appended.
            EngineError: ``forked``, in a child of the process that opened the log.
        """
        check_topic(topic, TOPICS[1:])
        check_bytes(data, "data")
        return self._core.append(topic, data, self._wait_ns(timeout))

    def append_trades(
        self,
        trades: Any,
        *,
        columns: Mapping[str, str | None] | None = None,
        unit: str | None = None,
        side: str | None = None,
        symbol: str | int | None = None,
        conditions: Any = None,
        timeout: Any = None,
    ) -> int:
        """Appends trades, each of which is a record. They come back bit for bit, bad ones too.

        Symbols go by name. A side counts as that of a buyer (above 0) or not.

        Args:
            trades: as for :func:`klineagg.aggregate`.
            columns: role -> name of the column, as there.
            unit: of integer times, as there.
            side: ``"taker"`` or ``"maker"``, as there.
            symbol: of all trades, as there.
            conditions: a table, or its name, as there.
            timeout: in place of that of the log; it begins again with each block of rows.

        Returns:
            The sequence number of the last one; 0 when there was none.

        Raises:
            ColumnError, TimeUnitError: the input's shape; nothing of that batch is appended.
            WalError: ``wal_record`` for a time outside 64-bit nanoseconds or a trade that stands
                for more than 2**32, ``wal_closed``.
            WalHaltedError, WalTimeoutError: as for :meth:`append`; ``fields["appended_rows"]``
                says how many rows were appended, which are the first ones.
            EngineError: ``forked``.
        """
        timeout_ns = self._wait_ns(timeout)
        normaliser = Normaliser(columns, unit, side, conditions, symbol)
        rows = last = 0
        for chunk in normaliser.chunks(trades):
            try:
                last = self._core.append_trades(core_columns(chunk), timeout_ns)
            except errors.WalError as error:
                error.fields["appended_rows"] = rows + int(error.fields.get("appended_rows", 0))
                raise
            rows += len(chunk)
        return last

    def flush(self, timeout: Any = None, *, durable: bool | None = None) -> bool:
        """Waits until everything that was appended before is written. Ctrl-C ends it.

        Args:
            timeout: how long (``"1s"``, timedelta, ns); None: as long as it takes.
            durable: wait until it is on the disk, and have it synced now. None: with
                ``fsync="always"`` only.

        Returns:
            False when the timeout was over first.

        Raises:
            WalHaltedError: ``wal_halted``, ``wal_full``: it will not be written before
                :meth:`resume`.
            WalError: ``wal_closed``.
            OptionError: ``durable=True`` with ``fsync="none"``.
        """
        always = self._core.fsync == "always"
        synced = always if durable is None else check_bool(durable, "durable")
        return self._core.wait(self._core.next - 1, synced, _timeout(timeout))

    def resume(self) -> None:
        """Goes on after a halt, when its cause is mended, with everything that was appended.

        Raises:
            WalError, WalHaltedError: what is still wrong; the log is then still halted.
        """
        self._core.resume()

    def close(self) -> None:
        """Writes and syncs what was appended before. May be called again.

        Raises:
            WalError, WalHaltedError: the failure by which it has halted; it is closed all the same.
        """
        self._finalizer.detach()
        self._core.close()

    # --- reading

    def replay(
        self,
        from_seq: int | None = None,
        to_seq: int | None = None,
        topics: str | Iterable[str] | None = None,
        start: Any = None,
        end: Any = None,
        speed: float | None = None,
        *,
        salvage: bool = False,
    ) -> Iterator[WalRecord]:
        """The records in their order, those that were appended before this call included.

        Arguments, results and errors are those of :func:`klineagg.wal.replay`.
        """
        if self.state == "running":
            self.flush()
        return replay(self._path, from_seq, to_seq, topics, start, end, speed, salvage=salvage)

    def trades(
        self,
        from_seq: int | None = None,
        to_seq: int | None = None,
        start: Any = None,
        end: Any = None,
        *,
        salvage: bool = False,
    ) -> Iterator[NDArray[np.void]]:
        """The trades in batches, for :func:`klineagg.aggregate`; see :meth:`replay`."""
        if self.state == "running":
            self.flush()
        return trades(self._path, from_seq, to_seq, start, end, salvage=salvage)

    # --- retention

    def set_committed(self, sequence: int) -> None:
        """Everything up to ``sequence`` is safe elsewhere and may go; it never goes back.

        Raises:
            OptionError: no record has that number yet.
        """
        last = self._core.next - 1
        # What is committed ahead would let records go that nobody has stored.
        if not isinstance(sequence, int) or not 0 <= sequence <= last:
            raise errors.make(
                "invalid_option",
                f"committed is a number from 0 to {last}, the last record's, not {sequence!r}",
                option="sequence",
            )
        self._core.set_committed(sequence)

    def set_retention(self, *, size_max: int | None = None, age_max: Any = None) -> None:
        """Other limits, applied at once; None: no limit. See the class.

        Raises:
            OptionError: a ``size_max`` that does not hold two segments.
        """
        self._core.set_retention(
            0 if size_max is None else _size(size_max, "size_max"),
            0 if age_max is None else duration_ns(age_max, "age_max"),
        )

    # --- looking

    @property
    def path(self) -> str:
        """Its directory."""
        return self._path

    @property
    def id(self) -> str:
        """Of the log, the same for its whole life."""
        return self._core.id

    @property
    def fsync(self) -> str:
        """``"none"``, ``"interval"`` or ``"always"``."""
        return self._core.fsync

    @property
    def state(self) -> str:
        """``"running"``, ``"halted"``, ``"closed"``; ``"forked"`` in a child of its process."""
        return self._core.state

    @property
    def next_sequence(self) -> int:
        """The number that the next record will have."""
        return self._core.next

    @property
    def written(self) -> int:
        """Everything up to here is with the operating system: no crash of the process loses it."""
        return self._core.written

    @property
    def durable(self) -> int:
        """Everything up to here was synced to the disk; 0 with ``fsync="none"``."""
        return self._core.durable

    @property
    def record_bytes_max(self) -> int:
        """The most bytes that a record may have."""
        return self._core.payload_bytes_max

    @property
    def repaired_bytes(self) -> int:
        """What opening cut off behind the last whole record."""
        return self._core.repaired_bytes

    @property
    def lost(self) -> tuple[WalDamage, ...]:
        """What opening went past, with ``salvage=True``."""
        return tuple(WalDamage(*one) for one in self._core.lost())

    @property
    def failure(self) -> errors.KlineaggError | None:
        """Why it has halted."""
        failed = self._core.failure()
        return None if failed is None else errors.make(failed[0], failed[1])

    def stats(self) -> WalStats:
        """Counts."""
        return WalStats(**self._core.stats())

    def __enter__(self) -> Wal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes it. An exception that is on its way is not replaced by another one."""
        try:
            self.close()
        except errors.KlineaggError:
            if kind is None:
                raise

    def __repr__(self) -> str:
        if self.state == "forked":
            return f"<Wal {self._path!r}, forked>"
        text = f"<Wal {self._path!r}, {self.state}, fsync={self.fsync!r}: next {self.next_sequence}"
        text += f", written {self.written}"
        return text + ("" if self.fsync == "none" else f", durable {self.durable}") + ">"

    def _wait_ns(self, timeout: Any) -> int | None:
        return self._timeout_ns if timeout is None else _timeout(timeout)


def _timeout(value: Any) -> int | None:
    if value is None:
        return None
    ns = duration_ns(value, "timeout")
    if ns < 0:
        raise invalid("timeout", value, "not negative")
    return ns


def _size(value: Any, option: str) -> int:
    if not is_integer(value) or not 0 < value < 2**63:
        raise invalid(option, value, "a positive number of bytes")
    return int(value)


def _close_quietly(core: _core.Wal) -> None:
    with suppress(errors.KlineaggError):  # nobody is there any more to be told
        core.close()
