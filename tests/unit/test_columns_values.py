"""Times, amounts, sides, ids and flags of every type, and what is refused."""

from __future__ import annotations

import datetime
import decimal
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import klineagg
from klineagg import errors
from klineagg._columns_convert import to_amount, to_flags, to_id
from klineagg._columns_data import Column
from klineagg._columns_read import column_of
from klineagg._columns_side import side_encoder, to_side
from klineagg._columns_time import MISSING_TIME, to_time

NS = 10**9
NOW = 1_600_000_000


def col(data: Any, name: str = "c") -> Column:
    (single,) = column_of(name, data)
    return single


def nanoseconds(data: Any, unit: str | None = None) -> list[int | None]:
    stamps, scale = to_time(col(data, "time"), unit, 0)
    assert stamps.dtype == np.int64
    return [None if t == MISSING_TIME else t * scale for t in stamps.tolist()]


# Times.


@pytest.mark.parametrize(("unit", "scale"), [("s", NS), ("ms", 10**6), ("us", 10**3), ("ns", 1)])
@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_integer_times_stay_where_they_are(unit: str, scale: int, dtype: str) -> None:
    data = (NOW * NS // scale + np.arange(3)).astype(dtype)
    stamps, found = to_time(col(data), unit, 0)
    assert (found, stamps.tolist()) == (scale, data.tolist())
    assert np.shares_memory(stamps, data)


@pytest.mark.parametrize("dtype", ["int32", "uint32"])
def test_narrow_integer_times(dtype: str) -> None:
    assert nanoseconds(np.array([NOW, NOW + 1], dtype), "s") == [NOW * NS, (NOW + 1) * NS]


def test_stamps_beyond_int64_are_out_of_range_and_not_wrapped_into_it() -> None:
    """Not -1, which is a time of 1969: some feeds mark a missing time like that."""
    rows = {
        "symbol": ["A"] * 3, "time": np.array([2**64 - 1, NOW * NS, 2**63 + 5], np.uint64),
        "price": [1.0] * 3, "quantity": [1.0] * 3,
    }  # fmt: skip
    with klineagg.Aggregator("1d", on_bad="count") as aggregator:
        aggregator.update(rows)
        (bar,) = aggregator.finish().to_numpy()
        assert dict(aggregator.report.rejected) == {"time_out_of_range": 2}
    assert bar["trade_count"] == 1


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns", "m", "h", "D", "10ms"])
def test_datetime64_carries_its_unit(unit: str) -> None:
    data = np.array(["2020-01-02", "NaT", "2020-01-03"], "datetime64[s]").astype(
        f"datetime64[{unit}]"
    )
    stamps, _ = to_time(col(data), "ms", 0)  # unit= is for integers
    assert np.shares_memory(stamps, data)
    day = 18263 * 86400 * NS
    assert nanoseconds(data) == [day, None, day + 86400 * NS]


@pytest.mark.parametrize("unit", ["W", "M", "Y", "ps"])
def test_units_that_are_not_a_number_of_nanoseconds(unit: str) -> None:
    data = np.array(["2020-01-01", "NaT"], "datetime64[s]").astype(f"datetime64[{unit}]")
    expected = data[0].astype("datetime64[ns]").astype(np.int64)
    assert nanoseconds(data) == [expected, None]


def test_arrow_timestamps_and_dates() -> None:
    pa = pytest.importorskip("pyarrow")
    when = datetime.datetime(2020, 1, 2, 3, tzinfo=datetime.timezone.utc)
    expected = int(when.timestamp()) * NS
    for unit in ("s", "ms", "us", "ns"):
        for zone in (None, "UTC", "Asia/Tokyo"):
            array = pa.array([when.replace(tzinfo=None), None]).cast(pa.timestamp(unit))
            if zone:
                array = pa.array([when, None], pa.timestamp(unit, zone))
            assert nanoseconds(array) == [expected, None]
    midnight = expected - 3 * 3600 * NS
    for type_ in (pa.date32(), pa.date64()):
        assert nanoseconds(pa.array([when.date(), None], type_)) == [midnight, None]


def test_pandas_times() -> None:
    pd = pytest.importorskip("pandas")
    series = pd.Series(pd.to_datetime(["2020-01-02T03:00:00.123456789", None]))
    expected = [1577934000 * NS + 123456789, None]
    assert nanoseconds(series) == expected
    assert nanoseconds(series.astype("datetime64[ns]").dt.tz_localize("UTC")) == expected
    tokyo = series.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")
    assert nanoseconds(tokyo) == expected
    assert nanoseconds(tokyo.astype(object)) == expected
    pytest.importorskip("pyarrow")
    assert nanoseconds(series.astype("timestamp[ns][pyarrow]")) == expected


def test_python_datetimes() -> None:
    utc = datetime.timezone.utc
    east = datetime.timezone(datetime.timedelta(hours=9))
    plain = datetime.datetime(2020, 1, 2, 3, 4, 5, 678901)
    expected = int(plain.replace(tzinfo=utc).timestamp()) * NS + 678901000
    rows = [
        plain,
        plain.replace(tzinfo=utc),
        plain.replace(tzinfo=utc).astimezone(east),
        None,
        np.datetime64("2020-01-02T03:04:05.678901"),
        np.datetime64("NaT"),
        datetime.date(2020, 1, 2),
    ]
    midnight = 1577923200 * NS
    assert nanoseconds(rows) == [expected] * 3 + [None, expected, None, midnight]
    assert nanoseconds([plain, plain]) == [expected] * 2


@pytest.mark.parametrize("year", [1, 1600, 2300, 9999])
def test_datetimes_that_nanoseconds_cannot_hold(year: int) -> None:
    with pytest.raises(errors.ColumnError, match="row 1 .*out of range"):
        nanoseconds([datetime.datetime(2020, 1, 1), datetime.datetime(year, 1, 1)])


def test_nulls_among_integers() -> None:
    pa = pytest.importorskip("pyarrow")
    assert nanoseconds(pa.array([NOW, None, NOW + 1]), "s") == [NOW * NS, None, (NOW + 1) * NS]
    assert nanoseconds(np.array([NOW, None], object), "s") == [NOW * NS, None]
    masked = np.ma.MaskedArray([NOW, 5, NOW], [False, True, False])
    assert nanoseconds(masked, "s") == [NOW * NS, None, NOW * NS]
    assert nanoseconds(pa.nulls(2)) == [None, None]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.array([1.6e9]), "never a float"),
        (np.array([1.6e9], "f4"), "never a float"),
        ([decimal.Decimal("1.5")], "1.5"),
        (["2020-01-01T00:00:00"], "datetime64"),
        (np.array(["2020-01-01"], object), "datetime64"),
        (np.array([True]), "bool"),
        (np.array([5], "timedelta64[s]"), "timedelta64"),
        ([NOW, datetime.datetime(2020, 1, 1)], "mixes"),
        ([None, 1.5], "row 1"),
    ],
)
def test_what_is_no_time_is_refused_with_advice(data: Any, words: str) -> None:
    with pytest.raises(errors.ColumnError, match=words) as raised:
        nanoseconds(data)
    assert raised.value.name == "column_type"
    assert raised.value.fields["column"] == "time"
    assert raised.value.hint


