"""The trades of an engine's log, found again without reading all of it each time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from klineagg import _core, errors
from klineagg._wal_content import TRADE_DTYPE
from klineagg._wal_events import CORRECTION_MARK
from klineagg._wal_read import replay
from klineagg.symbols import symbol_names

if TYPE_CHECKING:
    from klineagg._wal_content import WalDamage, WalRecord
    from klineagg.wal import Wal

__all__ = ["LoggedTrades", "Lost", "Trades", "changed"]

# Bounds of a block are kept for so many groups of symbols: 8 KiB for each 262,144 trades.
_GROUPS: Final = 256
_BLOCK_ROWS: Final = 1 << 18
_INT64: Final = np.iinfo(np.int64)
_SEQUENCED: Final = np.dtype([("sequence", "<u8"), ("row", TRADE_DTYPE)])


def changed(rows: NDArray[np.void], at: int, instead: Mapping[str, Any] | None) -> NDArray[np.void]:
    """The rows without the one at ``at``, or with other values in it."""
    if instead is None:
        return np.delete(rows, at)
    rows = rows.copy()
    for name, value in instead.items():
        rows[name][at] = np.datetime64(value, "ns") if name == "time" else value
    return rows


def _find(rows: NDArray[np.void], source: int, trade_id: int) -> int:
    found = np.flatnonzero((rows["source"] == source) & (rows["first_trade_id"] == trade_id))
    return int(found[0]) if len(found) else -1


@dataclass(slots=True)
class _Block:
    """Where trades lie in the log, and between what their times and ids are, by group."""

    first: int
    last: int
    count: int = 0
    time_min: NDArray[np.int64] = field(default_factory=lambda: np.full(_GROUPS, _INT64.max))
    time_max: NDArray[np.int64] = field(default_factory=lambda: np.full(_GROUPS, _INT64.min))
    id_min: NDArray[np.int64] = field(default_factory=lambda: np.full(_GROUPS, _INT64.max))
    id_max: NDArray[np.int64] = field(default_factory=lambda: np.full(_GROUPS, _INT64.min))

    def add(self, last: int, rows: NDArray[np.void]) -> None:
        group = rows["symbol"] % _GROUPS
        time = rows["time"].view(np.int64)
        np.minimum.at(self.time_min, group, time)
        np.maximum.at(self.time_max, group, time)
        np.minimum.at(self.id_min, group, rows["first_trade_id"])
        np.maximum.at(self.id_max, group, rows["first_trade_id"])
        self.last = last
        self.count += len(rows)


@dataclass(frozen=True, slots=True)
class Lost:
    """Records that cannot be read, and when their trades may have been.

    Attributes:
        damage: where they lay.
        begin_ns: time of the newest trade before them.
        end_ns: time of the first trade behind them; None: there is none yet.
    """

    damage: WalDamage
    begin_ns: int
    end_ns: int | None

    def error(self) -> errors.KlineaggError:
        """For who needs all trades of the range."""
        first, last = self.damage.first, self.damage.last
        text = f"records {first} ... {last} of the log are damaged: they may have been trades of it"
        return errors.make("correction_log_gone", text, first=first, last=last)


@dataclass(frozen=True, slots=True)
class Trades:
    """Trades of one symbol within some time, in the order in which they came.

    Attributes:
        rows: of TRADE_DTYPE, each trade once, as it counts: with what was cancelled and corrected.
    """

    rows: NDArray[np.void]

    def find(self, source: int, trade_id: int) -> int:
        """Its row number; -1: it is not there."""
        return _find(self.rows, source, trade_id)


class LoggedTrades:
    """Finds the trades of a log by symbol, id and time; one thread at a time.

    The first search reads all of the log and remembers, for each stretch of it, between what the
    times and ids of the trades are; a later one reads what came since, and the stretches that may
    hold what is looked for.

    Args:
        wal: the log.
        salvage: goes past damage, and remembers where trades may be missing: see :meth:`lost`.
    """

    def __init__(self, wal: Wal, *, salvage: bool = False) -> None:
        self._wal = wal
        self._salvage = salvage
        self._lost: list[Lost] = []
        self._newest = _INT64.min  # of all trades so far
        self._next = 1
        self._blocks: list[_Block] = []
        self._changes: dict[str, list[dict[str, Any]]] = {}
        self._oldest = 1

    def update(self) -> None:
        """Reads what came since; to be called before anything else is asked."""
        if self._wal.state == "running":
            self._wal.flush()
        segments = _core.wal_segments(self._wal.path)
        self._oldest = int(segments[0]["first"]) if segments else self._next
        self._blocks = [block for block in self._blocks if block.last >= self._oldest]
        self._lost = [lost for lost in self._lost if lost.damage.last >= self._oldest]
        begin = max(self._next, self._oldest)
        damages: list[WalDamage] = []
        for record in replay(
            self._wal.path, begin, topics=("trade", "application"), salvage=self._salvage,
            damages=damages,
        ):  # fmt: skip
            if record.trades is not None:
                self._close_lost(damages, record)
                self._add(record.first, record.last, record.trades)
            elif record.data is not None and record.data.startswith(CORRECTION_MARK):
                change = json.loads(record.data[len(CORRECTION_MARK) :])
                self._changes.setdefault(change["symbol"], []).append(change)
            self._next = record.last + 1
        # What was lost behind the last trade: how far it goes is not known yet.
        self._lost += [Lost(one, int(self._newest), None) for one in damages if one.records]

    def append(self, change: dict[str, Any]) -> None:
        """Writes down what was done to a trade: ``symbol``, ``source``, ``id``, ``instead``."""
        self._wal.append("application", CORRECTION_MARK + json.dumps(change).encode())
        self._wal.flush()

    @property
    def is_whole(self) -> bool:
        """Whether nothing of the log was dropped yet."""
        return self._oldest == 1

    def was_changed(
        self, symbol: int, source: int, trade_id: int, instead: dict[str, Any] | None
    ) -> bool:
        """Whether the last change of a trade was this one."""
        changes = [c for c in self._changes_of(symbol) if _is_of(c, source, trade_id)][-1:]
        return bool(changes) and changes[0]["instead"] == instead

    def time_of(self, symbol: int, source: int, trade_id: int) -> int | None:
        """When a trade was, as it counts; None: the log does not have it, or it was cancelled."""
        found = self._original(symbol, source, trade_id)
        if found is None:
            return None
        time = int(found["row"]["time"].astype(np.int64))
        for change in self._changes_of(symbol):
            if _is_of(change, source, trade_id):
                if change["instead"] is None:
                    return None
                time = change["instead"].get("time", time)
        return time

    def between(self, symbol: int, begin_ns: int, end_ns: int) -> Trades:
        """The symbol's trades that are, or were before they were corrected, in a range of time."""
        group = symbol % _GROUPS
        parts = [np.empty(0, _SEQUENCED)]
        for block in self._blocks:
            if block.time_min[group] < end_ns and block.time_max[group] >= begin_ns:
                rows = self._rows_of(block, symbol)
                time = rows["row"]["time"].view(np.int64)
                parts.append(rows[(time >= begin_ns) & (time < end_ns)])
        found = _once(np.concatenate(parts))
        changes = self._changes_of(symbol)
        found = np.concatenate([found, *self._moved(symbol, found, begin_ns, end_ns)])
        rows = found[np.argsort(found["sequence"], kind="stable")]["row"]
        for change in changes:
            at = _find(rows, change["source"], change["id"])
            if at >= 0:
                rows = changed(rows, at, change["instead"])
        return Trades(np.ascontiguousarray(rows))

    def reaches(self, symbol: int, time_ns: int) -> bool:
        """Whether the log has a trade of the symbol at this time or before it."""
        group = symbol % _GROUPS
        for block in self._blocks:
            if block.time_min[group] <= time_ns:
                rows = self._rows_of(block, symbol)["row"]
                if (rows["time"].view(np.int64) <= time_ns).any():
                    return True
        return False

    def lost(self, begin_ns: int, end_ns: int) -> Lost | None:
        """Damage that may have taken trades of a range of time; None: there is none."""
        for each in self._lost:
            if each.begin_ns < end_ns and (each.end_ns is None or each.end_ns >= begin_ns):
                return each
        return None

    def any_lost(self) -> Lost | None:
        """Damage that may have taken any trade; None: there is none."""
        return next(iter(self._lost), None)

    def _close_lost(self, damages: list[WalDamage], record: WalRecord) -> None:
        """Of damage that lies before this record, the trades were up to the time of its first."""
        assert record.trades is not None
        first_ns = int(record.trades["time"].view(np.int64).min())
        before = [one for one in damages if one.records and one.last < record.first]
        damages[:] = [one for one in damages if one.last >= record.first]
        open_ended = [Lost(one, int(self._newest), None) for one in before]
        self._lost = [
            lost if lost.end_ns is not None else replace(lost, end_ns=max(first_ns, lost.begin_ns))
            for lost in self._lost + open_ended
        ]

    def _add(self, first: int, last: int, rows: NDArray[np.void]) -> None:
        self._newest = max(self._newest, int(rows["time"].view(np.int64).max()))
        if not self._blocks or self._blocks[-1].count >= _BLOCK_ROWS:
            self._blocks.append(_Block(first, last))
        self._blocks[-1].add(last, rows)

    def _changes_of(self, symbol: int) -> list[dict[str, Any]]:
        return self._changes.get(symbol_names([symbol])[0], [])

    def _rows_of(self, block: _Block, symbol: int) -> NDArray[np.void]:
        """The symbol's trades in a block, with their numbers in the log."""
        parts = [np.empty(0, _SEQUENCED)]
        for first, rows in self._read(block):
            at = np.flatnonzero(rows["symbol"] == symbol)
            part = np.empty(len(at), _SEQUENCED)
            part["sequence"], part["row"] = first + at, rows[at]
            parts.append(part)
        return np.concatenate(parts)

    def _read(self, block: _Block) -> Iterator[tuple[int, NDArray[np.void]]]:
        begin = max(block.first, self._oldest)
        for record in replay(self._wal.path, begin, block.last, "trade", salvage=self._salvage):
            if record.trades is not None:
                yield record.first, record.trades

    def _original(self, symbol: int, source: int, trade_id: int) -> Any:
        """The first trade of that id; later ones are repetitions."""
        group = symbol % _GROUPS
        for block in self._blocks:
            if block.id_min[group] <= trade_id <= block.id_max[group]:
                rows = self._rows_of(block, symbol)
                at = _find(rows["row"], source, trade_id)
                if at >= 0:
                    return rows[at]
        return None

    def _moved(
        self, symbol: int, found: NDArray[np.void], begin_ns: int, end_ns: int
    ) -> Iterator[NDArray[np.void]]:
        """Trades that a correction has brought into a range from outside of it."""
        seen: set[tuple[int, int]] = set()
        for change in self._changes_of(symbol):
            place = change["source"], change["id"]
            time = (change["instead"] or {}).get("time")
            if time is None or not begin_ns <= time < end_ns or place in seen:
                continue
            seen.add(place)
            if _find(found["row"], *place) < 0:
                row = self._original(symbol, *place)
                if row is not None:
                    yield np.array([row], _SEQUENCED)


def _is_of(change: dict[str, Any], source: int, trade_id: int) -> bool:
    return bool(change["source"] == source and change["id"] == trade_id)


def _once(found: NDArray[np.void]) -> NDArray[np.void]:
    """Without the repetitions of trades that an engine knows by their id."""
    if not len(found):
        return found
    ids = found["row"]["first_trade_id"]
    order = np.lexsort((found["sequence"], ids, found["row"]["source"]))
    same = np.zeros(len(found), np.bool_)
    same[order[1:]] = (ids[order[1:]] == ids[order[:-1]]) & (
        found["row"]["source"][order[1:]] == found["row"]["source"][order[:-1]]
    )
    return found[~same | (ids < 0)]
