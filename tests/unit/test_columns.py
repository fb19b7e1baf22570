"""Inputs of every kind become the same chunks, over the same memory."""

from __future__ import annotations

import datetime
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from klineagg import errors
from klineagg.columns import BLOCK_ROWS, iter_chunks
from klineagg.symbols import intern, symbol_names
from unit.columns_factory import check, columns, only

NAMES = ["BTCUSDT", "ETHUSDT", "BTCUSDT", "XRPETH", "ETHUSDT"]


def address(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


def structured(align: bool) -> Any:
    data = columns()
    fields = [(name, values.dtype) for name, values in data.items()]
    out = np.zeros(5, np.dtype([("odd", "i1"), *fields], align=align))
    for name, values in data.items():
        out[name] = values
    return out


# What each kind of input looks like; none of them may copy a column.


@pytest.mark.parametrize("align", [False, True], ids=["packed", "aligned"])
def test_structured_arrays_are_read_in_place(align: bool) -> None:
    array = structured(align)
    chunk = only(array)
    check(chunk)
    for name in columns():
        assert np.shares_memory(getattr(chunk, name), array)
        assert address(getattr(chunk, name)) == address(array[name])
        assert getattr(chunk, name).strides == array[name].strides
    check(only(array.view(np.recarray)))


def test_mappings_are_read_in_place() -> None:
    data = columns()
    chunk = only(data)
    check(chunk)
    for name, values in data.items():
        assert getattr(chunk, name) is values or np.shares_memory(getattr(chunk, name), values)


def test_strided_columns_are_read_in_place() -> None:
    data = {name: np.repeat(values, 3)[::3] for name, values in columns().items()}
    chunk = only(data)
    check(chunk)
    assert all(address(getattr(chunk, name)) == address(data[name]) for name in data)


def test_polars_frames_are_read_in_place() -> None:
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame(columns())
    chunk = only(frame)
    check(chunk)
    for name in columns():
        buffer = frame[name].to_numpy(allow_copy=False)
        assert address(getattr(chunk, name)) == address(buffer), name
    sliced = only(frame.slice(1, 3))
    assert sliced.trade_id is not None
    assert sliced.trade_id.tolist() == [11, 12, 13]


def test_pyarrow_data_is_read_in_place() -> None:
    pa = pytest.importorskip("pyarrow")
    table = pa.table(columns())
    batch = table.to_batches()[0]
    for data in (table, batch, pa.RecordBatchReader.from_batches(table.schema, [batch])):
        chunk = only(data)
        check(chunk)
        for name in columns():
            assert address(getattr(chunk, name)) == batch.column(name).buffers()[1].address, name
    check(only(table.__arrow_c_stream__()))


def test_pandas_frames_are_read_in_place() -> None:
    pd = pytest.importorskip("pandas")
    data = columns()
    frame = pd.DataFrame(data, copy=False)
    chunk = only(frame)
    check(chunk)
    for name in ("time", "price", "trade_id"):
        assert np.shares_memory(getattr(chunk, name), frame[name].to_numpy()), name


def test_duckdb_relations() -> None:
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as connection:
        data = columns()
        connection.execute(
            "create table trades (symbol int, time bigint, price double, quantity double, "
            "side tinyint, trade_id bigint)"
        )
        for row in zip(*[values.tolist() for values in data.values()], strict=True):
            connection.execute("insert into trades values (?, ?, ?, ?, ?, ?)", row)
        check(only(connection.sql("from trades")))
        cast = "price::decimal(18, 4) as price, symbol::varchar as symbol"
        chunk = only(connection.sql(f"select * replace ({cast}) from trades"))
        assert chunk.price.tolist() == data["price"].tolist()
        assert symbol_names(chunk.symbol) == ["0", "1", "2", "3", "4"]


def test_lists_and_other_sequences() -> None:
    data = {name: values.tolist() for name, values in columns().items()}
    chunk = only(data)
    assert chunk.symbol.tolist() == [0, 1, 2, 3, 4]
    assert chunk.side is not None
    assert chunk.side.tolist() == [1, -1, 0, 1, -1]
    assert only({**data, "price": range(5)}).price.tolist() == [0, 1, 2, 3, 4]


def test_iterables_give_a_chunk_for_each_batch() -> None:
    pl = pytest.importorskip("polars")
    data = columns()
    parts = [
        {name: values[:2] for name, values in data.items()},
        pl.DataFrame({name: values[2:4] for name, values in data.items()}),
        structured(False)[4:],
    ]
    for trades in (parts, iter(parts), tuple(parts)):
        chunks = list(iter_chunks(trades))
        assert [len(chunk) for chunk in chunks] == [2, 2, 1]
        assert [chunk.first_row for chunk in chunks] == [0, 2, 4]
        assert np.concatenate([chunk.price for chunk in chunks]).tolist() == data["price"].tolist()
    assert list(iter_chunks([])) == []


def test_a_generator_is_read_batch_by_batch() -> None:
    read = []

    def produce() -> Any:
        for batch in range(3):
            read.append(batch)
            yield columns()

    chunks = iter_chunks(produce())
    assert read == []
    next(chunks)
    assert read == [0]


def test_single_trades_are_put_together() -> None:
    data = columns(rows := 9000)
    trades = [
        dict(zip(data, row, strict=True))
        for row in zip(*[values.tolist() for values in data.values()], strict=True)
    ]
    chunks = list(iter_chunks(trades))
    assert len(chunks) == 3
    assert np.concatenate([chunk.price for chunk in chunks]).tolist() == data["price"].tolist()
    assert only(trades[7]).price.tolist() == [107.0]
    assert rows == sum(map(len, chunks))


def test_chunked_columns_of_a_mapping_are_cut_where_any_is_cut() -> None:
    pa = pytest.importorskip("pyarrow")
    data = columns(7)
    trades = {
        **data,
        "price": pa.chunked_array([data["price"][:2], data["price"][2:2], data["price"][2:]]),
        "quantity": pa.chunked_array([data["quantity"][:5], data["quantity"][5:]]),
        "symbol": pa.array(np.arange(7), pa.int32()),
    }
    chunks = list(iter_chunks(trades))
    assert [len(chunk) for chunk in chunks] == [2, 3, 2]
    assert [chunk.first_row for chunk in chunks] == [0, 2, 5]
    for name, values in data.items():
        got = [getattr(chunk, name).tolist() for chunk in chunks]
        assert sum(got, []) == values.tolist(), name
    assert address(chunks[1].price) == trades["price"].chunk(2).buffers()[1].address


def test_memory_outlives_its_owner() -> None:
    pa = pytest.importorskip("pyarrow")
    chunk = only(pa.table(columns(1000)))
    gc.collect()
    filler = [np.full(1000, -1.0) for _ in range(50)]
    assert chunk.price.tolist() == columns(1000)["price"].tolist()
    del filler


# Symbols.


def text_inputs() -> dict[str, Callable[[], Any]]:
    def arrow(kind: str) -> Any:
        pa = pytest.importorskip("pyarrow")
        if not hasattr(pa, kind):
            pytest.skip(f"this pyarrow has no {kind}")
        return pa.array(NAMES).cast(getattr(pa, kind)())

    def arrow_dictionary() -> Any:
        return arrow("string").dictionary_encode()

    def polars(dtype: str) -> Any:
        pl = pytest.importorskip("polars")
        return pl.Series(NAMES, dtype=getattr(pl, dtype))

    def pandas(dtype: str) -> Any:
        return pytest.importorskip("pandas").Series(NAMES, dtype=dtype)

    return {
        "list": lambda: NAMES,
        "object": lambda: np.array(NAMES, object),
        "U": lambda: np.array(NAMES),
        "big-endian U": lambda: np.array(NAMES).astype(">U7"),
        "S": lambda: np.array(NAMES, "S"),
        "arrow": lambda: arrow("string"),
        "arrow large": lambda: arrow("large_string"),
        "arrow view": lambda: arrow("string_view"),
        "arrow dictionary": arrow_dictionary,
        "polars": lambda: polars("String"),
        "polars categorical": lambda: polars("Categorical"),
        "pandas object": lambda: pandas("object"),
        "pandas string": lambda: pandas("string"),
        "pandas category": lambda: pandas("category"),
    }


@pytest.mark.parametrize("kind", list(text_inputs()))
def test_text_symbols_are_interned(kind: str) -> None:
    chunk = only({**columns(), "symbol": text_inputs()[kind]()})
    assert chunk.symbol.dtype == np.int32
    assert symbol_names(chunk.symbol) == NAMES
    assert chunk.symbol.tolist() == intern(NAMES).tolist()


@pytest.mark.parametrize("library", ["polars", "pyarrow", "pandas"])
def test_text_symbols_of_tables(library: str) -> None:
    module = pytest.importorskip(library)
    data = {**columns(), "symbol": NAMES}
    table = module.table(data) if library == "pyarrow" else module.DataFrame(data)
    chunk = only(table)
    assert symbol_names(chunk.symbol) == NAMES
    assert chunk.price.tolist() == columns()["price"].tolist()


def test_a_categorical_of_numbers_is_a_column_of_numbers() -> None:
    pd = pytest.importorskip("pandas")
    pa = pytest.importorskip("pyarrow")
    prices = [1.5, None, 2.5, 1.5, 2.5]
    stamps = pa.array([None, 7, 8, 7, 8], pa.timestamp("ms"))
    category = pd.Series(prices, dtype="category")
    chunk = only({**columns(), "price": category, "time": stamps.dictionary_encode()})
    assert np.array_equal(chunk.price, np.array(prices, float), equal_nan=True)
    assert chunk.time_scale == 10**6
    assert chunk.time.tolist() == [np.iinfo(np.int64).min, 7, 8, 7, 8]


def test_one_symbol_for_all_rows() -> None:
    data = columns()
    del data["symbol"]
    expected = intern(["BTCUSDT"] * 5).tolist()
    for chunk in (
        only({"symbol": "BTCUSDT", **data}),
        only({"symbol": np.str_("BTCUSDT"), **data}),
        only(data, symbol="BTCUSDT"),
        only({"symbol": ["other"] * 5, **data}, symbol="BTCUSDT", columns={"symbol": None}),
    ):
        assert chunk.symbol.dtype == np.int32
        assert chunk.symbol.tolist() == expected
    assert only(data, symbol=7).symbol.tolist() == [7] * 5
    assert only({**data, "symbol": 7}).symbol.tolist() == [7] * 5
    with pytest.raises(errors.ColumnError, match="symbol=") as raised:
        only(data)
    assert (raised.value.name, raised.value.fields["column"]) == ("missing_column", "symbol")
    with pytest.raises(errors.OptionError):
        only(data, symbol="BTCUSDT", columns={"symbol": "price"})


@pytest.mark.parametrize("dtype", ["uint32", "int64", "uint64", "int16", "uint8"])
def test_integer_symbols_of_other_types(dtype: str) -> None:
    chunk = only({**columns(), "symbol": np.array([3, 0, 100, 7, 7], dtype)})
    assert chunk.symbol.dtype == "int32"
    assert chunk.symbol.tolist() == [3, 0, 100, 7, 7]


def test_symbol_ids_out_of_range() -> None:
    with pytest.raises(errors.ColumnError, match="row 3 .* 2147483648") as raised:
        only({**columns(), "symbol": np.array([0, 1, 2, 2**31, 4])})
    assert (raised.value.name, raised.value.fields["row"]) == ("unknown_symbol", 3)
    # A cast would make an id of the last one.
    low = only({**columns(), "symbol": np.array([-1, -5, 2, 3, -(2**32)])})
    assert low.symbol.tolist() == [-1, -1, 2, 3, -1]


def test_missing_symbols() -> None:
    pa = pytest.importorskip("pyarrow")
    names = ["A", None, "", "B", "A"]
    a, b = intern(["A", "B"]).tolist()
    for data in (
        names,
        np.array(names, object),
        pa.array(names),
        pa.array(names).dictionary_encode(),
    ):
        assert only({**columns(), "symbol": data}).symbol.tolist() == [a, -1, -1, b, a]
    nulls = pa.array([1, None, 2, 3, None], pa.int32())
    assert only({**columns(), "symbol": nulls}).symbol.tolist() == [1, -1, 2, 3, -1]
    assert only({**columns(), "symbol": pa.nulls(5)}).symbol.tolist() == [-1] * 5


# What is no table of trades.


@pytest.mark.parametrize(
    "trades",
    [None, 5, "trades.csv", b"x", np.zeros(3), np.zeros((2, 2)), [1, 2], [[1, 2]], object()],
    ids=repr,
)
def test_other_objects_are_refused(trades: Any) -> None:
    with pytest.raises(errors.ColumnError) as raised:
        list(iter_chunks(trades))
    assert raised.value.name == "unsupported_input"
    assert "type" in raised.value.fields


def test_who_passes_the_name_of_a_file_is_told_what_reads_it() -> None:
    for trades in ("trades.csv", Path("trades.csv")):
        with pytest.raises(errors.ColumnError, match=r"klineagg\.io\.read_trades"):
            list(iter_chunks(trades))


def test_who_passes_a_connection_of_duckdb_is_told_what_to_pass() -> None:
    connection = pytest.importorskip("duckdb").connect()
    with pytest.raises(errors.ColumnError, match=r"connection\.sql"):
        list(iter_chunks(connection.execute("select 1 as price")))


def test_a_lazy_frame_has_to_be_collected() -> None:
    pl = pytest.importorskip("polars")
    with pytest.raises(errors.ColumnError, match=r"\.collect\(\)"):
        list(iter_chunks(pl.DataFrame(columns()).lazy()))


def test_arrow_data_without_columns_is_refused() -> None:
    pa = pytest.importorskip("pyarrow")
    with pytest.raises(errors.ColumnError, match="int64"):
        list(iter_chunks(pa.array([1, 2])))


def test_columns_of_different_lengths() -> None:
    with pytest.raises(errors.ColumnError, match="'price' has 3") as raised:
        only({**columns(), "price": [1.0, 2.0, 3.0]})
    assert raised.value.name == "column_length"
    # A column that is not used may have any length.
    check(only({**columns(), "comment": ["x"]}))


def test_columns_of_more_dimensions() -> None:
    for odd in (np.zeros((5, 1)), [[1, 2]] * 5, np.zeros(5, [("a", "f8")])):
        with pytest.raises(errors.ColumnError, match="'price'") as raised:
            only({**columns(), "price": odd})
        assert raised.value.name == "column_type"
    with pytest.raises(errors.ColumnError, match="'price'"):
        only({**columns(), "price": [[1], [2, 3]]})
    with pytest.raises(errors.ColumnError, match="only the symbol"):
        only({**columns(), "price": 5.0})


def test_empty_tables_have_no_chunks_but_types() -> None:
    pa = pytest.importorskip("pyarrow")
    pl = pytest.importorskip("polars")
    empty = columns(0)
    for trades in (empty, structured(False)[:0], pa.table(empty), pl.DataFrame(empty)):
        assert list(iter_chunks(trades)) == []
    assert list(iter_chunks({name: [] for name in empty})) == []
    assert list(iter_chunks({**{name: [] for name in empty}, "symbol": "A"})) == []
    with pytest.raises(errors.ColumnError):
        list(iter_chunks({**empty, "time": np.zeros(0)}))
    with pytest.raises(errors.ColumnError):
        list(iter_chunks({"price": [], "time": []}))


# Memory.


def test_a_converted_column_comes_in_blocks() -> None:
    rows = BLOCK_ROWS * 2 + 5
    data = {**columns(rows), "price": np.arange(rows, dtype=np.float32)}
    chunks = list(iter_chunks(data))
    assert [len(chunk) for chunk in chunks] == [BLOCK_ROWS, BLOCK_ROWS, 5]
    assert [chunk.first_row for chunk in chunks] == [0, BLOCK_ROWS, 2 * BLOCK_ROWS]
    assert np.array_equal(np.concatenate([chunk.price for chunk in chunks]), data["price"])
    assert np.shares_memory(chunks[1].quantity, data["quantity"])
    # Nothing to convert: one chunk, however long.
    assert len(list(iter_chunks(columns(rows)))) == 1


def test_rows_are_named_as_in_the_whole_input() -> None:
    rows = BLOCK_ROWS + 100
    sides = np.full(rows, "buy", object)
    sides[BLOCK_ROWS + 7] = "up"
    with pytest.raises(errors.ColumnError, match=f"row {BLOCK_ROWS + 7} .*'up'"):
        list(iter_chunks({**columns(rows), "side": sides}))
    parts = [columns(4), {**columns(4), "side": ["buy", "sell", "hold", "buy"]}]
    with pytest.raises(errors.ColumnError, match="row 6 .*'hold'"):
        list(iter_chunks(parts))


def test_arguments_are_checked_at_once() -> None:
    for options in ({"unit": "hours"}, {"side": "both"}, {"conditions": "us_xyz"}):
        with pytest.raises(errors.OptionError) as raised:
            iter_chunks(columns(), **options)  # type: ignore[arg-type]
        assert raised.value.name == "invalid_option"


def test_times_of_one_python_datetime() -> None:
    when = datetime.datetime(2020, 1, 2, tzinfo=datetime.timezone.utc)
    chunk = only({"symbol": "A", "time": when, "price": 1.0, "quantity": 1.0})
    assert chunk.time.tolist()[0] * chunk.time_scale == int(when.timestamp()) * 10**9
