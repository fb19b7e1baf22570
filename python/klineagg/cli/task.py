"""``klineagg task``: the tasks of a configuration, and starting one by hand."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any, Final

from klineagg.cli.options import HelpFormatter, add_common
from klineagg.cli.output import OK, Output

if TYPE_CHECKING:
    from klineagg.config import Config
    from klineagg.tasks.queues import TaskQueue

__all__ = ["add_parser"]

_EPILOG: Final = """\
examples:
  klineagg task list klineagg.toml
  klineagg task run klineagg.toml klineagg.maintenance
  klineagg task run klineagg.toml klineagg.daily 2024-01-31
  klineagg task run klineagg.toml reports.hourly BTCUSDT 24

A task is put into the queue; whoever runs tasks (klineagg run, or klineagg worker) takes it from
there, now or when it is next started. Arguments are JSON where they can be read as such, else text.
"""


def add_parser(commands: Any) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "task",
        help="tasks: which there are, and starting one by hand",
        description="Lists the tasks of a configuration, or puts one into its queue.",
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, run, text in (
        ("list", run_list, "all tasks, when they run, and how many wait"),
        ("run", run_run, "put a task into the queue"),
    ):
        action = actions.add_parser(name, help=text, formatter_class=HelpFormatter)
        action.add_argument("config", metavar="CONFIG", help="the configuration, a TOML file")
        if name == "run":
            action.add_argument("task", metavar="NAME", help="of the task")
            action.add_argument("arguments", nargs="*", metavar="ARGUMENT", help="what it gets")
        add_common(action)
        action.set_defaults(run=run)


def run_list(arguments: argparse.Namespace, output: Output) -> int:
    """Lists the tasks; returns the exit code."""
    config, queue = _queue(arguments)
    waiting = queue.waiting()
    queue.stop()
    tasks = _schedules(config)
    width = max(map(len, tasks))
    lines = [f"{name:<{width}}  {when}" for name, when in tasks.items()]
    lines.append(f"{waiting:,} waiting")
    output.result({"tasks": tasks, "waiting": waiting}, "\n".join(lines))
    return OK


def run_run(arguments: argparse.Namespace, output: Output) -> int:
    """Puts a task into the queue; returns the exit code."""
    from klineagg import errors

    _, queue = _queue(arguments)
    try:
        if arguments.task not in queue.names():
            text = f"there is no task {arguments.task}"
            hint = f"there are {', '.join(queue.names())}"
            raise errors.make(
                "invalid_option", text, hint=hint, option="task", value=arguments.task
            )
        given = [_value(text) for text in arguments.arguments]
        if arguments.task == "klineagg.daily":
            _check_days(arguments.arguments)
            given = arguments.arguments
        queue.enqueue(arguments.task, *given)
        waiting = queue.waiting()
    finally:
        queue.stop()
    output.result({"task": arguments.task, "waiting": waiting}, f"{arguments.task} is in the queue")
    return OK


def _queue(arguments: argparse.Namespace) -> tuple[Config, TaskQueue]:
    from klineagg.config import load
    from klineagg.tasks import load_modules
    from klineagg.tasks.queues import TaskQueue

    config = load(arguments.config)
    load_modules(config.tasks.modules, config.at("."))

    def elsewhere(*unused: Any) -> None:
        raise AssertionError("tasks run where the engine or the worker is")

    return config, TaskQueue(lambda: config, None, daily=elsewhere, maintenance=elsewhere)


def _schedules(config: Config) -> dict[str, str]:
    from klineagg.tasks import registered

    of = config.tasks
    daily = f"daily at {of.daily_hour:02}:{of.daily_minute:02} UTC"
    often = f"every {of.maintenance_minutes} minutes"
    out = {
        "klineagg.daily": daily if of.daily_hour >= 0 else "by hand",
        "klineagg.maintenance": often if of.maintenance_minutes else "by hand",
    }
    for task in registered().values():
        fields = None if task.schedule is None else " ".join(task.schedule.values())
        out[task.name] = "by hand" if fields is None else f"crontab {fields}"
    return out


def _check_days(texts: list[str]) -> None:
    from klineagg._options import invalid
    from klineagg.runtime.daily import day_of

    if not texts:
        return
    try:
        day_of(texts[0])
    except ValueError:
        raise invalid("day", texts[0], "a day such as 2024-01-31") from None


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
