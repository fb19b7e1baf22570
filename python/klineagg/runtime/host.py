"""The engine and its source, held together at one moment when that is needed."""

from __future__ import annotations

import json
import logging
import threading
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from klineagg import errors
from klineagg._engine_snapshot import Snapshot
from klineagg.runtime.halts import Patience
from klineagg.runtime.left_out import LeftOut
from klineagg.runtime.place import PlaceFile
from klineagg.sources import Batch, Source

if TYPE_CHECKING:
    from klineagg.engine import Engine, PushResult

__all__ = ["Feeder", "Host", "pack_state", "take_waiting", "unpack_state"]

_MAGIC: Final = b"KLARUN1\n"
_PATIENCE_S: Final = 2.0
_WAITING: Final = "corrections"  # in a position, beside what the source says
_log: Final = logging.getLogger("klineagg.run")


def pack_state(position: dict[str, Any] | None, engine: bytes) -> bytes:
    """Where to read on, and the engine's state there, as one checkpoint."""
    head = json.dumps({"position": position, "engine": len(engine)}).encode()
    body = len(head).to_bytes(4, "big") + head + engine
    return _MAGIC + zlib.crc32(body).to_bytes(4, "big") + body


def unpack_state(data: bytes) -> tuple[dict[str, Any] | None, bytes]:
    """The parts of :func:`pack_state`.

    Raises:
        SourceError: ``source_failed``: the checkpoint is damaged, or not one of ours.
    """
    body = data[len(_MAGIC) + 4 :]
    crc = int.from_bytes(data[len(_MAGIC) : len(_MAGIC) + 4], "big")
    if not data.startswith(_MAGIC) or zlib.crc32(body) != crc:
        text = "the checkpoint in the lake is damaged, or was not written by klineagg run"
        raise errors.make("source_failed", text)
    size = int.from_bytes(body[:4], "big")
    head = json.loads(body[4 : 4 + size])
    return head["position"], bytes(body[4 + size :])


def take_waiting(engine: Engine, position: dict[str, Any] | None) -> dict[str, Any] | None:
    """Hands the corrections that waited when a position was kept to the engine that goes on.

    Returns:
        Where the source is to be read on; None for one that cannot be read again.
    """
    if position is not None:
        engine.wait_corrections(position.pop(_WAITING, ()))
    return position or None


