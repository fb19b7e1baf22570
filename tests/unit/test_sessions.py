"""Session calendars."""

from __future__ import annotations

import pickle
from datetime import date, datetime, time, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from klineagg._sessions import SessionInterval, calendar_sessions, daily_sessions, sessions
from klineagg.errors import IntervalError
from klineagg.intervals import Interval, parse_intervals

S = 1_000_000_000


def ns(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64))


def texts(interval: Interval, start: str = "1990-01-01", end: str = "2100-01-01") -> list[str]:
    opens, closes = (
        np.datetime_as_string(column.astype("datetime64[ns]"), unit="m")
        for column in interval.table_for(ns(start), ns(end))
    )
    return [f"{left}/{right[5:]}" for left, right in zip(opens, closes, strict=True)]


def reason(caught: pytest.ExceptionInfo[IntervalError]) -> tuple[str, int, str]:
    error = caught.value
    return error.name, int(error.fields["row"]), error.fields["reason"]


OPENS = np.array(["2024-01-02T14:30", "2024-01-03T14:30"], dtype="datetime64[ns]")
CLOSES = np.array(["2024-01-02T21:00", "2024-01-03T21:00"], dtype="datetime64[ns]")
TWO_DAYS = ["2024-01-02T14:30/01-02T21:00", "2024-01-03T14:30/01-03T21:00"]
NEW_YORK = ZoneInfo("America/New_York")


class TestInput:
    @pytest.mark.parametrize(
        ("opens", "closes", "tz"),
        [
            (OPENS, CLOSES, None),
            (OPENS.astype("datetime64[s]"), CLOSES.astype("datetime64[us]"), None),
            (OPENS.astype(np.int64), CLOSES.astype(np.int64), None),
            (
                ["2024-01-02T09:30-05:00", "2024-01-03 14:30:00Z"],
                ["2024-01-02T16:00-05:00", "2024-01-03T16:00:00-05:00"],
                None,
            ),
            (
                ["2024-01-02T09:30", "2024-01-03T14:30Z"],
                ["2024-01-02T16:00", "2024-01-03T16:00"],
                "America/New_York",
            ),
            (
                [datetime(2024, 1, day, 9, 30, tzinfo=NEW_YORK) for day in (2, 3)],
                [datetime(2024, 1, day, 16, tzinfo=NEW_YORK) for day in (2, 3)],
                None,
            ),
            (
                OPENS - np.timedelta64(5, "h"),
                CLOSES - np.timedelta64(5, "h"),
                "America/New_York",
            ),
        ],
    )
    def test_forms(self, opens: Any, closes: Any, tz: Any) -> None:
        interval = sessions("XNYS", opens, closes, tz=tz)
        assert texts(interval) == TWO_DAYS
        assert (interval.name, interval.kind, interval.period) == ("XNYS", "sessions", None)

    def test_pandas(self) -> None:
        pd = pytest.importorskip("pandas")
        opens = pd.Series(OPENS).dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")
        closes = pd.DatetimeIndex(CLOSES, tz="UTC")
        assert texts(sessions("XNYS", opens, closes)) == TWO_DAYS

    @pytest.mark.parametrize(
        ("opens", "closes", "row", "text"),
        [
            (OPENS, CLOSES[:1], 0, "2 opens but 1 closes"),
            (OPENS[:0], CLOSES[:0], 0, "the table is empty"),
            (OPENS[::-1], CLOSES[::-1], 1, "it opens before the row above closes"),
            (CLOSES, OPENS, 0, "it closes before it has opened"),
            (OPENS, np.array([CLOSES[0], "NaT"], "datetime64[ns]"), 1, "NaT is not a whole second"),
            (OPENS + np.timedelta64(1, "ns"), CLOSES, 0, None),
            (OPENS.astype(np.int64) + 1, CLOSES, 0, "not on a whole second"),
            (OPENS.astype(float), CLOSES, 0, None),
            (["2024-01-02T14:30"], ["2024-01-02T21:00"], 0, None),
            (["soon"], ["later"], 0, "'soon' is not a time"),
            ([None], [None], 0, "None is not a time"),
            (["2024-01-02T14:30:00.5Z"], ["2024-01-02T21:00Z"], 0, None),
            (OPENS.reshape(1, 2), CLOSES, 0, "opens and closes must be one-dimensional"),
        ],
    )
    def test_refusals(self, opens: Any, closes: Any, row: int, text: Any) -> None:
        with pytest.raises(IntervalError) as caught:
            sessions("XNYS", opens, closes)
        name, found_row, found = reason(caught)
        assert (name, found_row) == ("invalid_session_table", row)
        assert text is None or found == text

    def test_a_name_has_limits(self) -> None:
        with pytest.raises(IntervalError):
            sessions("x" * 65, OPENS, CLOSES)
        with pytest.raises(IntervalError):
            sessions("", OPENS, CLOSES)

    def test_unknown_zone(self) -> None:
        with pytest.raises(IntervalError) as caught:
            sessions("XNYS", OPENS, CLOSES, tz="America/Gotham")
        assert caught.value.name == "unknown_time_zone"


