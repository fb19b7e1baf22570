"""Pictures of bars with matplotlib: candles above, volume below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from klineagg import errors
from klineagg._bars_extras import require
from klineagg._bars_pick import pick_series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from klineagg.bars import Bars

__all__ = ["plot"]

_LEGIBLE_BARS = 500
_BODY = 0.7  # share of a bar's time that its body is wide
_HEIGHTS = (4, 1)
_NS_PER_DAY = 86_400_000_000_000


def plot(
    bars: Bars,
    symbol: str | int | None = None,
    interval: str | None = None,
    *,
    ax: Axes | Sequence[Axes] | None = None,
    volume: bool = True,
    x: Literal["time", "index"] = "time",
    up: str = "#26a69a",
    down: str = "#ef5350",
    gap: str = "#9e9e9e",
    title: str | None = None,
    figsize: tuple[float, float] = (11.0, 6.0),
) -> Axes:
    """Candles and volume of one series.

    Gap bars are a dotted line at their price, and bars that are still open are paler. Works for
    many thousands of bars: each part is one artist.

    Args:
        bars: what to show.
        symbol: which symbol; None: the one with the most trades.
        interval: which interval; None: the finest with up to 500 bars, else the coarsest.
        ax: where to draw: None makes a figure; from one axes the volume takes the lower part; two
            axes are for the price and for the volume.
        volume: whether to draw the volume.
        x: ``"time"`` leaves room where there are no bars; ``"index"`` puts them side by side, for
            sessions with nights between them.
        up: colour of rising bars.
        down: colour of falling bars.
        gap: colour of gaps.
        title: title of the picture; the names of the series when None.
        figsize: size of a new figure, in inches.

    Returns:
        The axes with the prices; those with the volume come behind it in ``ax.figure.axes``.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ResultError: ``no_such_series``.
        OptionError: ``invalid_option``.
    """
    if x not in ("time", "index"):
        raise errors.make("invalid_option", f"x={x!r} is neither 'time' nor 'index'", option="x")
    require("matplotlib", "charts", "plot()")
    name, span, part = pick_series(bars, symbol, interval, _LEGIBLE_BARS)
    price_ax, volume_ax = _axes(ax, volume, figsize)
    left, right = _edges(part, x)
    _draw_prices(price_ax, part, left, right, (up, down, gap))
    if volume_ax is not None:
        _draw_volume(volume_ax, part, left, right, (up, down))
    lowest = price_ax if volume_ax is None else volume_ax
    _dress_time(lowest, part, x)
    _dress(price_ax, volume_ax, f"{name}  {span}" if title is None else title)
    margin = (right[-1] - left[0]) * 0.01
    price_ax.set_xlim(left[0] - margin, right[-1] + margin)
    return price_ax


def _axes(
    ax: Axes | Sequence[Axes] | None, volume: bool, figsize: tuple[float, float]
) -> tuple[Axes, Axes | None]:
    """The axes for the prices and for the volume."""
    if ax is None:
        plt = require("matplotlib.pyplot", "charts", "plot()")
        if not volume:
            figure, price_ax = plt.subplots(figsize=figsize, layout="constrained")
            return price_ax, None
        figure, pair = plt.subplots(
            2, figsize=figsize, sharex=True, layout="constrained", height_ratios=_HEIGHTS
        )
        figure.get_layout_engine().set(h_pad=0.04, hspace=0.01)
        figure.align_ylabels(pair)
        return pair[0], pair[1]
    if isinstance(ax, (Sequence, np.ndarray)):
        if len(ax) != 2:
            text = f"ax has {len(ax)} axes, not one, nor one for prices and one for volume"
            raise errors.make("invalid_option", text, option="ax")
        return ax[0], ax[1] if volume else None
    if not volume:
        return ax, None
    place = ax.get_subplotspec()
    if place is None:
        grid = require("mpl_toolkits.axes_grid1", "charts", "plot()")
        below = grid.make_axes_locatable(ax).append_axes("bottom", "25%", pad=0.06, sharex=ax)
        return ax, below
    # Two cells in the place of one: layout engines know about both.
    cells = place.subgridspec(2, 1, height_ratios=_HEIGHTS, hspace=0.05)
    ax.set_subplotspec(cells[0])
    return ax, ax.figure.add_subplot(cells[1], sharex=ax)


def _edges(bars: Bars, x: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where each row begins and ends on the axis: days since 1970, or a count of bars."""
    if x == "time":
        opens, closes = bars.open_time.view(np.int64), bars.close_time.view(np.int64)
        return opens / _NS_PER_DAY, closes / _NS_PER_DAY
    ends = np.cumsum(bars.run_length, dtype=np.float64)
    return ends - bars.run_length, ends


