"""Intervals on the wall clock of a time zone: days that are known, and a slow scan of the clock."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klineagg._zones import local_to_utc, offset_segments
from klineagg.intervals import Interval

S = 1_000_000_000
DAY_S = 86_400
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
ZONES = [
    "America/New_York",
    "America/Sao_Paulo",
    "America/St_Johns",
    "America/Havana",
    "America/Asuncion",
    "Europe/London",
    "Europe/Dublin",
    "Africa/Casablanca",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Asia/Gaza",
    "Asia/Tehran",
    "Asia/Beirut",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Pacific/Kwajalein",
    "Antarctica/Troll",
    "Etc/GMT+5",
    "UTC",
]


def utc_s(text: str) -> int:
    return int(np.datetime64(text, "s").astype(np.int64))


def ns(text: str) -> int:
    return utc_s(text) * S


def spans(interval: Interval, start: str, end: str) -> list[tuple[str, float]]:
    """(open as UTC text, hours) of each span that touches a range."""
    opens, closes = interval.table_for(ns(start), ns(end))
    texts = np.datetime_as_string(opens.astype("datetime64[ns]"), unit="m")
    return [
        (str(text), hours) for text, hours in zip(texts, (closes - opens) / 3.6e12, strict=True)
    ]


# The slow, obvious version: walk along the clock, a step at a time, and look at it.


def wall_s(tz: ZoneInfo, at_s: int) -> int:
    local = (EPOCH + timedelta(seconds=at_s)).astimezone(tz).replace(tzinfo=timezone.utc)
    return round((local - EPOCH).total_seconds())


def month_number(local_s: int) -> int:
    moment = EPOCH + timedelta(seconds=local_s)
    return moment.year * 12 + moment.month - 1


def slow_edges(
    key: str,
    start_s: int,
    end_s: int,
    step_s: int,
    *,
    period_s: int = 0,
    months: int = 0,
    phase_s: int = 0,
) -> list[int]:
    """Boundaries from start to end; it has to start more than a day before a certain boundary."""
    tz = ZoneInfo(key)

    def index(local_s: int) -> int:
        shifted = local_s - phase_s
        return month_number(shifted) // months if months else shifted // period_s

    edges = []
    before = wall_s(tz, start_s - step_s)
    reached = index(before)
    for at in range(start_s, end_s, step_s):
        now = wall_s(tz, at)
        jump = now - before - step_s
        if not 0 < period_s <= 3600:
            if index(now) > reached:
                edges.append(at)
        else:
            broken = jump % period_s and (jump < 0 or index(now) != index(before))
            if broken or (now - phase_s) % period_s == 0:
                edges.append(at)
        reached = max(reached, index(now))
        before = now
    return edges


def assert_matches_scan(
    interval: Interval, key: str, start_s: int, end_s: int, step_s: int, lead_s: int, **grid: int
) -> None:
    expected = slow_edges(key, start_s - lead_s, end_s + lead_s, step_s, **grid)
    opens, closes = (column // S for column in interval.table_for(start_s * S, end_s * S))
    assert list(opens[1:]) == list(closes[:-1]), "a wall clock has no holes"
    edges = [*opens.tolist(), int(closes[-1])]
    assert edges == [edge for edge in expected if edges[0] <= edge <= edges[-1]]
    assert opens[0] <= start_s < closes[0]
    assert opens[-1] < end_s <= closes[-1]


class TestKnownDays:
    """Days that the almanac has, written out."""

    def test_new_york_days_of_23_and_25_hours(self) -> None:
        days = Interval("1d@America/New_York")
        assert spans(days, "2018-03-10T12", "2018-03-12T12") == [
            ("2018-03-10T05:00", 24),
            ("2018-03-11T05:00", 23),
            ("2018-03-12T04:00", 24),
        ]
        assert spans(days, "2018-11-03T12", "2018-11-05T12") == [
            ("2018-11-03T04:00", 24),
            ("2018-11-04T04:00", 25),
            ("2018-11-05T05:00", 24),
        ]

    def test_new_york_evening_days(self) -> None:
        days = Interval("1d@America/New_York+17h")
        assert spans(days, "2018-03-10T12", "2018-03-12T12") == [
            ("2018-03-09T22:00", 24),
            ("2018-03-10T22:00", 23),
            ("2018-03-11T21:00", 24),
        ]

    def test_new_york_hours_repeat_and_longer_spans_stretch(self) -> None:
        hours = spans(Interval("1h@America/New_York"), "2018-11-04T04", "2018-11-04T08")
        assert hours == [(f"2018-11-04T{hour:02}:00", 1) for hour in range(4, 8)]
        assert spans(Interval("2h@America/New_York"), "2018-11-04T04", "2018-11-04T09") == [
            ("2018-11-04T04:00", 3),  # 00:00, 01:00 twice
            ("2018-11-04T07:00", 2),
        ]
        assert spans(Interval("90m@America/New_York"), "2018-11-04T04", "2018-11-04T09") == [
            ("2018-11-04T04:00", 1.5),
            ("2018-11-04T05:30", 2.5),  # 01:30 to 03:00, with 01:00 to 02:00 once more
            ("2018-11-04T08:00", 1.5),
        ]
        assert spans(Interval("4h@America/New_York"), "2018-03-11T05", "2018-03-11T12") == [
            ("2018-03-11T05:00", 3),
            ("2018-03-11T08:00", 4),
        ]
        # 02:00 to 03:00 is skipped: the span of 02:00 begins at 03:00.
        assert spans(Interval("2h@America/New_York"), "2018-03-11T05", "2018-03-11T09") == [
            ("2018-03-11T05:00", 2),
            ("2018-03-11T07:00", 1),
            ("2018-03-11T08:00", 2),
        ]

    def test_sao_paulo_has_no_midnight_in_spring(self) -> None:
        days = spans(Interval("1d@America/Sao_Paulo"), "2017-10-14T12", "2017-10-15T12")
        assert days == [("2017-10-14T03:00", 24), ("2017-10-15T03:00", 23)]
        # and in autumn 23:00 comes twice
        days = spans(Interval("1d@America/Sao_Paulo"), "2018-02-17T12", "2018-02-18T12")
        assert days == [("2018-02-17T02:00", 25), ("2018-02-18T03:00", 24)]

    def test_havana_repeats_midnight(self) -> None:
        days = spans(Interval("1d@America/Havana"), "2018-11-03T12", "2018-11-05T01")
        assert days == [("2018-11-03T04:00", 24), ("2018-11-04T04:00", 25)]

    def test_lord_howe_moves_by_half_an_hour(self) -> None:
        half_hours = Interval("30m@Australia/Lord_Howe")
        hours = Interval("1h@Australia/Lord_Howe")
        assert spans(hours, "2018-10-06T14:30", "2018-10-06T17") == [
            ("2018-10-06T14:30", 1),
            ("2018-10-06T15:30", 0.5),  # 02:30 to 03:00
            ("2018-10-06T16:00", 1),
        ]
        assert spans(hours, "2018-03-31T14", "2018-03-31T16:30") == [
            ("2018-03-31T14:00", 1),
            ("2018-03-31T15:00", 0.5),  # 01:30 to 02:00 once more
            ("2018-03-31T15:30", 1),
        ]
        assert half_hours.to_core(ns("2018-01-01"), ns("2019-01-01")).kind == "fixed"
        assert hours.to_core(ns("2018-01-01"), ns("2019-01-01")).kind == "table"
        assert spans(Interval("1d@Australia/Lord_Howe"), "2018-03-31T14", "2018-03-31T15") == [
            ("2018-03-31T13:00", 24.5)
        ]

    def test_kolkata_has_a_half_hour_and_no_changes(self) -> None:
        core = Interval("1h@Asia/Kolkata").to_core(ns("2020-01-01"), ns("2024-01-01"))
        assert (core.kind, core.period, core.phase) == ("fixed", 3600 * S, 1800 * S)
        day = Interval("1d@Asia/Kolkata").to_core(ns("2020-01-01"), ns("2024-01-01"))
        assert day.locate(ns("2022-02-28T18:29:59"))[1] == ns("2022-02-27T18:30")
        month = Interval("1M@Asia/Kolkata").to_core(ns("2020-01-01"), ns("2024-01-01"))
        assert month.kind == "month"
        assert month.locate(ns("2020-02-29T18:29:59"))[1:] == (
            ns("2020-01-31T18:30"),
            ns("2020-02-29T18:30"),
        )

    def test_st_johns_keeps_its_grid_when_the_clock_changes_at_one_past_midnight(self) -> None:
        hours = spans(Interval("1h@America/St_Johns"), "2010-11-07T01:30", "2010-11-07T04:30")
        assert hours == [
            ("2010-11-07T01:30", 1),
            ("2010-11-07T02:30", 1),
            ("2010-11-07T03:30", 1),
        ]

    def test_samoa_skipped_a_day(self) -> None:
        assert spans(Interval("1d@Pacific/Apia"), "2011-12-29T20", "2011-12-30T20") == [
            ("2011-12-29T10:00", 24),  # Thursday 29th
            ("2011-12-30T10:00", 24),  # Saturday 31st
        ]

    def test_kwajalein_lived_a_day_twice(self) -> None:
        days = spans(Interval("1d@Pacific/Kwajalein"), "1969-09-29T12", "1969-10-01T13")
        assert [hours for _, hours in days] == [24, 47, 24]
        assert days[1][0] == "1969-09-29T13:00"

    def test_weeks_and_months_are_local(self) -> None:
        assert spans(Interval("1w@America/New_York"), "2018-03-08", "2018-03-13") == [
            ("2018-03-05T05:00", 167),
            ("2018-03-12T04:00", 168),
        ]
        assert spans(Interval("1M@Europe/London"), "2024-02-29T23:59", "2024-03-31T22:59") == [
            ("2024-02-01T00:00", 29 * 24),
            ("2024-03-01T00:00", 31 * 24 - 1),
        ]
        assert spans(Interval("12M+3M@America/New_York"), "2023-01-01", "2023-01-02") == [
            ("2022-04-01T04:00", 365 * 24)
        ]
        assert spans(Interval("3d@America/New_York"), "1970-01-02", "1970-01-03") == [
            ("1970-01-01T05:00", 72)
        ]

    def test_amsterdam_had_seconds_in_its_offset(self) -> None:
        if ZoneInfo("Europe/Amsterdam").utcoffset(datetime(1930, 1, 1)) != timedelta(seconds=1172):
            pytest.skip("this time zone database has no history of Amsterdam")
        # At midnight of 1937-07-01 the clock went from +01:19:32 to +01:20.
        minutes = Interval("1m@Europe/Amsterdam")
        opens, closes = minutes.table_for(ns("1937-06-30T22:39"), ns("1937-06-30T22:42"))
        assert (opens // S % 60).tolist() == [28, 28, 28, 0]
        assert (closes[-2:] - opens[-2:]).tolist() == [32 * S, 60 * S]


class TestAgainstScan:
    """Tables against a walk along the wall clock."""

    @settings(max_examples=60, deadline=None)
    @given(
        key=st.sampled_from(ZONES),
        period_m=st.sampled_from([1, 5, 15, 20, 30, 60, 90, 120, 240, 480, 720, 1440, 2880, 4320]),
        offset_m=st.integers(-1500, 1500),
        change=st.integers(0, 10_000),
        before_m=st.integers(0, 2000),
        range_m=st.integers(0, 3000),
    )
    def test_fixed_periods(
        self, key: str, period_m: int, offset_m: int, change: Any, before_m: int, range_m: int
    ) -> None:
        offset_m = offset_m % period_m
        changes, _ = offset_segments(key, utc_s("1950-01-01"), utc_s("2045-01-01"))
        near = int(changes[change % len(changes)])
        start_s = near - near % 60 - before_m * 60
        interval = Interval(f"{period_m}m@{key}+{offset_m}m")
        assert_matches_scan(
            interval,
            key,
            start_s,
            start_s + max(range_m, 1) * 60,
            60,
            (period_m * 60 + 2 * DAY_S) * (2 if period_m > 60 else 1),
            period_s=period_m * 60,
            phase_s=offset_m * 60,
        )

    @settings(max_examples=12, deadline=None)
    @given(
        key=st.sampled_from(ZONES),
        unit=st.sampled_from(["1w", "1M", "3M"]),
        change=st.integers(0, 10_000),
        offset_h=st.integers(-40, 40),
    )
    def test_weeks_and_months(self, key: str, unit: str, change: Any, offset_h: int) -> None:
        changes, _ = offset_segments(key, utc_s("1975-01-01"), utc_s("2040-01-01"))
        near = int(changes[change % len(changes)])
        near -= near % 900
        grid = {
            "1w": {"period_s": 7 * DAY_S, "phase_s": 4 * DAY_S + offset_h * 3600},
            "1M": {"months": 1, "phase_s": offset_h * 3600},
            "3M": {"months": 3, "phase_s": offset_h * 3600},
        }[unit]
        lead_s = {"1w": 10, "1M": 35, "3M": 95}[unit] * DAY_S
        assert_matches_scan(
            Interval(f"{unit}@{key}{offset_h:+d}h"),
            key,
            near,
            near + 900,
            900 if unit != "1w" else 300,
            lead_s,
            **grid,
        )

    @pytest.mark.parametrize(
        ("key", "near"),
        [
            ("Europe/Amsterdam", "1937-06-30T22:40"),
            ("Africa/Monrovia", "1972-01-07T00:44:30"),
            ("Asia/Kathmandu", "1985-12-31T18:30"),
            ("America/Guyana", "1975-08-01T03:45"),
            ("Asia/Shanghai", "1900-12-31T15:54:17"),
        ],
    )
    @pytest.mark.parametrize("period_s", [1, 30, 60, 900, 3600])
    def test_seconds_around_odd_changes(self, key: str, near: Any, period_s: int) -> None:
        start_s = utc_s(near) - 5_000
        interval = Interval(f"{period_s}s@{key}")
        assert_matches_scan(
            interval, key, start_s, start_s + 10_000, 1, period_s + 1, period_s=period_s
        )

    @settings(max_examples=80, deadline=None)
    @given(
        key=st.sampled_from(ZONES),
        text=st.sampled_from(
            ["1s", "1m", "6m+3m", "1h", "2h+1h", "1d-7h", "3d", "1w", "1M", "3M-1d"]
        ),
        year=st.integers(1901, 2197),
        second=st.integers(0, 365 * DAY_S),
        length_s=st.integers(0, 90_000),
    )
    def test_the_core_finds_what_the_table_says(
        self, key: str, text: Any, year: int, second: int, length_s: int
    ) -> None:
        period, sign, offset = text.replace("-", "+-").partition("+")
        offset = offset if offset.startswith("-") else sign + offset
        interval = Interval(f"{period}@{key}{offset}")
        start_s = utc_s(f"{year}-01-01") + second
        end_s = start_s + max(length_s // (50 if text == "1s" else 1), 1)
        opens, closes = interval.table_for(start_s * S, end_s * S)
        core = interval.to_core(start_s * S, end_s * S)
        assert core.name == interval.name
        assert core.count(int(opens[0]), int(opens[-1])) == len(opens) - 1
        for row in np.unique(np.linspace(0, len(opens) - 1, 20).astype(int)).tolist():
            span = (int(opens[row]), int(closes[row]))
            assert core.locate(span[0]) == (True, *span)
            assert core.locate(span[1] - 1) == (True, *span)

    @pytest.mark.parametrize("text", ["1s", "7m+3m", "7h", "1d+8h", "3d", "1w-1d", "1M", "12M+3M"])
    def test_utc_tables_agree_with_the_core(self, text: Any) -> None:
        interval = Interval(text)
        for start in ("1901-02-03T04:05:06", "1969-12-31T23:59:59", "2024-02-29T12:00"):
            opens, closes = interval.table_for(ns(start), ns(start) + 3_000 * S)
            core = interval.to_core(ns(start), ns(start) + 3_000 * S)
            for span in zip(opens.tolist(), closes.tolist(), strict=True):
                assert core.locate(span[0]) == (True, *span)
            assert list(opens[1:]) == list(closes[:-1])

    @pytest.mark.parametrize("key", ["Africa/Casablanca", "Asia/Gaza", "Australia/Lord_Howe"])
    def test_every_change_of_a_zone_is_found(self, key: str) -> None:
        tz = ZoneInfo(key)
        start_s, end_s = utc_s("2009-01-01"), utc_s("2015-01-01")
        starts, offsets = offset_segments(key, start_s, end_s)
        row = 0
        for at in range(start_s, end_s, 1800):
            while row + 1 < len(starts) and starts[row + 1] <= at:
                row += 1
            assert wall_s(tz, at) - at == offsets[row]
        assert np.all(offsets[1:] != offsets[:-1])

    @settings(max_examples=200)
    @given(
        key=st.sampled_from(ZONES),
        moment=st.datetimes(datetime(1950, 1, 1), datetime(2045, 1, 1)),
        change=st.integers(0, 10_000),
        near=st.booleans(),
        shift=st.integers(-100_000, 100_000),
    )
    def test_wall_clock_times_become_utc_as_in_the_standard_library(
        self, key: str, moment: datetime, change: Any, near: Any, shift: int
    ) -> None:
        moment = moment.replace(microsecond=0)
        if near:
            starts, _ = offset_segments(key, utc_s("1950-01-01"), utc_s("2045-01-01"))
            at_s = int(starts[change % len(starts)]) + shift
            moment = EPOCH.replace(tzinfo=None) + timedelta(seconds=at_s)
        expected = moment.replace(tzinfo=ZoneInfo(key)) - EPOCH
        local = np.array([moment], dtype="datetime64[s]").astype(np.int64)
        assert local_to_utc(key, local)[0] == round(expected.total_seconds())
