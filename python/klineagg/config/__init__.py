"""The configuration of ``klineagg run``: one TOML file, checked, watched, all defaults written.

>>> from klineagg.config import loads
>>> loads("persist.persistence_interval_ms = 250").persist.persistence_interval_ms
250
"""

from __future__ import annotations

from klineagg.config.reading import load, loads
from klineagg.config.sections import (
    BusConfig,
    Config,
    EngineConfig,
    LakeConfig,
    LoggingConfig,
    PersistConfig,
    RuntimeConfig,
    SourceConfig,
    TasksConfig,
)
from klineagg.config.watching import Change, Watcher
from klineagg.config.writing import default_text, text_of

__all__ = [
    "BusConfig",
    "Change",
    "Config",
    "EngineConfig",
    "LakeConfig",
    "LoggingConfig",
    "PersistConfig",
    "RuntimeConfig",
    "SourceConfig",
    "TasksConfig",
    "Watcher",
    "default_text",
    "load",
    "loads",
    "text_of",
]
