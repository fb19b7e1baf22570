"""``klineagg aggregate``: trades in files into bars."""

from __future__ import annotations

import argparse
import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from klineagg import errors
from klineagg._bars_text import counted
from klineagg.cli.options import (
    HelpFormatter,
    add_common,
    add_input,
    duration,
    threads,
)
from klineagg.cli.output import OK, Output
from klineagg.cli.reading import bars_of

if TYPE_CHECKING:
    from klineagg.io.readers import TradeReader
    from klineagg.report import Report

__all__ = ["add_bars", "add_parser"]

_EPILOG: Final = """\
examples:
  a Binance dump into three intervals; the preset and the symbol are found out:
    klineagg aggregate BTCUSDT-trades-2024-01.zip -i 1m,5m,1h -o bars.parquet
  a year of them on two threads, with the minutes without trades as rows:
    klineagg aggregate BTCUSDT-aggTrades-2024-*.zip -i 1m --gaps flat --threads 2 -o 2024.parquet
  any CSV with other names of columns; a bad row is counted instead of ending the work:
    klineagg aggregate ticks.csv.gz -i 1m --columns time=ts,price=px,quantity=sz --unit us \\
        --symbol BTCUSDT --on-bad count -o bars.csv
  a day that goes on from the one before, also where nothing trades at first:
    klineagg aggregate BTCUSDT-trades-2024-01-02.zip --coverage 2024-01-02..2024-01-03 \\
        --last-price BTCUSDT=44179.55 --gaps flat -o day.parquet
  the US tape, whose sale conditions say what a trade counts for:
    klineagg aggregate tape.csv --columns conditions=cond --conditions us_utp -o bars.parquet
  from a pipe into a pipe:
    zstdcat trades.csv.zst | klineagg aggregate - -i 1s -o - | head
  days of New York, and a dollar bar:
    klineagg aggregate trades.parquet -i 1d@America/New_York -o days.parquet
    klineagg aggregate trades.parquet --by value --threshold 1e6 -o dollars.parquet

Trades of one symbol have to be in order of time: give files in that order; --lateness allows some
disorder, --sort any (in memory). Without -o the bars are shown as a table.
"""


def add_parser(commands: Any) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "aggregate",
        help="trades in files into bars",
        description="Reads trades from CSV (plain, gz, zip, zst), Parquet or Arrow files and "
        "writes bars.",
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
    )
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="trades, in order of time; - is standard input",
    )
    parser.add_argument(
        "-i",
        "--intervals",
        metavar="LIST",
        help="1s ... 1M, such as 1m,5m,1h,1d+8h,1d@America/New_York (default: 1m)",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="where to: .parquet, .arrow, .csv or .csv.gz; - is standard output",
    )
    parser.add_argument(
        "--format", choices=["parquet", "arrow", "csv"], help="of the output, whatever its name"
    )
    add_bars(parser)
    add_input(parser)
    add_common(parser)
    parser.set_defaults(run=run)


def add_bars(parser: argparse.ArgumentParser) -> None:
    """Options of the aggregation itself."""
    group = parser.add_argument_group("what the bars are")
    group.add_argument(
        "--gaps",
        choices=["none", "runs", "flat"],
        default="none",
        help="times without trades: no row, one row for each stretch, or a flat bar each",
    )
    group.add_argument(
        "--lateness",
        type=duration,
        metavar="TIME",
        help="how far behind the newest trade of its symbol another may come, such as 5s",
    )
    group.add_argument(
        "--late",
        choices=["raise", "drop", "amend"],
        default="raise",
        help="a trade later than that: stop (default), drop and count it, or put it into its bar, "
        "which gets a higher revision",
    )
    group.add_argument(
        "--amend-horizon",
        type=duration,
        metavar="TIME",
        help="with --late amend: how old a bar may be amended, such as 1h (default: any)",
    )
    group.add_argument(
        "--sort",
        action="store_true",
        help="sort all trades by time and id, in memory; a file that runs backwards is turned",
    )
    group.add_argument(
        "--coverage",
        type=_coverage,
        metavar="START..END",
        help="what time the input covers (either may be empty): bars cut by the start are marked, "
        "those up to the end are closed and gaps filled up to it",
    )
    group.add_argument(
        "--last-price",
        action="append",
        type=_last_price,
        default=[],
        metavar="SYMBOL=PRICE",
        help="last price before the start of the coverage: a symbol that does not trade at once "
        "gets a flat bar there; once for each symbol",
    )
    group.add_argument(
        "--closed-only", action="store_true", help="leave out bars that are not closed at the end"
    )
    group.add_argument(
        "--allow-nonpositive-prices",
        action="store_true",
        help="some futures trade at or below zero",
    )
    group.add_argument(
        "--by",
        choices=["time", "tick", "volume", "value"],
        default="time",
        help="close bars by time, or when --threshold trades, quantity or money has traded",
    )
    group.add_argument("--threshold", type=float, help="of --by tick, volume and value")
    group.add_argument(
        "--threads",
        type=threads,
        default=1,
        metavar="N",
        help="threads to use, or auto (default: 1); the bars have the same bits for any number",
    )