def _rectangles(
    left: NDArray[np.float64],
    right: NDArray[np.float64],
    bottom: NDArray[np.float64],
    top: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Corners of rectangles, ``(n, 4, 2)``."""
    across = np.stack([left, left, right, right], axis=-1)
    upwards = np.stack([bottom, top, top, bottom], axis=-1)
    return np.stack([across, upwards], axis=-1)


def _faces(bars: Bars, up: str, down: str, alpha: float) -> NDArray[np.float64]:
    """Colour of each bar, ``(n, 4)``; bars that are not closed are paler."""
    to_rgba = require("matplotlib.colors", "charts", "plot()").to_rgba
    rising = bars.close >= bars.open
    out: NDArray[np.float64] = np.where(rising[:, None], to_rgba(up), to_rgba(down))
    out[:, 3] = np.where(bars.is_closed, alpha, 0.45 * alpha)
    return out


def _draw_prices(
    ax: Axes,
    bars: Bars,
    left: NDArray[np.float64],
    right: NDArray[np.float64],
    colours: tuple[str, str, str],
) -> None:
    collections = require("matplotlib.collections", "charts", "plot()")
    up, down, gap = colours
    priced = np.isfinite(bars.close)
    traded = np.flatnonzero(priced & ~bars.is_gap & np.isfinite(bars.open))
    flat = np.flatnonzero(priced & bars.is_gap)
    some = bars[traded]
    middle, half = (left + right)[traded] / 2, (right - left)[traded] * _BODY / 2
    faces = _faces(some, up, down, 1.0)
    ends = np.stack([np.stack([middle, some.low], -1), np.stack([middle, some.high], -1)], 1)
    wicks = collections.LineCollection(ends, colors=faces, linewidths=_line_width(ax, half))
    body_low, body_high = np.minimum(some.open, some.close), np.maximum(some.open, some.close)
    corners = _rectangles(middle - half, middle + half, body_low, body_high)
    # The edge keeps a body visible that has no height, or less than a pixel of width.
    bodies = collections.PolyCollection(
        corners, facecolors=faces, edgecolors=faces, linewidths=_line_width(ax, half)
    )
    prices = bars.close[flat]
    lines = np.stack([np.stack([left[flat], prices], -1), np.stack([right[flat], prices], -1)], 1)
    gaps = collections.LineCollection(lines, colors=gap, linewidths=1.0, linestyles=":")
    for artist, order in ((gaps, 2.0), (wicks, 2.1), (bodies, 2.2)):
        artist.set_zorder(order)
        ax.add_collection(artist, autolim=False)
    lows = np.concatenate([some.low, prices])
    highs = np.concatenate([some.high, prices])
    if len(lows):
        low, high = float(np.nanmin(lows)), float(np.nanmax(highs))
        pad = (high - low) * 0.05 or abs(high) * 0.01 or 1.0
        ax.set_ylim(low - pad, high + pad)


def _line_width(ax: Axes, half: NDArray[np.float64]) -> float:
    """Thinner lines where many bars share the width, so that they do not run together."""
    width_points = ax.get_window_extent().width * 72 / ax.figure.dpi
    return float(np.clip(width_points / max(len(half), 1) * 0.25, 0.6, 1.0))


def _draw_volume(
    ax: Axes,
    bars: Bars,
    left: NDArray[np.float64],
    right: NDArray[np.float64],
    colours: tuple[str, str],
) -> None:
    collections = require("matplotlib.collections", "charts", "plot()")
    rows = np.flatnonzero(bars.volume > 0)
    some = bars[rows]
    middle, half = (left + right)[rows] / 2, (right - left)[rows] * _BODY / 2
    corners = _rectangles(middle - half, middle + half, np.zeros(len(rows)), some.volume)
    faces = _faces(some, *colours, 0.6)
    columns = collections.PolyCollection(
        corners, facecolors=faces, edgecolors=faces, linewidths=0.5
    )
    ax.add_collection(columns, autolim=False)
    ax.set_ylim(0, float(some.volume.max()) * 1.08 if len(rows) else 1.0)


def _dress_time(ax: Axes, bars: Bars, x: str) -> None:
    ticker = require("matplotlib.ticker", "charts", "plot()")
    if x == "time":
        dates = require("matplotlib.dates", "charts", "plot()")
        locator = dates.AutoDateLocator(tz="UTC")
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, tz="UTC"))
        ax.set_xlabel("UTC")
        return
    ends = np.cumsum(bars.run_length)
    opens = bars.open_time
    days = (opens[-1] - opens[0]) / np.timedelta64(1, "D")

    def label(value: float, _: Any) -> str:
        row = int(np.searchsorted(ends, value, "right"))
        if value < 0 or row >= len(opens):
            return ""
        stamp = opens[row].astype("datetime64[s]").item()
        return f"{stamp:%Y-%m-%d}" if days > 60 else f"{stamp:%b %d}\n{stamp:%H:%M}"

    ax.xaxis.set_major_locator(ticker.MaxNLocator(9, integer=True))
    ax.xaxis.set_major_formatter(ticker.FuncFormatter(label))
    ax.set_xlabel("UTC, bars side by side")


def _dress(price_ax: Axes, volume_ax: Axes | None, title: str) -> None:
    ticker = require("matplotlib.ticker", "charts", "plot()")
    price_ax.set_title(title, loc="left", fontweight="bold")
    price_ax.set_ylabel("price")
    price_ax.yaxis.set_major_locator(ticker.MaxNLocator(8))
    if volume_ax is not None:
        price_ax.tick_params(labelbottom=False)
        price_ax.set_xlabel("")
        volume_ax.set_ylabel("volume")
        volume_ax.yaxis.set_major_locator(ticker.MaxNLocator(3, prune="upper"))
        volume_ax.yaxis.set_major_formatter(ticker.EngFormatter(sep=""))
    for ax in (price_ax, volume_ax):
        if ax is not None:
            ax.grid(True, alpha=0.25, linewidth=0.6)
            ax.set_axisbelow(True)
            for side in ("top", "right"):
                ax.spines[side].set_visible(False)
