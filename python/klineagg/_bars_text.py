"""Cells of a table of bars as text, for the terminal, ``repr`` and HTML."""

from __future__ import annotations

import math
import unicodedata
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from klineagg._bars_columns import BarFlag
from klineagg._bars_time import format_times

if TYPE_CHECKING:
    from klineagg.bars import Bars

__all__ = [
    "TableColumn",
    "cell_width",
    "counted",
    "headline",
    "more_rows",
    "table_columns",
    "table_rows",
    "time_range",
]

_MAX_DECIMALS = 8
_STATES = (
    (BarFlag.GENESIS, "genesis"),
    (BarFlag.PARTIAL, "partial"),
    (BarFlag.INCOMPLETE, "incomplete"),
)


class TableColumn(NamedTuple):
    """A column of a table: its head, its cells, and how it is set.

    ``rank`` says which columns a narrow table leaves out first: those with the highest.
    """

    head: str
    cells: list[str]
    right: bool
    rank: int


def printable(text: str) -> str:
    """Text without anything that would move a terminal's cursor or change its colours."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def cell_width(text: str) -> int:
    """Columns that text takes in a terminal."""
    if text.isascii():
        return len(text)
    widths = (
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )
    return sum(widths)


def number_texts(values: NDArray[np.float64]) -> list[str]:
    """Numbers with equally many decimals: as many as the finest needs, within reason."""
    finite = np.abs(values[np.isfinite(values) & (values != 0)])
    decimals = _MAX_DECIMALS
    if len(finite) and finite.min() < 10**-5:
        decimals = min(18, 4 - math.floor(math.log10(finite.min())))
    short = [
        np.format_float_positional(value, precision=decimals, unique=True, trim="-")
        for value in values.tolist()
    ]
    used = max((len(text.partition(".")[2]) for text in short), default=0)
    return [
        f"{value:.{used}f}" if math.isfinite(value) else "-" if math.isnan(value) else str(value)
        for value in values.tolist()
    ]


def state_texts(bars: Bars) -> list[str]:
    """What is special about each bar; empty for a closed bar with trades."""
    out = []
    lengths, revisions = bars.run_length.tolist(), bars.revision.tolist()
    for flags, length, revision in zip(bars.flags.tolist(), lengths, revisions, strict=True):
        words = [] if flags & BarFlag.CLOSED else ["open"]
        if flags & BarFlag.GAP:
            words.append("gap" if length == 1 else f"gap x{length}")
        words += [word for flag, word in _STATES if flags & flag]
        if revision or flags & BarFlag.REVISED:
            words.append(f"rev {revision}")
        out.append(" ".join(words))
    return out


def table_rows(rows: int, shown: int) -> tuple[NDArray[np.int64], int]:
    """Positions of the first and last of ``rows`` rows, ``shown`` in all.

    Also behind how many of them the others are left out; 0 when all are shown.
    """
    if rows <= shown:
        return np.arange(rows), 0
    head = (shown + 1) // 2
    return np.concatenate([np.arange(head), np.arange(rows - (shown - head), rows)]), head


def table_columns(bars: Bars) -> list[TableColumn]:
    """The columns of a table of all rows of ``bars``; take few rows first."""
    names = [printable(name) for name in bars._row_symbols()]
    spans = [printable(bars.intervals[k]) for k in bars.interval.tolist()]
    # The headline says it once when it is the same everywhere.
    out = [
        TableColumn("symbol", names, False, 2 if len(set(names)) > 1 else 9),
        TableColumn("interval", spans, False, 3 if len(set(spans)) > 1 else 10),
        TableColumn("open time", format_times(bars.open_time), False, 1),
    ]
    ranks = {"open": 6, "high": 7, "low": 7, "close": 0, "volume": 4}
    prices = np.concatenate([bars.open, bars.high, bars.low, bars.close])
    texts = number_texts(prices)
    for k, name in enumerate(("open", "high", "low", "close")):
        cells = texts[k * len(bars) : (k + 1) * len(bars)]
        out.append(TableColumn(name, cells, True, ranks[name]))
    out.append(TableColumn("volume", number_texts(bars.volume), True, ranks["volume"]))
    counts = [f"{count:,}" for count in bars.trade_count.tolist()]
    out.append(TableColumn("trades", counts, True, 8))
    states = state_texts(bars)
    if any(states):
        out.append(TableColumn("state", states, False, 5))
    return out


def headline(bars: Bars) -> str:
    """How much there is, of what, and when."""
    if not len(bars):
        names = ", ".join(printable(name) for name in bars.intervals)
        return f"Bars: empty, {counted(len(bars.intervals), 'interval')}: {names}"
    present = [printable(name) for name in bars._present_intervals()]
    parts = [counted(len(bars), "row")]
    symbols = bars._present_symbols()[1]
    parts.append(printable(symbols[0]) if len(symbols) == 1 else f"{len(symbols):,} symbols")
    parts.append(" ".join(present))
    parts.append(time_range(bars))
    return "Bars: " + ", ".join(parts)


def time_range(bars: Bars) -> str:
    """From when to when, to the second."""
    ends = np.array([bars.open_time.min(), bars.close_time.max()])
    begin, end = format_times(ends.astype("datetime64[s]"))
    return f"{begin} to {end} UTC"


def more_rows(count: int) -> str:
    """What stands where rows were left out."""
    return counted(count, "more row")


def counted(count: int, noun: str) -> str:
    """A number of things, as one says it."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
