"""Trades written as the exchanges publish them."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DAY_MS = 1_704_067_200_000  # 2024-01-01


@dataclass
class Trades:
    """Trades of one symbol: stamps in milliseconds, prices and quantities in steps of 10**-4."""

    symbol: str
    time_ms: NDArray[np.int64]
    price_e4: NDArray[np.int64]
    quantity_e4: NDArray[np.int64]
    bought: NDArray[np.bool_]
    first_id: int = 1000

    def __len__(self) -> int:
        return len(self.time_ms)

    @property
    def price(self) -> NDArray[np.float64]:
        return np.array([float(text) for text in self.prices()])

    @property
    def quantity(self) -> NDArray[np.float64]:
        return np.array([float(text) for text in self.quantities()])

    @property
    def ids(self) -> NDArray[np.int64]:
        return np.arange(self.first_id, self.first_id + len(self))

    def prices(self) -> list[str]:
        return [f"{v // 10**4}.{v % 10**4:04d}" for v in self.price_e4.tolist()]

    def quantities(self) -> list[str]:
        return [f"{v // 10**4}.{v % 10**4:04d}" for v in self.quantity_e4.tolist()]

    def columns(self, *, side: bool = True, ids: bool = True) -> dict[str, Any]:
        """What klineagg.aggregate takes, without any file between."""
        out: dict[str, Any] = {
            "symbol": np.full(len(self), self.symbol),
            "time": self.time_ms.astype("datetime64[ms]"),
            "price": self.price,
            "quantity": self.quantity,
        }
        if side:
            out["side"] = np.where(self.bought, 1, -1).astype(np.int8)
        if ids:
            out["trade_id"] = self.ids
        return out

    def rows(self) -> Iterator[tuple[int, int, str, str, bool]]:
        """Id, milliseconds, price, quantity and whether the taker bought."""
        return zip(
            self.ids.tolist(),
            self.time_ms.tolist(),
            self.prices(),
            self.quantities(),
            self.bought.tolist(),
            strict=True,
        )


def make_trades(rows: int = 2000, seed: int = 1, symbol: str = "BTCUSDT") -> Trades:
    """A random walk over one day, with ties and quiet times."""
    random = np.random.default_rng(seed)
    steps = random.choice([0, 0, 1, 40_000, 200_000], rows)
    return Trades(
        symbol,
        DAY_MS + np.minimum(np.cumsum(steps), 86_399_999),
        420_000_000 + np.cumsum(random.integers(-300, 301, rows)),
        random.integers(1, 50_000, rows),
        random.random(rows) < 0.5,
    )


def text_of(lines: Iterable[str], header: str | None = None) -> str:
    return "".join(f"{line}\n" for line in ([header] if header else []) + list(lines))


def binance(t: Trades, *, header: bool = False, micro: bool = False, spot: bool = True) -> str:
    name = "id,price,qty,quote_qty,time,is_buyer_maker" + (",is_best_match" if spot else "")
    last = ",True" if spot else ""
    true, false = ("True", "False") if spot else ("true", "false")
    lines = (
        f"{i},{p}0000,{q}0000,1.00000000,{ms * 1000 if micro else ms},{false if b else true}{last}"
        for i, ms, p, q, b in t.rows()
    )
    return text_of(lines, name if header else None)


def binance_agg(t: Trades, *, header: bool = True) -> str:
    name = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker"
    lines = (
        f"{i + 5},{p},{q},{i * 3},{i * 3 + 2},{ms},{str(not b).lower()}"
        for i, ms, p, q, b in t.rows()
    )
    return text_of(lines, name if header else None)


def bybit(t: Trades) -> str:
    name = (
        "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,"
        "foreignNotional"
    )
    lines = (
        f"{ms // 1000}.{ms % 1000:03d}0,{t.symbol},{'Buy' if b else 'Sell'},{q},{p},ZeroMinusTick,"
        f"0d87f5d4-6e0c-5d1e-8a6e-{i:012d},1.5e+11,{q},1.5"
        for i, ms, p, q, b in t.rows()
    )
    return text_of(lines, name)


def bybit_spot(t: Trades) -> str:
    lines = (f"{i},{ms},{p},{q},{'buy' if b else 'sell'},0" for i, ms, p, q, b in t.rows())
    return text_of(lines, "id,timestamp,price,volume,side,rpi")


def okx(t: Trades, *, form: str = "new") -> str:
    side = {True: "buy", False: "sell"}
    if form == "new":
        lines = (f"{t.symbol},{i},{side[b]},{p},{q},{ms}" for i, ms, p, q, b in t.rows())
        return text_of(lines, "instrument_name,trade_id,side,price,size,created_time")
    lines = (f"{i},{side[b]},{q},{p},{ms}" for i, ms, p, q, b in t.rows())
    old = "trade_id/撮合id,side/交易方向,size/数量,price/价格,created_time/成交时间"
    return text_of(lines, old if form == "old" else None)


def kraken(t: Trades) -> str:
    return text_of(f"{ms // 1000}.{ms % 1000:03d},{p},{q}" for _, ms, p, q, _ in t.rows())


def tardis(t: Trades, *, ids: bool = True) -> str:
    lines = (
        f"binance,{t.symbol},{ms * 1000},{ms * 1000 + 77},{i if ids else f'x-{i}'},"
        f"{'buy' if b else 'sell'},{p},{q}"
        for i, ms, p, q, b in t.rows()
    )
    return text_of(lines, "exchange,symbol,timestamp,local_timestamp,id,side,price,amount")


def bitmex(t: Trades) -> str:
    def stamp(ms: int) -> str:
        return str(np.datetime64(ms, "ms")).replace("T", "D") + "000000"

    lines = (
        f"{stamp(ms)},{t.symbol},{'Buy' if b else 'Sell'},{q},{p},PlusTick,u-{i},1,1,1,Regular"
        for i, ms, p, q, b in t.rows()
    )
    name = (
        "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,"
        "foreignNotional,trdType"
    )
    return text_of(lines, name)


def write_zip(path: Path, members: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path


def write_gz(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode(), 1))
    return path


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def binance_klines(
    t: Trades,
    period_ms: int = 60_000,
    *,
    header: bool = False,
    change: Callable[[list[str]], None] | None = None,
) -> str:
    """K-lines as Binance makes them: exact sums of the printed decimals, a line for every minute.

    Args:
        t: the trades.
        period_ms: length of a bar.
        header: with the names of the columns.
        change: may change the lines.
    """
    lines = []
    opens = t.time_ms - t.time_ms % period_ms
    close = 0
    for start in range(int(opens[0]), int(opens[-1]) + 1, period_ms):
        at = np.flatnonzero(opens == start)
        prices, quantities = t.price_e4[at].tolist(), t.quantity_e4[at].tolist()
        money = [p * q for p, q in zip(prices, quantities, strict=True)]
        buys = t.bought[at].tolist()
        ohlc = [prices[0], max(prices), min(prices), prices[-1]] if prices else [close] * 4
        close = ohlc[3]
        sums = (
            sum(quantities),
            sum(money),
            sum(q for q, b in zip(quantities, buys, strict=True) if b),
            sum(m for m, b in zip(money, buys, strict=True) if b),
        )
        volume, quote, taker, taker_quote = sums
        lines.append(
            f"{start},{','.join(_decimal(value, 4) for value in ohlc)},{_decimal(volume, 4)},"
            f"{start + period_ms - 1},{_decimal(quote, 8)},{len(at)},{_decimal(taker, 4)},"
            f"{_decimal(taker_quote, 8)},0"
        )
    if change is not None:
        change(lines)
    name = (
        "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,"
        "taker_buy_quote_volume,ignore"
    )
    return text_of(lines, name if header else None)


def _decimal(value: int, digits: int) -> str:
    """An integer count of 10**-digits with 8 decimals, as Binance prints."""
    whole, rest = divmod(value * 10 ** (8 - digits), 10**8)
    return f"{whole}.{rest:08d}"


def kraken_ohlcvt(t: Trades, minutes: int = 1) -> str:
    """OHLCVT as Kraken makes it: only bars with trades, no zeros at the end of numbers."""
    out = []
    for line in binance_klines(t, minutes * 60_000).splitlines():
        cells = line.split(",")
        if cells[8] != "0":
            numbers = [cell.rstrip("0").rstrip(".") for cell in cells[1:6]]
            out.append(",".join([str(int(cells[0]) // 1000), *numbers, cells[8]]))
    return text_of(out)
