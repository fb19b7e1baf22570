"""Queues of tasks: one persist task waits at most, users' tasks run, losing one costs nothing."""

from __future__ import annotations

import logging
import re
import sqlite3
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from klineagg import errors, tasks
from klineagg.cli import main
from klineagg.config import loads
from klineagg.runtime.daily import day_of
from klineagg.runtime.logs import start_logging
from klineagg.runtime.timer import Timer
from klineagg.tasks import registry
from klineagg.tasks.queues import PersistQueue, TaskQueue

pytest.importorskip("huey")


def until(condition: Callable[[], bool], seconds: float = 180.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.005)


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_registered", {})
    path = list(sys.path)
    yield
    sys.path[:] = path


def test_one_persist_task_waits_at_most(tmp_path: Path) -> None:
    runs: list[int] = []
    gate = threading.Event()

    def persist() -> None:
        runs.append(1)
        gate.wait()

    queue = PersistQueue(tmp_path / "tasks.sqlite", persist)
    queue.start(20)
    queue.enqueue()
    until(lambda: len(runs) == 1)  # it has begun, and takes long
    assert [queue.enqueue() for _ in range(10)] == [True] + [False] * 9
    assert (queue.enqueued, queue.coalesced) == (2, 9)
    gate.set()
    until(lambda: len(runs) == 2)
    queue.stop()
    assert len(runs) == 2


def test_a_persist_task_that_fails_does_not_end_the_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[int] = []

    def persist() -> None:
        runs.append(1)
        if len(runs) < 4:
            # A file of DuckLake has another name at each try.
            file = f"ducklake-{uuid.uuid4()}.parquet"
            raise OSError(f"{file}: no room" if len(runs) < 3 else "the disk is gone")

    monkeypatch.setattr(logging.getLogger("klineagg"), "propagate", True)
    queue = PersistQueue(tmp_path / "tasks.sqlite", persist)
    queue.start(20)
    with caplog.at_level(logging.INFO, logger="klineagg.tasks"):
        for count in (1, 2, 3, 4):
            queue.enqueue()
            until(lambda count=count: len(runs) == count)  # type: ignore[misc]
        queue.stop()
    # A reason is told once as long as it lasts, and the end of it.
    first, *others = [record.getMessage() for record in caplog.records]
    assert re.fullmatch(r"bars are not stored yet: ducklake-\S+\.parquet: no room", first)
    assert others == [
        "bars are not stored yet: the disk is gone",
        "bars are stored again; that failed 3 times",
    ]


def test_a_broker_that_fails_is_told_once_and_stores_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its disk is full: bars wait, and the log is not filled at every tick of the timer."""
    monkeypatch.setattr(logging.getLogger("klineagg"), "propagate", True)
    runs: list[int] = []
    queue = PersistQueue(tmp_path / "tasks.sqlite", lambda: runs.append(1))
    queue.start(20)
    fails = True

    def size() -> int:
        if fails:
            raise sqlite3.OperationalError("database or disk is full")
        return 0

    monkeypatch.setattr(queue._huey.storage, "queue_size", size)
    with caplog.at_level(logging.INFO, logger="klineagg"):
        assert [queue.enqueue() for _ in range(5)] == [False] * 5 and queue.enqueued == 0
        fails = False
        assert queue.enqueue()
        until(lambda: len(runs) == 1)
        queue.stop()
    assert [record.getMessage() for record in caplog.records] == [
        "bars are not stored yet: database or disk is full",
        "bars are stored again; that failed 5 times",
    ]


@pytest.mark.parametrize("content", [None, b"no database at all, but long enough" * 200])
def test_a_queue_that_cannot_be_opened_is_named(tmp_path: Path, content: bytes | None) -> None:
    broker = tmp_path / "tasks.sqlite"
    if content is None:
        broker.mkdir()
    else:
        broker.write_bytes(content)
    with pytest.raises(errors.FileError) as caught:
        PersistQueue(broker)
    assert caught.value.name == "file_not_written" and str(broker) in str(caught.value)


def test_a_task_that_was_left_by_a_killed_process_runs_once(tmp_path: Path) -> None:
    PersistQueue(tmp_path / "tasks.sqlite").enqueue()  # nobody to run it
    runs: list[int] = []
    queue = PersistQueue(tmp_path / "tasks.sqlite", lambda: runs.append(1))
    assert queue.enqueue() is False  # there is one waiting
    queue.start(20)
    until(lambda: len(runs) == 1)
    time.sleep(0.1)
    queue.stop()
    assert len(runs) == 1


def test_the_timer_takes_a_new_interval_and_never_bursts() -> None:
    ticks: list[float] = []

    def tick() -> None:
        ticks.append(time.monotonic())
        if len(ticks) == 5:
            timer.interval_ms = 3_600_000

    timer = Timer(10, tick)
    timer.start()
    until(lambda: len(ticks) >= 5)
    time.sleep(0.3)
    assert len(ticks) == 5
    timer.interval_ms = 10
    until(lambda: len(ticks) >= 10)
    timer.stop()
    count = len(ticks)
    time.sleep(0.05)
    assert len(ticks) == count

    slow: list[float] = []

    def work() -> None:
        slow.append(time.monotonic())
        time.sleep(0.08)

    timer = Timer(10, work)
    timer.start()
    until(lambda: len(slow) >= 3)
    timer.stop()
    assert all(b - a >= 0.08 for a, b in zip(slow, slow[1:], strict=False))


# Half a day from now: the clock is not to start it beside the test.
HOUR = (datetime.now(timezone.utc).hour + 12) % 24
MODULE = """
from klineagg import tasks

