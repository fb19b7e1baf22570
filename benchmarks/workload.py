"""The workload: one day of trades of many symbols, made by NumPy alone, the same for every peer.

Sizes of the symbols follow Zipf's law, and trades arrive in bursts: a slowly changing activity of
the whole market, a faster one of each symbol, and sweeps (one order that fills as several trades
within microseconds, many of them with one stamp). Bursts matter to the result, since they decide
how many bars the trades make: spread evenly, they would make many more.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Columns = dict[str, NDArray[Any]]

ROWS: Final = 10_000_000
SYMBOLS: Final = 100
ZIPF_EXPONENT: Final = 1.05
SEED: Final = 20250311
# Raised whenever the generator's output changes, so that a cached file of an older one is not used.
VERSION: Final = 1

DAY_START_NS: Final = 1_741_651_200_000_000_000  # 2025-03-11T00:00:00Z
DAY_SECONDS: Final = 86_400
US_PER_SECOND: Final = 1_000_000

MEAN_SWEEP_TRADES: Final = 1.5
MARKET_SIGMA: Final = 0.45
SYMBOL_SIGMA: Final = 1.6

DTYPES: Final[dict[str, str]] = {
    "symbol": "int32",
    "time": "int64",
    "price": "float64",
    "quantity": "float64",
    "side": "int8",
    "trade_id": "int64",
}

INTERVAL_SETS: Final[dict[str, tuple[str, ...]]] = {
    "8": ("1s", "5s", "1m", "5m", "15m", "1h", "4h", "1d"),
    "16": tuple("1s 2s 5s 10s 15s 30s 1m 3m 5m 15m 30m 1h 2h 4h 12h 1d".split()),
    "1m": ("1m",),
}

_UNIT_NS: Final = {
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}


def interval_ns(text: str) -> int:
    """Length in ns of an interval such as ``"5m"`` (seconds to days; all here divide a UTC day)."""
    return int(text[:-1]) * _UNIT_NS[text[-1]]


def trades_per_symbol(n: int, symbols: int) -> NDArray[np.int64]:
    """How many of ``n`` trades each symbol has: Zipf's weights, rounded to a sum of ``n``."""
    weights = np.arange(1, symbols + 1, dtype=np.float64) ** -ZIPF_EXPONENT
    edges = np.rint(np.cumsum(weights) / weights.sum() * n).astype(np.int64)
    counts: NDArray[np.int64] = np.diff(edges, prepend=0)
    return counts


def _smooth_noise(rng: np.random.Generator, seconds: int, step_seconds: int) -> NDArray[np.float64]:
    """Unit normal noise for each of ``seconds``, drawn every ``step_seconds`` and interpolated."""
    knots = np.arange(0, seconds + 2 * step_seconds, step_seconds)
    return np.interp(np.arange(seconds), knots, rng.standard_normal(knots.size))


def _sweep_times_us(
    rng: np.random.Generator, n: int, log_activity: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sorted times of ``n`` trades (us since the day's start) and which sweep each belongs to."""
    seconds = log_activity.size
    sweeps = max(1, int(n / MEAN_SWEEP_TRADES))
    # Every sweep has one trade; the others are dealt at random, which gives a few large sweeps when
    # the dealing weights are uneven, as in real order books.
    extra = rng.integers(0, sweeps, size=n - sweeps)
    extra = np.minimum(extra, rng.integers(0, sweeps, size=n - sweeps))
    of = np.concatenate([np.arange(sweeps), extra])
    noise = SYMBOL_SIGMA * rng.standard_normal(seconds)
    cdf = np.cumsum(np.exp(log_activity + noise))
    cdf /= cdf[-1]
    start_s = np.interp(rng.random(sweeps), np.concatenate([[0.0], cdf]), np.arange(seconds + 1))
    start_us = np.floor(start_s * US_PER_SECOND).astype(np.int64)
    # About half of a sweep's fills share its first stamp, the others follow within tens of us.
    delay_us = np.floor(np.maximum(rng.exponential(60.0, size=n) - 40.0, 0.0)).astype(np.int64)
    delay_us[:sweeps] = 0
    time_us = np.minimum(start_us[of] + delay_us, seconds * US_PER_SECOND - 1)
    order = np.argsort(time_us, kind="stable")
    return time_us[order], of[order]


def _one_symbol(
    rng: np.random.Generator, rank: int, n: int, market: NDArray[np.float64]
) -> dict[str, NDArray[np.generic]]:
    """The trades of the symbol with this rank (0 is the largest), sorted by time."""
    time_us, sweep = _sweep_times_us(rng, n, market + 0.5 * _smooth_noise(rng, market.size, 300))
    taker_buys = rng.random(int(sweep.max()) + 1) < 0.5
    side = np.where(taker_buys[sweep], 1, -1).astype(np.int8)
    # A walk over ticks, drifting with the taker's side as a sweep does; dividing whole ticks by a
    # power of ten gives the float64 nearest to the printed decimal, as a feed's parser does.
    moves = (rng.random(n) < 0.25) * side.astype(np.int64)
    first_ticks = int(rng.integers(30_000, 3_000_000))
    ticks = np.maximum(first_ticks + np.cumsum(moves), 1)
    price = ticks / 10.0 ** int(rng.integers(1, 6))
    lots = np.maximum(np.rint(np.exp(rng.normal(4.0, 1.5, size=n))), 1.0)
    quantity = lots / 10.0 ** int(rng.integers(0, 4))
    first_id = int(rng.integers(1_000_000, 5_000_000_000))
    return {
        "symbol": np.full(n, rank, dtype=np.int32),
        "time": DAY_START_NS + time_us * 1000,
        "price": price,
        "quantity": quantity,
        "side": side,
        "trade_id": first_id + np.arange(n, dtype=np.int64),
    }


def seconds_of(n: int) -> int:
    """How long a workload of ``n`` trades lasts.

    Smaller ones are a shorter part of the day, so that they have as many trades to a bar.
    """
    return min(DAY_SECONDS, max(60, DAY_SECONDS * n // ROWS))


def generate(n: int = ROWS, *, symbols: int = SYMBOLS, seed: int = SEED) -> Columns:
    """Make the workload.

    Args:
        n: How many trades (at least ``symbols``); with fewer than 10 million the day is shorter.
        symbols: How many symbols; ids are 0 .. symbols - 1, largest first.
        seed: Of the generator; equal arguments give equal columns.

    Returns:
        Six contiguous arrays of shape (n,), sorted by time: ``symbol`` int32, ``time`` int64 (ns,
        UTC), ``price`` and ``quantity`` float64, ``side`` int8 (+1 the taker bought, -1 sold),
        ``trade_id`` int64 (rising within a symbol).
    """
    if n < symbols:
        raise ValueError(f"{n} trades are too few for {symbols} symbols")
    streams = np.random.SeedSequence(seed).spawn(symbols + 1)
    market_rng = np.random.default_rng(streams[0])
    seconds = seconds_of(n)
    time_of_day = np.linspace(0.0, 2.0 * np.pi, seconds)
    market = MARKET_SIGMA * _smooth_noise(market_rng, seconds, 120) - 0.4 * np.cos(time_of_day)
    parts = [
        _one_symbol(np.random.default_rng(streams[rank + 1]), rank, int(count), market)
        for rank, count in enumerate(trades_per_symbol(n, symbols))
    ]
    order = np.argsort(np.concatenate([part["time"] for part in parts]), kind="stable")
    columns: Columns = {}
    for name, dtype in DTYPES.items():
        joined = np.concatenate([part.pop(name) for part in parts])
        columns[name] = np.ascontiguousarray(joined[order].astype(dtype, copy=False))
    return columns


def cache_dir() -> Path:
    """Where generated workloads and compiled peers are kept, outside the source tree.

    ``KLINEAGG_BENCH_CACHE`` when set, else ``klineagg-bench`` in the user's temporary directory.
    """
    chosen = os.environ.get("KLINEAGG_BENCH_CACHE")
    path = Path(chosen) if chosen else Path(tempfile.gettempdir()) / "klineagg-bench"
    path.mkdir(parents=True, exist_ok=True)
    return path


def workload_dir(n: int = ROWS, *, symbols: int = SYMBOLS, seed: int = SEED) -> Path:
    """The directory with this workload's six ``.npy`` files, generated on first use."""
    path = cache_dir() / f"trades-v{VERSION}-{n}-{symbols}-{seed}"
    if not path.is_dir():
        # Written beside and renamed: an interrupted run must not leave half a workload behind.
        with tempfile.TemporaryDirectory(dir=cache_dir()) as scratch:
            target = Path(scratch) / "new"
            target.mkdir()
            for name, values in generate(n, symbols=symbols, seed=seed).items():
                np.save(target / f"{name}.npy", values)
            target.rename(path)
    return path


def load(path: Path) -> Columns:
    """Read a workload's columns into memory (not mapped: a page fault must not count as work)."""
    return {name: np.load(path / f"{name}.npy") for name in DTYPES}


def bar_count(columns: Columns, intervals: tuple[str, ...]) -> int:
    """How many bars the trades make over all intervals, counted without building any."""
    symbol = columns["symbol"].astype(np.int64)
    since_start = columns["time"].astype(np.int64) - DAY_START_NS
    total = 0
    for text in intervals:
        per_day = DAY_SECONDS * 1_000_000_000 // interval_ns(text)
        seen = np.zeros((int(symbol.max()) + 1) * per_day, dtype=bool)
        seen[symbol * per_day + since_start // interval_ns(text)] = True
        total += int(seen.sum())
    return total
