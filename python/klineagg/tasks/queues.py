"""Huey: its queues, its consumers, and what is in them."""

from __future__ import annotations

import logging
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from klineagg import errors
from klineagg._bars_extras import require
from klineagg.tasks.registry import Context, Task, registered

if TYPE_CHECKING:
    from klineagg.config import Config

__all__ = ["PersistQueue", "TaskQueue", "crontab_of"]

_log: Final = logging.getLogger("klineagg.tasks")
_STOP_S: Final = 30.0
_AGAIN_S: Final = 60.0
_NUMBERED: Final = re.compile(r"[0-9a-f]*[0-9][-0-9a-f]*")  # numbers, and UUIDs in names of files


def _daily(day: str = "yesterday") -> None:
    """What klineagg.daily takes."""


def _maintenance() -> None:
    """What klineagg.maintenance takes."""


_BUILT_IN: Final = {"klineagg.daily": _daily, "klineagg.maintenance": _maintenance}


def _huey(name: str, broker: Path) -> Any:
    huey = require("huey", "run", "the queue of tasks")
    broker.parent.mkdir(parents=True, exist_ok=True)
    try:
        # A lost task costs nothing, so the broker need not wait for the disk.
        return huey.SqliteHuey(name, filename=str(broker), results=False, fsync=False, utc=True)
    except sqlite3.Error as error:
        text = f"the queue of tasks {broker} cannot be opened: {error}"
        hint = "look at [tasks] broker; a damaged queue may be removed, no bar is lost by it"
        raise errors.make("file_not_written", text, hint=hint, file=str(broker)) from error


def _consumer(queue: Any, **options: Any) -> Any:
    """A consumer in threads of this process, which keeps its own signal handlers."""
    consumers = require("huey.consumer", "run", "the queue of tasks")

    class Embedded(consumers.Consumer):  # type: ignore[misc,name-defined]
        def _set_signal_handlers(self) -> None:
            return

    return Embedded(
        queue,
        worker_type="thread",
        check_worker_health=False,
        shutdown_timeout=_STOP_S,
        flush_locks=True,
        **options,
    )


class _Trouble:
    """Tells of what fails as often as it is tried: at once, and then once a minute."""

    def __init__(self) -> None:
        self._text = ""
        self._told = -_AGAIN_S
        self._failures = 0

    def failed(self, error: Exception) -> None:
        """It failed."""
        self._failures += 1
        now = time.monotonic()
        # Without names of files that are new each time: a full disk would get a line each time.
        text = _NUMBERED.sub("", str(error))
        if text != self._text or now - self._told >= _AGAIN_S:
            _log.warning("bars are not stored yet: %s", error)
            self._text, self._told = text, now

    def over(self) -> None:
        """It did not fail."""
        if self._failures:
            _log.info("bars are stored again; that failed %d times", self._failures)
            self._text, self._failures = "", 0


class PersistQueue:
    """The queue of the task that stores bars: one waits at most, however slow it is.

    Args:
        broker: the SQLite file.
        persist: what the task does; None where tasks are only enqueued.
    """

    def __init__(self, broker: Path, persist: Callable[[], Any] | None = None) -> None:
        self._huey = _huey("klineagg-persist", broker)
        self._consumer: Any = None
        self.enqueued = self.coalesced = 0
        trouble = self._trouble = _Trouble()

        def run() -> None:
            if persist is None:
                return
            try:
                persist()
            except Exception as error:  # told, and tried again with the next task
                trouble.failed(error)
            else:
                trouble.over()

        self._task = self._huey.task(name="klineagg.persist")(run)

    def enqueue(self) -> bool:
        """Adds a task unless one waits already, or the broker fails; says whether it did."""
        try:
            if self._huey.storage.queue_size():
                self.coalesced += 1
                return False
            self._task()
        except sqlite3.Error as error:  # a full disk: told now and then, and tried again
            self._trouble.failed(error)
            return False
        self.enqueued += 1
        return True

    def start(self, interval_ms: int) -> None:
        """Runs tasks in a thread of this process; their latency fits the interval."""
        delay = min(max(interval_ms / 1e3 / 4, 0.005), 0.1)
        self._consumer = _consumer(
            self._huey, workers=1, periodic=False, initial_delay=delay / 2, max_delay=delay
        )
        self._consumer.start()

    def stop(self) -> None:
        """Waits for the task at hand."""
        if self._consumer is not None:
            self._consumer.stop(graceful=True)
            self._consumer = None
        self._huey.storage.close()


