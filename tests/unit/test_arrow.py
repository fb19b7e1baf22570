"""Arrow data in and out through the C interfaces."""

from __future__ import annotations

import decimal
import gc
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klineagg import _core, errors
from unit.arrow_producer import Producer
from unit.arrow_tools import column, data_address, decoded, table_of

pa = pytest.importorskip("pyarrow")


def batches(data: Any) -> list[list[Any]]:
    return list(_core.read_arrow(data.__arrow_c_stream__()))


NUMBERS = [
    *[(f"{sign}int{bits}", f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)],
    ("float16", "float16"),
    ("float32", "float32"),
    ("float64", "float64"),
]


@pytest.mark.parametrize(("type_", "dtype"), NUMBERS)
def test_numbers_are_views_of_the_producers_memory(type_: str, dtype: str) -> None:
    array = pa.array(np.arange(7, dtype=dtype))
    got = column(array)
    values = got.values()
    assert (values.dtype, got.dtype) == (np.dtype(dtype), dtype)
    assert data_address(values) == array.buffers()[1].address
    assert values.tolist() == list(range(7))
    assert not values.flags.writeable
    assert (got.valid(), got.null_count, len(got)) == (None, 0, 7)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_timestamps_keep_their_unit(unit: str, zone: str | None) -> None:
    array = pa.array([1, None, 3], pa.timestamp(unit, zone))
    got = column(array)
    assert (got.kind, got.unit, got.dtype) == ("timestamp", unit, "int64")
    assert got.values()[[0, 2]].tolist() == [1, 3]
    assert got.valid().tolist() == [True, False, True]
    assert data_address(got.values()) == array.buffers()[1].address


@pytest.mark.parametrize(
    ("type_", "kind", "unit", "dtype"),
    [
        (pa.date32(), "date", "D", "int32"),
        (pa.date64(), "date", "ms", "int64"),
        (pa.time32("s"), "time", "s", "int32"),
        (pa.time32("ms"), "time", "ms", "int32"),
        (pa.time64("us"), "time", "us", "int64"),
        (pa.time64("ns"), "time", "ns", "int64"),
        (pa.duration("us"), "duration", "us", "int64"),
    ],
)
def test_other_times(type_: Any, kind: str, unit: str, dtype: str) -> None:
    integers = pa.int32() if dtype == "int32" else pa.int64()
    step = 86_400_000 if type_ == pa.date64() else 1
    got = column(pa.array([0, 5 * step, 9 * step], integers).cast(type_))
    assert (got.kind, got.unit, got.dtype) == (kind, unit, dtype)
    assert got.values().tolist() == [0, 5 * step, 9 * step]


@given(st.lists(st.one_of(st.none(), st.booleans()), max_size=70), st.data())
def test_bools_are_unpacked_at_any_offset(rows: list[bool | None], data: Any) -> None:
    start = data.draw(st.integers(0, len(rows)))
    stop = data.draw(st.integers(start, len(rows)))
    got = column(pa.array(rows, pa.bool_())).slice(start, stop)
    valid = got.valid()
    mask = [True] * len(got) if valid is None else valid.tolist()
    values = got.values().tolist()
    assert [v if m else None for v, m in zip(values, mask, strict=True)] == rows[start:stop]
    assert got.null_count == rows[start:stop].count(None)


TEXT_TYPES = ["string", "large_string", "string_view", "binary", "large_binary", "binary_view"]
texts = st.lists(st.one_of(st.none(), st.text(max_size=20)), max_size=40)


def arrow_type(name: str) -> Any:
    if not hasattr(pa, name):
        pytest.skip(f"this pyarrow has no {name}")
    return getattr(pa, name)()


@pytest.mark.parametrize("name", TEXT_TYPES)
@given(rows=texts, data=st.data())
def test_text_becomes_codes(name: str, rows: list[str | None], data: Any) -> None:
    start = data.draw(st.integers(0, len(rows)))
    raw = [None if row is None else row.encode() for row in rows]
    array = pa.array(raw, pa.binary()).cast(arrow_type(name)).slice(start)
    assert decoded(column(array)) == rows[start:]


def test_fixed_size_binary_loses_its_padding() -> None:
    got = column(pa.array([b"BTC\0", b"ETHX", None], pa.binary(4)))
    assert decoded(got) == ["BTC", "ETHX", None]


def test_text_that_is_not_utf8_is_refused() -> None:
    factorizer = _core.Factorizer()
    factorizer.encode(column(pa.array([b"\xff\xfe"])))
    with pytest.raises(errors.ColumnError) as raised:
        factorizer.names()
    assert raised.value.name == "column_type"


@pytest.mark.parametrize("index", ["int8", "uint16", "int32", "uint64"])
def test_dictionaries_give_codes_and_values(index: str) -> None:
    values = pa.array(["x", "y", None, "z"])
    codes = pa.array([3, 0, None, 2, 1], getattr(pa, index)())
    got = column(pa.DictionaryArray.from_arrays(codes, values)).slice(1, 5)
    assert (got.kind, got.dtype, got.type) == ("dictionary", "", "dictionary<string>")
    assert got.valid().tolist() == [True, False, True, True]
    assert got.indices()[[0, 2, 3]].tolist() == [0, 2, 1]
    assert decoded(got.dictionary()) == ["x", "y", None, "z"]
    assert got.token == got.slice(0, 1).token
    with pytest.raises(errors.ColumnError):
        got.values()


decimals = st.one_of(
    st.none(),
    st.integers(-(10**37), 10**37),
    st.integers(-(10**6), 10**6).map(lambda n: n * 10**16),
    st.integers(-(2**54), 2**54),
)


@given(st.lists(decimals, max_size=20), st.integers(0, 38))
def test_decimals_become_the_nearest_float(integers: list[int | None], scale: int) -> None:
    with decimal.localcontext(decimal.Context(prec=100)):
        exact = [None if n is None else decimal.Decimal(n).scaleb(-scale) for n in integers]
    got = column(pa.array(exact, pa.decimal128(38, scale)))
    values, valid = got.values(), got.valid()
    assert values.dtype == np.float64
    for row, number in enumerate(exact):
        if number is None:
            assert valid is not None
            assert not valid[row]
        else:
            assert values[row] == float(number)
            assert math.copysign(1, values[row]) == (-1 if number < 0 else 1)


@pytest.mark.parametrize(
    ("type_", "number"),
    [
        ("decimal32(9, 2)", "-1234567.89"),
        ("decimal64(18, 9)", "123456789.987654321"),
        ("decimal128(38, -3)", "12345000"),
        ("decimal256(76, 40)", "123456789012345678901234567890.0123456789012345678901234567890123"),
        ("decimal256(76, 0)", "-" + "9" * 76),
    ],
)
def test_decimals_of_every_width(type_: str, number: str) -> None:
    maker, _, arguments = type_.partition("(")
    if not hasattr(pa, maker):
        pytest.skip(f"pyarrow has no {maker}")
    precision, scale = map(int, arguments[:-1].split(","))
    with decimal.localcontext(decimal.Context(prec=100)):
        array = pa.array([decimal.Decimal(number)], getattr(pa, maker)(precision, scale))
    assert column(array).values().tolist() == [float(number)]


def test_decimals_round_halves_to_even() -> None:
    halfway = [2**53 + 1, 2**53 + 3, -(2**53 + 1)]
    got = column(pa.array([decimal.Decimal(n) for n in halfway], pa.decimal128(20, 0)))
    assert got.values().tolist() == [2.0**53, 2.0**53 + 4, -(2.0**53)]


def test_lists_give_offsets_and_items() -> None:
    for type_ in (pa.list_(pa.string()), pa.large_list(pa.string())):
        array = pa.array([["@", "T"], [], None, ["I"]], type_)
        got = column(array).slice(1, 4)
        offsets = got.offsets().tolist()
        items = got.items().slice(offsets[0], offsets[-1])
        assert [offset - offsets[0] for offset in offsets] == [0, 0, 0, 1]
        assert decoded(items) == ["I"]
        assert got.valid().tolist() == [True, False, True]


def test_a_column_of_nulls() -> None:
    got = column(pa.nulls(3))
    assert (got.kind, got.null_count, got.valid().tolist()) == ("null", 3, [False] * 3)
    assert len(got.values()) == 3


