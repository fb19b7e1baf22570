"""``klineagg show``: bars as a chart of candles and a table in the terminal."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, Final

from klineagg.cli.aggregate import add_bars
from klineagg.cli.options import (
    HelpFormatter,
    add_common,
    add_input,
    count,
    refuse_idle,
    size,
    symbols_of,
)
from klineagg.cli.output import OK, Output
from klineagg.cli.reading import bars_of

if TYPE_CHECKING:
    from klineagg.bars import Bars
    from klineagg.terminal import Style

__all__ = ["add_parser", "add_rows", "row_of", "table_of"]

_EPILOG: Final = """\
examples:
  klineagg show bars.parquet --symbol BTCUSDT -i 1h
  klineagg show bars.parquet -i 1m --from 2024-01-01T12:00 --to 2024-01-01T14:00
  klineagg show BTCUSDT-trades-2024-01-01.zip -i 5m        (trades are aggregated first)
  klineagg show bars.parquet --no-chart --rows 100 | less
"""


def add_parser(commands: Any) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "show",
        help="bars as a chart and a table in the terminal",
        description="Shows files of bars, or of trades, which are aggregated first.",
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="bars or trades")
    parser.add_argument(
        "-i",
        "--intervals",
        "--interval",
        metavar="NAME",
        help="which interval (default: the one that fits the chart; 1m for trades)",
    )
    parser.add_argument("--from", dest="start", metavar="TIME", help="first bar, ISO 8601 in UTC")
    parser.add_argument("--to", dest="end", metavar="TIME", help="where bars end, not included")
    add_rows(parser)
    parser.add_argument("--width", type=size, metavar="N", help="columns of the terminal")
    parser.add_argument("--height", type=size, metavar="N", help="lines of the chart")
    parser.add_argument("--no-chart", action="store_true", help="the table alone")
    parser.add_argument("--no-table", action="store_true", help="the chart alone")
    add_bars(parser)
    add_input(parser)
    add_common(parser)
    parser.set_defaults(run=run)


def add_rows(parser: argparse.ArgumentParser) -> None:
    """The option that says how long a table of bars is."""
    parser.add_argument(
        "--rows",
        type=count,
        default=20,
        metavar="N",
        help="rows of the table, at least 2; 0: its heading alone (default: 20)",
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Does the work; returns the exit code."""
    from klineagg import terminal

    bars = _load(arguments, output)
    if arguments.start is not None or arguments.end is not None:
        bars = bars.between(_time(arguments.start, "--from"), _time(arguments.end, "--to"))
    if output.json:
        output.result({"rows": len(bars), "bars": [row_of(bar) for bar in bars]})
        return OK
    style = terminal.Style.of(sys.stdout, width=arguments.width, height=arguments.height)
    pictures = []
    if len(bars) and not arguments.no_chart:
        pictures.append(terminal.chart(bars, style=style))
    if not arguments.no_table or not len(bars):
        pictures.append(table_of(bars, arguments.rows, style))
    output.result({}, "\n\n".join(pictures))
    return OK


def table_of(bars: Bars, rows: int, style: Style | None = None) -> str:
    """The table of bars with so many rows; of none its first line, which tells what they are."""
    from klineagg import terminal

    text = terminal.table(bars, rows=max(rows, 2), style=style)
    return text if rows else text.partition("\n")[0]


def _time(text: str | None, option: str) -> int | None:
    """Nanoseconds; an error calls the option as the user does."""
    from klineagg._bars_time import to_ns

    return None if text is None else to_ns(text, option)


def _load(arguments: argparse.Namespace, output: Output) -> Bars:
    from klineagg.bars import Bars
    from klineagg.io.barfiles import is_bars_file, read_bars
    from klineagg.io.streams import held

    with held(arguments.files[0]) as first:
        why = f"{arguments.files[0]} holds bars already"
        arguments.files = [first, *arguments.files[1:]]
        if not is_bars_file(first):
            return bars_of(arguments, output)[0]
        refuse_idle(arguments, (add_bars, add_input), why, used=("symbol",))
        bars = Bars.concat([read_bars(path) for path in arguments.files])
    if arguments.symbol is not None:
        bars = bars[symbols_of(arguments.symbol, bars.symbols), :]
    if arguments.intervals is not None:
        bars = bars[:, arguments.intervals.split(",")]
    return bars


def row_of(bar: Any) -> dict[str, Any]:
    """A bar for JSON: times as ISO 8601, missing numbers as null."""
    out: dict[str, Any] = {}
    for name, value in bar._asdict().items():
        if hasattr(value, "dtype") and value.dtype.kind == "M":
            out[name] = None if value != value else f"{value}Z"
        else:
            out[name] = int(value) if name == "flags" else value
    return out
