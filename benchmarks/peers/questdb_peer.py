"""QuestDB, embedded in a Java program of its own (native/questdb): SAMPLE BY for each interval."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.peer import Array, Bars, PeerUnavailable, common_table
from benchmarks.toolchain import NATIVE, java_library
from benchmarks.workload import Columns, cache_dir

_VERSION: Final = "9.1.0"
# Its memory is reached through the insides of the Java library, which must be opened to it.
_OPENED: Final = ("java.lang", "java.nio", "sun.nio.ch")
_WORDS: Final = [
    ("symbol", "i8"),
    ("open_time", "i8"),
    *(
        (name, "f8")
        for name in (
            "open",
            "high",
            "low",
            "close",
            "volume",
            "quote_volume",
            "taker_buy_volume",
            "taker_buy_quote_volume",
        )
    ),
    *(
        (name, "i8")
        for name in (
            "trade_count",
            "first_trade_id",
            "last_trade_id",
            "first_trade_time",
            "last_trade_time",
        )
    ),
]
_ROW: Final = np.dtype(_WORDS)


@dataclass(frozen=True)
class _State:
    server: _Server
    intervals: tuple[str, ...]


class QuestdbPeer:
    """Tables of bars made by queries over a table that is loaded before the clock starts."""

    name = "questdb"
    label = "QuestDB, a query per interval"
    threads = (1, 2)
    rows_max = None
    missing: tuple[str, ...] = ()
    note = "embedded in a Java process, whose memory is not measured; tables in and out"

    def version(self) -> str:
        if shutil.which("java") is None or shutil.which("mvn") is None:
            raise PeerUnavailable("java and mvn are not both installed")
        java_library("org.questdb", "questdb", _VERSION)
        return _VERSION

    def prepare(self, columns: Columns, intervals: tuple[str, ...], threads: int) -> _State:
        server = _Server(columns, intervals, threads)
        # Java compiles what has run for a while: without this, half of the time would be compiling.
        server.ask("run")
        return _State(server, intervals)

    def run(self, state: _State) -> None:
        state.server.ask("run")

    def common(self, state: _State, result: None) -> Bars:
        state.server.ask("save")
        bars: Bars = {}
        for text in state.intervals:
            rows: Array = np.fromfile(state.server.folder / f"bars_{text}", dtype=_ROW)
            bars[text] = common_table({name: rows[name] for name in _ROW.names or ()})
        return bars


class _Server:
    """The Java process and the folder that it shares with this one; both end with this object."""

    def __init__(self, columns: Columns, intervals: tuple[str, ...], threads: int) -> None:
        self._scratch = tempfile.TemporaryDirectory(dir=cache_dir())
        self.folder = Path(self._scratch.name)
        for name, values in columns.items():
            values.tofile(self.folder / name)
        database = self.folder / "database"
        database.mkdir()
        opened = [f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in _OPENED]
        jar = java_library("org.questdb", "questdb", _VERSION)
        program = NATIVE / "questdb" / "Bench.java"
        places = [str(program), str(self.folder), str(database)]
        self._process = subprocess.Popen(
            ["java", *opened, "-cp", str(jar), *places, str(threads), ",".join(intervals)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._wait_for("ready")

    def ask(self, command: str) -> None:
        """Send a command and wait until it is done."""
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        self._wait_for("done")

    def _wait_for(self, answer: str) -> None:
        # The library logs to the same stream.
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip() == answer:
                return
        raise RuntimeError(f"the Java process ended with status {self._process.wait()}")

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            self._process.communicate(timeout=60)
        self._scratch.cleanup()
