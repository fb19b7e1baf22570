"""Snapshots in shared memory: what one process describes, and another maps."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final

import numpy as np

from klineagg import errors
from klineagg._bars_columns import DTYPES
from klineagg._engine_snapshot import Snapshot, SnapshotId
from klineagg.bars import Bars
from klineagg.intervals import parse_intervals

__all__ = ["MappedSnapshot", "describe", "map_bytes", "map_snapshot", "share_bytes"]

_F_ADD_SEALS: Final = 1033
_F_GET_SEALS: Final = 1034
_SEAL_SEAL: Final = 0x1
_SEAL_SHRINK: Final = 0x2
_SEAL_GROW: Final = 0x4
_SEAL_WRITE: Final = 0x8


def describe(snapshot: Snapshot) -> tuple[dict[str, Any], list[int]]:
    """A snapshot of an engine with ``shared_snapshots`` as a message, and the files of its memory.

    The files stay open as long as the snapshot's columns.
    """
    message: dict[str, Any] = {
        "id": list(snapshot.id),
        "watermark": None if snapshot.watermark is None else int(snapshot.watermark.astype(int)),
        "rows_lost": snapshot.rows_lost,
        "intervals": list(snapshot.closed.intervals),
    }
    files: list[int] = []
    names: dict[int, str] = {}
    for part, bars in (("closed", snapshot.closed), ("open", snapshot.open)):
        shared = snapshot._core.shared(part == "open")
        if shared is None:
            message[part] = None
            continue
        file, size, offsets = shared
        message[part] = {"rows": len(bars), "bytes": size, "columns": offsets, "file": len(files)}
        files.append(file)
        ids, texts = bars._present_symbols()
        names.update(zip(ids, texts, strict=True))
    message["symbols"] = [list(names), list(names.values())]
    return message, files


class MappedSnapshot:
    """A snapshot of an engine in another process: the same memory, read-only.

    Attributes:
        consumer: name of the consumer.
        id: ``(epoch, number)``.
        closed: bars closed since the consumer's last acknowledged snapshot, not copied; they stay
            as they are for as long as anything refers to them, whatever becomes of the engine.
        open: the open bars that changed since then.
        watermark: how far the clock had closed all bars; None when it was never raised.
        rows_lost: closed bars that the engine had to give up before.
        position: of the source's log; None without one.
        checkpoint: the engine's state at this moment; None when it was not asked for.
    """

    def __init__(
        self,
        consumer: str,
        message: Mapping[str, Any],
        files: Sequence[int],
        settle: Callable[[str, SnapshotId], None],
    ) -> None:
        self.consumer: Final = consumer
        epoch, number = message["id"]
        self.id: Final = SnapshotId(epoch, number)
        watermark = message["watermark"]
        self.watermark: Final = None if watermark is None else np.datetime64(watermark, "ns")
        self.rows_lost: Final[int] = message["rows_lost"]
        self.position: Final[int | None] = message.get("position")
        intervals = parse_intervals(message["intervals"])
        symbols = dict(zip(*message["symbols"], strict=True))
        parts = [_mapped(message[part], files, symbols, intervals) for part in ("closed", "open")]
        self.closed: Final[Bars] = parts[0]
        self.open: Final[Bars] = parts[1]
        file = message.get("checkpoint")
        self.checkpoint: Final[bytes | None] = None if file is None else map_bytes(files[file])
        self._settle = settle
        self.state = "outstanding"

    def ack(self) -> None:
        """Tells the engine that the rows are stored.

        Raises:
            SnapshotError: ``snapshot_over``: its lease has expired; the rows come again.
            ControlError: ``control_unavailable``: the engine is gone.
        """
        self._settle("ack", self.id)
        self.state = "acknowledged"

    def nack(self) -> None:
        """Gives the rows back."""
        if self.state == "outstanding":
            self.state = "returned"
            self._settle("nack", self.id)

    def __enter__(self) -> MappedSnapshot:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.state != "outstanding":
            return
        if kind is None:
            self.ack()
            return
        # The engine may be gone, and its rows with it; the block's own error counts.
        with suppress(errors.ControlError):
            self.nack()

    def __repr__(self) -> str:
        return (
            f"<MappedSnapshot {self.consumer!r} #{self.id.number}: {len(self.closed):,} closed, "
            f"{len(self.open):,} open, {self.state}>"
        )


def map_snapshot(
    consumer: str,
    message: Mapping[str, Any],
    files: Sequence[int],
    settle: Callable[[str, SnapshotId], None],
) -> MappedSnapshot:
    """The snapshot of a message; the files are closed, the memory stays mapped.

    Raises:
        ControlError: ``control_refused`` for memory that could change or go away.
    """
    try:
        return MappedSnapshot(consumer, message, files, settle)
    finally:
        for file in files:
            os.close(file)


def _mapped(
    part: Mapping[str, Any] | None,
    files: Sequence[int],
    symbols: Mapping[int, str],
    intervals: Any,
) -> Bars:
    if part is None:
        return Bars.empty(intervals)
    file, size, rows = files[part["file"]], part["bytes"], part["rows"]
    _check_sealed(file, size)
    memory = mmap.mmap(file, size, prot=mmap.PROT_READ)
    columns = {
        name: np.frombuffer(memory, dtype, rows, part["columns"][name])
        for name, dtype in DTYPES.items()
    }
    return Bars(columns, symbols=symbols, intervals=intervals)


def _check_sealed(file: int, size: int) -> None:
    """Memory that shrinks while it is mapped would kill this process (SIGBUS)."""
    import fcntl
    import sys

    sealed = True
    if sys.platform == "linux":
        sealed = bool(fcntl.fcntl(file, _F_GET_SEALS) & _SEAL_SHRINK)
    if not sealed or os.fstat(file).st_size < size:
        text = "the memory of a snapshot is not sealed, or smaller than it should be"
        raise errors.make("control_refused", text)


def share_bytes(data: bytes) -> int:
    """A file in memory that holds ``data`` and does not change any more; yours to close."""
    if not hasattr(os, "memfd_create"):
        import tempfile

        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.flush()
            return os.dup(file.fileno())
    import fcntl

    found = os.memfd_create("klineagg-state", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(found, left) :]
        fcntl.fcntl(found, _F_ADD_SEALS, _SEAL_SEAL | _SEAL_SHRINK | _SEAL_GROW | _SEAL_WRITE)
    except BaseException:
        os.close(found)
        raise
    return found


def map_bytes(file: int) -> bytes:
    """What :func:`share_bytes` has put into a file."""
    size = os.fstat(file).st_size
    return os.pread(file, size, 0) if size else b""
