"""``klineagg lake``: what a lake holds, its bars, queries, and maintenance."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any, Final

from klineagg._bars_text import counted
from klineagg.cli.options import HelpFormatter, add_common
from klineagg.cli.output import OK, Output
from klineagg.cli.show import add_rows, row_of, table_of

if TYPE_CHECKING:
    from klineagg.lake import Lake

__all__ = ["add_parser", "is_lake", "open_lake"]

_EPILOG: Final = """\
examples:
  klineagg lake info lake
  klineagg lake bars lake --symbol BTCUSDT -i 1m --from 2024-01-01 --to 2024-01-02 -o day.parquet
  klineagg lake sql lake "SELECT symbol, count(*) FROM bars GROUP BY ALL"
  klineagg lake maintain lake --retention 1s=7d

LAKE: a folder, sqlite:FILE, duckdb:FILE or postgresql://... (the password in PGPASSWORD).
"""


def add_parser(commands: Any) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "lake",
        help="a lake of bars: what it holds, reading, queries, maintenance",
        description="Reads and maintains a lake of bars.",
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    info = _action(actions, "info", "intervals, symbols, snapshots and consumers", run_info)
    info.add_argument("--symbols", action="store_true", help="name every symbol")
    bars = _action(actions, "bars", "bars as a table, or into a file", run_bars)
    bars.add_argument("--symbol", metavar="NAME,...", help="of these symbols (default: all)")
    bars.add_argument("-i", "--intervals", "--interval", metavar="NAME,...", help="of these only")
    bars.add_argument("--from", dest="start", metavar="TIME", help="first bar, ISO 8601 in UTC")
    bars.add_argument("--to", dest="end", metavar="TIME", help="where bars end, not included")
    bars.add_argument("--runs", action="store_true", help="a run of gap bars stays one row")
    bars.add_argument("--closed", action="store_true", help="no open bars")
    bars.add_argument("-o", "--output", metavar="FILE", help=".parquet, .arrow or .csv")
    add_rows(bars)
    sql = _action(actions, "sql", "one SELECT over the views bars and rows", run_sql)
    sql.add_argument("query", metavar="QUERY", help="in the SQL of DuckDB")
    for action in (bars, sql):
        action.add_argument(
            "--as-of", metavar="WHEN", help="as the lake was: a snapshot's number, or a time"
        )
    maintain = _action(actions, "maintain", "merges small files, lets the old go", run_maintain)
    maintain.add_argument(
        "--retention",
        type=_retention,
        default={},
        metavar="NAME=AGE,...",
        help="how long the bars of an interval are kept, such as 1s=7d (default: all for ever)",
    )
    maintain.add_argument(
        "--history",
        choices=["thin", "all"],
        default="thin",
        help="snapshots that time travel reaches: fewer with age, or all (default: thin)",
    )


def _action(actions: Any, name: str, text: str, run: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=text, description=f"{text[0].upper()}{text[1:]}.", formatter_class=HelpFormatter
    )
    parser.add_argument("lake", metavar="LAKE", help="a folder, sqlite:FILE, postgresql://...")
    parser.add_argument("--data-path", metavar="PLACE", help="of the files, where it is elsewhere")
    add_common(parser)
    parser.set_defaults(run=run)
    return parser


def is_lake(text: str) -> bool:
    """Whether the name of an input is one of a lake."""
    from pathlib import Path

    if re.match(r"(?:sqlite|duckdb|postgres|postgresql):", text):
        return True
    return (Path(text) / "catalog.sqlite").is_file()


def open_lake(arguments: argparse.Namespace, *, read_only: bool = True) -> Lake:
    """The lake that the arguments name."""
    from klineagg.lake import Lake

    return Lake(arguments.lake, arguments.data_path, read_only=read_only)


def run_info(arguments: argparse.Namespace, output: Output) -> int:
    """Tells what a lake holds; returns the exit code."""
    from klineagg.lake.state import fences

    rows_of_each = (
        'SELECT "interval", count(*), count(DISTINCT symbol), CAST(min(open_time) AS VARCHAR), '
        'CAST(max(close_time) AS VARCHAR), CAST(sum(run_length) AS BIGINT) FROM "rows" '
        'GROUP BY "interval" ORDER BY "interval"'
    )
    with open_lake(arguments) as lake:
        keys = ("interval", "rows", "symbols", "first", "last", "bars")
        series = [dict(zip(keys, row, strict=True)) for row in lake.sql(rows_of_each).rows()]
        symbols = list(lake.symbols())
        snapshots = lake.snapshots()
        known, _ = lake._session.reading(fences)
    consumers: dict[str, dict[str, Any]] = {
        name: {
            "id": list(fence.id),
            "position": fence.position,
            "watermark": None if fence.watermark is None else f"{fence.watermark}Z",
        }
        for name, fence in known.items()
    }
    values: dict[str, Any] = {
        "intervals": series,
        "symbols": symbols if arguments.symbols else len(symbols),
        "snapshots": len(snapshots),
        "newest_snapshot": snapshots[-1][0],
        "consumers": consumers,
    }
    lines = [f"{counted(len(symbols), 'symbol')}, {counted(len(snapshots), 'snapshot')}"]
    lines += [
        f"{each['interval']}: {counted(each['bars'], 'bar')} in {counted(each['rows'], 'row')}, "
        f"{counted(each['symbols'], 'symbol')}, {each['first']} to {each['last']}"
        for each in series
    ]
    lines += [
        f"consumer {name}: snapshot {each['id'][0]}.{each['id'][1]}, "
        f"position {'-' if each['position'] is None else each['position']}"
        for name, each in consumers.items()
    ]
    lines += symbols if arguments.symbols else []
    output.result(values, "\n".join(lines))
    return OK


def run_bars(arguments: argparse.Namespace, output: Output) -> int:
    """Reads bars; returns the exit code."""
    from klineagg.io.barfiles import format_for, write_bars

    if arguments.output is not None:
        format_for(arguments.output)
    with open_lake(arguments) as lake:
        bars = lake.bars(
            None if arguments.symbol is None else arguments.symbol.split(","),
            arguments.intervals,
            arguments.start,
            arguments.end,
            as_of=_when(arguments.as_of),
            gaps="runs" if arguments.runs else "expand",
            include_open=not arguments.closed,
        )
    if arguments.output is not None:
        write_bars(bars, arguments.output)
        values = {"rows": len(bars), "output": arguments.output}
        output.result(values, f"{len(bars):,} bars in {arguments.output}")
    elif output.json:
        output.result({"rows": len(bars), "bars": [row_of(bar) for bar in bars]})
    else:
        output.result({}, table_of(bars, arguments.rows))
    return OK


def run_sql(arguments: argparse.Namespace, output: Output) -> int:
    """Runs a query; returns the exit code."""
    with open_lake(arguments) as lake:
        found = lake.sql(arguments.query, as_of=_when(arguments.as_of))
    rows = [dict(zip(found.columns, row, strict=True)) for row in found.rows()]
    output.result({"rows": len(rows), "result": rows} if output.json else {}, repr(found))
    return OK


def run_maintain(arguments: argparse.Namespace, output: Output) -> int:
    """Does a round of maintenance; returns the exit code."""
    from dataclasses import asdict

    open_lake(arguments).close()  # to write is to make one: a mistyped name would be a new lake
    with open_lake(arguments, read_only=False) as lake:
        done = lake.maintain(retention=arguments.retention, history=arguments.history)
    text = (
        f"{done.files_merged:,} files merged, {done.files_rewritten:,} rewritten, "
        f"{done.files_removed + done.orphans_removed:,} removed; "
        f"{done.snapshots_expired:,} snapshots and {done.bars_expired:,} rows let go; "
        f"{done.files:,} files"
    )
    output.result(asdict(done), text)
    return OK


def _when(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.isdecimal() else text


def _retention(text: str) -> dict[str, str]:
    out = {}
    for part in text.split(","):
        name, equals, age = part.strip().partition("=")
        if not equals:
            raise argparse.ArgumentTypeError(f"{part.strip()!r} is not NAME=AGE, such as 1s=7d")
        out[name] = age
    return out
