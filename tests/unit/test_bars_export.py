"""Bars in other forms and back: NumPy, pandas, polars, Arrow, DuckDB, Parquet."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from klineagg.bars import COLUMNS, DTYPES, BarFlag, Bars
from klineagg.errors import ColumnError, FileError, MissingExtraError, ResultError
from klineagg.symbols import intern
from unit.bars_factory import START, bars_of


def market() -> Bars:
    """Names with ids far apart, a run of gaps, a bar without price, two intervals."""
    intern([f"EXPORT-{k}" for k in range(5)])
    a, b = intern(["EXPORT-1", "EXPORT-4"]).tolist()
    gap = int(BarFlag.GAP | BarFlag.CLOSED)
    nan = {"open": np.nan, "high": np.nan, "low": np.nan, "close": np.nan}
    rows: list[dict[str, Any]] = [
        {"symbol": a, "at": 0, "close": 0.1 + 0.2},
        {"symbol": a, "at": 1, "run_length": 3, "flags": gap, "close": 0.1 + 0.2},
        {"symbol": b, "at": 0, "flags": 0, "volume": 1e300, **nan},
        {"symbol": a, "interval": 1, "at": 0, "first_trade_id": 2**62},
    ]
    return bars_of(rows, {a: "EXPORT-1", b: "EXPORT-4"}, ("1m", "5m"))


NAMES = ["EXPORT-1", "EXPORT-1", "EXPORT-4", "EXPORT-1"]
SPANS = ["1m", "1m", "1m", "5m"]


def test_structured_array_has_ids_or_names() -> None:
    bars = market()
    array = bars.to_numpy()
    assert array.dtype == np.dtype(list(DTYPES.items()))
    for name in COLUMNS:
        assert array[name].tobytes() == np.ascontiguousarray(bars.column(name)).tobytes()
    array["close"] = 0  # a copy, so it may be changed
    assert bars.close[0] == 0.1 + 0.2
    named = bars.to_numpy(names=True)
    assert named["symbol"].tolist() == NAMES
    assert named["interval"].tolist() == SPANS
    assert named.dtype["symbol"] == np.dtype("U8")
    assert Bars.empty(["1m"]).to_numpy(names=True).dtype["symbol"].kind == "U"


def test_as_array_is_the_structured_array() -> None:
    bars = market()
    assert np.asarray(bars).dtype == np.dtype(list(DTYPES.items()))
    assert len(np.asarray(bars)) == len(bars)
    with pytest.raises(ValueError, match="only by a copy"):
        bars.__array__(copy=False)


def test_pandas() -> None:
    pd = pytest.importorskip("pandas")
    bars = market()
    frame = bars.to_pandas()
    assert list(frame.columns) == list(COLUMNS)
    assert frame["symbol"].tolist() == NAMES
    assert frame["interval"].tolist() == SPANS
    assert frame["interval"].cat.categories.tolist() == ["1m", "5m"]
    assert isinstance(frame["symbol"].dtype, pd.CategoricalDtype)
    for name in ("open_time", "close_time", "first_trade_time", "last_trade_time"):
        assert str(frame[name].dtype) == "datetime64[ns, UTC]"
        raw = frame[name].to_numpy("datetime64[ns]")
        assert raw.view(np.int64).tolist() == bars.column(name).view(np.int64).tolist()
    for name in COLUMNS[4:15]:
        assert frame[name].to_numpy().tobytes() == bars.column(name).tobytes()
    frame.loc[0, "close"] = 1.0
    assert frame["close"][0] == 1.0
    assert bars.close[0] == 0.1 + 0.2
    assert bars.to_pandas(index="open_time").index[0] == pd.Timestamp("2018-01-01", tz="UTC")
    several = bars.to_pandas(index=["symbol", "open_time"])
    assert several.index.names == ["symbol", "open_time"]
    assert len(Bars.empty(["1m"]).to_pandas()) == 0


def test_arrow_is_the_same_memory_with_names_and_utc() -> None:
    pa = pytest.importorskip("pyarrow")
    bars = market()
    table = bars.to_arrow()
    assert table.column_names == list(COLUMNS)
    assert table.column("symbol").to_pylist() == NAMES
    assert table.column("interval").to_pylist() == SPANS
    assert table.schema.field("open_time").type == pa.timestamp("ns", tz="UTC")
    assert table.column("first_trade_time").null_count == int(np.isnat(bars.first_trade_time).sum())
    assert table.column("first_trade_id").to_pylist() == bars.first_trade_id.tolist()
    for name in ("open_time", "close", "trade_count", "flags"):
        buffer = table.column(name).chunk(0).buffers()[1]
        assert buffer.address == bars.column(name).__array_interface__["data"][0]
    assert pa.schema(bars).equals(table.schema)


def test_arrow_outlives_the_bars() -> None:
    pytest.importorskip("pyarrow")
    bars = market()
    expected = bars.close.tolist()
    table = bars.to_arrow()
    del bars
    assert table.column("close").to_pylist()[:2] == expected[:2]


def test_dense_ids_are_not_copied_into_codes() -> None:
    pytest.importorskip("pyarrow")
    bars = bars_of([{"symbol": k, "at": 0} for k in range(3)], {0: "A", 1: "B", 2: "C"})
    codes = bars.to_arrow().column("symbol").chunk(0).indices
    assert codes.buffers()[1].address == bars.symbol.__array_interface__["data"][0]
    assert bars[1:].to_arrow().column("symbol").to_pylist() == ["B", "C"]


def test_polars() -> None:
    pl = pytest.importorskip("polars")
    bars = market()
    frame = bars.to_polars()
    assert frame.columns == list(COLUMNS)
    assert frame["symbol"].cast(pl.String).to_list() == NAMES
    assert frame["open_time"].dtype == pl.Datetime("ns", "UTC")
    assert frame["first_trade_time"].null_count() == 1
    assert frame["quote_volume"].to_numpy().tobytes() == bars.quote_volume.tobytes()
    assert Bars.from_arrow(frame).equals(bars)


def test_duckdb_reads_bars_directly() -> None:
    duckdb = pytest.importorskip("duckdb")
    bars = market()
    connection = duckdb.connect()
    connection.register("bars", bars)
    query = (
        "select symbol, sum(run_length)::int from bars where interval = '1m' group by 1 order by 1"
    )
    assert connection.sql(query).fetchall() == [("EXPORT-1", 4), ("EXPORT-4", 1)]


def views_of(bars: Bars) -> list[Bars]:
    return [bars, bars[1:3], bars[::-1], bars["EXPORT-1"], bars[:0], Bars.empty(["1h", "1s"])]


@pytest.mark.parametrize("k", range(6))
def test_round_trip_through_arrow_and_parquet(k: int, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    bars = views_of(market())[k]
    ordered = Bars.concat([bars])
    again = Bars.from_arrow(bars.to_arrow())
    bars.to_parquet(tmp_path / "bars.parquet")
    read = Bars.read_parquet(tmp_path / "bars.parquet")
    for other in (again, read):
        assert other.equals(ordered)
        assert other.intervals == bars.intervals
        assert other.symbol.tolist() == ordered.symbol.tolist()
        assert not other.close.flags.writeable
    assert [path.name for path in tmp_path.iterdir()] == ["bars.parquet"]


def test_plain_ids_stay_ids(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    bars = bars_of([{"symbol": 600519, "at": 0}, {"symbol": 2**31 - 1, "at": 0}])
    bars.to_parquet(tmp_path / "bars.parquet")
    read = Bars.read_parquet(tmp_path / "bars.parquet")
    assert read.symbol.tolist() == [600519, 2**31 - 1]
    assert read.symbols == ("600519", "2147483647")


def test_rows_and_types_of_others_are_understood() -> None:
    pa = pytest.importorskip("pyarrow")
    bars = market()
    table = bars.to_arrow().replace_schema_metadata(None)
    other = table.take([3, 1, 0, 2]).select(list(reversed(COLUMNS)))
    for name, kind in (("symbol", pa.string()), ("interval", pa.large_string())):
        other = other.set_column(other.column_names.index(name), name, other[name].cast(kind))
    for name in ("open_time", "close_time"):
        other = other.set_column(
            other.column_names.index(name), name, other[name].cast(pa.timestamp("ms"))
        )
    # Without our metadata the intervals stand in the order in which they come.
    again = Bars.from_arrow(other)
    assert again.intervals == ("5m", "1m")
    for name in ("1m", "5m"):
        assert again[:, name].equals(bars[:, name])


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda pa, t: t.drop_columns(["revision"]), "missing_column"),
        (lambda pa, t: t.set_column(4, "open", pa.array(["x"] * 4)), "column_type"),
        (lambda pa, t: t.set_column(19, "flags", pa.array([None, 1, 1, 1])), "column_type"),
        (lambda pa, t: t.set_column(19, "flags", pa.array([70_000] * 4)), "column_type"),
        (lambda pa, t: t.set_column(2, "open_time", pa.array([1.5] * 4)), "column_type"),
        (lambda pa, t: t.set_column(0, "symbol", pa.array([None, "a", "a", "a"])), "column_type"),
    ],
)
def test_arrow_data_that_are_no_bars(change: Callable[[Any, Any], Any], error: str) -> None:
    pa = pytest.importorskip("pyarrow")
    with pytest.raises(ColumnError) as caught:
        Bars.from_arrow(change(pa, market().to_arrow()))
    assert caught.value.name == error
    with pytest.raises(ColumnError, match="not Arrow data"):
        Bars.from_arrow([1, 2])


def test_data_of_a_later_version_are_refused() -> None:
    pytest.importorskip("pyarrow")
    table = market().to_arrow()
    meta = table.schema.metadata[b"klineagg"].replace(
        b'"schema_version": 1', b'"schema_version": 2'
    )
    with pytest.raises(ResultError) as caught:
        Bars.from_arrow(table.replace_schema_metadata({b"klineagg": meta}))
    assert caught.value.name == "record_version"


def test_files_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    whole = tmp_path / "whole.parquet"
    market().to_parquet(whole)
    content = whole.read_bytes()
    cases = {"file_truncated": content[: len(content) // 2], "file_format": b"time,price\n1,2\n"}
    for error, data in cases.items():
        path = tmp_path / error
        path.write_bytes(data)
        with pytest.raises(FileError) as caught:
            Bars.read_parquet(path)
        assert caught.value.name == error
        assert str(path) in str(caught.value)
    with pytest.raises(FileError) as caught:
        Bars.read_parquet(tmp_path / "nothing")
    assert caught.value.name == "file_not_found"
    with pytest.raises(FileError) as caught:
        market().to_parquet(tmp_path / "no" / "folder.parquet")
    assert caught.value.name == "file_not_written"
    # Who reads the older file while a new one is written reads the older one to its end.
    with whole.open("rb") as reader:
        market()[:1].to_parquet(whole)
        assert reader.read() == content
    market().to_parquet(whole)
    # A failed write leaves the older file as it was.
    with pytest.raises(Exception, match="(?i)codec|compression|unsupported"):
        market().to_parquet(whole, compression="nonsense")
    assert whole.read_bytes() == content
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    ("package", "extra", "use"),
    [
        ("pandas", "pandas", lambda bars: bars.to_pandas()),
        ("polars", "polars", lambda bars: bars.to_polars()),
        ("pyarrow", "arrow", lambda bars: bars.to_arrow()),
        ("pyarrow", "parquet", lambda bars: bars.to_parquet("x.parquet")),
        ("matplotlib", "charts", lambda bars: bars.plot()),
    ],
)
def test_missing_packages_are_named_with_their_extra(
    package: str, extra: str, use: Callable[[Bars], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(sys.modules):
        if name.partition(".")[0] == package:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError) as caught:
        use(market())
    assert caught.value.name == "missing_extra"
    assert f"klineagg[{extra}]" in str(caught.value)
    assert isinstance(caught.value, ImportError)


def test_times_are_those_of_the_source() -> None:
    bars = market()
    assert bars.open_time[0] == np.datetime64(START, "ns")
    assert bars.to_numpy()["open_time"][0] == np.datetime64("2018-01-01")
