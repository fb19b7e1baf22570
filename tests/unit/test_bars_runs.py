"""Runs of gap bars, ranges of time, and revisions, against one-bar-at-a-time references."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klineagg.bars import COLUMNS, BarFlag, Bars
from klineagg.errors import IntervalError, OptionError, ResultError
from klineagg.intervals import Interval
from unit.bars_factory import DAY, MINUTE, START, bars_of

GAP = int(BarFlag.GAP | BarFlag.CLOSED)


def opens(bars: Bars) -> list[int]:
    """Open times in minutes after START."""
    minutes: list[int] = ((bars.open_time.astype(np.int64) - START) // MINUTE).tolist()
    return minutes


def coverage(bars: Bars) -> list[tuple[int, int]]:
    closes = (bars.close_time.astype(np.int64) - START) // MINUTE
    return list(zip(opens(bars), closes.tolist(), strict=True))


# -- expanding -----------------------------------------------------------------------------------


def test_a_run_becomes_its_bars() -> None:
    rows: list[dict[str, Any]] = [
        {"at": 0, "close": 7.0},
        {"at": 1, "run_length": 3, "flags": GAP, "close": 7.0, "revision": 2},
        {"at": 4, "close": 8.0},
        {"interval": 1, "at": 0},
        {"interval": 1, "at": 1, "run_length": 2, "flags": GAP, "close": 9.0},
    ]
    bars = bars_of(rows, intervals=("1m", "5m"))
    flat = bars.expand_gaps()
    expected = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (0, 5), (5, 10), (10, 15)]
    assert coverage(flat) == expected
    assert flat.run_length.tolist() == [1] * 8
    assert flat.close.tolist() == [7.0] * 4 + [8.0, 102.0, 9.0, 9.0]
    assert flat.flags.tolist() == [1, GAP, GAP, GAP, 1, 1, GAP, GAP]
    assert flat.revision.tolist() == [0, 2, 2, 2, 0, 0, 0, 0]
    assert np.isnat(flat.first_trade_time[1:4]).all()
    assert flat.volume.sum() == bars.volume.sum()
    assert len(flat["0", "1m"]) == 5
    assert flat.expand_gaps() is flat
    assert not flat.open_time.flags.writeable


def test_runs_of_local_hours_follow_the_clock_change() -> None:
    # In New York, 4-hour bars of 2024-03-10 begin at 0, 4, 8 ... local time; 2 o'clock is skipped.
    interval = Interval("4h", tz="America/New_York")
    begin = int(np.datetime64("2024-03-10T05:00", "ns").astype(np.int64))
    lengths = [3, 4, 4]
    end = begin + sum(lengths) * 60 * MINUTE
    row = {"open_time": begin, "close_time": end, "run_length": 3, "flags": GAP}
    for known in (interval, interval.name):
        flat = bars_of([row], intervals=(known,)).expand_gaps()
        hours = (flat.close_time - flat.open_time) / np.timedelta64(1, "h")
        assert hours.tolist() == lengths
        assert flat.open_time[1:].tolist() == flat.close_time[:-1].tolist()


def lunch_sessions() -> Interval:
    """Minutes from 09:30 to 09:33 and from 13:00 to 13:02 on the first of January 2018."""
    from klineagg._sessions import sessions

    day = "2018-01-01T"
    first, last = [f"{day}09:30", f"{day}13:00"], [f"{day}09:33", f"{day}13:02"]
    return sessions("lunch", first, last, tz="UTC", every="1m")


def session_run() -> dict[str, Any]:
    begin, end = START + 571 * MINUTE, START + 782 * MINUTE
    return {"open_time": begin, "close_time": end, "run_length": 4, "flags": GAP, "close": 5.0}


def test_runs_jump_over_the_holes_of_sessions() -> None:
    bars = bars_of([session_run()], intervals=(lunch_sessions(),))
    assert coverage(bars.expand_gaps()) == [(571, 572), (572, 573), (780, 781), (781, 782)]
    part = bars.between("2018-01-01T09:32", "2018-01-01T13:01")
    assert coverage(part) == [(572, 781)]
    assert part.run_length.tolist() == [2]
    assert len(bars.between("2018-01-01T10:00", "2018-01-01T12:00")) == 0


def test_sessions_known_by_name_only_have_to_be_given() -> None:
    bars = bars_of([session_run()], intervals=("lunch",))
    with pytest.raises(IntervalError, match="'lunch' are not known from its name"):
        bars.expand_gaps()
    assert len(bars.expand_gaps(intervals=[lunch_sessions()])) == 4
    wrong = bars_of([{**session_run(), "run_length": 5}], intervals=(lunch_sessions(),))
    with pytest.raises(IntervalError, match="does not fit the boundaries"):
        wrong.expand_gaps()


# -- ranges of time ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "start",
    [
        START + 2 * MINUTE,
        "2018-01-01T00:02",
        "2018-01-01 00:02:00Z",
        "2018-01-01T01:02:00+01:00",
        datetime(2018, 1, 1, 0, 2),
        datetime(2018, 1, 1, 2, 2, tzinfo=timezone(timedelta(hours=2))),
        np.datetime64("2018-01-01T00:02"),
        np.datetime64("2018-01-01T00:02", "us"),
    ],
)
def test_between_takes_any_time(start: Any) -> None:
    bars = bars_of([{"at": k} for k in range(5)])
    assert opens(bars.between(start)) == [2, 3, 4]
    assert opens(bars.between(end=start)) == [0, 1]
    assert opens(bars.between(start, START + 4 * MINUTE)) == [2, 3]


def test_between_takes_dates_and_all_digits_of_a_time() -> None:
    bars = bars_of([{"at": 1440 * k} for k in range(3)])
    assert opens(bars.between(date(2018, 1, 2))) == [1440, 2880]
    assert opens(bars.between("2018-01-02")) == [1440, 2880]
    assert opens(bars.between("2018-01-02T00:00:00.000000001")) == [2880]
    assert opens(bars.between(datetime(2018, 1, 2, microsecond=1))) == [2880]


def test_between_takes_the_nanoseconds_of_pandas() -> None:
    pd = pytest.importorskip("pandas")
    bars = bars_of([{"at": 0}, {"at": 1}])
    stamp = pd.Timestamp("2018-01-01T00:01")
    assert opens(bars.between(stamp)) == [1]
    assert opens(bars.between(stamp + pd.Timedelta(1, "ns"))) == []
    assert opens(bars.between(stamp.tz_localize("Europe/Paris"))) == [0, 1]
    with pytest.raises(OptionError, match="NaT"):
        bars.between(pd.NaT)


@pytest.mark.parametrize(
    "bad", ["yesterday", 1.5, True, np.datetime64("NaT"), "9999-01-01", object()]
)
def test_what_is_no_time_is_refused(bad: Any) -> None:
    with pytest.raises(OptionError) as caught:
        bars_of([{"at": 0}]).between(bad)
    assert caught.value.name == "invalid_option"
    assert caught.value.fields["option"] == "start"


def test_between_is_a_view_where_rows_lie_side_by_side() -> None:
    bars = bars_of([{"at": k} for k in range(5)] + [{"symbol": 1, "at": k} for k in range(5)])
    assert np.shares_memory(bars["0", "1m"].between(START + MINUTE).close, bars.close)
    assert opens(bars.between(START + 3 * MINUTE)) == [3, 4, 3, 4]
    assert len(bars.between(START + DAY)) == 0


@st.composite
def timelines(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows of bars and runs of two symbols and two intervals, in order, with holes."""
    rows: list[dict[str, Any]] = []
    for interval in (0, 1):
        for symbol in (0, 3):
            at = 0
            for length in draw(st.lists(st.integers(-2, 6).filter(bool), max_size=6)):
                if length > 0:
                    values = {"symbol": symbol, "interval": interval, "at": at}
                    gap = {"run_length": length, "flags": GAP} if length > 1 else {}
                    rows.append({**values, **gap, "close": float(len(rows))})
                at += abs(length)
    return rows


