"""chDB (ClickHouse in the process): one GROUP BY for each interval, or each from the one before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.peer import Bars, common_table, need
from benchmarks.peers.cascade import sources
from benchmarks.workload import Columns, interval_ns

# Arrow columns would be read as Nullable, which costs time and makes NULLs of sums over no rows.
_TABLE = """
CREATE OR REPLACE TABLE trades (symbol Int32, time Int64, price Float64, quantity Float64,
    side Int8, trade_id Int64) ENGINE = Memory"""

_FROM_TRADES = """
SELECT symbol, time - time % {ns} AS open_time,
    argMin(price, trade_id) AS open, max(price) AS high, min(price) AS low,
    argMax(price, trade_id) AS close,
    sum(quantity) AS volume, sum(price * quantity) AS quote_volume, count() AS trade_count,
    sumIf(quantity, side > 0) AS taker_buy_volume,
    sumIf(price * quantity, side > 0) AS taker_buy_quote_volume,
    min(trade_id) AS first_trade_id, max(trade_id) AS last_trade_id,
    min(time) AS first_trade_time, max(time) AS last_trade_time
FROM trades GROUP BY symbol, open_time"""

_FROM_BARS = """
SELECT symbol, bar_time - bar_time % {ns} AS open_time,
    argMin(f.open, f.first_trade_id) AS open, max(f.high) AS high, min(f.low) AS low,
    argMax(f.close, f.first_trade_id) AS close,
    sum(f.volume) AS volume, sum(f.quote_volume) AS quote_volume,
    sum(f.trade_count) AS trade_count, sum(f.taker_buy_volume) AS taker_buy_volume,
    sum(f.taker_buy_quote_volume) AS taker_buy_quote_volume,
    min(f.first_trade_id) AS first_trade_id, max(f.last_trade_id) AS last_trade_id,
    min(f.first_trade_time) AS first_trade_time, max(f.last_trade_time) AS last_trade_time
FROM (SELECT * EXCEPT open_time, open_time AS bar_time FROM bars_{finer}) AS f
GROUP BY symbol, open_time"""


@dataclass(frozen=True)
class _State:
    session: Any
    intervals: tuple[str, ...]
    settings: str


class ChdbPeer:
    """SQL over a table in memory (loaded before the clock starts), results as tables in memory."""

    threads = (1, 2)
    rows_max = None
    missing: tuple[str, ...] = ()

    def __init__(self, *, cascade: bool) -> None:
        self.cascade = cascade
        self.name = "chdb-cascade" if cascade else "chdb"
        self.label = "chDB, cascade of queries" if cascade else "chDB, a query per interval"
        self.note = "Memory tables in and out"

    def version(self) -> str:
        need("pyarrow")
        return str(need("chdb").__version__)

    def prepare(self, columns: Columns, intervals: tuple[str, ...], threads: int) -> _State:
        pa, session_module = need("pyarrow"), need("chdb.session")

        session = session_module.Session()
        table = pa.table(dict(columns))  # noqa: F841  (chDB finds it by its name in this frame)
        session.query("CREATE DATABASE IF NOT EXISTS bench")
        session.query("USE bench")
        session.query(_TABLE)
        session.query("INSERT INTO trades SELECT * FROM Python(table)")
        return _State(
            session, intervals, f" SETTINGS max_threads = {threads}, max_insert_threads = 1"
        )

    def run(self, state: _State) -> dict[str, str]:
        made: dict[str, str] = {}
        for text, source in sources(state.intervals).items():
            ns = interval_ns(text)
            if source is None or not self.cascade:
                query = _FROM_TRADES.format(ns=ns)
            else:
                query = _FROM_BARS.format(ns=ns, finer=source)
            made[text] = f"bars_{text}"
            state.session.query(
                f"CREATE OR REPLACE TABLE {made[text]} ENGINE = Memory AS {query}{state.settings}"
            )
        return made

    def common(self, state: _State, result: dict[str, str]) -> Bars:
        bars: Bars = {}
        for text, name in result.items():
            table = state.session.query(f"SELECT * FROM {name}", "ArrowTable")
            bars[text] = common_table(
                {column: table[column].to_numpy() for column in table.column_names}
            )
        return bars
