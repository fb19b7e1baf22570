"""Small results made by hand, for tests that need no aggregation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from klineagg.bars import DTYPES, BarFlag, Bars

MINUTE = 60_000_000_000
DAY = 1_440 * MINUTE
START = 1_514_764_800_000_000_000  # 2018-01-01 00:00 UTC
PERIODS = {"1s": MINUTE // 60, "1m": MINUTE, "5m": 5 * MINUTE, "1h": 60 * MINUTE, "1d": DAY}

_DEFAULTS: dict[str, Any] = {
    "open": 100.0,
    "high": 103.0,
    "low": 99.0,
    "close": 102.0,
    "volume": 5.0,
    "trade_count": 3,
    "run_length": 1,
    "revision": 0,
    "flags": int(BarFlag.CLOSED),
}


def bars_of(
    rows: Sequence[Mapping[str, Any]],
    symbols: Mapping[int, str] | None = None,
    intervals: Sequence[Any] = ("1m",),
    **options: Any,
) -> Bars:
    """Bars from rows that say what matters; the rest is filled in.

    A row has ``at`` (bars after START, of its interval), or ``open_time`` and ``close_time`` in ns.
    """
    columns = {name: np.zeros(len(rows), dtype) for name, dtype in DTYPES.items()}
    names = [x if isinstance(x, str) else x.name for x in intervals]
    for k, row in enumerate(rows):
        values = {**_DEFAULTS, "symbol": 0, "interval": 0, **row}
        if "at" in values:
            period = PERIODS[names[values["interval"]]]
            values["open_time"] = START + values.pop("at") * period
            values.setdefault("close_time", values["open_time"] + values["run_length"] * period)
        if values["flags"] & BarFlag.GAP:
            price = values["close"]
            values |= {"open": price, "high": price, "low": price, "volume": 0.0, "trade_count": 0}
        has_trades = values["trade_count"] > 0
        values.setdefault("quote_volume", values["close"] * values["volume"])
        values.setdefault("taker_buy_volume", values["volume"] / 2)
        values.setdefault("taker_buy_quote_volume", values["quote_volume"] / 2)
        values.setdefault("first_trade_id", k * 10 if has_trades else -1)
        values.setdefault("last_trade_id", k * 10 + 2 if has_trades else -1)
        values.setdefault("first_trade_time", values["open_time"] + 1 if has_trades else "NaT")
        values.setdefault("last_trade_time", values["close_time"] - 1 if has_trades else "NaT")
        for name, value in values.items():
            columns[name][k] = value
    return Bars(columns, symbols=symbols or {}, intervals=intervals, **options)


def bars_from_trades(
    trades: Mapping[str, Any], intervals: Sequence[str], symbol: str = "XBTUSD", gaps: bool = False
) -> Bars:
    """Bars of one symbol from sorted ``time`` (ns), ``price`` and ``quantity``, slowly."""
    time, price, quantity = trades["time"], trades["price"], trades["quantity"]
    rows = []
    for k, name in enumerate(intervals):
        slots = (time - START) // PERIODS[name]
        starts = np.flatnonzero(np.diff(slots, prepend=slots[0] - 1))
        for begin, end in zip(starts, [*starts[1:], len(time)], strict=True):
            part, at = price[begin:end], int(slots[begin])
            missing = at - int(slots[begin - 1]) - 1 if begin else 0
            if gaps and missing:
                first = {"interval": k, "at": at - missing, "run_length": missing}
                flags = BarFlag.GAP | BarFlag.CLOSED
                rows.append({**first, "close": float(price[begin - 1]), "flags": int(flags)})
            values = {"open": part[0], "high": part.max(), "low": part.min(), "close": part[-1]}
            times = {"first_trade_time": time[begin], "last_trade_time": time[end - 1]}
            count = {"volume": quantity[begin:end].sum(), "trade_count": end - begin}
            rows.append({"interval": k, "at": at, **values, **times, **count})
    return bars_of(rows, {0: symbol}, intervals)
