"""Input that could be read as something else than it means is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klineagg
from klineagg import errors, io

NOW_MS = 1_704_067_200_000


def trades(**more: Any) -> dict[str, Any]:
    return {
        "time": np.arange(3) + np.datetime64(NOW_MS, "ms"),
        "price": [40_000.0, 2_000.0, 41_000.0],
        "quantity": [1.0, 2.0, 3.0],
        **more,
    }


def test_one_symbol_for_trades_of_several() -> None:
    several = trades(symbol=["BTC", "ETH", "BTC"])
    with pytest.raises(errors.OptionError, match="'symbol'") as raised:
        klineagg.aggregate(several, "1m", symbol="BTC")
    assert "columns={'symbol': None}" in raised.value.hint
    left_out = klineagg.aggregate(several, "1m", symbol="BTC", columns={"symbol": None})
    assert left_out["BTC", "1m"].trade_count.tolist() == [3]


@pytest.mark.parametrize("codes", [[37, 37, 37], [[37], [], [3]], np.array([14] * 3)])
@pytest.mark.parametrize("table", ["us_utp", "us_cta"])
def test_numbers_are_no_codes_of_one_character(codes: Any, table: str) -> None:
    """37 is neither "3" nor "7", and each excludes a trade from something else."""
    rows = trades(symbol=["A"] * 3, conditions=codes)
    with pytest.raises(errors.ColumnError, match="holds the number"):
        klineagg.aggregate(rows, "1m", conditions=table)


@pytest.mark.parametrize("freq", ["D", "h", "ms", "M"])
def test_periods_of_pandas(freq: str) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(trades(symbol=["A"] * 3))
    frame["time"] = pandas.period_range("2024-01-01", periods=3, freq=freq)
    with pytest.raises(errors.ColumnError, match="'time' holds period"):
        klineagg.aggregate(frame, "1d")
    frame["time"] = frame["time"].dt.to_timestamp()
    assert klineagg.aggregate(frame, "1d").open_time[0] == np.datetime64("2024-01-01")


def test_columns_of_pandas_that_have_no_text_for_a_name() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(trades(symbol=["A"] * 3)).rename(columns={"price": 0})
    with pytest.raises(errors.ColumnError, match="'0'"):
        klineagg.aggregate(frame, "1m")
    assert klineagg.aggregate(frame, "1m", columns={"price": "0"}).high.tolist() == [41_000.0]


@pytest.mark.parametrize("columns", [["price"], "price", 5])
def test_a_mapping_that_is_none(columns: Any) -> None:
    with pytest.raises(errors.OptionError, match="columns="):
        klineagg.aggregate(trades(symbol=["A"] * 3), "1m", columns=columns)


def test_thresholds_have_names_that_tell_them_apart() -> None:
    names = {
        threshold: klineagg.aggregate(
            trades(symbol=["A"] * 3), by="volume", threshold=threshold
        ).intervals
        for threshold in (1_000_000, 1_234_567.0, 1_234_574.9, 0.1, 0.1 + 2**-56)
    }
    assert len(set(names.values())) == 5
    assert names[1_000_000] == ("1000000 volume",) and names[0.1] == ("0.1 volume",)


@pytest.mark.parametrize("unit", ["ns", "us", "s", None])
@pytest.mark.parametrize("name", ["trades.parquet", "trades.arrow"])
def test_stamps_of_a_file_in_another_unit(tmp_path: Path, name: str, unit: str | None) -> None:
    pa = pytest.importorskip("pyarrow")
    feather, parquet = (
        pytest.importorskip("pyarrow.feather"),
        pytest.importorskip("pyarrow.parquet"),
    )
    table = pa.table(trades(symbol=["A"] * 3, time=NOW_MS + np.arange(3)))
    path = tmp_path / name
    if path.suffix == ".parquet":
        parquet.write_table(table, path)
    else:
        feather.write_feather(table, path, compression="uncompressed")
    if unit is None:  # by the digits
        (batch,) = list(io.read_trades(path))
        assert klineagg.aggregate(batch, "1d").open_time[0] == np.datetime64("2024-01-01")
        return
    with pytest.raises(errors.TimeUnitError, match="looks like ms"):
        list(io.read_trades(path, unit=unit))