class TestUse:
    def test_equal_hashable_picklable_frozen(self) -> None:
        interval = sessions("XNYS", OPENS, CLOSES)
        copy = pickle.loads(pickle.dumps(interval))
        assert copy == interval
        assert hash(copy) == hash(interval)
        assert interval != sessions("XNYS", OPENS, CLOSES, every="30m")
        assert interval != sessions("other", OPENS, CLOSES)
        assert repr(interval) == (
            "<sessions 'XNYS': 2 from 2024-01-02T14:30:00Z to 2024-01-03T21:00:00Z>"
        )
        with pytest.raises(AttributeError):
            interval._every_s = 5
        assert isinstance(interval, SessionInterval)
        with pytest.raises(ValueError, match="read-only"):
            interval._opens_s[0] = 5

    def test_beside_others(self) -> None:
        interval = sessions("XNYS", OPENS, CLOSES)
        assert parse_intervals(["1m", interval])[1] is interval
        for twice in ([interval, interval], [interval, sessions("again", OPENS, CLOSES)]):
            with pytest.raises(IntervalError) as caught:
                parse_intervals(twice)
            assert caught.value.name == "duplicate_interval"

    def test_the_core_knows_the_holes_around_a_range(self) -> None:
        days = daily_sessions(
            "day", "09:00", "17:00", tz="UTC", start="2024-01-01", end="2024-02-01"
        )
        start, end = ns("2024-01-13T01"), ns("2024-01-14T01")  # a weekend
        core = days.to_core(start, end)
        assert core.locate(start) == (False, ns("2024-01-12T17"), ns("2024-01-15T09"))
        assert core.spans()[0].size == 2
        core = days.to_core(ns("2024-01-16T12"), ns("2024-01-17T12"))
        assert core.locate(ns("2024-01-16T12")) == (True, ns("2024-01-16T09"), ns("2024-01-16T17"))
        assert core.locate(ns("2024-01-16T08"))[1] == ns("2024-01-15T17")
        assert core.locate(ns("2024-01-17T17"))[2] == ns("2024-01-18T09")
        assert days.to_core(ns("1990-01-01"), ns("1990-01-02")).spans()[0].size == 1
        assert days.to_core(ns("2090-01-01"), ns("2090-01-02")).spans()[0].size == 1

    def test_every_cuts_sessions_from_their_open(self) -> None:
        early = ["2024-01-02T14:30", "2024-01-03T14:30"], ["2024-01-02T21:00", "2024-01-03T18:00"]
        opens, closes = (np.array(column, dtype="datetime64[s]") for column in early)
        interval = sessions("XNYS", opens, closes, every="2h")
        assert texts(interval) == [
            "2024-01-02T14:30/01-02T16:30",
            "2024-01-02T16:30/01-02T18:30",
            "2024-01-02T18:30/01-02T20:30",
            "2024-01-02T20:30/01-02T21:00",
            "2024-01-03T14:30/01-03T16:30",
            "2024-01-03T16:30/01-03T18:00",
        ]
        assert repr(interval).endswith("every=7200s>")
        whole_day = sessions("XNYS", opens, closes, every=timedelta(days=1))
        assert len(texts(whole_day)) == 2

    @pytest.mark.parametrize("every", ["1M", "1h+30m", "1h@Asia/Tokyo", "0m"])
    def test_every_needs_a_plain_length(self, every: str) -> None:
        with pytest.raises(IntervalError) as caught:
            sessions("XNYS", OPENS, CLOSES, every=every)
        assert caught.value.name == "invalid_interval"


