# The C++ core. Errors are those of klineagg.errors; docstrings are in the module itself.
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import (
    Any,
    ClassVar,
    Final,
    Literal,
    SupportsIndex,
    SupportsInt,
    TypedDict,
    overload,
    type_check_only,
)  # fmt: skip

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer, CapsuleType

from klineagg._core_bus import (
    BusEngineFeed as BusEngineFeed,
)
from klineagg._core_bus import (
    BusLoggedPublisher as BusLoggedPublisher,
)
from klineagg._core_bus import (
    BusLogReplay as BusLogReplay,
)
from klineagg._core_bus import (
    BusPeek as BusPeek,
)
from klineagg._core_bus import (
    BusPublisher as BusPublisher,
)
from klineagg._core_bus import (
    BusReliablePublisher as BusReliablePublisher,
)
from klineagg._core_bus import (
    BusReliableSubscriber as BusReliableSubscriber,
)
from klineagg._core_bus import (
    BusSubscriber as BusSubscriber,
)
from klineagg._core_bus import (
    BusTopic as BusTopic,
)
from klineagg._core_bus import (
    BusTracker as BusTracker,
)
from klineagg._core_bus import (
    bus_default_path as bus_default_path,
)
from klineagg._core_bus import (
    bus_default_topics as bus_default_topics,
)
from klineagg._core_bus import (
    bus_logged_publishers as bus_logged_publishers,
)
from klineagg._core_bus import (
    bus_parse_type as bus_parse_type,
)
from klineagg._core_bus import (
    bus_record_types as bus_record_types,
)
from klineagg._core_bus import (
    bus_topics as bus_topics,
)
from klineagg._core_bus import (
    bus_trade_columns as bus_trade_columns,
)
from klineagg._core_bus import (
    pin_thread as pin_thread,
)
from klineagg._core_csv import (
    CsvParser as CsvParser,
)
from klineagg._core_csv import (
    parse_iso_time as parse_iso_time,
)
from klineagg._core_wal import (
    Wal as Wal,
)
from klineagg._core_wal import (
    WalReader as WalReader,
)
from klineagg._core_wal import (
    wal_segments as wal_segments,
)

__version__: Final[str]
PARTIAL_BAR_SIZE: Final[int]  # bytes
PARTIAL_BAR_VERSION: Final[int]

# -- errors and symbols --------------------------------------------------------------------------

def error_table() -> list[tuple[int, str, str, str]]: ...  # number, name, class, hint
def intern_symbol(name: str) -> int: ...
def find_symbol(name: str) -> int | None: ...
def symbol_name(id: int) -> str: ...
def symbol_count() -> int: ...

# -- intervals (times and lengths are int64 ns, points in time UTC) ------------------------------

class Interval:
    @staticmethod
    def parse(text: str) -> Interval: ...
    @staticmethod
    def fixed(name: str, period_ns: int, phase_ns: int = 0) -> Interval: ...
    @staticmethod
    def months(name: str, count: int, phase_ns: int = 0, month_phase: int = 0) -> Interval: ...
    @staticmethod
    def table(
        name: str, opens: NDArray[np.int64], closes: NDArray[np.int64], grid_ns: int = 0
    ) -> Interval: ...
    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> Literal["fixed", "month", "table"]: ...
    @property
    def period(self) -> int: ...
    @property
    def phase(self) -> int: ...
    @property
    def month_phase(self) -> int: ...
    def locate(self, time: int) -> tuple[bool, int, int]: ...
    def next(self, time: int) -> tuple[int, int]: ...
    def count(self, start: int, end: int) -> int: ...
    def refines(self, coarse: Interval) -> bool: ...
    def grid(self) -> tuple[int, int]: ...
    def same_spans(self, other: Interval) -> bool: ...
    def spans(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]: ...
    def __eq__(self, other: object) -> bool: ...
    def __hash__(self) -> int: ...

# -- aggregation ---------------------------------------------------------------------------------

