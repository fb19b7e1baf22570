"""Results as HTML for notebooks: one small table, nothing loaded from elsewhere."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from klineagg._bars_text import headline, more_rows, table_columns, table_rows

if TYPE_CHECKING:
    from klineagg.bars import Bars

__all__ = ["bars_html"]

_SHOWN = 10
_LEFT = ' style="text-align:left"'
_RIGHT = ' style="text-align:right;font-variant-numeric:tabular-nums"'


def bars_html(bars: Bars) -> str:
    """The first and last rows as a table under a line that says what there is."""
    rows, head = table_rows(len(bars), _SHOWN)
    columns = table_columns(bars[rows])
    styles = [_RIGHT if column.right else _LEFT for column in columns]
    heads = "".join(
        f"<th{style}>{escape(column.head)}</th>"
        for column, style in zip(columns, styles, strict=True)
    )
    lines = []
    for k in range(len(rows)):
        if head and k == head:
            left_out = more_rows(len(bars) - len(rows))
            lines.append(
                f'<tr><td colspan="{len(columns)}" style="text-align:center;opacity:0.6">'
                f"{left_out}</td></tr>"
            )
        cells = "".join(
            f"<td{style}>{escape(column.cells[k])}</td>"
            for column, style in zip(columns, styles, strict=True)
        )
        lines.append(f"<tr>{cells}</tr>")
    body = "".join(lines)
    caption = f"<div>{escape(headline(bars))}</div>"
    if not len(bars):
        return f"<div>{caption}</div>"
    return (
        f"<div>{caption}<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )
