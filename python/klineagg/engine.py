"""The live engine: trades in from any number of producers, bars out to any number of consumers."""

from __future__ import annotations

import atexit
import itertools
import os
import threading
import weakref
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

from klineagg import _core, errors
from klineagg._engine_changes import Changes, ConfigReport
from klineagg._engine_clock import SimulatedClock, SystemClock, as_clock
from klineagg._engine_correct import CorrectionReport, known_revisions
from klineagg._engine_flagged import CorrectionCounts, Flagged
from klineagg._engine_journal import EngineWalStats, Journaled, Recovery, path_of, wal_of
from klineagg._engine_metrics import metrics_text
from klineagg._engine_options import core_options, coverage_start_ns, seeds_of, span_ns
from klineagg._engine_producer import Producer, PushResult
from klineagg._engine_reach import Reach, extension, made_within
from klineagg._engine_readers import Readers
from klineagg._engine_snapshot import Snapshot, SnapshotId, View
from klineagg._engine_state import States
from klineagg._engine_stats import (
    ConsumerStats,
    EngineCounts,
    EngineMemory,
    EngineStats,
    LaneStats,
    Latency,
    ProducerStats,
    SourceStats,
    WorkerStats,
    engine_stats,
    memory_stats,
)
from klineagg._engine_workers import Workers
from klineagg._options import TIME_NONE, invalid, is_integer, time_ns
from klineagg.columns import Normaliser
from klineagg.intervals import IntervalLike, parse_intervals

if TYPE_CHECKING:
    from klineagg.bus.feed import EngineFeed
    from klineagg.conditions import ConditionTable
    from klineagg.wal import Wal

__all__ = [
    "ConfigReport",
    "ConsumerStats",
    "CorrectionCounts",
    "CorrectionReport",
    "Engine",
    "EngineCounts",
    "EngineMemory",
    "EngineStats",
    "EngineWalStats",
    "LaneStats",
    "Latency",
    "Producer",
    "ProducerStats",
    "PushResult",
    "Recovery",
    "SimulatedClock",
    "Snapshot",
    "SnapshotId",
    "SourceStats",
    "SystemClock",
    "View",
    "WorkerStats",
]


