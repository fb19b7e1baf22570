"""Real trades against results that the reference computed once."""

from __future__ import annotations

import hashlib
import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klineagg
from golden.digest import COVERAGES, GAPS, PLANS
from klineagg.bars import COLUMNS, DTYPES, BarFlag
from klineagg.data import BITMEX_COVERAGE, load_bitmex

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())
NAMES = COLUMNS[2:]
# As digest.FORMAT: every column from open_time on, without padding.
PACKED = np.dtype([(name, DTYPES[name].newbyteorder("<")) for name in NAMES])
LABELS = [f"{gaps}{covered}" for gaps in GAPS for covered in ("", ", covered")]

Trades = dict[str, np.ndarray[Any, Any]]


def packed(bars: klineagg.Bars) -> np.ndarray[Any, Any]:
    rows = np.empty(len(bars), PACKED)
    for name in NAMES:
        rows[name] = bars[name]
    return rows


def arguments(data: str, label: str) -> dict[str, Any]:
    gaps, _, covered = label.partition(", ")
    if not covered:
        return {"gaps": gaps}
    start, end = (None if t is None else np.datetime64(t, "ns") for t in COVERAGES[data])
    return {"gaps": gaps, "coverage": (start, end)}


def assert_golden(bars: klineagg.Bars, data: str, label: str) -> None:
    """Every interval's rows against what is pinned; names the sample that differs."""
    assert bars.intervals == PLANS[data]
    for interval in PLANS[data]:
        pinned = GOLDEN[data]["series"][interval][label]
        rows = packed(bars[:, interval])
        for sample in pinned.get("samples", []):
            found = rows[rows["open_time"].view(np.int64) == sample[0]]
            assert found.tolist() == [as_row(sample)], interval
        assert len(rows) == pinned["rows"], interval
        assert hashlib.sha256(rows.tobytes()).hexdigest() == pinned["sha256"], interval


def as_row(sample: list[Any]) -> tuple[Any, ...]:
    row = np.empty(1, PACKED)
    for name, value in zip(NAMES, sample, strict=True):
        row[name] = value
    return tuple(row.tolist()[0])


def chosen(trades: Any, rows: Any) -> Trades:
    return {name: np.ascontiguousarray(trades[name][rows]) for name in trades.dtype.names}


@pytest.fixture(scope="module")
def shipped() -> np.ndarray[Any, Any]:
    return load_bitmex()


@pytest.fixture(scope="module")
def shared(request: pytest.FixtureRequest) -> Any:
    folder = request.getfixturevalue("shared_data")
    parquet = pytest.importorskip("pyarrow.parquet")

    def load(data: str) -> Trades:
        table = parquet.read_table(folder / f"{data}_trades.parquet")
        names = {"ts": "time", "qty": "quantity"}
        columns = {names.get(n, n): table[n].to_numpy() for n in table.column_names}
        columns["time"] = columns["time"].view("datetime64[ns]")
        return columns

    return load


@pytest.mark.parametrize("label", LABELS)
def test_shipped_trades(shipped: np.ndarray[Any, Any], label: str) -> None:
    data = "shipped_xbtusd"
    bars = klineagg.aggregate(shipped, PLANS[data], **arguments(data, label))
    assert_golden(bars, data, label)
    for interval in PLANS[data]:
        assert bars[:, interval]["trade_count"].sum() == GOLDEN[data]["trades"] == len(shipped)


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("data", ["bitmex_xbtusd", "binance_xrpeth"])
def test_more_real_trades(shared: Any, data: str, label: str) -> None:
    trades = shared(data)
    for threads in (1, 2):
        options = arguments(data, label)
        bars = klineagg.aggregate(trades, PLANS[data], threads=threads, **options)
        assert_golden(bars, data, label)


def test_shipped_trades_are_the_first_of_the_file(
    shared: Any, shipped: np.ndarray[Any, Any]
) -> None:
    whole = shared("bitmex_xbtusd")
    for name in ("time", "price", "quantity", "side"):
        assert np.array_equal(shipped[name], whole[name][: len(shipped)])
    assert (whole["time"][: len(shipped)] < BITMEX_COVERAGE[1]).all()
    assert whole["time"][len(shipped)] >= BITMEX_COVERAGE[1]


@pytest.mark.parametrize("size", [1, 977, 30_000])
def test_chunks(shipped: np.ndarray[Any, Any], size: int) -> None:
    data, label = "shipped_xbtusd", "runs, covered"
    count = 3_000 if size == 1 else len(shipped)
    aggregator = klineagg.Aggregator(PLANS[data], **arguments(data, label))
    edges = [*range(0, count, size), len(shipped)]
    parts = [aggregator.update(shipped[a:b]) for a, b in pairwise(edges)]
    parts.append(aggregator.finish())
    assert_golden(klineagg.Bars.concat(parts), data, label)


def test_threads(shipped: np.ndarray[Any, Any]) -> None:
    data, label = "shipped_xbtusd", "runs, covered"
    bars = klineagg.aggregate(shipped, PLANS[data], threads=2, **arguments(data, label))
    assert_golden(bars, data, label)


