"""Which series of bars the K-lines of a file are of."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from klineagg import errors

if TYPE_CHECKING:
    from klineagg.bars import Bars
    from klineagg.io.klines import Klines

__all__ = ["has_series", "named_series", "series_for", "spacing"]

# Names of files that tell symbol and interval.
_NAMED: Final = re.compile(r"(?P<symbol>.+?)-(?P<interval>\d+(?:s|m|h|d|w|mo|M))-\d{4}-\d{2}")
_MINUTES: Final = re.compile(r"(?P<symbol>[A-Z0-9.]+)_(?P<minutes>\d+)\.csv")


def named_series(names: Sequence[str]) -> tuple[str, str] | None:
    """The symbol and the interval that the name of a file tells."""
    for name in names:
        if match := _NAMED.match(name):
            interval = match["interval"]
            # Case-insensitive file systems: months are "mo" there.
            return match["symbol"], interval[:-2] + "M" if interval.endswith("mo") else interval
        if match := _MINUTES.fullmatch(name):
            return match["symbol"], _minutes(int(match["minutes"]))
    return None


def _minutes(count: int) -> str:
    for size, unit in ((1440, "d"), (60, "h")):
        if count % size == 0:
            return f"{count // size}{unit}"
    return f"{count}m"


def series_for(
    bars: Bars, klines: Klines, symbol: str | None = None, interval: str | None = None
) -> tuple[str, str]:
    """The symbol and the interval of ``bars`` that K-lines are of.

    What is not said is taken from the name of their file, from their spacing, and from what the
    bars leave as the only choice.

    Raises:
        ResultError: ``no_such_series``.
        OptionError: ``invalid_option`` when there are several choices.
    """
    names = bars.symbols
    if symbol is None:
        symbol = klines.symbol
        if symbol not in names:
            # The file may spell it in another way.
            if len(names) != 1:
                raise _unclear("symbol", names, klines.file)
            symbol = names[0]
    interval = interval or klines.interval or spacing(klines)
    if interval is None:
        if len(bars.intervals) != 1:
            raise _unclear("interval", bars.intervals, klines.file)
        interval = bars.intervals[0]
    return symbol, _known_interval(bars, interval)


def has_series(bars: Bars, symbol: str, interval: str) -> bool:
    """Whether K-lines of a symbol and interval have a series to be compared with."""
    try:
        return symbol in bars.symbols and bool(_known_interval(bars, interval))
    except errors.ResultError:
        return False


def _unclear(what: str, names: Collection[str], file: str) -> errors.KlineaggError:
    text = f"{file} does not tell its {what}, and the bars have {len(names)}"
    hint = f"pass --{what}, one of {', '.join(list(names)[:8])}"
    return errors.make("invalid_option", text, hint=hint, option=what)


def spacing(klines: Klines) -> str | None:
    """The interval that the least distance of two K-lines tells."""
    if len(klines) < 2:
        return None
    seconds = int(np.diff(klines.open_time).min()) // 10**9
    for size, unit in ((604_800, "w"), (86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")):
        if seconds and seconds % size == 0 and not (unit == "d" and seconds // size >= 28):
            return f"{seconds // size}{unit}"
    return None


def _known_interval(bars: Bars, name: str) -> str:
    """The name that the bars have for an interval: ``60m`` is ``1h``."""
    if name in bars.intervals:
        return name
    wanted = _parsed(name)
    for known in bars.intervals if wanted is not None else ():
        interval = _parsed(known)
        if interval is not None and interval.same_spans(wanted):
            return known
    text = f"the bars have no interval {name!r}"
    hint = f"they have {', '.join(bars.intervals)}; --interval picks one"
    raise errors.make("no_such_series", text, hint=hint, interval=name)


def _parsed(name: str) -> Any:
    """The interval of a name; None for sessions and thresholds, which their names do not tell."""
    from klineagg.intervals import Interval

    try:
        return Interval(name)
    except errors.IntervalError:
        return None
