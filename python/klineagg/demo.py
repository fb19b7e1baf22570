"""``python -m klineagg.demo``: the main job on the real trades that come with the package.

Trades become bars of several intervals, which are shown in the terminal as candles and as a table,
checked in three ways, and written to a folder as a Parquet file and a picture. Then the same trades
go through a live engine into a lake, which a second process asks.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from numpy.typing import NDArray

from klineagg import terminal
from klineagg._bars_extras import require
from klineagg._demo_live import show_live
from klineagg._distinct import distinct
from klineagg.aggregation import Aggregator, aggregate
from klineagg.bars import Bars
from klineagg.data import BITMEX_COVERAGE, load_bitmex
from klineagg.errors import MissingExtraError

if TYPE_CHECKING:
    from klineagg.terminal import Style

__all__ = ["FOLDER", "INTERVALS", "main", "picture"]

FOLDER: Final = "demo-output"
"""Where the files go unless another folder is named."""

INTERVALS: Final = "1s,1m,5m,15m,1h"

_CHUNK_ROWS: Final = 10_000
_CHART: Final = "15m"
_TABLE: Final = "1h"
_PICTURE: Final = "5m"
_DPI: Final = 160


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demonstration.

    Args:
        arguments: of the command line, without the name of the program; None: those of this
            process.

    Returns:
        The exit code: 0; 1 when a check failed or a file could not be written; 141 when the reader
        of the output went away.
    """
    import argparse

    parser = argparse.ArgumentParser(
        prog="python -m klineagg.demo",
        description="Real trades into bars: in the terminal, as a Parquet file and as a picture.",
    )
    parser.add_argument(
        "folder", nargs="?", default=FOLDER, help=f"where the files go (default: ./{FOLDER})"
    )
    folder = Path(parser.parse_args(arguments).folder)
    style = terminal.Style.of()
    try:
        return _run(folder, style, _printer(style))
    except BrokenPipeError:
        # Who read has read enough. What is left in the buffer must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def picture(bars: Bars, path: str | os.PathLike[str], *, interval: str = _PICTURE) -> None:
    """Writes the candlestick picture of one interval as a PNG.

    Args:
        bars: with one symbol.
        path: of the file; one that is there is replaced.
        interval: which one.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ResultError: ``no_such_series``.
        OSError: the file cannot be written.
    """
    # A figure of its own: pyplot would look for a screen.
    figures = require("matplotlib.figure", "charts", "the picture")
    figure = figures.Figure(figsize=(10.0, 5.2), layout="constrained")
    pair = figure.subplots(2, sharex=True, height_ratios=(4, 1))
    figure.get_layout_engine().set(h_pad=0.04, hspace=0.01)
    figure.align_ylabels(pair)
    title = f"BitMEX {bars.symbols[0]}, {interval} bars"
    bars.plot(interval=interval, ax=pair, title=title)
    target = Path(path)
    # Without the version of matplotlib in it, the same bars give the same bytes.
    figure.savefig(target, format="png", dpi=_DPI, metadata={"Software": None})


def _run(folder: Path, style: Style, say: Callable[[str], None]) -> int:
    trades = load_bitmex()
    say(_heading("1. Real trades", style))
    say(
        f"{len(trades):,} trades of the BitMEX perpetual XBTUSD, 2018-01-01 00:00 to 11:00 UTC.\n"
        "Public data of the exchange, shipped with klineagg. The volume is in contracts of 1 USD."
    )
    begin = time.perf_counter()
    bars = _aggregate(trades)
    seconds = time.perf_counter() - begin

    say(_heading("2. Bars", style))
    say(
        f'bars = klineagg.aggregate(trades, "{INTERVALS}", coverage=...)\n'
        f"{len(bars):,} bars of {len(bars.intervals)} intervals from one call, "
        f"in {seconds * 1e3:.0f} ms on one thread of this machine."
    )
    say("\n" + terminal.chart(bars, interval=_CHART, style=style))
    say("\n" + terminal.table(bars[:, _TABLE], style=style))

    say(_heading("3. Checks", style))
    good = True
    for text, holds in _checks(trades, bars):
        say(f"{'ok  ' if holds else 'FAIL'}  {text}")
        good = good and holds

    say(_heading("4. Files", style))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        table = _write_table(bars, folder, say)
        _write_picture(bars, folder, say)
    except OSError as problem:
        say(f"cannot write to {folder}: {problem.strerror or problem}")
        return 1

    say(_heading("5. klineagg run: file, engine, log, Huey, lake; and a second process", style))
    same = show_live(trades, bars, folder, say)
    if same is not None:
        say(f"{'ok  ' if same else 'FAIL'}  the lake holds the {_TABLE} bars from above")
        good = good and same
    say(_heading("Next", style))
    _say_next(table, say)
    return 0 if good else 1