class TaskQueue:
    """The queue of everything else: periodic tasks of klineagg, and those of users.

    Args:
        config: gives the configuration of the moment.
        context: what tasks get.
        daily: the daily update; it gets a day, ``2024-01-31``, when it is started by hand for one.
        maintenance: maintenance of the lake.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        context: Context | None,
        *,
        daily: Callable[..., Any] | None = None,
        maintenance: Callable[[], Any] | None = None,
    ) -> None:
        now = config()
        self._config = config
        self._workers = now.tasks.workers
        self._huey = _huey("klineagg-tasks", now.at(now.tasks.broker))
        self._context = context
        self._consumer: Any = None
        self._running = threading.Lock()
        self._tasks: dict[str, Any] = {}
        if daily is not None:
            self._periodic("klineagg.daily", self._is_daily, daily)
        if maintenance is not None:
            self._periodic("klineagg.maintenance", self._is_maintenance, maintenance)
        for each in registered().values():
            self._add(each)

    def names(self) -> list[str]:
        """Of all tasks."""
        return sorted(self._tasks)

    def enqueue(self, name: str, *arguments: Any) -> None:
        """Adds a task; KeyError when there is none of that name.

        Raises:
            OptionError: ``invalid_option`` for arguments that it does not take.
        """
        task = self._tasks[name]
        _check_arguments(name, arguments)
        task(*arguments)

    def waiting(self) -> int:
        """How many tasks are in the queue."""
        return int(self._huey.storage.queue_size())

    def start(self) -> None:
        """Runs tasks in threads of this process."""
        self._consumer = _consumer(
            self._huey, workers=self._workers, periodic=True, initial_delay=0.05, max_delay=0.5
        )
        self._consumer.start()

    def stop(self) -> None:
        """Waits for the tasks at hand."""
        if self._consumer is not None:
            self._consumer.stop(graceful=True)
            self._consumer = None
        self._huey.storage.close()

    def _is_daily(self, now: datetime) -> bool:
        of = self._config().tasks
        return now.hour == of.daily_hour and now.minute == of.daily_minute

    def _is_maintenance(self, now: datetime) -> bool:
        minutes = self._config().tasks.maintenance_minutes
        at = int(now.replace(tzinfo=timezone.utc).timestamp()) // 60
        return minutes > 0 and at % minutes == 0

    def _periodic(self, name: str, when: Callable[[datetime], bool], work: Any) -> None:
        self._tasks[name] = self._huey.periodic_task(when, name=name)(_told(name, work))

    def _add(self, each: Task) -> None:
        def run(*arguments: Any) -> Any:
            return each.function(self._context, *arguments)

        work = _told(each.name, run)
        when = crontab_of(each)
        if when is None:
            self._tasks[each.name] = self._huey.task(name=each.name, **each.options)(work)
            return
        wrapped = self._huey.periodic_task(when, name=each.name, **each.options)(work)
        self._tasks[each.name] = wrapped


def _check_arguments(name: str, arguments: Sequence[Any]) -> None:
    """Before it is in a queue, where nobody would be told."""
    import inspect

    known = registered().get(name)
    taken = _BUILT_IN[name] if known is None else known.function
    try:
        signature = inspect.signature(taken)
    except ValueError:  # of a function in C
        return
    given = arguments if known is None else (None, *arguments)  # its context
    try:
        signature.bind(*given)
    except TypeError as error:
        shown = ", ".join(map(repr, arguments)) or "no argument"
        text = f"the task {name} does not take {shown}: {error}"
        hint = f"it is {name}{signature}" + (", without the context" if known else "")
        raise errors.make(
            "invalid_option", text, hint=hint, option="arguments", value=list(arguments)
        ) from error


def crontab_of(task: Task) -> Callable[[datetime], bool] | None:
    """When it runs; None: when it is enqueued.

    Raises:
        TaskError: ``task_invalid`` for what is no crontab.
    """
    if task.schedule is None:
        return None
    crontab = require("huey", "run", "the queue of tasks").crontab
    try:
        return crontab(**task.schedule, strict=True)  # type: ignore[no-any-return]
    except ValueError as error:
        text = f"the task {task.name} runs at no time: {error}"
        hint = "the notation is that of crontab: minute='*/15', hour='0,12'"
        raise errors.make("task_invalid", text, hint=hint, task=task.name) from error


def _told(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
    def run(*arguments: Any) -> Any:
        _log.info("%s begins", name)
        try:
            result = work(*arguments)
        except Exception:
            _log.exception("%s failed", name)
            raise
        _log.info("%s is done", name)
        return result

    return run
