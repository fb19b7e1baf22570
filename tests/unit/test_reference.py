"""Small cases worked out by hand that pin the reference itself."""

from __future__ import annotations

import math
from datetime import datetime, timezone

import pytest

from reference import (
    CLOSED,
    COLUMNS,
    GAP,
    GENESIS,
    INCOMPLETE,
    NAT,
    NO_HIGH_LOW,
    NO_OPEN_CLOSE,
    NO_VOLUME,
    PARTIAL,
    REVISED,
    BadTrade,
    Clock,
    LateTrade,
    Options,
    Row,
    Sessions,
    Trade,
    Unsorted,
    aggregate,
    evaluate,
    parse,
)

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def utc(text: str) -> int:
    """Nanoseconds of an ISO time in UTC."""
    instant = datetime.fromisoformat(text).replace(tzinfo=timezone.utc)
    return round(instant.timestamp()) * SECOND


def span(text: str, time: str) -> tuple[str, str]:
    """The span of an interval that holds a time, as ISO text."""
    found = parse(text).span(utc(time))
    opened, closed = (datetime.fromtimestamp(t // SECOND, timezone.utc) for t in found)
    return opened.isoformat()[:16], closed.isoformat()[:16]


def trade(second: float, price: float, quantity: float = 1.0, **more: int) -> Trade:
    return Trade("A", round(second * SECOND), price, quantity, **more)


def minutes(trades: list[Trade], **options: object) -> list[Row]:
    return aggregate(trades, [parse("1m")], Options(**options))  # type: ignore[arg-type]


def pick(rows: list[Row], *names: str) -> list[tuple[object, ...]]:
    return [tuple(row[name] for name in names) for row in rows]


@pytest.mark.parametrize(
    ("interval", "time", "expected"),
    [
        ("15m", "2024-02-29 23:59", ("2024-02-29T23:45", "2024-03-01T00:00")),
        ("1w", "2024-03-03 12:00", ("2024-02-26T00:00", "2024-03-04T00:00")),  # a Sunday
        ("3d", "1970-01-03 23:59", ("1970-01-01T00:00", "1970-01-04T00:00")),
        ("3d", "1969-12-31 23:59", ("1969-12-29T00:00", "1970-01-01T00:00")),
        ("1M", "2024-02-29 12:00", ("2024-02-01T00:00", "2024-03-01T00:00")),
        ("3M", "2023-12-31 12:00", ("2023-10-01T00:00", "2024-01-01T00:00")),
        ("12M+3M", "2024-03-31 12:00", ("2023-04-01T00:00", "2024-04-01T00:00")),
        ("1d+8h", "2024-05-05 07:59", ("2024-05-04T08:00", "2024-05-05T08:00")),
        ("1d-1h30m", "2024-05-05 22:30", ("2024-05-05T22:30", "2024-05-06T22:30")),
        # New York: clocks go forward on 10 March 2024 and back on 3 November 2024.
        ("1d@America/New_York", "2024-03-10 12:00", ("2024-03-10T05:00", "2024-03-11T04:00")),
        ("1d@America/New_York", "2024-11-03 12:00", ("2024-11-03T04:00", "2024-11-04T05:00")),
        ("1d@America/New_York+17h", "2024-11-03 12:00", ("2024-11-02T21:00", "2024-11-03T22:00")),
        ("4h@America/New_York", "2024-03-10 06:30", ("2024-03-10T05:00", "2024-03-10T08:00")),
        ("4h@America/New_York", "2024-11-03 06:30", ("2024-11-03T04:00", "2024-11-03T09:00")),
        ("1h@America/New_York", "2024-11-03 05:30", ("2024-11-03T05:00", "2024-11-03T06:00")),
        ("1h@America/New_York", "2024-11-03 06:30", ("2024-11-03T06:00", "2024-11-03T07:00")),
        ("1h@Asia/Kolkata", "2024-01-01 00:15", ("2023-12-31T23:30", "2024-01-01T00:30")),
        # Lord Howe moves by half an hour: the second half hour before 2 o'clock comes twice.
        ("1h@Australia/Lord_Howe", "2024-04-06 15:10", ("2024-04-06T15:00", "2024-04-06T15:30")),
        ("2h@Australia/Lord_Howe", "2024-04-06 15:10", ("2024-04-06T13:00", "2024-04-06T15:30")),
        ("1w@Europe/Berlin", "2024-03-31 12:00", ("2024-03-24T23:00", "2024-03-31T22:00")),
        ("1M@Asia/Tokyo", "2024-01-31 15:00", ("2024-01-31T15:00", "2024-02-29T15:00")),
    ],
)
def test_spans(interval: str, time: str, expected: tuple[str, str]) -> None:
    assert span(interval, time) == expected


def test_midnight_that_does_not_exist_starts_the_day_at_the_change() -> None:
    # Beirut skipped 00:00 to 01:00 on 27 March 2022, so its day began at 22:00 UTC, 01:00 local.
    assert span("1d@Asia/Beirut", "2022-03-27 01:00") == ("2022-03-26T22:00", "2022-03-27T21:00")


def test_one_bar_has_every_column_right() -> None:
    trades = [
        trade(60.0, 10.0, 2.0, side=1, trade_id=5),
        trade(61.5, 12.5, 0.5, side=-1, trade_id=6, last_trade_id=9),
        trade(119.0, 11.0, 4.0, side=0, trade_id=10),
    ]
    (row,) = minutes(trades)
    assert tuple(row) == COLUMNS
    assert row == {
        "symbol": "A",
        "interval": "1m",
        "open_time": 60 * SECOND,
        "close_time": 120 * SECOND,
        "open": 10.0,
        "high": 12.5,
        "low": 10.0,
        "close": 11.0,
        "volume": 6.5,
        "quote_volume": 70.25,
        "trade_count": 6,
        "taker_buy_volume": 2.0,
        "taker_buy_quote_volume": 20.0,
        "first_trade_id": 5,
        "last_trade_id": 10,
        "first_trade_time": 60 * SECOND,
        "last_trade_time": 119 * SECOND,
        "run_length": 1,
        "revision": 0,
        "flags": 0,
    }


def test_sums_are_rounded_once() -> None:
    # Added one by one, the first leaves nothing of the 1.0.
    (row,) = minutes([trade(0, 1.0, 1e18), trade(1, 1.0, 1.0), trade(2, 1.0, 127.0)])
    assert row["volume"] == 1e18 + 128
    (row,) = minutes([trade(second, 1.0, 0.1) for second in range(10)])
    assert row["volume"] == 1.0
    assert sum([0.1] * 10) != 1.0


def test_ties_go_by_time_then_id_then_arrival() -> None:
    tied = [
        trade(1, 3.0, trade_id=7),
        trade(1, 1.0, trade_id=4),
        trade(1, 2.0, trade_id=4),
        trade(1, 9.0, trade_id=-1),
    ]
    (row,) = minutes(tied)
    assert (row["open"], row["close"]) == (9.0, 3.0)
    (row,) = minutes(tied[1:3])
    assert (row["open"], row["close"]) == (1.0, 2.0)


def test_flags_take_a_trade_out_of_prices_or_volume() -> None:
    rows = minutes(
        [
            trade(0, 10.0),
            trade(1, 50.0, flags=NO_HIGH_LOW | NO_OPEN_CLOSE),
            trade(2, 30.0, flags=NO_OPEN_CLOSE),
            trade(3, 11.0, 7.0, flags=NO_VOLUME, side=1),
            trade(60, 99.0, 5.0, flags=NO_OPEN_CLOSE | NO_HIGH_LOW),
            trade(120, 40.0, 1.0, flags=NO_OPEN_CLOSE),
            trade(180, 5.0, 1.0, flags=NO_HIGH_LOW),
        ]
    )
    columns = ("open", "high", "low", "close", "volume", "trade_count", "taker_buy_volume")
    assert pick(rows, *columns) == [
        (10.0, 30.0, 10.0, 11.0, 3.0, 4, 0.0),
        (11.0, 11.0, 11.0, 11.0, 5.0, 1, 0.0),  # keeps the previous close and its volume
        (11.0, 40.0, 11.0, 11.0, 1.0, 1, 0.0),  # widened to hold open and close
        (5.0, 5.0, 5.0, 5.0, 1.0, 1, 0.0),
    ]


def test_without_any_price_a_bar_has_none() -> None:
    rows = minutes([trade(0, 4.0, flags=NO_OPEN_CLOSE), trade(60, 4.0, flags=3)], gaps="flat")
    assert math.isnan(rows[0]["open"]) and rows[0]["high"] == rows[0]["low"] == 4.0
    assert all(math.isnan(rows[1][name]) for name in ("open", "high", "low", "close"))


def test_gap_modes() -> None:
    trades = [trade(0, 10.0), trade(30, 12.0), trade(4 * 60, 13.0)]
    assert pick(minutes(trades), "open_time", "flags") == [(0, CLOSED), (4 * MINUTE, 0)]
    flat = minutes(trades, gaps="flat")
    assert pick(flat, "open_time", "open", "high", "low", "close", "volume", "trade_count") == [
        (0, 10.0, 12.0, 10.0, 12.0, 2.0, 2),
        (1 * MINUTE, 12.0, 12.0, 12.0, 12.0, 0.0, 0),
        (2 * MINUTE, 12.0, 12.0, 12.0, 12.0, 0.0, 0),
        (3 * MINUTE, 12.0, 12.0, 12.0, 12.0, 0.0, 0),
        (4 * MINUTE, 13.0, 13.0, 13.0, 13.0, 1.0, 1),
    ]
    assert {row["flags"] for row in flat[1:4]} == {CLOSED | GAP}
    assert pick(flat[1:2], "first_trade_time", "last_trade_id") == [(NAT, -1)]
    runs = minutes(trades, gaps="runs")
    assert pick(runs, "open_time", "close_time", "run_length", "flags") == [
        (0, MINUTE, 1, CLOSED),
        (MINUTE, 4 * MINUTE, 3, CLOSED | GAP),
        (4 * MINUTE, 5 * MINUTE, 1, 0),
    ]


def test_runs_are_cut_where_a_utc_day_ends() -> None:
    trades = [Trade("A", DAY - 3 * HOUR, 1.0, 1.0), Trade("A", 2 * DAY + HOUR, 1.0, 1.0)]
    rows = aggregate(trades, [parse("1h")], Options(gaps="runs"))
    assert pick(rows, "open_time", "run_length") == [
        (21 * HOUR, 1),
        (22 * HOUR, 2),
        (24 * HOUR, 24),
        (48 * HOUR, 1),
        (49 * HOUR, 1),
    ]
    # A run belongs to the day in which its bars open, wherever they close.
    trades = [Trade("A", 13 * HOUR, 1.0, 1.0), Trade("A", 53 * HOUR, 1.0, 1.0)]
    rows = aggregate(trades, [parse("8h+4h")], Options(gaps="runs"))
    assert pick(rows, "open_time", "close_time", "run_length") == [
        (12 * HOUR, 20 * HOUR, 1),
        (20 * HOUR, 28 * HOUR, 1),
        (28 * HOUR, 52 * HOUR, 3),
        (52 * HOUR, 60 * HOUR, 1),
    ]


def test_coverage_closes_bars_and_makes_partial_and_trailing_ones() -> None:
    trades = [trade(70, 10.0), trade(130, 11.0)]
    coverage = (65 * SECOND, 5 * MINUTE + 30 * SECOND)
    rows = minutes(trades, coverage=coverage, gaps="runs")
    assert pick(rows, "open_time", "close_time", "run_length", "flags") == [
        (1 * MINUTE, 2 * MINUTE, 1, CLOSED | PARTIAL),
        (2 * MINUTE, 3 * MINUTE, 1, CLOSED),
        (3 * MINUTE, 5 * MINUTE, 2, CLOSED | GAP),
    ]
    (row, _) = minutes(trades, coverage=(MINUTE, None))
    assert row["flags"] == CLOSED
    assert pick(minutes(trades, include_open=False), "open_time") == [(MINUTE,)]


def test_a_seed_makes_a_genesis_bar_until_somebody_trades() -> None:
    seeded = {"last_prices": {"A": 8.0}, "coverage": (65 * SECOND, 4 * MINUTE)}
    rows = minutes([trade(190, 9.0)], gaps="runs", **seeded)
    assert pick(rows, "open_time", "close", "trade_count", "run_length", "flags") == [
        (1 * MINUTE, 8.0, 0, 1, CLOSED | GENESIS | PARTIAL),
        (2 * MINUTE, 8.0, 0, 1, CLOSED | GAP),
        (3 * MINUTE, 9.0, 1, 1, CLOSED),
    ]
    # The same in every gap mode, and for a symbol that nobody traded at all.
    assert pick(minutes([], **seeded), "open_time", "flags") == [
        (MINUTE, CLOSED | GENESIS | PARTIAL)
    ]
    # A trade in the same bar replaces it; the seed stays the previous close.
    (row,) = minutes([trade(70, 9.0, flags=NO_OPEN_CLOSE | NO_HIGH_LOW)], **seeded)
    assert (row["open"], row["volume"], row["flags"]) == (8.0, 1.0, CLOSED | PARTIAL)


def test_sessions_have_holes() -> None:
    session = Sessions(
        "day", ((9 * HOUR, 12 * HOUR), (13 * HOUR, 17 * HOUR), (33 * HOUR, 36 * HOUR))
    )
    trades = [Trade("A", hour * HOUR, float(hour), 1.0) for hour in (8, 10, 12, 34)]
    result = evaluate(trades, [session], Options(gaps="runs"))
    assert pick(result.rows, "open_time", "close_time", "open", "flags") == [
        (9 * HOUR, 12 * HOUR, 10.0, CLOSED),
        (13 * HOUR, 17 * HOUR, 10.0, CLOSED | GAP),
        (33 * HOUR, 36 * HOUR, 34.0, 0),
    ]
    assert result.outside_sessions == {"day": 2}
    # A seed from before the market opens makes the first session's bar.
    seeded = Options(coverage=(6 * HOUR, 40 * HOUR), last_prices={"A": 7.0}, gaps="flat")
    rows = aggregate(trades[2:], [session], seeded)
    assert pick(rows, "open_time", "open", "flags") == [
        (9 * HOUR, 7.0, CLOSED | GENESIS),
        (13 * HOUR, 7.0, CLOSED | GAP),
        (33 * HOUR, 34.0, CLOSED),
    ]
    assert result.accepted == 4


def test_order_within_and_across_symbols() -> None:
    apart = [trade(5, 1.0), Trade("B", 0, 1.0, 1.0), trade(5, 1.0)]
    assert len(minutes(apart)) == 2
    with pytest.raises(Unsorted):
        minutes([trade(5, 1.0), trade(4.9, 1.0)])


def test_lateness_goes_by_whole_seconds() -> None:
    allowed = {"lateness": 2 * SECOND}
    # The newest trade is at 10.5 s, so all seconds that ended by 8.5 s are closed.
    assert len(minutes([trade(10.5, 1.0), trade(8.0, 1.0)], **allowed)) == 1
    with pytest.raises(LateTrade):
        minutes([trade(10.5, 1.0), trade(7.999, 1.0)], **allowed)
    result = evaluate(
        [trade(10.5, 1.0), trade(7.999, 1.0)],
        [parse("1m")],
        Options(lateness=2 * SECOND, late="drop"),
    )
    assert result.dropped == {"late": 1}
    assert pick(result.rows, "trade_count", "flags") == [(1, 0)]


def test_disorder_within_the_lateness_changes_nothing() -> None:
    sorted_ = [trade(0, 1.0), trade(59, 2.0), trade(60, 3.0), trade(61, 4.0)]
    mixed = [sorted_[2], sorted_[0], sorted_[3], sorted_[1]]
    assert minutes(mixed, lateness=61 * SECOND, late="drop") == minutes(sorted_)


AMEND = {"lateness": 0, "late": "amend"}


def test_an_amendment_revises_its_bar() -> None:
    trades = [trade(10, 5.0), trade(70, 6.0), trade(30, 7.0, 2.0), trade(40, 9.0), trade(75, 6.5)]
    rows = minutes(trades, **AMEND)
    assert pick(rows, "open", "high", "close", "volume", "trade_count", "revision", "flags") == [
        (5.0, 9.0, 9.0, 4.0, 3, 2, CLOSED | REVISED),
        (6.0, 6.5, 6.5, 2.0, 2, 0, 0),
    ]


def test_an_amendment_in_a_gap_makes_a_bar_and_reprices_the_rest() -> None:
    trades = [trade(10, 5.0), trade(6 * 60, 6.0), trade(3 * 60, 7.0)]
    rows = minutes(trades, gaps="runs", **AMEND)
    assert pick(rows, "open_time", "run_length", "close", "revision", "flags") == [
        (0, 1, 5.0, 0, CLOSED),
        (1 * MINUTE, 2, 5.0, 0, CLOSED | GAP),
        (3 * MINUTE, 1, 7.0, 1, CLOSED | REVISED),
        (4 * MINUTE, 2, 7.0, 1, CLOSED | GAP | REVISED),
        (6 * MINUTE, 1, 6.0, 0, 0),
    ]
    # At the old price, the flat bars behind it stay as they were.
    rows = minutes([*trades[:2], trade(3 * 60, 5.0)], gaps="runs", **AMEND)
    assert pick(rows, "revision") == [(0,), (0,), (1,), (0,), (0,)]


def test_a_new_close_reprices_the_gap_behind_the_bar() -> None:
    trades = [trade(10, 5.0), trade(3 * 60, 6.0), trade(20, 8.0), trade(15, 1.0)]
    rows = minutes(trades, gaps="flat", **AMEND)
    assert pick(rows, "close", "low", "revision") == [
        (8.0, 1.0, 2),
        (8.0, 8.0, 1),
        (8.0, 8.0, 1),
        (6.0, 6.0, 0),
    ]


def test_an_amendment_before_the_first_bar_is_no_revision() -> None:
    rows = minutes([trade(5 * 60, 6.0), trade(2 * 60, 5.0)], gaps="runs", **AMEND)
    assert pick(rows, "open_time", "revision", "flags") == [
        (2 * MINUTE, 0, CLOSED),
        (3 * MINUTE, 0, CLOSED | GAP),
        (5 * MINUTE, 0, 0),
    ]


def test_beyond_the_horizon_what_can_still_be_amended_is_incomplete() -> None:
    options = Options(lateness=0, late="amend", amend_horizon=2 * MINUTE, gaps="flat")
    # At 5:00, bars that closed by 3:00 are out of reach: that of 0:20, but not its hour.
    trades = [trade(10, 5.0), trade(4 * 60, 5.5), trade(5 * 60, 6.0), trade(20, 9.0)]
    result = evaluate(trades, [parse("1m"), parse("4m"), parse("1h")], options)
    assert result.dropped == {"beyond_horizon": 1}
    assert result.offered == 4
    assert result.accepted == 3
    rows = [row for row in result.rows if row["open_time"] == 0]
    assert pick(rows, "interval", "close", "revision", "flags") == [
        ("1m", 5.0, 0, CLOSED),
        ("4m", 5.0, 1, CLOSED | INCOMPLETE | REVISED),
        ("1h", 6.0, 0, INCOMPLETE),
    ]
    # Told twice, it changes once.
    rows = aggregate([*trades, trade(21, 9.0)], [parse("4m")], options)
    assert rows[0]["revision"] == 1


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (trade(0, math.nan), "price_not_finite"),
        (trade(0, 0.0), "price_not_positive"),
        (trade(0, -1.0), "price_not_positive"),
        (trade(0, 2.0**101), "price_out_of_range"),
        (trade(0, 1.0, math.inf), "quantity_not_finite"),
        (trade(0, 1.0, 0.0), "quantity_not_positive"),
        (trade(0, 1.0, 2.0**-101), "quantity_out_of_range"),
        (trade(0, 2.0**60, 2.0**60), "value_out_of_range"),
        (Trade("A", 2**63 - 1, 1.0, 1.0), "time_out_of_range"),
        (Trade("A", NAT, 1.0, 1.0), "time_missing"),
        (trade(0, 1.0, trade_id=-2), "id_invalid"),
        (trade(0, 1.0, trade_id=5, last_trade_id=4), "id_invalid"),
        (trade(0, 1.0, trade_id=0, last_trade_id=2**32), "count_overflow"),
        (trade(0, 1.0, flags=8), "flags_invalid"),
    ],
)
def test_rejections(bad: Trade, reason: str) -> None:
    with pytest.raises(BadTrade, match=reason):
        minutes([bad])
    # A rejected trade moves nothing, whatever its time.
    result = evaluate([bad, trade(1, 1.0)], [parse("1m")], Options(on_bad="count"))
    assert result.rejected == {reason: 1}
    assert (result.offered, result.accepted, len(result.rows)) == (2, 1, 1)


def test_prices_below_zero_when_asked() -> None:
    rows = minutes([trade(0, -37.63, 2.0), trade(1, 0.0)], allow_nonpositive_prices=True)
    assert pick(rows, "open", "high", "low", "close", "quote_volume") == [
        (-37.63, 0.0, -37.63, 0.0, -75.26)
    ]


@pytest.mark.parametrize(
    ("by", "threshold", "counts"),
    [("tick", 2, [2, 2, 1]), ("volume", 3.0, [2, 1, 2]), ("value", 25.0, [2, 1, 2])],
)
def test_activity_bars_never_split_a_trade(by: str, threshold: float, counts: list[int]) -> None:
    quantities = (1.0, 2.0, 5.0, 1.0, 1.0)
    trades = [trade(i, 10.0, quantity) for i, quantity in enumerate(quantities)]
    rows = aggregate(trades, [Clock(by)], Options(by=by, threshold=threshold))
    assert [row["trade_count"] for row in rows] == counts
    assert [row["flags"] for row in rows] == [CLOSED, CLOSED, 0]
    assert (rows[0]["open_time"], rows[0]["close_time"]) == (0, 1 * SECOND + 1)
