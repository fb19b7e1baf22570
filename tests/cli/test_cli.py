"""The command line as a whole: help, usage, pipes and signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import klineagg
from cli.harness import NAME, command, json_of, run
from klineagg.cli.output import EXIT_CODES
from unit import dumps
from unit.dumps import make_trades, write


@pytest.mark.parametrize("name", ["aggregate", "show", "verify", "info"])
def test_help_has_examples_that_parse(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    import shlex

    from klineagg.cli import make_parser

    assert run(name, "--help") == 0
    text = capsys.readouterr().out.replace("\\\n", " ")
    examples = [
        line.partition("klineagg ")[2].partition("  (")[0]
        for line in text.splitlines()
        if " klineagg " in f" {line}" and line.startswith("  ")
    ]
    assert len(examples) >= 3
    for example in examples:
        make_parser().parse_args(shlex.split(example.partition(" | ")[0]))


def test_help_names_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    text = capsys.readouterr().out
    for code, meaning in EXIT_CODES.items():
        assert f"{code} " in text
        assert meaning in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"klineagg {klineagg.__version__}\n"


def test_wrong_usage(dump: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        [],
        ["nothing"],
        ["aggregate"],
        ["aggregate", dump, "--threads", "0"],
        ["aggregate", dump, "--columns", "prize=px"],
        ["aggregate", dump, "--columns", "price"],
        ["aggregate", dump, "--coverage", "2024"],
        ["aggregate", dump, "--delimiter", "x"],
        ["aggregate", dump, "-i", "1x"],
        ["aggregate", dump, "-o", "bars.xls"],
        ["aggregate", dump, "-o", "-", "--json"],
        ["aggregate", dump, "-i", "1m", "--by", "tick", "--threshold", "5"],
        ["aggregate", dump, "--by", "tick"],
        ["aggregate", dump, "--late", "drop"],
        ["aggregate", dump, "--lateness", "soon"],
        ["show", dump, "--symbol", "ETHUSDT", "-i", "1m", "--columns", "symbol=#1"],
        ["verify", dump, dump, "--skip", "colour"],
    ):
        assert run(*arguments) == 2, arguments
        assert capsys.readouterr().err != ""


@pytest.mark.parametrize(
    ("arguments", "command", "told"),
    [
        (["aggregate", "a.csv", "--threads", "0"], "aggregate", "--threads: '0' is no number"),
        (["aggregate"], "aggregate", "arguments are required: FILE"),
        (["show", "a.csv", "--nonsense"], "", "unrecognized arguments: --nonsense"),
        (["lake"], "lake", "arguments are required"),
        (["frobnicate"], "", "invalid choice: 'frobnicate'"),
    ],
)
def test_wrong_usage_as_json(
    capsys: pytest.CaptureFixture[str], arguments: list[str], command: str, told: str
) -> None:
    result = json_of(capsys, 2, *arguments)
    assert (result["command"], result["exit_code"]) == (command, 2)
    assert result["error"]["name"] == "invalid_option"
    assert told in result["error"]["message"]


def test_the_reader_of_a_pipe_may_leave(tmp_path: Path) -> None:
    trades = make_trades(30_000)
    trades.time_ms = trades.time_ms[0] + np.arange(30_000) * 1000
    dump = write(tmp_path / f"{NAME}.csv", dumps.binance(trades))
    with command("aggregate", dump, "-i", "1s", "-o", "-", "-q") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"symbol,")
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(240) == 141
    assert said == b""


def test_a_pipe_as_input(dump: Path) -> None:
    with command("aggregate", "-", "-i", "1h", "-o", "-", "--symbol", "BTCUSDT",
                 stdin=subprocess.PIPE) as process:  # fmt: skip
        out, said = process.communicate(dump.read_bytes(), 240)
    assert process.returncode == 0
    assert len(out.splitlines()) == 1 + len(klineagg.aggregate(make_trades(1500).columns(), "1h"))
    assert b"<stdin>" in said


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_an_interrupt_ends_it_tidily(tmp_path: Path) -> None:
    fifo = tmp_path / f"{NAME}.csv"
    os.mkfifo(fifo)
    # Opening the pipe waits for the command to open it; then the rows never end.
    with (
        command("aggregate", fifo, "-o", tmp_path / "a.csv") as process,
        fifo.open("wb") as file,
    ):
        file.write(dumps.binance(make_trades(10)).encode())
        file.flush()
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=240)
    assert process.returncode == 130
    assert b"interrupted" in said
    assert b"Traceback" not in said
    assert out == b""
    assert not (tmp_path / "a.csv").exists()


def test_the_installed_command_and_the_modules_are_the_same() -> None:
    for module in ("klineagg", "klineagg.cli"):
        out = subprocess.run(
            [sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True
        )
        assert out.stdout == f"klineagg {klineagg.__version__}\n"
