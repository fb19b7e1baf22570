"""Round numbers and times for the axes of charts."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["decimals_of", "price_text", "price_ticks", "time_labels", "volume_text"]

_SECOND: Final = 1_000_000_000
_DAY: Final = 86_400
_STEPS_S: Final = (
    *(1, 2, 5, 10, 15, 30),
    *(60 * k for k in (1, 2, 5, 10, 15, 30)),
    *(3_600 * k for k in (1, 2, 3, 4, 6, 12)),
    *(_DAY * k for k in (1, 2, 7, 14, 30, 90, 180, 365)),
)


def price_ticks(low: float, high: float, count: int) -> tuple[list[float], int]:
    """Up to about ``count`` round prices in ``[low, high]``, rising, and their decimals."""
    if not high > low:
        return [low], decimals_of(low)
    rough = (high - low) / max(count, 1)
    power = math.floor(math.log10(rough))
    step = next(s for s in (1, 2, 2.5, 5, 10) if s * 10.0**power >= rough * 0.999)
    decimals = max(0, -power + (1 if step == 2.5 else 0) - (1 if step == 10 else 0))
    size = step * 10.0**power
    first, last = math.ceil(low / size - 1e-9), math.floor(high / size + 1e-9)
    return [k * size for k in range(first, last + 1)], decimals


def decimals_of(price: float) -> int:
    """Decimals that a price is printed with: those that it has, up to eight digits in all."""
    digits = 8 - (math.floor(math.log10(abs(price))) + 1 if price else 1)
    text = np.format_float_positional(price, precision=max(0, digits), trim="-")
    return len(text.partition(".")[2])


def price_text(price: float, decimals: int) -> str:
    """A price with separators between thousands."""
    return f"{price:,.{decimals}f}"


def volume_text(volume: float) -> str:
    """A volume in four characters or so: ``950``, ``1.2k``, ``34M``, ``0.05``."""
    for limit, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if volume >= limit:
            scaled = volume / limit
            return f"{scaled:.0f}{unit}" if scaled >= 100 else f"{scaled:.3g}{unit}"
    return f"{volume:.3g}"


def time_labels(times: NDArray[np.int64], room: int) -> list[tuple[int, str]]:
    """Which positions of an axis get a label, and which.

    Args:
        times: time of each position, int64 nanoseconds, rising.
        room: positions that one label needs at least.
    """
    if not len(times):
        return []
    seconds = times // _SECOND
    per_label = int(seconds[-1] - seconds[0]) / max(1, len(times) / room)
    step = next((s for s in _STEPS_S if s >= per_label), _STEPS_S[-1])
    ticks = np.flatnonzero(np.diff(seconds // step, prepend=(seconds[0] - 1) // step))
    labels: list[tuple[int, str]] = []
    free, last_day = 0, None
    for at in ticks.tolist():
        if at < free:
            continue
        stamp = np.datetime64(int(seconds[at]), "s").item()
        day = stamp.date()
        if step >= 180 * _DAY:
            text = f"{stamp:%Y-%m}"
        elif step >= _DAY or day != (last_day or day) or int(seconds[at]) % _DAY == 0:
            text = f"{stamp:%b %d}"
        else:
            text = f"{stamp:%H:%M:%S}" if step < 60 else f"{stamp:%H:%M}"
        labels.append((at, text))
        free, last_day = at + room, day
    return labels
