"""The engine and its log: what was recovered, what is accepted, and the way on after a halt."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from klineagg import _core, errors
from klineagg._options import check_bytes

if TYPE_CHECKING:
    from klineagg._engine_clock import SimulatedClock, SystemClock
    from klineagg.wal import Wal

__all__ = ["EngineWalStats", "Journaled", "Recovery", "path_of", "wal_of", "wal_stats"]


@dataclass(frozen=True, slots=True)
class Recovery:
    """What an engine found in its log when it was made.

    Attributes:
        checkpoint: position of the checkpoint that it began with; 0: there was none.
        position: of the last record that counts; 0: the log was empty.
        trades: how many were read behind the checkpoint.
        records: other records of the engine, likewise.
        symbols: how many the checkpoint had.
        note: what :meth:`Engine.note` wrote last; None: nothing since the checkpoint.
        seconds: how long it took.
        missing: records before the first that there is, which only a checkpoint had that is no
            more; a log opened with ``salvage=True`` goes on without them.
    """

    checkpoint: int
    position: int
    trades: int
    records: int
    symbols: int
    note: bytes | None
    seconds: float
    missing: int = 0


@dataclass(frozen=True, slots=True)
class EngineWalStats:
    """How an engine's log is doing.

    Attributes:
        accepted: up to here trades are in the log, as its mode asks, and none is taken back.
        next: the number that the next record will have.
        written: up to here a crash of the process loses nothing.
        durable: up to here a power cut loses nothing.
        committed: up to here the log may be dropped: consumers have acknowledged a checkpoint.
        halted: nothing is accepted until :meth:`Engine.resume`.
        cause: name of the error that halted it; empty.
        halts: how often it has halted.
        bytes: written, by this process.
        syncs: by this process.
        segment_bytes: what its files take.
        would_block: how often a worker found its ring full.
        checkpoint_failures: files of checkpoints that could not be written.
    """

    accepted: int
    next: int
    written: int
    durable: int
    committed: int
    halted: bool
    cause: str
    halts: int
    bytes: int
    syncs: int
    segment_bytes: int
    would_block: int
    checkpoint_failures: int


def wal_of(wal: Wal | str | os.PathLike[str] | None) -> tuple[Wal | None, bool]:
    """The log that was given, and whether the engine has opened it itself."""
    if wal is None:
        return None, False
    from klineagg.wal import Wal  # not needed by engines without one

    if isinstance(wal, Wal):
        return wal, False
    if not isinstance(wal, (str, os.PathLike)):
        text = f"wal={wal!r} is neither a Wal nor a path"
        raise errors.make("invalid_option", text, option="wal", value=wal)
    return Wal(wal), True


def path_of(wal: Wal | str | os.PathLike[str] | None) -> str | None:
    """Where the log lies, wherever the process goes; :func:`wal_of` refuses what cannot be one."""
    place = wal if isinstance(wal, (str, os.PathLike)) else getattr(wal, "path", None)
    return None if place is None else os.path.abspath(place)


def wal_stats(core: _core.Engine) -> EngineWalStats | None:
    """The log of an engine as it stands."""
    told = core.journal()
    return None if told is None else EngineWalStats(**told)


class Journaled:
    """The part of :class:`klineagg.Engine` that has to do with its log."""

    _core: _core.Engine
    _wal: Wal | None
    _owns_wal: bool
    _clock: SimulatedClock | SystemClock
    _lock: threading.Lock

    @property
    def wal(self) -> Wal | None:
        """The log; None without one."""
        return self._wal

    @property
    def recovery(self) -> Recovery | None:
        """What was found in the log; None without one."""
        if self._wal is None:
            return None
        told: Mapping[str, Any] = self._core.recovery()
        return Recovery(
            **{name: told[name] for name in ("checkpoint", "position", "trades", "records")},
            symbols=told["symbols"],
            note=told["note"],
            seconds=told["took_ns"] / 1e9,
            missing=told["missing"],
        )

    @property
    def accepted_position(self) -> int:
        """Number of the last record of the log that counts; 0 without a log."""
        return self._core.accepted_position()

    def note(self, data: bytes) -> int:
        """Writes a word of the application into the log: behind all that was pushed before.

        After a crash :attr:`recovery` has the last one: the place in a source of trades, for
        example. See also :meth:`Producer.skip_recovered`.

        Returns:
            Its number in the log; it is accepted.

        Raises:
            WalHaltedError: ``wal_halted``, ``wal_full``.
            EngineError: ``engine_state`` without a log, ``worker_failed``.
        """
        check_bytes(data, "data")
        return self._core.note(bytes(data))

    def resume(self) -> None:
        """Accepts trades again, after the log has halted and the cause is mended.

        Raises:
            WalError: what is still wrong; it stays halted.
        """
        self._core.resume()

    def _close_wal(self) -> None:
        if self._wal is not None and self._owns_wal:
            with suppress(errors.WalError):  # a halt was told to everybody who pushed
                self._wal.close()
