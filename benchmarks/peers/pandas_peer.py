"""pandas: one groupby for each interval, from the trades or each from the one before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.peer import Bars, common_table, need
from benchmarks.peers.cascade import sources
from benchmarks.workload import Columns, interval_ns

# What a bar's column takes from the finer rows of its group.
_ROLL_UP = {
    "open": "first",
    "high": "max",
    "low": "min",
    "close": "last",
    "volume": "sum",
    "quote_volume": "sum",
    "trade_count": "sum",
    "taker_buy_volume": "sum",
    "taker_buy_quote_volume": "sum",
    "first_trade_id": "first",
    "last_trade_id": "last",
    "first_trade_time": "first",
    "last_trade_time": "last",
}


@dataclass(frozen=True)
class _State:
    trades: Any
    intervals: tuple[str, ...]


class PandasPeer:
    """groupby of symbol and time bucket with named aggregations; it has one thread."""

    threads = (1,)
    rows_max = None
    missing: tuple[str, ...] = ()

    def __init__(self, *, cascade: bool) -> None:
        self.cascade = cascade
        self.name = "pandas-cascade" if cascade else "pandas"
        self.label = "pandas, cascade of groupbys" if cascade else "pandas, a groupby per interval"
        self.note = "groupby.agg with built-in aggregations"

    def version(self) -> str:
        return str(need("pandas").__version__)

    def prepare(self, columns: Columns, intervals: tuple[str, ...], threads: int) -> _State:
        pd = need("pandas")

        return _State(pd.DataFrame(dict(columns), copy=False), intervals)

    def run(self, state: _State) -> dict[str, Any]:
        made: dict[str, Any] = {}
        rows = self._rows_of_trades(state.trades)
        for text, source in sources(state.intervals).items():
            ns = interval_ns(text)
            finer = rows if source is None or not self.cascade else made[source]
            keyed = finer.assign(open_time=finer["open_time"] // ns * ns)
            made[text] = keyed.groupby(["symbol", "open_time"], as_index=False).agg(_ROLL_UP)
        return made

    @staticmethod
    def _rows_of_trades(trades: Any) -> Any:
        """Each trade as a bar of its own, so that one set of aggregations serves both cases."""
        pd = need("pandas")

        price, quantity = trades["price"], trades["quantity"]
        value, buys = price * quantity, trades["side"] > 0
        ends = {
            "first_trade_id": trades["trade_id"],
            "last_trade_id": trades["trade_id"],
            "first_trade_time": trades["time"],
            "last_trade_time": trades["time"],
        }
        return pd.DataFrame(
            {"symbol": trades["symbol"], "open_time": trades["time"]}
            | dict.fromkeys(("open", "high", "low", "close"), price)
            | {"volume": quantity, "quote_volume": value}
            | {"trade_count": np.ones(len(trades), dtype=np.int64)}
            | {"taker_buy_volume": quantity * buys, "taker_buy_quote_volume": value * buys}
            | ends,
            copy=False,
        )

    def common(self, state: _State, result: dict[str, Any]) -> Bars:
        return {
            text: common_table({name: table[name].to_numpy() for name in table.columns})
            for text, table in result.items()
        }
