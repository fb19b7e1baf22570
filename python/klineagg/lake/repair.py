"""Bars of a lake beside what their trades say, and revisions of those that differ."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from klineagg import errors
from klineagg._bars_columns import COLUMNS, BarFlag
from klineagg._bars_time import to_ns
from klineagg._distinct import distinct
from klineagg._options import TIME_MIN_NS
from klineagg.bars import Bars
from klineagg.lake.own import commit_bars
from klineagg.lake.runs import in_runs
from klineagg.lake.state import CommitResult, closed_until

if TYPE_CHECKING:
    from klineagg.lake.lake import Lake

__all__ = [
    "CONSUMER",
    "RepairDifference",
    "RepairPlan",
    "plan_repair",
    "write_repair",
]

CONSUMER: Final = "repair"
_DAY_NS: Final = 86_400 * 10**9
# So far back the price before the range is looked for.
_LOOK_BACK_NS: Final = 31 * _DAY_NS
_COMPARED: Final = tuple(name for name in COLUMNS[2:] if name not in ("run_length", "revision"))
_IDS: Final = ("first_trade_id", "last_trade_id")


class RepairDifference(NamedTuple):
    """A value that differs; ``field`` is ``"bar"`` where only one side has the bar."""

    interval: str
    open_time: np.datetime64
    field: str
    lake: float | int | str | None
    rebuilt: float | int | str | None


@dataclass(frozen=True)
class RepairPlan:
    """What a repair would change.

    Attributes:
        symbol: whose bars.
        checked: bars of the lake and of the trades that were compared.
        bars: the rows to write: revisions of bars that differ, and bars that the lake lacks.
        differences: each value that differs.
        unexplained: bars of the lake of times without any trade and without a price before them,
            of which the trades say nothing; they stay.
        skipped: intervals of the lake that cannot be rebuilt from their name.
    """

    symbol: str
    checked: int
    bars: Bars
    differences: tuple[RepairDifference, ...]
    unexplained: int
    skipped: tuple[str, ...]


def plan_repair(
    lake: Lake,
    symbol: str,
    start: Any,
    end: Any,
    trades: Any,
    *,
    intervals: Sequence[str] | None = None,
    skip: Collection[str] = (),
) -> RepairPlan:
    """Rebuilds the closed bars that lie within ``[start, end)`` and compares them with the lake's.

    A bar without trades is flat at the close before it, so a bar that changes also changes the gap
    bars that follow it. Gap bars are only added to a series that has some.

    Args:
        lake: the lake.
        symbol: whose bars.
        start: ISO 8601 text, ``datetime``, ``datetime64``, or int nanoseconds; UTC.
        end: likewise, not included. The trades have to be complete from ``start`` to here.
        trades: anything that :func:`klineagg.aggregate` takes, in any order (those of one stamp
            and without ids in theirs); of other symbols and other times too.
        intervals: names; None: all intervals of time that the lake has.
        skip: columns that the trades say nothing of; the lake's values stay. Ids of trades are
            skipped when no trade has one.

    Raises:
        OptionError: ``invalid_option`` for a range that is empty, or in which the engine of this
            lake has not closed all bars of the symbol yet.
        ResultError: ``no_such_series`` for an interval that the lake does not have.
    """
    begin_ns, end_ns = to_ns(start, "start"), to_ns(end, "end")
    _check_range(lake, symbol, begin_ns, end_ns)
    names, skipped = _intervals(lake, intervals)
    if not names:
        return RepairPlan(symbol, 0, Bars.empty([]), (), 0, skipped)
    wanted = _rebuilt(lake, symbol, names, begin_ns, end_ns, trades)
    stored = lake.bars(symbol, names, begin_ns, end_ns, include_open=False)
    stored = stored[np.flatnonzero(stored.close_time.view(np.int64) <= end_ns)]
    left_out = set(skip)
    if not any(np.any(wanted.column(name) >= 0) for name in _IDS):
        left_out |= set(_IDS)
    columns = [name for name in _COMPARED if name not in left_out]
    ours, theirs, unexplained = _pairs(wanted, stored)
    changed, differences = _differences(wanted, stored, ours, theirs, columns)
    bars = _revisions(wanted, stored, ours[changed], theirs[changed], sorted(left_out))
    checked = len(ours) + unexplained
    return RepairPlan(symbol, checked, in_runs(bars), differences, unexplained, skipped)


def write_repair(lake: Lake, plan: RepairPlan) -> CommitResult | None:
    """Commits the rows of a plan; None when there are none.

    Raises:
        LakeError, LakeBusyError: as :meth:`klineagg.Lake.commit`.
    """
    if not len(plan.bars):
        return None
    return commit_bars(lake, plan.bars, CONSUMER)


def _check_range(lake: Lake, symbol: str, begin_ns: int, end_ns: int) -> None:
    if begin_ns >= end_ns:
        raise errors.make("invalid_option", "the range has no time in it", option="end")
    mark = closed_until(lake, symbol)
    if mark is not None and end_ns > int(mark.astype(np.int64)):
        text = f"the engine of this lake has closed the bars of {symbol} up to {mark} only"
        if mark.astype(np.int64) == TIME_MIN_NS:
            text = f"the engine of this lake has not closed a bar of {symbol} yet"
        hint = "repair what lies before; the engine still has the rest"
        raise errors.make("invalid_option", text, hint=hint, option="end")


def _intervals(lake: Lake, wanted: Sequence[str] | None) -> tuple[list[str], tuple[str, ...]]:
    """Those that can be rebuilt from their name, and the others."""
    from klineagg._bars_index import no_such_series
    from klineagg.intervals import Interval

    known = lake.intervals()
    names, skipped = [], []
    for name in known if wanted is None else wanted:
        if name not in known:
            raise no_such_series("interval", name, list(known))
        try:
            Interval(name)
        except errors.IntervalError:
            skipped.append(name)
        else:
            names.append(name)
    return names, tuple(skipped)


def _rebuilt(
    lake: Lake, symbol: str, names: list[str], begin_ns: int, end_ns: int, trades: Any
) -> Bars:
    from klineagg.aggregation import aggregate

    begin, end = (np.datetime64(ns, "ns") for ns in (begin_ns, end_ns))
    price = _price_before(lake, symbol, names, begin_ns)
    bars = aggregate(
        trades,
        names,
        gaps="flat",
        coverage=(begin, end),
        last_prices=None if price is None else {symbol: price},
        # Nothing comes too late, in whatever order the trades are.
        lateness="366d",
        late="drop",
        on_bad="count",
        include_open=False,
        progress=False,
    )
    if symbol not in bars.symbols:
        return Bars.empty(names)
    bars = bars[symbol, :]
    inside = (bars.open_time >= begin) & (bars.close_time <= end)
    bars = bars[np.flatnonzero(inside & (bars.flags & np.uint16(BarFlag.PARTIAL) == 0))]
    flags = _without_birth(bars)
    return bars._with({**bars._columns, "flags": flags})


def _without_birth(bars: Bars) -> NDArray[np.uint16]:
    """The flags, with the first bar of a symbol that has no trades as the gap bar that it is."""
    flags = bars.flags & np.uint16(~int(BarFlag.REVISED) & 0xFFFF)
    born = (flags & np.uint16(BarFlag.GENESIS) != 0) & (bars.trade_count == 0)
    flags[born] = (flags[born] | np.uint16(BarFlag.GAP)) & np.uint16(~int(BarFlag.GENESIS) & 0xFFFF)
    return flags


def _price_before(lake: Lake, symbol: str, names: list[str], begin_ns: int) -> float | None:
    """The last price before the range, as the lake's bars have it."""
    from_ns = begin_ns - _LOOK_BACK_NS
    bars = lake.bars(symbol, names, from_ns, begin_ns, include_open=False, gaps="runs")
    known = (bars.close_time.view(np.int64) <= begin_ns) & ~np.isnan(bars.close)
    if not known.any():
        return None
    rows = np.flatnonzero(known)
    return float(bars.close[rows[np.argmax(bars.close_time[rows])]])


