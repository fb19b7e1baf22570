"""polars: one lazy group_by for each interval, from the trades or each from the one before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.peer import Bars, PeerUnavailable, common_table, need
from benchmarks.peers.cascade import sources
from benchmarks.workload import Columns, interval_ns


@dataclass(frozen=True)
class _State:
    trades: Any
    intervals: tuple[str, ...]


def _from_trades(frame: Any, ns: int) -> Any:
    pl = need("polars")

    price, quantity = pl.col("price"), pl.col("quantity")
    value, buys = price * quantity, pl.col("side") > 0
    return (
        frame.lazy()
        .group_by("symbol", (pl.col("time") // ns * ns).alias("open_time"))
        .agg(
            price.first().alias("open"),
            price.max().alias("high"),
            price.min().alias("low"),
            price.last().alias("close"),
            quantity.sum().alias("volume"),
            value.sum().alias("quote_volume"),
            pl.len().alias("trade_count"),
            (quantity * buys).sum().alias("taker_buy_volume"),
            (value * buys).sum().alias("taker_buy_quote_volume"),
            pl.col("trade_id").min().alias("first_trade_id"),
            pl.col("trade_id").max().alias("last_trade_id"),
            pl.col("time").min().alias("first_trade_time"),
            pl.col("time").max().alias("last_trade_time"),
        )
    )


def _from_bars(frame: Any, ns: int) -> Any:
    pl = need("polars")

    # Finer bars come in no order, so which one was first is told by its ids.
    key = pl.col("first_trade_id")
    added = ("volume", "quote_volume", "trade_count", "taker_buy_volume", "taker_buy_quote_volume")
    return (
        frame.lazy()
        .group_by("symbol", pl.col("open_time") // ns * ns, maintain_order=True)
        .agg(
            pl.col("open").min_by(key),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").max_by(key),
            *(pl.col(name).sum() for name in added),
            pl.col("first_trade_id", "first_trade_time").min(),
            pl.col("last_trade_id", "last_trade_time").max(),
        )
    )


class PolarsPeer:
    """The lazy engine over columns that polars reads where they are.

    Its thread pool is fixed at the import, so the runner gives each thread count its own process
    with POLARS_MAX_THREADS set.
    """

    threads = (1, 2)
    rows_max = None
    missing: tuple[str, ...] = ()

    def __init__(self, *, cascade: bool) -> None:
        self.cascade = cascade
        self.name = "polars-cascade" if cascade else "polars"
        self.label = "polars, cascade of queries" if cascade else "polars, a query per interval"
        self.note = (
            "lazy group_by; the quicker engine for each: streaming over trades, else in memory"
        )

    def version(self) -> str:
        pl = need("polars")
        if not hasattr(pl.Expr, "min_by"):
            raise PeerUnavailable(f"polars {pl.__version__} has no Expr.min_by")
        return str(pl.__version__)

    def prepare(self, columns: Columns, intervals: tuple[str, ...], threads: int) -> _State:
        pl = need("polars")

        if pl.thread_pool_size() != threads:
            raise RuntimeError(f"polars runs {pl.thread_pool_size()} threads, not {threads}")
        return _State(pl.DataFrame(dict(columns)), intervals)

    def run(self, state: _State) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for text, source in sources(state.intervals).items():
            ns = interval_ns(text)
            if source is None or not self.cascade:
                made[text] = _from_trades(state.trades, ns).collect(engine="streaming")
            else:
                made[text] = _from_bars(made[source], ns).collect()
        return made

    def common(self, state: _State, result: dict[str, Any]) -> Bars:
        return {
            text: common_table({name: table[name].to_numpy() for name in table.columns})
            for text, table in result.items()
        }
