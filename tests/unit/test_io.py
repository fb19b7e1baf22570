"""Files of trades in every known layout give the bars of the trades themselves."""

from __future__ import annotations

import gzip
import io
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klineagg
from klineagg import errors
from klineagg.bars import Bars
from klineagg.io.readers import TradeReader, read_trades
from klineagg.io.roles import Wanted
from unit import dumps
from unit.dumps import DAY_MS, Trades, make_trades, text_of, write, write_gz, write_zip

INTERVALS = "1m,1h"


def bars_of(path: Path, **options: Any) -> Bars:
    return klineagg.aggregate(read_trades(path, **options), INTERVALS)


def expected(t: Trades, **kept: bool) -> Bars:
    return klineagg.aggregate(t.columns(**kept), INTERVALS)


def facts_of(path: Path, **options: Any) -> Any:
    reader = TradeReader([path], Wanted(**options))
    list(reader)
    return reader.files[0]


LAYOUTS: list[tuple[str, str, Callable[[Trades], str], dict[str, bool], str]] = [
    ("BTCUSDT-trades-2024-01-01.csv", "binance-trades", dumps.binance, {}, "ms/us"),
    (
        "BTCUSDT-trades-2025-01.csv",
        "binance-trades",
        lambda t: dumps.binance(t, micro=True),
        {},
        "ms/us",
    ),
    (
        "BTCUSDT-trades-2023-01-01.csv",
        "binance-trades",
        lambda t: dumps.binance(t, header=True, spot=False),
        {},
        "ms/us",
    ),
    (
        "BTCUSDT-trades-2020-01-01.csv",
        "binance-trades",
        lambda t: dumps.binance(t, spot=False),
        {},
        "ms/us",
    ),
    ("BTCUSDT2024-01-01.csv", "bybit", dumps.bybit, {"ids": False}, "s"),
    ("BTCUSDT_2024-01-01.csv", "bybit-spot", dumps.bybit_spot, {}, "ms"),
    ("BTCUSDT-trades-2024-01-01.csv", "okx", dumps.okx, {}, "ms"),
    ("BTCUSDT-trades-2021-01-01.csv", "okx", lambda t: dumps.okx(t, form="none"), {}, "ms"),
    ("BTCUSDT.csv", "kraken", dumps.kraken, {"ids": False, "side": False}, "s"),
    ("binance_trades_2024-01-01_BTCUSDT.csv", "tardis", dumps.tardis, {}, "us"),
    (
        "bitmex_trades.csv",
        "tardis",
        lambda t: dumps.tardis(t, ids=False),
        {"ids": False},
        "us",
    ),
    ("20240101.csv", "bitmex", dumps.bitmex, {"ids": False}, "detect"),
]


@pytest.mark.parametrize(("name", "preset", "make", "kept", "unit"), LAYOUTS)
@pytest.mark.parametrize("packing", ["plain", "gz", "zip"])
def test_layouts(
    tmp_path: Path,
    name: str,
    preset: str,
    make: Callable[[Trades], str],
    kept: dict[str, bool],
    unit: str,
    packing: str,
) -> None:
    trades = make_trades(500)
    text = make(trades)
    if packing == "plain":
        path = write(tmp_path / name, text)
    elif packing == "gz":
        path = write_gz(tmp_path / f"{name}.gz", text)
    else:
        path = write_zip(tmp_path / "any.zip", {name: text})
    facts = facts_of(path)
    assert facts.preset == preset
    assert facts.unit == unit
    assert facts.rows == len(trades)
    assert facts.symbol in ("BTCUSDT", None)
    assert bars_of(path).equals(expected(trades, **kept))


def test_aggregated_trades_count_their_trades(tmp_path: Path) -> None:
    trades = make_trades(300)
    for header in (True, False):
        path = tmp_path / f"BTCUSDT-aggTrades-2024-0{1 + header}-01.csv"
        bars = bars_of(write(path, dumps.binance_agg(trades, header=header)))
        assert facts_of(path).preset == "binance-aggtrades"
        plain = expected(trades)
        assert bars.trade_count.tolist() == (plain.trade_count * 3).tolist()
        assert bars.volume.tobytes() == plain.volume.tobytes()
        assert bars.taker_buy_volume.tobytes() == plain.taker_buy_volume.tobytes()
        assert bars.first_trade_id.tolist() == (plain.first_trade_id * 3).tolist()
        assert bars.last_trade_id.tolist() == (plain.last_trade_id * 3 + 2).tolist()


