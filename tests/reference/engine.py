"""A live engine as a list of what has come: trades, and advances of the clock.

It knows no workers, lanes or snapshots. What is closed and what is open is worked out anew from
everything so far, whenever somebody asks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from reference.bars import CLOSED, GAP, INCOMPLETE, REVISED, Row, series
from reference.intervals import Interval
from reference.results import _revisions
from reference.trades import Admission, Arrival, Options, Trade, fault, reach_of


class Engine:
    """The closed and open bars of a stream; every gap bar is a row of its own."""

    def __init__(self, intervals: Sequence[Interval], options: Options) -> None:
        self.intervals = intervals
        self.options = options
        self.clock: int | None = None
        self.symbols: dict[str, Admission] = {symbol: Admission() for symbol in options.last_prices}
        # Without a start for all, the coverage of a symbol begins when it joins.
        self.starts: dict[str, int | None] = {}
        self.forgotten: dict[str, int] = {}  # by a shorter horizon than that of now
        self.seen: dict[tuple[str, int], set[int]] = {}  # ids by symbol and source
        self.rejected: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.accepted = 0

    def push(self, trade: Trade, source: int = 0) -> None:
        reason = fault(trade, self.options)
        if reason is not None:
            self.rejected[reason] += 1
            return
        symbol = self.symbols.setdefault(trade.symbol, Admission())
        self.starts.setdefault(trade.symbol, self.clock)
        if self._is_known(trade, source):
            self.dropped["duplicate"] += 1
            return
        arrival = Arrival(trade, self.watermark(symbol), self.reach(trade.symbol))
        symbol.newest = max(trade.time, trade.time if symbol.newest is None else symbol.newest)
        if arrival.late and self.options.late == "drop":
            self.dropped["late"] += 1
            return
        if arrival.beyond:
            self.dropped["beyond_horizon"] += 1
        else:
            self.accepted += 1
        symbol.arrivals.append(arrival)

    def _is_known(self, trade: Trade, source: int) -> bool:
        """Whether the source has told of all these ids before; trades without id are all new."""
        if trade.trade_id < 0:
            return False
        last = trade.trade_id if trade.last_trade_id is None else trade.last_trade_id
        ids = set(range(trade.trade_id, last + 1))
        seen = self.seen.setdefault((trade.symbol, source), set())
        if ids <= seen:
            return True
        seen |= ids
        return False

    def advance(self, time: int) -> None:
        self.clock = time

    def watermark(self, symbol: Admission) -> int | None:
        """Raised by the symbol's trades and by the clock."""
        by_trades = None if symbol.newest is None else symbol.newest - (self.options.lateness or 0)
        known = [time for time in (by_trades, self.clock) if time is not None]
        return max(known, default=None)

    def reach(self, name: str) -> int | None:
        """What ended by then is not amended: by the horizon, or by a shorter one of before."""
        by_horizon = reach_of(self.watermark(self.symbols[name]), self.options)
        known = [time for time in (by_horizon, self.forgotten.get(name)) if time is not None]
        return max(known, default=None)

    def change_horizon(self, horizon: int | None) -> None:
        """From now on; a longer one does not bring back what is forgotten."""
        before = self.options.amend_horizon
        if before is not None and (horizon is None or horizon > before):
            reaches = {name: self.reach(name) for name in self.symbols}
            self.forgotten |= {name: time for name, time in reaches.items() if time is not None}
        self.options = replace(self.options, amend_horizon=horizon)

    def closed(self) -> list[Row]:
        """Closed bars, in their newest revision, up to the last one with trades.

        The gap bars behind it are those of a run that still grows.
        """
        out = []
        for rows in self._series():
            ended = [row for row in rows if row["flags"] & CLOSED]
            while ended and ended[-1]["flags"] & GAP:
                ended.pop()
            out += ended
        return self._without_gaps(out)

    def open(self) -> list[Row]:
        """Bars that are not closed: with trades or a seed, and the gaps before those."""
        rows = [row for rows in self._series() for row in rows]
        return self._without_gaps([row for row in rows if not row["flags"] & CLOSED])

    def _without_gaps(self, rows: list[Row]) -> list[Row]:
        return [row for row in rows if self.options.gaps != "none" or not row["flags"] & GAP]

    def _series(self) -> list[list[Row]]:
        return [
            self._rows(symbol, interval)
            for interval in self.intervals
            for symbol in sorted(self.symbols)
        ]

    def _rows(self, name: str, interval: Interval) -> list[Row]:
        symbol = self.symbols[name]
        start = self.options.coverage[0]
        bars_of = partial(
            series,
            name,
            interval,
            start=self.starts.get(name) if start is None else start,
            seed=self.options.last_prices.get(name),
        )
        rows = bars_of(symbol.kept, watermark=self.watermark(symbol))
        revisions, incomplete = _revisions(interval, bars_of, symbol)
        for row in rows:
            row["revision"] = revisions[row["open_time"]]
            if row["revision"]:
                row["flags"] |= REVISED
            if row["open_time"] in incomplete:
                row["flags"] |= INCOMPLETE
        return rows
