"""Bars as the aggregation makes them, on real trades: memory, runs, chunks, pictures."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import klineagg
from klineagg import Bars
from klineagg.bars import COLUMNS
from klineagg.data import load_bitmex
from klineagg.terminal import Style, chart

SESSION = {"start": "2017-12-30", "end": "2018-01-10", "weekmask": "Mon Tue Wed Thu Fri Sat Sun"}


def spans() -> list[Any]:
    """UTC, wall clocks with other days, morning sessions."""
    zone = "America/New_York"
    noon = klineagg.daily_sessions("am", "09:30", "11:30", tz=zone, every="7m", **SESSION)  # type: ignore[arg-type]
    return ["1s", "1m", "1h", f"4h@{zone}", "30m+7m", "1d", "1w", noon]


@pytest.fixture(scope="module")
def trades() -> Any:
    return load_bitmex()


@pytest.fixture(scope="module")
def runs(trades: Any) -> Bars:
    return klineagg.aggregate(trades, spans(), gaps="runs")


def test_runs_expand_to_the_gap_bars_of_the_core(trades: Any, runs: Bars) -> None:
    flat = klineagg.aggregate(trades, spans(), gaps="flat")
    assert runs.run_length.max() > 1
    assert len(runs) < len(flat)
    assert runs.expand_gaps().equals(flat)
    part = runs.between("2018-01-01T03:00:30", "2018-01-01T05:17:01")
    assert part.expand_gaps().equals(flat.between("2018-01-01T03:00:30", "2018-01-01T05:17:01"))
    assert runs.resolve() is runs


def test_columns_are_views_of_the_memory_of_the_core(runs: Bars) -> None:
    for name in COLUMNS:
        column = runs.column(name)
        assert not column.flags.writeable
        assert not column.flags.owndata
        part = runs["XBTUSD", "1m"].column(name)
        first = int(np.flatnonzero(runs.interval == 1)[0])
        offset = part.__array_interface__["data"][0] - column.__array_interface__["data"][0]
        assert offset == first * column.itemsize


def test_chunks_concatenate_to_the_whole(trades: Any, runs: Bars) -> None:
    aggregator = klineagg.Aggregator(spans(), gaps="runs")
    parts = [aggregator.update(trades[k : k + 17_001]) for k in range(0, len(trades), 17_001)]
    parts.append(aggregator.finish())
    assert Bars.concat(parts).equals(runs)


def test_pickle_and_parquet_keep_bits_and_boundaries(runs: Bars, tmp_path: Any) -> None:
    again = pickle.loads(pickle.dumps(runs))
    assert again.equals(runs)
    assert again.expand_gaps().equals(runs.expand_gaps())
    pytest.importorskip("pyarrow")
    runs.to_parquet(tmp_path / "bars.parquet")
    read = Bars.read_parquet(tmp_path / "bars.parquet")
    assert read.equals(runs)
    assert read.expand_gaps(intervals=[spans()[-1]]).equals(runs.expand_gaps())


def test_tick_bars_are_shown_in_their_order(trades: Any) -> None:
    bars = klineagg.aggregate(trades, by="tick", threshold=1_000)
    assert bars.intervals == ("1000 tick",)
    assert bars.resolve() is bars
    assert "1000 tick" in repr(bars)
    text = chart(bars, style=Style(100, 24))
    assert text.startswith("XBTUSD 1000 tick")
    assert len(text.splitlines()) == 24
