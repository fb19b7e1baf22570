"""``klineagg worker``: stores the bars of an engine in another process."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from klineagg import errors
from klineagg.config import Watcher
from klineagg.config.reading import invalid_key, lines_of
from klineagg.runtime.daily import Upkeep, daily_update, day_of
from klineagg.runtime.logs import set_level
from klineagg.runtime.persist import Persister
from klineagg.runtime.remote import RemoteHost
from klineagg.runtime.setup import open_lake
from klineagg.runtime.timer import Timer
from klineagg.tasks import Context, load_modules
from klineagg.tasks.queues import PersistQueue, TaskQueue

if TYPE_CHECKING:
    from klineagg.config import Config

__all__ = ["Worker"]

_log: Final = logging.getLogger("klineagg.worker")


class Worker:
    """A consumer of tasks that maps snapshots of a running engine, and writes them to the lake.

    It may begin before the engine, and outlive it; it waits for the next one then.

    Args:
        config: the engine's.

    Raises:
        ConfigError, LakeError, TaskError: it cannot begin.
    """

    def __init__(self, config: Config) -> None:
        if config.persist.by != "worker":
            reason = 'it has to be "worker" for a worker to store bars'
            hint = "else `klineagg run` stores them itself, and no worker is needed"
            raise invalid_key(config.path, lines_of(config.path), "persist.by", reason, hint)
        self.config = config
        self.upkeep = Upkeep()
        self._watcher = None if config.path is None else Watcher(config)
        with ExitStack() as stack:
            load_modules(config.tasks.modules, config.at("."))
            self.lake = open_lake(config)
            stack.callback(self.lake.close)
            self.host = RemoteHost(config.socket)
            stack.callback(self.host.close)
            self.persister = Persister(self.host, lambda: self.lake)
            self.queue = PersistQueue(config.at(config.tasks.broker), self.persister.persist)
            self.timer = Timer(config.persist.persistence_interval_ms, self.queue.enqueue)
            self.tasks = TaskQueue(
                lambda: self.config,
                Context(self.lake, config, self.host.status),
                daily=lambda *day: daily_update(self.config, self.lake, *map(day_of, day)),
                maintenance=lambda: self.upkeep(self.config, self.lake),
            )
            self._stack = stack.pop_all()

    def start(self) -> None:
        """Begins to store."""
        self.queue.start(self.config.persist.persistence_interval_ms)
        self.tasks.start()
        self.timer.start()
        _log.info("stores the bars of %s", self.config.socket)

    def step(self) -> bool:
        """A look at the configuration; False never: a worker is ended from outside."""
        # A newer engine has the lake now, and the next snapshot will be one of its.
        self.persister.refusal = None
        if self._watcher is None:
            return True
        try:
            change = self._watcher.look()
        except errors.KlineaggError as error:
            _log.error("the changed configuration is refused: %s", error.message)
            return True
        if change is not None:
            self._watcher.accept(change)
            self.config = change.config
            self.timer.interval_ms = change.config.persist.persistence_interval_ms
            set_level(change.config)
        return True

    def stop(self) -> None:
        """Waits for the task at hand; the rows that are left stay with the engine."""
        self.timer.stop()
        self.queue.stop()
        self.tasks.stop()
        self._stack.close()

    def line(self) -> str:
        """How it is doing, in a line."""
        of = self.persister
        told = f"worker: {of.commits:,} commits, {of.rows:,} bars stored"
        return f"{told}, NOT STORED: {of.error}" if of.error else told

    def describe(self) -> dict[str, Any]:
        """Counts, for JSON."""
        return self.persister.describe()
