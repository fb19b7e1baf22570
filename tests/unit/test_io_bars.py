"""Files of bars, sorting of trades, and the comparison with an exchange's own K-lines."""

from __future__ import annotations

import gzip
import io
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import klineagg
from klineagg import errors
from klineagg._bars_columns import COLUMNS, DTYPES
from klineagg.bars import Bars
from klineagg.io import bartext
from klineagg.io import klines as klines_module
from klineagg.io.barfiles import is_bars_file, read_bars, write_bars
from klineagg.io.compare import compare
from klineagg.io.klines import read_klines
from klineagg.io.ordering import sorted_trades
from unit import dumps
from unit.dumps import make_trades, write

NAMES = ["a.parquet", "a.arrow", "a.feather", "a.csv", "a.csv.gz"]


def some_bars(**options: Any) -> Bars:
    trades = [make_trades(400, seed, name).columns() for seed, name in ((1, "BTC"), (2, 'E,"T'))]
    return klineagg.aggregate(trades, "1m,1h,1d@America/New_York", **options)


# -- files of bars -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("gaps", ["none", "runs"])
def test_bars_come_back_with_the_same_bits(tmp_path: Path, name: str, gaps: str) -> None:
    if not name.startswith("a.csv"):
        pytest.importorskip("pyarrow")
    bars = some_bars(gaps=gaps)
    path = tmp_path / name
    write_bars(bars, path)
    assert is_bars_file(path)
    assert read_bars(path).equals(bars)
    assert [item.name for item in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", NAMES)
def test_no_bars_at_all(tmp_path: Path, name: str) -> None:
    if not name.startswith("a.csv"):
        pytest.importorskip("pyarrow")
    empty = klineagg.aggregate(make_trades(1).columns(), "1m", include_open=False)
    write_bars(empty, tmp_path / name)
    assert len(read_bars(tmp_path / name)) == 0


def test_csv_is_written_for_people_and_programs(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    write_bars(some_bars(gaps="flat")["BTC", "1m"], path)
    head, *rows = path.read_text().splitlines()
    assert head.split(",") == list(klineagg.bars.COLUMNS)
    cells = dict(zip(head.split(","), rows[0].split(","), strict=True))
    assert cells["open_time"] == "2024-01-01T00:00:00Z"
    assert cells["first_trade_time"].endswith("Z")
    gap = next(row for row in rows if ",,," in row or ",-1,-1,,," in row)
    assert ",-1,-1,,,1," in gap


def odd_floats() -> st.SearchStrategy[float]:
    bits = st.integers(0, 2**64 - 1).map(lambda n: float(np.uint64(n).view(np.float64)))
    edges = [0.0, -0.0, 1e-4, 9.999e-5, 1e-5, 1e10, 9999999999.0, 1e15, 1e16, np.inf, np.nan]
    plain = st.decimals(-(10**12), 10**12, places=2).map(float)
    return bits | st.sampled_from(edges) | plain


@given(st.lists(st.tuples(odd_floats(), st.integers(0, 3)), min_size=1, max_size=30))
def test_csv_is_the_same_with_and_without_arrow(rows: list[tuple[float, int]]) -> None:
    pytest.importorskip("pyarrow")
    numbers = np.array([number for number, _ in rows])
    kinds = np.array([kind for _, kind in rows])
    opens = np.arange(len(rows)) * 60 * np.timedelta64(10**9, "ns") + np.datetime64("1969-12-31")
    columns: dict[str, Any] = {name: np.zeros(len(rows), dtype) for name, dtype in DTYPES.items()}
    columns.update(open_time=opens, open=numbers, volume=numbers[::-1], trade_count=kinds - 1)
    columns["last_trade_time"] = np.where(kinds == 0, np.datetime64("NaT"), opens + kinds)
    columns["symbol"] = np.sort(klineagg.intern(["A", 'E,"T', "É"])[kinds % 3])
    bars = Bars(columns, symbols={}, intervals=["1m"])
    units = {name: "ns" if name == "last_trade_time" else "s" for name in COLUMNS}
    assert bartext._arrow_block()(bars, units) == bartext._block(bars, units)


@pytest.mark.parametrize("gaps", ["none", "runs", "flat"])
def test_long_csv_is_the_same_with_and_without_arrow(
    monkeypatch: pytest.MonkeyPatch, gaps: str
) -> None:
    pytest.importorskip("pyarrow")
    texts = []
    for rows_min in (0, 10**9):
        monkeypatch.setattr(bartext, "_ARROW_ROWS_MIN", rows_min)
        monkeypatch.setattr(bartext, "_ROWS_AT_ONCE", 70)
        out = io.StringIO()
        bartext.write_csv(some_bars(gaps=gaps), out)
        texts.append(out.getvalue())
    assert texts[0] == texts[1]


def test_csv_where_pyarrow_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bartext, "_ARROW_ROWS_MIN", 0)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    out = io.StringIO()
    bartext.write_csv(some_bars(), out)
    assert out.getvalue().count("\n") == len(some_bars()) + 1


def test_the_name_tells_the_format(tmp_path: Path) -> None:
    with pytest.raises(errors.OptionError, match="no format"):
        write_bars(some_bars(), tmp_path / "a.xlsx")
    write_bars(some_bars(), tmp_path / "a.txt", format="csv")
    assert is_bars_file(tmp_path / "a.txt")


def test_nothing_is_left_of_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="none"):
        write_bars(some_bars(), tmp_path / "none" / "a.csv")
    assert list(tmp_path.iterdir()) == []


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    bars = some_bars()
    real = tmp_path / "folder" / "2024-01-01.csv"
    real.parent.mkdir()
    link = tmp_path / "newest.csv"
    link.symlink_to(real)
    for _ in range(2):  # a link into nothing first, then to a file
        write_bars(bars, link)
        assert link.is_symlink()
        assert read_bars(real).equals(bars)
    assert [path.name for path in real.parent.iterdir()] == [real.name]


