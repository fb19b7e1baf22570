"""Real trades that come with the package, for examples and tests."""

from __future__ import annotations

from importlib.resources import files
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["BITMEX_COVERAGE", "load_bitmex"]

BITMEX_COVERAGE: Final = (
    np.datetime64("2018-01-01T00:00", "ns"),
    np.datetime64("2018-01-01T11:00", "ns"),
)
"""The range in which :func:`load_bitmex` has every trade: eleven whole hours, UTC."""

_FILE: Final = "bitmex_xbtusd_trades.npz"
_DTYPE: Final = np.dtype(
    [
        ("symbol", "U6"),
        ("time", "datetime64[ns]"),
        ("price", "float64"),
        ("quantity", "float64"),
        ("side", "int8"),
    ],
    align=True,
)


def load_bitmex() -> NDArray[Any]:
    """89,728 trades of BitMEX XBTUSD, from 2018-01-01 00:00 to 11:00 UTC, in the exchange's order.

    Times have milliseconds, and two thirds of the trades share the stamp of the one before.
    Thousands of rows equal the row before them: one large order that met many small ones, so none
    is a duplicate.

    Returns:
        Structured array ``(89728,)`` with the fields ``symbol`` (``"XBTUSD"``), ``time``
        (datetime64[ns], UTC, never falling), ``price`` (float64, USD, steps of 0.5), ``quantity``
        (float64, contracts of 1 USD) and ``side`` (int8, +1: the taker bought, -1: it sold).
        A new array at each call, which the caller may change.
    """
    with (
        (files(__name__) / _FILE).open("rb") as stream,
        np.load(stream, allow_pickle=False) as stored,
    ):
        trades = np.empty(len(stored["side"]), _DTYPE)
        time_ms = stored["first_time_ms"] + np.cumsum(stored["time_step_ms"], dtype=np.int64)
        half_usd = stored["first_price_half_usd"] + np.cumsum(
            stored["price_step_half_usd"], dtype=np.int64
        )
        trades["symbol"] = "XBTUSD"
        trades["time"] = time_ms.astype("datetime64[ms]")
        # Halves are exact in binary: these are the very float64 that the exchange's decimals give.
        trades["price"] = half_usd * 0.5
        trades["quantity"] = stored["quantity"]
        trades["side"] = stored["side"]
    return trades
