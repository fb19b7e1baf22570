"""The bars of one symbol and one interval from its trades."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from reference.intervals import Interval, Span
from reference.trades import NAT, NO_HIGH_LOW, NO_OPEN_CLOSE, NO_VOLUME, Trade

CLOSED, GAP, GENESIS, PARTIAL, INCOMPLETE, REVISED = 1, 2, 4, 8, 16, 32

COLUMNS = (
    "symbol",
    "interval",
    "open_time",
    "close_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "trade_count",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "first_trade_id",
    "last_trade_id",
    "first_trade_time",
    "last_trade_time",
    "run_length",
    "revision",
    "flags",
)

Row = dict[str, Any]


def bar(symbol: str, interval: str, span: Span, trades: Sequence[Trade], previous: float) -> Row:
    """One bar. ``trades`` are sorted and may be none; ``previous`` is the close before (or NaN)."""
    priced = [trade.price for trade in trades if not trade.flags & NO_OPEN_CLOSE]
    summed = [trade for trade in trades if not trade.flags & NO_VOLUME]
    bought = [trade for trade in summed if trade.side > 0]
    open_ = priced[0] if priced else previous
    close = priced[-1] if priced else previous
    reached = [trade.price for trade in trades if not trade.flags & NO_HIGH_LOW]
    reached += [price for price in (open_, close) if not math.isnan(price)]
    return {
        "symbol": symbol,
        "interval": interval,
        "open_time": span[0],
        "close_time": span[1],
        "open": open_,
        "high": max(reached, default=math.nan),
        "low": min(reached, default=math.nan),
        "close": close,
        "volume": math.fsum(trade.quantity for trade in summed),
        "quote_volume": math.fsum(trade.value for trade in summed),
        "trade_count": sum(trade.count for trade in trades),
        "taker_buy_volume": math.fsum(trade.quantity for trade in bought),
        "taker_buy_quote_volume": math.fsum(trade.value for trade in bought),
        "first_trade_id": trades[0].trade_id if trades else -1,
        "last_trade_id": trades[-1].last_id if trades else -1,
        "first_trade_time": trades[0].time if trades else NAT,
        "last_trade_time": trades[-1].time if trades else NAT,
        "run_length": 1,
        "revision": 0,
        "flags": 0 if trades else GAP,
    }


def series(
    symbol: str,
    interval: Interval,
    trades: Sequence[Trade],
    *,
    watermark: int | None = None,
    start: int | None = None,
    seed: float | None = None,
) -> list[Row]:
    """All bars, each gap bar a row of its own.

    ``watermark`` closes bars, and gap bars follow the last trades up to it. ``start`` is where the
    coverage begins, ``seed`` the last price known before.
    """
    inside: dict[Span, list[Trade]] = {}
    for trade in sorted(trades, key=lambda trade: trade.order):
        home = interval.span(trade.time)
        if home is not None:
            inside.setdefault(home, []).append(trade)
    genesis = None
    if seed is not None and start is not None:
        # The bar that holds the start; where the market is closed then, the first one after it.
        genesis = interval.span(start) or interval.after((start, start))
    if genesis is not None and (not inside or genesis < min(inside)):
        inside[genesis] = []
    else:
        genesis = None
    if not inside:
        return []

    rows = []
    previous = math.nan if seed is None else seed
    span: Span | None = min(inside)
    last = max(inside)
    while span is not None:
        closed = watermark is not None and span[1] <= watermark
        if span > last and not closed:
            break
        row = bar(symbol, interval.name, span, inside.get(span, ()), previous)
        if span == genesis:
            row["flags"] = GENESIS
        if closed:
            row["flags"] |= CLOSED
        if start is not None and span[0] < start < span[1]:
            row["flags"] |= PARTIAL
        rows.append(row)
        previous = row["close"]
        span = interval.after(span)
    return rows


def activity_bars(
    symbol: str, name: str, trades: Sequence[Trade], by: str, threshold: float, seed: float | None
) -> list[Row]:
    """Bars that close with the trade that brings their count, volume or value to a threshold."""
    rows: list[Row] = []
    open_trades: list[Trade] = []
    previous = math.nan if seed is None else seed
    for position, trade in enumerate(trades):
        open_trades.append(trade)
        summed = [trade for trade in open_trades if not trade.flags & NO_VOLUME]
        reached = {
            "tick": sum(trade.count for trade in open_trades),
            "volume": math.fsum(trade.quantity for trade in summed),
            "value": math.fsum(trade.value for trade in summed),
        }[by]
        full = reached >= threshold
        if full or position == len(trades) - 1:
            inside = sorted(open_trades, key=lambda trade: trade.order)
            span = inside[0].time, inside[-1].time + 1
            row = bar(symbol, name, span, inside, previous)
            row["flags"] = CLOSED if full else 0
            rows.append(row)
            previous = row["close"]
            open_trades = []
    return rows
