"""From a configuration to an engine and a lake."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from klineagg import _core, errors
from klineagg._engine_options import span_ns
from klineagg.bars import Bars
from klineagg.config.secrets import expand
from klineagg.runtime.halts import Patience
from klineagg.runtime.host import unpack_state

if TYPE_CHECKING:
    from klineagg.bus import EngineFeed
    from klineagg.config import Config
    from klineagg.engine import Engine
    from klineagg.lake import Lake
    from klineagg.wal import Wal

__all__ = [
    "CONSUMER",
    "another_lake",
    "changes_of_engine",
    "claim",
    "engine_that_goes_on",
    "make_engine",
    "open_lake",
    "open_wal",
    "patience_of",
    "place_of",
    "revised",
    "tell_lost",
]

Revisions = Iterable[tuple[str, str, int, int, int]]

CONSUMER: Final = "lake"
# A full lane waits for the lake; only somebody who stops it ends that.
_YEAR_NS: Final = 365 * 86_400 * 10**9
_log: Final = logging.getLogger("klineagg.run")
_LIVE: Final = ("policy", "lateness", "amend_horizon", "gaps", "close_delay")


def open_wal(config: Config, *, salvage: bool = False) -> Wal | None:
    """The log of a configuration; None when it has none.

    Args:
        config: where it lies, and how it is kept.
        salvage: opens one that is damaged, too.

    Raises:
        WalError: it cannot be opened.
    """
    from klineagg.wal import Wal

    of = config.wal
    if of.fsync == "off":
        return None
    return Wal(
        config.at(of.path),
        of.fsync,
        interval=of.interval,
        segment_bytes=of.segment_mb << 20,
        size_max=(of.size_max_mb << 20) or None,
        age_max=of.age_max,
        salvage=salvage,
    )


def tell_lost(wal: Wal) -> None:
    """Of a log that was opened with salvage, before an engine goes on past all of that."""
    content = wal.inspect(wal.path)
    for one in content.checkpoints:
        if one.position is None:
            _log.error(
                "the checkpoint of %r in %s is damaged: it is left out, and set aside as .damaged",
                one.consumer, wal.path,
            )  # fmt: skip
    opened = {(one.path, one.offset) for one in wal.lost}
    more = (one for one in content.damages if (one.path, one.offset) not in opened)
    for damage in (*more, *wal.lost):
        _log.error("%s", damage)


def patience_of(config: Config, engine: Engine) -> Patience:
    """Who waits while the engine's log takes nothing."""
    of = config.wal
    return Patience(engine, (of.size_max_mb << 20) or None, of.age_max, of.segment_mb << 20)


def engine_that_goes_on(
    config: Config,
    wal: Wal | None,
    found: tuple[dict[str, Any] | None, bytes] | None,
    revisions: Revisions = (),
) -> tuple[Engine, dict[str, Any] | None]:
    """The engine where the last one was, not started, and where its source is to be read on.

    Args:
        config: of both.
        wal: the engine's log.
        found: what the lake has of the last one.
        revisions: what the lake has revised of its bars: see :func:`revised`.

    Raises:
        ControlError: ``control_refused``: the log is not that of this lake.
        EngineError, WalError: it cannot go on.
    """
    position, state = found if found is not None else (None, None)
    if wal is None:
        engine = make_engine(config, revisions=revisions)
        if state is not None:
            engine.restore(state)
        return engine, position
    place = None if state is None else _core.checkpoint_place(state)
    fits = place is not None and place[0] == wal.id
    is_new = wal.next_sequence == 1
    engine = make_engine(config, wal, state if fits or is_new else None, revisions)
    recovery = engine.recovery
    assert recovery is not None
    if recovery.checkpoint and not fits:
        raise another_lake(config)
    if recovery.note is not None:
        position = json.loads(recovery.note)
    return engine, position


def another_lake(config: Config) -> errors.KlineaggError:
    """The error for a log and a lake that do not go together."""
    text = f"the log in {config.at(config.wal.path)} belongs to another lake"
    hint = "give both, or neither, of those that belong together; or move the log away"
    return errors.make("control_refused", text, hint=hint)


def revised(lake: Lake, config: Config) -> Revisions:
    """The revised bars of the lake that the engine may amend once more.

    Somebody may have repaired the lake meanwhile: a revision of the engine that is not above that
    would be taken for an old one.
    """
    fence = lake.fence(CONSUMER)
    mark = None if fence is None else fence.watermark
    horizon = config.engine.amend_horizon
    if mark is None or horizon is None:
        return lake.revisions(np.datetime64(0, "ns"))
    return lake.revisions(mark - np.timedelta64(span_ns(horizon, "amend_horizon"), "ns"))


