"""Bars of an interval that came later, made of the finer bars that a lake has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from klineagg._bars_columns import DTYPES, BarFlag
from klineagg.bars import Bars
from klineagg.intervals import Interval, IntervalLike, parse_intervals
from klineagg.lake.own import commit_bars

if TYPE_CHECKING:
    from klineagg.lake.lake import Lake

__all__ = ["fill"]

_CONSUMER: Final = "fill"
_ROWS: Final = 1 << 20  # of finer bars at once
_YEARS_NS: Final = 2 * 366 * 86_400 * 10**9
_HEADS: Final = """
    SELECT "interval", symbol, epoch_ns(min(open_time)),
        epoch_ns(min(open_time) FILTER (flags & 8 = 0)), epoch_ns(max(close_time))
    FROM rows WHERE flags & 1 = 1 GROUP BY ALL
"""
_Int64 = NDArray[np.int64]


class _Head(NamedTuple):
    """Of one series: its first bar, its first whole one, and its end."""

    first: int
    whole: int | None
    end: int


def fill(lake: Lake, intervals: IntervalLike | list[Any]) -> int:
    """Writes the bars that intervals lack before their first whole one, made of finer bars.

    A bar that is there and PARTIAL becomes whole, as a revision. Sums are those of the rounded
    volumes of the finer bars: they may differ from those of the trades in the last bit.

    Args:
        lake: it has finer bars of some.
        intervals: those to fill; others of the lake are only read.

    Returns:
        How many rows it wrote.

    Raises:
        LakeError, LakeBusyError: as :meth:`klineagg.Lake.commit`.
    """
    wanted = sorted(parse_intervals(intervals), key=_length)
    known: dict[str, dict[str, _Head]] = {}
    for name, symbol, *head in map(tuple, _rows(lake)):
        known.setdefault(name, {})[symbol] = _Head(*head)
    done = 0
    for interval in wanted:
        finer = [each for each in wanted if each is not interval and _refines(each, interval)]
        symbols = {symbol for each in finer for symbol in known.get(str(each.name), {})}
        for symbol in sorted(symbols):
            done += _fill_one(lake, interval, finer, symbol, known)
    return done


def _rows(lake: Lake) -> list[Any]:
    table = lake.sql(_HEADS).to_numpy()
    return list(zip(*table.values(), strict=True))


def _core(interval: Interval) -> Any:
    return interval.to_core(0, 2**62)


def _length(interval: Interval) -> int:
    opens, closes = interval.table_for(0, _YEARS_NS)
    return int(np.median(closes - opens))


def _refines(finer: Interval, coarse: Interval) -> bool:
    if finer.tz is not None:
        return False
    core = _core(finer)
    return core.kind == "fixed" and bool(core.refines(_core(coarse)))


def _fill_one(
    lake: Lake,
    interval: Interval,
    finer: list[Interval],
    symbol: str,
    known: Mapping[str, Mapping[str, _Head]],
) -> int:
    heads = [(head, each) for each in finer if (head := known.get(str(each.name), {}).get(symbol))]
    # The one that goes back furthest, and of these the coarsest.
    head, source = min(reversed(heads), key=lambda pair: pair[0].whole or pair[0].first)
    own = known.get(str(interval.name), {}).get(symbol)
    begin = head.first if head.whole is None else head.whole
    end = head.end if own is None or own.whole is None else min(own.whole, head.end)
    if begin >= end:
        return 0
    opens, closes = interval.table_for(begin, end)
    inside = (opens >= begin) & (closes <= end)
    opens, closes = opens[inside], closes[inside]
    done = 0
    step = max(1, _ROWS * _length(source) // _length(interval))
    for at in range(0, len(opens), step):
        part = slice(at, at + step)
        fine = lake.bars(
            symbol, str(source.name), int(opens[part][0]), int(closes[part][-1]), include_open=False
        )
        there = [] if own is None else [lake.bars(
            symbol, str(interval.name), int(opens[part][0]), int(closes[part][-1]),
            include_open=False,
        )]  # fmt: skip
        bars = _made(fine, interval, opens[part], closes[part], there)
        if len(bars):
            commit_bars(lake, bars, _CONSUMER)
            done += len(bars)
    return done


def _made(fine: Bars, interval: Interval, opens: _Int64, closes: _Int64, there: list[Bars]) -> Bars:
    """The bars over these spans; those that are there already, and whole, are left out."""
    starts = fine.open_time.view(np.int64)
    span = np.searchsorted(opens, starts, "right") - 1
    first = np.flatnonzero(np.r_[True, span[1:] != span[:-1]]) if len(span) else np.empty(0, int)
    groups = span[first]
    columns = {name: np.zeros(len(groups), dtype) for name, dtype in DTYPES.items()}
    old = {int(row.open_time.astype(np.int64)): row for bars in there for row in bars}
    keep = np.ones(len(groups), np.bool_)
    for row, (begin, end) in enumerate(zip(first, np.append(first[1:], len(span)), strict=True)):
        values = _rolled(fine, slice(int(begin), int(end)))
        values |= {"open_time": opens[groups[row]], "close_time": closes[groups[row]]}
        if (before := old.get(int(opens[groups[row]]))) is not None:
            keep[row] = bool(before.flags & BarFlag.PARTIAL)
            values["revision"] = before.revision + 1
            values["flags"] |= int(BarFlag.REVISED)
        for name, value in values.items():
            columns[name][row] = value
    columns = {name: column[keep] for name, column in columns.items()}
    columns["symbol"][:] = fine.symbol[0] if len(fine) else 0
    return Bars(columns, symbols=dict(fine._table.mapping), intervals=[interval])


def _rolled(fine: Bars, rows: slice) -> dict[str, Any]:
    """One bar of several, as docs/SEMANTICS.md has it."""
    traded = np.flatnonzero(fine.trade_count[rows] > 0) + rows.start
    last = float(fine.close[rows][-1])
    flags = int(np.bitwise_or.reduce(fine.flags[rows])) & int(BarFlag.INCOMPLETE)
    flags |= int(BarFlag.CLOSED)
    out: dict[str, Any] = {"run_length": 1, "revision": 0, "flags": flags, "close": last}
    if not len(traded):
        nat = np.datetime64("NaT", "ns")
        return {
            **out, "open": last, "high": last, "low": last, "first_trade_id": -1,
            "last_trade_id": -1, "first_trade_time": nat, "last_trade_time": nat,
            "flags": flags | int(BarFlag.GAP),
        }  # fmt: skip
    out["open"] = fine.open[traded[0]]
    out["high"], out["low"] = np.nanmax(fine.high[traded]), np.nanmin(fine.low[traded])
    out["trade_count"] = int(fine.trade_count[traded].sum())
    for name in ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume"):
        out[name] = math.fsum(fine.column(name)[traded].tolist())
    for name, row in (("first", traded[0]), ("last", traded[-1])):
        out[f"{name}_trade_id"] = fine.column(f"{name}_trade_id")[row]
        out[f"{name}_trade_time"] = fine.column(f"{name}_trade_time")[row]
    return out
