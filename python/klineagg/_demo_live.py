"""The end of the demonstration: trades in, engine, lake, and a query from a second process."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from klineagg._bars_extras import require
from klineagg.bars import Bars
from klineagg.errors import MissingExtraError

__all__ = ["show_live"]

_INTERVALS: Final = "1m,1h"
_CHUNK_ROWS: Final = 10_000

# What somebody else would type, who only knows where the lake is.
_QUERY: Final = """
import sys
import klineagg
with klineagg.Lake(sys.argv[1], read_only=True) as lake:
    for row in lake.sql('''
        SELECT open_time, open, high, low, close, volume, trade_count
        FROM bars WHERE symbol = 'XBTUSD' AND "interval" = '1h' ORDER BY open_time
    '''):
        print("{:%Y-%m-%d %H:%M}  {:>8} {:>8} {:>8} {:>8} {:>10.0f} {:>7}".format(*row))
"""


def show_live(
    trades: NDArray[Any], bars: Bars, folder: Path, say: Callable[[str], None]
) -> bool | None:
    """Shows it; says whether the lake holds what ``bars`` does, None without the extra ``lake``.

    Args:
        trades: what to push.
        bars: what :func:`klineagg.aggregate` made of them.
        folder: the lake goes below it; one that is there is replaced.
        say: prints.
    """
    try:
        for name in ("duckdb", "pyarrow", "duckdb_extension_ducklake"):
            require(name, "lake", "the lake")
    except MissingExtraError as error:
        say(f"no lake, because a package is not installed: {error.hint}")
        return None
    place = folder / "lake"
    shutil.rmtree(place, ignore_errors=True)
    stored, commits, seconds = _store(trades, place)
    say(f"{len(trades):,} trades went through a live engine, chunk by chunk;")
    say(f"{stored:,} closed bars of them are in {place}, by {commits} commits in {seconds:.1f} s.")
    say("A second process, which knows the folder only, asks for the hours:\n")
    asked = subprocess.run(
        [sys.executable, "-c", _QUERY, str(place)], capture_output=True, text=True, check=False
    )
    if asked.returncode:
        say(asked.stderr)
        return False
    say("open time             open     high      low    close     volume  trades")
    say(asked.stdout)
    return _is_same(place, bars)


def _store(trades: NDArray[Any], place: Path) -> tuple[int, int, float]:
    from klineagg.engine import Engine, SimulatedClock
    from klineagg.lake import Lake

    begin = time.perf_counter()
    stored = commits = 0
    engine = Engine(_INTERVALS, clock=SimulatedClock(), max_ahead=None)
    with Lake(place) as lake, engine, engine.producer("demo") as producer:
        for start in range(0, len(trades), _CHUNK_ROWS):
            producer.push(trades[start : start + _CHUNK_ROWS])
            with engine.take("lake", checkpoint=True) as snapshot:
                result = lake.commit(snapshot, checkpoint=snapshot.checkpoint)
            stored, commits = stored + result.rows, commits + 1
    return stored, commits, time.perf_counter() - begin


def _is_same(place: Path, bars: Bars) -> bool:
    from klineagg.lake import Lake

    with Lake(place, read_only=True) as lake:
        found = lake.bars("XBTUSD", "1h")
    wanted = bars[:, "1h"]
    names = ("open_time", "open", "high", "low", "close", "volume", "trade_count")
    return all(found.column(name).tolist() == wanted.column(name).tolist() for name in names)
