"""Times as people give them."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest

from klineagg import SimulatedClock, errors
from klineagg._bars_time import to_ns
from klineagg.engine import Engine

NEW_YEAR = 1_704_067_200_000_000_000  # 2024
HOUR = 3_600_000_000_000


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2024", NEW_YEAR),
        ("2024-01-01", NEW_YEAR),
        (" 2024-01-01 00:00 ", NEW_YEAR),
        ("2024-01-01T00:00:00.123456789", NEW_YEAR + 123_456_789),
        ("2024-01-01T00:00:00.123456789Z", NEW_YEAR + 123_456_789),
        ("2024-01-01T00:00:00.123456789+02:00", NEW_YEAR + 123_456_789 - 2 * HOUR),
        ("2024-01-01 00:00:00-0530", NEW_YEAR + 11 * HOUR // 2),
        ("2024-01-01T00+01:00", NEW_YEAR - HOUR),
        (np.datetime64("2024-01-01T00:00:00.000000001", "ns"), NEW_YEAR + 1),
        (datetime(2024, 1, 1), NEW_YEAR),
        (datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=-5))), NEW_YEAR + 5 * HOUR),
        (date(2024, 1, 1), NEW_YEAR),
        (NEW_YEAR + 7, NEW_YEAR + 7),
        (np.int64(NEW_YEAR), NEW_YEAR),
    ],
)
def test_a_time_is_read_to_the_nanosecond(given: Any, expected: int) -> None:
    assert to_ns(given, "start") == expected


def test_a_time_of_pandas_keeps_its_nanoseconds() -> None:
    pandas = pytest.importorskip("pandas")
    assert to_ns(pandas.Timestamp(NEW_YEAR + 1), "start") == NEW_YEAR + 1
    with pytest.raises(errors.OptionError, match="NaT"):
        to_ns(pandas.NaT, "start")


@pytest.mark.parametrize(
    "given",
    [
        "", "now", "today", "yesterday", "2024-13-01", "2024-W01-1", "20240101", "9999-01-01",
        "2024-01-01T00:00:00 UTC", "2024-01-01T00:00+24:00", "2024-01-01T00:00+01:60",
        np.datetime64("NaT"), 1.5, True, None,
    ],
)  # fmt: skip
def test_what_is_no_time_is_refused_as_it_was_given(given: Any) -> None:
    with pytest.raises(errors.OptionError) as caught:
        to_ns(given, "start")
    assert str(caught.value).startswith(f"[KLA-103 invalid_option] start={given!r} is not a time")


def test_a_clock_is_set_to_the_nanosecond() -> None:
    with Engine("1s", clock=SimulatedClock()) as engine:
        engine.advance("2024-01-01T00:00:00.123456789")
        assert engine.clock.now() == np.datetime64(NEW_YEAR + 123_456_789, "ns")
    with pytest.raises(errors.OptionError, match="from 1900 up to 2200"):
        SimulatedClock("1899-12-31")