class Engine(Readers, Changes, States, Workers, Journaled, Flagged):
    """K-lines of many symbols and intervals, closed in real time by worker threads of its own.

    Bars have the meaning, and to the last bit the values, that :func:`klineagg.aggregate` gives
    them. An engine runs from :meth:`start` to :meth:`stop`; as a context manager it does both.
    All methods may be called from several threads. It cannot be used in a forked child.

    Args:
        intervals: ``"1m,5m,1h"``, or a sequence of texts, timedeltas and
            :class:`~klineagg.Interval`.
        workers: threads, 1 to 64, that symbols are spread over.
        cores: the core of each worker, to be pinned to; None: not pinned.
        wait: how an idle worker waits: ``"spin"`` (a core of its own), ``"backoff"``, or
            ``"park"`` (sleeps until it is woken).
        policy: what happens when a lane is full: ``"block"`` the producer, or
            ``"drop_newest"``, ``"drop_oldest"`` rows, counted.
        push_timeout: how long ``"block"`` waits (``"10s"``, timedelta, ns).
        lane_capacity: rows that wait in one lane, 1 to 2**28.
        lateness: how far behind a symbol's newest trade another may come.
        late: what happens to trades behind that, and to those behind the clock: ``"amend"``: merged
            into their closed bars, which come out again with a higher revision; ``"drop"``.
        amend_horizon: how old a bar may be amended; None: any, and memory grows with every bar.
        gaps: ``"runs"``: one row for each stretch of bars without trades (cut at UTC days);
            ``"flat"``: one row for each such bar; ``"none"``.
        close_delay: how long after its end the clock closes a bar.
        max_ahead: trades stamped further past the clock are rejected; None: none.
        clock: None: the system's; or a :class:`SimulatedClock`, which :meth:`advance` moves.
        lease: after this time without an ack a snapshot's rows go into the next one.
        admit_unknown: take trades of symbols that :meth:`add_symbol` was not told of.
        allow_nonpositive_prices: some futures trade at or below zero.
        last_prices: last known price by symbol: seeds GENESIS bars at ``coverage_start``.
        coverage_start: marks bars that it cuts as PARTIAL; by default the clock's time when there
            are ``last_prices``, else the clock's time when a symbol first comes.
        unacknowledged_max: closed rows kept for consumers, for each worker.
        on_bound: beyond that ``"evict"`` the oldest to a file beside the log until they are taken
            (the default with a log), ``"lose"`` them (the default without; the next snapshot says
            how many), or ``"block"`` the workers until somebody acknowledges.
        keep_bars: closed rows of each symbol and interval that are held for :meth:`bars`, beside
            those kept for consumers.
        bus: publishes trades and bars to other processes, see :class:`klineagg.bus.EngineFeed`.
        shared_snapshots: the columns of snapshots lie in shared memory that is sealed against any
            change, so that :mod:`klineagg.runtime` can hand them to another process.
        wal: a :class:`~klineagg.Wal`, or the path of one that the engine opens and closes with its
            own defaults. A trade is accepted when it is in the log, and an engine that is made with
            a log goes on where it ends: see :attr:`recovery`.
        checkpoint: to begin with, for example of a lake; it has to be one that an engine with this
            log has made. None: the one that lies beside the log.
        revisions: (symbol, interval, open and close in ns, revision) of rows that somebody else
            holds (a lake that was repaired): bars of the checkpoint that are amended again get
            revisions above theirs.

    Raises:
        IntervalError, OptionError: the arguments (codes KLA-1xx).
        EngineError: ``recovery_mismatch``, ``recovery_hole``, ``journal_record``.
        WalError: the log cannot be opened or read.

    >>> with Engine("1m", clock=SimulatedClock()) as engine:
    ...     with engine.producer("feed") as feed:
    ...         feed.push(trades)
    ...     engine.advance("2024-01-01T00:02")
    ...     with engine.take("lake") as snapshot:
    ...         save(snapshot.closed)  # doctest: +SKIP
    """

    def __init__(
        self,
        intervals: IntervalLike | Iterable[IntervalLike],
        *,
        workers: int = 1,
        cores: Sequence[int] | None = None,
        wait: str = "backoff",
        policy: str = "block",
        push_timeout: Any = "10s",
        lane_capacity: int = 65_536,
        lateness: Any = 0,
        late: str = "amend",
        amend_horizon: Any = "1h",
        gaps: str = "runs",
        close_delay: Any = 0,
        max_ahead: Any = "1m",
        clock: SimulatedClock | SystemClock | None = None,
        wal: Wal | str | os.PathLike[str] | None = None,
        checkpoint: bytes | None = None,
        revisions: Iterable[tuple[str, str, int, int, int]] = (),
        lease: Any = "30s",
        admit_unknown: bool = True,
        allow_nonpositive_prices: bool = False,
        last_prices: Mapping[str | int, float] | None = None,
        coverage_start: Any = None,
        unacknowledged_max: int = 2**21,
        on_bound: str | None = None,
        keep_bars: int = 0,
        shared_snapshots: bool = False,
        bus: EngineFeed | None = None,
    ) -> None:
        self._clock, self._feed = as_clock(clock), bus
        self._intervals = parse_intervals(intervals)
        options = core_options(
            clock=self._clock, workers=workers, cores=cores, wait=wait, policy=policy,
            push_timeout=push_timeout, lane_capacity=lane_capacity, lateness=lateness, late=late,
            amend_horizon=amend_horizon, gaps=gaps, close_delay=close_delay, max_ahead=max_ahead,
            lease=lease, admit_unknown=admit_unknown,
            allow_nonpositive_prices=allow_nonpositive_prices, last_prices=last_prices,
            coverage_start=coverage_start, unacknowledged_max=unacknowledged_max,
            on_bound=on_bound, wal_path=path_of(wal), keep_bars=keep_bars,
            shared_snapshots=shared_snapshots, bus=bus,
        )  # fmt: skip
        options["revisions"] = known_revisions(revisions, [str(i.name) for i in self._intervals])
        self._nonpositive = bool(allow_nonpositive_prices)
        self._max_ahead_ns = options["max_ahead_ns"]
        self._reach = Reach.of(self._intervals, self._clock)
        if options["coverage_start"] != TIME_NONE:
            start = options["coverage_start"]
            self._reach = self._reach.covering(start, start)
        if checkpoint is not None and wal is None:
            text = "a checkpoint without a log is for restore()"
            raise errors.make("invalid_option", text, option="checkpoint")
        self._wal, self._owns_wal = wal_of(wal)
        try:
            self._core, built, self._reach = made_within(
                self._reach, self._intervals, self._clock, options, self._wal, checkpoint
            )
        except BaseException:
            self._close_wal()
            raise
        # By the number that rows bear; it only grows. The log may know of some that went.
        names = self._core.interval_names()
        self._outputs: list[Any] = [*self._intervals, *names[len(self._intervals) :]]
        self._core_intervals = dict(zip(self.intervals, built, strict=True))
        self._core.replace_tables([], *self._reach.in_core)
        self._timeout_ns: int = options["block_timeout_ns"]
        self._producers: dict[str, _core.Producer] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._changing = threading.Lock()
        self._left_takes = {}
        self._watches = weakref.WeakKeyDictionary()
        self._close = weakref.finalize(
            self, _close_both, self._core, self._wal if self._owns_wal else None
        )
        self._close.atexit = False  # see _stop_all
        _engines.add(self)

    # -- life ------------------------------------------------------------------------------------

    @property
    def intervals(self) -> tuple[str, ...]:
        """Names of the intervals."""
        return tuple(str(each.name) for each in self._intervals)

    @property
    def clock(self) -> SimulatedClock | SystemClock:
        """The clock that closes bars."""
        return self._clock

    def start(self) -> Engine:
        """Starts the workers; returns the engine itself.

        Raises:
            EngineError: ``engine_state`` when it was started before, ``core_unavailable``.
        """
        self._core.start()
        return self

    def flush(self, *, timeout: Any = None) -> bool:
        """Waits until everything that was pushed before is applied. Ctrl-C ends it.

        Args:
            timeout: how long (``"1s"``, timedelta, ns); None: as long as it takes.

        Returns:
            False when the timeout was over first.

        Raises:
            EngineError: ``engine_state`` unless it runs, ``worker_failed``, ``forked``.
        """
        return self._core.flush(None if timeout is None else span_ns(timeout, "timeout"))

    def drain(self) -> None:
        """Takes no more trades, and applies all that was pushed; again: does nothing.

        The clock, snapshots and everything else go on until :meth:`stop`.

        Raises:
            EngineError: ``engine_state`` unless it runs, ``worker_failed``.
        """
        self._core.drain()

    def stop(self) -> None:
        """Applies all that was pushed, then ends the workers. Again: does nothing.

        What consumers have not acknowledged can still be taken.

        Raises:
            EngineError: ``worker_failed``.
        """
        self._core.stop()
        self._close_wal()

    def __enter__(self) -> Engine:
        return self.start() if self.state == "created" else self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.stop()
        else:
            _close(self._core)  # its own failure would hide the exception
            self._close_wal()

    # -- trades in -------------------------------------------------------------------------------

    def producer(
        self,
        name: str | None = None,
        *,
        source: int = 0,
        columns: Mapping[str, str | None] | None = None,
        unit: str | None = None,
        symbol: str | int | None = None,
        side: str | None = None,
        conditions: ConditionTable | str | None = None,
    ) -> Producer:
        """A new way in for trades.

        Args:
            name: for statistics, unique; by default ``"producer-1"`` and so on.
            source: number of the feed within which trade ids are unique, 0 to 65,535.
            columns: how to read what is pushed, as in :func:`klineagg.aggregate`.
            unit: likewise.
            symbol: likewise.
            side: likewise.
            conditions: likewise.

        Raises:
            OptionError: ``invalid_option``.
            EngineError: ``engine_state`` when the engine has stopped, ``worker_failed``.
        """
        if not is_integer(source) or not 0 <= source < 2**16:
            text = f"source={source!r} is not an integer in 0 ... 65535"
            raise errors.make("invalid_option", text, option="source", value=source)
        normaliser = Normaliser(columns, unit, side, conditions, symbol)
        with self._lock:
            if name is None:
                free = (f"producer-{number}" for number in self._numbers)
                name = next(each for each in free if each not in self._producers)
            if not isinstance(name, str) or not name or name in self._producers:
                text = f"name={name!r} is not the name of a new producer"
                raise errors.make("invalid_option", text, option="name", value=name)
            core = self._producers[name] = self._core.producer(name, int(source), self._timeout_ns)
            core.extend = extension(self)
        return Producer(self, core, normaliser, int(source))

    def add_symbol(
        self, symbol: str | int, last_price: float | None = None, *, start: Any = None
    ) -> bool:
        """Makes a symbol known before its first trade.

        Args:
            symbol: name, or id from :func:`klineagg.intern`.
            last_price: seeds GENESIS bars: flat at this price until somebody trades.
            start: where its coverage begins; by default the clock's time.

        Returns:
            False when it has traded already, or has a price (the first one stays): this one came
            too late.

        Raises:
            OptionError: ``invalid_option``.
            EngineError: ``worker_failed``.
        """
        price = 1.0 if last_price is None else last_price
        try:
            ((symbol_id, seed),) = seeds_of({symbol: price}, self._nonpositive).items()
        except (errors.OptionError, TypeError):
            if isinstance(symbol, str) or (is_integer(symbol) and 0 <= symbol < 2**31):
                raise invalid("last_price", last_price, "a price") from None
            raise invalid("symbol", symbol, "a symbol or its id") from None
        start_ns = coverage_start_ns(start, "start", self._clock)
        self._reach_time(start_ns)
        return self._core.add_symbol(symbol_id, None if last_price is None else seed, start_ns)

    def advance(self, time: Any) -> None:
        """Moves the simulated clock to ``time`` and closes what it passes.

        What was pushed before is applied before; what is pushed later comes after. An engine that
        has stopped closes its open bars so too, which can then be taken.

        Raises:
            EngineError: ``clock_backwards``, ``worker_failed``, or ``engine_state`` when the clock
                is the system's.
            OptionError: ``invalid_option``.
        """
        to_ns = time_ns(time, "time")
        self._reach_time(to_ns)
        self._core.advance(to_ns)

    # -- how it is doing -------------------------------------------------------------------------

    def counts(self) -> EngineCounts:
        """Rows by what became of them."""
        return self.stats().counts

    def stats(self) -> EngineStats:
        """Counts, latencies, loads and lanes; takes no part in what the workers do.

        Raises:
            EngineError: ``forked``.
        """
        return engine_stats(self._core)

    def memory(self) -> EngineMemory:
        """Bytes by part; snapshots that are held are not the engine's any more.

        Raises:
            EngineError: ``forked``.
        """
        return memory_stats(self._core)

    def metrics_text(self, **labels: str) -> str:
        """:meth:`stats` and :meth:`memory` in the OpenMetrics text format, which Prometheus reads.

        Serve it as ``application/openmetrics-text; version=1.0.0; charset=utf-8``.

        Args:
            labels: put on every sample, for example ``instance="feed-1"``.

        Raises:
            EngineError: ``forked``.
        """
        return metrics_text(self.stats(), self.memory(), self.corrections, labels, self._feed)

    def __repr__(self) -> str:
        names = ",".join(self.intervals)
        state = self.state
        if state == "forked":
            return f"<Engine {names}: forked>"
        counts, workers = self.counts(), self.workers
        return (
            f"<Engine {names}: {state}, {workers} worker{'s' * (workers > 1)}, "
            f"{counts.accepted:,} trades, {counts.in_flight:,} in flight>"
        )


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    """At interpreter exit: worker threads that outlive it would run into what is torn down.

    Daemon threads that push or wait end quietly, as by SystemExit.
    """
    _core.begin_exit()
    for engine in list(_engines):
        _close(engine._core)
        engine._close_wal()


def _close_both(core: _core.Engine, wal: Wal | None) -> None:
    _close(core)
    if wal is not None:
        with suppress(errors.WalError):
            wal.close()


def _close(core: _core.Engine) -> None:
    with suppress(errors.EngineError):  # a failure was told to everybody who asked
        core.close()