def test_a_pipe_is_written_and_not_replaced(tmp_path: Path) -> None:
    bars = some_bars()[:20]
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with open(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), encoding="utf-8") as reader:
        write_bars(bars, pipe, format="csv")
        assert pipe.is_fifo()
        assert len(reader.read().splitlines()) == len(bars) + 1


@pytest.mark.parametrize("column", ["close", "open_time", "trade_count", "first_trade_time"])
def test_damaged_csv_of_bars(tmp_path: Path, column: str) -> None:
    path = tmp_path / "a.csv"
    write_bars(some_bars(), path)
    rows = [line.split(",") for line in path.read_text().splitlines()]
    at = rows[0].index(column)
    rows[4][at] = "oops"
    path.write_text("\n".join(map(",".join, rows)))
    with pytest.raises(errors.FileError) as caught:
        read_bars(path)
    assert (caught.value.fields["row"], caught.value.fields["column"]) == (5, column)
    del rows[3][at]
    path.write_text("\n".join(map(",".join, rows)))
    with pytest.raises(errors.FileError, match="row 4"):
        read_bars(path)


def test_what_is_no_file_of_bars(tmp_path: Path) -> None:
    trades = write(tmp_path / "BTCUSDT-trades-2024-01-01.csv", dumps.binance(make_trades(9)))
    assert not is_bars_file(trades)
    assert not is_bars_file(tmp_path / "none")
    assert not is_bars_file("-")
    with pytest.raises(errors.ColumnError, match="not a file of bars"):
        read_bars(trades)


# -- sorting -------------------------------------------------------------------------------------


@given(st.permutations(list(range(40))), st.booleans())
def test_sorting_restores_the_order(order: list[int], ids: bool) -> None:
    trades = make_trades(40, 3)
    if not ids:
        trades.time_ms = trades.time_ms[0] + np.arange(40)  # without ids, ties have no order
    columns = trades.columns(ids=ids)
    mixed = {name: values[order] for name, values in columns.items()}
    halves = [{n: v[:17] for n, v in mixed.items()}, {n: v[17:] for n, v in mixed.items()}]
    whole = klineagg.aggregate(columns, "1s,1m")
    assert klineagg.aggregate(sorted_trades(halves), "1s,1m").equals(whole)


