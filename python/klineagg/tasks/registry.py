"""Tasks of users, by name."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

from klineagg import errors

if TYPE_CHECKING:
    from klineagg.config import Config

__all__ = [
    "Backfill",
    "Context",
    "Task",
    "backfill",
    "backfills",
    "load_modules",
    "periodic",
    "registered",
    "task",
]


@dataclass(frozen=True)
class Context:
    """What a task may use.

    Attributes:
        lake: where the bars are.
        config: as it was when the process began.
        status: asks the running engine how it is doing, as ``klineagg status`` does.
    """

    lake: Any
    config: Config
    status: Callable[[], dict[str, Any]]

    def __repr__(self) -> str:
        # All of the configuration would be a page, and the lake is what a task asks for.
        place = getattr(self.config, "path", None)
        return f"<Context: {self.lake!r}, configuration {'of no file' if place is None else place}>"


@dataclass(frozen=True)
class Task:
    """A function that was registered.

    Attributes:
        name: ``module.function``.
        function: called with the context, and the arguments that it was enqueued with.
        schedule: arguments of Huey's ``crontab``; None: it runs only when it is enqueued.
        options: of Huey's task: ``retries``, ``retry_delay``, ``priority``.
    """

    name: str
    function: Callable[..., Any]
    schedule: dict[str, str] | None = None
    options: dict[str, Any] = field(default_factory=dict)


class Backfill(Protocol):
    """Where the daily update finds the trades of a day, beside files: an archive, a venue."""

    def trades(self, day: datetime) -> Any | None:
        """All trades of a day, of any symbols.

        Args:
            day: midnight, UTC.

        Returns:
            Whatever :func:`klineagg.aggregate` takes; a stream is read once. None: there are none
            of that day. What is raised is told, and the update goes on with the next one.
        """


_Source = TypeVar("_Source", bound=Backfill)
_registered: dict[str, Task] = {}
_backfills: dict[str, Backfill] = {}


def periodic(
    *,
    minute: str = "*",
    hour: str = "*",
    day: str = "*",
    month: str = "*",
    day_of_week: str = "*",
    **options: Any,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers a function that runs by the clock (UTC), in the notation of crontab.

    Args:
        minute: ``"*/15"``, ``"0,30"``, ``"5"``; the shortest period is a minute.
        hour: likewise.
        day: of the month.
        month: likewise.
        day_of_week: 0 is Sunday.
        options: of Huey's task: ``retries``, ``retry_delay``, ``priority``.

    Raises:
        TaskError: ``task_invalid`` when there is one of that name.
    """
    schedule = {
        "minute": minute, "hour": hour, "day": day, "month": month, "day_of_week": day_of_week,
    }  # fmt: skip
    return lambda function: _register(function, schedule, options)


@overload
def task(function: Callable[..., Any], /) -> Callable[..., Any]: ...
@overload
def task(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]: ...
def task(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Registers a function that runs when it is enqueued, with Huey: ``@task`` or ``@task()``.

    Args:
        function: to register, without options.
        options: of Huey's task: ``retries``, ``retry_delay``, ``priority``.

    Raises:
        TaskError: ``task_invalid`` when there is one of that name.
    """
    if function is not None:
        return _register(function, None, options)
    return lambda function: _register(function, None, options)


def _register(
    function: Callable[..., Any], schedule: dict[str, str] | None, options: dict[str, Any]
) -> Callable[..., Any]:
    if not (callable(function) and hasattr(function, "__qualname__")):
        text = f"{function!r} is no function to be a task"
        hint = "write @task or @task(retries=2), @periodic(minute='*/15') above a function"
        raise errors.make("task_invalid", text, hint=hint)
    for key, value in (schedule or {}).items():
        if not isinstance(value, str):
            text = f"{key}={value!r} of the task {function.__qualname__} is no text"
            hint = "the notation is that of crontab: minute='*/15', hour='0,12'"
            raise errors.make("task_invalid", text, hint=hint, option=key, value=value)
    name = f"{function.__module__}.{function.__qualname__}"
    if name in _registered:
        raise errors.make("task_invalid", f"there are two tasks called {name}", task=name)
    _registered[name] = Task(name, function, schedule, options)
    return function


def backfill(source: _Source) -> _Source:
    """Registers what the daily update asks for the trades of a day.

    Args:
        source: an object with a method ``trades``, see :class:`Backfill`.

    Raises:
        TaskError: ``task_invalid`` for one without; when there is one of its class already.
    """
    kind = type(source)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(source, type) or not callable(getattr(source, "trades", None)):
        text = f"{source!r} is no object with a method trades(day)"
        raise errors.make("task_invalid", text, task=name)
    if name in _backfills:
        raise errors.make("task_invalid", f"there are two backfills {name}", task=name)
    _backfills[name] = source
    return source


def backfills() -> dict[str, Backfill]:
    """All that were registered, by name."""
    return dict(_backfills)


def registered() -> dict[str, Task]:
    """All tasks by name."""
    return dict(_registered)


def load_modules(names: Iterable[str], folder: Path) -> None:
    """Imports the modules of the configuration; those beside its file are found too.

    Raises:
        TaskError: ``task_invalid`` when one cannot be imported.
    """
    for name in names:
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
        try:
            importlib.import_module(name)
        except errors.TaskError:
            raise
        except Exception as error:
            text = f"the module of tasks {name} cannot be imported: {error!r}"
            hint = f"name a module that Python finds, or one in {folder}"
            if not isinstance(error, ImportError):
                hint = "mend the module: Python raises this when it imports it"
            raise errors.make("task_invalid", text, hint=hint, module=name) from error
