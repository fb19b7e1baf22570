"""Snapshots made by hand, and a slow and obvious lake to compare with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from klineagg.bars import COLUMNS, BarFlag, Bars
from klineagg.lake import Lake
from unit.bars_factory import bars_of

CLOSED = int(BarFlag.CLOSED)
GAP = int(BarFlag.CLOSED | BarFlag.GAP)
REVISED = int(BarFlag.CLOSED | BarFlag.REVISED)
NAMES = {0: "BTCUSDT", 1: "ETHUSDT", 2: "SOL'USDT"}


@dataclass
class Delivery:
    """What an engine's snapshot has, as far as a lake looks at it."""

    id: tuple[int, int]
    closed: Bars
    open: Bars
    watermark: np.datetime64 | None = None
    position: int | None = None


def interned(bars: Bars) -> Bars:
    """The same bars with the ids that their symbols have in this process."""
    return Bars.concat([Bars.from_arrow(bars.to_arrow())]) if len(bars) else bars


def delivery(
    number: int,
    closed: Sequence[Mapping[str, Any]] = (),
    opened: Sequence[Mapping[str, Any]] = (),
    *,
    intervals: Sequence[Any] = ("1m", "1h"),
    epoch: int = 1,
    position: int | None = None,
) -> Delivery:
    """A snapshot from rows that say what matters."""
    opened = [{"flags": 0, **row} for row in opened]
    return Delivery(
        (epoch, number),
        bars_of(list(closed), NAMES, intervals),
        bars_of(opened, NAMES, intervals),
        np.datetime64(1_514_764_800 + number, "s"),
        position,
    )


def rows_of(bars: Bars) -> list[tuple[Any, ...]]:
    """Every row with every bit, names for codes, sorted."""
    columns = [
        bars.column(name).view(f"u{bars.column(name).dtype.itemsize}").tolist()
        for name in COLUMNS[2:]
    ]
    names = bars.to_numpy(names=True)
    keys = zip(names["symbol"].tolist(), names["interval"].tolist(), strict=True)
    return sorted((*key, *row) for key, row in zip(keys, zip(*columns, strict=True), strict=True))


@dataclass
class Model:
    """The lake as a dictionary: one bar for each symbol, interval and open time."""

    closed: dict[tuple[str, str, int], tuple[Any, ...]] = field(default_factory=dict)
    open: dict[tuple[str, str, int], tuple[Any, ...]] = field(default_factory=dict)
    fence: tuple[int, int] = (-1, -1)

    def commit(self, snapshot: Delivery) -> None:
        """Takes a snapshot that is newer than the last one."""
        if snapshot.id <= self.fence:
            return
        self.fence = snapshot.id
        revision = 2 + COLUMNS[2:].index("revision")
        for row in rows_of(snapshot.closed.expand_gaps()):
            old = self.closed.get(row[:3])
            if old is None or row[revision] >= old[revision]:
                self.closed[row[:3]] = row
        for row in rows_of(snapshot.open):
            self.open[row[:3]] = row
        for row in rows_of(snapshot.closed):
            ends = row[3]
            self.open = {
                key: value
                for key, value in self.open.items()
                if key[:2] != row[:2] or key[2] >= ends
            }

    def rows(self) -> list[tuple[Any, ...]]:
        """All bars, sorted."""
        return sorted([*self.closed.values(), *self.open.values()])


def content(lake: Lake, **options: Any) -> list[tuple[Any, ...]]:
    """Every bar of a lake, with every bit."""
    return rows_of(lake.bars(**options))
