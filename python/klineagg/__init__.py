"""Real trades into K-lines (OHLCV bars): exact, for many symbols and intervals, fast.

>>> import klineagg
>>> from klineagg.data import load_bitmex
>>> bars = klineagg.aggregate(load_bitmex(), "1m,1h")
>>> bars["XBTUSD", "1h"].close[:3]
array([13670.5, 13301. , 13427. ])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from klineagg._core import __version__

# Everything else loads when it is first used: an import should cost next to nothing.
_LAZY = {
    "Aggregator": "aggregation",
    "aggregate": "aggregation",
    "merge": "aggregation",
    "Bars": "bars",
    "Interval": "intervals",
    "sessions": "_sessions",
    "daily_sessions": "_sessions",
    "calendar_sessions": "_sessions",
    "Report": "report",
    "Engine": "engine",
    "Lake": "lake",
    "LakeBusyError": "errors",
    "LakeError": "errors",
    "LakeQueryError": "errors",
    "SimulatedClock": "_engine_clock",
    "SystemClock": "_engine_clock",
    "intern": "symbols",
    "symbol_names": "symbols",
    "KlineaggError": "errors",
    "EngineError": "errors",
    "LaneFullError": "errors",
    "SnapshotError": "errors",
    "Wal": "wal",
    "WalError": "errors",
}
_MODULES = ("conditions", "data", "errors", "io")

if TYPE_CHECKING:
    from klineagg import conditions, data, errors, io
    from klineagg._engine_clock import SimulatedClock, SystemClock
    from klineagg._sessions import calendar_sessions, daily_sessions, sessions
    from klineagg.aggregation import Aggregator, aggregate, merge
    from klineagg.bars import Bars
    from klineagg.engine import Engine
    from klineagg.errors import (
        EngineError,
        KlineaggError,
        LakeBusyError,
        LakeError,
        LakeQueryError,
        LaneFullError,
        SnapshotError,
        WalError,
    )
    from klineagg.intervals import Interval
    from klineagg.lake import Lake
    from klineagg.report import Report
    from klineagg.symbols import intern, symbol_names
    from klineagg.wal import Wal

__all__ = [
    "Aggregator",
    "Bars",
    "Engine",
    "EngineError",
    "Interval",
    "KlineaggError",
    "Lake",
    "LakeBusyError",
    "LakeError",
    "LakeQueryError",
    "LaneFullError",
    "Report",
    "SimulatedClock",
    "SnapshotError",
    "SystemClock",
    "Wal",
    "WalError",
    "__version__",
    "aggregate",
    "calendar_sessions",
    "conditions",
    "daily_sessions",
    "data",
    "errors",
    "intern",
    "io",
    "merge",
    "sessions",
    "symbol_names",
]


if not TYPE_CHECKING:  # type checkers would take every misspelt name for one of these

    def __getattr__(name: str) -> Any:
        from importlib import import_module

        if name in _MODULES:
            return import_module(f"klineagg.{name}")
        module = _LAZY.get(name)
        if module is None:
            raise AttributeError(f"module 'klineagg' has no attribute {name!r}")
        value = getattr(import_module(f"klineagg.{module}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