def _keys(bars: Bars) -> list[tuple[str, int]]:
    names, positions = bars.intervals, bars.interval.tolist()
    opens = bars.open_time.view(np.int64).tolist()
    return [(names[k], at) for k, at in zip(positions, opens, strict=True)]


def _pairs(wanted: Bars, stored: Bars) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Rows of both that belong together (-1: the lake has none), and rows of the lake alone."""
    found = {key: row for row, key in enumerate(_keys(stored))}
    gap = np.uint16(BarFlag.GAP)
    with_gaps = {
        stored.intervals[k] for k in distinct(stored.interval[stored.flags & gap != 0]).tolist()
    }
    ours, theirs = [], []
    is_gap = (wanted.flags & gap != 0).tolist()
    for row, key in enumerate(_keys(wanted)):
        other = found.pop(key, -1)
        if other >= 0 or not is_gap[row] or key[0] in with_gaps:
            ours.append(row)
            theirs.append(other)
    return np.array(ours, np.int64), np.array(theirs, np.int64), len(found)


def _differences(
    wanted: Bars,
    stored: Bars,
    ours: NDArray[np.int64],
    theirs: NDArray[np.int64],
    columns: Sequence[str],
) -> tuple[NDArray[np.bool_], tuple[RepairDifference, ...]]:
    there = theirs >= 0
    changed = ~there
    a, b = ours[there], theirs[there]
    flags = {id(wanted): wanted.flags, id(stored): _without_birth(stored)}
    out = []
    unequal: dict[str, NDArray[np.bool_]] = {}
    for name in columns:
        x, y = (
            flags[id(bars)][rows] if name == "flags" else bars.column(name)[rows]
            for bars, rows in ((wanted, a), (stored, b))
        )
        bits = f"u{x.dtype.itemsize}"
        unequal[name] = x.view(bits) != y.view(bits)
        changed[there] |= unequal[name]
        rows = np.flatnonzero(unequal[name]).tolist()
        out += [_difference(wanted, int(a[row]), name, y[row], x[row]) for row in rows]
    missing = ours[~there].tolist()
    out += [_difference(wanted, row, "bar", None, "missing in the lake") for row in missing]
    out.sort(key=lambda one: (wanted.intervals.index(one.interval), one.open_time))
    return changed, tuple(out)


def _difference(bars: Bars, row: int, name: str, lake: Any, rebuilt: Any) -> RepairDifference:
    def plain(value: Any) -> Any:
        if isinstance(value, np.datetime64):
            return str(value)
        return value.item() if isinstance(value, np.generic) else value

    interval = bars.intervals[int(bars.interval[row])]
    return RepairDifference(interval, bars.open_time[row], name, plain(lake), plain(rebuilt))


def _revisions(
    wanted: Bars,
    stored: Bars,
    ours: NDArray[np.int64],
    theirs: NDArray[np.int64],
    kept: Sequence[str],
) -> Bars:
    """The rows that differ, each a revision above the lake's."""
    bars = wanted[ours]
    columns = {name: bars.column(name).copy() for name in COLUMNS}
    old = theirs >= 0
    columns["revision"][old] = stored.revision[theirs[old]] + 1
    columns["flags"][old] |= np.uint16(BarFlag.REVISED)
    for name in kept:
        columns[name][old] = stored.column(name)[theirs[old]]
    return bars._with(columns)
