"""Tasks of users, by name."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from klineagg import errors

if TYPE_CHECKING:
    from klineagg.config import Config

__all__ = ["Context", "Task", "load_modules", "periodic", "registered", "task"]


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


_registered: dict[str, Task] = {}


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


def task(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers a function that runs when it is enqueued, with Huey.

    Args:
        options: of Huey's task: ``retries``, ``retry_delay``, ``priority``.

    Raises:
        TaskError: ``task_invalid`` when there is one of that name.
    """
    return lambda function: _register(function, None, options)


def _register(
    function: Callable[..., Any], schedule: dict[str, str] | None, options: dict[str, Any]
) -> Callable[..., Any]:
    name = f"{function.__module__}.{function.__qualname__}"
    if name in _registered:
        raise errors.make("task_invalid", f"there are two tasks called {name}", task=name)
    _registered[name] = Task(name, function, schedule, options)
    return function


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
            raise errors.make("task_invalid", text, module=name) from error
