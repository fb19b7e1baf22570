"""Rows among the trades that cancel or correct an earlier one, by their flags."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from klineagg import errors
from klineagg._conditions_table import TradeFlag
from klineagg._engine_correct import Corrections
from klineagg._engine_instead import valid_values
from klineagg.columns import TradeChunk
from klineagg.symbols import intern, symbol_names

__all__ = ["CorrectionCounts", "Flagged", "chosen_rows", "split"]

_ACTS: Final = int(TradeFlag.CANCEL | TradeFlag.CORRECT)
_KNOWN: Final = _ACTS | int(TradeFlag.NO_OPEN_CLOSE | TradeFlag.NO_HIGH_LOW | TradeFlag.NO_VOLUME)
_RETRY_S: Final = 0.2
_TRIES: Final = 3
_REFUSALS: Final = frozenset(
    {"correction_needs_log", "correction_unknown_trade", "unknown_name", "invalid_option"}
)


@dataclass(frozen=True, slots=True)
class CorrectionCounts:
    """What became of the rows that cancel or correct a trade.

    Attributes:
        cancelled: trades that were taken out of their bars.
        corrected: trades that were given other values.
        unchanged: rows that said what had been done already.
        waiting: rows that wait until their bar ends or has another trade.
        refused: rows that could not be followed, by reason: ``correction_needs_log``,
            ``correction_needs_id``, ``correction_unknown_trade``, ``unknown_name`` (of the symbol),
            ``invalid_option`` (values that no trade can have).
        incomplete: bars that were marked INCOMPLETE, because the log has not all their trades.
    """

    cancelled: int
    corrected: int
    unchanged: int
    waiting: int
    refused: dict[str, int]
    incomplete: int


@dataclass(frozen=True, slots=True)
class _Asked:
    """One of these rows. ``instead``: the other values; None: it cancels."""

    symbol: int
    source: int
    id: int
    instead: dict[str, Any] | None

    @property
    def place(self) -> tuple[int, int, int]:
        return self.symbol, self.source, self.id


@dataclass(slots=True)
class _Told:
    """What an engine has done of them, and what waits."""

    guard: threading.Lock = field(default_factory=threading.Lock)
    cancelled: int = 0
    corrected: int = 0
    unchanged: int = 0
    incomplete: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    waiting: dict[tuple[int, int, int], _Asked] = field(default_factory=dict)
    retried: float = 0.0


def chosen_rows(chunk: TradeChunk, keep: NDArray[Any]) -> TradeChunk:
    """The rows of a chunk that a mask or row numbers tell."""
    chosen = {
        each.name: getattr(chunk, each.name)[keep]
        for each in fields(chunk)
        if isinstance(getattr(chunk, each.name), np.ndarray)
    }
    return replace(chunk, **chosen)


def split(chunk: TradeChunk) -> NDArray[np.int64] | None:
    """Numbers of the rows that cancel or correct; None: there is none."""
    flags = chunk.flags
    if flags is None or not len(flags) or not np.bitwise_or.reduce(flags) & _ACTS:
        return None
    acts = flags & _ACTS
    # Any other bit, or both of them: no flags of a trade, which the core refuses.
    found = np.flatnonzero((flags & ~np.uint8(_KNOWN) == 0) & (acts != 0) & (acts != _ACTS))
    return found if len(found) else None


def _values(chunk: TradeChunk, row: int) -> dict[str, Any]:
    """What a row that corrects says about its trade, by the names of Engine.correct."""
    assert chunk.flags is not None
    found: dict[str, Any] = {
        "time": int(chunk.time[row]) * chunk.time_scale,
        "price": float(chunk.price[row]),
        "quantity": float(chunk.quantity[row]),
        "flags": int(chunk.flags[row]) & ~_ACTS,
    }
    if chunk.side is not None:
        side = int(np.int8(chunk.side[row]))
        buys = side == 0 if chunk.side_rule == "maker" else side > 0
        found["side"] = 1 if buys else -1
    return found


def _named(symbol: int) -> str | int:
    """By its name, which is the same in every process; a number that was never given one."""
    name: str = symbol_names([symbol])[0]
    return symbol if name == str(symbol) else name


class Flagged(Corrections):
    """The part of :class:`klineagg.Engine` that does what rows with such flags say."""

    @property
    def corrections(self) -> CorrectionCounts:
        """What became of pushed rows with ``TradeFlag.CANCEL`` or ``TradeFlag.CORRECT``."""
        told = self._told()
        with told.guard:
            return CorrectionCounts(
                told.cancelled, told.corrected, told.unchanged, len(told.waiting),
                dict(told.refused), told.incomplete,
            )  # fmt: skip

    def waiting_corrections(self) -> list[dict[str, Any]]:
        """Rows that wait for their bar, for JSON; :meth:`wait_corrections` takes them."""
        told = self._told()
        with told.guard:
            asked = list(told.waiting.values())
        return [
            {
                "symbol": _named(each.symbol),
                "source": each.source,
                "id": each.id,
                "instead": each.instead,
            }
            for each in asked
        ]

    def wait_corrections(self, waiting: Sequence[dict[str, Any]]) -> None:
        """Takes up what another engine with this log was waiting for."""
        told = self._told()
        with told.guard:
            for each in waiting:
                symbol = each["symbol"]
                number = symbol if isinstance(symbol, int) else int(intern([symbol])[0])
                asked = _Asked(number, each["source"], each["id"], each["instead"])
                told.waiting[asked.place] = asked

    def retry_corrections(self) -> int:
        """Tries again what waits; each push does so now and then, too.

        Returns:
            How many rows wait still.

        Raises:
            WalHaltedError: ``wal_halted``, ``wal_full``.
            EngineError: ``worker_failed``, ``engine_state``.
        """
        told = self._told()
        with told.guard:
            again = list(told.waiting.values())
            told.retried = time.monotonic()
        for asked in again:
            self._follow(asked)
        return len(told.waiting)

    def _retry_now_and_then(self) -> None:
        told: _Told | None = self.__dict__.get("_corrected")
        if told is None or not told.waiting or time.monotonic() - told.retried < _RETRY_S:
            return
        self.retry_corrections()

    def _told(self) -> _Told:
        told: _Told = self.__dict__.setdefault("_corrected", _Told())
        return told

    def _follow_row(self, chunk: TradeChunk, row: int, source: int) -> str:
        """Does what a row says; empty, or why it is refused."""
        trade_id = -1 if chunk.trade_id is None else int(chunk.trade_id[row])
        symbol = int(chunk.symbol[row])
        if reason := self._cannot(symbol, trade_id):
            self._refuse(reason)
            return reason
        assert chunk.flags is not None
        is_cancel = bool(int(chunk.flags[row]) & TradeFlag.CANCEL)
        instead = None if is_cancel else _values(chunk, row)
        return self._follow(_Asked(symbol, source, trade_id, instead))

    def _cannot(self, symbol: int, trade_id: int) -> str:
        if self._wal is None:
            return "correction_needs_log"
        if symbol < 0:
            return "symbol_missing"
        return "correction_needs_id" if trade_id < 0 else ""

    def _refuse(self, reason: str) -> None:
        told = self._told()
        with told.guard:
            told.refused[reason] = told.refused.get(reason, 0) + 1

    def _follow(self, asked: _Asked) -> str:
        """Empty, or why it cannot be followed."""
        told = self._told()
        try:
            instead = valid_values(asked.instead, nonpositive=self._nonpositive)
            report = self._put_right(asked.symbol, asked.id, asked.source, instead, tries=_TRIES)
        except errors.KlineaggError as error:
            if error.name == "correction_pending":
                with told.guard:
                    told.waiting[asked.place] = asked
                return ""
            if error.name not in _REFUSALS:
                raise
            with told.guard:
                told.waiting.pop(asked.place, None)
            self._refuse(error.name)
            return error.name
        with told.guard:
            told.waiting.pop(asked.place, None)
            told.incomplete += report.unexplained
            if report.replaced + report.same + report.unexplained == 0:
                told.unchanged += 1
            elif instead is None:
                told.cancelled += 1
            else:
                told.corrected += 1
        return ""
