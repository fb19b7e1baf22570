"""An engine of klineagg beside the reference's, and what differs between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import klineagg
import reference as ref
from klineagg.engine import Engine, Producer, Snapshot
from property.harness import (
    Rows,
    assert_same_rows,
    bits,
    ordered,
    to_columns,
    to_intervals,
    to_rows,
)
from reference.engine import Engine as Model

Key = tuple[str, str, int]


def engine_of(
    intervals: Sequence[ref.Clock | ref.Sessions], options: ref.Options, **more: Any
) -> Engine:
    """An engine with the options of the reference and a clock that has not begun."""
    start = options.coverage[0]
    arguments: dict[str, Any] = {
        "clock": klineagg.SimulatedClock(),
        "lateness": np.timedelta64(options.lateness or 0, "ns"),
        "late": options.late,
        "amend_horizon": options.amend_horizon,
        "gaps": options.gaps,
        "coverage_start": None if start is None else np.datetime64(start, "ns"),
        "last_prices": dict(options.last_prices) or None,
        "allow_nonpositive_prices": options.allow_nonpositive_prices,
        "max_ahead": None,
        "lease": "366d",
    }
    return Engine(to_intervals(intervals) or [], **{**arguments, **more})


def by_key(rows: Rows) -> dict[Key, tuple[object, ...]]:
    return {
        (row["interval"], row["symbol"], row["open_time"]): tuple(map(bits, row.values()))
        for row in rows
    }


def single_bars(bars: klineagg.Bars) -> Rows:
    return to_rows(bars.resolve().expand_gaps())


class Consumer:
    """What a consumer knows by what it has acknowledged."""

    def __init__(self, name: str, model: Model) -> None:
        self.name = name
        self.model = model
        self.closed: dict[Key, tuple[object, ...]] = {}
        self.open: dict[Key, tuple[object, ...]] = {}

    def check(self, snapshot: Snapshot) -> None:
        """The snapshot has exactly the closed bars that are new or changed since the last ack."""
        names = [interval.name for interval in self.model.intervals]
        news = [row for row in self.model.closed() if self.closed.get(_key(row)) != _content(row)]
        assert_same_rows(ordered(single_bars(snapshot.closed), names), ordered(news, names))
        # Of symbols where something changed there is every open bar, of others none.
        rows = single_bars(snapshot.open)
        there = {row["symbol"] for row in rows}
        now = self.model.open()
        expected = [row for row in now if row["symbol"] in there]
        assert_same_rows(ordered(rows, names), ordered(expected, names))
        changed = {key[1] for key, content in by_key(now).items() if self.open.get(key) != content}
        assert changed <= there, f"the open bars of {changed - there} changed"
        assert snapshot.rows_lost == 0

    def acknowledged(self) -> None:
        self.closed = by_key(self.model.closed())
        self.open = by_key(self.model.open())


def _key(row: ref.Row) -> Key:
    return row["interval"], row["symbol"], row["open_time"]


def _content(row: ref.Row) -> tuple[object, ...]:
    return tuple(map(bits, row.values()))


class Pair:
    """The engine and the model; every step is done by both."""

    def __init__(
        self,
        intervals: Sequence[ref.Clock | ref.Sessions],
        options: ref.Options,
        *,
        producers: int = 1,
        consumers: Sequence[str] = ("lake", "bus"),
        clock_start: int | None = None,
        **more: Any,
    ) -> None:
        # Ids rise in the order of interning; rows stand by id and are compared by name.
        klineagg.intern(["A", "B", "C", "D"])
        clock = klineagg.SimulatedClock(clock_start)
        self.engine = engine_of(intervals, options, clock=clock, **more)
        self.model = Model(intervals, options)
        if clock_start is not None:
            self.model.advance(clock_start)
        self.names = [interval.name for interval in intervals]
        self.producers: list[Producer] = [self.engine.producer() for _ in range(producers)]
        self.consumers = [Consumer(name, self.model) for name in consumers]

    def __enter__(self) -> Pair:
        # Two consumers from the beginning: what comes later has lost what was trimmed.
        self.engine.start()
        for consumer in self.consumers:
            self.take(consumer, "ack")
        return self

    def __exit__(self, *error: object) -> None:
        self.engine.stop()

    def push(self, trades: Sequence[ref.Trade]) -> None:
        """Each symbol has its own producer, so that nothing depends on who is quicker."""
        count = len(self.producers)
        for number, producer in enumerate(self.producers):
            mine = [trade for trade in trades if ord(trade.symbol) % count == number]
            producer.push(to_columns(mine))
        for trade in trades:
            self.model.push(trade)

    def advance(self, time: int) -> None:
        self.engine.advance(np.datetime64(time, "ns"))
        self.model.advance(time)

    def take(self, consumer: Consumer, ending: str) -> None:
        snapshot = self.engine.take(consumer.name)
        consumer.check(snapshot)
        if ending == "ack":
            snapshot.ack()
            consumer.acknowledged()
        elif ending == "nack":
            snapshot.nack()

    def check_view(self) -> None:
        rows = to_rows(self.engine.view().open.expand_gaps())
        assert_same_rows(ordered(rows, self.names), ordered(self.model.open(), self.names))

    def check_counts(self) -> None:
        counts = self.engine.counts()
        assert counts.in_flight == 0
        assert counts.accepted == self.model.accepted
        assert dict(counts.rejected) == dict(self.model.rejected)
        assert dict(counts.dropped) == dict(self.model.dropped)
        assert counts.offered == (
            counts.accepted + sum(counts.rejected.values()) + sum(counts.dropped.values())
        )
