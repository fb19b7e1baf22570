"""The result of an aggregation: an immutable table of bars."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from klineagg import _bars_concat, _bars_runs, errors
from klineagg._bars_columns import COLUMNS, DTYPES, Bar, BarFlag, freeze
from klineagg._bars_forms import Forms
from klineagg._bars_index import SeriesIndex, SymbolTable
from klineagg._bars_select import rows_of, series_rows
from klineagg._bars_spans import Spans, is_activity, spans_of
from klineagg._bars_time import to_ns
from klineagg._distinct import distinct

if TYPE_CHECKING:
    from klineagg.report import Report

__all__ = ["COLUMNS", "DTYPES", "Bar", "BarFlag", "Bars"]

ColumnName = Literal[
    "interval",
    "open_time",
    "close_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "trade_count",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "first_trade_id",
    "last_trade_id",
    "first_trade_time",
    "last_trade_time",
    "run_length",
    "revision",
    "flags",
    "symbol",
]


class Bars(Forms):
    """Bars of many symbols and intervals as read-only columns.

    Rows stand by interval (in the order in which the intervals were given), then symbol id, then
    open time. Every column is a NumPy array; parts of a result are views of the same memory
    wherever their rows lie side by side.

    ==========================  =========================================================
    ``bars.close``              a column; also ``bars["close"]``, ``bars.column("close")``
    ``bars["BTCUSDT", "1m"]``   one series; also by symbol id: ``bars[17, "1m"]``
    ``bars[:, "1m"]``           one interval of all symbols
    ``bars["BTCUSDT"]``         all intervals of one symbol (a copy when there are several)
    ``bars[["A", "B"], "1m"]``  several symbols; likewise several intervals
    ``bars[10:20]``             rows by position
    ``bars[bars.volume > 5]``   rows by a mask, or by an array of positions (a copy)
    ``bars[-1]``                one row as a :class:`Bar`
    ==========================  =========================================================

    A symbol that is called like a column is found with ``bars["close", :]``.

    Args:
        columns: the arrays by name, of the types in :data:`DTYPES`, in the order above. They are
            not copied, and must not change any more.
        symbols: names of symbol ids; an id without one is called by its digits.
        intervals: names of the intervals, or the intervals themselves, which know where the bars
            of time zones and sessions begin.
        series: where each series lies, when it is known: arrays ``(interval, symbol, offsets)`` of
            int16 ``(k,)``, int32 ``(k,)`` and int64 ``(k + 1,)``, see :class:`SeriesIndex`.
        report: what happened to the trades.
        partials: the mergeable record of each row, ``(n,)``.

    Raises:
        ColumnError: a column is missing or has the wrong type or length.
    """

    __slots__ = (
        "__weakref__",
        "_index",
        "_interval_objects",
        "_intervals",
        "_partials",
        "_report",
        "_table",
    )

    def __init__(
        self,
        columns: Mapping[str, NDArray[Any]],
        *,
        symbols: Mapping[int, str] | Callable[[], Mapping[int, str]],
        intervals: Sequence[Any],
        series: SeriesIndex | tuple[NDArray[Any], NDArray[Any], NDArray[Any]] | None = None,
        report: Report | None = None,
        partials: NDArray[Any] | None = None,
    ) -> None:
        self._columns = freeze(columns)
        self._table = SymbolTable(symbols)
        self._intervals = tuple(x if isinstance(x, str) else str(x.name) for x in intervals)
        self._interval_objects = tuple(None if isinstance(x, str) else x for x in intervals)
        self._index = SeriesIndex(*series) if isinstance(series, tuple) else series
        self._report = report
        if partials is not None and len(partials) != len(self):
            text = f"there are {len(partials)} partial records for {len(self)} rows"
            raise errors.make("column_length", text, column="partials")
        self._partials = partials

    @classmethod
    def empty(cls, intervals: Sequence[Any] = ()) -> Bars:
        """A result without rows, of the right types."""
        columns = {name: np.empty(0, dtype) for name, dtype in DTYPES.items()}
        return cls(columns, symbols={}, intervals=intervals)

    def _with(
        self,
        columns: dict[str, NDArray[Any]],
        index: SeriesIndex | None = None,
        partials: NDArray[Any] | None = None,
    ) -> Bars:
        """Other rows of the same symbols and intervals.

        They have no report, which counts the trades of the whole.
        """
        out = object.__new__(Bars)
        for array in columns.values():
            array.flags.writeable = False
        out._columns = columns
        out._table = self._table
        out._intervals = self._intervals
        out._interval_objects = self._interval_objects
        out._index = index
        out._report = None
        out._partials = partials
        return out

    # -- what it holds ---------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._columns["symbol"])

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, in their order."""
        return COLUMNS

    @property
    def intervals(self) -> tuple[str, ...]:
        """Names of the intervals; the ``interval`` column counts in this."""
        return self._intervals

    @property
    def symbols(self) -> tuple[str, ...]:
        """Names of the symbols that have rows here, in the order of their ids."""
        return tuple(self._present_symbols()[1])

    @property
    def symbol_table(self) -> Mapping[int, str]:
        """Names by symbol id; ids without one are called by their digits."""
        return self._table.mapping

    @property
    def report(self) -> Report | None:
        """What happened to the trades; None for a part of a result."""
        return self._report

    @property
    def partials(self) -> NDArray[Any] | None:
        """The mergeable record of each row, ``(n,)``; None unless ``partials=True`` was asked."""
        return self._partials

    @property
    def _series_index(self) -> SeriesIndex:
        if self._index is None:
            self._index = SeriesIndex.of(self.interval, self.symbol)
        return self._index

    def _present_symbols(self) -> tuple[list[int], list[str]]:
        """Ids with rows here, rising, and their names."""
        ids = distinct(self._series_index.symbol)
        return ids.tolist(), self._table.names(ids)

    def _present_intervals(self) -> list[str]:
        return [self._intervals[k] for k in distinct(self._series_index.interval).tolist()]

    def _row_symbols(self) -> list[str]:
        """The name of the symbol of each row."""
        return self._table.names(self.symbol)

    # -- parts -----------------------------------------------------------------------------------

    def column(self, name: str) -> NDArray[Any]:
        """A column by its name, read-only ``(n,)``.

        Raises:
            ColumnError: ``missing_column``.
        """
        if name not in self._columns:
            text = f"bars have no column {name!r}"
            hint = f"there are {', '.join(COLUMNS)}"
            raise errors.make("missing_column", text, hint=hint, column=name)
        return self._columns[name]

    @overload
    def __getitem__(self, key: ColumnName) -> NDArray[Any]: ...  # type: ignore[overload-overlap]
    @overload
    def __getitem__(self, key: int | np.integer[Any]) -> Bar: ...
    @overload
    def __getitem__(
        self,
        key: str | slice | NDArray[Any] | Sequence[Any] | tuple[Any, Any],
    ) -> Bars: ...
    def __getitem__(self, key: Any) -> Bars | Bar | NDArray[Any]:
        if isinstance(key, str) and key in self._columns:
            return self._columns[key]
        if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
            return self._row(int(key))
        return self._take(*rows_of(self, key))

    def _take(self, rows: slice | NDArray[Any], index: SeriesIndex | None = None) -> Bars:
        columns = {name: column[rows] for name, column in self._columns.items()}
        partials = None if self._partials is None else self._partials[rows]
        return self._with(columns, index, partials)

    def _row(self, position: int) -> Bar:
        if not -len(self) <= position < len(self):
            # The built-in one, by which Python also knows where a loop ends.
            raise IndexError(f"row {position} of {len(self)}")
        return next(iter(self[position : position + 1 or None]))

    def __iter__(self) -> Iterator[Bar]:
        """Row by row; convenient and slow: prefer columns."""
        rest = [self._columns[name] for name in COLUMNS[2:-1]]
        numbers = [c if c.dtype.kind == "M" else c.tolist() for c in rest]
        flags = (BarFlag(value) for value in self.flags.tolist())
        spans = (self._intervals[k] for k in self.interval.tolist())
        rows = zip(self._row_symbols(), spans, *numbers, flags, strict=True)
        return (Bar(*row) for row in rows)

    def series(self) -> Iterator[tuple[str, str, Bars]]:
        """Each series: names of its symbol and interval, and its rows."""
        index = self._series_index
        # A series is one stretch of rows, unless an array of positions has mixed them.
        keys, first, which = np.unique(index.keys, return_index=True, return_inverse=True)
        order = np.argsort(which, kind="stable")
        ends = np.cumsum(np.bincount(which, minlength=len(keys)))
        for k in np.argsort(first).tolist():
            begin = int(ends[k - 1]) if k else 0
            rows, one = series_rows(index, order[begin : int(ends[k])])
            at = int(first[k])
            name = self._table.name(int(index.symbol[at]))
            yield name, self._intervals[int(index.interval[at])], self._take(rows, one)

    def between(self, start: Any = None, end: Any = None) -> Bars:
        """The bars that open in ``[start, end)``.

        Args:
            start: ISO 8601 text, ``datetime`` (UTC when it has no zone), ``datetime64``, or int
                nanoseconds since the epoch; None: from the first.
            end: likewise; None: to the last.

        Returns:
            Rows over the same memory when they lie side by side. A run of gap bars that reaches
            across ``start`` or ``end`` is cut there.

        Raises:
            OptionError: ``invalid_option`` for what is not a time.
        """
        limits = np.iinfo(np.int64)
        begin_ns = limits.min + 1 if start is None else to_ns(start, "start")
        end_ns = limits.max if end is None else to_ns(end, "end")
        found = _bars_runs.between(self._columns, begin_ns, end_ns, self._spans())
        if isinstance(found, _bars_runs.Pieces):
            return self._with(found.take_from(self._columns))
        if len(found) and found[-1] - found[0] == len(found) - 1:
            return self[int(found[0]) : int(found[-1]) + 1]
        return self[found] if len(found) else self[:0]

    # -- runs and revisions ----------------------------------------------------------------------

    def _spans(self, intervals: Iterable[Any] = ()) -> _bars_runs.SpansOf:
        given = {str(interval.name): interval for interval in intervals}

        def of(position: int, begin_ns: int, end_ns: int) -> Spans:
            name = self._intervals[position]
            interval = given.get(name, self._interval_objects[position])
            return spans_of(name, interval, begin_ns, end_ns)

        return of

    def expand_gaps(self, *, intervals: Iterable[Any] = ()) -> Bars:
        """Each run of gap bars as its single bars; everything else stays.

        Args:
            intervals: the intervals themselves, needed for those bound to a time zone or to
                sessions when the bars came from a file, which has only their names.

        Returns:
            Bars with ``run_length`` 1 in every row; these bars when there is nothing to expand.

        Raises:
            IntervalError: ``invalid_interval`` when the boundaries of an interval are not known.
        """
        if not np.any(self.run_length > 1):
            return self
        pieces = _bars_runs.expand(self._columns, self._spans(intervals))
        return self._with(pieces.take_from(self._columns))

    def resolve(self, *, intervals: Iterable[Any] = ()) -> Bars:
        """Only the newest of what was emitted for each time.

        A row replaces what rows of a lower revision say about the time it covers; among equal
        revisions a closed bar replaces an open one, and a later row an earlier one. Runs of gap
        bars are cut where a part of them was replaced.

        Tick, volume and value bars have no revisions and all stay.

        Args:
            intervals: as in :meth:`expand_gaps`.

        Returns:
            Bars without overlaps, in order; these bars when they are that already.

        Raises:
            ResultError: ``merge_mismatch`` when rows overlap that are not revisions of one another.
        """
        ordered = self._in_order()
        timeless = [k for k, name in enumerate(self._intervals) if is_activity(name)]
        pieces = _bars_runs.newest(ordered._columns, ordered._spans(intervals), timeless)
        return ordered if pieces is None else ordered._with(pieces.take_from(ordered._columns))

    latest = resolve

    def _in_order(self) -> Bars:
        rows = _bars_concat.sorted_rows(self.interval, self.symbol, self.open_time)
        return self if rows is None else self[rows]

    @staticmethod
    def concat(parts: Iterable[Bars]) -> Bars:
        """Several results as one, sorted like any result.

        Symbols and intervals are matched by their names; intervals stand in the order of the first
        part that has them. Rows of the same bar are all kept, in the order of the parts: see
        :meth:`resolve`. Reports are added up.

        Returns:
            New columns; the part itself when there is only one, in order.

        Raises:
            ColumnError: ``unsupported_input`` for what is no :class:`Bars`.
        """
        parts = list(parts)
        _bars_concat.only_bars(parts, "pass a list: Bars.concat([first, second])")
        if len(parts) == 1 and parts[0]._in_order() is parts[0]:
            return parts[0]
        columns, symbols, intervals, rows = _bars_concat.concat_columns(parts)
        reports = [part.report for part in parts if part.report is not None]
        records = [part.partials for part in parts]
        partials: NDArray[Any] | None = None
        if records and all(record is not None for record in records):
            partials = np.concatenate(records)  # type: ignore[arg-type]
            partials = partials if rows is None else partials[rows]
        return Bars(
            columns,
            symbols=symbols,
            intervals=[name if known is None else known for name, known in intervals.items()],
            report=sum(reports[1:], reports[0]) if reports else None,
            partials=partials,
        )

    def equals(self, other: object) -> bool:
        """True when both have the same rows with the same bits and names.

        Positions of intervals and ids of symbols may differ when the names are the same.
        """
        if not isinstance(other, Bars):
            return False
        mine, theirs = self._series_index, other._series_index
        if len(self) != len(other) or not np.array_equal(mine.offsets, theirs.offsets):
            return False
        if self._table.names(mine.symbol) != other._table.names(theirs.symbol):
            return False
        spans = zip(mine.interval.tolist(), theirs.interval.tolist(), strict=True)
        if any(self._intervals[a] != other._intervals[b] for a, b in spans):
            return False
        for name in COLUMNS[2:]:
            a, b = self._columns[name], other._columns[name]
            # As bits: NaN equals itself, and 0.0 is not -0.0.
            bits = f"u{a.dtype.itemsize}"
            if not np.array_equal(a.view(bits), b.view(bits)):
                return False
        return True

    def __reduce__(self) -> tuple[Any, ...]:
        ids, names = self._present_symbols()
        symbols = {k: name for k, name in zip(ids, names, strict=True) if name != str(k)}
        pairs = zip(self._intervals, self._interval_objects, strict=True)
        intervals = [name if interval is None else interval for name, interval in pairs]
        return _restored, (dict(self._columns), symbols, intervals, self._report, self._partials)


def _restored(
    columns: dict[str, NDArray[Any]],
    symbols: dict[int, str],
    intervals: list[Any],
    report: Report | None,
    partials: NDArray[Any] | None,
) -> Bars:
    """Bars from a pickle, with the ids that their symbols have in this process."""
    from klineagg.symbols import intern, symbol_names

    bars = Bars(columns, symbols=symbols, intervals=intervals, report=report, partials=partials)
    if not symbols or symbol_names(list(symbols)) == list(symbols.values()):
        return bars
    new_ids = dict(zip(symbols, intern(list(symbols.values())).tolist(), strict=True))
    columns, rows = _bars_concat.with_symbols(bars, new_ids)
    symbols = {new_ids[old]: name for old, name in symbols.items()}
    if partials is not None and rows is not None:
        partials = partials[rows]
    return Bars(columns, symbols=symbols, intervals=intervals, report=report, partials=partials)
