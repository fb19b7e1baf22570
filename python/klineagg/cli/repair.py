"""``klineagg repair``: bars of a lake, rebuilt from their trades."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any, Final

from klineagg import errors
from klineagg.cli.options import HelpFormatter, add_common, add_input, count, wanted_of
from klineagg.cli.output import DIFFERENCES, OK, Output

if TYPE_CHECKING:
    from klineagg.lake.repair import RepairPlan

__all__ = ["add_parser"]

_PATIENCE_S: Final = 600.0
_EPILOG: Final = """\
examples:
  klineagg repair BTCUSDT --lake lake --from 2024-01-01 --to 2024-01-02 \\
        --trades BTCUSDT-trades-2024-01-01.zip            (prints what differs)
  klineagg repair BTCUSDT --lake lake --from 2024-01-01 --to 2024-01-02 \\
        --trades BTCUSDT-trades-2024-01-01.zip --write    (and writes it)
  klineagg repair BTCUSDT --lake lake --from 2024-01-01T08:00 --to 2024-01-01T09:00 --wal log

  klineagg repair BTCUSDT --running run.toml --from 2024-01-01T08:00 --to 2024-01-01T09:00

Bars that lie within the range as a whole are rebuilt. What differs is written as revisions: one
above the lake's, flagged REVISED; what was there before stays reachable by time travel. A second
repair with the same trades finds nothing. Take trades that are complete for the range; of a log
(--wal) they are taken as `klineagg cancel` has left them. While `klineagg run` is at work, ask it
(--running): it revises the bars that it keeps (amend_horizon) as a command in its log, at once, and
the others in the lake. When none runs, the next one learns the lake's revisions at its start.

Exit code 0: nothing differs, or it was written; 1: something differs.
"""


def add_parser(commands: Any) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "repair",
        help="rebuild bars of a lake from their trades",
        description="Rebuilds the bars of a symbol and a range of time from its trades, prints "
        "what differs from the lake, and with --write puts it there, as revisions.",
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("name", metavar="SYMBOL", help="whose bars")
    parser.add_argument("--from", dest="start", required=True, metavar="TIME", help="in UTC")
    parser.add_argument(
        "--to", dest="end", required=True, metavar="TIME", help="where it ends, not included"
    )
    parser.add_argument("--lake", default="lake", metavar="LAKE", help="default: lake")
    parser.add_argument(
        "--running",
        metavar="CONFIG",
        help="the engine that runs with this configuration does it, as a command in its log; "
        "without --trades and --wal from that log",
    )
    parser.add_argument("--data-path", metavar="PLACE", help="of the files, where it is elsewhere")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--trades", nargs="+", metavar="FILE", help="files of trades")
    source.add_argument("--wal", metavar="FOLDER", help="a write-ahead log")
    parser.add_argument(
        "-i", "--intervals", metavar="NAME,...", help="of these (default: all that the lake has)"
    )
    parser.add_argument(
        "--skip",
        type=_fields,
        default=(),
        metavar="FIELD,...",
        help="columns that the trades say nothing of; they stay as they are",
    )
    parser.add_argument("--write", action="store_true", help="write it; without: only print")
    parser.add_argument(
        "--rows", type=count, default=20, metavar="N", help="differences shown (default: 20)"
    )
    add_input(parser)
    add_common(parser)
    parser.set_defaults(run=run)


def _fields(text: str) -> tuple[str, ...]:
    from klineagg.bars import COLUMNS

    names = tuple(part.strip() for part in text.split(","))
    for name in names:
        if name not in COLUMNS[4:]:
            known = ", ".join(COLUMNS[4:])
            raise argparse.ArgumentTypeError(f"{name!r} is none of {known}")
    return names


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Does the work; returns the exit code."""
    from klineagg._bars_index import no_such_series
    from klineagg.lake import Lake
    from klineagg.lake.repair import plan_repair, write_repair

    if arguments.symbol is None:
        arguments.symbol = arguments.name
    if arguments.running is not None:
        if arguments.write:
            text = "--write is for a repair without --running: a running engine always writes"
            raise errors.make("invalid_option", text, option="write")
        return _run_there(arguments, output)
    if arguments.trades is None and arguments.wal is None:
        text = "a repair needs the trades: --trades FILE ..., --wal FOLDER, or --running CONFIG"
        raise errors.make("invalid_option", text, option="trades")
    names = None if arguments.intervals is None else arguments.intervals.split(",")
    with Lake(arguments.lake, arguments.data_path, read_only=not arguments.write) as lake:
        if arguments.name not in (symbols := lake.symbols()):
            # Nothing to compare would look as if everything were right.
            raise no_such_series("symbol", arguments.name, list(symbols))
        plan = plan_repair(
            lake,
            arguments.name,
            arguments.start,
            arguments.end,
            _trades(arguments),
            intervals=names,
            skip=arguments.skip,
        )
        done = write_repair(lake, plan) if arguments.write else None
    for name in plan.skipped:
        output.note(f"{name}: bars of this interval cannot be rebuilt from its name")
    values = {
        "symbol": plan.symbol,
        "checked": plan.checked,
        "rows": len(plan.bars),
        "bars": int(plan.bars.run_length.sum()),
        "unexplained": plan.unexplained,
        "written": 0 if done is None else done.rows,
        "replaced": 0 if done is None else done.replaced,
        "snapshot": None if done is None else done.snapshot,
        "differences": [
            {**one._asdict(), "open_time": f"{one.open_time}Z"} for one in plan.differences
        ],
    }
    output.result(values, _report(plan, arguments.rows, written=done is not None))
    return OK if done is not None or not plan.differences else DIFFERENCES