def test_a_file_that_runs_backwards_keeps_its_ties() -> None:
    trades = make_trades(500)
    columns = trades.columns(ids=False)
    turned = {name: values[::-1] for name, values in columns.items()}
    whole = klineagg.aggregate(columns, "1s,1m")
    assert klineagg.aggregate(sorted_trades([turned]), "1s,1m").equals(whole)
    assert klineagg.aggregate(sorted_trades([columns]), "1s,1m").equals(whole)


def test_sorting_nothing() -> None:
    assert len(klineagg.aggregate(sorted_trades([]), "1m")) == 0


def test_sorting_chunks_with_other_columns() -> None:
    a, b = make_trades(50, 1, "A"), make_trades(50, 2, "B")
    bare = b.columns(ids=False, side=False)
    whole = klineagg.aggregate([a.columns(), bare], "1m")
    assert klineagg.aggregate(sorted_trades([bare, a.columns()]), "1m")["A", :].equals(
        whole["A", :]
    )


# -- K-lines -------------------------------------------------------------------------------------


def ours(gaps: str = "flat", rows: int = 1500) -> Bars:
    return klineagg.aggregate(make_trades(rows).columns(), "1m,1h", gaps=gaps)


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("gaps", ["flat", "runs", "none"])
def test_equal_klines(tmp_path: Path, header: bool, gaps: str) -> None:
    text = dumps.binance_klines(make_trades(1500), header=header)
    path = write(tmp_path / "BTCUSDT-1m-2024-01-01.csv", text)
    (klines,) = read_klines(str(path))
    assert (klines.symbol, klines.interval) == ("BTCUSDT", "1m")
    assert klines.decimals["quote_volume"] == 8
    bars = ours(gaps)
    found = compare(bars, klines)
    assert found.same
    assert found.differences == []
    lines = len(text.splitlines()) - header
    empty = sum(line.split(",")[8] == "0" for line in text.splitlines())
    assert empty > 0
    assert found.compared == lines - (empty if gaps == "none" else 0)
    assert found.empty == (empty if gaps == "none" else 0)
    assert set(found.values) == {
        "open", "high", "low", "close", "volume", "quote_volume", "trade_count",
        "taker_buy_volume", "taker_buy_quote_volume", "close_time",
    }  # fmt: skip


@pytest.mark.parametrize("scale", [10**3, 10**6])
def test_microseconds_and_nanoseconds(tmp_path: Path, scale: int) -> None:
    rows = [line.split(",") for line in dumps.binance_klines(make_trades(1500)).splitlines()]
    for row in rows:
        row[0] = str(int(row[0]) * scale)
        row[6] = str(int(row[6]) * scale + scale - 1)
    path = write(tmp_path / "BTCUSDT-1m-2025-01.csv", "\n".join(map(",".join, rows)))
    assert compare(ours(), read_klines(str(path))[0]).same


def test_kraken(tmp_path: Path) -> None:
    trades = make_trades(1500, symbol="XBTUSD")
    bars = klineagg.aggregate(trades.columns(), "1m,1h")
    for minutes, interval in ((1, "1m"), (60, "1h")):
        text = dumps.kraken_ohlcvt(trades, minutes)
        (klines,) = read_klines(str(write(tmp_path / f"XBTUSD_{minutes}.csv", text)))
        assert (klines.symbol, klines.interval) == ("XBTUSD", interval)
        found = compare(bars, klines)
        assert found.same
        assert found.compared == len(bars["XBTUSD", interval])


FIELDS = {1: "open", 2: "high", 3: "low", 4: "close", 5: "volume", 6: "close_time",
          7: "quote_volume", 8: "trade_count", 9: "taker_buy_volume",
          10: "taker_buy_quote_volume"}  # fmt: skip


@pytest.mark.parametrize("field", FIELDS)
def test_the_last_printed_decimal_counts(tmp_path: Path, field: int) -> None:
    def change(lines: list[str]) -> None:
        cells = lines[7].split(",")
        whole, dot, rest = cells[field].partition(".")
        digits = str(int(whole + rest) + 1)
        cells[field] = digits[: len(digits) - len(rest)] + dot + digits[len(digits) - len(rest) :]
        if field == 6:
            cells[field] = str(int(whole) + 5)
        lines[7] = ",".join(cells)

    text = dumps.binance_klines(make_trades(1500), change=change)
    (klines,) = read_klines(str(write(tmp_path / "BTCUSDT-1m-2024-01-01.csv", text)))
    found = compare(ours(), klines)
    assert not found.same
    assert found.compared - found.equal == 1
    (difference,) = found.differences
    assert difference.field == FIELDS[field]
    assert difference.row == 8
    assert difference.open_time == np.datetime64("2024-01-01T00:07")
    assert compare(ours(), klines, skip=[FIELDS[field]]).same


