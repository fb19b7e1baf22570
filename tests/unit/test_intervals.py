"""Intervals in Python: text forms, ranges, and the binding of the core."""

from __future__ import annotations

import pickle
from datetime import timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klineagg import _core
from klineagg.errors import IntervalError, OptionError
from klineagg.intervals import Interval, parse_intervals

S = 1_000_000_000


def utc_s(text: str) -> int:
    return int(np.datetime64(text, "s").astype(np.int64))


def ns(text: str) -> int:
    return utc_s(text) * S


class TestText:
    @pytest.mark.parametrize(
        ("text", "name", "kind"),
        [
            ("1m", "1m", "fixed"),
            (" 60 s", "60s", "fixed"),
            ("1d+8h", "1d+8h", "fixed"),
            ("3M", "3M", "month"),
            ("1d@America/New_York", "1d@America/New_York", "fixed"),
            ("1d @ America/New_York + 17h", "1d@America/New_York+17h", "fixed"),
            ("1d+17h@America/New_York", "1d@America/New_York+17h", "fixed"),
            ("1d@America/Port-au-Prince-1h30m", "1d@America/Port-au-Prince-1h30m", "fixed"),
            ("1d@Etc/GMT+5", "1d@Etc/GMT+5", "fixed"),
            ("1d@Etc/GMT+5+17h", "1d@Etc/GMT+5+17h", "fixed"),
            ("1M@Asia/Tokyo", "1M@Asia/Tokyo", "month"),
            (timedelta(minutes=90), "90m", "fixed"),
            (timedelta(days=7), "7d", "fixed"),
            (np.timedelta64(5, "m"), "5m", "fixed"),
            (np.timedelta64(3_600_000, "ms"), "1h", "fixed"),
            (np.timedelta64(2, "W"), "2w", "fixed"),
            (np.timedelta64(1, "Y"), "12M", "month"),
        ],
    )
    def test_forms(self, text: Any, name: str, kind: str) -> None:
        interval = Interval(text)
        assert interval.name == str(interval) == name
        assert interval.kind == kind
        assert Interval(name) == interval
        assert repr(interval) == f"Interval({name!r})"

    @pytest.mark.parametrize(
        ("arguments", "name"),
        [
            ({"tz": "America/New_York", "offset": "17h"}, "1d@America/New_York+17h"),
            ({"tz": ZoneInfo("Asia/Tokyo")}, "1d@Asia/Tokyo"),
            ({"tz": timezone.utc}, "1d@UTC"),
            ({"offset": timedelta(hours=9, minutes=30)}, "1d+9h30m"),
            ({"offset": timedelta(hours=-7)}, "1d-7h"),
            ({"offset": np.timedelta64(90, "m")}, "1d+1h30m"),
            ({"offset": "-8h"}, "1d-8h"),
            ({"offset": timedelta(0)}, "1d"),
        ],
    )
    def test_arguments(self, arguments: Any, name: str) -> None:
        assert Interval("1d", **arguments).name == name

    @pytest.mark.parametrize(
        ("text", "arguments", "error", "fields"),
        [
            ("1min", {}, "invalid_interval", {"position": "2"}),
            ("", {}, "invalid_interval", {"reason": "expected a number"}),
            ("1d@", {}, "invalid_interval", {"text": "1d@"}),
            ("1d@+8h", {}, "invalid_interval", {"text": "1d@+8h"}),
            ("1" * 70, {}, "invalid_interval", {}),
            (timedelta(seconds=1.5), {}, "invalid_interval", {"reason": "whole seconds only"}),
            (timedelta(0), {}, "invalid_interval", {}),
            (timedelta(minutes=-1), {}, "invalid_interval", {}),
            (np.timedelta64("NaT", "s"), {}, "invalid_interval", {}),
            (np.timedelta64(5), {}, "invalid_interval", {}),
            (60, {}, "invalid_interval", {}),
            ("7h@Asia/Tokyo", {}, "invalid_interval", {"text": "7h@Asia/Tokyo"}),
            ("36h@Asia/Tokyo", {}, "invalid_interval", {}),
            ("1d@Asia/Tokyo", {"tz": "UTC"}, "invalid_interval", {}),
            ("1d+8h", {"offset": "8h"}, "invalid_interval", {}),
            ("1d+8h@Asia/Tokyo+8h", {}, "invalid_interval", {}),
            ("1d", {"offset": "24h"}, "invalid_interval", {}),
            ("1d", {"offset": 8}, "invalid_interval", {}),
            ("1d@Mars/Base", {}, "unknown_time_zone", {"tz": "Mars/Base"}),
            ("1d@America", {}, "unknown_time_zone", {"tz": "America"}),
            ("1d@../etc/passwd", {}, "unknown_time_zone", {}),
            ("1d", {"tz": 5}, "unknown_time_zone", {}),
        ],
    )
    def test_refusals(
        self, text: Any, arguments: Any, error: str, fields: dict[str, object]
    ) -> None:
        with pytest.raises(IntervalError) as caught:
            Interval(text, **arguments)
        assert caught.value.name == error
        assert {key: caught.value.fields[key] for key in fields} == fields

    def test_a_misspelt_zone_gets_a_suggestion(self) -> None:
        with pytest.raises(IntervalError, match="America/New_York"):
            Interval("1d@America/NewYork")

    @given(st.text(max_size=70))
    def test_any_text_is_an_interval_or_a_typed_error(self, text: Any) -> None:
        try:
            interval = Interval(text)
        except IntervalError:
            return
        assert Interval(interval.name) == interval

    def test_frozen_hashable_picklable(self) -> None:
        interval = Interval("1d@America/New_York+17h")
        with pytest.raises(AttributeError):
            interval.name = "1m"  # type: ignore[misc]
        with pytest.raises(AttributeError):
            interval._tz = None
        with pytest.raises(AttributeError):
            del interval._tz
        copy = pickle.loads(pickle.dumps(interval))
        assert copy == interval
        assert hash(copy) == hash(interval)
        assert len({interval, copy, Interval("1d")}) == 2
        assert Interval("1d") != "1d"
        assert Interval(interval) == interval

    def test_period(self) -> None:
        assert Interval("5m").period == np.timedelta64(300, "s")
        assert Interval("3M").period == np.timedelta64(3, "M")