seen = []

@tasks.periodic(minute="*/15", hour="3")
def report(context):
    seen.append(("report", context))

@tasks.task(retries=1)
def later(context, number):
    seen.append(("later", number))
    if number < 0:
        raise ValueError("negative")
"""


def queue_of(folder: Path, context: Any, **options: Any) -> TaskQueue:
    config = loads(
        f'[tasks]\nbroker = "t/tasks.sqlite"\nmodules = ["my_tasks"]\ndaily_hour = {HOUR}\n'
        "daily_minute = 7\nmaintenance_minutes = 20\n",
        folder / "kla.toml",
    )
    tasks.load_modules(config.tasks.modules, config.at("."))
    return TaskQueue(lambda: config, context, **options)


def test_tasks_of_users_are_found_and_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_tasks.py").write_text(MODULE)
    monkeypatch.delitem(sys.modules, "my_tasks", raising=False)
    context: Any = object()
    done: list[str] = []
    queue = queue_of(
        tmp_path, context, daily=lambda: done.append("daily"),
        maintenance=lambda: done.append("maintenance"),
    )  # fmt: skip
    assert queue.names() == [
        "klineagg.daily", "klineagg.maintenance", "my_tasks.later", "my_tasks.report",
    ]  # fmt: skip
    due = {str(t): t for t in queue._huey.read_periodic(datetime(2024, 1, 1, 3, 45))}
    assert len(due) == 1
    assert "my_tasks.report" in next(iter(due))
    names = " ".join(str(t) for t in queue._huey.read_periodic(datetime(2024, 1, 1, HOUR, 7)))
    assert "klineagg.daily" in names
    assert "maintenance" not in names
    names = " ".join(str(t) for t in queue._huey.read_periodic(datetime(2024, 1, 1, HOUR, 40)))
    assert "klineagg.maintenance" in names

    queue.enqueue("my_tasks.report")
    queue.enqueue("my_tasks.later", 7)
    queue.enqueue("klineagg.daily")
    queue.start()
    seen = sys.modules["my_tasks"].seen
    # The clock may start those of its minute, too.
    until(lambda: ("report", context) in seen and ("later", 7) in seen and "daily" in done)
    queue.stop()
    assert seen.count(("later", 7)) == 1 and done.count("daily") == 1


def test_a_task_may_be_registered_without_options() -> None:
    @tasks.task
    def plain(context: Any) -> None: ...

    @tasks.task(retries=1)
    def more(context: Any) -> None: ...

    names = [name.rpartition(".")[2] for name in tasks.registered()]
    assert names == ["plain", "more"] and plain.__name__ == "plain"


@pytest.fixture
def _own_loggers() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("klineagg", "huey")]
    before = [(one.handlers[:], one.filters[:], one.propagate, one.level) for one in loggers]
    yield
    for one, (handlers, filters, propagate, level) in zip(loggers, before, strict=True):
        one.handlers, one.filters, one.propagate = handlers, filters, propagate
        one.setLevel(level)


@pytest.mark.usefixtures("_own_loggers")
def test_a_task_that_fails_is_told_once_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_tasks.py").write_text(MODULE.replace("retries=1", ""))
    monkeypatch.delitem(sys.modules, "my_tasks", raising=False)
    start_logging(loads('[logging]\nfile = "told.log"\n', tmp_path / "kla.toml"))
    queue = queue_of(tmp_path, object())
    queue.enqueue("my_tasks.later", -1)
    queue.enqueue("my_tasks.later", 1)
    queue.start()
    until(lambda: ("later", 1) in sys.modules["my_tasks"].seen)
    queue.stop()
    told = (tmp_path / "told.log").read_text()
    assert told.count("Traceback") == 1 and "my_tasks.later failed" in told
    assert "negative" in told


def test_a_task_started_by_hand_runs_where_the_tasks_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_tasks.py").write_text(MODULE)
    monkeypatch.delitem(sys.modules, "my_tasks", raising=False)
    config = tmp_path / "kla.toml"
    config.write_text(
        f'[tasks]\nbroker = "t/tasks.sqlite"\nmodules = ["my_tasks"]\ndaily_hour = {HOUR}\n'
        "daily_minute = 7\nmaintenance_minutes = 20\n"
    )

    def called(*arguments: str) -> int:
        monkeypatch.setattr(registry, "_registered", {})  # each command is a process of its own
        sys.modules.pop("my_tasks", None)
        return main([*arguments])

    assert called("task", "list", str(config)) == 0
    out = capsys.readouterr().out
    assert f"klineagg.daily        daily at {HOUR:02}:07 UTC" in out and "0 waiting" in out
    assert "my_tasks.report       crontab */15 3 * * *" in out
    assert "my_tasks.later        by hand" in out
    assert called("task", "run", str(config), "my_tasks.later", "7") == 0
    assert called("task", "run", str(config), "klineagg.daily", "2024-01-31") == 0
    assert called("task", "run", str(config), "my_tasks.never") == 2
    assert "there are klineagg.daily" in capsys.readouterr().err
    assert called("task", "list", str(config)) == 0
    assert "2 waiting" in capsys.readouterr().out

    monkeypatch.setattr(registry, "_registered", {})
    sys.modules.pop("my_tasks", None)
    days: list[datetime] = []
    queue = queue_of(
        tmp_path, object(), daily=lambda *day: days.extend(map(day_of, day)),
        maintenance=lambda: None,
    )  # fmt: skip
    queue.start()
    until(lambda: len(days) == 1 and ("later", 7) in sys.modules["my_tasks"].seen)
    queue.stop()
    assert days == [datetime(2024, 1, 31, tzinfo=timezone.utc)]
    assert sys.modules["my_tasks"].seen.count(("later", 7)) == 1


def test_modules_that_cannot_be_used_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(errors.TaskError, match="no_such_tasks_here"):
        tasks.load_modules(["no_such_tasks_here"], tmp_path)
    (tmp_path / "broken_tasks.py").write_text("1 / 0")
    with pytest.raises(errors.TaskError, match="ZeroDivisionError"):
        tasks.load_modules(["broken_tasks"], tmp_path)

    def report(context: tasks.Context) -> None: ...

    tasks.task()(report)
    with pytest.raises(errors.TaskError, match="two tasks"):
        tasks.periodic()(report)
    monkeypatch.undo()


@pytest.mark.parametrize("wrong", [5, None, "report", object()])
def test_only_functions_are_tasks(wrong: Any) -> None:
    for register in (tasks.task(), tasks.periodic(minute="*/5")):
        with pytest.raises(errors.TaskError) as caught:
            register(wrong)
        assert caught.value.name == "task_invalid" and repr(wrong) in caught.value.message
        assert "above a function" in caught.value.hint
    assert tasks.registered() == {}


def test_times_that_there_are_not_are_refused(tmp_path: Path) -> None:
    def report(context: tasks.Context) -> None:
        raise AssertionError

    with pytest.raises(errors.TaskError, match="minute=5 of the task .*report is no text"):
        tasks.periodic(minute=5)(report)  # type: ignore[arg-type]
    tasks.periodic(minute="99")(report)
    config = loads(f'tasks.broker = "{tmp_path / "tasks.sqlite"}"')
    with pytest.raises(errors.TaskError) as caught:
        TaskQueue(lambda: config, None)
    assert "report" in caught.value.message and "crontab" in caught.value.hint


def test_a_context_tells_its_lake_and_its_configuration(tmp_path: Path) -> None:
    config = loads('runtime.name = "mine"', tmp_path / "run.toml")
    context = tasks.Context("<Lake here>", config, dict)
    assert repr(context) == f"<Context: '<Lake here>', configuration {tmp_path / 'run.toml'}>"
    assert "of no file" in repr(tasks.Context(None, loads(""), dict))


@pytest.mark.parametrize(
    ("task", "given", "told"),
    [
        ("my_jobs.hourly", (), "missing a required argument: 'symbol'"),
        ("my_jobs.hourly", ("BTC", "1", "2"), "too many positional arguments"),
        ("my_jobs.report", ("x",), "too many positional arguments"),
        ("klineagg.maintenance", ("x",), "does not take 'x': too many"),
        ("klineagg.daily", ("2024-01-31", "x"), "does not take '2024-01-31', 'x': too many"),
        ("klineagg.daily", ("yesterday",), "day='yesterday' is not a day such as 2024-01-31"),
        ("klineagg.daily", ("2024",), "day='2024' is not a day such as 2024-01-31"),
    ],
)
def test_arguments_that_a_task_does_not_take_are_refused_before_it_waits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], task: str, given: tuple[str, ...], told: str
) -> None:
    (tmp_path / "my_jobs.py").write_text(
        "from klineagg import tasks\n\n"
        "@tasks.task\ndef hourly(context, symbol, hours=1): ...\n\n"
        "@tasks.periodic(minute='*/5')\ndef report(context): ...\n"
    )
    sys.modules.pop("my_jobs", None)
    config = tmp_path / "run.toml"
    config.write_text('tasks.modules = ["my_jobs"]\n')
    assert main(["task", "run", str(config), task, *given]) == 2
    err = capsys.readouterr().err
    assert told in err and "KLA-103" in err
    if task == "my_jobs.hourly":
        assert "it is my_jobs.hourly(context, symbol, hours=1)" in err
    sys.modules.pop("my_jobs", None)
    good = {"my_jobs.hourly": ["BTC", "2"], "klineagg.daily": ["2024-01-31"]}
    registry._registered.clear()
    assert main(["task", "run", str(config), task, *good.get(task, [])]) == 0
    sys.modules.pop("my_jobs", None)
    assert "in the queue" in capsys.readouterr().out