def _aggregate(trades: NDArray[Any], **options: Any) -> Bars:
    return aggregate(trades, INTERVALS, coverage=BITMEX_COVERAGE, progress=False, **options)


def _checks(trades: NDArray[Any], bars: Bars) -> list[tuple[str, bool]]:
    """What was checked, and whether it holds."""
    hours = bars[:, _TABLE]
    hour_of = trades["time"].astype("datetime64[h]")
    sums = [math.fsum(trades["quantity"][hour_of == hour]) for hour in distinct(hour_of)]
    stream = Aggregator(INTERVALS, coverage=BITMEX_COVERAGE, progress=False)
    starts = range(0, len(trades), _CHUNK_ROWS)
    parts = [stream.update(trades[start : start + _CHUNK_ROWS]) for start in starts]
    chunked = Bars.concat([*parts, stream.finish()])
    report = bars.report
    return [
        (
            "every trade is accounted for: " + " ".join(str(report).split()),
            report is not None and report.balanced and report.accepted == len(trades),
        ),
        (
            f"the volumes of the {_TABLE} bars equal math.fsum of their trades, to the last bit",
            sums == hours.volume.tolist(),
        ),
        (
            f"two threads, and a stream of chunks of {_CHUNK_ROWS:,}, give the same bits",
            bars.equals(_aggregate(trades, threads=2)) and bars.equals(chunked),
        ),
    ]


def _write_table(bars: Bars, folder: Path, say: Callable[[str], None]) -> Path:
    from klineagg.io import write_bars

    path = folder / "bars.parquet"
    try:
        write_bars(bars, path)
    except MissingExtraError as error:
        say(f"no Parquet file, because pyarrow is not installed: {error.hint}")
        path = folder / "bars.csv"
        write_bars(bars, path)
    say(f"{path}  ({len(bars):,} bars, all intervals, {_size(path)})")
    return path


def _write_picture(bars: Bars, folder: Path, say: Callable[[str], None]) -> None:
    path = folder / f"{bars.symbols[0]}-{_PICTURE}.png"
    try:
        picture(bars, path)
    except MissingExtraError as error:
        say(f"no picture, because matplotlib is not installed: {error.hint}")
        return
    say(f"{path}  (candles and volume, {_size(path)})")


def _say_next(table: Path, say: Callable[[str], None]) -> None:
    python = Path(sys.executable)
    script = python.with_name("klineagg")
    run = _shown(script) if script.exists() else f"{_shown(python)} -m klineagg"
    for command, purpose in (
        (f"{run} show {table} -i 5m", "another interval of the same bars"),
        (f"{run} aggregate --help", "bars of your own files"),
    ):
        say(f"{command}\n    {purpose}")
    say("README.md, notebooks/quickstart.ipynb\n    the same in Python")


def _shown(program: Path) -> str:
    """A program as it is best typed from here."""
    try:
        return str(program.relative_to(Path.cwd()))
    except ValueError:
        return str(program)


def _size(path: Path) -> str:
    size = path.stat().st_size
    return f"{size / 1e6:.1f} MB" if size >= 1_000_000 else f"{size / 1e3:.0f} kB"


def _heading(text: str, style: Style) -> str:
    return f"\n\x1b[1m{text}\x1b[0m" if style.color else f"\n{text}\n{'-' * len(text)}"


def _printer(style: Style) -> Callable[[str], None]:
    def say(text: str) -> None:
        if not style.unicode:
            text = text.encode("ascii", "backslashreplace").decode()
        print(text, flush=True)

    return say


if __name__ == "__main__":
    sys.exit(main())