@pytest.mark.parametrize("late", ["raise", "drop", "amend"])
def test_disorder_within_the_lateness(shipped: np.ndarray[Any, Any], late: str) -> None:
    data, label = "shipped_xbtusd", "runs, covered"
    time_ms = shipped["time"].view(np.int64) // 10**6
    # Each stamp is delayed by up to 5 s, all its trades by the same: they are tied.
    order = np.argsort(time_ms + time_ms * 7919 % 5000, kind="stable")
    assert (np.diff(time_ms[order]) < 0).mean() > 0.1
    options = {"lateness": np.timedelta64(5, "s"), "late": late, **arguments(data, label)}
    bars = klineagg.aggregate(chosen(shipped, order), PLANS[data], **options)
    assert_golden(bars, data, label)


def test_amended_trades_end_in_the_same_bars(shipped: np.ndarray[Any, Any]) -> None:
    time_ms = shipped["time"].view(np.int64) // 10**6
    order = np.argsort(time_ms + time_ms * 7919 % 5000, kind="stable")[-20_000:]
    options: dict[str, Any] = {"lateness": 0, "late": "amend", "gaps": "flat"}
    intervals = ["1s", "1m", "1h", "3d", "1w"]
    amended = klineagg.aggregate(chosen(shipped, order), intervals, **options)
    in_order = klineagg.aggregate(chosen(shipped, np.sort(order)), intervals, gaps="flat")
    assert len(amended) == len(in_order)
    for name in NAMES[:-2]:
        # By bytes: no NaT equals another.
        assert amended.column(name).tobytes() == in_order.column(name).tobytes(), name
    revised = amended["revision"] > 0
    assert revised.mean() > 0.1
    assert np.array_equal((amended["flags"] & BarFlag.REVISED) != 0, revised)
    assert np.array_equal(amended["flags"] & ~np.uint16(BarFlag.REVISED), in_order["flags"])


def test_merged_parts_are_the_whole(shipped: np.ndarray[Any, Any]) -> None:
    data = "shipped_xbtusd"
    edges = [0, 1, 30_001, 30_002, 70_000, len(shipped)]
    parts = [
        klineagg.aggregate(shipped[a:b], PLANS[data], partials=True) for a, b in pairwise(edges)
    ]
    from_left = parts[0]
    for part in parts[1:]:
        from_left = klineagg.merge(from_left, part)
    from_right = parts[-1]
    for part in parts[-2::-1]:
        from_right = klineagg.merge(part, from_right)
    whole = klineagg.aggregate(shipped, PLANS[data])
    for merged in (from_left, from_right):
        assert len(merged) == len(whole)
        for name in NAMES[:-1]:
            assert merged.column(name).tobytes() == whole.column(name).tobytes(), name


def test_every_volume_is_the_sum_of_fsum(shipped: np.ndarray[Any, Any]) -> None:
    trades = chosen(shipped, slice(None))
    # Amounts with a fraction, unlike these contracts, so that the order of adding would show.
    trades["quantity"] = np.round(trades["quantity"] / trades["price"], 8)
    bars = klineagg.aggregate(trades, "1m", gaps="flat")
    minutes = trades["time"].astype("datetime64[m]")
    naive_differs = 0
    for begin, row in zip(bars["open_time"].astype("datetime64[m]"), bars, strict=True):
        first, behind = np.searchsorted(minutes, [begin, begin + 1])
        quantity, price, side = (
            trades[name][first:behind] for name in ("quantity", "price", "side")
        )
        bought = side > 0
        assert row.volume == math.fsum(quantity)
        assert row.quote_volume == math.fsum(price * quantity)
        assert row.taker_buy_volume == math.fsum(quantity[bought])
        assert row.taker_buy_quote_volume == math.fsum((price * quantity)[bought])
        naive_differs += row.volume != sum(quantity.tolist())
    assert naive_differs > 50


def test_pandas_agrees(shipped: np.ndarray[Any, Any]) -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(chosen(shipped, slice(None))).set_index("time")
    for name, rule in (("1m", "1min"), ("1h", "1h"), ("4h", "4h"), ("1d", "1D")):
        theirs = frame["price"].resample(rule, closed="left", label="left").ohlc()
        volume = frame["quantity"].resample(rule).sum()
        count = frame["quantity"].resample(rule).count()
        close = theirs["close"].ffill()
        bars = klineagg.aggregate(shipped, name, gaps="flat")
        assert np.array_equal(bars["open_time"], theirs.index.to_numpy(dtype="datetime64[ns]"))
        # Whole contracts: any order of adding gives the same sum.
        assert np.array_equal(bars["volume"], volume)
        assert np.array_equal(bars["trade_count"], count)
        assert np.array_equal(bars["close"], close)
        for column in ("open", "high", "low"):
            flat = theirs[column].where(count > 0, close)
            assert np.array_equal(bars[column], flat), (name, column)