def test_bars_that_one_side_lacks(tmp_path: Path) -> None:
    def change(lines: list[str]) -> None:
        with_trades = [k for k, line in enumerate(lines) if line.split(",")[8] != "0"]
        del lines[with_trades[5]]

    text = dumps.binance_klines(make_trades(1500), change=change)
    (klines,) = read_klines(str(write(tmp_path / "BTCUSDT-1m-2024-01-01.csv", text)))
    found = compare(ours(), klines)
    assert (found.missing_theirs, found.missing_ours, found.same) == (1, 0, False)
    whole = read_klines(str(write(tmp_path / "b.csv", dumps.binance_klines(make_trades(1500)))))[0]
    bars = ours("none")
    keep = np.arange(len(bars)) != 5
    found = compare(bars[keep], whole, interval="1m")
    assert (found.missing_theirs, found.missing_ours, found.same) == (0, 1, False)
    assert found.differences[0].ours is None


def test_klines_outside_our_time(tmp_path: Path) -> None:
    text = dumps.binance_klines(make_trades(1500))
    (klines,) = read_klines(str(write(tmp_path / "BTCUSDT-1m-2024-01-01.csv", text)))
    bars = ours()["BTCUSDT", "1m"]
    found = compare(bars[20:60], klines)
    assert found.same
    assert found.compared == 40
    assert found.outside == len(klines) - 40
    late = klineagg.aggregate({**make_trades(9).columns(), "time": np.arange(9)}, "1m", unit="s")
    nothing = compare(late, klines)
    assert (nothing.compared, nothing.outside, nothing.same) == (0, len(klines), False)
    with pytest.raises(errors.ResultError):
        compare(bars[:0], klines, symbol="BTCUSDT", interval="1m")


def test_which_series(tmp_path: Path) -> None:
    text = dumps.binance_klines(make_trades(1500), 3_600_000)
    (klines,) = read_klines(str(write(tmp_path / "unnamed.csv", text)))
    assert compare(ours(), klines).same  # by the distance of its lines
    (klines,) = read_klines(str(write(tmp_path / "BTCUSDT-60m-2024-01.csv", text)))
    assert compare(ours(), klines).same  # 60m is 1h
    with pytest.raises(errors.ResultError, match="5m"):
        compare(ours(), klines, interval="5m")
    with pytest.raises(errors.ResultError):
        compare(ours(), klines, symbol="ETHUSDT")
    two = klineagg.aggregate(
        [make_trades(9, 1, "A").columns(), make_trades(9, 1, "B").columns()], "1h"
    )
    with pytest.raises(errors.OptionError, match="--symbol"):
        compare(two, read_klines(str(tmp_path / "unnamed.csv"))[0])


def test_months_of_file_systems_without_case(tmp_path: Path) -> None:
    text = dumps.binance_klines(make_trades(5), 86_400_000)
    (klines,) = read_klines(str(write(tmp_path / "BTCUSDT-1mo-2024-01.csv", text)))
    assert klines.interval == "1M"


