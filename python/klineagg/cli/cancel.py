"""``klineagg cancel``: a trade that the exchange has cancelled or corrected."""

from __future__ import annotations

import argparse
from typing import Any, Final

from klineagg.cli.options import HelpFormatter, add_common
from klineagg.cli.output import OK, Output

__all__ = ["add_parser"]

_PATIENCE_S: Final = 600.0
_EPILOG: Final = """\
examples:
  klineagg cancel run.toml BTCUSDT 381234567
  klineagg cancel run.toml BTCUSDT 381234567 --price 42000.5 --quantity 0.2   (corrects it)

The running engine rebuilds the bars that the trade is in from its log, in the order of all trades;
closed ones come as revisions. The trade has to be in the log still, and to have an id.
"""


def add_parser(commands: Any) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "cancel",
        help="take a trade out of the bars of a running engine, or correct it",
        description="Tells a running engine that the exchange has cancelled or corrected a trade.",
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("config", metavar="CONFIG", help="of the running engine")
    parser.add_argument("symbol", metavar="SYMBOL", help="of the trade")
    parser.add_argument("id", metavar="ID", type=int, help="of the trade")
    parser.add_argument("--price", type=float, metavar="X", help="that it should have")
    parser.add_argument("--quantity", type=float, metavar="X", help="that it should have")
    parser.add_argument("--time", metavar="TIME", help="that it should have, in UTC")
    add_common(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Does the work; returns the exit code."""
    from klineagg.config import load
    from klineagg.runtime import Client

    named = {name: getattr(arguments, name) for name in ("price", "quantity", "time")}
    instead = {name: value for name, value in named.items() if value is not None}
    asked: dict[str, Any] = {"symbol": arguments.symbol, "id": arguments.id}
    op = "cancel"
    if instead:
        op, asked["instead"] = "correct", instead
    with Client(load(arguments.config).socket, timeout=_PATIENCE_S) as client:
        done, _ = client.request(op, **asked)
    text = f"{done['replaced']:,} bars revised"
    if done["unexplained"]:
        text += (
            f", {done['unexplained']:,} not: the engine keeps them no more (amend_horizon), or "
            "they are INCOMPLETE: the log has not all their trades"
        )
    output.result(done, text)
    return OK