def test_slices_and_offsets_are_honoured() -> None:
    array = pa.array([None, 1.0, 2.0, None, 4.0]).slice(1)
    got = column(array)
    assert got.valid().tolist() == [True, True, False, True]
    assert got.values()[[0, 1, 3]].tolist() == [1.0, 2.0, 4.0]
    part = got.slice(1, 3)
    assert part.values()[0] == 2.0
    assert part.valid().tolist() == [True, False]
    assert part.slice(0, 1).null_count == 0
    assert part.slice(0, 1).valid() is None
    with pytest.raises(IndexError):
        got.slice(0, 5)


def test_a_struct_array_is_a_table_with_its_offset_and_its_nulls() -> None:
    rows = [{"p": 1.0, "q": 2}, None, {"p": 3.0, "q": None}, {"p": None, "q": 5}]
    array = pa.array(rows).slice(1)
    reader = _core.read_arrow(array.__arrow_c_array__())
    assert (reader.is_table, reader.names) == (True, ["p", "q"])
    p, q = table_of(reader)
    assert p.valid().tolist() == [False, True, False]
    assert q.valid().tolist() == [False, False, True]
    assert (p.values()[1], q.values()[2]) == (3.0, 5)
    assert p.slice(1, 2).null_count == 0


def test_zero_batches_and_zero_rows() -> None:
    schema = pa.schema([("p", pa.float64())])
    assert batches(pa.RecordBatchReader.from_batches(schema, [])) == []
    assert column(pa.array([], pa.float64())).values().dtype == np.float64
    for type_ in (pa.string(), pa.large_string(), pa.bool_(), pa.decimal128(9, 2)):
        got = column(pa.array([], type_))
        assert (len(got), got.null_count, got.valid()) == (0, 0, None)
        if got.kind == "text":
            assert decoded(got) == []
        else:
            assert len(got.values()) == 0


def test_data_without_columns_is_one_column() -> None:
    reader = _core.read_arrow(pa.array([1, 2]).__arrow_c_array__())
    assert (reader.is_table, reader.names, reader.type) == (False, [], "int64")
    assert [[piece.values().tolist() for piece in batch] for batch in reader] == [[[1, 2]]]
    producer = Producer()
    data = producer.memory(np.array([1.5, 2.5, 3.5]).tobytes())
    chunks = [producer.array(2, [None, data]), producer.array(1, [None, data], offset=2)]
    reader = _core.read_arrow(producer.stream(producer.schema(b"g"), chunks))
    got = [[piece.values().tolist() for piece in batch] for batch in reader]
    assert got == [[[1.5, 2.5]], [[3.5]]]


def test_types_that_are_not_read_matter_only_when_they_are_used() -> None:
    table = pa.table({"price": [1.0], "odd": pa.array([{"a": 1}]), "map": pa.array([[1]])})
    ((price, odd, lists),) = batches(table)
    assert price.values().tolist() == [1.0]
    assert (odd.kind, lists.kind) == ("other", "list")
    for read in (odd.values, odd.indices, odd.offsets, lists.values):
        with pytest.raises(errors.ColumnError, match="'(odd|map)'") as raised:
            read()
        assert raised.value.name == "column_type"
        assert raised.value.fields["column"] in ("odd", "map")


def test_arrays_outlive_their_table_and_reader() -> None:
    price = column(pa.array(np.arange(1000.0))).slice(10, 20).values()
    gc.collect()
    filler = [np.full(1000, -1.0) for _ in range(50)]
    assert price.tolist() == list(range(10, 20))
    del filler


def test_the_error_of_a_producer_is_forwarded() -> None:
    def produce() -> Any:
        yield pa.record_batch([pa.array([1.0])], names=["p"])
        raise ValueError("the disk is on fire")

    schema = pa.schema([("p", pa.float64())])
    reader = _core.read_arrow(
        pa.RecordBatchReader.from_batches(schema, produce()).__arrow_c_stream__()
    )
    assert len(next(reader)[0]) == 1
    with pytest.raises(errors.FileError, match="the disk is on fire") as raised:
        next(reader)
    assert raised.value.name == "stream_failed"
    # A stream that has failed has ended.
    assert list(reader) == []


def float_table(producer: Producer, values: list[float], **options: Any) -> tuple[Any, Any]:
    data = producer.memory(np.array(values).tobytes())
    child = producer.array(len(values), [None, data], **options)
    schema = producer.schema(b"+s", children=[producer.schema(b"g", b"p")])
    return schema, producer.array(len(values), [None], children=[child])


