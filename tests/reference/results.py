"""Symbols, intervals, revisions and gap runs put together."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from reference.bars import CLOSED, GAP, INCOMPLETE, REVISED, Row, activity_bars, series
from reference.intervals import DAY, Interval
from reference.trades import Admission, Options, Trade, admit

DEFAULTS = Options()


@dataclass
class Result:
    """Rows, and counts of trades as they were offered; those outside sessions as they are told."""

    rows: list[Row]
    offered: int
    accepted: int
    rejected: dict[str, int]
    dropped: dict[str, int]
    outside_sessions: dict[str, int]


def aggregate(
    trades: Iterable[Trade], intervals: Sequence[Interval], options: Options = DEFAULTS
) -> list[Row]:
    """The rows of a result, sorted by (interval as given, symbol, open time)."""
    return evaluate(trades, intervals, options).rows


def evaluate(
    trades: Iterable[Trade], intervals: Sequence[Interval], options: Options = DEFAULTS
) -> Result:
    """The rows of a result, and what happened to each trade that was offered."""
    trades = list(trades)
    symbols, rejected, dropped = admit(trades, options)
    for symbol in options.last_prices:
        symbols.setdefault(symbol, Admission())  # its seed makes bars, even when nobody trades
    outside: Counter[str] = Counter()
    rows: list[Row] = []
    for interval in intervals:
        for symbol in sorted(symbols):
            admission = symbols[symbol]
            if options.by == "time":
                rows += _time_rows(symbol, interval, admission, options)
                outside[interval.name] += sum(
                    trade.count for trade in admission.kept if interval.span(trade.time) is None
                )
            else:
                seed = options.last_prices.get(symbol)
                rows += activity_bars(
                    symbol, interval.name, admission.kept, options.by, options.threshold, seed
                )
    if not options.include_open:
        rows = [row for row in rows if row["flags"] & CLOSED]
    return Result(
        rows,
        offered=len(trades),
        accepted=sum(len(admission.kept) for admission in symbols.values()),
        rejected=dict(rejected),
        dropped=dict(dropped),
        outside_sessions={name: count for name, count in outside.items() if count},
    )


def _time_rows(
    symbol: str, interval: Interval, admission: Admission, options: Options
) -> list[Row]:
    start, end = options.coverage
    known = [time for time in (admission.newest, end) if time is not None]
    seed = options.last_prices.get(symbol)
    bars_of = partial(series, symbol, interval, start=start, seed=seed)
    rows = bars_of(admission.kept, watermark=max(known, default=None))
    revisions, incomplete = _revisions(interval, bars_of, admission)
    for row in rows:
        row["revision"] = revisions[row["open_time"]]
        if row["revision"]:
            row["flags"] |= REVISED
        if row["open_time"] in incomplete:
            row["flags"] |= INCOMPLETE
    if options.gaps == "flat":
        return rows
    if options.gaps == "none":
        return [row for row in rows if not row["flags"] & GAP]
    return _runs(rows)


def _revisions(
    interval: Interval,
    bars_of: Callable[..., list[Row]],
    admission: Admission,
) -> tuple[Counter[int], set[int]]:
    """How often each closed bar changed, and which are incomplete, by their open times.

    A late trade changes the bar that it lands in, which may have been a gap, and the price of
    later bars that kept their previous close. A bar that had never been there is no revision.
    A trade beyond the horizon marks the bars with trades around it that are not beyond it too.
    """
    revisions: Counter[int] = Counter()
    incomplete: set[int] = set()
    known: list[Trade] = []
    for arrival in admission.arrivals:
        if arrival.beyond:
            span = interval.span(arrival.trade.time)
            has_trades = span in {interval.span(trade.time) for trade in known}
            if span is not None and has_trades and span[1] > (arrival.reach or 0):
                if span[0] not in incomplete and arrival.ended(span[1]):
                    revisions[span[0]] += 1
                incomplete.add(span[0])
            continue
        if arrival.late:
            before, after = (
                {
                    row["open_time"]: _content(row)
                    for row in bars_of(seen, watermark=arrival.watermark)
                    if row["flags"] & CLOSED
                }
                for seen in (known, [*known, arrival.trade])
            )
            revisions.update(
                time for time, content in after.items() if before.get(time, content) != content
            )
        known.append(arrival.trade)
    return revisions, incomplete


def _content(row: Row) -> tuple[object, ...]:
    """The values of a row; floats by their bits, so that NaN equals itself."""
    return tuple(
        struct.pack("<d", value) if isinstance(value, float) else value for value in row.values()
    )


def _runs(rows: list[Row]) -> list[Row]:
    """Neighbouring gap bars as one row: of one UTC day, one price and one revision."""
    joined: list[Row] = []
    for row in rows:
        last = joined[-1] if joined else None
        if (
            last is not None
            and last["flags"] == row["flags"]
            and row["flags"] & GAP
            and last["open_time"] // DAY == row["open_time"] // DAY
            and last["revision"] == row["revision"]
            and _content({"price": last["close"]}) == _content({"price": row["close"]})
        ):
            last["close_time"] = row["close_time"]
            last["run_length"] += 1
        else:
            joined.append(row)
    return joined
