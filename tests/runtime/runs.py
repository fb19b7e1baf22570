"""Runs of `klineagg run` and `klineagg worker` as processes, and what they have to give."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import klineagg
from klineagg import Bars
from klineagg.bars import BarFlag
from klineagg.data import load_bitmex
from klineagg.errors import ControlError, LakeError, ResultError
from klineagg.runtime import Client

INTERVALS = ["1s", "1m", "1h"]
# Of a machine that is busy with other things, too.
LONG_S = 180


def kills(share: float) -> int:
    """How many of the kills of ``make kills`` a test has to do."""
    return max(round(float(os.environ.get("KLINEAGG_KILLS", "400")) * share), 1)


def write_trades(folder: Path, rows: int, files: int = 3) -> list[Path]:
    """Trades as CSV files, in the order of their names."""
    trades = load_bitmex()[:rows]
    folder.mkdir(exist_ok=True)
    out = []
    for number, part in enumerate(np.array_split(trades, files)):
        times = part["time"].astype("datetime64[ns]").astype(np.int64)
        sides = np.where(part["side"] > 0, "buy", "sell")
        values = zip(times.tolist(), part["price"].tolist(), part["quantity"].tolist(),
                     sides.tolist(), strict=True)  # fmt: skip
        lines = [f"XBTUSD,{t},{p!r},{q!r},{s}" for t, p, q, s in values]
        path = folder / f"part-{number}.csv"
        path.write_text("\n".join(["symbol,time,price,quantity,side", *lines]) + "\n")
        out.append(path)
    return out


def write_config(folder: Path, **more: Any) -> Path:
    """A configuration; ``section__key`` sets a value as TOML has it."""
    values = {
        "engine__intervals": '["1s", "1m", "1h"]',
        "source__kind": '"file"',
        "source__paths": '["trades/*.csv"]',
        "persist__persistence_interval_ms": "20",
        "tasks__daily_hour": "-1",
        "tasks__maintenance_minutes": "0",
        **more,
    }
    lines = [f"{key.replace('__', '.')} = {value}" for key, value in values.items()]
    path = folder / "klineagg.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def command(*arguments: Any, cwd: Path, stdin: int | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "klineagg", *map(str, arguments)],
        cwd=cwd,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


@contextmanager
def running(
    *arguments: Any, cwd: Path, stdin: int | None = None
) -> Iterator[subprocess.Popen[str]]:
    process = command(*arguments, cwd=cwd, stdin=stdin)
    try:
        yield process
    finally:
        process.kill()
        if process.stdout is not None and not process.stdout.closed:
            # What it said, and nobody has read yet, tells why a test failed.
            print(process.stdout.read())
            process.stdout.close()
        process.wait()


def ended(process: subprocess.Popen[str], code: int = 0) -> str:
    """What it printed, once it has ended."""
    # Not by communicate(), which passes over what came together with the lines read before.
    assert process.stdout is not None
    if process.stdin is not None:
        process.stdin.close()
    out = process.stdout.read()
    assert process.wait(LONG_S) == code, out
    return out


def said(process: subprocess.Popen[str], text: str) -> None:
    """Reads what it prints, until there is a line with the text."""
    assert process.stdout is not None
    lines: list[str] = []
    while text not in (line := process.stdout.readline()):
        assert line, f"it has ended without saying {text!r}: {lines}"
        lines.append(line)


def terminated(process: subprocess.Popen[str]) -> str:
    process.send_signal(signal.SIGTERM)
    return ended(process)


def until(holds: Callable[[], Any], *, seconds: float = LONG_S) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it does not come to pass"
        time.sleep(0.02)


def expected(paths: list[Path]) -> Bars:
    trades = klineagg.io.read_trades(*paths)
    bars = klineagg.aggregate(
        trades, INTERVALS, gaps="flat", lateness=0, late="amend", amend_horizon="1h", progress=False
    )
    # An engine closes the gap before a bar together with that bar, so the lake does not have it
    # while that bar is open.
    keep = np.ones(len(bars), np.bool_)
    for number in range(len(bars.intervals)):
        rows = np.flatnonzero(bars.interval == number)[:-1]
        gaps = bars.flags[rows] & BarFlag.GAP != 0
        keep[rows[len(rows) - int(np.logical_and.accumulate(gaps[::-1]).sum()) :]] = False
    return bars[keep]


def stored(folder: Path) -> Bars:
    place = folder / "lake"
    with klineagg.Lake(place / "catalog.sqlite", place / "data", read_only=True) as lake:
        return lake.bars("XBTUSD", INTERVALS)


def assert_same(found: Bars, wanted: Bars) -> None:
    """Every column of every row, to the last bit; nothing lost, nothing twice."""
    assert len(found) == len(wanted)
    for name in wanted.columns:
        if name == "symbol":
            continue
        a, b = found.column(name), wanted.column(name)
        assert np.array_equal(a.view(f"u{a.dtype.itemsize}"), b.view(f"u{b.dtype.itemsize}")), name


class Writer(threading.Thread):
    """Appends trades to the files of a followed folder, as a recorder would do it.

    Args:
        folder: to write to; made.
        rows: how many trades.
        seconds: how long to take for them.
    """

    def __init__(self, folder: Path, rows: int, seconds: float) -> None:
        super().__init__(daemon=True)
        self.folder, self.rows = folder, rows
        self._seconds = seconds
        self._lake: klineagg.Lake | None = None
        folder.mkdir()
        self._source = write_trades(folder.parent / "whole", rows)
        self.paths = [folder / path.name for path in self._source]

    def run(self) -> None:
        texts = [path.read_bytes() for path in self._source]
        step = max(sum(map(len, texts)) // 200, 1)
        for path, text in zip(self.paths, texts, strict=True):
            with path.open("ab", buffering=0) as file:
                for start in range(0, len(text), step):  # cuts lines anywhere
                    file.write(text[start : start + step])
                    time.sleep(self._seconds / 200)

    def is_stored(self) -> bool:
        """Whether all of its trades are in the lake's bars."""
        if self.is_alive():
            return False
        if not (self.folder.parent / "lake/catalog.sqlite").exists():
            return False
        try:
            if self._lake is None:  # once: opening it takes longer than reading
                place = self.folder.parent / "lake"
                self._lake = klineagg.Lake(place / "catalog.sqlite", place / "data", read_only=True)
            bars = self._lake.bars("XBTUSD", "1h")
        except (LakeError, ResultError):  # it is being made, or has nothing yet
            return False
        if int(bars.trade_count.sum()) < self.rows:
            return False
        self._lake.close()
        self._lake = None
        return True


FOLLOWED = {"source__kind": '"directory"', "source__paths": '["trades"]', "source__poll_ms": "10"}


def answers(config: Path) -> bool:
    try:
        with Client(config.parent / "run/klineagg.sock") as client:
            client.request("status")
    except ControlError:
        return False
    return True


def status(config: Path) -> dict[str, Any]:
    with Client(config.parent / "run/klineagg.sock") as client:
        return client.request("status")[0]


def printed_status(config: Path) -> dict[str, Any]:
    """What the command prints, which takes a process."""
    arguments = [sys.executable, "-m", "klineagg", "status", str(config), "--json"]
    out = subprocess.run(arguments, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(out.stdout)
    return found
