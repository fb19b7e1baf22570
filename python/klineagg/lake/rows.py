"""Bars as rows of the lake's tables, and back, without losing a bit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from klineagg import _bars_runs
from klineagg._bars_columns import COLUMNS
from klineagg._bars_export import METADATA_KEY, SCHEMA_VERSION, symbol_codes
from klineagg._bars_extras import require
from klineagg._bars_spans import FixedSpans, Spans, TableSpans, fixed_period_ns, spans_of
from klineagg._distinct import distinct
from klineagg.bars import Bars

if TYPE_CHECKING:
    from klineagg._bars_runs import SpansOf

__all__ = ["Boundaries", "bars_of", "cut_at_days", "table_of", "units_of"]

_DAY_NS: Final = 86_400_000_000_000
# Files of coarse bars span more time, so that a year of daily bars is not 365 files.
_MONTH_FROM_NS: Final = 4 * 3_600_000_000_000
_YEAR_FROM_NS: Final = 20 * 3_600_000_000_000


class Boundaries:
    """Where the bars of intervals begin and end, for cutting and expanding runs.

    Args:
        intervals: names, in the order of the ``interval`` column.
        objects: the intervals themselves where they are known (sessions cannot do without).
        members: for each name the spans seen in rows of the lake: int64 opens and closes.
    """

    def __init__(
        self,
        intervals: Sequence[str],
        objects: Sequence[Any] = (),
        members: Mapping[str, tuple[NDArray[np.int64], NDArray[np.int64]]] | None = None,
    ) -> None:
        self._intervals = intervals
        known = zip(intervals, objects, strict=False)
        self._objects = {name: item for name, item in known if item is not None}
        self._members = dict(members or {})

    def of(self, position: int, begin_ns: int, end_ns: int) -> Spans:
        """The spans of an interval from one time to another."""
        name = self._intervals[position]
        interval = self._objects.get(name)
        if name not in self._members:
            return spans_of(name, interval, begin_ns, end_ns)
        opens, closes = self._members[name]
        if interval is not None:
            more = interval.table_for(begin_ns, end_ns)
            opens, closes = np.concatenate([opens, more[0]]), np.concatenate([closes, more[1]])
        opens, first = np.unique(opens, return_index=True)
        return TableSpans(name, opens, closes[first])


def units_of(bars: Bars) -> dict[str, str]:
    """For each interval of ``bars`` with rows the time that one file of it spans."""
    out = {}
    for position in distinct(bars.interval).tolist():
        name, item = bars.intervals[position], bars._interval_objects[position]
        length = fixed_period_ns(name)
        if length is None:
            rows = bars.interval == position
            spans = (bars.close_time[rows] - bars.open_time[rows]).view(np.int64)
            length = int(np.median(spans // bars.run_length[rows]))
            period = getattr(item, "period", None)
            if period is not None and np.datetime_data(period.dtype)[0] == "M":
                length = 28 * _DAY_NS
        out[name] = "day" if length < _MONTH_FROM_NS else "month"
        out[name] = "year" if length >= _YEAR_FROM_NS else out[name]
    return out


def parts_of(open_time: NDArray[np.datetime64], unit: str) -> NDArray[np.datetime64]:
    """The first day of the time that a file spans."""
    letter = {"day": "D", "month": "M", "year": "Y"}[unit]
    cut: Any = open_time.astype(f"datetime64[{letter}]")
    days: NDArray[np.datetime64] = cut.astype("datetime64[D]")
    return days


def cut_at_days(bars: Bars, spans: SpansOf) -> Bars:
    """Runs whose bars open on several days of UTC as one run for each day."""
    opens, closes = bars.open_time.view(np.int64), bars.close_time.view(np.int64)
    long = (bars.run_length > 1) & (closes > (opens // _DAY_NS + 1) * _DAY_NS)
    if not np.any(long):
        return bars
    rows = np.arange(len(bars))
    days = np.where(long, (closes - 1) // _DAY_NS - opens // _DAY_NS + 1, 1)
    rows = np.repeat(rows, days)
    nth = np.arange(len(rows)) - np.repeat(np.cumsum(days) - days, days)
    limits = np.iinfo(np.int64)
    begin = (opens[rows] // _DAY_NS + nth) * _DAY_NS
    begin = np.where(nth == 0, limits.min + 1, begin)
    end = np.where(nth == days[rows] - 1, limits.max, (opens[rows] // _DAY_NS + nth + 1) * _DAY_NS)
    pieces = _bars_runs._cut(bars._columns, rows, begin, end, spans)
    return bars._with(pieces.take_from(bars._columns))


def table_of(bars: Bars, spans: SpansOf, units: Mapping[str, str] | None) -> Any:
    """A pyarrow Table with the columns of ``closed`` (of ``open_log`` without ``units``)."""
    pa = require("pyarrow", "lake", "a lake")
    codes, symbols = symbol_codes(bars)
    names: dict[str, Any] = {
        "symbol": (codes, symbols),
        "interval": (bars.interval, list(bars.intervals)),
    }
    out: dict[str, Any] = {
        name: pa.DictionaryArray.from_arrays(
            pa.array(code.astype(np.int32)), pa.array(texts, pa.string())
        )
        for name, (code, texts) in names.items()
    }
    for name in COLUMNS[2:]:
        column = bars.column(name)
        if column.dtype.kind == "M":
            missing = np.isnat(column)
            mask = missing if missing.any() else None
            out[name] = pa.array(column.view(np.int64), pa.int64(), mask=mask)
            out[name] = out[name].cast(pa.timestamp("ns"))
        else:
            out[name] = pa.array(np.ascontiguousarray(column))
    if units is not None:
        out["date"] = pa.array(bars.open_time.astype("datetime64[D]"))
        part = np.empty(len(bars), "datetime64[D]")
        for position, name in enumerate(bars.intervals):
            rows = bars.interval == position
            if rows.any():
                part[rows] = parts_of(bars.open_time[rows], units[name])
        out["part"] = pa.array(part)
        out["member_opens"], out["member_closes"] = _members(pa, bars, spans)
    return pa.table(out)


def _members(pa: Any, bars: Bars, spans: SpansOf) -> tuple[Any, Any]:
    """Opens and closes of the bars of runs that are no equal parts; null in all other rows."""
    kind = pa.list_(pa.timestamp("ns"))
    listed = np.zeros(len(bars), np.bool_)
    runs = bars.run_length > 1
    for position in distinct(bars.interval[runs]).tolist():
        rows = runs & (bars.interval == position)
        begin, end = bars.open_time[rows].view(np.int64), bars.close_time[rows].view(np.int64)
        if not isinstance(spans(position, int(begin.min()), int(end.max())), FixedSpans):
            listed |= rows
    if not listed.any():
        nulls = pa.nulls(len(bars), kind)
        return nulls, nulls
    part = bars[np.flatnonzero(listed)]
    pieces = _bars_runs.expand(part._columns, spans)
    offsets = np.zeros(len(bars) + 1, np.int32)
    offsets[1:] = np.cumsum(np.where(listed, bars.run_length, 0))
    mask = pa.array(~listed)
    opens, closes = (
        pa.ListArray.from_arrays(
            pa.array(offsets), pa.array(values).cast(pa.timestamp("ns")), mask=mask
        )
        for values in (pieces.opens, pieces.closes)
    )
    return opens, closes


def members_of(table: Any) -> dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The spans that the runs in rows of the lake are made of, by the name of their interval."""
    if "member_opens" not in table.column_names:
        return {}
    if table.column("member_opens").null_count == len(table):
        return {}
    pa = require("pyarrow", "lake", "a lake")
    compute = require("pyarrow.compute", "lake", "a lake")
    listed = table.filter(compute.is_valid(table.column("member_opens")))
    out = {}
    for name in compute.unique(listed.column("interval")).to_pylist():
        rows = listed.filter(compute.equal(listed.column("interval"), name)).combine_chunks()
        opens, closes = (
            compute.list_flatten(rows.column(column)).cast(pa.int64()).to_numpy()
            for column in ("member_opens", "member_closes")
        )
        out[str(name)] = (opens, closes)
    return out


def bars_of(table: Any, intervals: Sequence[str]) -> Bars:
    """Bars from rows of the lake.

    Args:
        table: a pyarrow Table with the columns of bars.
        intervals: the names that the result has, in its order.
    """
    facts = {"schema_version": SCHEMA_VERSION, "intervals": list(intervals), "symbols": "names"}
    return Bars.from_arrow(table.replace_schema_metadata({METADATA_KEY: json.dumps(facts)}))