def test_milliseconds_and_microseconds_in_one_file(tmp_path: Path) -> None:
    old, new = make_trades(100), make_trades(100, 2)
    new.time_ms += 366 * 86_400_000
    new.first_id = 5000
    text = dumps.binance(old) + dumps.binance(new, micro=True)
    bars = bars_of(write(tmp_path / "BTCUSDT-trades-2024-12.csv", text))
    both = klineagg.aggregate([old.columns(), new.columns()], INTERVALS)
    assert bars.equals(both)


def test_headers_in_gbk(tmp_path: Path) -> None:
    trades = make_trades(50)
    text = dumps.okx(trades, form="old")
    for encoding in ("gbk", "utf-8"):
        path = write(tmp_path / "BTCUSDT-trades-2022-05-01.csv", text, encoding)
        assert bars_of(path).equals(expected(trades))


def test_own_columns(tmp_path: Path) -> None:
    trades = make_trades(80)
    lines = (
        f"{np.datetime64(ms, 'ms')}+00:00;{p};{q};{'b' if b else 's'};x"
        for _, ms, p, q, b in trades.rows()
    )
    path = write(tmp_path / "own.csv", text_of(lines, "when;what;much;dir;note"))
    columns = {"time": "when", "price": "what", "quantity": "much", "side": "dir"}
    bars = bars_of(path, columns=columns, symbol="BTCUSDT")
    assert bars.equals(expected(trades, ids=False))
    without = bars_of(path, columns={**columns, "side": None}, symbol="BTCUSDT")
    assert without.equals(expected(trades, ids=False, side=False))
    numbered = {"time": "#1", "price": "#2", "quantity": "#3", "side": "#4"}
    bare = write(tmp_path / "bare.csv", path.read_text().partition("\n")[2])
    assert bars_of(bare, columns=numbered, symbol="BTCUSDT").equals(bars)


def test_one_column_of_a_preset_can_be_changed(tmp_path: Path) -> None:
    trades = make_trades(80)
    path = write(tmp_path / "BTCUSDT-trades-2024-01-01.csv", dumps.binance(trades, header=True))
    bars = bars_of(path, columns={"quantity": "quote_qty"})
    assert set(bars.volume.tolist()) == {float(n) for n in bars.trade_count.tolist()}
    assert bars.taker_buy_volume.sum() > 0


def marked(rows: int) -> tuple[Trades, list[str], Bars]:
    """Trades, their conditions, and the bars that they make."""
    trades = make_trades(rows)
    codes = [["@", "@ TI", "", "@F", "Z"][k % 5] for k in range(rows)]
    columns = {**trades.columns(), "conditions": codes}
    return trades, codes, klineagg.aggregate(columns, INTERVALS, conditions="us_utp")


def test_conditions_of_csv(tmp_path: Path) -> None:
    trades, codes, bars = marked(3000)
    assert not bars.equals(expected(trades))
    lines = [
        f"{i},{ms},{p},{q},{1 if b else -1},{c}"
        for (i, ms, p, q, b), c in zip(trades.rows(), codes, strict=True)
    ]
    path = write(tmp_path / "tape.csv", text_of(lines, "id,time,price,size,side,sale_condition"))
    table = klineagg.conditions.US_UTP
    assert bars_of(path, symbol="BTCUSDT", conditions=table).equals(bars)
    assert bars_of(path, symbol="BTCUSDT").equals(expected(trades))
    mapped = {"conditions": "sale_condition"}
    assert bars_of(path, symbol="BTCUSDT", conditions="us_utp", columns=mapped).equals(bars)
    with pytest.raises(errors.OptionError, match="no table says"):
        bars_of(path, symbol="BTCUSDT", columns=mapped)
    with pytest.raises(errors.OptionError, match="no table of conditions"):
        bars_of(path, symbol="BTCUSDT", conditions="mars")
    lines[2500] = lines[2500].rpartition(",")[0] + ",@%"
    write(path, text_of(lines, "id,time,price,size,side,sale_condition"))
    with pytest.raises(errors.ColumnError) as caught:
        bars_of(path, symbol="BTCUSDT", conditions="us_utp")
    fields = caught.value.fields
    assert (fields["file"], fields["row"], fields["code"]) == (str(path), 2502, "@%")
    assert f"{path}:2502: '@%'" in caught.value.message
    lenient = bars_of(path, symbol="BTCUSDT", conditions=table.with_unknown(0))
    assert lenient.trade_count.sum() == bars.trade_count.sum()


