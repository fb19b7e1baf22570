"""The daily update: what the lake lacks is added, what differs is told, nothing is done twice."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

import klineagg
from klineagg import Bars, Lake
from klineagg.config import load
from klineagg.runtime.daily import daily_update
from klineagg.runtime.setup import open_lake
from runtime.runs import write_config, write_trades

for needed in ("duckdb", "huey", "pyarrow"):
    pytest.importorskip(needed)

DAY = datetime(2018, 1, 1)


class Delivered:
    """Closed bars, as a snapshot brings them."""

    watermark = None

    def __init__(self, closed: Bars) -> None:
        self.id, self.closed = (1, 1), closed
        self.open = Bars.empty(closed.intervals)


def counts(lake: Lake) -> dict[int, int]:
    bars = lake.bars("XBTUSD", "1m")
    traded = bars.trade_count > 0
    opens = bars.open_time[traded].astype(np.int64).tolist()
    return dict(zip(opens, bars.trade_count[traded].tolist(), strict=True))


def test_it_completes_a_day_and_tells_what_differs(tmp_path: Path) -> None:
    (path,) = write_trades(tmp_path / "trades", 30_000, files=1)
    path.rename(tmp_path / "trades/2018-01-01.csv")
    config = load(write_config(
        tmp_path, engine__intervals='["1m"]', tasks__daily_files='["trades/{date}.csv", "no.csv"]'
    ))  # fmt: skip
    trades = list(klineagg.io.read_trades(tmp_path / "trades/2018-01-01.csv"))
    whole = klineagg.aggregate(iter(trades), "1m", include_open=False, progress=False)
    keep = np.ones(len(whole), np.bool_)
    keep[10:15] = False  # as if they had never been stored
    part = whole[keep]
    wrong = {name: part.column(name).copy() for name in part.columns}
    wrong["volume"][3] += 1
    with open_lake(config) as lake:
        lake.commit(Delivered(part._with(wrong)))
        first = daily_update(config, lake, DAY)
        assert (first.date, first.different) == ("2018-01-01", 1)
        assert first.checked >= len(whole)
        assert first.added == first.checked - len(part)
        again = daily_update(config, lake, DAY)
        assert (again.checked, again.added, again.different) == (first.checked, 0, 1)
        found = counts(lake)
    for opens, count in zip(whole.open_time.astype(np.int64).tolist(), whole.trade_count.tolist(),
                            strict=True):  # fmt: skip
        assert found[opens] == count