def make_engine(
    config: Config,
    wal: Wal | None = None,
    checkpoint: bytes | None = None,
    revisions: Revisions = (),
) -> Engine:
    """The engine of a configuration, not started."""
    from klineagg.engine import Engine, SimulatedClock, SystemClock

    of = config.engine
    by_trades = of.clock == "trades"
    return Engine(
        of.intervals,
        wal=wal,
        checkpoint=checkpoint,
        revisions=revisions,
        workers=of.workers,
        cores=of.cores or None,
        wait=of.wait,
        policy=of.policy,
        push_timeout=_YEAR_NS,
        lane_capacity=of.lane_capacity,
        lateness=of.lateness,
        late=of.late,
        amend_horizon=of.amend_horizon,
        gaps=of.gaps,
        close_delay=of.close_delay,
        # Nothing is ahead of a clock that stands still.
        max_ahead=None if by_trades else of.max_ahead,
        clock=SimulatedClock() if by_trades else SystemClock(),
        lease=_YEAR_NS,  # the lender has leases of its own, by a clock that goes
        unacknowledged_max=of.unacknowledged_max,
        on_bound=of.on_bound,
        allow_nonpositive_prices=of.allow_nonpositive_prices,
        shared_snapshots=config.persist.by == "worker",
        bus=_feed(config),
    )


def _feed(config: Config) -> EngineFeed | None:
    of = config.bus
    if not (of.trades or of.bars or of.open_bars):
        return None
    from klineagg.bus import Bus, EngineFeed

    fsync: Any = config.wal.fsync
    return EngineFeed(
        Bus(config.at(of.folder) if of.folder else None),
        of.name,
        trades=of.trades,
        bars=of.bars,
        open_bars=of.open_bars,
        open_interval=of.open_interval,
        publishers=of.publishers,
        wal=None if of.wal is None or fsync == "off" else config.at(of.wal),
        sync="none" if fsync == "off" else fsync,
        wal_size_max=(of.wal_size_max_mb << 20) or None,
    )


def changes_of_engine(config: Config, changed: dict[str, Any]) -> dict[str, Any]:
    """What ``Engine.reconfigure`` is to be told of a change; empty when it is not concerned."""
    of = config.engine
    told = {name: getattr(of, name) for name in _LIVE if f"engine.{name}" in changed}
    if "engine.intervals" in changed:
        told["intervals"] = of.intervals
    return told


def open_lake(config: Config, *, read_only: bool = False, lazy: bool = False) -> Lake:
    """The lake of a configuration; made when it is not there.

    Args:
        config: where it is.
        read_only: without the right to write.
        lazy: it is opened when it is first used.

    Raises:
        ConfigError: ``config_invalid`` for a variable that the environment lacks.
        LakeError: it cannot be opened.
    """
    from klineagg.lake import Lake

    catalog, data_path = (place_of(config, key) for key in ("catalog", "data_path"))
    return Lake(catalog, data_path, read_only=read_only, lazy=lazy)


def place_of(config: Config, key: str) -> str:
    """``"catalog"`` or ``"data_path"`` of the lake, as :class:`klineagg.Lake` takes it.

    Raises:
        ConfigError: ``config_invalid`` for a variable that the environment lacks.
    """
    found = expand(getattr(config.lake, key), f"lake.{key}")
    if "://" in found:
        return found
    kind, colon, path = found.partition(":")
    if colon and kind in ("sqlite", "duckdb"):
        return f"{kind}:{config.at(path)}"
    return str(config.at(found))


@dataclass(frozen=True)
class _Claim:
    """A snapshot without rows, above all that were committed before."""

    id: tuple[int, int]
    closed: Bars
    open: Bars
    watermark: np.datetime64 | None
    position: int | None


def claim(lake: Lake, config: Config) -> tuple[dict[str, Any] | None, bytes] | None:
    """Keeps earlier engines out of the lake, then gives where the last one was.

    A worker that still has a snapshot of an engine that is gone could otherwise commit it behind
    the back of this one, which has begun at an older state by then.

    Returns:
        The source's position and the engine's state; None in a lake without any.

    Raises:
        SourceError: ``source_failed`` for a damaged state.
        LakeError: it cannot be written.
    """
    fence = lake.fence(CONSUMER)
    if fence is None:
        return None
    number = max(time.time_ns(), fence.epoch + 1)
    empty = Bars.empty(config.engine.intervals)
    lake.commit(_Claim((number, 0), empty, empty, fence.watermark, fence.position), CONSUMER)
    found = lake.checkpoint(CONSUMER)
    return None if found is None else unpack_state(found[0])