class TestDaily:
    def test_clock_change_weekend_holiday_and_early_close(self) -> None:
        interval = daily_sessions(
            "NYSE",
            "09:30",
            time(16),
            tz="America/New_York",
            start="2024-03-07",
            end=date(2024, 3, 14),
            holidays=["2024-03-12"],
            early_closes={"2024-03-13": "13:00"},
        )
        assert texts(interval) == [
            "2024-03-07T14:30/03-07T21:00",
            "2024-03-08T14:30/03-08T21:00",
            "2024-03-11T13:30/03-11T20:00",
            "2024-03-13T13:30/03-13T17:00",
        ]

    def test_overnight_sessions_may_touch(self) -> None:
        interval = daily_sessions(
            "fx",
            "17:00",
            "17:00",
            tz="America/New_York",
            weekmask="Sun Mon Tue Wed Thu",
            start="2024-03-09",
            end="2024-03-12",
        )
        assert texts(interval) == ["2024-03-10T21:00/03-11T21:00", "2024-03-11T21:00/03-12T21:00"]

    def test_until_midnight(self) -> None:
        interval = daily_sessions(
            "all",
            "00:00",
            "24:00",
            tz="UTC",
            weekmask="1111111",
            start="2024-02-28",
            end="2024-03-01",
        )
        assert texts(interval) == ["2024-02-28T00:00/02-29T00:00", "2024-02-29T00:00/03-01T00:00"]

    @pytest.mark.parametrize(
        ("change", "error"),
        [
            ({"opens_at": "9.30"}, "invalid_session_table"),
            ({"opens_at": "24:00"}, "invalid_session_table"),
            ({"closes_at": time(16, tzinfo=timezone.utc)}, "invalid_session_table"),
            ({"closes_at": 16}, "invalid_session_table"),
            ({"start": "yesterday"}, "invalid_session_table"),
            ({"start": "NaT"}, "invalid_session_table"),
            ({"end": "2024-01-01"}, "invalid_session_table"),
            ({"weekmask": "Funday"}, "invalid_session_table"),
            ({"weekmask": "0000000"}, "invalid_session_table"),
            ({"holidays": ["never"]}, "invalid_session_table"),
            ({"early_closes": {"2024-01-06": "13:00"}}, "invalid_session_table"),
            ({"early_closes": {"2025-01-06": "13:00"}}, "invalid_session_table"),
            ({"tz": "New York"}, "unknown_time_zone"),
        ],
    )
    def test_refusals(self, change: Any, error: str) -> None:
        arguments = {
            "opens_at": "09:30",
            "closes_at": "16:00",
            "tz": "America/New_York",
            "start": "2024-01-01",
            "end": "2024-02-01",
        }
        with pytest.raises(IntervalError) as caught:
            daily_sessions("NYSE", **(arguments | change))
        assert caught.value.name == error


class TestCalendar:
    def schedule(self) -> Any:
        pd = pytest.importorskip("pandas")
        days = ["2024-01-04", "2024-01-05"]
        return pd.DataFrame(
            {
                "open": pd.to_datetime([f"{day}T00:00" for day in days], utc=True),
                "break_start": pd.to_datetime([f"{days[0]}T02:30", None], utc=True),
                "break_end": pd.to_datetime([f"{days[0]}T03:30", None], utc=True),
                "close": pd.to_datetime([f"{day}T06:00" for day in days], utc=True),
            },
            index=pd.to_datetime(days),
        )

    def test_a_schedule(self) -> None:
        interval = calendar_sessions(self.schedule(), "XTKS")
        assert texts(interval) == ["2024-01-04T00:00/01-04T06:00", "2024-01-05T00:00/01-05T06:00"]

    def test_breaks_split_the_sessions_that_have_one(self) -> None:
        interval = calendar_sessions(self.schedule(), "XTKS", breaks=True)
        assert texts(interval) == [
            "2024-01-04T00:00/01-04T02:30",
            "2024-01-04T03:30/01-04T06:00",
            "2024-01-05T00:00/01-05T06:00",
        ]

    def test_other_names_of_the_columns(self) -> None:
        table = self.schedule().rename(columns={"open": "market_open", "close": "market_close"})
        assert len(texts(calendar_sessions(table, "XTKS"))) == 2

    @pytest.mark.parametrize("calendar", [object(), 5, None, {"open": []}])
    def test_no_schedule(self, calendar: object) -> None:
        with pytest.raises(IntervalError) as caught:
            calendar_sessions(calendar)
        assert caught.value.name == "invalid_session_table"

    @pytest.mark.filterwarnings("ignore")  # of the calendar package itself
    def test_the_real_thing(self) -> None:
        exchange_calendars = pytest.importorskip("exchange_calendars")
        calendar = exchange_calendars.get_calendar("XHKG", start="2024-02-05", end="2024-02-16")
        interval = calendar_sessions(calendar, breaks=True)
        assert interval.name == "XHKG"
        assert texts(interval)[:2] == [
            "2024-02-05T01:30/02-05T04:00",
            "2024-02-05T05:00/02-05T08:00",
        ]
        # New Year's Eve is a half day, three holidays follow.
        assert "2024-02-09T01:30/02-09T04:00" in texts(interval)
        assert not any(text.startswith("2024-02-12") for text in texts(interval))
