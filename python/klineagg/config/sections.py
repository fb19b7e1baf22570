"""The sections of the configuration: every key, its default, and what it means."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from klineagg.config.options import (
    boolean,
    choice,
    duration,
    filled,
    folder,
    globs,
    integer,
    integers,
    interval_names,
    mapping,
    name,
    option,
    optional,
    positive_duration,
    retention,
    text,
    texts,
)

__all__ = [
    "SECTIONS",
    "BusConfig",
    "Config",
    "EngineConfig",
    "LakeConfig",
    "LoggingConfig",
    "PersistConfig",
    "RuntimeConfig",
    "SourceConfig",
    "TasksConfig",
    "WalConfig",
]

_DAY_MS: Final = 86_400_000


@dataclass(frozen=True)
class RuntimeConfig:
    """Where a running engine is found."""

    name: str = option("klineagg", name, "of this engine, in the names of its socket and lock")
    folder: Path = option("run", folder, "socket and lock: created for its owner alone (0700)")
    shutdown_timeout: str = option(
        "30s", duration, "how long the last rows may take to be stored when it ends"
    )


@dataclass(frozen=True)
class EngineConfig:
    """The engine; the words mean what they mean in ``klineagg.Engine``."""

    intervals: tuple[str, ...] = option(
        ["1m", "5m", "1h", "1d"], interval_names, "of the bars, such as 1s, 4h, 1w, 1M", live=True
    )
    workers: int = option(1, integer(1, 64), "threads that close bars")
    cores: tuple[int, ...] = option([], integers, "a core for each worker; empty: not pinned")
    wait: str = option(
        "park", choice("park", "backoff", "spin"), "how an idle worker waits: park, backoff, spin"
    )
    clock: str = option(
        "trades",
        choice("trades", "system"),
        "what closes bars: trades (each symbol's own, for recorded data), or also the system clock",
    )
    policy: str = option(
        "block",
        choice("block", "drop_newest", "drop_oldest"),
        "when a lane is full: block the source, drop_newest or drop_oldest (counted)",
        live=True,
    )
    lane_capacity: int = option(65_536, integer(1, 2**28), "trades that wait in one lane")
    lateness: str = option(
        "0s", duration, "how far behind a symbol's newest trade another may come", live=True
    )
    late: str = option(
        "amend", choice("amend", "drop"), "trades behind that: amend their closed bars, or drop"
    )
    amend_horizon: str | None = option(
        "1h",
        optional(duration),
        'how old a bar may be amended; "none": any, and memory grows',
        live=True,
    )
    gaps: str = option(
        "runs",
        choice("runs", "flat", "none"),
        "bars without trades: runs (one row a stretch), flat (one row each), none",
        live=True,
    )
    close_delay: str = option(
        "0s", duration, "how long after its end the system clock closes a bar", live=True
    )
    max_ahead: str | None = option(
        "1m", optional(duration), 'system clock: trades stamped further ahead are rejected; "none"'
    )
    lease: str = option(
        "30s", positive_duration, "a snapshot without an answer comes again after this", live=True
    )
    unacknowledged_max: int = option(
        2**21, integer(1, 2**40), "closed bars kept for whoever has not stored them, per worker"
    )
    on_bound: str = option(
        "block",
        choice("block", "lose", "evict"),
        "beyond that: block the source, lose the oldest, or evict them to a file beside the log",
    )
    allow_nonpositive_prices: bool = option(False, boolean, "some futures trade at or below zero")


@dataclass(frozen=True)
class SourceConfig:
    """Where trades come from."""

    kind: str = option(
        "directory",
        choice("file", "directory", "stdin", "bus"),
        "file, directory (followed: new files, growing CSV files), stdin, or bus (a topic)",
    )
    paths: tuple[str, ...] = option(
        ["trades"], globs, "file: files in the order of their trades; directory: the folder"
    )
    pattern: str = option("*", filled, "directory: names of the files to read")
    format: str = option("csv", choice("csv", "jsonl"), "stdin: csv, or jsonl (an object a line)")
    on_end: str = option(
        "stop", choice("stop", "wait"), "file, stdin: stop when all is read and stored, or wait"
    )
    preset: str | None = option(
        "none", optional(text), 'layout of the dump, see `klineagg info`; "none": found out'
    )
    symbol: str | None = option(
        "none", optional(text), 'of all trades, where no column tells it; "none"'
    )
    columns: dict[str, str] = option(
        {}, mapping, 'other names of columns: { time = "ts", price = "px" }; "#2": the second field'
    )
    unit: str | None = option(
        "none", optional(choice("s", "ms", "us", "ns")), 'of integer stamps; "none": by their size'
    )
    topic: str = option("trade_events", text, "bus: the topic to take trades from")
    wal: str | None = option(
        "none", optional(text), 'bus: folder of its publishers\' logs, for what was missed; "none"'
    )
    core: int | None = option(
        "none", optional(integer(0, 4095)), "bus: the thread that receives stays on it"
    )
    poll_ms: int = option(
        200, integer(1, 60_000), "directory: how often it is looked at", live=True
    )
    settle_ms: int = option(
        1_000,
        integer(0, 3_600_000),
        "directory: a packed file or Parquet is read when it has not changed for this long",
        live=True,
    )


@dataclass(frozen=True)
class BusConfig:
    """What the engine publishes to other processes, as records in shared memory."""

    folder: str = option("", text, "of the segments; empty: this user's own, in shared memory")
    name: str = option("engine", name, "of the publisher; of several engine-0 and so on")
    trades: str | None = option(
        "none", optional(text), 'topic of accepted trades, such as "trade_events"; "none"'
    )
    bars: str | None = option(
        "none", optional(text), 'topic of closed bars, such as "bars"; "none": not published'
    )
    open_bars: str | None = option(
        "none", optional(text), 'topic of open bars, the last state of each; "none"'
    )
    open_interval: str = option("100ms", duration, "an open bar is sent at most so often")
    publishers: int = option(1, integer(1, 10), "of each topic, which symbols are spread over")
    wal: str | None = option(
        "bus-log",
        optional(text),
        "folder of the topics' own logs, where the engine has one: trades and closed bars are in "
        'them before they are shown, and their numbers are the sequences; "none": no logs',
    )
    wal_size_max_mb: int = option(
        1024, integer(0, 1 << 30), "of each of these logs, the oldest records go; 0: no limit"
    )


@dataclass(frozen=True)
class LakeConfig:
    """Where bars are stored."""

    catalog: str = option(
        "lake/catalog.sqlite",
        filled,
        "a SQLite file, or postgresql://...; ${NAME} is taken from the environment (passwords)",
    )
    data_path: str = option(
        "lake/data", text, "folder of the Parquet files, or s3://...; ${NAME} as above"
    )


@dataclass(frozen=True)
class PersistConfig:
    """How bars get there."""

    persistence_interval_ms: int = option(
        1_000, integer(10, _DAY_MS), "from one commit to the next; below a second too", live=True
    )
    by: str = option(
        "run",
        choice("run", "worker"),
        "who stores: run (this process), or worker (klineagg worker, over shared memory)",
    )


@dataclass(frozen=True)
class WalConfig:
    """The engine's log: what it has accepted is there after a crash."""

    fsync: str = option(
        "interval",
        choice("off", "none", "interval", "always"),
        "off: no log; what a power cut may take: none (anything), interval, always (nothing)",
    )
    interval: str = option("100ms", duration, 'of fsync = "interval"')
    path: Path = option("wal", folder, "its folder")
    segment_mb: int = option(64, integer(1, 4096), "size of a file, in MiB")
    size_max_mb: int = option(
        0, integer(0, 2**30), "of all files: nothing is accepted beyond it; 0: no limit"
    )
    age_max: str | None = option(
        "none",
        optional(positive_duration),
        'older files go, once they are stored; "none": at size_max_mb',
    )


