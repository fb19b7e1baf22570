"""Bars in a terminal: a table, and a chart of candles and volume.

Lines fit the width of the terminal. Colours are used on a terminal only, and not when ``NO_COLOR``
is set; an output that cannot take Unicode gets plain ASCII.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from klineagg._bars_text import (
    TableColumn,
    cell_width,
    headline,
    more_rows,
    printable,
    table_columns,
    table_rows,
)

if TYPE_CHECKING:
    from klineagg.bars import Bars

__all__ = ["Style", "chart", "show", "table"]

_REPR_ROWS = 10
_LEGIBLE_BARS = 200


@dataclass(frozen=True)
class Style:
    """What the output can show.

    Attributes:
        width: columns of text.
        height: rows of text for a chart.
        color: whether to use ANSI colours.
        unicode: whether characters outside ASCII can be written.
    """

    width: int = 100
    height: int = 24
    color: bool = False
    unicode: bool = True

    @classmethod
    def of(
        cls,
        stream: TextIO | None = None,
        *,
        width: int | None = None,
        height: int | None = None,
        color: bool | None = None,
        unicode: bool | None = None,
    ) -> Style:
        """The style that fits a stream (standard output when None); arguments overrule it."""
        stream = sys.stdout if stream is None else stream
        size = shutil.get_terminal_size((100, 30))
        return cls(
            width=max(40, size.columns if width is None else width),
            height=max(10, min(size.lines - 4, 30) if height is None else height),
            color=_takes_color(stream) if color is None else color,
            unicode=_takes_unicode(stream) if unicode is None else unicode,
        )


def _takes_color(stream: Any) -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    isatty = getattr(stream, "isatty", None)
    return bool(isatty and isatty()) and os.environ.get("TERM") != "dumb"


def _takes_unicode(stream: Any) -> bool:
    try:
        "┃╽▁─┤◂".encode(getattr(stream, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def table(bars: Bars, *, rows: int = 20, style: Style | None = None) -> str:
    """The first and last rows as a table.

    Args:
        bars: what to show.
        rows: how many at most.
        style: what the output can show; that of standard output when None. A narrow one loses the
            less important columns.

    Returns:
        Lines without a newline behind the last.
    """
    style = Style.of() if style is None else style
    lines = [headline(bars), *_table_lines(bars, rows, style)]
    return "\n".join(lines if style.unicode else map(_ascii, lines))


def _table_lines(bars: Bars, shown: int, style: Style) -> list[str]:
    if not len(bars):
        return []
    rows, head = table_rows(len(bars), max(2, shown))
    part = bars[rows]
    columns = table_columns(part)
    if not style.unicode:
        columns = [c._replace(cells=list(map(_ascii, c.cells))) for c in columns]
    widths = {c.head: max(map(cell_width, (c.head, *c.cells))) for c in columns}
    while sum(widths[c.head] + 2 for c in columns) - 2 > style.width and len(columns) > 2:
        least = max(column.rank for column in columns)
        columns = [column for column in columns if column.rank != least]
    rising = (part.close >= part.open).tolist()
    lines = ["  ".join(_set(c, c.head, widths[c.head]) for c in columns)]
    if style.color:
        lines = [f"\x1b[90m{lines[0]}\x1b[0m"]
    for k in range(len(rows)):
        if head and k == head:
            dots = "…" if style.unicode else "..."
            lines.append(f"{dots} {more_rows(len(bars) - len(rows))}")
        cells = [_set(c, c.cells[k], widths[c.head]) for c in columns]
        if style.color:
            colours = {"close": "32" if rising[k] else "31", "state": "33"}
            cells = [
                f"\x1b[{colours[c.head]}m{text}\x1b[0m" if c.head in colours else text
                for c, text in zip(columns, cells, strict=True)
            ]
        lines.append("  ".join(cells))
    return [line.rstrip() for line in lines]


def _ascii(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode()


def _set(column: TableColumn, text: str, width: int) -> str:
    space = " " * (width - cell_width(text))
    return space + text if column.right else text + space


def chart(
    bars: Bars,
    symbol: str | int | None = None,
    interval: str | None = None,
    *,
    volume: bool = True,
    style: Style | None = None,
) -> str:
    """One series as candles, with its volume below.

    Bars of a fixed length stand at their time, so that a missing bar leaves a hole; gap bars are a
    line. When there are more bars than columns, each candle is several bars put together, as the
    title then says. Without colours, rising candles are hollow.

    Args:
        bars: what to show.
        symbol: which symbol; None: the one with the most trades.
        interval: which interval; None: the finest with up to 200 bars, else the coarsest.
        volume: whether to draw the volume.
        style: what the output can show; that of standard output when None.

    Returns:
        Lines without a newline behind the last.

    Raises:
        ResultError: ``no_such_series``.
    """
    from klineagg._bars_chart import draw
    from klineagg._bars_pick import pick_series

    style = Style.of() if style is None else style
    name, span, part = pick_series(bars, symbol, interval, _LEGIBLE_BARS)
    name, span = printable(name), printable(span)
    if not style.unicode:
        name, span = _ascii(name), _ascii(span)
    return "\n".join(draw(part, name, span, style, volume=volume))


def show(
    bars: Bars,
    symbol: str | int | None = None,
    interval: str | None = None,
    *,
    rows: int = 20,
    file: TextIO | None = None,
) -> None:
    """Prints the chart of one series and the table of all bars."""
    stream = sys.stdout if file is None else file
    style = Style.of(stream)
    if len(bars):
        print(chart(bars, symbol, interval, style=style), end="\n\n", file=stream)
    print(table(bars, rows=rows, style=style), file=stream)


def repr_text(bars: Bars) -> str:
    """What ``repr(bars)`` is: the table of a few rows, without colours."""
    width = shutil.get_terminal_size((110, 30)).columns
    style = Style(width=max(80, width), unicode=_takes_unicode(sys.stdout))
    return table(bars, rows=_REPR_ROWS, style=style)