class _Enum:
    def __init__(self, value: SupportsInt | SupportsIndex) -> None: ...
    @property
    def name(self) -> str: ...
    def __int__(self) -> int: ...
    def __index__(self) -> int: ...
    def __eq__(self, other: object) -> bool: ...
    def __ne__(self, other: object) -> bool: ...
    def __hash__(self) -> int: ...

class GapMode(_Enum):
    none: ClassVar[GapMode]
    runs: ClassVar[GapMode]
    flat: ClassVar[GapMode]
    __members__: ClassVar[dict[str, GapMode]]
    @property
    def value(self) -> int: ...

class LatePolicy(_Enum):
    raise_: ClassVar[LatePolicy]
    drop: ClassVar[LatePolicy]
    amend: ClassVar[LatePolicy]
    __members__: ClassVar[dict[str, LatePolicy]]
    @property
    def value(self) -> int: ...

class BadRows(_Enum):
    raise_: ClassVar[BadRows]
    count: ClassVar[BadRows]
    __members__: ClassVar[dict[str, BadRows]]
    @property
    def value(self) -> int: ...

class ActivityKind(_Enum):
    tick: ClassVar[ActivityKind]
    volume: ClassVar[ActivityKind]
    value: ClassVar[ActivityKind]  # a member, not the number of one: that is int(kind)
    __members__: ClassVar[dict[str, ActivityKind]]

@type_check_only
class TradeColumns(TypedDict):  # arrays (n,), of any stride; None: the input has no such column
    symbol: NDArray[np.int32]
    time: NDArray[np.int64]
    price: NDArray[np.float64]
    quantity: NDArray[np.float64]
    side: NDArray[np.int8] | NDArray[np.uint8] | NDArray[np.bool_] | None
    trade_id: NDArray[np.int64] | None
    last_trade_id: NDArray[np.int64] | None
    flags: NDArray[np.uint8] | None
    time_scale: int  # ns
    side_is_maker: bool

@type_check_only
class Result(TypedDict):
    columns: dict[str, NDArray[Any]]  # read-only, (n,), of the types in klineagg.bars.DTYPES
    # One item for each series: symbol, interval, first row, row behind the last.
    series: tuple[
        NDArray[np.int32], NDArray[np.int16], NDArray[np.int64], NDArray[np.int64]
    ]  # fmt: skip
    outside: list[int]  # trades outside the sessions, for each interval
    partials: NDArray[np.void] | None  # (n,), records of PARTIAL_BAR_SIZE bytes

@type_check_only
class Counts(TypedDict):
    offered: int
    accepted: int
    late: int
    beyond_horizon: int
    rejected: dict[str, int]  # by reason; reasons that never happened are left out

class BatchAggregator:
    def __init__(
        self,
        intervals: Sequence[Interval],
        *,
        lateness_ns: int = -1,
        late: LatePolicy = ...,
        amend_horizon_ns: int = ...,
        gaps: GapMode = ...,
        include_open: bool = True,
        coverage_start: int = ...,
        coverage_end: int = ...,
        on_bad: BadRows = ...,
        allow_nonpositive_prices: bool = False,
        with_partials: bool = False,
        threads: int = 1,
        last_prices: Mapping[int, float] = ...,
    ) -> None: ...
    def run(self, chunks: Sequence[TradeColumns], finish: bool) -> Result: ...
    def replace_tables(self, intervals: Sequence[Interval]) -> None: ...
    def cancel(self) -> None: ...
    @property
    def rows_passed(self) -> int: ...
    @property
    def report(self) -> Counts: ...

class ActivityAggregator:
    def __init__(
        self,
        kind: ActivityKind,
        threshold: float,
        *,
        on_bad: BadRows = ...,
        allow_nonpositive_prices: bool = False,
        include_open: bool = True,
    ) -> None: ...
    def run(self, chunks: Sequence[TradeColumns], finish: bool) -> Result: ...
    def cancel(self) -> None: ...
    @property
    def rows_passed(self) -> int: ...
    @property
    def report(self) -> Counts: ...