class TestParseIntervals:
    @pytest.mark.parametrize(
        ("argument", "names"),
        [
            ("1m", ["1m"]),
            ("1m, 5m,1h", ["1m", "5m", "1h"]),
            (["1h", timedelta(minutes=1), Interval("1d")], ["1h", "1m", "1d"]),
            (timedelta(minutes=1), ["1m"]),
            (np.timedelta64(1, "D"), ["1d"]),
            (Interval("1M"), ["1M"]),
            ((name for name in ("1m", "1h")), ["1m", "1h"]),
            ("1d,1d@America/New_York", ["1d", "1d@America/New_York"]),
            ("7d,1w", ["7d", "1w"]),
        ],
    )
    def test_forms(self, argument: Any, names: list[str]) -> None:
        assert [interval.name for interval in parse_intervals(argument)] == names

    @pytest.mark.parametrize(
        "argument",
        [
            "1m,1m",
            "60s,1m",
            ["1w-1d", "1w+6d"],
            "1d,1d@UTC",
            "1d@UTC,1d@Etc/UTC",
            "12M+3M,12M-9M",
            "1d@Asia/Tokyo,24h@Asia/Tokyo",
        ],
    )
    def test_duplicates(self, argument: Any) -> None:
        with pytest.raises(IntervalError) as caught:
            parse_intervals(argument)
        assert caught.value.name == "duplicate_interval"
        assert caught.value.fields["interval"] == caught.value.fields["names"][1]

    @pytest.mark.parametrize("argument", ["", "1m,", [], 5, [5], None])
    def test_refusals(self, argument: Any) -> None:
        with pytest.raises(IntervalError) as caught:
            parse_intervals(argument)
        assert caught.value.name == "invalid_interval"

    def test_too_many(self) -> None:
        with pytest.raises(IntervalError, match="64"):
            parse_intervals([f"{count}s" for count in range(1, 66)])


class TestRange:
    def test_a_span_is_cut_only_at_the_ends_of_time(self) -> None:
        opens, closes = Interval("1w@America/New_York").table_for(
            ns("1900-01-01"), ns("2200-01-01")
        )
        assert opens[0] == ns("1900-01-01")
        assert closes[-1] == ns("2200-01-01")
        assert np.all(opens[1:] == closes[:-1])
        assert np.all(closes > opens)

    @pytest.mark.parametrize(
        ("start", "end"),
        [
            ("1899-12-31", "1970-01-01"),
            ("1970-01-01", "2200-01-02"),
            ("2000-01-01", "1999-01-01"),
        ],
    )
    def test_a_range_outside_is_refused(self, start: str, end: str) -> None:
        for call in (Interval("1d").table_for, Interval("1d@Asia/Tokyo").to_core):
            with pytest.raises(OptionError) as caught:
                call(ns(start), ns(end))
            assert caught.value.name == "invalid_option"

    def test_an_empty_range_has_the_span_that_holds_it(self) -> None:
        opens, _ = Interval("1d").table_for(ns("2024-02-29T01"), ns("2024-02-29T01"))
        assert opens.tolist() == [ns("2024-02-29")]

    def test_a_table_that_no_memory_holds_is_refused(self) -> None:
        with pytest.raises(IntervalError, match=r"2\*\*26"):
            Interval("1s").table_for(ns("1900-01-01"), ns("2200-01-01"))


class TestCore:
    def test_errors_carry_fields(self) -> None:
        with pytest.raises(IntervalError) as caught:
            _core.Interval.parse("1x")
        assert caught.value.code == "KLA-101"
        assert caught.value.fields["position"] == "1"
        with pytest.raises(IntervalError) as caught:
            _core.Interval.table("day", np.array([0, 5 * S]), np.array([10 * S, 20 * S]))
        assert caught.value.name == "invalid_session_table"
        assert caught.value.fields["row"] == "1"
        with pytest.raises(IntervalError):
            _core.Interval.table("day", np.array([0]), np.array([S, 2 * S]))
        with pytest.raises(OptionError):
            _core.Interval.parse("1m").locate(2**63 - 1)

    def test_lookups(self) -> None:
        days = _core.Interval.table("day", np.array([0, 20 * S]), np.array([10 * S, 30 * S]))
        assert (days.name, days.kind, days.period) == ("day", "table", 0)
        assert days.locate(5) == (True, 0, 10 * S)
        assert days.locate(10 * S) == (False, 10 * S, 20 * S)
        assert days.next(1) == (20 * S, 30 * S)
        assert days.count(0, 30 * S) == 2
        assert days.grid() == (10 * S, 0)
        assert _core.Interval.parse("5s").refines(days)
        assert [column.tolist() for column in days.spans()] == [[0, 20 * S], [10 * S, 30 * S]]
        assert _core.Interval.parse("60s").same_spans(_core.Interval.parse("1m"))
        assert _core.Interval.parse("60s") != _core.Interval.parse("1m")
        assert hash(_core.Interval.parse("1m")) == hash(_core.Interval.parse("1m"))
        assert _core.Interval.months("fy", 12, 0, 3).locate(ns("2024-03-31"))[1] == ns("2023-04-01")
