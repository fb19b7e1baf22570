"""Bars of an interval that came later, made of the finer bars that a lake has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from klineagg._bars_columns import COLUMNS, BarFlag
from klineagg._bars_roll import rolled
from klineagg.bars import Bars
from klineagg.intervals import Interval, IntervalLike, parse_intervals
from klineagg.lake.own import commit_bars
from klineagg.lake.runs import in_runs

if TYPE_CHECKING:
    from klineagg.lake.lake import Lake

__all__ = ["fill"]

_CONSUMER: Final = "fill"
_ROWS: Final = 1 << 19  # of finer bars at once
_END_NS: Final = 2**62
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


def fill(
    lake: Lake, intervals: IntervalLike | list[Any], since_ns: Mapping[str, int] | None = None
) -> int:
    """Writes the bars that intervals lack before their first whole one, made of finer bars.

    A bar that is there and PARTIAL becomes whole, as a revision. Sums are those of the rounded
    sums of the finer bars: they may differ from those of the trades by 2**-52 of their value.

    Args:
        lake: it has finer bars of some.
        intervals: those to fill; others of the lake are only read.
        since_ns: by interval, from which time on bars are made; None: from the first on.

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
            since = (since_ns or {}).get(str(interval.name))
            done += _fill_one(lake, interval, finer, symbol, known, since)
    return done


def _rows(lake: Lake) -> list[Any]:
    table = lake.sql(_HEADS).to_numpy()
    return list(zip(*table.values(), strict=True))


def _length(interval: Interval) -> int:
    opens, closes = interval.table_for(0, _YEARS_NS)
    return int(np.median(closes - opens))


def _refines(finer: Interval, coarse: Interval) -> bool:
    if finer.tz is not None:
        return False
    core = finer.to_core(0, _END_NS)
    return core.kind == "fixed" and core.refines(coarse.to_core(0, _END_NS))


def _fill_one(
    lake: Lake,
    interval: Interval,
    finer: list[Interval],
    symbol: str,
    known: Mapping[str, Mapping[str, _Head]],
    since_ns: int | None,
) -> int:
    heads = [(head, each) for each in finer if (head := known.get(str(each.name), {}).get(symbol))]
    # The one that goes back furthest, and of these the coarsest.
    head, source = min(reversed(heads), key=lambda pair: pair[0].whole or pair[0].first)
    own = known.get(str(interval.name), {}).get(symbol)
    begin = head.first if head.whole is None else head.whole
    if since_ns is not None:
        begin = max(begin, since_ns)
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
        stretch = int(opens[part][0]), int(closes[part][-1])
        rows = lake.bars(symbol, str(source.name), *stretch, include_open=False, gaps="runs")
        bars = rolled(rows, interval, opens[part], closes[part])
        if own is not None:
            bars = _lacking(
                bars, lake.bars(symbol, str(interval.name), *stretch, include_open=False)
            )
        if len(bars):
            bars = in_runs(bars)
            commit_bars(lake, bars, _CONSUMER)
            done += len(bars)
    return done


def _lacking(made: Bars, stored: Bars) -> Bars:
    """Those that are not there, and those that are there cut and are whole now, as revisions."""
    at = np.minimum(np.searchsorted(stored.open_time, made.open_time), max(len(stored) - 1, 0))
    there = np.zeros(len(made), np.bool_)
    columns = {name: made.column(name) for name in COLUMNS}
    if len(stored):
        partial = np.uint16(BarFlag.PARTIAL)
        there = stored.open_time[at] == made.open_time
        whole = (stored.flags[at] & partial != 0) & (made.flags & partial == 0)
        columns["revision"] = np.where(there, stored.revision[at] + np.int32(1), np.int32(0))
        columns["flags"] = columns["flags"] | np.where(there, BarFlag.REVISED, 0).astype(np.uint16)
        there &= ~whole
    return made._with(columns)[np.flatnonzero(~there)]
