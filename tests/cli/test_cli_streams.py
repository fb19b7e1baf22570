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
from unit import dumps

pytestmark = pytest.mark.skipif(os.name != "posix", reason="shells and pipes of POSIX")


@pytest.fixture
def folder(tmp_path: Path, dump: Path) -> Path:
    """With trades in it, and their bars."""
    pytest.importorskip("pyarrow")
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


@pytest.mark.parametrize(
    ("pipe", "given"),
    [("cat {} > ff &", "ff"), ("", "<(cat {})"), ("cat {} |", "-")],
    ids=["fifo", "substitution", "pipe"],
)
class TestWhatIsReadOnce:
    """A second look at it would wait for ever, or find the rest."""

    def of(self, folder: Path, pipe: str, command: str, given: str, name: str) -> str:
        if pipe.endswith("&"):
            os.mkfifo(folder / "ff")
        line = f"{pipe} klineagg {command.format(given)}".format(name)
        code, out, said = shell(folder, line)
        assert code == 0, said
        (folder / "ff").unlink(missing_ok=True)
        return out

    def test_trades(self, folder: Path, pipe: str, given: str) -> None:
        command = "{} {{}} --symbol BTCUSDT --preset binance-trades"
        for verb, name in (("info", f"{NAME}.csv"), ("show --json -i 1h", f"{NAME}.csv")):
            asked = command.format(verb)
            _, wanted, _ = shell(folder, f"klineagg {asked.format(name)}")
            out = self.of(folder, pipe, asked, given, name)
            assert out.splitlines()[1:] == wanted.splitlines()[1:]  # the first one names the file

    def test_bars(self, folder: Path, pipe: str, given: str) -> None:
        for verb, name in (("info", "bars.parquet"), ("show --json", "bars.parquet")):
            _, wanted, _ = shell(folder, f"klineagg {verb} {name}")
            out = self.of(folder, pipe, f"{verb} {{}}", given, name)
            assert out.splitlines()[1:] == wanted.splitlines()[1:]

    def test_what_is_sought_in(self, folder: Path, dump: Path, pipe: str, given: str) -> None:
        dumps.write_zip(folder / "a.zip", {dump.name: dump.read_text()})
        _, wanted, _ = shell(folder, f"klineagg aggregate {dump.name} -i 1h -o -")
        asked = "aggregate {} -i 1h -o - --threads 2"
        assert self.of(folder, pipe, asked, given, "a.zip") == wanted
        assert "BTCUSDT (1,500)" in self.of(folder, pipe, "info {}", given, "a.zip")

    def test_verify(self, folder: Path, pipe: str, given: str) -> None:
        text = dumps.binance_klines(dumps.make_trades(1500), 3_600_000)
        dumps.write(folder / "BTCUSDT-1h-2024-01-01.csv", text)
        command = "verify {} BTCUSDT-1h-2024-01-01.csv --json"
        _, wanted, _ = shell(folder, f"klineagg {command.format('bars.parquet')}")
        assert '"same": true' in wanted
        assert self.of(folder, pipe, command, given, "bars.parquet") == wanted


def test_bars_from_one_command_to_the_next(folder: Path, dump: Path) -> None:
    line = f"klineagg aggregate {dump.name} -i 1h -o - -q | klineagg show - --json"
    code, out, _ = shell(folder, line)
    assert (code, json.loads(out)["rows"]) == (0, len(read_bars(folder / "bars.parquet")))


def test_what_is_written_slowly_is_known_by_its_beginning(folder: Path, dump: Path) -> None:
    line = "(printf s; sleep 0.3; tail -c +2 bars.csv) | klineagg info - --json"
    assert shell(folder, f"klineagg aggregate {dump.name} -i 1h -o bars.csv")[0] == 0
    code, out, _ = shell(folder, line)
    assert (code, json.loads(out)["files"][0]["holds"]) == (0, "bars")
