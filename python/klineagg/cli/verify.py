"""``klineagg verify``: bars beside an exchange's own K-lines."""

from __future__ import annotations

import argparse
import os
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final

from klineagg import errors
from klineagg.cli.aggregate import add_bars
from klineagg.cli.lake import is_lake
from klineagg.cli.options import HelpFormatter, add_common, add_input, count, refuse_idle
from klineagg.cli.output import BAD_INPUT, DIFFERENCES, OK, Output, few
from klineagg.cli.reading import bars_of

if TYPE_CHECKING:
    from klineagg.bars import Bars
    from klineagg.io.compare import Comparison, Difference, Series
    from klineagg.io.klines import Klines

__all__ = ["add_parser"]

_EPILOG: Final = """\
examples:
  klineagg verify bars.parquet BTCUSDT-1m-2024-01.zip
  klineagg verify bars.parquet XBTUSD_60.csv --symbol XBTUSD
  klineagg verify BTCUSDT-trades-2024-01-01.zip BTCUSDT-1m-2024-01-01.zip
                                     (trades are aggregated first, to the interval of THEIRS)
  klineagg verify lake BTCUSDT-1m-2024-01.zip --coverage 2024-01-01..2024-02-01
                                     (closed bars of a lake; without --coverage all of them)
  klineagg verify coin-m.parquet BTCUSD_PERP-1h-2024-01.zip \\
        --skip quote_volume,taker_buy_quote_volume

THEIRS: K-lines of Binance (CSV with or without a header, milliseconds or microseconds), Kraken's
OHLCVT, or any CSV, Parquet or Arrow file with the columns time, open, high, low, close, volume.
Numbers are equal when they are at the decimals that the exchange prints. Bars without trades that
only one side writes are no difference. Exit code 0: all equal; 1: something differs.
"""
_FIELDS: Final = (
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "trade_count",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "close_time",
)


def add_parser(commands: Any) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "verify",
        help="compare bars with an exchange's own K-lines",
        description="Compares bars with K-lines that an exchange published, and prints what "
        "differs.",
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("bars", metavar="BARS", help="bars, a lake, or trades (aggregated first)")
    parser.add_argument("theirs", nargs="+", metavar="THEIRS", help="K-lines of the exchange")
    parser.add_argument(
        "-i",
        "--interval",
        dest="intervals",
        metavar="NAME",
        help="of THEIRS (default: by the name of the file, or by their distance in time)",
    )
    parser.add_argument(
        "--skip",
        type=_fields,
        default=(),
        metavar="FIELD,...",
        help=f"fields that are not compared, of {', '.join(_FIELDS)}",
    )
    parser.add_argument(
        "--rows", type=count, default=20, metavar="N", help="differences shown (default: 20)"
    )
    add_bars(parser)
    add_input(parser)
    add_common(parser)
    parser.set_defaults(run=run)


