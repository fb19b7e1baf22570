"""Runs the command line, in this process or in one of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from klineagg.cli import main

NAME = "BTCUSDT-trades-2024-01-01"


def run(*arguments: object) -> int:
    """The exit code, whichever way it comes."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return int(end.code or 0)


def json_of(capsys: pytest.CaptureFixture[str], code: int, *arguments: object) -> Any:
    assert run(*arguments, "--json") == code
    return json.loads(capsys.readouterr().out)


def command(*arguments: object, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "klineagg", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )
