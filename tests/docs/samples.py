"""Files that the documents work on, under the names that the exchanges give such files."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

import klineagg
from klineagg.data import load_bitmex


def write_samples(folder: Path) -> None:
    """Real trades of 2018 in the place of those that the names promise."""
    trades = load_bitmex()
    shift = np.datetime64("2024-01-01") - np.datetime64("2018-01-01")
    trades["time"] += shift
    _write_trades(folder, "BTCUSDT-trades-2024-01.zip", trades)
    bars = klineagg.aggregate(trades, "1m", gaps="flat")
    _write_klines(folder, "BTCUSDT-1m-2024-01.zip", bars)
    _write_ticks(folder / "ticks.csv", trades)


def _write_trades(folder: Path, name: str, trades: np.ndarray) -> None:
    times = trades["time"].astype("datetime64[ms]").astype(np.int64)
    rows = zip(
        times.tolist(),
        trades["price"].tolist(),
        trades["quantity"].tolist(),
        trades["side"].tolist(),
        strict=True,
    )
    lines = [
        f"{number},{price},{quantity},{price * quantity},{time},{side < 0},True"
        for number, (time, price, quantity, side) in enumerate(rows, 1)
    ]
    _zip(folder / name, "\n".join(lines) + "\n")


def _write_klines(folder: Path, name: str, bars: klineagg.Bars) -> None:
    lines = [
        f"{bar.open_time.astype(np.int64) // 10**6},{bar.open},{bar.high},{bar.low},{bar.close},"
        f"{bar.volume},{bar.close_time.astype(np.int64) // 10**6 - 1},{bar.quote_volume},"
        f"{bar.trade_count},{bar.taker_buy_volume},{bar.taker_buy_quote_volume},0"
        for bar in bars
    ]
    _zip(folder / name, "\n".join(lines) + "\n")


def _write_ticks(path: Path, trades: np.ndarray) -> None:
    """A layout that nobody publishes: the user has to map it."""
    part = trades[:5_000]
    times = part["time"].astype("datetime64[us]").astype(np.int64)
    rows = zip(times.tolist(), part["price"].tolist(), part["quantity"].tolist(), strict=True)
    lines = ["when,px,lots", *(f"{time},{price},{lots}" for time, price, lots in rows)]
    lines.insert(3, f"{times[1]},not a price,5")
    path.write_text("\n".join(lines) + "\n")


def _zip(path: Path, text: str) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(path.with_suffix(".csv").name, text)