@dataclass(frozen=True)
class TasksConfig:
    """Work that is done beside, by Huey."""

    broker: Path = option("run/tasks.sqlite", folder, "the queue of tasks, a SQLite file")
    workers: int = option(2, integer(1, 64), "threads for tasks, the one that stores bars aside")
    daily_hour: int = option(
        1, integer(-1, 23), "hour (UTC) of the daily update; -1: none", live=True
    )
    daily_minute: int = option(5, integer(0, 59), "and its minute", live=True)
    daily_files: tuple[str, ...] = option(
        [], texts, "trades to fill and verify yesterday with; {date} is 2024-01-31", live=True
    )
    maintenance_minutes: int = option(
        1, integer(0, 1_440), "merge small files of the lake this often; 0: never", live=True
    )
    retention: dict[str, str] = option(
        {},
        retention,
        'maintenance drops older bars of an interval: { "1s" = "7d" }; others stay for ever',
        live=True,
    )
    modules: tuple[str, ...] = option([], texts, "Python modules with tasks of your own")


@dataclass(frozen=True)
class LoggingConfig:
    """What is told."""

    level: str = option(
        "info",
        choice("debug", "info", "warning", "error"),
        "debug, info, warning or error",
        live=True,
    )
    format: str = option("text", choice("text", "json"), "text, or json: one object a line")
    file: str = option("", text, "a file instead of standard error")


@dataclass(frozen=True)
class Config:
    """One configuration, checked.

    Attributes:
        path: its file; None when it was read from a text.
    """

    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    source: SourceConfig = field(default_factory=SourceConfig)
    bus: BusConfig = field(default_factory=BusConfig)
    lake: LakeConfig = field(default_factory=LakeConfig)
    persist: PersistConfig = field(default_factory=PersistConfig)
    wal: WalConfig = field(default_factory=WalConfig)
    tasks: TasksConfig = field(default_factory=TasksConfig)
    logging: LoggingConfig = field(default_factory=LoggingConfig)
    path: Path | None = field(default=None, compare=False)

    def at(self, path: str | Path) -> Path:
        """A path of the configuration: relative ones begin at the folder of its file."""
        base = Path.cwd() if self.path is None else self.path.absolute().parent
        return base / Path(path).expanduser()

    @property
    def socket(self) -> Path:
        """The control socket."""
        return self.at(self.runtime.folder) / f"{self.runtime.name}.sock"

    def changes(self, new: Config) -> dict[str, tuple[Any, Any]]:
        """``"section.key"`` -> (value here, value in ``new``) for all that differ."""
        out = {}
        for section in SECTIONS:
            here, there = getattr(self, section), getattr(new, section)
            for each in fields(here):
                pair = getattr(here, each.name), getattr(there, each.name)
                if pair[0] != pair[1]:
                    out[f"{section}.{each.name}"] = pair
        return out


SECTIONS: Final[dict[str, Any]] = {
    "runtime": RuntimeConfig,
    "engine": EngineConfig,
    "source": SourceConfig,
    "bus": BusConfig,
    "lake": LakeConfig,
    "persist": PersistConfig,
    "wal": WalConfig,
    "tasks": TasksConfig,
    "logging": LoggingConfig,
}