def test_conditions_of_a_preset_and_beside_flags(tmp_path: Path) -> None:
    trades, codes, bars = marked(300)
    rows = dumps.bybit(trades).splitlines()
    more = [rows[0] + ",cond,flags", *(f"{r},{c},0" for r, c in zip(rows[1:], codes, strict=True))]
    path = write(tmp_path / "BTCUSDT2024-01-01.csv", text_of(more))
    found = bars_of(path, conditions="us_utp", preset="bybit")
    assert found.trade_count.tolist() == bars.trade_count.tolist()
    assert found.high.tolist() == bars.high.tolist()
    no_volume = text_of([more[0], *(f"{row[:-1]}4" for row in more[1:])])
    none = bars_of(write(path, no_volume), conditions="us_utp", preset="bybit")
    assert none.high.tolist() == bars.high.tolist()
    assert not none.volume.any()
    plain = write(tmp_path / "BTCUSDT2024-01-02.csv", text_of(rows))
    with pytest.raises(errors.ColumnError) as caught:
        bars_of(plain, conditions="us_utp")
    assert caught.value.name == "missing_column"


@pytest.mark.parametrize("flags", [False, True])
def test_conditions_of_parquet(tmp_path: Path, flags: bool) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    trades, codes, bars = marked(600)
    table = arrow_table(trades).append_column("cond", pa.array([c or None for c in codes]))
    if flags:
        table = table.append_column("flags", pa.array([None, 0] * 300, pa.int64()))
    path = tmp_path / "tape.parquet"
    parquet.write_table(table, path, row_group_size=100)
    assert bars_of(path, conditions="us_utp").equals(bars)
    table = table.set_column(table.column_names.index("cond"), "cond", [["@"] * 599 + ["%"]])
    parquet.write_table(table, path, row_group_size=100)
    with pytest.raises(errors.ColumnError) as caught:
        bars_of(path, conditions="us_utp")
    assert (caught.value.fields["file"], caught.value.fields["row"]) == (str(path), 599)


def test_several_files_and_members(tmp_path: Path) -> None:
    parts = [make_trades(100, seed) for seed in (1, 2, 3)]
    for day, part in enumerate(parts):
        part.time_ms += day * 86_400_000
        part.first_id = 1000 * (day + 1)
    names = [f"BTCUSDT-trades-2024-01-0{day}.csv" for day in (1, 2, 3)]
    texts = [dumps.binance(part) for part in parts]
    archive = write_zip(
        tmp_path / "three.zip", {**dict(zip(names, texts, strict=True)), "x.CHECKSUM": "abc"}
    )
    files = [write(tmp_path / name, text) for name, text in zip(names, texts, strict=True)]
    whole = klineagg.aggregate([part.columns() for part in parts], INTERVALS)
    assert bars_of(archive).equals(whole)
    assert klineagg.aggregate(read_trades(*files), INTERVALS).equals(whole)


def test_progress_ends_at_the_size_of_all_files(tmp_path: Path) -> None:
    text = dumps.binance(make_trades(60_000))
    a = write_gz(tmp_path / "AUSDT-trades-2024-01-01.csv.gz", text)
    b = write(tmp_path / "BUSDT-trades-2024-01-01.csv", text)
    reader = TradeReader([a, b])
    done = []
    for _ in reader:
        done.append(reader.bytes_done)
        assert len(done) == 1 or done[-1] >= done[-2]
    assert len(done) > 2
    assert done[0] > 0
    assert reader.bytes_done == reader.bytes_total == a.stat().st_size + b.stat().st_size


