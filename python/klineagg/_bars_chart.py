"""Candles and volume drawn with characters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from klineagg._bars_axis import (
    decimals_of,
    price_text,
    price_ticks,
    time_labels,
    volume_text,
)
from klineagg._bars_spans import fixed_period_ns
from klineagg._bars_text import cell_width, time_range

if TYPE_CHECKING:
    from klineagg.bars import Bars
    from klineagg.terminal import Style

__all__ = ["Candles", "draw", "fold"]

# What half a cell shows, and the characters for its upper and lower half.
_NONE, _WICK, _BODY = 0, 1, 2
_UNICODE: Final = np.array([[" ", "╷", "╻"], ["╵", "│", "╽"], ["╹", "╿", "┃"]])
_WIDE: Final = np.array([[" ", "╷", "▄"], ["╵", "│", "╽"], ["▀", "╿", "█"]])
_ASCII: Final = np.array([[" ", "|", "#"], ["|", "|", "#"], ["#", "#", "#"]])
_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_UP, _DOWN, _DIM, _BOLD, _PLAIN = "32", "31", "90", "1", ""


class Candles(NamedTuple):
    """One candle for each column of a chart; arrays ``(columns,)``.

    ``traded`` columns have a candle; ``flat`` ones only gap bars, at the price ``close``; the
    others nothing. ``times`` is when a column begins, int64 nanoseconds. ``bars_each`` is how many
    bars were put together into one column.
    """

    traded: NDArray[np.bool_]
    flat: NDArray[np.bool_]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]
    times: NDArray[np.int64]
    bars_each: int


def _slots(bars: Bars, interval: str) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """The first place of each row on the axis, the number of places it takes, and of all places.

    Bars of one length stand where their time is, so that missing bars leave a hole; others stand
    side by side.
    """
    opens = bars.open_time.view(np.int64)
    lengths = bars.run_length.astype(np.int64)
    period_ns = fixed_period_ns(interval)
    if period_ns is None:
        ends = np.cumsum(lengths)
        return ends - lengths, lengths, int(ends[-1])
    slots = (opens - opens[0]) // period_ns
    return slots, lengths, int(slots[-1] + lengths[-1])


def fold(bars: Bars, interval: str, columns: int) -> Candles:
    """The bars of one series, in order, as at most ``columns`` candles."""
    slots, lengths, total = _slots(bars, interval)
    each = -(-total // columns)
    count = -(-total // each)
    traded = ~bars.is_gap & np.isfinite(bars.open) & np.isfinite(bars.close)
    at = slots[traded] // each
    starts = np.flatnonzero(np.diff(at, prepend=-1))
    used = at[starts]
    ends = np.append(starts[1:], len(at)) - 1

    def column(values: NDArray[np.float64]) -> NDArray[np.float64]:
        out = np.full(count, np.nan)
        out[used] = values
        return out

    has = np.zeros(count, np.bool_)
    has[used] = True
    none = not len(starts)
    highs, lows = bars.high[traded], bars.low[traded]
    close = column(bars.close[traded][ends] if not none else np.empty(0))
    flat = np.zeros(count, np.bool_)
    for row in np.flatnonzero(~traded & np.isfinite(bars.close)).tolist():
        stretch = slice(int(slots[row]) // each, int(slots[row] + lengths[row] - 1) // each + 1)
        flat[stretch] = ~has[stretch]
        close[stretch] = np.where(has[stretch], close[stretch], bars.close[row])
    first = np.minimum(np.searchsorted(slots, np.arange(count) * each, "right") - 1, len(bars) - 1)
    opens, closes = bars.open_time.view(np.int64), bars.close_time.view(np.int64)
    inside = np.arange(count) * each - slots[first]
    return Candles(
        traded=has,
        flat=flat,
        open=column(bars.open[traded][starts]),
        high=column(np.maximum.reduceat(highs, starts) if not none else highs),
        low=column(np.minimum.reduceat(lows, starts) if not none else lows),
        close=close,
        volume=column(np.add.reduceat(bars.volume[traded], starts) if not none else highs),
        times=opens[first] + inside * ((closes - opens)[first] // lengths[first]),
        bars_each=each,
    )


class _Canvas:
    """Cells of text, each with a colour."""

    def __init__(self, rows: int, columns: int) -> None:
        self.text = np.full((rows, columns), " ")
        self.colour = np.full((rows, columns), _PLAIN, dtype="U3")

    def write(self, row: int, column: int, text: str, colour: str) -> None:
        for k, char in enumerate(text[: self.text.shape[1] - column]):
            self.text[row, column + k] = char
            self.colour[row, column + k] = colour

    def lines(self, colours: bool) -> list[str]:
        out = []
        for texts, codes in zip(self.text.tolist(), self.colour.tolist(), strict=True):
            if not colours:
                out.append("".join(texts).rstrip())
                continue
            line, now = "", _PLAIN
            for char, code in zip(texts, codes, strict=True):
                if code != now and char != " ":
                    # From a clean start: bold would stay on in the next colour.
                    line += f"\x1b[0;{code}m" if code else "\x1b[0m"
                    now = code
                line += char
            out.append(line.rstrip() + ("\x1b[0m" if now else ""))
        return out


def draw(bars: Bars, symbol: str, interval: str, style: Style, *, volume: bool) -> list[str]:
    """Lines of a chart of one series, at most ``style.width`` wide and ``style.height`` high."""
    volume_rows = max(2, style.height // 6) if volume else 0
    rows = max(4, style.height - volume_rows - 3)
    finite = np.concatenate([bars.high, bars.low, bars.close])
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        return [f"{symbol} {interval}: no prices"]
    low, high = float(finite.min()), float(finite.max())
    ticks, decimals = price_ticks(low, high, max(2, rows // 3))
    last = last_price(bars)
    widest = max(len(last), *(len(price_text(price, decimals)) for price in (low, high, *ticks)))
    room = max(10, style.width - widest - 3)
    candles = fold(bars, interval, room)
    step = min(3, room // len(candles.times))
    width = len(candles.times) * step
    canvas = _Canvas(rows + volume_rows + 2, width + widest + 3)
    pad = (high - low) * 0.02 or abs(high) * 0.001 or 1.0
    scale = (low - pad, high + pad)
    _draw_candles(canvas, candles, scale, rows, step, style)
    _draw_prices(canvas, (ticks, decimals), bars, scale, rows, width, style)
    if volume_rows:
        _draw_volume(canvas, candles, rows, volume_rows, (step, width), style)
    _draw_times(canvas, candles, rows + volume_rows, step, width, style)
    return [_title(bars, symbol, interval, candles, style), *canvas.lines(style.color)]


def last_price(bars: Bars) -> str:
    """The last close, with all the decimals that it has."""
    price = float(bars.close[np.isfinite(bars.close)][-1])
    return price_text(price, decimals_of(price))


def _title(bars: Bars, symbol: str, interval: str, candles: Candles, style: Style) -> str:
    closes = bars.close[np.isfinite(bars.close)]
    opens = bars.open[np.isfinite(bars.open)]
    change = (closes[-1] / opens[0] - 1) * 100 if len(opens) and opens[0] > 0 else 0.0
    parts = [
        (f"{symbol} {interval}", _BOLD),
        (f"{last_price(bars)} ({change:+.2f} %)", _UP if change >= 0 else _DOWN),
        (f"{candles.bars_each} bars a candle" if candles.bars_each > 1 else "", _PLAIN),
        (time_range(bars), _PLAIN),
    ]
    title, used = "", 0
    for text, colour in parts:
        if not text:
            continue
        text = text if not used else f"  {text}"
        if used + cell_width(text) > style.width:
            break
        used += cell_width(text)
        title += f"\x1b[{colour}m{text}\x1b[0m" if style.color and colour else text
    return title or symbol[: style.width]


def _draw_candles(
    canvas: _Canvas,
    candles: Candles,
    scale: tuple[float, float],
    rows: int,
    step: int,
    style: Style,
) -> None:
    bottom, top = scale
    halves = 2 * rows

    def half(prices: NDArray[np.float64]) -> NDArray[np.int64]:
        """The half row of prices, from the top."""
        place = (top - prices) / (top - bottom) * halves
        return np.clip(np.nan_to_num(place).astype(np.int64), 0, halves - 1)

    highs, lows = half(candles.high), half(candles.low)
    tops = half(np.fmax(candles.open, candles.close))
    bottoms = half(np.fmin(candles.open, candles.close))
    position = np.arange(halves)[:, None]
    state = np.where((position >= highs) & (position <= lows), _WICK, _NONE)
    state = np.where((position >= tops) & (position <= bottoms), _BODY, state)
    state[:, ~candles.traded] = _NONE
    # Candles that touch are told apart by thin bodies; with room between them wide ones look best.
    glyph_set = _ASCII if not style.unicode else _WIDE if step > 1 and style.color else _UNICODE
    glyphs = glyph_set[state[0::2], state[1::2]]
    rising = candles.close >= candles.open
    if not style.color:
        # Without colours a rising candle is hollow.
        solid, hollow = ("┃", "║") if style.unicode else ("#", "=")
        glyphs[(glyphs == solid) & rising] = hollow
    line, row_of = ("─" if style.unicode else "-"), half(candles.close) // 2
    for k in range(len(candles.times)):
        at = k * step
        if candles.flat[k]:
            for column in range(at, at + step):
                canvas.write(int(row_of[k]), column, line, _DIM)
        elif candles.traded[k]:
            canvas.text[:rows, at] = glyphs[:, k]
            canvas.colour[:rows, at] = _UP if rising[k] else _DOWN


def _draw_prices(
    canvas: _Canvas,
    labels: tuple[list[float], int],
    bars: Bars,
    scale: tuple[float, float],
    rows: int,
    width: int,
    style: Style,
) -> None:
    ticks, decimals = labels
    bottom, top = scale
    bar, tick, arrow = ("│", "┤", "◂") if style.unicode else ("|", "+", "<")

    def row(price: float) -> int:
        return min(rows - 1, int((top - price) / (top - bottom) * rows))

    for k in range(rows):
        canvas.write(k, width, bar, _DIM)
    for price in ticks:
        canvas.write(row(price), width, f"{tick} {price_text(price, decimals)}", _DIM)
    last = row(float(bars.close[np.isfinite(bars.close)][-1]))
    canvas.write(last, width, " " * (canvas.text.shape[1] - width), _PLAIN)
    canvas.write(last, width, f"{arrow} {last_price(bars)}", _BOLD)


def _draw_volume(
    canvas: _Canvas,
    candles: Candles,
    first_row: int,
    rows: int,
    across: tuple[int, int],
    style: Style,
) -> None:
    step, width = across
    most = float(np.nanmax(candles.volume)) if candles.traded.any() else 0.0
    if most > 0:
        share = np.nan_to_num(candles.volume) / most
        # The least volume still shows: an empty column means that nobody traded.
        eighths = np.where(share > 0, np.maximum(1, np.round(share * rows * 8)), 0).astype(int)
        for k in np.flatnonzero(eighths).tolist():
            colour = _UP if candles.close[k] >= candles.open[k] else _DOWN
            for row in range(rows):
                level = min(8, max(0, int(eighths[k]) - 8 * (rows - 1 - row)))
                char = _BLOCKS[level] if style.unicode else (" ", ":", "#")[(level + 6) // 7]
                canvas.write(first_row + row, k * step, char, colour)
    bar, tick = ("│", "┤") if style.unicode else ("|", "+")
    for row in range(rows):
        canvas.write(first_row + row, width, bar, _DIM)
    canvas.write(first_row, width, f"{tick} {volume_text(most)}", _DIM)


def _draw_times(
    canvas: _Canvas, candles: Candles, row: int, step: int, width: int, style: Style
) -> None:
    line, tick, corner = ("─", "┬", "┘") if style.unicode else ("-", "+", "+")
    canvas.write(row, 0, line * width + corner, _DIM)
    for at, text in time_labels(candles.times, -(-9 // step)):
        if at * step + len(text) <= canvas.text.shape[1]:
            canvas.write(row, at * step, tick, _DIM)
            canvas.write(row + 1, at * step, text, _DIM)