@given(timelines(), st.integers(-3, 90), st.integers(-3, 90))
def test_between_cuts_runs_where_single_bars_would_part(
    rows: list[dict[str, Any]], start: int, end: int
) -> None:
    bars = bars_of(rows, intervals=("1m", "5m"))
    limits = (START + start * MINUTE // 2, START + end * MINUTE // 2)
    assert bars.between(*limits).expand_gaps().equals(bars.expand_gaps().between(*limits))


# -- revisions -----------------------------------------------------------------------------------


def test_resolve_keeps_the_newest_of_each_bar() -> None:
    rows: list[dict[str, Any]] = [
        {"at": 0, "close": 1.0},
        {"at": 1, "close": 2.0, "flags": 0},
        {"at": 1, "close": 3.0},
        {"at": 1, "close": 4.0, "flags": 0},
        {"at": 2, "close": 6.0, "revision": 1, "flags": 33},
        {"at": 2, "close": 5.0},
        {"at": 3, "close": 7.0, "flags": 0},
        {"at": 3, "close": 8.0, "flags": 0},
    ]
    bars = bars_of(rows)
    newest = bars.resolve()
    assert opens(newest) == [0, 1, 2, 3]
    assert newest.close.tolist() == [1.0, 3.0, 6.0, 8.0]
    assert newest.revision.tolist() == [0, 0, 1, 0]
    assert newest.resolve() is newest
    assert bars.latest().equals(newest)
    assert bars[::-1].resolve().close.tolist() == [1.0, 3.0, 6.0, 7.0]


def test_an_amendment_cuts_the_run_that_it_falls_into() -> None:
    run = {"at": 1, "run_length": 9, "flags": GAP, "close": 5.0}
    late = {"at": 4, "close": 6.0, "revision": 1, "flags": 33}
    rest = {"at": 5, "run_length": 5, "flags": GAP | 32, "close": 6.0, "revision": 1}
    bars = bars_of([{"at": 0}, run, late, rest, {"at": 10}])
    newest = bars.resolve()
    assert coverage(newest) == [(0, 1), (1, 4), (4, 5), (5, 10), (10, 11)]
    assert newest.run_length.tolist() == [1, 3, 1, 5, 1]
    assert newest.close.tolist() == [102.0, 5.0, 6.0, 6.0, 102.0]
    assert newest.revision.tolist() == [0, 0, 1, 1, 0]
    # When the price did not change, the rest of the run stays as it was: one row, cut in two.
    halves = bars_of([run, late]).resolve()
    assert coverage(halves) == [(1, 4), (4, 5), (5, 10)]
    assert halves.run_length.tolist() == [3, 1, 5]
    assert halves.close.tolist() == [5.0, 6.0, 5.0]


def test_an_amendment_cuts_a_run_of_sessions() -> None:
    at = START + 572 * MINUTE
    late = {"open_time": at, "close_time": at + MINUTE, "revision": 1}
    newest = bars_of([session_run(), late], intervals=(lunch_sessions(),)).resolve()
    assert coverage(newest) == [(571, 572), (572, 573), (780, 782)]
    assert newest.run_length.tolist() == [1, 1, 2]


def test_half_of_a_bar_cannot_be_replaced() -> None:
    half = {"open_time": START, "close_time": START + MINUTE // 2, "revision": 1}
    with pytest.raises(ResultError) as caught:
        bars_of([{"at": 0}, half]).resolve()
    assert caught.value.name == "merge_mismatch"


def slow_newest(bars: Bars) -> list[tuple[Any, ...]]:
    """The best row of each single bar: (series, open, values of the row that are not coverage)."""
    best: dict[tuple[int, int, int], tuple[Any, ...]] = {}
    flat = bars.expand_gaps()
    for row in range(len(flat)):
        at = int(flat.open_time[row].astype(np.int64))
        key = (int(flat.interval[row]), int(flat.symbol[row]), at)
        rank = (int(flat.revision[row]), bool(flat.is_closed[row]), row)
        if key not in best or rank > best[key][0]:
            best[key] = (rank, float(flat.close[row]), int(flat.flags[row]))
    return [(*key, *best[key][1:]) for key in sorted(best)]


emitted = st.lists(
    st.fixed_dictionaries(
        {
            "symbol": st.sampled_from([0, 3]),
            "at": st.integers(0, 12),
            "run_length": st.sampled_from([1, 1, 2, 3, 5]),
            "revision": st.integers(0, 2),
            "closed": st.booleans(),
        }
    ),
    max_size=14,
)


@given(emitted)
def test_resolve_is_the_best_row_of_each_single_bar(rows: list[dict[str, Any]]) -> None:
    made = []
    for k, row in enumerate(rows):
        gap = int(BarFlag.GAP) if row["run_length"] > 1 else 0
        flags = gap | int(row["closed"])
        values = {name: row[name] for name in ("symbol", "at", "run_length", "revision")}
        made.append({**values, "flags": flags, "close": float(k)})
    bars = bars_of(made)
    ordered = Bars.concat([bars])
    newest = bars.resolve()
    flat = newest.expand_gaps()
    times = flat.open_time.astype(np.int64).tolist()
    columns = (flat.interval.tolist(), flat.symbol.tolist(), times)
    found = zip(*columns, flat.close.tolist(), flat.flags.tolist(), strict=True)
    assert list(found) == slow_newest(ordered)
    same = newest.symbol[1:] == newest.symbol[:-1]
    assert np.all((newest.close_time[:-1] <= newest.open_time[1:])[same])
    # No row of its own for what is one stretch of one row.
    whole = (newest.close_time[:-1] == newest.open_time[1:]) & same
    assert not np.any(whole & (newest.close[1:] == newest.close[:-1]))
    assert newest.resolve() is newest


def test_activity_bars_within_one_stamp_all_stay() -> None:
    span = {"open_time": START, "close_time": START + 1}
    rows: list[dict[str, Any]] = [{**span, "close": float(k)} for k in range(3)]
    rows += [{"at": 0, "interval": 1, "close": 8.0}, {"at": 0, "interval": 1, "close": 9.0}]
    bars = bars_of(rows, intervals=("2 tick", "1m"))
    assert bars.resolve().close.tolist() == [0.0, 1.0, 2.0, 9.0]
    assert bars[:, "2 tick"].resolve().close.tolist() == [0.0, 1.0, 2.0]


def test_resolve_leaves_untouched_series_alone() -> None:
    rows = [{"symbol": 0, "at": k, "close": float(k)} for k in range(3)]
    rows += [{"symbol": 1, "at": 0, "close": 10.0}, {"symbol": 1, "at": 0, "close": 11.0}]
    rows += [{"symbol": 2, "at": k, "close": 20.0 + k} for k in range(2)]
    newest = bars_of(rows).resolve()
    assert newest.close.tolist() == [0.0, 1.0, 2.0, 11.0, 20.0, 21.0]
    assert newest.symbol.tolist() == [0, 0, 0, 1, 2, 2]
    for name in COLUMNS:
        assert not newest.column(name).flags.writeable