def test_gzip_of_several_parts_and_padding(tmp_path: Path) -> None:
    trades = make_trades(100)
    data = dumps.binance(trades).encode()
    path = tmp_path / "BTCUSDT-trades-2024-01-01.csv.gz"
    path.write_bytes(gzip.compress(data[:999]) + gzip.compress(data[999:]) + bytes(512))
    assert bars_of(path).equals(expected(trades))


def test_zstd(tmp_path: Path) -> None:
    zstd = pytest.importorskip("compression.zstd" if sys.version_info >= (3, 14) else "zstandard")
    pack = getattr(zstd, "compress", None) or zstd.ZstdCompressor().compress
    trades = make_trades(3000)
    data = dumps.binance(trades).encode()
    packed = pack(data[:5000]) + pack(data[5000:])
    path = tmp_path / "BTCUSDT-trades-2024-01-01.csv.zst"
    path.write_bytes(packed)
    assert bars_of(path).equals(expected(trades))
    path.write_bytes(packed[:-9])
    with pytest.raises(errors.FileError) as caught:
        bars_of(path)
    assert caught.value.name == "file_truncated"


def test_zstd_without_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    path = tmp_path / "a.csv.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(20))
    with pytest.raises(errors.MissingExtraError) as caught:
        bars_of(path)
    assert "zstandard" in caught.value.hint


def test_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trades = make_trades(100)
    path = write_zip(tmp_path / "a.zip", {"BTCUSDT-trades-2024-01-01.csv": dumps.binance(trades)})

    class Pipe(io.RawIOBase):
        """Bytes that come in small pieces and cannot be sought."""

        def __init__(self, data: bytes) -> None:
            self.rest = data

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            size = min(len(buffer), 100, len(self.rest))
            buffer[:size], self.rest = self.rest[:size], self.rest[size:]
            return size

    class Stdin:
        buffer = io.BufferedReader(Pipe(path.read_bytes()))

    monkeypatch.setattr(sys, "stdin", Stdin)
    assert klineagg.aggregate(read_trades("-"), INTERVALS).equals(expected(trades))


# -- Parquet and Arrow ---------------------------------------------------------------------------


def arrow_table(t: Trades, unit: str = "ms") -> Any:
    pa = pytest.importorskip("pyarrow")
    scale = {"s": 1, "ms": 1, "us": 1000, "ns": 10**6}[unit]
    return pa.table(
        {
            "sym": [t.symbol] * len(t),
            "ts": t.time_ms * scale,
            "px": t.price,
            "qty": t.quantity,
            "is_buyer_maker": ~t.bought,
            "id": t.ids,
            "note": ["x"] * len(t),
        }
    )


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_parquet_with_integer_stamps(tmp_path: Path, unit: str) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    trades = make_trades(600)
    path = tmp_path / "trades.parquet"
    parquet.write_table(arrow_table(trades, unit), path, row_group_size=100)
    assert bars_of(path).equals(expected(trades))


@pytest.mark.parametrize("format", ["file", "stream"])
def test_arrow_files(tmp_path: Path, format: str) -> None:
    pa = pytest.importorskip("pyarrow")
    trades = make_trades(600)
    table = arrow_table(trades)
    table = table.set_column(1, "time", table["ts"].cast(pa.timestamp("ms", "UTC")))
    path = tmp_path / "trades.arrow"
    opener = pa.ipc.new_file if format == "file" else pa.ipc.new_stream
    with opener(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=70)
    assert bars_of(path).equals(expected(trades))
    packed = tmp_path / "trades.arrow.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert bars_of(packed).equals(expected(trades))