def _coverage(text: str) -> tuple[str | None, str | None]:
    start, dots, end = text.partition("..")
    if not dots or not (start or end):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not START..END, such as 2024-01-01..2024-01-02"
        )
    return start or None, end or None


def _last_price(text: str) -> tuple[str, float]:
    symbol, _, price = text.rpartition("=")
    try:
        value = float(price)
    except ValueError:
        value = math.nan
    if not symbol or not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not SYMBOL=PRICE, such as BTCUSDT=42000.5")
    return symbol, value


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Does the work; returns the exit code."""
    from klineagg.io.barfiles import write_bars

    target = arguments.output
    if target is not None:
        _check_target(target, arguments)
    begin = time.perf_counter()
    bars, reader, report = bars_of(arguments, output)
    seconds = time.perf_counter() - begin
    if target is not None:
        write_bars(bars, target, format=arguments.format)
    _tell_rejected(reader, report, output)
    rate = ""
    if report.offered >= 1_000_000:
        rate = f", {report.offered / seconds / 1e6:,.1f} million a second"
    output.note(
        f"{counted(report.offered, 'trade')} -> {counted(len(bars), 'bar')} of "
        f"{counted(len(bars.symbols), 'symbol')} "
        f"({', '.join(bars.intervals)}) in {seconds:,.2f} s"
        + rate
        + (f" -> {target}" if target not in (None, "-") else "")
    )
    summary = {
        "files": [vars(facts) for facts in reader.files],
        "output": target,
        "rows": len(bars),
        "symbols": list(bars.symbols),
        "intervals": list(bars.intervals),
        "report": {**report.to_dict(), "balanced": report.balanced},
        "samples": [str(sample) for sample in reader.samples],
        "seconds": round(seconds, 6),
    }
    table = ""
    if target is None and not output.json:
        from klineagg import terminal

        table = terminal.table(bars)
    output.result(summary, table)
    return OK


def _check_target(target: str, arguments: argparse.Namespace) -> None:
    """Tells before the work, not after it, where the bars cannot go."""
    from klineagg._bars_extras import require
    from klineagg._bars_files import not_written
    from klineagg.io.barfiles import format_for

    if format_for(target, arguments.format) != "csv":
        require("pyarrow", "parquet", f"writing {target}")
    if target == "-":
        if arguments.json:
            text = "--json and -o - both want standard output"
            hint = "write the bars to a file"
            raise errors.make("invalid_option", text, hint=hint, option="json")
        return
    try:
        os.scandir(os.path.dirname(target) or ".").close()
    except PermissionError:
        pass  # a folder that may be written and not listed
    except OSError as error:
        raise not_written(Path(target), error) from error
    # The trades would be gone: bars take the place of a file as a whole.
    if any(_same_file(target, file) for file in arguments.files):
        text = f"the output {target} is one of the inputs"
        hint = "write the bars to another file"
        raise errors.make("invalid_option", text, hint=hint, option="output", value=target)


def _same_file(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:  # one of them is not there
        return False


def _tell_rejected(reader: TradeReader, report: Report, output: Output) -> None:
    for what, counts in (("left out", report.rejected), ("dropped", report.dropped)):
        reasons = [f"{reason} {count:,}" for reason, count in counts.items() if count]
        if reasons:
            output.note(f"{counted(sum(counts.values()), 'row')} {what}: {', '.join(reasons)}")
    for sample in reader.samples[:3]:
        output.note(f"  {sample}")
    for name, count in report.outside_sessions.items():
        if count:
            output.note(f"{counted(count, 'trade')} outside the sessions of {name}")
