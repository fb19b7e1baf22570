"""Trades into bars: at once (:func:`aggregate`) or chunk by chunk (:class:`Aggregator`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from klineagg import _core, errors
from klineagg._bars_concat import only_bars
from klineagg._core_tables import PARTIAL_DTYPE, bars_of, core_columns, time_range
from klineagg._follow import follow
from klineagg._options import TIME_MAX_NS, TIME_MIN_NS, Options
from klineagg.bars import Bars
from klineagg.columns import TradeChunk, iter_chunks
from klineagg.intervals import Interval, IntervalLike, parse_intervals
from klineagg.progress import ProgressOption, check_option
from klineagg.report import Report

if TYPE_CHECKING:
    from klineagg._core import Result
    from klineagg.conditions import ConditionTable

__all__ = ["PARTIAL_DTYPE", "Aggregator", "aggregate", "merge"]

_DAY_NS: Final = 86_400 * 10**9
_YEAR_NS: Final = 366 * _DAY_NS
_QUARTER_HOUR_NS: Final = 900 * 10**9
# A wall clock's table reaches this far beyond the trades seen, so that a stream seldom needs
# a longer one.
_TABLE_AHEAD_NS: Final = 10 * _YEAR_NS


def aggregate(
    trades: Any,
    intervals: IntervalLike | Iterable[IntervalLike] | None = None,
    *,
    columns: Mapping[str, str | None] | None = None,
    unit: str | None = None,
    symbol: str | int | None = None,
    side: str | None = None,
    conditions: ConditionTable | str | None = None,
    threads: int | Literal["auto"] = 1,
    lateness: Any = None,
    late: str = "raise",
    amend_horizon: Any = None,
    gaps: str = "none",
    coverage: tuple[Any, Any] | None = None,
    include_open: bool = True,
    last_prices: Mapping[str | int, float] | None = None,
    on_bad: str = "raise",
    allow_nonpositive_prices: bool = False,
    by: str = "time",
    threshold: float | None = None,
    partials: bool = False,
    progress: ProgressOption = None,
) -> Bars:
    """Bars of all symbols and intervals in ``trades``.

    Args:
        trades: a NumPy structured array, a mapping of columns, a pandas DataFrame, anything with
            ``__arrow_c_stream__`` or ``__arrow_c_array__``, or an iterable of those. Columns:
            symbol, time, price, quantity, optionally side, trade_id (and last_trade_id), flags or
            conditions; the usual other names are understood. Columns of fitting types are read in
            place. Trades of one symbol must be in order of time, unless a lateness is given.
        intervals: ``"1m,5m,1h"``, or a sequence of texts, timedeltas and
            :class:`~klineagg.Interval`.
        columns: role -> name, for columns with other names.
        unit: ``"s"``, ``"ms"``, ``"us"`` or ``"ns"`` (default) of integer times.
        symbol: the symbol of all trades, where there is no such column: one that is there is
            refused, unless ``columns={"symbol": None}`` leaves it out.
        side: ``"taker"`` or ``"maker"``: whose side the side column tells; by default its name
            says.
        conditions: table of sale conditions, see :mod:`klineagg.conditions`.
        threads: threads to use, at most 256, or ``"auto"``: as many as the process may use; the
            result has the same bits for any number. One is used where others would not help: with
            a lateness, and for bars by activity.
        lateness: how far behind a symbol's newest trade another may come (``"5s"``, timedelta,
            ns). ``None``: time never falls within a symbol.
        late: what happens to trades behind that: ``"raise"``; ``"drop"``: in no bar, counted in
            the report; ``"amend"``: merged into their closed bars, which get a higher revision.
        amend_horizon: how old a bar may be amended (``"1h"``, timedelta, ns); ``None``: any. Trades
            behind it are counted, their bars within reach marked INCOMPLETE. Bounds the memory of
            a stream.
        gaps: ``"none"``; ``"runs"``: one row for each stretch of bars without trades (cut at UTC
            days); ``"flat"``: one row for each such bar.
        coverage: (start, end) of what the input covers, either may be ``None``. The start marks
            bars that it cuts as PARTIAL; the end closes bars and fills gaps up to it.
        include_open: hand out the bars that are not closed at the end.
        last_prices: last known price by symbol before the coverage start: seeds GENESIS bars.
        on_bad: ``"raise"`` at a row that cannot be a trade, or ``"count"`` it in the report.
        allow_nonpositive_prices: some futures trade at or below zero.
        by: ``"time"``, or ``"tick"``, ``"volume"``, ``"value"``: bars that close when the number
            of trades, the quantity or price * quantity reach ``threshold``.
        threshold: of such bars.
        partials: keep mergeable records beside the rows, for :func:`merge`.
        progress: True or False: show a bar or none; None: on long work in a terminal or notebook;
            a function is called with the rows that are done and the total.

    Returns:
        The bars, by interval, then symbol, then time; ``bars.report`` counts the trades.

    Raises:
        ColumnError, TimeUnitError: the input's shape (codes KLA-2xx).
        TradeError: ``bad_trade``, with row, column and reason.
        OrderError: ``unsorted``, ``late_trade``.
        IntervalError, OptionError: the arguments (codes KLA-1xx).
    """
    aggregator = Aggregator(
        intervals, columns=columns, unit=unit, symbol=symbol, side=side, conditions=conditions,
        threads=threads, lateness=lateness, late=late, amend_horizon=amend_horizon,
        gaps=gaps, coverage=coverage,
        include_open=include_open, last_prices=last_prices, on_bad=on_bad,
        allow_nonpositive_prices=allow_nonpositive_prices, by=by, threshold=threshold,
        partials=partials, progress=progress,
    )  # fmt: skip
    return aggregator._run(list(aggregator._chunks(trades)), finish=True)


class Aggregator:
    """Bars from a stream of chunks, in bounded memory.

    The arguments are those of :func:`aggregate`. Bars come out as they close; all of them together
    have the same bits as those of a single call, however the trades are cut into chunks. An update
    that raises has changed nothing, unless it was interrupted (Ctrl-C, or an error of the progress
    function) at its very end, with its bars made but not handed out: the aggregator then refuses
    all further work.

    >>> aggregator = Aggregator("1m")
    >>> closed = [aggregator.update(chunk) for chunk in chunks]  # doctest: +SKIP
    >>> bars = Bars.concat([*closed, aggregator.finish()])  # doctest: +SKIP
    """

    def __init__(
        self,
        intervals: IntervalLike | Iterable[IntervalLike] | None = None,
        *,
        columns: Mapping[str, str | None] | None = None,
        unit: str | None = None,
        symbol: str | int | None = None,
        side: str | None = None,
        conditions: ConditionTable | str | None = None,
        progress: ProgressOption = None,
        **options: Any,
    ) -> None:
        unknown = options.keys() - {field.name for field in fields(Options)}
        if unknown:
            raise TypeError(f"Aggregator() got an unexpected keyword argument {min(unknown)!r}")
        self._options = Options(**options)
        self._input: dict[str, Any] = {
            "columns": columns,
            "unit": unit,
            "symbol": symbol,
            "side": side,
            "conditions": conditions,
        }
        self._progress = check_option(progress)
        self._outside: dict[str, int] = {}
        self._told = Report()
        self._core: Any = None
        self._table_range = (0, 0)
        self._finished = False
        self._lost = False
        self._intervals: tuple[Interval, ...] = ()
        self._names: Sequence[Any]
        if self._options.by == "time":
            if intervals is None:
                raise errors.make("invalid_interval", "no interval is given")
            self._intervals = parse_intervals(intervals)
            self._names = self._intervals
            if not any(map(_needs_table, self._intervals)):
                self._open_core((0, 0), stream=False)
        else:
            if intervals is not None:
                text = f"intervals and by={self._options.by!r} exclude each other"
                raise errors.make("invalid_option", text, option="intervals", value=intervals)
            threshold = self._options.threshold
            assert threshold is not None  # the options have seen to it
            self._names = (f"{_shortest(threshold)} {self._options.by}",)
            self._core = _core.ActivityAggregator(
                getattr(_core.ActivityKind, self._options.by),
                threshold,
                on_bad=self._options.core_on_bad,
                allow_nonpositive_prices=self._options.allow_nonpositive_prices,
                include_open=self._options.include_open,
            )

    def update(self, trades: Any) -> Bars:
        """The bars that these trades close.

        Args:
            trades: as for :func:`aggregate`; symbols may be new, old ones go on.

        Raises:
            As :func:`aggregate`; then nothing of ``trades`` has been taken.
            OptionError: ``invalid_option`` after :meth:`finish`, and after an interrupt that came
                too late to undo the update.
        """
        return self._run(list(self._chunks(trades)), finish=False)

    def finish(self) -> Bars:
        """What is left: bars up to the end of the coverage, and the open ones. Ends the stream."""
        return self._run([], finish=True)

    @property
    def report(self) -> Report:
        """Counts of the trades so far."""
        if self._core is None:
            return Report()
        counts = self._core.report
        return Report(
            offered=counts["offered"],
            accepted=counts["accepted"],
            rejected=counts["rejected"],
            dropped={key: counts[key] for key in ("late", "beyond_horizon") if counts[key]},
            outside_sessions=self._outside,
        )

    def __enter__(self) -> Aggregator:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._finished = True

    def __repr__(self) -> str:
        names = ",".join(str(name) for name in self._names)
        state = "broken" if self._lost else "finished" if self._finished else "open"
        return f"<Aggregator {names}: {self.report.accepted:,} trades, {state}>"

    # -- inside ----------------------------------------------------------------------------------

    def _chunks(self, trades: Any) -> Iterable[TradeChunk]:
        return iter_chunks(trades, **self._input)

    def _run(self, chunks: list[TradeChunk], *, finish: bool) -> Bars:
        if self._lost:
            text = "an interrupted update has taken its trades, and their bars are lost"
            hint = "make a new aggregator and begin again with the first trade"
            raise errors.make("invalid_option", text, hint=hint)
        if self._finished:
            raise errors.make("invalid_option", "the aggregator is finished; make a new one")
        if self._core is None or self._table_range != (0, 0):
            self._cover(chunks, finish=finish)
        if self._core is None:
            return Bars.empty(self._names)
        before = self._told
        try:
            result = self._follow(chunks, finish=finish)
            for name, count in zip(self._names, result["outside"], strict=False):
                if count:
                    self._outside[str(name)] = self._outside.get(str(name), 0) + count
            # Each result counts its own trades, so that reports add up when results are put
            # together.
            self._told = self.report
            bars = bars_of(result, self._names, self._told.since(before))
        except BaseException:
            # An interrupt may come when the core is through. Going on would leave a hole that
            # nobody sees.
            self._lost = self.report != before
            raise
        self._finished = finish
        return bars

    def _follow(self, chunks: list[TradeChunk], *, finish: bool) -> Result:
        core = self._core
        result: Result = follow(
            lambda: core.run([core_columns(chunk) for chunk in chunks], finish),
            rows=2 * sum(map(len, chunks)),  # the core passes over them twice
            passed=lambda: int(core.rows_passed),
            cancel=core.cancel,
            option=self._progress,
        )
        return result

    def _open_core(self, table_range: tuple[int, int], *, stream: bool) -> None:
        self._table_range = table_range
        self._core = _core.BatchAggregator(self._in_core(stream=stream), **self._options.core)

    def _in_core(self, *, stream: bool) -> list[_core.Interval]:
        return [_as_core_interval(each, self._table_range, stream) for each in self._intervals]

    def _cover(self, chunks: list[TradeChunk], *, finish: bool) -> None:
        """Makes the tables of wall clocks reach as far as the trades do."""
        times = [ns for chunk in chunks for ns in time_range(chunk)]
        for name in ("coverage_start", "coverage_end"):
            time = int(self._options.core[name])
            if TIME_MIN_NS <= time < TIME_MAX_NS:
                times.append(time)
        if not times:
            # Nothing tells yet which years the tables have to cover; the first trade will.
            if self._core is None and finish:
                self._open_core((0, _DAY_NS), stream=False)
            return
        low, high = min(times), max(times)
        if self._core is None:
            ahead = _YEAR_NS if finish else _TABLE_AHEAD_NS
            table_range = (max(low - _YEAR_NS, TIME_MIN_NS), min(high + ahead, TIME_MAX_NS))
            self._open_core(table_range, stream=not finish)
        elif low < self._table_range[0] or high >= self._table_range[1]:
            self._table_range = (
                max(min(low - _YEAR_NS, self._table_range[0]), TIME_MIN_NS),
                min(max(high + _TABLE_AHEAD_NS, self._table_range[1]), TIME_MAX_NS),
            )
            self._core.replace_tables(self._in_core(stream=True))


def merge(*results: Bars) -> Bars:
    """One result out of several that were made apart with ``partials=True``, exactly.

    Bars of the same symbol, interval and opening are merged; the sums have the same bits as if all
    trades had been aggregated at once. Where trades have equal time and id, those of an earlier
    result come first, so pass results in the order of their trades. Merging is associative.

    Raises:
        ResultError: ``partials_needed``, ``merge_mismatch``, ``record_version``.
        ColumnError: ``unsupported_input`` for what is no :class:`Bars`, such as a list of them.
    """
    if not results:
        raise errors.make("merge_mismatch", "there is nothing to merge")
    only_bars(results, "pass them one by one: merge(first, second), merge(*parts)")
    names = results[0].intervals
    parts = []
    for bars in results:
        if bars.partials is None:
            raise errors.make("partials_needed", "a result has no partial records")
        if bars.intervals != names:
            text = f"the results have the intervals {names} and {bars.intervals}"
            raise errors.make("merge_mismatch", text, intervals=[names, bars.intervals])
        records = np.ascontiguousarray(bars.partials).view(f"V{PARTIAL_DTYPE.itemsize}")
        parts.append((bars.column("symbol"), bars.column("interval"), records))
    report = None
    for bars in results:
        if bars.report is not None:
            report = bars.report if report is None else report + bars.report
    return bars_of(_core.merge_results(parts), names, report)


def _shortest(threshold: float) -> str:
    """Of other thresholds another text, since names tell results apart."""
    text = f"{threshold:.15g}"
    return text if float(text) == threshold else repr(threshold)


def _needs_table(interval: Interval) -> bool:
    return interval.kind == "sessions" or interval.tz is not None


def _as_core_interval(
    interval: Interval, table_range: tuple[int, int], stream: bool
) -> _core.Interval:
    core = interval.to_core(*table_range)
    if not stream or interval.tz is None or core.kind == "table":
        return core
    # A wall clock that keeps its grid through this range may not do so through the next: only
    # spans that divide a quarter of an hour, the step of all clock changes, are safe for ever.
    if core.kind == "fixed" and _QUARTER_HOUR_NS % core.period == 0:
        return core
    return _core.Interval.table(interval.name, *interval.table_for(*table_range))
