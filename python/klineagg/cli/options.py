"""Options that several commands share, and the texts that they take."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Any, Final

from klineagg import errors
from klineagg._options import THREADS_MAX, duration_ns, threads_of
from klineagg.conditions import TABLES, ConditionTable
from klineagg.errors import OptionError
from klineagg.io.presets import PRESETS
from klineagg.io.roles import Wanted

__all__ = [
    "HelpFormatter",
    "add_common",
    "add_input",
    "count",
    "duration",
    "refuse_idle",
    "size",
    "symbols_of",
    "threads",
    "wanted_of",
]

_UNITS: Final = "ns, us, ms, s, m, h, d"
ROLES: Final = (
    "symbol",
    "time",
    "price",
    "quantity",
    "side",
    "trade_id",
    "first_trade_id",
    "last_trade_id",
    "flags",
    "conditions",
)


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the examples as they are written, and leaves room for the names of options."""

    def __init__(self, prog: str, **rest: Any) -> None:
        super().__init__(prog, max_help_position=28, **rest)


def add_common(parser: argparse.ArgumentParser) -> None:
    """Options of every command."""
    group = parser.add_argument_group("output")
    group.add_argument(
        "--json",
        action="store_true",
        help="print the result as one JSON object on standard output (errors too)",
    )
    group.add_argument(
        "-q", "--quiet", action="store_true", help="no progress and no notes on standard error"
    )


def add_input(parser: argparse.ArgumentParser) -> None:
    """Options that say how trades are read."""
    group = parser.add_argument_group("how the trades are read (found out where not given)")
    group.add_argument(
        "--preset",
        choices=["auto", "none", *PRESETS],
        default="auto",
        help="layout of the dump; none: by the names of its columns (default: auto)",
    )
    group.add_argument(
        "--columns",
        type=_columns,
        default={},
        metavar="ROLE=NAME,...",
        help="columns with other names, such as price=px,time=ts; #2 is the second field; "
        f"an empty name leaves the role out; roles: {', '.join(ROLES)}",
    )
    group.add_argument(
        "--side-column",
        metavar="NAME",
        help="the same as --columns side=NAME; is_buyer_maker and its like are understood",
    )
    group.add_argument(
        "--symbol",
        metavar="NAME",
        help="symbol of the trades, where no column tells it; where one does: the one to keep "
        "(or several, between commas)",
    )
    group.add_argument(
        "--unit",
        choices=["s", "ms", "us", "ns"],
        help="unit of integer time stamps (default: by their size)",
    )
    group.add_argument(
        "--delimiter",
        type=_delimiter,
        metavar="CHAR",
        help="between the fields of CSV: , ; | or tab (default: the most frequent)",
    )
    group.add_argument(
        "--conditions",
        choices=list(TABLES),
        metavar="TABLE",
        help="what the sale conditions of the trades mean: their column (see --columns) sets what "
        f"a trade does not count for; tables: {', '.join(TABLES)}",
    )
    group.add_argument(
        "--unknown-conditions",
        choices=["raise", "count"],
        default="raise",
        help="a condition that the table does not have: stop (default), or let the trade count for "
        "all",
    )
    header = group.add_mutually_exclusive_group()
    header.add_argument(
        "--header", action="store_true", default=None, help="the first record of CSV holds names"
    )
    header.add_argument(
        "--no-header",
        action="store_false",
        dest="header",
        default=None,
        help="the first record of CSV is a trade",
    )
    group.add_argument(
        "--on-bad",
        choices=["raise", "count"],
        default="raise",
        help="a row that is no trade: stop (default), or leave it out and count it by its reason",
    )


def wanted_of(arguments: argparse.Namespace) -> Wanted:
    """What the user said about the columns of the input."""
    columns: dict[str, str | None] = dict(arguments.columns)
    if arguments.side_column is not None:
        columns["side"] = arguments.side_column
    return Wanted(
        preset=None if arguments.preset == "auto" else arguments.preset,
        columns=columns or None,
        unit=arguments.unit,
        symbol=arguments.symbol,
        delimiter=arguments.delimiter,
        header=arguments.header,
        conditions=_conditions(arguments),
    )


def _conditions(arguments: argparse.Namespace) -> ConditionTable | None:
    if arguments.conditions is None:
        return None
    table = TABLES[arguments.conditions]
    return table.with_unknown(0) if arguments.unknown_conditions == "count" else table


def _columns(text: str) -> dict[str, str | None]:
    out: dict[str, str | None] = {}
    for part in text.split(","):
        role, equals, name = part.strip().partition("=")
        if not equals or role not in ROLES:
            raise argparse.ArgumentTypeError(
                f"{part.strip()!r} is not ROLE=NAME with a role of {', '.join(ROLES)}"
            )
        out[role] = name or None
    return out


def _delimiter(text: str) -> str:
    known = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";"}
    value = known.get(text, text)
    if value not in (",", ";", "\t", "|"):
        raise argparse.ArgumentTypeError(f"{text!r} is none of , ; | tab")
    return value


def symbols_of(text: str, known: Collection[str]) -> list[str]:
    """The names of symbols between commas; of one that has commas in it, that name."""
    return [text] if text in known else text.split(",")


def refuse_idle(
    arguments: argparse.Namespace,
    groups: Iterable[Callable[[argparse.ArgumentParser], None]],
    why: str,
    *,
    used: Collection[str] = (),
) -> None:
    """Refuses options that were given and cannot act, instead of leaving them unnoticed.

    Args:
        arguments: of the command line.
        groups: what adds the options to a parser.
        why: what they cannot act on, for the message.
        used: names in ``arguments`` of those that act all the same.

    Raises:
        OptionError: ``invalid_option``, with the names of all of them.
    """
    parser = argparse.ArgumentParser(add_help=False)
    for add in groups:
        add(parser)
    idle = [
        "--no-header" if name == "header" and not getattr(arguments, name) else _option(name)
        for name, default in vars(parser.parse_args([])).items()
        if name not in used and getattr(arguments, name) != default
    ]
    if idle:
        text = f"{why}: {', '.join(idle)} cannot act on that"
        hint = f"leave {'it' if len(idle) == 1 else 'them'} out, or give the trades"
        raise errors.make(
            "invalid_option", text, hint=hint, option=idle[0].strip("-"), options=idle
        )


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def threads(text: str) -> int:
    """A number of threads; ``auto``: as many as the process may use."""
    try:
        return threads_of(int(text) if text.isdecimal() else text)
    except OptionError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of threads in 1 ... {THREADS_MAX}, nor auto"
        ) from None


def count(text: str) -> int:
    """A whole number from 0."""
    return _at_least(0, text)


def size(text: str) -> int:
    """A whole number from 1."""
    return _at_least(1, text)


def _at_least(least: int, text: str) -> int:
    with suppress(ValueError):
        if (number := int(text)) >= least:
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least}")


def duration(text: str) -> str | int:
    """A length of time: ``5s``, ``2m``, or ``0``.

    A bare number would be nanoseconds to the library, which nobody means who types it.
    """
    if text == "0":
        return 0
    try:
        duration_ns(text, "duration")
    except OptionError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a length of time such as 5s: a number and one of {_UNITS}"
        ) from None
    return text
