"""DuckDB: one GROUP BY for each interval, from the trades or each from the one before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.peer import Bars, common_table, need
from benchmarks.peers.cascade import sources
from benchmarks.workload import Columns, interval_ns

# On one thread rows come in their order, so first() and last() are right and the quickest form; on
# more threads partial groups meet in any order, and only the trade's id tells which was first.
_FIRST_LAST = "first(price) AS open, last(price) AS close"
_BY_ID = "arg_min(price, trade_id) AS open, arg_max(price, trade_id) AS close"

_FROM_TRADES = """
SELECT symbol, time - time % {ns} AS open_time, {ends}, max(price) AS high, min(price) AS low,
    sum(quantity) AS volume, sum(price * quantity) AS quote_volume, count(*) AS trade_count,
    sum(CASE WHEN side > 0 THEN quantity ELSE 0 END) AS taker_buy_volume,
    sum(CASE WHEN side > 0 THEN price * quantity ELSE 0 END) AS taker_buy_quote_volume,
    min(trade_id) AS first_trade_id, max(trade_id) AS last_trade_id,
    min(time) AS first_trade_time, max(time) AS last_trade_time
FROM trades GROUP BY ALL"""

_FROM_BARS = """
SELECT symbol, open_time - open_time % {ns} AS open_time,
    arg_min(open, first_trade_id) AS open, arg_max(close, first_trade_id) AS close,
    max(high) AS high, min(low) AS low,
    sum(volume) AS volume, sum(quote_volume) AS quote_volume,
    sum(trade_count)::BIGINT AS trade_count, sum(taker_buy_volume) AS taker_buy_volume,
    sum(taker_buy_quote_volume) AS taker_buy_quote_volume,
    min(first_trade_id) AS first_trade_id, max(last_trade_id) AS last_trade_id,
    min(first_trade_time) AS first_trade_time, max(last_trade_time) AS last_trade_time
FROM finer GROUP BY symbol, open_time - open_time % {ns}"""


@dataclass(frozen=True)
class _State:
    connection: Any
    trades: Any
    intervals: tuple[str, ...]
    ends: str


class DuckdbPeer:
    """SQL over Arrow columns, which DuckDB scans where they are; results as Arrow tables."""

    threads = (1, 2)
    rows_max = None
    missing: tuple[str, ...] = ()

    def __init__(self, *, cascade: bool) -> None:
        self.cascade = cascade
        self.name = "duckdb-cascade" if cascade else "duckdb"
        self.label = "DuckDB, cascade of queries" if cascade else "DuckDB, a query per interval"
        self.note = "Arrow columns in, Arrow tables out"

    def version(self) -> str:
        need("pyarrow")
        return str(need("duckdb").__version__)

    def prepare(self, columns: Columns, intervals: tuple[str, ...], threads: int) -> _State:
        duckdb, pa = need("duckdb"), need("pyarrow")

        connection = duckdb.connect(config={"threads": threads})
        trades = pa.table(dict(columns))
        return _State(connection, trades, intervals, _FIRST_LAST if threads == 1 else _BY_ID)

    def run(self, state: _State) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for text, source in sources(state.intervals).items():
            ns = interval_ns(text)
            if source is None or not self.cascade:
                state.connection.register("trades", state.trades)
                query = _FROM_TRADES.format(ns=ns, ends=state.ends)
            else:
                state.connection.register("finer", made[source])
                query = _FROM_BARS.format(ns=ns)
            relation = state.connection.sql(query)
            # Older versions have the method under its other name only.
            new = hasattr(relation, "to_arrow_table")
            made[text] = relation.to_arrow_table() if new else relation.fetch_arrow_table()
        return made

    def common(self, state: _State, result: dict[str, Any]) -> Bars:
        return {
            text: common_table({name: table[name].to_numpy() for name in table.column_names})
            for text, table in result.items()
        }