def test_parquet_klines(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    bars = ours("none")["BTCUSDT", "1m"]
    table = pa.table(
        {
            "timestamp": pa.array(bars.open_time.astype("datetime64[ms]")),
            "open": bars.open,
            "high": bars.high,
            "low": bars.low,
            "close": bars.close,
            "volume": np.round(bars.volume, 8),
            "trades": bars.trade_count,
        }
    )
    path = tmp_path / "theirs.parquet"
    parquet.write_table(table, path)
    (klines,) = read_klines(str(path))
    found = compare(bars, klines)
    assert found.same
    assert found.compared == len(bars)
    parquet.write_table(table.drop_columns(["low"]), path)
    with pytest.raises(errors.ColumnError, match="low"):
        read_klines(str(path))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(errors.FileError) as caught:
        read_klines(str(path))
    assert caught.value.name == "file_truncated"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", "file_truncated"),
        ("1,2,3\n", "file_format"),
        ("time,open,high,low\n1,2,3,4\n", "missing_column"),
        ("time,open,high,low,close\n1,2,3,4,5\n1,2,3,4\n", "csv_row"),
        ("time,open,high,low,close\n1,2,3,x,5\n", "csv_row"),
        ("time,open,high,low,close\nnoon,2,3,4,5\n", "csv_row"),
    ],
)
def test_what_are_no_klines(tmp_path: Path, text: str, name: str) -> None:
    path = write(tmp_path / "k.csv", text)
    with pytest.raises(errors.KlineaggError) as caught:
        read_klines(str(path))
    assert caught.value.name == name
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("first", ["", "\ufeff", "\n\r\n"])
def test_klines_are_read_in_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    text = first + dumps.binance_klines(make_trades(1500), header=True)
    path = write(tmp_path / "BTCUSDT-1m-2024-01-01.csv", text)
    (whole,) = read_klines(str(path))
    monkeypatch.setattr(klines_module, "_ROWS_AT_ONCE", 7)
    (parts,) = read_klines(str(path))
    assert compare(ours(), parts).same
    assert list(parts.columns) == list(whole.columns)
    for name, values in whole.columns.items():
        assert parts.columns[name].tobytes() == values.tobytes()
    assert parts.open_time.tobytes() == whole.open_time.tobytes()
    assert parts.rows.tolist() == whole.rows.tolist()
    assert (parts.decimals, parts.unit_ns) == (whole.decimals, whole.unit_ns)
    write(path, text + "oops\n")
    with pytest.raises(errors.FileError) as caught:
        read_klines(str(path))
    assert caught.value.fields["row"] == len((text + "oops").splitlines())


def test_decimals_as_they_are_printed(tmp_path: Path) -> None:
    lines = ["time,open,high,low,close,volume"]
    lines += ["1704067200,1, 2.50 ,1.5e-6,4.0,-0.25", "2024-01-01T00:01:00Z,1,2,3,4.0,5"]
    (klines,) = read_klines(str(write(tmp_path / "k.csv", "\n".join(lines))))
    assert klines.decimals == {"open": 0, "high": 2, "low": 7, "close": 1, "volume": 2}
    assert np.diff(klines.open_time).tolist() == [60 * 10**9]


def test_packed_klines_that_are_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT-1m-2024-01-01.csv.gz"
    packed = gzip.compress(dumps.binance_klines(make_trades(1500)).encode())
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(errors.FileError) as caught:
        read_klines(str(path))
    assert caught.value.name == "file_truncated"


def test_klines_may_be_packed_and_unsorted(tmp_path: Path) -> None:
    lines = dumps.binance_klines(make_trades(1500)).splitlines()
    path = tmp_path / "BTCUSDT-1m-2024-01-01.csv.gz"
    path.write_bytes(gzip.compress("\n".join(lines[::-1]).encode()))
    (klines,) = read_klines(str(path))
    assert compare(ours(), klines).same
    assert klines.rows[0] == len(lines)


@given(st.integers(0, 10**15), st.integers(0, 8), st.integers(-3, 3))
def test_numbers_are_equal_when_they_round_to_the_same(units: int, decimals: int, off: int) -> None:
    from klineagg.io.compare import _equal

    theirs = np.array([float(f"{units}e-{decimals}")])
    mine = np.array([float(f"{units * 10 + off}e-{decimals + 1}")])
    # Below half a unit of the last place, however the halves are rounded.
    if units < 2**46:
        assert _equal(mine, theirs, decimals)[0]
        more = np.array([float(f"{units * 10 + 6}e-{decimals + 1}")])
        assert not _equal(more, theirs, decimals)[0]


def test_names_are_loaded_when_used() -> None:
    import subprocess

    code = "import klineagg.io, sys; print('pyarrow' in sys.modules, 'zipfile' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]
    with pytest.raises(AttributeError):
        klineagg.io.nothing  # noqa: B018
