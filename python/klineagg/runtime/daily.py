"""The daily update: yesterday's bars are compared with files of its trades, and completed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from klineagg import errors
from klineagg.bars import Bars
from klineagg.lake.maintain import Maintenance, oldest_ns
from klineagg.lake.own import commit_bars
from klineagg.sources.files import files_of
from klineagg.tasks import backfills

if TYPE_CHECKING:
    from klineagg.config import Config
    from klineagg.lake import Lake

__all__ = ["DailyReport", "Upkeep", "daily_update", "day_of", "fill", "maintain"]

_log: Final = logging.getLogger("klineagg.daily")
_CONSUMER: Final = "daily"
_NOTHING_TO_ASK: Final = "[tasks] daily_files names no file of that day, and no module a backfill"
_COUNTED: Final = (
    "bars_expired", "files_merged", "files_rewritten", "snapshots_expired", "files_removed",
    "orphans_removed",
)  # fmt: skip
_COMPARED: Final = ("open", "high", "low", "close", "volume", "trade_count")


@dataclass(frozen=True)
class DailyReport:
    """What a daily update found.

    Attributes:
        date: the day, ``2024-01-31``.
        checked: bars of the files and backfills.
        added: of these, bars that the lake did not have.
        different: bars that differ; they are told, and left as they are.
        failed: files and backfills that could not be read.
        sources: files and backfills that were asked; 0: nothing was verified.
    """

    date: str
    checked: int
    added: int
    different: int
    failed: int = 0
    sources: int = 0


def daily_update(config: Config, lake: Lake, day: datetime | None = None) -> DailyReport:
    """Reads the trades of a day (default: yesterday, UTC), compares, adds what is missing.

    They come from files and from what :func:`klineagg.tasks.backfill` was given.

    Raises:
        LakeError: the lake cannot be read or written.
    """
    at = day or datetime.now(timezone.utc) - timedelta(days=1)
    at = at.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=timezone.utc)
    date = at.strftime("%Y-%m-%d")
    checked = added = different = failed = asked = 0
    for name, give in _sources(config, at, date):
        asked += 1
        try:
            trades = give()
            if trades is None:
                _log.info("%s has no trades of %s", name, date)
                continue
            bars = _bars_of(config, trades, date)
        except Exception as error:  # of an archive that is away; the others are asked all the same
            _log.error("%s gives no trades of %s: %s", name, date, error)
            failed += 1
            continue
        missing, wrong = _compare(lake, bars, date)
        checked, added, different = checked + len(bars), added + len(missing), different + wrong
        if len(missing):
            commit_bars(lake, missing, _CONSUMER)
        if wrong:
            _log.error("%d bars of %s differ from %s", wrong, date, name)
    if not asked:
        _log.warning("the bars of %s are not verified: %s", date, _NOTHING_TO_ASK)
    fill(config, lake)
    maintain(config, lake)
    report = DailyReport(date, checked, added, different, failed, asked)
    _log.info("the daily update of %s: %s", date, _said(report))
    return report


def day_of(text: str) -> datetime:
    """The day that ``2024-01-31`` names; ValueError when it is none."""
    return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=timezone.utc)


def maintain(config: Config, lake: Lake) -> Maintenance:
    """Merges small files, and removes what nobody needs and what retention does not keep."""
    done = lake.maintain(retention=config.tasks.retention)
    _log.info("maintenance: %s", _said(done))
    return done


def _said(report: Any) -> str:
    """The counts of a report that are not 0."""
    counts = {name: value for name, value in asdict(report).items() if name != "date"}
    said = {
        name.replace("_", " "): f"{value:.3g}" if isinstance(value, float) else f"{value:,}"
        for name, value in counts.items()
        if value
    }
    return ", ".join(f"{name} {value}" for name, value in said.items()) or "nothing to do"


class Upkeep:
    """Maintenance of the lake of a configuration; fills the intervals that are new to it."""

    def __init__(self) -> None:
        self._filled: tuple[str, ...] = ()
        self.rounds = self.failures = 0
        #: By what a round counts, of all of them.
        self.done = dict.fromkeys(_COUNTED, 0)
        self.seconds = 0.0
        self.last: Maintenance | None = None

    def __call__(self, config: Config, lake: Lake) -> None:
        """A round.

        Raises:
            LakeError: the lake cannot be read or written.
        """
        try:
            if config.engine.intervals != self._filled:
                fill(config, lake)
                self._filled = config.engine.intervals
            self.last = maintain(config, lake)
        except Exception:
            self.failures += 1
            raise
        self.rounds += 1
        self.seconds += self.last.seconds
        for name in _COUNTED:
            self.done[name] += getattr(self.last, name)

    def describe(self) -> dict[str, Any]:
        """Counts, for the status."""
        return {
            "rounds": self.rounds,
            "failures": self.failures,
            "bars_expired": self.done["bars_expired"],
            "last": None if self.last is None else asdict(self.last),
        }


def fill(config: Config, lake: Lake) -> None:
    """Makes what intervals lack that came later, of finer bars.

    Raises:
        LakeError: the lake cannot be read or written.
    """
    intervals, retention = list(config.engine.intervals), config.tasks.retention
    if rows := lake.fill(intervals, retention=retention):
        _log.info("%d bars of intervals that came later are made of finer ones", rows)


def _sources(
    config: Config, at: datetime, date: str
) -> Iterator[tuple[str, Callable[[], Any | None]]]:
    """By name, what gives the trades of the day."""
    for name in config.tasks.daily_files:
        asked = config.at(name.replace("{date}", date))
        try:
            paths = files_of(asked)
        except errors.FileError as error:
            _log.warning("%s", error.message)
            continue
        yield str(asked), partial(_read, config, paths)
    for name, source in backfills().items():
        yield name, partial(source.trades, at)


def _read(config: Config, paths: list[Path]) -> Any:
    from klineagg.io import read_trades

    source = config.source
    return read_trades(
        *paths,
        preset=source.preset,
        columns=dict(source.columns) or None,
        unit=source.unit,
        symbol=source.symbol,
        on_bad="count",
    )


def _bars_of(config: Config, trades: Any, date: str) -> Bars:
    from klineagg import aggregate

    begin = np.datetime64(date)
    bars = aggregate(
        trades, config.engine.intervals, coverage=(begin, begin + 1), lateness="1d", late="drop",
        on_bad="count", include_open=False, progress=False,
    )  # fmt: skip
    inside = (bars.open_time >= begin) & (bars.close_time <= begin + 1) & (bars.trade_count > 0)
    # What maintenance would drop at once is not missing.
    for name, oldest in oldest_ns(config.tasks.retention).items():
        if name in bars.intervals:
            old = bars.close_time <= np.datetime64(oldest, "ns")
            inside &= ~(old & (bars.interval == bars.intervals.index(name)))
    return bars[inside]


def _compare(lake: Lake, bars: Bars, date: str) -> tuple[Bars, int]:
    """The bars that the lake lacks, and how many it has otherwise."""
    begin = np.datetime64(date)
    known: dict[tuple[str, str, int], tuple[Any, ...]] = {}
    names = [name for name in bars.intervals if name in lake.intervals()]
    if names:
        theirs = lake.bars(bars.symbols, names, str(begin), str(begin + 1), gaps="runs")
        known = dict(zip(_keys(theirs), _values(theirs), strict=True))
    missing = np.zeros(len(bars), np.bool_)
    different = 0
    for row, (key, values) in enumerate(zip(_keys(bars), _values(bars), strict=True)):
        found = known.get(key)
        missing[row] = found is None
        different += found is not None and found != values
    return bars[missing], different


def _keys(bars: Bars) -> list[tuple[str, str, int]]:
    names, intervals = bars._row_symbols(), bars.interval.tolist()
    opens = bars.open_time.view(np.int64).tolist()
    return [(names[k], bars.intervals[intervals[k]], opens[k]) for k in range(len(bars))]


def _values(bars: Bars) -> list[tuple[Any, ...]]:
    return list(zip(*(bars.column(name).tolist() for name in _COMPARED), strict=True))