def test_a_time_of_day_is_no_time() -> None:
    pa = pytest.importorskip("pyarrow")
    with pytest.raises(errors.ColumnError, match="no date"):
        nanoseconds(pa.array([datetime.time(1, 2)]))


UNITS = {"s": NS, "ms": 10**6, "us": 10**3, "ns": 1}


@pytest.mark.parametrize("given_", [None, "s", "ms", "us", "ns"])
@pytest.mark.parametrize("actual", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("date", ["1990-01-02", "2009-01-03", "2024-06-01", "2099-12-30"])
def test_the_guard_against_another_unit(given_: str | None, actual: str, date: str) -> None:
    start = int(np.datetime64(date, "ns").astype(np.int64)) // UNITS[actual]
    data = start + np.arange(1000) * 7
    if (given_ or "ns") == actual:
        assert nanoseconds(data, given_)[0] == start * UNITS[actual]
        return
    with pytest.raises(errors.TimeUnitError, match=f"looks like {actual}:") as raised:
        nanoseconds(data, given_)
    assert raised.value.name == "time_unit"
    assert raised.value.fields == {"column": "time", "given": given_ or "ns", "likely": actual}
    assert f"unit='{actual}'" in raised.value.hint


def test_stamps_of_two_units_are_refused_and_not_half_of_them_in_1970() -> None:
    micros = NOW * 10**6 + np.arange(1000)
    both = np.concatenate([micros // 1000, micros])
    for unit, likely in (("us", "ms"), ("ms", "us")):
        with pytest.raises(errors.TimeUnitError, match=f"look like {likely}:") as raised:
            nanoseconds(both, unit)
        assert raised.value.fields["likely"] == likely
    with pytest.raises(errors.TimeUnitError, match="looks like ms"):
        nanoseconds([0, NOW * 1000, NOW * 1000])  # a zero says nothing


def test_a_few_bad_stamps_do_not_silence_the_guard() -> None:
    data = NOW * 1000 + np.arange(5000)
    data[::50] = 0
    with pytest.raises(errors.TimeUnitError):
        nanoseconds(data)
    with pytest.raises(errors.TimeUnitError):
        nanoseconds([NOW * 1000, None, NOW * 1000])


@pytest.mark.parametrize(
    "data",
    [
        [0, 1, 2],
        [-5],
        np.arange(0, 86400 * NS, 7 * NS),  # a day in 1970 in ns passes ms and us on its way
        [NOW * NS, 0, 5],  # one good stamp is enough
        [],
    ],
    ids=["small", "negative", "a day", "mixed", "empty"],
)
def test_the_guard_lets_other_data_pass(data: Any) -> None:
    assert len(nanoseconds(data)) == len(data)


def test_typed_times_are_not_guarded() -> None:
    data = np.array([NOW * 1000], "datetime64[ns]")
    assert nanoseconds(data) == [NOW * 1000]


# Amounts.


def test_amounts_of_other_types() -> None:
    pa = pytest.importorskip("pyarrow")
    for data in (
        np.array([1, 2], "int32"),
        np.array([1, 2], "float32"),
        np.array([1, 2], ">f8"),
        [decimal.Decimal(1), 2],
        pa.array([decimal.Decimal("1.00"), decimal.Decimal("2.00")]),
        pa.array(np.array([1.0, 2.0], np.float16)),
        np.array([1, 2], "float64"),
    ):
        amounts = to_amount(col(data), 0)
        assert amounts.dtype == "float64"
        assert amounts.tolist() == [1.0, 2.0]


@given(st.lists(st.decimals(allow_nan=False, allow_infinity=False, places=8), max_size=5))
def test_python_decimals_become_the_nearest_float(rows: list[decimal.Decimal]) -> None:
    assert to_amount(col(rows), 0).tolist() == [float(row) for row in rows]


def test_missing_amounts() -> None:
    pa = pytest.importorskip("pyarrow")
    for data in (
        [1.0, None],
        pa.array([1.0, None]),
        pa.array([1, None]),
        pa.array([decimal.Decimal("1.0"), None]),
        np.ma.MaskedArray([1.0, 5.0], [False, True]),
        np.array([1.0, None], object),
    ):
        first, second = to_amount(col(data), 0).tolist()
        assert first == 1.0
        assert math.isnan(second)
    assert np.isnan(to_amount(col(pa.nulls(2)), 0)).all()


@pytest.mark.parametrize(
    "data",
    [["1.5"], np.array(["1.5"]), [True], np.array([True]), [1.0, "x"], np.array([1j])],
    ids=repr,
)
def test_what_is_no_amount_is_refused(data: Any) -> None:
    with pytest.raises(errors.ColumnError, match="'price'") as raised:
        to_amount(col(data, "price"), 0)
    assert raised.value.name == "column_type"


# Sides.


def takers(data: Any, **options: bool) -> list[int]:
    """+1 where the taker bought, -1 where it sold, 0 where that is not known."""
    options = {"of_maker": False, "buyer_is_maker": False, **options}
    values, rule = to_side(col(data, "side"), side_encoder(), first_row=0, **options)
    assert values is not None
    assert values.dtype in (np.int8, np.uint8, np.bool_)
    signs = [int(value) for value in values.tolist()]
    if rule == "maker":
        return [-1 if sign else 1 for sign in signs]
    is_bool = values.dtype == np.bool_
    return [-1 if is_bool and not sign else sign for sign in signs]


MAKER = {"of_maker": True, "buyer_is_maker": True}


def test_sides_that_are_not_copied() -> None:
    for data in (
        np.array([True, False]),
        np.array([1, -1, 0], np.int8),
        np.array([1, 0], np.uint8),
    ):
        values, rule = to_side(
            col(data), side_encoder(), of_maker=False, buyer_is_maker=False, first_row=0
        )
        assert values is not None
        assert np.shares_memory(values, data)
        assert rule == "sign"
    for data in (np.array([True, False]), np.array([1, 0], np.int8)):
        values, rule = to_side(col(data), side_encoder(), first_row=0, **MAKER)
        assert values is not None
        assert np.shares_memory(values, data)
        assert rule == "maker"


@pytest.mark.parametrize(
    "data",
    [
        np.array([True, False]),
        np.array([1, -1]),
        np.array([1, -1], np.int16),
        np.array([1.0, -1.0]),
        [1, -1],
        ["B", "S"],
        ["b", "s"],
        ["buy", "sell"],
        ["BUY", "SELL"],
        ["Buy", "Sell"],
        ["bid", "ask"],
        np.array([b"B", b"A"]),
        np.array([True, "sell"], object),
    ],
    ids=repr,
)
def test_sides_of_every_kind(data: Any) -> None:
    assert takers(data) == [1, -1]
    assert takers(data, of_maker=True) == [-1, 1]


@pytest.mark.parametrize(
    "data",
    [np.array([True, False]), np.array([1, 0]), np.array([1.0, 0.0]), ["true", "False"], [True, 0]],
    ids=repr,
)
def test_whether_the_buyer_was_the_maker(data: Any) -> None:
    # [True, 0] is an array of integers for NumPy.
    assert takers(data, **MAKER) == [-1, 1]


def test_unknown_sides() -> None:
    pa = pytest.importorskip("pyarrow")
    for data in (
        ["buy", "", "sell", "unknown"],
        ["buy", None, "sell", None],
        pa.array(["buy", None, "sell", ""]),
        pa.array(["buy", None, "sell", ""]).dictionary_encode(),
        pa.array([True, None, False, None]),
        pa.array([1, None, -1, 0], pa.int8()),
        np.array([1, np.nan, -1, 0]),
        np.array([True, None, False, np.nan], object),
    ):
        assert takers(data) == [1, 0, -1, 0]
        assert takers(data, of_maker=True) == [-1, 0, 1, 0]
    assert takers(pa.array([True, None, False]), **MAKER) == [-1, 0, 1]
    assert takers(pa.array([1, None, 0]), **MAKER) == [-1, 0, 1]
    assert takers(np.array([1, np.nan, 0]), **MAKER) == [-1, 0, 1]
    options = {"of_maker": False, "buyer_is_maker": False}
    assert to_side(col(pa.nulls(3)), side_encoder(), first_row=0, **options) == (None, "sign")


@pytest.mark.parametrize(
    ("data", "row", "value"),
    [
        (["buy", "up"], 1, "up"),
        (np.array(["buy", "sell", "1"]), 2, "1"),
        (np.array([1, 2]), 1, 2),  # FIX: 1 is buy, 2 is sell
        (np.array([0, 1, 2], np.uint8), 2, 2),
        (np.array([1, -2], np.int8), 1, -2),
        (np.array([1.0, 0.5]), 1, 0.5),
        (np.array(["b", 7], object), 1, 7),
    ],
)
def test_a_side_that_is_none_is_named_with_its_row(data: Any, row: int, value: Any) -> None:
    with pytest.raises(errors.ColumnError) as raised:
        takers(data)
    assert raised.value.name == "column_type"
    fields = raised.value.fields
    assert (fields["column"], fields["row"], fields["value"]) == ("side", row, value)
    assert repr(value) in str(raised.value)


def test_a_sign_is_no_answer_to_whether_the_buyer_was_the_maker() -> None:
    with pytest.raises(errors.ColumnError, match="-1"):
        takers(np.array([1, -1]), **MAKER)
    with pytest.raises(errors.ColumnError, match="-1"):
        takers(np.array([1.0, -1.0]), **MAKER)


def test_a_side_of_another_type() -> None:
    with pytest.raises(errors.ColumnError, match="datetime64"):
        takers(np.array(["2020-01-01"], "datetime64[s]"))


# Ids and flags.


def test_ids() -> None:
    pa = pytest.importorskip("pyarrow")
    data = np.array([5, 6], np.int64)
    same = to_id(col(data), 0)
    assert same is not None
    assert np.shares_memory(same, data)
    for other in (
        np.array([5, 6], np.int32),
        np.array([5, 6], np.uint64),
        np.array([5.0, 6.0]),
        np.array([5, 6], object),
        [5, 6],
        pa.array([5, 6], pa.uint8()),
    ):
        ids = to_id(col(other), 0)
        assert ids is not None
        assert ids.dtype == "int64"
        assert ids.tolist() == [5, 6]
    assert to_id(col(pa.nulls(2)), 0) is None


def test_missing_ids() -> None:
    pa = pytest.importorskip("pyarrow")
    for data in (np.array([5, np.nan]), pa.array([5, None]), [5, None], pa.array([5.0, None])):
        ids = to_id(col(data), 0)
        assert ids is not None
        assert ids.tolist() == [5, -1]


@pytest.mark.parametrize(
    "data",
    [
        ["20f43950-d8dd-5b31-9112-a178eb6023af"],
        np.array(["12"]),
        np.array(["12"], object),
        np.array([1.5]),
        np.array([2.0**60]),  # a float that large stands for many integers
        np.array([True]),
        [1, 2**70],
        [1, 2.5, None],
    ],
    ids=repr,
)
def test_what_is_no_id_is_refused(data: Any) -> None:
    with pytest.raises(errors.ColumnError, match="'trade_id'") as raised:
        to_id(col(data, "trade_id"), 0)
    assert raised.value.name == "column_type"


@pytest.mark.parametrize("beyond", [2**63, 2**63 + 1, 2**64 - 1])
def test_ids_beyond_int64_are_refused_and_not_wrapped_into_it(beyond: int) -> None:
    with pytest.raises(errors.ColumnError, match=f"row 8 .* {beyond}"):
        to_id(col(np.array([5, beyond], np.uint64)), 7)
    ids = to_id(col(np.array([5, 2**63 - 1], np.uint64)), 0)
    assert ids is not None and ids.tolist() == [5, 2**63 - 1]


def test_flags() -> None:
    pa = pytest.importorskip("pyarrow")
    data = np.array([0, 7], np.uint8)
    got = to_flags(col(data))
    assert got is not None
    assert np.shares_memory(got, data)
    wide = to_flags(col(np.array([0, 3, 256, -1, 255])))
    assert wide is not None
    assert wide.dtype == "uint8"
    assert wide.tolist() == [0, 3, 255, 255, 255]
    nulls = to_flags(col(pa.array([1, None], pa.uint8())))
    assert nulls is not None
    assert nulls.tolist() == [1, 0]
    assert to_flags(col(pa.nulls(2))) is None
    with pytest.raises(errors.ColumnError, match="'flags'"):
        to_flags(col(np.array([1.0]), "flags"))
