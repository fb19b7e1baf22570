"""Files: trade dumps of the exchanges, K-lines to compare with, and files of bars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from klineagg.io.barfiles import read_bars, write_bars
    from klineagg.io.klines import read_klines
    from klineagg.io.readers import TradeReader, read_trades

__all__ = ["TradeReader", "read_bars", "read_klines", "read_trades", "write_bars"]

_HOMES = {
    "TradeReader": "readers",
    "read_bars": "barfiles",
    "read_klines": "klines",
    "read_trades": "readers",
    "write_bars": "barfiles",
}


def __getattr__(name: str) -> Any:
    # Loaded when used, so that importing klineagg stays light.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