def test_an_array_is_released_once_after_its_last_user() -> None:
    producer = Producer()
    (p,) = table_of(_core.read_arrow(producer.pair(*float_table(producer, [1.0, 2.0]))))
    values = p.values()
    part = p.slice(1, 2).values()
    del p
    gc.collect()
    assert producer.arrays_released == 0
    del values
    gc.collect()
    assert producer.arrays_released == 0
    assert part.tolist() == [2.0]
    del part
    gc.collect()
    assert producer.arrays_released == 1


def test_what_is_never_read_is_released_too() -> None:
    producer = Producer()
    schema, array = float_table(producer, [1.0])
    reader = _core.read_arrow(producer.stream(schema, [array]))
    del reader
    assert producer.streams_released == 1
    pair = producer.pair(*float_table(producer, [1.0]))
    reader = _core.read_arrow(pair)
    del reader
    assert producer.arrays_released == 1


def test_a_failing_stream_is_released_once() -> None:
    producer = Producer()
    schema, array = float_table(producer, [1.0])
    reader = _core.read_arrow(producer.stream(schema, [array, 5], message=b"no more tapes"))
    kept = next(reader)
    with pytest.raises(errors.FileError, match="no more tapes") as raised:
        next(reader)
    assert raised.value.fields == {"errno": "5", "producer_message": "no more tapes"}
    assert producer.streams_released == 1
    assert kept[0].values().tolist() == [1.0]
    del kept, reader
    gc.collect()
    assert (producer.streams_released, producer.arrays_released) == (1, 1)


def test_a_producer_may_fail_without_a_word() -> None:
    producer = Producer()
    schema, _ = float_table(producer, [])
    with pytest.raises(errors.FileError, match="failed: .+"):
        next(_core.read_arrow(producer.stream(schema, [5])))


def test_an_unknown_null_count_is_counted() -> None:
    producer = Producer()
    data = producer.memory(np.array([1.0, 2.0, 3.0]).tobytes())
    child = producer.array(3, [producer.memory(b"\x05"), data], null_count=-1)
    schema = producer.schema(b"+s", children=[producer.schema(b"g", b"p")])
    (p,) = table_of(
        _core.read_arrow(producer.pair(schema, producer.array(3, [None], children=[child])))
    )
    assert p.null_count == 1
    assert p.valid().tolist() == [True, False, True]


@pytest.mark.parametrize("format_", [b"g", b"u", b"vu", b"b", b"d:9,2", b"+l", b"w:3"])
def test_an_array_that_does_not_fit_its_type_is_refused(format_: bytes) -> None:
    def read(buffers: list[int | None]) -> Any:
        producer = Producer()
        child = producer.array(2, buffers)
        schema = producer.schema(b"+s", children=[producer.schema(format_, b"p")])
        batch = producer.array(2, [None], children=[child])
        (p,) = table_of(_core.read_arrow(producer.pair(schema, batch)))
        return _core.Factorizer().encode(p) if p.kind == "text" else (p.values(), p.offsets())

    with pytest.raises(errors.ColumnError):
        read([None])
    with pytest.raises(errors.ColumnError):
        read([None, None, None])


def test_a_batch_that_does_not_fit_its_schema_is_refused() -> None:
    producer = Producer()
    schema, _ = float_table(producer, [])
    with pytest.raises(errors.ColumnError, match="does not fit its schema"):
        next(_core.read_arrow(producer.pair(schema, producer.array(1, [None]))))
    assert producer.arrays_released == 1


def test_a_capsule_is_read_once() -> None:
    stream = pa.table({"p": [1.0]}).__arrow_c_stream__()
    assert len(list(_core.read_arrow(stream))) == 1
    with pytest.raises(errors.ColumnError, match="already read"):
        _core.read_arrow(stream)


@pytest.mark.parametrize("source", [1, "x", (1, 2), None])
def test_other_objects_are_refused(source: Any) -> None:
    with pytest.raises(errors.ColumnError) as raised:
        _core.read_arrow(source)
    assert raised.value.name == "unsupported_input"
    with pytest.raises(errors.ColumnError, match="arrow_array_stream"):
        _core.read_arrow(pa.schema([]).__arrow_c_schema__())