def test_parquet_without_symbol(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    trades = make_trades(60)
    path = tmp_path / "trades.parquet"
    parquet.write_table(arrow_table(trades).drop_columns(["sym"]), path)
    with pytest.raises(errors.ColumnError) as caught:
        bars_of(path)
    assert "--symbol" in caught.value.hint
    assert bars_of(path, symbol="BTCUSDT").equals(expected(trades))


def test_damaged_parquet(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "trades.parquet"
    parquet.write_table(arrow_table(make_trades(600)), path)
    whole = path.read_bytes()
    for size in (4, 100, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:size])
        with pytest.raises(errors.FileError) as caught:
            bars_of(path)
        assert caught.value.name == "file_truncated"
        assert caught.value.fields["file"] == str(path)


def test_bars_are_no_trades(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "bars.parquet"
    expected(make_trades(60)).to_parquet(path)
    with pytest.raises(errors.FileError, match="bars"):
        bars_of(path)


# -- errors --------------------------------------------------------------------------------------


def broken(tmp_path: Path, text: str, name: str = "BTCUSDT-trades-2024-01-01.csv") -> Any:
    with pytest.raises(errors.KlineaggError) as caught:
        bars_of(write(tmp_path / name, text))
    assert name in str(caught.value)
    return caught.value


def test_a_bad_row_names_file_line_and_column(tmp_path: Path) -> None:
    text = dumps.binance(make_trades(30)).splitlines()
    text[20] = text[20].replace(".", ",5,", 1)
    error = broken(tmp_path, "\n".join(text))
    assert (error.name, error.fields["row"], error.fields["reason"]) == (
        "csv_row",
        21,
        "field_count",
    )
    text[20] = text[19].replace(",4", ",x", 1)
    error = broken(tmp_path, "\n".join(text))
    assert (error.fields["column"], error.fields["column_name"]) == ("price", "price")


def test_bad_rows_are_counted(tmp_path: Path) -> None:
    trades = make_trades(30)
    lines = dumps.binance(trades).splitlines()
    lines[3:3] = ["x,y", "", "1,2,3,4,5,6,7", "1,1,z,1,1,True,True"]
    path = write(tmp_path / "BTCUSDT-trades-2024-01-01.csv", "\n".join(lines))
    reader = TradeReader([path], on_bad="count")
    rows = [batch.data for batch in reader]
    assert klineagg.aggregate(rows, INTERVALS).equals(expected(trades))
    assert reader.faults == {"field_count": 1, "quantity_unreadable": 1, "side_unreadable": 1}
    assert [sample.row for sample in reader.samples] == [4, 6, 7]
    assert reader.rows == 30


def test_a_bad_first_row_decides_nothing(tmp_path: Path) -> None:
    trades = make_trades(30)
    for first in ("oops", "1,2,3,4", "x," * 6 + "x"):
        path = write(
            tmp_path / "BTCUSDT-trades-2024-01-01.csv", f"{first}\n{dumps.binance(trades)}"
        )
        reader = TradeReader([path], Wanted(preset="binance-trades", header=False), on_bad="count")
        assert klineagg.aggregate([b.data for b in reader], INTERVALS).equals(expected(trades))
        assert sum(reader.faults.values()) == 1


def test_positions_lead_back_to_lines(tmp_path: Path) -> None:
    text = dumps.binance(make_trades(10), header=True, spot=False).replace("\n", "\n\n")
    a = write(tmp_path / "AUSDT-trades-2024-01-01.csv", text)
    b = write(tmp_path / "BUSDT-trades-2024-01-01.csv", dumps.binance(make_trades(5)))
    reader = TradeReader([a, b])
    list(reader)
    assert reader.locate(0) == (str(a), 3)
    assert reader.locate(9) == (str(a), 21)
    assert reader.locate(10) == (str(b), 1)
    assert reader.locate(14) == (str(b), 5)
    assert reader.locate(15) is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", "file_truncated"),
        ("\n\n\r\n", "file_truncated"),
        ("<html>503</html>", "file_format"),
        ('{"error": 1}', "file_format"),
        ("a\0b\n", "file_format"),
        ("id,price,qty,quote_qty,when,is_buyer_maker\n1,1,1,1,1,true\n", "missing_column"),
        ("time,price,qty,amount,symbol\n1,1,1,1,A\n", "ambiguous_column"),
        ("1,2\r3,4\r", "file_format"),
        ("1,2,3\n", "missing_column"),
    ],
)
def test_what_is_no_dump(tmp_path: Path, text: str, name: str) -> None:
    assert broken(tmp_path, text).name == name


def test_a_header_alone_is_a_quiet_day(tmp_path: Path) -> None:
    path = write(tmp_path / "q.csv", "symbol,time,price,qty\n")
    assert len(bars_of(path)) == 0


