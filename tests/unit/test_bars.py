"""Bars: construction, look-ups, views of the same memory, putting together, pickling."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from klineagg.bars import COLUMNS, DTYPES, Bar, BarFlag, Bars
from klineagg.errors import ColumnError, OptionError, ResultError
from klineagg.report import Report
from klineagg.symbols import intern
from unit.bars_factory import MINUTE, START, bars_of

SYMBOLS = {0: "BTCUSDT", 1: "ETHUSDT", 5: "SOLUSDT"}


def market() -> Bars:
    """Three symbols, two intervals, twelve rows; SOLUSDT has no 5m bars."""
    rows: list[dict[str, Any]] = []
    for symbol, count in ((0, 4), (1, 3), (5, 2)):
        rows += [
            {"symbol": symbol, "at": k, "close": 100.0 + symbol + k, "volume": 1.0 + k}
            for k in range(count)
        ]
    for symbol, count in ((0, 2), (1, 1)):
        rows += [{"symbol": symbol, "interval": 1, "at": k} for k in range(count)]
    return bars_of(rows, SYMBOLS, ("1m", "5m"))


def address(array: NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])


def assert_view(part: Bars, whole: Bars, first_row: int) -> None:
    for name in COLUMNS:
        column = whole.column(name)
        assert address(part.column(name)) == address(column) + first_row * column.itemsize, name
        assert not part.column(name).flags.writeable


def test_columns_are_those_of_the_contract_in_order() -> None:
    bars = market()
    assert bars.columns == tuple(DTYPES) == COLUMNS
    assert len(COLUMNS) == 20
    assert COLUMNS[:4] == ("symbol", "interval", "open_time", "close_time")
    assert [str(DTYPES[name]) for name in ("symbol", "interval", "run_length", "flags")] == [
        "int32",
        "int16",
        "int32",
        "uint16",
    ]
    for name, dtype in DTYPES.items():
        assert getattr(bars, name).dtype == dtype
        assert getattr(bars, name) is bars.column(name)
        assert bars.column(name).shape == (12,)
    assert bars["close"] is bars.close


def test_construction_neither_copies_nor_allows_writing() -> None:
    source = {name: np.ones(3, dtype) for name, dtype in DTYPES.items()}
    bars = Bars(source, symbols={}, intervals=["1m", "5m"])
    for name in COLUMNS:
        assert address(bars.column(name)) == address(source[name])
        assert source[name].flags.writeable  # the caller's own array is left as it was
        with pytest.raises(ValueError, match="read-only"):
            bars.column(name)[0] = 0
    with pytest.raises(AttributeError):
        bars.close = np.zeros(3)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "error", "column"),
    [
        ({"close": None}, "missing_column", "close"),
        ({"close": np.ones(3, np.float32)}, "column_type", "close"),
        ({"open_time": np.ones(3, np.int64)}, "column_type", "open_time"),
        ({"close": np.ones((3, 1))}, "column_type", "close"),
        ({"flags": np.ones(2, np.uint16)}, "column_length", "flags"),
    ],
)
def test_wrong_columns_are_refused(change: dict[str, Any], error: str, column: str) -> None:
    source: dict[str, Any] = {name: np.ones(3, dtype) for name, dtype in DTYPES.items()}
    source.update(change)
    source = {name: array for name, array in source.items() if array is not None}
    with pytest.raises(ColumnError) as caught:
        Bars(source, symbols={}, intervals=["1m"])
    assert (caught.value.name, caught.value.fields["column"]) == (error, column)


def test_one_series_is_a_view() -> None:
    bars = market()
    eth = bars["ETHUSDT", "1m"]
    assert len(eth) == 3
    assert_view(eth, bars, 4)
    assert eth.close.tolist() == [101.0, 102.0, 103.0]
    assert eth.symbols == ("ETHUSDT",)
    assert_view(bars[1, "1m"], bars, 4)
    assert_view(bars[np.int32(5), "1m"], bars, 7)
    # Looked up in a part as in the whole.
    assert_view(bars[:, "1m"]["ETHUSDT", "1m"], bars, 4)
    assert_view(eth["ETHUSDT", "1m"], bars, 4)


def test_one_interval_is_a_view_and_a_symbol_with_both_a_copy() -> None:
    bars = market()
    assert len(bars[:, "5m"]) == 3
    assert_view(bars[:, "5m"], bars, 9)
    btc = bars["BTCUSDT"]
    assert [(s, i, len(part)) for s, i, part in btc.series()] == [
        ("BTCUSDT", "1m", 4),
        ("BTCUSDT", "5m", 2),
    ]
    assert btc.equals(bars["BTCUSDT", :])
    # All that SOLUSDT has lies side by side.
    assert_view(bars["SOLUSDT"], bars, 7)


def test_several_symbols_and_intervals() -> None:
    bars = market()
    assert_view(bars[["BTCUSDT", "ETHUSDT"], "1m"], bars, 0)
    both = bars[["SOLUSDT", "BTCUSDT"]]
    assert [(s, i) for s, i, _ in both.series()] == [
        ("BTCUSDT", "1m"),
        ("SOLUSDT", "1m"),
        ("BTCUSDT", "5m"),
    ]
    assert len(bars["ETHUSDT", ["1m", "5m"]]) == 4
    assert len(bars[[0, 5], "1m"]) == 6


def test_rows_by_position_mask_and_number() -> None:
    bars = market()
    assert_view(bars[2:9], bars, 2)
    assert bars[::2].close.tolist() == bars.close[::2].tolist()
    heavy = bars[bars.volume > 2.5]
    assert heavy.volume.min() > 2.5
    assert len(heavy) == int((bars.volume > 2.5).sum())
    assert not heavy.close.flags.writeable
    chosen = bars[[7, 0, 0]]
    assert chosen.symbol.tolist() == [5, 0, 0]
    assert len(bars[[]]) == 0
    assert len(bars[np.zeros(12, bool)]) == 0


def test_one_row_has_names_and_plain_values() -> None:
    bars = market()
    row = bars[-1]
    assert isinstance(row, Bar)
    assert (row.symbol, row.interval, row.flags) == ("ETHUSDT", "5m", BarFlag.CLOSED)
    assert row.open_time == np.datetime64(START, "ns")
    assert type(row.close) is float
    assert [r.close for r in bars] == bars.close.tolist()
    assert bars[3] == list(bars)[3]
    for position in (12, -13):
        with pytest.raises(IndexError):
            bars[position]


def test_rows_in_any_order_are_still_found() -> None:
    bars = market()
    mixed = bars[np.array([11, 3, 0, 10, 1, 4])]
    assert mixed["BTCUSDT", "1m"].close.tolist() == [103.0, 100.0, 101.0]
    assert mixed[:, "5m"].symbol.tolist() == [1, 0]
    assert [(s, i, len(part)) for s, i, part in mixed.series()] == [
        ("ETHUSDT", "5m", 1),
        ("BTCUSDT", "1m", 3),
        ("BTCUSDT", "5m", 1),
        ("ETHUSDT", "1m", 1),
    ]
    backwards = bars[::-1]
    assert backwards["ETHUSDT", "1m"].close.tolist() == [103.0, 102.0, 101.0]
    assert Bars.concat([backwards]).equals(bars)


@pytest.mark.parametrize(
    ("key", "what", "near"),
    [
        (("BTCUSD", "1m"), "symbol", ["BTCUSDT"]),
        (("btcusdt", "1m"), "symbol", ["BTCUSDT"]),
        (("ETH", "1m"), "symbol", ["ETHUSDT"]),
        ("XRPETH", "symbol", []),
        ((17, "1m"), "symbol", []),
        (("BTCUSDT", "1M"), "interval", ["1m"]),
        ((slice(None), "15m"), "interval", ["1m", "5m"]),
        (["BTCUSDT", "ETHUSD"], "symbol", ["ETHUSDT"]),
    ],
)
def test_unknown_series_name_what_comes_near(key: Any, what: str, near: list[str]) -> None:
    bars = market()
    with pytest.raises(ResultError) as caught:
        bars[key]
    assert caught.value.name == "no_such_series"
    assert what in caught.value.fields
    found = caught.value.fields["near"]
    assert set(near) <= set(found)
    assert all(repr(name) in str(caught.value) for name in near)
    if not near:
        assert "BTCUSDT" in str(caught.value) or found


@pytest.mark.parametrize("key", [1.5, None, ("a", "b", "c"), (1.5, "1m"), True, ("BTCUSDT", 1)])
def test_what_is_no_key_is_refused(key: Any) -> None:
    with pytest.raises(OptionError, match="does not say which bars"):
        market()[key]


def test_mask_of_another_length_is_refused() -> None:
    with pytest.raises(OptionError, match="3 values for 12 rows"):
        market()[np.ones(3, bool)]


def test_known_symbol_without_bars_of_an_interval_is_empty() -> None:
    part = market()["SOLUSDT", "5m"]
    assert len(part) == 0
    assert part.close.dtype == np.float64


def test_ids_without_a_name_are_called_by_their_digits() -> None:
    bars = bars_of([{"symbol": 7, "at": 0}, {"symbol": 42, "at": 0}], {7: "SEVEN"})
    assert bars.symbols == ("SEVEN", "42")
    assert_view(bars["42", "1m"], bars, 1)
    with pytest.raises(ResultError):
        bars["7", "1m"]  # 7 has a name, so its digits are not one
    with pytest.raises(ResultError):
        bars["042", "1m"]


def test_a_symbol_called_like_a_column() -> None:
    bars = bars_of([{"symbol": 3, "at": 0}], {3: "close"})
    assert isinstance(bars["close"], np.ndarray)
    assert len(bars["close", :]) == 1


def test_series_come_in_order_and_cover_everything() -> None:
    bars = market()
    parts = list(bars.series())
    assert [(s, i) for s, i, _ in parts] == [
        ("BTCUSDT", "1m"),
        ("ETHUSDT", "1m"),
        ("SOLUSDT", "1m"),
        ("BTCUSDT", "5m"),
        ("ETHUSDT", "5m"),
    ]
    row = 0
    for _, _, part in parts:
        assert_view(part, bars, row)
        row += len(part)
    assert row == len(bars)


def test_given_series_index_is_used() -> None:
    bars = market()
    index = bars._series_index
    again = Bars(
        {name: bars.column(name) for name in COLUMNS},
        symbols=SYMBOLS,
        intervals=["1m", "5m"],
        series=(index.interval, index.symbol, index.offsets),
    )
    assert again.equals(bars)
    assert_view(again["SOLUSDT", "1m"], bars, 7)


def test_masks_of_flags() -> None:
    each = list(BarFlag)
    bars = bars_of([{"at": k, "flags": int(flag)} for k, flag in enumerate(each)])
    names = ["is_closed", "is_gap", "is_genesis", "is_partial", "is_incomplete", "is_revised"]
    assert [flag.value for flag in each] == [1, 2, 4, 8, 16, 32]
    for k, name in enumerate(names):
        assert getattr(bars, name).tolist() == [j == k for j in range(6)]


def test_empty_has_types_and_intervals() -> None:
    empty = Bars.empty(["1m", "1h"])
    assert (len(empty), empty.intervals, empty.symbols) == (0, ("1m", "1h"), ())
    assert {name: empty.column(name).dtype for name in COLUMNS} == dict(DTYPES)
    assert list(empty.series()) == []
    assert list(empty) == []
    assert len(empty[:, "1h"]) == 0
    assert empty.equals(Bars.concat([empty, empty]))
    assert empty.expand_gaps() is empty
    assert len(empty.resolve()) == 0
    assert len(empty.between("2018-01-01")) == 0
    assert len(Bars.concat([])) == 0
    with pytest.raises(ResultError):
        empty["BTCUSDT", "1m"]


def test_concat_aligns_names_and_sorts() -> None:
    ids = intern(["BTCUSDT", "ETHUSDT"]).tolist()
    names = dict(zip(ids, ["BTCUSDT", "ETHUSDT"], strict=True))
    first = bars_of(
        [{"symbol": ids[0], "at": 0}, {"symbol": ids[0], "interval": 1, "at": 0}],
        names,
        ("1m", "5m"),
    )
    second = bars_of(
        [
            {"symbol": ids[0], "at": 1, "interval": 0},
            {"symbol": ids[1], "at": 0, "interval": 1},
            {"symbol": ids[0], "at": 2, "interval": 1},
        ],
        names,
        ("5m", "1m"),
    )
    both = Bars.concat([first, second])
    assert both.intervals == ("1m", "5m")
    minutes = (both.open_time.astype(np.int64) - START) // MINUTE
    symbols = [names[symbol] for symbol in both.symbol.tolist()]
    spans = [both.intervals[k] for k in both.interval.tolist()]
    rows = list(zip(spans, symbols, minutes.tolist(), strict=True))
    expected = [("1m", "BTCUSDT", 0), ("1m", "BTCUSDT", 2), ("5m", "BTCUSDT", 0)]
    expected.append(("5m", "BTCUSDT", 5))
    expected.insert(2 if ids[0] < ids[1] else 0, ("1m", "ETHUSDT", 0))
    assert rows == expected


def test_concat_of_chunks_is_the_whole() -> None:
    bars = market()
    chunks = [bars[k : k + 1] for k in range(len(bars))]
    assert Bars.concat(chunks).equals(bars)
    assert Bars.concat(chunks[::-1]).equals(bars)
    assert Bars.concat([bars]) is bars
    assert Bars.concat([bars[0:0], bars]).equals(bars)


def test_concat_keeps_the_order_of_equal_rows() -> None:
    old = bars_of([{"at": 0, "volume": 1.0}, {"at": 1, "volume": 1.0}])
    new = bars_of([{"at": 0, "volume": 2.0}])
    assert Bars.concat([old, new]).volume.tolist() == [1.0, 2.0, 1.0]
    assert Bars.concat([new, old]).volume.tolist() == [2.0, 1.0, 1.0]


def test_concat_with_clashing_ids_goes_by_name() -> None:
    here = bars_of([{"symbol": 3, "at": 0, "close": 1.0}], {3: "CLASH-A"})
    there = bars_of([{"symbol": 3, "at": 0, "close": 2.0}], {3: "CLASH-B"})
    both = Bars.concat([here, there])
    assert both["CLASH-A", "1m"].close.tolist() == [1.0]
    assert both["CLASH-B", "1m"].close.tolist() == [2.0]
    assert sorted(both.symbol.tolist()) == sorted(intern(["CLASH-A", "CLASH-B"]).tolist())


def test_concat_adds_reports_and_carries_partials() -> None:
    report = Report(offered=3, accepted=2, rejected={"price_not_finite": 1})
    records = np.array([10, 20], np.int64)
    first = bars_of([{"at": 2}, {"at": 3}], report=report, partials=records)
    second = bars_of([{"at": 0}], report=report, partials=np.array([30], np.int64))
    both = Bars.concat([first, second])
    assert both.report == Report(6, 4, {"price_not_finite": 2})
    assert both.partials is not None
    assert both.partials.tolist() == [30, 10, 20]
    part = first[1:]
    assert part.partials is not None
    assert part.partials.tolist() == [20]
    assert part.report is None
    with pytest.raises(ColumnError, match="2 partial records for 1 rows"):
        bars_of([{"at": 0}], partials=records)


def test_equals_is_bitwise_and_by_name() -> None:
    nan = {"at": 0, "open": np.nan, "high": np.nan, "low": np.nan, "close": np.nan, "volume": 0.0}
    bars = bars_of([nan])
    assert bars.equals(bars_of([nan]))
    assert not bars.equals(bars_of([{**nan, "volume": -0.0}]))
    assert not bars.equals(bars_of([nan, {"at": 1}]))
    assert not bars.equals(bars_of([nan], {0: "OTHER"}))
    assert bars_of([{"at": 0}], {0: "A"}).equals(bars_of([{"at": 0, "symbol": 4}], {4: "A"}))
    alone = bars_of([{"at": 0}], intervals=("5m",))
    assert bars_of([{"at": 0, "interval": 1}], intervals=("1m", "5m"))[:, "5m"].equals(alone)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_keeps_bits_names_and_report(protocol: int) -> None:
    ids = intern(["PICKLE-A", "PICKLE-B"]).tolist()
    names = dict(zip(ids, ["PICKLE-A", "PICKLE-B"], strict=True))
    rows = [{"symbol": ids[0], "at": 0}, {"symbol": ids[1], "at": 1, "run_length": 3, "flags": 3}]
    bars = bars_of(rows, names, report=Report(2, 2), partials=np.arange(2))
    again = pickle.loads(pickle.dumps(bars, protocol))
    assert again.equals(bars)
    assert again.symbol.tolist() == bars.symbol.tolist()
    assert (again.report, again.intervals) == (bars.report, bars.intervals)
    assert again.partials.tolist() == [0, 1]
    assert not again.close.flags.writeable


def test_pickle_from_another_process_gets_the_ids_of_this_one() -> None:
    intern(["HERE-FIRST", "ACROSS-B"])
    code = (
        "import pickle, sys; sys.path[:0] = sys.argv[1:]\n"
        "from klineagg.symbols import intern; from unit.bars_factory import bars_of\n"
        "a, b = intern(['ACROSS-A', 'ACROSS-B']).tolist()\n"
        "rows = [{'symbol': a, 'at': 0, 'close': 1.0}, {'symbol': b, 'at': 0, 'close': 2.0}]\n"
        "bars = bars_of(rows, {a: 'ACROSS-A', b: 'ACROSS-B'})\n"
        "sys.stdout.buffer.write(pickle.dumps(bars))"
    )
    run = [sys.executable, "-c", code, *sys.path]
    bars = pickle.loads(subprocess.run(run, check=True, capture_output=True).stdout)
    a, b = intern(["ACROSS-A", "ACROSS-B"]).tolist()
    assert bars[a, "1m"].close.tolist() == [1.0]
    assert bars["ACROSS-B", "1m"].close.tolist() == [2.0]
    assert bars.symbol.tolist() == sorted([a, b])


def test_near_names_among_very_many_stay_cheap() -> None:
    count = 100_000
    columns = {name: np.zeros(count, dtype) for name, dtype in DTYPES.items()}
    columns["symbol"] = np.arange(count, dtype=np.int32)
    bars = Bars(columns, symbols={k: f"SYM{k:06d}" for k in range(count)}, intervals=["1m"])
    assert len(bars["SYM099999", "1m"]) == 1
    with pytest.raises(ResultError) as caught:
        bars["sym000123x", "1m"]
    assert caught.value.name == "no_such_series"
    with pytest.raises(ResultError, match="SYM000123"):
        bars["sym000123", "1m"]


def test_import_brings_nothing_heavy() -> None:
    code = (
        "import sys, klineagg.bars\n"
        "heavy = {'pandas', 'polars', 'pyarrow', 'matplotlib', 'tqdm', 'IPython'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
