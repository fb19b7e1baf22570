"""Coarser bars made of finer ones that are rounded already, beside the bars of the trades."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import klineagg
import reference as ref
from klineagg._bars_roll import rolled
from property.harness import assert_same_rows, run, to_rows
from property.strategies import coverages, scales, streams, without_flags

SUMS = ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")
END = 2**62


def core(name: str) -> Any:
    return klineagg.Interval(name).to_core(0, END)


@st.composite
def pairs(draw: st.DrawFn, names: tuple[str, ...]) -> tuple[str, str]:
    """Of these intervals a fixed one, and one that it refines."""
    fixed = [name for name in names if "@" not in name and core(name).kind == "fixed"]
    finer = draw(st.sampled_from(fixed))
    coarse = [name for name in names if core(finer).refines(core(name))]
    return finer, draw(st.sampled_from(coarse))


def expected_rows(
    trades: list[ref.Trade], symbol: str, name: str, options: ref.Options, finer: klineagg.Bars
) -> list[ref.Row]:
    """The rows of the trades, with the sums that the finer bars have, as far as these go."""
    first, last = finer.open_time.view(np.int64)[0], finer.close_time.view(np.int64)[-1]
    opens = finer.open_time.view(np.int64)
    rows = []
    for row in ref.aggregate(trades, [ref.parse(name)], options):
        if row["symbol"] != symbol or row["open_time"] < first or row["close_time"] > last:
            continue
        inside = (opens >= row["open_time"]) & (opens < row["close_time"])
        for each in SUMS:
            exact = math.fsum(finer.column(each)[inside].tolist())
            assert abs(exact - row[each]) <= 2**-52 * row[each]
            row[each] = exact
        rows.append(row)
    return rows


@given(st.data())
def test_rolled_up_rows_are_the_bars_of_the_trades(data: st.DataObject) -> None:
    scale = data.draw(scales)
    trades = without_flags(data.draw(streams(scale, wide=True)))
    finer_name, name = data.draw(pairs(scale.intervals))
    options = replace(data.draw(coverages(trades, scale)), gaps="flat", include_open=False)
    gaps = data.draw(st.sampled_from(["flat", "runs"]))
    bars = run(trades, [ref.parse(finer_name)], replace(options, gaps=gaps))
    interval = klineagg.Interval(name)
    for symbol in bars.symbols:
        finer = bars[symbol, finer_name]
        first, last = (
            int(finer.open_time.view(np.int64)[0]), int(finer.close_time.view(np.int64)[-1])
        )  # fmt: skip
        opens, closes = interval.table_for(first, last)
        inside = (opens >= first) & (closes <= last)
        got = rolled(finer, interval, opens[inside], closes[inside])
        expected = expected_rows(trades, symbol, name, options, finer.expand_gaps())
        assert_same_rows(to_rows(got), expected)
