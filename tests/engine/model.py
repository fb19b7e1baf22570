"""An engine of klineagg beside the reference's, and what differs between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
import pytest

import klineagg
import reference as ref
from klineagg.engine import Engine, Producer, Snapshot
from klineagg.errors import SnapshotError
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
FLAGS = tuple(ref.COLUMNS).index("flags")
COUNT = tuple(ref.COLUMNS).index("trade_count")


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
    return {_key(row): _content(row) for row in rows}


def single_bars(bars: klineagg.Bars) -> Rows:
    return to_rows(bars.resolve().expand_gaps())


def of_intervals(rows: Rows, names: Sequence[str]) -> Rows:
    return [row for row in rows if row["interval"] in names]


def of_others(rows: Rows, names: Sequence[str]) -> Rows:
    return [row for row in rows if row["interval"] not in names]


class Consumer:
    """What a consumer knows by what it has acknowledged."""

    def __init__(self, name: str, model: Model) -> None:
        self.name = name
        self.model = model
        self.closed: dict[Key, tuple[object, ...]] = {}
        self.open: dict[Key, tuple[object, ...]] = {}
        # Of intervals that came later: the newest revision of each bar that was ever handed out.
        self.extra: dict[Key, tuple[object, ...]] = {}

    def check(self, snapshot: Snapshot) -> None:
        """The snapshot has exactly the closed bars that are new or changed since the last ack."""
        names = [interval.name for interval in self.model.intervals]
        news = [row for row in self.model.closed() if self.closed.get(_key(row)) != _content(row)]
        rows = single_bars(snapshot.closed)
        self.extra |= by_key(of_others(rows, names))
        assert_same_rows(ordered(of_intervals(rows, names), names), ordered(news, names))
        # Of symbols where something changed there is every open bar, of others none.
        rows = of_intervals(single_bars(snapshot.open), names)
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
    return tuple(bits(row[name]) for name in ref.COLUMNS)


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
        self.parts = {"intervals": intervals, "options": options, **more}
        self.model = Model(intervals, options)
        if clock_start is not None:
            self.model.advance(clock_start)
        self.added: dict[str, dict[str, int]] = {}  # by symbol: the newest time there was
        self.long: dict[str, int] = {}  # by symbol: where the open bar of a base before ends
        self.names = [interval.name for interval in intervals]
        self.sources = producers
        self.built = 0  # bars of added intervals that were open when these came, and are whole
        self.before: Counter[str] = Counter()  # what engines before this one counted
        self.make(klineagg.SimulatedClock(clock_start), {})
        self.consumers = [Consumer(name, self.model) for name in consumers]

    def make(self, clock: klineagg.SimulatedClock, others: dict[str, Any]) -> None:
        self.engine = engine_of(**{**self.parts, **others}, clock=clock)
        self.producers: list[Producer] = [
            self.engine.producer(source=number) for number in range(self.sources)
        ]

    def __enter__(self) -> Pair:
        # Two consumers from the beginning: what comes later has lost what was trimmed.
        self.engine.start()
        self.take_all()
        return self

    def take_all(self) -> None:
        """All know of the rows before the first one acknowledges them."""
        taken = [(consumer, self.engine.take(consumer.name)) for consumer in self.consumers]
        for consumer, snapshot in taken:
            consumer.check(snapshot)
            snapshot.ack()
            consumer.acknowledged()

    def __exit__(self, *error: object) -> None:
        self.engine.stop()

    def push(self, trades: Sequence[ref.Trade], through: int | None = None) -> None:
        """Each symbol has its own producer, so that nothing depends on who is quicker.

        Or all come through one, when what was pushed before is applied.
        """
        count = len(self.producers)
        sources = [ord(trade.symbol) % count if through is None else through for trade in trades]
        if through is not None:
            self.engine.flush()
        for number, producer in enumerate(self.producers):
            mine = [
                trade for trade, source in zip(trades, sources, strict=True) if source == number
            ]
            producer.push(to_columns(mine))
        if through is not None:
            self.engine.flush()
        for trade, source in zip(trades, sources, strict=True):
            self.model.push(trade, source)

    def advance(self, time: int) -> None:
        self.engine.advance(np.datetime64(time, "ns"))
        self.model.advance(time)

    def take(self, consumer: Consumer, ending: str) -> None:
        lease = 0 if ending == "expired" else None
        snapshot = self.engine.take(consumer.name, lease=lease)
        consumer.check(snapshot)
        if ending == "ack":
            snapshot.ack()
            consumer.acknowledged()
        elif ending == "nack":
            snapshot.nack()
        elif ending == "expired":
            with pytest.raises(SnapshotError):
                snapshot.ack()

    def check_view(self) -> None:
        rows = of_intervals(to_rows(self.engine.view().open.expand_gaps()), self.names)
        assert_same_rows(ordered(rows, self.names), ordered(self.model.open(), self.names))

    def add(self, name: str) -> None:
        """An interval beside those of the beginning: it has what comes from now on."""
        if name in self.engine.intervals:
            return
        report = self.engine.reconfigure(add=name)
        assert report.added == (name,)
        self.added[name] = {}
        for symbol, admission in self.model.symbols.items():
            # A bar that opens with the newest trade had begun, with others of the same time maybe.
            newest = None if admission.newest is None else admission.newest + 1
            if report.has_new_base and self.model.options.lateness and admission.newest is not None:
                # Behind the newest bar of the base before it, which is no longer than any other.
                spans = [each.span(admission.newest) for each in self.model.intervals]
                self.long[symbol] = min((span[1] for span in spans if span), default=0)
            # That bar takes its trades whatever comes and goes meanwhile.
            times = [newest, self.model.watermark(admission), self.long.get(symbol)]
            known = [time for time in times if time is not None]
            if known:
                self.added[name][symbol] = max(known)

    def change_horizon(self, horizon: int | None) -> None:
        self.engine.reconfigure(amend_horizon=horizon)
        self.model.change_horizon(horizon)
        self.parts["options"] = self.model.options

    def remove(self, name: str) -> None:
        assert self.engine.reconfigure(remove=name).removed == (name,)
        del self.added[name]

    def check_added(self, consumer: Consumer) -> None:
        """What began after an interval came is as if it had always been there.

        So is the bar that was open then, made of finer ones that are held, unless it is PARTIAL.
        """
        for name, since in self.added.items():
            alone = copy(self.model)
            alone.intervals = [ref.parse(name)]
            whole = {
                key: content
                for key, content in by_key(alone.closed()).items()
                if not int(str(content[FLAGS])) & ref.GAP
            }
            expected = {
                key: content
                for key, content in whole.items()
                if key[2] >= since.get(key[1], key[2])
            }
            assert expected.items() <= consumer.extra.items(), name
            for key, content in whole.items():
                told = consumer.extra.get(key)
                if key in expected or told is None or key[0] != name:
                    continue
                if int(str(told[FLAGS])) & ref.PARTIAL:
                    assert told[COUNT] <= content[COUNT], name  # type: ignore[operator]
                else:
                    self.built += 1
                    assert told == content, name

    def restart(self, workers: int) -> None:
        """Another engine goes on from a checkpoint of this one; what was closed is acknowledged."""
        for consumer in self.consumers:
            snapshot = self.engine.take(consumer.name, checkpoint=True)
            consumer.check(snapshot)
            snapshot.ack()
            consumer.acknowledged()
        checkpoint = snapshot.checkpoint
        assert checkpoint is not None
        assert checkpoint == self.engine.checkpoint()
        self.check_counts()
        self.before = self.counts()
        self.engine.stop()
        self.make(klineagg.SimulatedClock(self.model.clock), {"workers": workers})
        self.engine.restore(checkpoint)
        self.added.clear()
        self.engine.start()
        self.take_all()
        self.check_view()

    def counts(self) -> Counter[str]:
        """The counts of all engines so far, by fate and reason."""
        counts = self.engine.counts()
        assert counts.in_flight == 0
        told = Counter({"accepted": counts.accepted, **counts.rejected, **counts.dropped})
        assert counts.offered == told.total()
        return self.before + told

    def check_counts(self) -> None:
        told = Counter({"accepted": self.model.accepted})
        assert self.counts() == +(told + self.model.rejected + self.model.dropped)