def test_utf16(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("time,price\n1,2\n".encode("utf-16"))
    with pytest.raises(errors.FileError, match="UTF-16"):
        bars_of(path)


@pytest.mark.parametrize(("module", "tool"), [("lzma", "xz"), ("bz2", "bzip2")])
def test_archives_that_are_not_read(tmp_path: Path, module: str, tool: str) -> None:
    path = tmp_path / "a.csv.packed"
    path.write_bytes(pytest.importorskip(module).compress(b"time,price,qty\n1,2,3\n"))
    with pytest.raises(errors.FileError, match=f"packed by {tool}") as caught:
        bars_of(path)
    assert caught.value.hint == f"unpack it: {tool} -dk"


def test_missing_files(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(errors.FileError) as caught:
            bars_of(path)
        assert str(path) in str(caught.value)
        assert isinstance(caught.value, OSError)


def test_damaged_archives(tmp_path: Path) -> None:
    text = dumps.binance(make_trades(3000))
    packed = write_gz(tmp_path / "BTCUSDT-trades-2024-01-01.csv.gz", text)
    whole = packed.read_bytes()
    archive = write_zip(tmp_path / "a.zip", {"BTCUSDT-trades-2024-01-01.csv": text})
    zipped = archive.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    for path, data in (
        (packed, whole[: len(whole) // 2]),
        (packed, whole[:-4]),
        (packed, bytes(flipped)),
        (packed, whole + b"junk"),
        (archive, zipped[: len(zipped) // 2]),
    ):
        path.write_bytes(data)
        with pytest.raises(errors.FileError) as caught:
            bars_of(path)
        assert caught.value.name == "file_truncated"
    empty = tmp_path / "empty.zip"
    with zipfile.ZipFile(empty, "w"):
        pass
    with pytest.raises(errors.FileError) as caught:
        bars_of(empty)
    assert caught.value.name == "file_format"


def test_the_wrong_unit_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", f"symbol,time,price,qty\nA,{DAY_MS},1,1\n")
    for unit in ("s", "us", "ns"):
        with pytest.raises(errors.TimeUnitError) as caught:
            bars_of(path, unit=unit)
        assert caught.value.fields["likely"] == "ms"
    assert len(bars_of(path, unit="ms")) == 2


def test_a_preset_that_does_not_fit_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "1,45000.1,15,675001.5,1704240000011,true,true\n")
    with pytest.raises(errors.ColumnError, match="preset okx does not fit"):
        bars_of(path, preset="okx", symbol="A")
    with pytest.raises(errors.ColumnError, match="'nope'") as caught:
        bars_of(path, preset="okx", symbol="A", columns={"price": "nope"})
    assert "fit" not in caught.value.message
    with pytest.raises(errors.ColumnError) as caught:
        bars_of(write(tmp_path / "b.csv", "a,b,c,d\n1,2,3,4\n"), symbol="A")
    assert "fit" not in caught.value.message


def test_unknown_presets(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "1,2,3\n")
    with pytest.raises(errors.OptionError, match="binance-trades"):
        bars_of(path, preset="mtgox")
    with pytest.raises(errors.OptionError):
        bars_of(path, on_bad="ignore")


def test_real_trades_through_every_layout(tmp_path: Path, shared_data: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    path = shared_data / "binance_xrpeth_trades.parquet"
    table = parquet.read_table(path)
    trades = Trades(
        table["symbol"][0].as_py(),
        table["ts"].to_numpy() // 10**6,
        np.rint(table["price"].to_numpy() * 1e8).astype(np.int64),
        np.rint(table["qty"].to_numpy() * 1e4).astype(np.int64),
        table["side"].to_numpy() > 0,
        int(table["trade_id"][0].as_py()),
    )
    # Prices of this pair have eight decimals.
    trades.prices = lambda: [f"{v / 1e8:.8f}" for v in trades.price_e4.tolist()]  # type: ignore[method-assign]
    direct = klineagg.aggregate(table, INTERVALS)
    assert bars_of(path).equals(direct)
    name = f"{trades.symbol}-trades-2019-10-11.csv"
    assert bars_of(write(tmp_path / name, dumps.binance(trades, spot=False))).equals(direct)
    assert bars_of(write(tmp_path / "t.csv", dumps.tardis(trades))).equals(direct)