def merge_results(
    results: Sequence[tuple[NDArray[np.int32], NDArray[np.int16], NDArray[np.void]]],
) -> Result: ...
def trim_cache() -> None: ...
def cache_bytes() -> int: ...

# -- the live engine -----------------------------------------------------------------------------

ENGINE_REJECT_REASONS: Final[tuple[str, ...]]
HORIZON_UNLIMITED: Final[int]  # ns
TIME_NONE: Final[int]  # in place of a time

class WaitKind(_Enum):
    spin: ClassVar[WaitKind]
    backoff: ClassVar[WaitKind]
    park: ClassVar[WaitKind]
    __members__: ClassVar[dict[str, WaitKind]]
    @property
    def value(self) -> int: ...

class LanePolicy(_Enum):
    block: ClassVar[LanePolicy]
    drop_newest: ClassVar[LanePolicy]
    drop_oldest: ClassVar[LanePolicy]
    __members__: ClassVar[dict[str, LanePolicy]]
    @property
    def value(self) -> int: ...

class BoundPolicy(_Enum):
    lose: ClassVar[BoundPolicy]
    block: ClassVar[BoundPolicy]
    __members__: ClassVar[dict[str, BoundPolicy]]
    @property
    def value(self) -> int: ...

class Clock:
    def now(self) -> int: ...
    @property
    def simulated(self) -> bool: ...

class SystemClock(Clock):
    def __init__(self) -> None: ...

class SimulatedClock(Clock):
    def __init__(self, start: int = ...) -> None: ...
    def advance(self, time: int) -> None: ...

@type_check_only
class Pushed(TypedDict):
    offered: int
    queued: int
    rejected: int
    dropped: int
    left: int  # not taken: the lanes stayed full
    rows: NDArray[np.int64] | None  # (rejected,), when asked for
    reasons: NDArray[np.uint8] | None  # positions in ENGINE_REJECT_REASONS

class Producer:
    @property
    def name(self) -> str: ...
    timeout_ns: int
    extend: Callable[[int], None] | None
    def push(
        self, chunk: TradeColumns, return_rejected: bool, timeout_ns: int | None
    ) -> Pushed: ...
    def flush(self, timeout_ns: int | None) -> bool: ...
    def push_one(
        self,
        symbol_id: int,
        price: float,
        quantity: float,
        time_ns: int,
        side: int = 0,
        trade_id: int = -1,
        /,
    ) -> bool: ...
    def stats(self) -> dict[str, Any]: ...  # see cpp/bindings/engine_stats.cpp

class Snapshot:
    def closed(self) -> Result: ...
    def open(self) -> Result: ...
    def checkpoint(self) -> bytes | None: ...
    @property
    def id(self) -> tuple[int, int]: ...
    @property
    def watermark(self) -> int: ...
    @property
    def rows_lost(self) -> int: ...
    @property
    def position(self) -> int: ...
    def shared(self, open: bool) -> tuple[int, int, dict[str, int]] | None: ...
    def ack(self) -> None: ...
    def nack(self) -> None: ...

class RecoveredTail:
    @property
    def left(self) -> int: ...
    def keep(self, chunk: TradeColumns) -> NDArray[np.bool_]: ...

