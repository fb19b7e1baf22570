"""nautilus_trader: its time-bar aggregators, driven by trades and a test clock, on a slice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from benchmarks.peer import Bars, common_table, need
from benchmarks.workload import Columns, interval_ns

_PRICE_DECIMALS: Final = 5
_SIZE_DECIMALS: Final = 3
_UNITS: Final = {"s": "SECOND", "m": "MINUTE", "h": "HOUR", "d": "DAY"}


@dataclass(frozen=True)
class _State:
    instruments: list[Any]
    ticks: list[tuple[int, int, Any]]
    intervals: tuple[str, ...]


class NautilusPeer:
    """One aggregator for each symbol and interval; trade objects are made beforehand."""

    name = "nautilus"
    label = "nautilus_trader"
    threads = (1,)
    rows_max = 50_000
    missing: tuple[str, ...] = (
        "quote_volume",
        "trade_count",
        "taker_buy_volume",
        "taker_buy_quote_volume",
        "first_trade_id",
        "last_trade_id",
        "first_trade_time",
        "last_trade_time",
    )
    note = "TimeBarAggregator; trade objects made before the clock starts"

    def version(self) -> str:
        return str(need("nautilus_trader").__version__)

    def prepare(self, columns: Columns, intervals: tuple[str, ...], threads: int) -> _State:
        data = need("nautilus_trader.model.data")
        enums = need("nautilus_trader.model.enums")
        ids = need("nautilus_trader.model.identifiers")
        objects = need("nautilus_trader.model.objects")
        instruments = [_instrument(symbol) for symbol in range(int(columns["symbol"].max()) + 1)]
        ticks = []
        for symbol, time, price, quantity, side, trade_id in zip(
            *(columns[name].tolist() for name in _INPUT), strict=True
        ):
            tick = data.TradeTick(
                instruments[symbol].id,
                objects.Price(price, _PRICE_DECIMALS),
                objects.Quantity(quantity, _SIZE_DECIMALS),
                enums.AggressorSide.BUYER if side > 0 else enums.AggressorSide.SELLER,
                ids.TradeId(str(trade_id)),
                time,
                time,
            )
            ticks.append((time, symbol, tick))
        return _State(instruments, ticks, intervals)

    def run(self, state: _State) -> dict[str, list[tuple[int, Any]]]:
        clock = need("nautilus_trader.common.component").TestClock()
        clock.set_time(state.ticks[0][0] // interval_ns("1s") * interval_ns("1s"))
        made: dict[str, list[tuple[int, Any]]] = {text: [] for text in state.intervals}
        aggregators = [
            {text: _aggregator(one, symbol, text, made[text], clock) for text in state.intervals}
            for symbol, one in enumerate(state.instruments)
        ]
        for time, symbol, tick in state.ticks:
            # Closes first: a trade on a boundary belongs to the bar that begins there.
            for event in clock.advance_time(time):
                event.handle()
            for aggregator in aggregators[symbol].values():
                aggregator.handle_trade_tick(tick)
        self._close_all(state, clock, aggregators)
        return made

    @staticmethod
    def _close_all(state: _State, clock: Any, aggregators: list[dict[str, Any]]) -> None:
        """Let the last bars close, finest first, without a day of empty seconds on the way."""
        last = state.ticks[-1][0]
        for text in sorted(state.intervals, key=interval_ns):
            for event in clock.advance_time((last // interval_ns(text) + 1) * interval_ns(text)):
                event.handle()
            for of_symbol in aggregators:
                of_symbol[text].stop()

    def common(self, state: _State, result: dict[str, list[tuple[int, Any]]]) -> Bars:
        bars: Bars = {}
        for text, rows in result.items():
            # By their decimals: the fixed-point values do not convert to the nearest float64.
            fields = np.array(
                [
                    (symbol, bar.ts_event - interval_ns(text), *map(float, map(str, _values(bar))))
                    for symbol, bar in rows
                ],
                dtype=_ROW,
            )
            bars[text] = common_table({name: fields[name] for name in _ROW.names or ()})
        return bars


_INPUT: Final = ("symbol", "time", "price", "quantity", "side", "trade_id")
_ROW: Final = np.dtype(
    [("symbol", "i8"), ("open_time", "i8")]
    + [(name, "f8") for name in ("open", "high", "low", "close", "volume")]
)


def _values(bar: Any) -> tuple[Any, ...]:
    return bar.open, bar.high, bar.low, bar.close, bar.volume


def _instrument(symbol: int) -> Any:
    ids = need("nautilus_trader.model.identifiers")
    objects = need("nautilus_trader.model.objects")
    currencies = need("nautilus_trader.model.currencies")
    name = f"S{symbol:03d}"
    return need("nautilus_trader.model.instruments").CurrencyPair(
        instrument_id=ids.InstrumentId(ids.Symbol(name), ids.Venue("BENCH")),
        raw_symbol=ids.Symbol(name),
        base_currency=currencies.BTC,
        quote_currency=currencies.USD,
        price_precision=_PRICE_DECIMALS,
        size_precision=_SIZE_DECIMALS,
        price_increment=objects.Price(10.0**-_PRICE_DECIMALS, _PRICE_DECIMALS),
        size_increment=objects.Quantity(10.0**-_SIZE_DECIMALS, _SIZE_DECIMALS),
        ts_event=0,
        ts_init=0,
    )


def _aggregator(
    instrument: Any, symbol: int, interval: str, rows: list[tuple[int, Any]], clock: Any
) -> Any:
    data = need("nautilus_trader.model.data")
    text = f"{instrument.id}-{interval[:-1]}-{_UNITS[interval[-1]]}-LAST-INTERNAL"
    return need("nautilus_trader.data.aggregation").TimeBarAggregator(
        instrument,
        data.BarType.from_str(text),
        lambda bar: rows.append((symbol, bar)),
        clock,
        # The stamp of a bar's close is right also behind an empty stretch, that of its open is not.
        timestamp_on_close=True,
        build_with_no_updates=False,
    )
