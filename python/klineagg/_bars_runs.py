"""Work on the coverage of rows: expanding runs, cutting them at times, and newest revisions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from klineagg import errors
from klineagg._bars_columns import BarFlag
from klineagg._bars_index import ranges, series_keys
from klineagg._bars_spans import Spans
from klineagg._distinct import distinct, is_among

__all__ = ["Pieces", "between", "expand", "newest"]

Columns = Mapping[str, NDArray[Any]]
# The spans of an interval (by its index) from one time to another, in nanoseconds.
SpansOf = Callable[[int, int, int], Spans]


class Pieces(NamedTuple):
    """Rows of a result, some with another coverage.

    ``rows`` are positions in the source, int64 ``(k,)``; ``opens`` and ``closes`` int64 nanoseconds
    and ``counts`` int64 bars are the new coverage of each.
    """

    rows: NDArray[np.int64]
    opens: NDArray[np.int64]
    closes: NDArray[np.int64]
    counts: NDArray[np.int64]

    def take_from(self, columns: Columns) -> dict[str, NDArray[Any]]:
        """The columns of the pieces; each column is a new array."""
        out = {name: column[self.rows] for name, column in columns.items()}
        out["open_time"] = self.opens.view("datetime64[ns]")
        out["close_time"] = self.closes.view("datetime64[ns]")
        out["run_length"] = self.counts.astype(np.int32)
        return out


def _coverage(columns: Columns) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    opens = columns["open_time"].view(np.int64)
    closes = columns["close_time"].view(np.int64)
    return opens, closes, columns["run_length"].astype(np.int64)


def expand(columns: Columns, spans: SpansOf) -> Pieces:
    """Each run as the bars that it stands for."""
    opens, closes, counts = _coverage(columns)
    rows = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    new_opens, new_closes = opens[rows], closes[rows]
    interval, runs = columns["interval"], counts > 1
    for k in distinct(interval[runs]).tolist():
        chosen = runs & (interval == k)
        target = chosen[rows]
        runs_of = opens[chosen], closes[chosen], counts[chosen]
        boundaries = spans(k, int(runs_of[0].min()), int(runs_of[1].max()))
        new_opens[target], new_closes[target] = boundaries.split(*runs_of)
    return Pieces(rows, new_opens, new_closes, np.ones(len(rows), np.int64))


def _cut(
    columns: Columns,
    rows: NDArray[np.int64],
    begin: NDArray[np.int64],
    end: NDArray[np.int64],
    spans: SpansOf,
) -> Pieces:
    """What of each row opens in its own ``[begin, end)``; rows without such bars are left out."""
    opens, closes, counts = (array[rows] for array in _coverage(columns))
    inside = (opens >= begin) & (opens < end)
    whole = inside & (closes <= end)
    interval = columns["interval"][rows]
    crossing = (counts > 1) & ~whole
    counts[(counts == 1) & ~inside] = 0
    for k in distinct(interval[crossing]).tolist():
        chosen = np.flatnonzero(crossing & (interval == k))
        runs_of = opens[chosen], closes[chosen], counts[chosen]
        boundaries = spans(k, int(runs_of[0].min()), int(runs_of[1].max()))
        opens[chosen], closes[chosen], counts[chosen] = boundaries.cut(
            *runs_of, begin[chosen], end[chosen]
        )
    kept = counts > 0
    return Pieces(rows[kept], opens[kept], closes[kept], counts[kept])


def between(columns: Columns, begin: int, end: int, spans: SpansOf) -> Pieces | NDArray[np.int64]:
    """The bars that open in ``[begin, end)``: positions, or pieces when a run had to be cut."""
    opens, closes, counts = _coverage(columns)
    inside = (opens >= begin) & (opens < end)
    crosses = ((opens < begin) & (closes > begin)) | (inside & (closes > end))
    if not np.any(crosses & (counts > 1)):
        return np.flatnonzero(inside)
    rows = np.flatnonzero(inside | (crosses & (counts > 1)))
    return _cut(columns, rows, np.full(len(rows), begin), np.full(len(rows), end), spans)


def newest(columns: Columns, spans: SpansOf, timeless: Sequence[int]) -> Pieces | None:
    """The coverage of each series by the newest rows; None when no two rows overlap.

    The rows have to stand in the order of a result. Where rows overlap, the highest revision wins,
    then a closed bar over an open one, then the row that stands last. A run of which a part was
    replaced is cut. Series of the intervals ``timeless`` stay as they are.

    Raises:
        ResultError: ``merge_mismatch`` when a single bar was replaced in part only.
    """
    opens, closes, _ = _coverage(columns)
    keys = series_keys(columns["interval"], columns["symbol"])
    overlaps = (closes[:-1] > opens[1:]) & (keys[:-1] == keys[1:])
    # Several tick, volume or value bars may begin and end within one stamp; all of them count.
    if timeless:
        overlaps &= ~is_among(columns["interval"][1:], timeless)
    if not np.any(overlaps):
        return None
    touched = is_among(keys, distinct(keys[:-1][overlaps]))
    rows = np.flatnonzero(touched)
    won = _winners(columns, rows, keys[rows], opens[rows], closes[rows], spans)
    others = np.flatnonzero(~touched)
    both = [
        np.concatenate([mine, all_of[others]])
        for mine, all_of in zip(won, (np.arange(len(keys)), *_coverage(columns)), strict=True)
    ]
    order = np.lexsort((both[1], keys[both[0]]))
    return Pieces(*(array[order] for array in both))


def _winners(
    columns: Columns,
    rows: NDArray[np.int64],
    keys: NDArray[np.int64],
    opens: NDArray[np.int64],
    closes: NDArray[np.int64],
    spans: SpansOf,
) -> Pieces:
    # All begins and ends of a series cut its time into stretches; each row covers some of them,
    # and each stretch goes to the best row that covers it.
    times, owners = np.concatenate([opens, closes]), np.concatenate([keys, keys])
    order = np.lexsort((times, owners))
    times, owners = times[order], owners[order]
    new = np.ones(len(order), np.bool_)
    new[1:] = (times[1:] != times[:-1]) | (owners[1:] != owners[:-1])
    rank = np.empty(len(order), np.int64)
    rank[order] = np.cumsum(new) - 1
    point_time = times[new]
    first, last = rank[: len(rows)], rank[len(rows) :]

    stretch = ranges(first, last)
    owner = np.repeat(np.arange(len(rows)), last - first)
    closed = (columns["flags"][rows] & np.uint16(BarFlag.CLOSED)) != 0
    best = np.lexsort((owner, closed[owner], columns["revision"][rows][owner], stretch))
    stretch, owner = stretch[best], owner[best]
    final = np.append(stretch[1:] != stretch[:-1], True)
    stretch, owner = stretch[final], owner[final]

    # Stretches side by side that went to the same row are one piece of it. A row covers without
    # a hole, so between two pieces of one row stands a piece of another.
    starts = np.ones(len(stretch), np.bool_)
    starts[1:] = owner[1:] != owner[:-1]
    begin = stretch[starts]
    end = stretch[np.append(np.flatnonzero(starts)[1:] - 1, len(stretch) - 1)] + 1
    owner = owner[starts]
    lost = (begin != first[owner]) | (end != last[owner])
    if np.any(lost & (columns["run_length"][rows][owner] == 1)):
        text = "some rows overlap a bar without being a revision of it"
        raise errors.make("merge_mismatch", text, hint="were the intervals the same?")
    return _cut(columns, rows[owner], point_time[begin], point_time[end], spans)
