"""Work beside the engine, done by Huey: storing bars, the daily update, maintenance, and your own.

A module of tasks is named in the configuration (``[tasks] modules``) and registers functions, each
of which gets a :class:`Context`::

    from klineagg import tasks

    @tasks.periodic(minute="*/15")
    def report(context: tasks.Context) -> None:
        bars = context.lake.bars("BTCUSDT", "1h")
        print(bars.close[-1])

Huey delivers at most once: a task that is killed is not run again. Nothing of klineagg depends on
one that is; neither should yours.
"""

from __future__ import annotations

from klineagg.tasks.registry import (
    Backfill,
    Context,
    Task,
    backfill,
    backfills,
    load_modules,
    periodic,
    registered,
    task,
)

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