def _run_there(arguments: argparse.Namespace, output: Output) -> int:
    from klineagg.config import load
    from klineagg.runtime import Client

    files = [os.path.abspath(path) for path in arguments.trades or ()]
    with Client(load(arguments.running).socket, timeout=_PATIENCE_S) as client:
        done, _ = client.request(
            "repair",
            symbol=arguments.name,
            start=arguments.start,
            end=arguments.end,
            files=files,
        )
    lines = [
        f"{done['replaced']:,} bars revised by the engine, {done['same']:,} were right",
        f"{done['in_lake']:,} rows revised in the lake, of bars that the engine keeps no more",
    ]
    if done["unexplained"]:
        lines[1:1] = [
            f"{done['unexplained']:,} bars the engine cannot tell: it keeps them no more, or the "
            "trades are not complete"
        ]
    output.result(done, "\n".join(lines))
    return OK


def _trades(arguments: argparse.Namespace) -> Any:
    if arguments.wal is not None:
        from klineagg.runtime.correcting import logged_trades

        return logged_trades(arguments.wal, arguments.name, arguments.start, arguments.end)
    from klineagg.io.readers import TradeReader

    reader = TradeReader(arguments.trades, wanted_of(arguments), on_bad=arguments.on_bad)
    return (batch.data for batch in reader)


def _report(plan: RepairPlan, shown: int, *, written: bool) -> str:
    lines = [
        f"{one.interval:<6} {str(one.open_time.astype('datetime64[s]')).replace('T', ' ')}  "
        f"{one.field}: {one.lake!r} in the lake, {one.rebuilt!r} rebuilt"
        if one.field != "bar"
        else f"{one.interval:<6} {str(one.open_time.astype('datetime64[s]')).replace('T', ' ')}  "
        "missing in the lake"
        for one in plan.differences[:shown]
    ]
    if len(plan.differences) > shown:
        lines.append(f"... {len(plan.differences) - shown:,} more")
    bars = int(plan.bars.run_length.sum())
    what = "written" if written else "to write (with --write)"
    lines.append(f"{plan.checked:,} bars compared, {bars:,} {what if bars else 'differ'}")
    if plan.unexplained:
        lines.append(f"{plan.unexplained:,} bars of the lake have no trades and stay as they are")
    return "\n".join(lines)
