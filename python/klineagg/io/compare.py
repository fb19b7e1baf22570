"""Bars beside an exchange's own K-lines: equal at the decimals that the exchange prints."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from klineagg._bars_columns import BarFlag
from klineagg._distinct import is_among
from klineagg.io.klines import FIELDS, Klines
from klineagg.io.matching import series_for

if TYPE_CHECKING:
    from klineagg.bars import Bars

__all__ = ["Comparison", "Difference", "Series", "compare"]

# A sum of many numbers, each rounded once, may lie this many units of the last place of a double
# from the sum of the printed ones; it matters where a double holds fewer decimals than are printed.
_ULPS: Final = 4


class Difference(NamedTuple):
    """One value that differs, or one bar that only one side has.

    ``field`` is ``"bar"`` for the latter, and the absent side is None.
    """

    symbol: str
    interval: str
    open_time: np.datetime64
    field: str
    ours: float | int | str | None
    theirs: float | int | str | None
    file: str
    row: int | None
    state: str


class Series(NamedTuple):
    """Which of our series the K-lines of a file were compared with.

    ``named`` is the symbol that the name of the file tells; None when it tells none.
    """

    file: str
    symbol: str
    interval: str
    named: str | None
    compared: int

    @property
    def is_of_another(self) -> bool:
        """True when the name of the file plainly tells another symbol, however it is spelled."""
        if self.named is None:
            return False
        one, other = (
            "".join(filter(str.isalnum, name)).upper() for name in (self.symbol, self.named)
        )
        return one != other


@dataclass
class Comparison:
    """What a comparison found.

    Attributes:
        compared: bars that both sides have.
        equal: of them, those that are equal in every field.
        missing_ours: bars with trades that only they have, within the time that ours cover.
        missing_theirs: bars with trades that only we have, within the time that theirs cover.
        empty: bars without trades that only one side writes; no difference.
        outside: their bars outside the time that ours cover.
        values: values that were compared, by field.
        differing: of them, those that differ, by field.
        differences: each of them, in order of time; at most ``limit``.
        limit: how many are kept.
        series: which of ours, for each file of theirs.
    """

    compared: int = 0
    equal: int = 0
    missing_ours: int = 0
    missing_theirs: int = 0
    empty: int = 0
    outside: int = 0
    values: dict[str, int] = field(default_factory=dict)
    differing: dict[str, int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    limit: int = 1000
    series: list[Series] = field(default_factory=list)

    @property
    def same(self) -> bool:
        """True when bars were compared and nothing differs."""
        return self.compared > 0 and self.compared == self.equal and not self.missing

    @property
    def missing(self) -> int:
        """Bars with trades that only one side has."""
        return self.missing_ours + self.missing_theirs

    def add(self, difference: Difference) -> None:
        """Keeps a difference while there is room."""
        if len(self.differences) < self.limit:
            self.differences.append(difference)


def compare(
    bars: Bars,
    klines: Klines,
    *,
    symbol: str | None = None,
    interval: str | None = None,
    skip: Collection[str] = (),
    into: Comparison | None = None,
) -> Comparison:
    """Compares one series of ``bars`` with K-lines.

    A number is equal when it rounds to theirs at as many decimals as the column of theirs prints;
    where a double has fewer than that, when it is next to theirs.

    Args:
        bars: ours; runs of gap bars are expanded.
        klines: theirs.
        symbol: of our series; None: as :func:`series_for` finds.
        interval: likewise.
        skip: fields that are not compared (``quote_volume`` of coin-margined futures is theirs in
            another currency).
        into: goes on with an earlier comparison.

    Raises:
        ResultError: ``no_such_series``.
        OptionError: ``invalid_option``.
    """
    out = Comparison() if into is None else into
    symbol, interval = series_for(bars, klines, symbol, interval)
    ours = bars[[symbol], interval].expand_gaps()
    opens = ours.open_time.view(np.int64)
    theirs = klines.open_time
    _, mine, other = np.intersect1d(opens, theirs, return_indices=True)
    place = _Place(symbol, interval, ours, klines)
    bad = np.zeros(len(mine), np.bool_)
    wrong: list[tuple[int, str, Any, Any]] = []
    for name in FIELDS:
        if name in klines.columns and name not in skip:
            a = ours.column(name)[mine].astype(np.float64)
            b = klines.columns[name][other]
            _tally(out, name, ~_equal(a, b, klines.decimals[name]), a, b, bad, wrong)
    if klines.close_time is not None and "close_time" not in skip:
        end = ours.close_time.view(np.int64)[mine]
        last = klines.close_time[other]
        # Theirs is the last unit of time inside the bar, ours the first one behind it.
        unequal = (end != last) & (end != last + klines.unit_ns)
        _tally(out, "close_time", unequal, end, last, bad, wrong)
    out.series.append(Series(klines.file, symbol, interval, klines.symbol, len(mine)))
    out.compared += len(mine)
    out.equal += int(np.count_nonzero(~bad))
    for at, name, a, b in sorted(wrong, key=lambda item: item[0]):
        out.add(place.difference(name, int(mine[at]), int(other[at]), a, b))
    _unmatched(out, place, mine, other)
    return out


def _equal(a: NDArray[np.float64], b: NDArray[np.float64], decimals: int) -> NDArray[np.bool_]:
    # Half a unit of the last printed decimal; the slack is for the half itself being inexact.
    half = 0.5 * 10.0**-decimals * (1 - 1e-9)
    near = np.abs(a - b) <= np.maximum(half, _ULPS * np.spacing(np.abs(b)))
    same: NDArray[np.bool_] = near | (np.isnan(a) & np.isnan(b))
    return same


def _tally(
    out: Comparison,
    name: str,
    unequal: NDArray[np.bool_],
    a: NDArray[Any],
    b: NDArray[Any],
    bad: NDArray[np.bool_],
    wrong: list[tuple[int, str, Any, Any]],
) -> None:
    bad |= unequal
    out.values[name] = out.values.get(name, 0) + len(a)
    out.differing[name] = out.differing.get(name, 0) + int(np.count_nonzero(unequal))
    places = np.flatnonzero(unequal)[: out.limit].tolist()
    wrong += [(at, name, a[at].item(), b[at].item()) for at in places]


@dataclass(frozen=True)
class _Place:
    """One series on both sides."""

    symbol: str
    interval: str
    ours: Bars
    klines: Klines

    def difference(
        self, name: str, mine: int | None, other: int | None, a: Any, b: Any
    ) -> Difference:
        time: np.datetime64
        if mine is not None:
            time = self.ours.open_time[mine]
        else:
            time = np.datetime64(int(self.klines.open_time[other or 0]), "ns")
        return Difference(
            self.symbol,
            self.interval,
            time,
            name,
            _shown(name, a),
            _shown(name, b),
            self.klines.file,
            None if other is None else int(self.klines.rows[other]),
            "" if mine is None else _state(int(self.ours.flags[mine])),
        )


def _shown(name: str, value: Any) -> float | int | str | None:
    if value is None:
        return None
    if name == "close_time":
        return str(np.datetime64(value, "ns"))
    return int(value) if name == "trade_count" and value == value else float(value)


def _state(flags: int) -> str:
    names = [flag.name or "" for flag in BarFlag if flags & flag and flag != BarFlag.CLOSED]
    if not flags & BarFlag.CLOSED:
        names.insert(0, "OPEN")
    return " ".join(names).lower()


def _unmatched(
    out: Comparison, place: _Place, mine: NDArray[np.int64], other: NDArray[np.int64]
) -> None:
    """Bars that only one side has."""
    ours, klines = place.ours, place.klines
    if not len(ours) or not len(klines):
        out.outside += len(klines)
        return
    begin, end = int(ours.open_time.view(np.int64)[0]), int(ours.close_time.view(np.int64)[-1])
    empty = np.zeros(len(klines), np.bool_)
    for name in ("volume", "trade_count"):
        if name in klines.columns:
            empty |= klines.columns[name] == 0
    alone = np.flatnonzero(~is_among(np.arange(len(klines)), other))
    for at in alone.tolist():
        time = int(klines.open_time[at])
        if not begin <= time < end:
            out.outside += 1
        elif empty[at]:
            out.empty += 1
        else:
            out.missing_ours += 1
            out.add(place.difference("bar", None, at, None, klines.columns["close"][at]))
    first, last = int(klines.open_time[0]), int(klines.open_time[-1])
    for at in np.flatnonzero(~is_among(np.arange(len(ours)), mine)).tolist():
        if not first <= int(ours.open_time.view(np.int64)[at]) <= last:
            continue
        if ours.trade_count[at] == 0:
            out.empty += 1
        else:
            out.missing_theirs += 1
            out.add(place.difference("bar", at, None, ours.close[at], None))
