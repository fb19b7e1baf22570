"""``klineagg run``: source, engine, lake and tasks in one process."""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from klineagg import errors
from klineagg._options import duration_ns
from klineagg.config import Watcher
from klineagg.runtime.control import Reply, Server
from klineagg.runtime.correcting import OPERATIONS, correct
from klineagg.runtime.daily import Upkeep, daily_update, day_of
from klineagg.runtime.host import Feeder, Host, take_waiting
from klineagg.runtime.lending import Lender
from klineagg.runtime.link import LakeLink
from klineagg.runtime.logs import set_level
from klineagg.runtime.metrics import metrics_text
from klineagg.runtime.persist import Persister
from klineagg.runtime.place import PlaceFile
from klineagg.runtime.setup import (
    CONSUMER,
    changes_of_engine,
    open_lake,
    open_wal,
    patience_of,
    tell_lost,
)
from klineagg.runtime.timer import Timer
from klineagg.sources import make
from klineagg.tasks import Context, load_modules
from klineagg.tasks.queues import PersistQueue, TaskQueue

if TYPE_CHECKING:
    from klineagg.config import Config
    from klineagg.lake import Fence

__all__ = ["App", "seconds"]

_PLACE: Final = ("kind", "file", "files", "rows", "topic")  # of a source's position
_log: Final = logging.getLogger("klineagg.run")


def seconds(text: str) -> float:
    """A length of time of the configuration."""
    return 0.0 if text in ("0", "0s") else duration_ns(text, "duration") / 1e9


