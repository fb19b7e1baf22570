"""A signal that comes as soon as a process has said a word ends it as one that comes later."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from runtime.runs import ended, running, write_config

for needed in ("duckdb", "huey", "pyarrow"):
    pytest.importorskip(needed)

TIMES = 5
# Stays where it is until it is told to go on: the signal comes before there is a worker.
TASKS = """\
import sys
print("imported", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("time", range(TIMES))
def test_a_worker_that_is_told_to_end_at_its_first_line(tmp_path: Path, time: int) -> None:
    config = write_config(tmp_path, persist__by='"worker"')
    with running("worker", config, cwd=tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        ended(process)


@pytest.mark.parametrize("time", range(TIMES))
def test_a_worker_that_is_told_to_end_while_its_tasks_are_imported(
    tmp_path: Path, time: int
) -> None:
    (tmp_path / "slow_tasks.py").write_text(TASKS)
    config = write_config(tmp_path, persist__by='"worker"', tasks__modules='["slow_tasks"]')
    with running("worker", config, cwd=tmp_path, stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "imported\n"
        process.send_signal(signal.SIGTERM)
        ended(process)
