"""Runs klineagg and the reference on the same trades and tells where they differ."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

import klineagg
import reference as ref

Rows = list[ref.Row]


def to_columns(trades: Sequence[ref.Trade], *, leave_out: Iterable[str] = ()) -> dict[str, Any]:
    """The trades as arrays; optional columns can be left out when they have their defaults."""
    last = [trade.last_id for trade in trades]
    columns = {
        "symbol": np.array([trade.symbol for trade in trades], dtype="U8"),
        "time": np.array([trade.time for trade in trades], dtype="datetime64[ns]"),
        "price": np.array([trade.price for trade in trades], dtype=np.float64),
        "quantity": np.array([trade.quantity for trade in trades], dtype=np.float64),
        "side": np.array([trade.side for trade in trades], dtype=np.int8),
        "trade_id": np.array([trade.trade_id for trade in trades], dtype=np.int64),
        "last_trade_id": np.array(last, dtype=np.int64),
        "flags": np.array([trade.flags for trade in trades], dtype=np.uint8),
    }
    for name in leave_out:
        del columns[name]
    return columns


def to_intervals(intervals: Sequence[ref.Clock | ref.Sessions]) -> list[Any] | None:
    """The same intervals in klineagg's own form; None when bars are not made by time."""
    return (
        None
        if not intervals
        else [
            klineagg.sessions(
                interval.name,
                np.array([span[0] for span in interval.spans], dtype="datetime64[ns]"),
                np.array([span[1] for span in interval.spans], dtype="datetime64[ns]"),
            )
            if isinstance(interval, ref.Sessions)
            else klineagg.Interval(interval.name)
            for interval in intervals
        ]
    )


def to_arguments(options: ref.Options) -> dict[str, Any]:
    """Keyword arguments of ``klineagg.aggregate`` and ``klineagg.Aggregator``."""
    start, end = options.coverage
    arguments: dict[str, Any] = {
        "lateness": _timedelta(options.lateness),
        "late": options.late,
        "gaps": options.gaps,
        "coverage": None if start is end is None else (_datetime(start), _datetime(end)),
        "include_open": options.include_open,
        "last_prices": dict(options.last_prices) or None,
        "on_bad": options.on_bad,
        "allow_nonpositive_prices": options.allow_nonpositive_prices,
    }
    if options.amend_horizon is not None:
        arguments["amend_horizon"] = _timedelta(options.amend_horizon)
    if options.by != "time":
        arguments.update(by=options.by, threshold=options.threshold)
    return arguments


def _timedelta(ns: int | None) -> np.timedelta64 | None:
    return None if ns is None else np.timedelta64(ns, "ns")


def _datetime(ns: int | None) -> np.datetime64 | None:
    return None if ns is None else np.datetime64(ns, "ns")


def to_rows(bars: klineagg.Bars) -> Rows:
    """A result as the reference's rows, in its own order."""
    names = bars.symbol_table
    lists = {}
    for name in ref.COLUMNS:
        column = bars.column(name)
        lists[name] = (column.view(np.int64) if column.dtype.kind == "M" else column).tolist()
    lists["symbol"] = [names.get(symbol, str(symbol)) for symbol in lists["symbol"]]
    lists["interval"] = [bars.intervals[position] for position in lists["interval"]]
    return [
        dict(zip(ref.COLUMNS, values, strict=True)) for values in zip(*lists.values(), strict=True)
    ]


def ordered(rows: Rows, intervals: Sequence[str]) -> Rows:
    """By interval as given, then symbol name, then open time."""
    place = {name: position for position, name in enumerate(intervals)}
    return sorted(rows, key=lambda r: (place[r["interval"]], r["symbol"], r["open_time"]))


def bits(value: object) -> object:
    """Floats by their bits, so that 0.0 differs from -0.0; every NaN is the same."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack("<d", value)
    return value


def assert_same_rows(got: Rows, expected: Rows, *, ignore: Iterable[str] = ()) -> None:
    """Fails with the first row that differs, and in which columns."""
    names = [name for name in ref.COLUMNS if name not in set(ignore)]
    for position, (mine, theirs) in enumerate(zip(got, expected, strict=False)):
        wrong = [name for name in names if bits(mine[name]) != bits(theirs[name])]
        assert not wrong, (
            f"row {position} differs in {wrong}:\n  got      {mine}\n  expected {theirs}"
        )
    more = got[len(expected) :] or expected[len(got) :]
    assert not more, (
        f"{len(got)} rows, expected {len(expected)}; the first without match: {more[0]}"
    )


def assert_same_bars(left: klineagg.Bars, right: klineagg.Bars) -> None:
    """Identical bits in every column."""
    assert left.intervals == right.intervals
    assert_same_rows(to_rows(left), to_rows(right))


def assert_in_order(bars: klineagg.Bars) -> None:
    """Rows stand by interval, symbol id and open time, each bar once."""
    keys = list(
        zip(
            bars["interval"].tolist(),
            bars["symbol"].tolist(),
            bars["open_time"].view(np.int64).tolist(),
            strict=True,
        )
    )
    assert keys == sorted(set(keys))


def run(
    trades: Sequence[ref.Trade],
    intervals: Sequence[ref.Clock | ref.Sessions],
    options: ref.Options,
    **more: Any,
) -> klineagg.Bars:
    """One call of ``klineagg.aggregate`` on all trades."""
    arguments = {**to_arguments(options), **more}
    return klineagg.aggregate(to_columns(trades), to_intervals(intervals), **arguments)


def run_in_chunks(
    trades: Sequence[ref.Trade],
    intervals: Sequence[ref.Clock | ref.Sessions],
    options: ref.Options,
    cuts: Sequence[int],
    **more: Any,
) -> tuple[list[klineagg.Bars], Any]:
    """What each ``update`` and the ``finish`` gave, and the report."""
    aggregator = klineagg.Aggregator(to_intervals(intervals), **{**to_arguments(options), **more})
    edges = [0, *sorted(cuts), len(trades)]
    parts = [
        aggregator.update(to_columns(trades[begin:end]))
        for begin, end in zip(edges, edges[1:], strict=False)
    ]
    parts.append(aggregator.finish())
    return parts, aggregator.report


def assert_matches_reference(
    trades: Sequence[ref.Trade],
    intervals: Sequence[ref.Clock | ref.Sessions],
    options: ref.Options,
    **more: Any,
) -> klineagg.Bars:
    """klineagg's rows and report against the reference's."""
    expected = ref.evaluate(trades, intervals, options)
    bars = run(trades, intervals, options, **more)
    names = [interval.name for interval in intervals]
    assert_in_order(bars)
    assert_same_rows(ordered(to_rows(bars), names), ordered(expected.rows, names))
    assert_same_report(bars.report, expected)
    return bars


def assert_same_report(report: Any, expected: ref.Result) -> None:
    """Every offered trade is counted once, where the reference counts it."""
    assert report.offered == expected.offered
    assert report.accepted == expected.accepted
    for name in ("rejected", "dropped", "outside_sessions"):
        counts = {key: count for key, count in getattr(report, name).items() if count}
        assert counts == getattr(expected, name), name
    assert report.balanced