class App:
    """Everything that ``klineagg run`` holds together.

    Args:
        config: with its file when changes of it are to be applied.
        salvage: goes on past damage in the engine's log.

    Raises:
        ConfigError, ControlError, LakeError, SourceError, TaskError: it cannot begin.
    """

    def __init__(self, config: Config, *, salvage: bool = False) -> None:
        self.config = config
        self._salvage = salvage
        self.upkeep = Upkeep()
        self.began = time.monotonic()
        self._watcher = None if config.path is None else Watcher(config)
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self.state = "starting"
        with ExitStack() as stack:
            self._make(stack)
            self._stack = stack.pop_all()

    def _make(self, stack: ExitStack) -> None:
        config = self.config
        load_modules(config.tasks.modules, config.at("."))
        # First of all: its lock keeps a second engine away from the lake.
        self.server = Server(config.socket, self._answer, self._left)
        stack.callback(self.server.close)
        self.lake = open_lake(config, lazy=True)
        stack.callback(self.lake.close)
        self.link = LakeLink(self.lake, config)
        self.link.claim()
        self.wal = open_wal(config, salvage=self._salvage)
        if self.wal is not None:
            if self._salvage:
                tell_lost(self.wal)
            stack.callback(self._close_wal)
        self.engine, position = self.link.engine(self.wal)
        recovery = self.engine.recovery
        if recovery is not None and recovery.missing:
            _log.error(
                "records 1 ... %d are gone with the checkpoint: bars that they may concern are "
                "INCOMPLETE", recovery.missing,
            )  # fmt: skip
        if recovery is not None and recovery.position:
            _log.info(
                "read %d trades behind record %d of the log in %.2f s",
                recovery.trades, recovery.checkpoint, recovery.seconds,
            )  # fmt: skip
        position = take_waiting(self.engine, position)
        if position is not None:
            places = {key: position[key] for key in _PLACE if position.get(key) is not None}
            if "files" in places:  # a place for each: too much for a line
                places["files"] = len(places["files"])
            _log.info("goes on at %s", ", ".join(f"{key} {place}" for key, place in places.items()))
        self.source = make(config, position)
        stack.callback(self.source.close)
        self.engine.start()
        stack.callback(self._stop_engine)
        patience = patience_of(config, self.engine)
        self.host = Host(self.engine, self.source, patience, PlaceFile(config))
        self.lender = Lender(self.host, seconds(config.engine.lease))
        stack.callback(self.lender.close)
        self.persister = Persister(self.host, self.link.join)
        self.feeder = Feeder(self.host, self._on_end)
        self.queue: PersistQueue | None = None
        self.tasks: TaskQueue | None = None
        self.timer: Timer | None = None
        if config.persist.by == "run":
            self._make_tasks()

    def _make_tasks(self) -> None:
        config = self.config
        queue = PersistQueue(config.at(config.tasks.broker), self.persister.persist)
        self.queue = queue
        self.timer = Timer(config.persist.persistence_interval_ms, queue.enqueue)
        self.tasks = TaskQueue(
            lambda: self.config,
            Context(self.lake, config, self.status),
            daily=lambda *day: daily_update(self.config, self.link.join(), *map(day_of, day)),
            maintenance=lambda: self.upkeep(self.config, self.link.join()),
        )

    # -- life ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begins to read, to store and to answer."""
        if self.queue is not None and self.tasks is not None and self.timer is not None:
            self.queue.start(self.config.persist.persistence_interval_ms)
            self.tasks.start()
            self.timer.start()
        self.server.start()
        self.feeder.start()
        self.state = "running"
        _log.info("runs as process %d, socket %s", os.getpid(), self.config.socket)

    def step(self) -> bool:
        """A look at everything, to be taken now and then; False when it is time to end."""
        self.lender.expire()
        self._look_at_config()
        if self._refusal is not None or self.engine.state == "failed":
            return False
        if not self._ended.is_set():
            return True
        return self._error is None and self.config.source.on_end == "wait"

    def stop(self) -> None:
        """Ends orderly: what was read is applied, stored and acknowledged.

        Raises:
            KlineaggError: the source or the engine failed, or the last rows are not stored.
        """
        self.state = "draining"
        error: BaseException | None = None
        try:
            self.feeder.stop()
            if self.feeder.ident is not None:
                self._join_feeder()
            if self.timer is not None:
                self.timer.stop()
            for queue in (self.queue, self.tasks):
                if queue is not None:
                    queue.stop()
            if self.engine.state == "running":
                if left := self.engine.retry_corrections():
                    _log.warning("%d corrections wait for the end of their bars still", left)
                self.engine.drain()
            self._store_the_rest()
        except BaseException as problem:
            error = problem
        finally:
            self.state = "stopped"
            self._stack.close()
        if self._error is not None:
            raise self._error
        if error is not None:
            raise error
        _log.info("ended; %d rows read, all bars stored", self.host.rows)

    def _join_feeder(self) -> None:
        """It may wait for room, which only storing makes; a source may wait for its next line."""
        until = time.monotonic() + seconds(self.config.runtime.shutdown_timeout)
        while self.feeder.is_alive() and time.monotonic() < until:
            self.feeder.join(0.5)
            if self.feeder.is_alive() and not self.host.pushing:
                return

    def _store_the_rest(self) -> None:
        if self._refusal is not None:  # what is left belongs to whoever has the lake now
            raise self._refusal
        patience = seconds(self.config.runtime.shutdown_timeout)
        begin = time.monotonic()
        while not self._is_stored(time.monotonic() - begin, patience):
            time.sleep(0.2)

    def _is_stored(self, waited: float, patience: float) -> bool:
        try:
            while self.persister.persist():
                pass
        except errors.KlineaggError as error:
            if self._refusal is not None or waited > patience:
                raise
            if error.name == "snapshot_outstanding" and waited > patience / 2:
                self.lender.close()  # whoever has it has had the time to store it
            _log.warning("not all bars are stored yet: %s", error)
            return False
        return True

    @property
    def _refusal(self) -> errors.KlineaggError | None:
        return self.persister.refusal or self.link.refusal

    def _close_wal(self) -> None:
        with suppress(errors.WalError):  # its halt was told
            if self.wal is not None:
                self.wal.close()

    def _stop_engine(self) -> None:
        with suppress(errors.EngineError):
            self.engine.stop()

    def _on_end(self, error: BaseException | None) -> None:
        if error is None:
            self.host.left_out.look(final=True)
            try:
                if self.state != "draining":  # it was told to end: there may be more to come
                    self.host.left_out.check_any(self.host.taken)
            except errors.SourceError as problem:
                error = problem
        self._error = error
        if error is not None:
            _log.error("the source has failed: %s", error)
        else:
            _log.info("the source has ended after %d rows", self.host.rows)
        self._ended.set()

    # -- the configuration while it runs ---------------------------------------------------------

    def _look_at_config(self) -> None:
        if self._watcher is None:
            return
        try:
            change = self._watcher.look()
            if change is None:
                return
            told = changes_of_engine(change.config, change.changes)
            if told:
                self.engine.reconfigure(**told)
        except errors.KlineaggError as error:
            _log.error("the changed configuration is refused: %s", error.message)
            return
        self._watcher.accept(change)
        self.config = new = change.config
        self.lender.lease_s = seconds(new.engine.lease)
        if self.timer is not None:
            self.timer.interval_ms = new.persist.persistence_interval_ms
        self.source.retime(new.source.poll_ms / 1e3, new.source.settle_ms / 1e3)
        set_level(new)
        for key, (before, after) in change.changes.items():
            _log.info("%s is %r now; it was %r", key, after, before)

    # -- who asks --------------------------------------------------------------------------------

    def _left(self, connection: int) -> None:
        if self.state in ("running", "draining"):
            self.lender.left(connection)

    def _answer(self, connection: int, request: dict[str, Any]) -> Reply:
        op = request.get("op")
        if op == "status":
            return self.status(), ()
        if op == "metrics":
            return {"text": self.metrics_text()}, ()
        if op == "mark" and self.state == "running":
            self.lender.seen(connection)
            return {"mark": self.host.mark()}, ()
        if op == "take" and self.state == "running":
            if request["consumer"] == CONSUMER:
                if self.config.persist.by == "run":
                    text = 'this engine stores its bars itself: [persist] by is "run"'
                    raise errors.make("control_refused", text)
                self.link.join()  # a worker cannot tell whether the lake is that of this engine
            return self.lender.take(
                connection, request["consumer"],
                checkpoint=bool(request.get("checkpoint")), process=request.get("process"),
            )  # fmt: skip
        if op in ("ack", "nack"):
            self.lender.settle(op, tuple(request["id"]))
            return {}, ()
        if op in OPERATIONS and self.state == "running":
            of = self.config.engine
            return correct(self.engine, self.link.join, request, horizon=str(of.amend_horizon)), ()
        if op == "stop":
            self._ended.set()
            return {}, ()
        raise errors.make("control_refused", f"the engine is {self.state}; it cannot do {op!r}")

    def status(self) -> dict[str, Any]:
        """How it is doing, for JSON."""
        rows_read = self.host.rows  # before the counts, which then have them all
        counts = self.engine.counts()
        fence, lake_error = self._fence() if self.state == "running" else (None, None)
        return {
            "name": self.config.runtime.name,
            "process": os.getpid(),
            "state": self.state,
            "uptime_s": round(time.monotonic() - self.began, 3),
            "intervals": list(self.engine.intervals),
            "rows_read": rows_read,
            "accepted": counts.accepted,
            "in_flight": counts.in_flight,
            "rejected": {name: count for name, count in counts.rejected.items() if count},
            "dropped": {name: count for name, count in counts.dropped.items() if count},
            "corrections": asdict(self.engine.corrections),
            "wal": None if self.wal is None else self.wal_status(),
            "source": self.source.describe(),
            "source_ended": self._ended.is_set(),
            "stored_by": self.config.persist.by,
            "persist": self.persister.describe(),
            "maintenance": self.upkeep.describe(),
            "persistence_interval_ms": self.config.persist.persistence_interval_ms,
            "lake": None if fence is None else list(fence.id),
            "lake_error": lake_error,
            "consumers": self.lender.borrowers(),
            "lent": self.lender.lent,
            "outstanding": self.lender.outstanding,
            "loans": self.lender.describe(),
            "tasks": [] if self.tasks is None else self.tasks.names(),
        }

    def _fence(self) -> tuple[Fence | None, str | None]:
        """The lake's last snapshot, or why it cannot be asked: a status is wanted most then."""
        if self.link.error is not None:
            return None, str(self.link.error)  # asking it may take as long as a network waits
        try:
            return self.lake.fence(), None
        except errors.KlineaggError as error:
            return None, str(error)

    def metrics_text(self) -> str:
        """Its numbers, for Prometheus."""
        return metrics_text(
            self.engine, self.persister, self.lender, self.queue, self.lake, self.upkeep
        )

    def wal_status(self) -> dict[str, Any]:
        """How the log is doing, for JSON."""
        stats = self.engine.stats().wal
        halts = self.host.patience.describe()
        return {} if stats is None else {**asdict(stats), "waiting": halts}

    def line(self) -> str:
        """How it is doing, in a line."""
        counts, of = self.engine.counts(), self.persister
        if cause := self.host.patience.cause:
            return f"{self.state}: {counts.accepted:,} trades, NOTHING IS ACCEPTED: {cause}"
        told = f"{self.state}: {counts.accepted:,} trades, {of.rows:,} bars stored"
        if self.config.persist.by == "worker":
            told = f"{self.state}: {counts.accepted:,} trades, {self.lender.lent:,} snapshots lent"
            told += "" if self.lender.borrowers() else ", NO WORKER IS CONNECTED"
        return f"{told}, NOT STORED: {of.error}" if of.error else told