class Engine:
    def __init__(
        self,
        intervals: Sequence[Interval],
        clock: Clock,
        options: dict[str, Any],
        wal: Wal | None = None,
        checkpoint: bytes | None = None,
    ) -> None: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def close(self) -> None: ...
    @property
    def state(self) -> Literal["created", "running", "draining", "stopped", "failed", "forked"]: ...
    def producer(self, name: str, source: int, timeout_ns: int) -> Producer: ...
    def flush(self, timeout_ns: int | None) -> bool: ...
    def advance(self, now: int) -> None: ...
    def take(self, consumer: str, lease_ns: int | None, with_checkpoint: bool) -> Snapshot: ...
    def checkpoint(self) -> bytes: ...
    def restore(self, checkpoint: Buffer) -> int: ...
    def recovery(self) -> dict[str, Any]: ...
    def journal(self) -> dict[str, Any] | None: ...
    def accepted_position(self) -> int: ...
    def note(self, data: bytes) -> int: ...
    def take_recovered_tail(self) -> RecoveredTail: ...
    def resume(self) -> None: ...
    def view(self) -> tuple[Result, int, int]: ...
    def add_symbol(self, symbol: int, last_price: float | None, start: int) -> bool: ...
    def move(self, symbols: Sequence[tuple[int, int]], timeout_ns: int) -> int: ...
    def rebalance(self) -> int: ...
    def resize(self, workers: int, timeout_ns: int) -> None: ...
    def rebuild(self, worker: int, timeout_ns: int) -> None: ...
    def remove_symbol(
        self, symbol: int, open_bars_too: bool, timeout_ns: int
    ) -> Literal["removed", "unknown", "in_flight", "open_bars"]: ...
    def worker_count(self) -> int: ...
    def drain(self) -> None: ...
    def interval_names(self) -> list[str]: ...
    def reconfigure(self, change: dict[str, Any], timeout_ns: int) -> dict[str, Any]: ...
    def replace_tables(self, tables: Sequence[Interval], open: int, close: int) -> None: ...
    def bars(self, symbol: int, output: int) -> Result: ...
    def warm_start(
        self,
        columns: dict[str, NDArray[Any]],
        series: tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]],
    ) -> int: ...
    def stats(self) -> dict[str, Any]: ...  # see cpp/bindings/engine_stats.cpp
    def closed_rows(self) -> int: ...
    def wait_closed(self, consumer: str) -> None: ...
    def consumers(self) -> list[tuple[str, int, bool, int, int]]: ...
    def remove_consumer(self, consumer: str) -> bool: ...
    def memory(self) -> dict[str, int]: ...
    def worker_loads(self) -> list[int]: ...

def checkpoint_place(checkpoint: bytes) -> tuple[str, int] | None: ...
def begin_exit() -> None: ...

# -- Arrow ---------------------------------------------------------------------------------------

class ArrowColumn:
    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def null_count(self) -> int: ...
    @property
    def token(self) -> int: ...
    def __len__(self) -> int: ...
    def slice(self, start: int, stop: int) -> ArrowColumn: ...
    def values(self) -> NDArray[Any]: ...
    def valid(self) -> NDArray[np.bool_] | None: ...
    def indices(self) -> NDArray[np.integer[Any]]: ...
    def dictionary(self) -> ArrowColumn: ...
    def offsets(self) -> NDArray[np.int64]: ...
    def items(self) -> ArrowColumn: ...

class ArrowReader:
    @property
    def is_table(self) -> bool: ...
    @property
    def names(self) -> list[str]: ...
    @property
    def type(self) -> str: ...
    def __iter__(self) -> Iterator[list[ArrowColumn]]: ...
    def __next__(self) -> list[ArrowColumn]: ...

class Factorizer:
    def __init__(self) -> None: ...
    @overload
    def encode(self, values: ArrowColumn) -> NDArray[np.int32]: ...
    @overload
    def encode(self, values: NDArray[Any]) -> NDArray[np.int32]: ...
    def __len__(self) -> int: ...
    def names(self, start: int = 0) -> list[str]: ...

def read_arrow(source: CapsuleType | tuple[CapsuleType, CapsuleType]) -> ArrowReader: ...
def arrow_stream(
    # Each: name, Arrow format, values, texts that values are codes of, where there is a value.
    columns: list[tuple[str, str, NDArray[Any], list[str] | None, NDArray[np.bool_] | None]],
    n_rows: int,
    batch_rows: int = 0,
) -> CapsuleType: ...
def arrow_schema(columns: list[tuple[str, str, bool]]) -> CapsuleType: ...
