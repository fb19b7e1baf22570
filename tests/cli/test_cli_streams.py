"""The streams that the command line reads and writes: closed ones, pipes, and what is no file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.harness import NAME
from klineagg.io.barfiles import read_bars

pytestmark = pytest.mark.skipif(os.name != "posix", reason="shells and pipes of POSIX")


@pytest.fixture
def folder(tmp_path: Path, dump: Path) -> Path:
    """With trades in it, and their bars."""
    assert shell(tmp_path, f"klineagg aggregate {dump.name} -i 1h -o bars.parquet")[0] == 0
    return tmp_path


def shell(folder: Path, line: str) -> tuple[int, str, str]:
    """Exit code, output and errors of a line of bash, in which klineagg is this one."""
    script = f'klineagg() {{ "{sys.executable}" -m klineagg "$@"; }}; {line}'
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, capture_output=True, text=True, timeout=240
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def test_a_closed_output_that_is_not_needed(folder: Path, dump: Path) -> None:
    line = f"klineagg aggregate {dump.name} -i 1h -o a.parquet >&-"
    code, _, said = shell(folder, line)
    assert code == 0
    assert "a.parquet" in said
    assert read_bars(folder / "a.parquet").equals(read_bars(folder / "bars.parquet"))


@pytest.mark.parametrize(
    "line",
    [
        f"info {NAME}.csv",
        f"info {NAME}.csv --json",
        "info bars.parquet -q",
        f"aggregate {NAME}.csv",
        f"aggregate {NAME}.csv -o -",
        f"aggregate {NAME}.csv -o a.csv --json",
        "aggregate nothing.csv --json",
        "show bars.parquet",
    ],
)
def test_a_closed_output_that_is_needed(folder: Path, line: str) -> None:
    code, _, said = shell(folder, f"klineagg {line} >&-")
    if "nothing" in line:  # what was wrong first
        assert (code, "there is no file nothing.csv" in said) == (3, True)
    else:
        assert code == 4
        assert "error: standard output is closed [KLA-406 file_not_written]" in said


def test_a_closed_input(folder: Path) -> None:
    for line in ("aggregate -", "show -"):
        code, out, said = shell(folder, f"klineagg {line} <&-")
        assert (code, out) == (3, "")
        assert "error: standard input is closed [KLA-401 file_not_found]" in said
    code, out, _ = shell(folder, "klineagg aggregate - --json <&-")
    assert json.loads(out)["error"]["name"] == "file_not_found"
    assert code == 3


def test_notes_to_a_closed_standard_error_go_nowhere(folder: Path, dump: Path) -> None:
    line = f"klineagg aggregate {dump.name} -i 1h"
    _, wanted, said = shell(folder, f"{line} -o -")
    assert said
    assert shell(folder, f"{line} -o - 2>&-") == (0, wanted, "")
    # A file must not come to be standard error, nor any message of a library into it.
    assert shell(folder, f"{line} -o a.csv 0<&- 2>&-") == (0, "", "")
    assert (folder / "a.csv").read_text() == wanted
    assert shell(folder, "klineagg aggregate nothing.csv 2>&-") == (3, "", "")
    assert shell(folder, f"klineagg info {dump.name} <&- >&- 2>&-") == (4, "", "")


def test_help_with_a_closed_output(folder: Path) -> None:
    code, _, _ = shell(folder, "klineagg aggregate --help >&-")
    assert code == 0