def _fields(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(","))
    for name in names:
        if name not in _FIELDS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(_FIELDS)}")
    return names


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Does the work; returns the exit code."""
    from klineagg.io.compare import Comparison, compare

    bars, theirs = _both(arguments, output)
    found = Comparison()
    for klines in theirs:
        output.note(f"{klines.file}: {klines.format}, {len(klines):,} K-lines")
        compare(
            bars,
            klines,
            symbol=arguments.symbol,
            interval=arguments.intervals,
            skip=arguments.skip,
            into=found,
        )
        if arguments.symbol is None:
            _tell_another(found.series[-1], output)
    code = OK if found.same else DIFFERENCES if found.compared or found.missing else BAD_INPUT
    output.result(_summary(found, code), _report(found, arguments.rows))
    if code == BAD_INPUT:
        why = "the two do not overlap in time" if theirs else "no member is of a series of BARS"
        output.say(f"error: nothing to compare: {why}")
    return code


def _both(arguments: argparse.Namespace, output: Output) -> tuple[Bars, list[Klines]]:
    """The bars and the K-lines of the two sides."""
    from klineagg.io.barfiles import is_bars_file, read_bars
    from klineagg.io.klines import read_klines
    from klineagg.io.matching import has_series
    from klineagg.io.streams import held

    lake = is_lake(arguments.bars)
    with nullcontext(arguments.bars) if lake else held(arguments.bars) as ours:
        if not lake and not is_bars_file(ours):
            theirs = read_klines(*arguments.theirs)
            return _aggregated(arguments, ours, theirs, output), theirs
        why = f"{arguments.bars} {'is a lake' if lake else 'holds bars already'}"
        used = ("symbol", "coverage") if lake else ("symbol",)
        refuse_idle(arguments, (add_bars, add_input), why, used=used)
        bars = _of_lake(arguments) if lake else read_bars(ours)
    return bars, read_klines(*arguments.theirs, keep=lambda *names: has_series(bars, *names))


def _tell_another(series: Series, output: Output) -> None:
    """Says so when the only symbol of ours was taken for K-lines that are named otherwise."""
    if series.is_of_another:
        output.note(
            f"{series.file} is named as of {series.named}, and was compared with "
            f"{series.symbol}, the only symbol of ours (--symbol {series.symbol} says that it is)"
        )


def _of_lake(arguments: argparse.Namespace) -> Bars:
    """The closed bars of a lake, of the times that were asked for."""
    from klineagg.lake import Lake

    symbols = None if arguments.symbol is None else arguments.symbol.split(",")
    start, end = arguments.coverage or (None, None)
    with Lake(arguments.bars, read_only=True) as lake:
        return lake.bars(symbols, arguments.intervals, start, end, include_open=False)


def _aggregated(
    arguments: argparse.Namespace,
    trades: str | os.PathLike[str],
    theirs: list[Klines],
    output: Output,
) -> Bars:
    """The bars of trades, at the intervals of their K-lines."""
    from klineagg.io.matching import spacing

    names = [arguments.intervals or klines.interval or spacing(klines) for klines in theirs]
    if None in names:
        text = "the interval of the K-lines is not known"
        raise errors.make("invalid_option", text, hint="pass --interval 1m", option="interval")
    arguments.files = [trades]
    arguments.gaps = "flat" if arguments.gaps == "none" else arguments.gaps
    intervals = ",".join(dict.fromkeys(name for name in names if name is not None))
    return bars_of(arguments, output, intervals)[0]


def _summary(found: Comparison, code: int) -> dict[str, Any]:
    return {
        "series": [each._asdict() for each in found.series],
        "same": found.same,
        "compared": found.compared,
        "equal": found.equal,
        "missing_in_ours": found.missing_ours,
        "missing_in_theirs": found.missing_theirs,
        "without_trades_on_one_side": found.empty,
        "theirs_outside_ours": found.outside,
        "fields": {
            name: {"compared": count, "differing": found.differing.get(name, 0)}
            for name, count in found.values.items()
        },
        "differences": [
            {**item._asdict(), "open_time": f"{item.open_time}Z"} for item in found.differences
        ],
        "exit_code": code,
    }


def _report(found: Comparison, shown: int) -> str:
    lines = []
    if found.differences:
        lines += _table(found.differences[:shown])
        total = found.missing + sum(found.differing.values())
        rest = total - min(len(found.differences), shown)
        if rest:
            lines.append(f"... {rest:,} more")
        lines.append("")
    checked = [
        f"{name} {count - found.differing.get(name, 0):,} of {count:,}"
        for name, count in found.values.items()
        if found.differing.get(name, 0)
    ]
    bars = _worded("bar{}", found.compared)
    lines.append(f"{found.compared:,} {bars} compared, {found.equal:,} equal")
    ours = dict.fromkeys(f"{each.symbol} {each.interval}" for each in found.series)
    if ours:
        lines.append(f"series of ours: {few([*ours])}")
    if checked:
        lines.append(f"equal by field: {', '.join(checked)}; all others in every bar")
    elif found.compared:
        lines.append(f"fields: {', '.join(found.values)}")
    for number, text in (
        (found.missing_ours, "K-line{} of theirs with trades {has} no bar of ours"),
        (found.missing_theirs, "bar{} of ours with trades {has} no K-line of theirs"),
        (found.empty, "bar{} without trades {stands} on one side only (no difference)"),
        (found.outside, "K-line{} of theirs {lies} outside the time of ours"),
    ):
        if number:
            lines.append(f"{number:,} {_worded(text, number)}")
    return "\n".join(lines)


def _worded(text: str, number: int) -> str:
    """A text about one thing, or about several."""
    if number == 1:
        return text.format("", has="has", stands="stands", lies="lies")
    return text.format("s", has="have", stands="stand", lies="lie")


def _table(differences: list[Difference]) -> list[str]:
    head = ("series", "open time", "field", "ours", "theirs", "row", "state")
    rows = [
        (
            f"{item.symbol} {item.interval}",
            str(item.open_time.astype("datetime64[s]")).replace("T", " "),
            item.field,
            "-" if item.ours is None else f"{item.ours!r}".strip("'"),
            "-" if item.theirs is None else f"{item.theirs!r}".strip("'"),
            "" if item.row is None else str(item.row),
            item.state,
        )
        for item in differences
    ]
    widths = [max(len(row[k]) for row in (head, *rows)) for k in range(len(head))]
    right = {3, 4, 5}
    return [
        "  ".join(
            cell.rjust(width) if k in right else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *rows)
    ]
