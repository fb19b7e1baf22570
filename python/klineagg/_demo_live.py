"""The end of the demonstration: a file of trades, engine, log, Huey, lake, a second process."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from klineagg._bars_extras import require
from klineagg.bars import Bars
from klineagg.errors import MissingExtraError

__all__ = ["show_live"]

_TRADES: Final = "trades.parquet"

# All that differs from the defaults, which `klineagg config init` writes out.
_CONFIG: Final = f"""\
source.kind = "file"
source.paths = ["{_TRADES}"]
engine.intervals = ["1m", "1h"]
"""

# What somebody else would type, who only knows where the lake is.
_QUERY: Final = """
import sys
import klineagg
with klineagg.Lake(sys.argv[1], sys.argv[2], read_only=True) as lake:
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
        trades: what the file holds.
        bars: what :func:`klineagg.aggregate` made of them.
        folder: all of it goes below it; what is there of an earlier time is replaced.
        say: prints.
    """
    try:
        for name in ("duckdb", "pyarrow", "duckdb_extension_ducklake"):
            require(name, "lake", "the lake")
        require("huey", "run", "klineagg run")
    except MissingExtraError as error:
        say(f"no run, because a package is not installed: {error.hint}")
        return None
    place = folder / "live"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    _write_trades(trades, place / _TRADES)
    config = place / "run.toml"
    config.write_text(_CONFIG)
    say(f"{config} says:\n\n{textwrap.indent(_CONFIG, '    ')}")
    say(f"klineagg run {config}\n")
    begin = time.perf_counter()
    if not _ran(say, "-m", "klineagg", "run", "--quiet", str(config)):
        return False
    seconds = time.perf_counter() - begin
    say(f"{len(trades):,} trades went through its log and its engine, and Huey stored the bars in")
    say(f"{place / 'lake'}; with the start of the process that took {seconds:.1f} s.")
    say("A second process, which knows the lake only, asks for the hours:\n")
    say("open time             open     high      low    close     volume  trades")
    catalog, data = place / "lake" / "catalog.sqlite", place / "lake" / "data"
    if not _ran(say, "-c", _QUERY, str(catalog), str(data)):
        return False
    return _is_same(catalog, data, bars)


def _write_trades(trades: NDArray[Any], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = trades.dtype.names or ()
    table = pa.table({name: np.ascontiguousarray(trades[name]) for name in names})
    pq.write_table(table, path)


def _ran(say: Callable[[str], None], *arguments: str) -> bool:
    """Whether this process's Python ended well with ``arguments``; shows what it printed."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    if shown := (done.stderr if done.returncode else done.stdout):
        say(shown)
    return done.returncode == 0


def _is_same(catalog: Path, data: Path, bars: Bars) -> bool:
    from klineagg.lake import Lake

    with Lake(catalog, data, read_only=True) as lake:
        found = lake.bars("XBTUSD", "1h")
    wanted = bars[:, "1h"]
    names = ("open_time", "open", "high", "low", "close", "volume", "trade_count")
    return all(found.column(name).tolist() == wanted.column(name).tolist() for name in names)