class Host:
    """Lets trades in, and freezes them together with the source's position.

    Args:
        engine: running.
        source: that feeds it.
        patience: waits while the engine's log takes nothing.
        place: beside the engine's log.
    """

    def __init__(
        self,
        engine: Engine,
        source: Source,
        patience: Patience | None = None,
        place: PlaceFile | None = None,
    ) -> None:
        self.engine, self.source = engine, source
        self.patience = Patience(engine) if patience is None else patience
        self._place = place
        # What goes with the last checkpoint that each consumer was handed.
        self._frozen: dict[str, tuple[Any, dict[str, Any] | None]] = {}
        self.producer = engine.producer(name="source")
        if engine.wal is not None and source.position() is not None:
            # Those behind the last note: the source is read on from there.
            self.producer.skip_recovered()
        # Not held while a batch goes in, which may wait for room until a snapshot is acknowledged.
        self._gate = threading.Condition()
        self._between = True
        self._freezing = 0
        self._refused = 0
        # Those that wait from before the engine was made are in its last note or its state.
        self._noted_waiting = engine.corrections.waiting > 0
        self.rows = 0
        self.taken = 0  # of them; the others were rejected
        self.left_out = LeftOut(engine, source)

    def push(self, batch: Batch) -> None:
        """Hands a batch to the engine; waits as long as its lanes are full or its log has halted.

        Raises:
            WalHaltedError: ``wal_halted``, ``wal_full``, when it is to wait no more.
        """
        self.patience.before_batch()
        with self._gate:
            # Without this a feeder that never rests would never leave a moment between batches.
            self._gate.wait_for(lambda: not self._freezing)
            self._between = False
        # When this raises, part of it may be in: no position fits the engine's state any more, and
        # no state is handed out from then on.
        done = self.producer.push_all(batch.data, self.patience.halted)
        self.taken += done.offered - done.rejected
        if done.corrected or done.rejected:
            self._tell(done)
        self.left_out.look()
        with self._gate:
            self.source.done(batch)
        self._note()
        with self._gate:
            self.rows += batch.rows  # what they ask for is kept, too
            self._between = True
            self._gate.notify_all()

    def idle(self) -> None:
        """There are no trades just now: what waits for the end of its bar is tried again."""
        self.patience.look()
        self.left_out.look()
        if self.engine.corrections.waiting:
            try:
                self.engine.retry_corrections()
            except errors.WalHaltedError as error:
                self.patience.halted(error)
                return
            self._note_waiting()

    def position(self) -> dict[str, Any] | None:
        """Where the source is to be read on, with the corrections that wait for their bars."""
        position = self.source.position()
        waiting = self.engine.waiting_corrections()
        return {**(position or {}), _WAITING: waiting} if waiting else position

    def _note_waiting(self) -> None:
        """What came of those that waited; a source that is not read on says so nowhere else."""
        if self._noted_waiting and not self.engine.corrections.waiting:
            self._note()

    def _note(self) -> None:
        position = self.position()
        if self.engine.wal is None or (position is None and not self._noted_waiting):
            return
        self._noted_waiting = position is not None and _WAITING in position
        while True:
            try:
                self.engine.note(json.dumps(position).encode())
                return
            except errors.WalHaltedError as error:  # noqa: PERF203 - as often as it halts
                self.patience.halted(error)

    def _tell(self, done: PushResult) -> None:
        told = self.engine.corrections
        if done.corrected:
            _log.info("%d rows cancel or correct a trade; so far: %s", done.corrected, told)
        if sum(told.refused.values()) > self._refused:
            self._refused = sum(told.refused.values())
            _log.warning("trades cannot be cancelled or corrected: %s", told.refused)

    @property
    def pushing(self) -> bool:
        """Whether a batch is on its way into the engine."""
        return not self._between

    def mark(self) -> list[Any] | None:
        """Changes with everything that a snapshot may show; for JSON. None without a log."""
        if self.engine.wal is None:
            return None
        position = json.loads(json.dumps(self.position()))
        return [self.engine.accepted_position, position]

    def freeze(self, consumer: str, *, checkpoint: bool) -> tuple[Snapshot, bytes | None]:
        """What the consumer has not acknowledged, and the state that goes with it.

        There is a state only when asked for, and between batches: the source's position is not
        inside one. It waits for that moment, but not for ever: a batch may wait for room that only
        the ack of this snapshot makes.

        Raises:
            SnapshotError: ``snapshot_outstanding``.
            EngineError: ``worker_failed``.
        """
        with self._gate:
            if checkpoint:
                self._freezing += 1
                try:
                    checkpoint = self._gate.wait_for(lambda: self._between, _PATIENCE_S)
                finally:
                    self._freezing -= 1
                    self._gate.notify_all()
            snapshot = self.engine.take(consumer, checkpoint=checkpoint)
            if snapshot.checkpoint is None:
                return snapshot, None
            position = self.position()
            self._frozen[consumer] = snapshot.id, position
            return snapshot, pack_state(position, snapshot.checkpoint)

    def stored(self, snapshot: Snapshot) -> None:
        """Before the ack of a snapshot, by which the log may let its notes go.

        Raises:
            WalError: ``wal_io``: an older place would stay, and the snapshot is not to be
                acknowledged.
        """
        wal = self.engine.wal
        if wal is None or self._place is None:
            return
        for number, position in list(self._frozen.values()):  # others may be handed one just now
            if number == snapshot.id:
                self._place.keep(wal, position)


class Feeder(threading.Thread):
    """Reads the source into the engine until one of them ends.

    Args:
        host: takes the batches.
        ended: called at the end, with the error when there was one.
    """

    def __init__(self, host: Host, ended: Callable[[BaseException | None], None]) -> None:
        super().__init__(name="klineagg-feeder", daemon=True)
        self._host, self._ended = host, ended
        self._stop_now = threading.Event()

    def run(self) -> None:
        """The thread."""
        error: BaseException | None = None
        try:
            for batch in self._host.source.batches():
                if self._stop_now.is_set():
                    break
                if batch is None:
                    self._host.idle()
                    self._stop_now.wait(self._host.source.idle_s)
                else:
                    self._host.push(batch)
        except BaseException as problem:  # told to whoever runs us, whatever it is
            error = problem
        self._ended(error)

    def stop(self) -> None:
        """Ends soon; the batch at hand goes in, unless the log has halted."""
        self._stop_now.set()
        self._host.patience.stop()
        self._host.source.stop()
