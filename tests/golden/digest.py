"""One number for all values of a result, and the plans of what is pinned."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterable
from typing import Any

GAPS = ("none", "runs", "flat")
# Name of the data: its intervals, each asked for with every gap mode.
PLANS = {
    "shipped_xbtusd": ("1s", "5s", "1m", "5m", "15m", "1h", "4h", "1d", "3d", "1w", "1M")
    + ("1h+30m", "1d@America/New_York", "1d@America/New_York+17h"),
    "bitmex_xbtusd": ("1m", "1h", "1d", "1w", "1d@America/New_York"),
    "binance_xrpeth": ("1s", "1m", "5m", "1h", "1d", "1d@Asia/Tokyo", "1M"),
}
# Whole days for the files; the shipped slice has its own end.
DAY = 86_400 * 10**9
COVERAGES = {
    "shipped_xbtusd": (1_514_764_800 * 10**9, 1_514_764_800 * 10**9 + 11 * 3600 * 10**9),
    "bitmex_xbtusd": (1_514_764_800 * 10**9, None),
    "binance_xrpeth": (1_570_752_000 * 10**9, 1_570_752_000 * 10**9 + 3 * DAY),
}
FORMAT = "<qq6dq2d4qiiH"


def digest(rows: Iterable[tuple[Any, ...]]) -> str:
    """SHA-256 over rows of one series: the columns from ``open_time`` on, floats by their bits."""
    whole = hashlib.sha256()
    for row in rows:
        plain = (math.nan if value != value else value for value in row)
        whole.update(struct.pack(FORMAT, *plain))
    return whole.hexdigest()


def samples(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Some rows to look at when a digest differs: both ends, the busiest bar, the longest run."""
    if not rows:
        return []
    busiest = max(rows, key=lambda row: row[8])
    longest = max(rows, key=lambda row: row[15])
    return list(dict.fromkeys([rows[0], rows[1 % len(rows)], busiest, longest, rows[-1]]))
