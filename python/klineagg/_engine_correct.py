"""Trades that were cancelled or corrected, and bars that are rebuilt, while an engine runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from klineagg import _core, errors
from klineagg._core_tables import core_columns
from klineagg._engine_instead import valid_values
from klineagg._engine_logged import LoggedTrades, changed
from klineagg._engine_reach import Reaching
from klineagg._options import invalid, is_integer, time_ns
from klineagg._wal_content import TRADE_DTYPE
from klineagg.columns import Normaliser
from klineagg.symbols import intern, symbol_names

if TYPE_CHECKING:
    from klineagg.wal import Wal

__all__ = ["CorrectionReport", "Corrections", "known_revisions"]

_TRIES: Final = 20


@dataclass(frozen=True, slots=True)
class CorrectionReport:
    """What became of the bars that a cancelled trade or a repair concerns.

    Attributes:
        replaced: bars with other content now; those that were closed as a revision.
        same: bars that had the right content already.
        unexplained: bars of which the log has not all trades. Those of a cancelled trade are
            marked INCOMPLETE where the engine still has them, those of a repair stay.
        position: number of the command in the log; 0: nothing had to be written.
    """

    replaced: int
    same: int
    unexplained: int
    position: int


def rows_of(trades: Any, symbol: int) -> NDArray[np.void]:
    """Trades of any form as rows of TRADE_DTYPE, those of one symbol."""
    parts = []
    for chunk in Normaliser(None, None, None, None, None).chunks(trades):
        columns = core_columns(chunk)
        rows = np.zeros(len(chunk), TRADE_DTYPE)
        rows["symbol"] = columns["symbol"]
        rows["time"] = (np.asarray(columns["time"]) * columns["time_scale"]).view("<M8[ns]")
        rows["price"], rows["quantity"] = columns["price"], columns["quantity"]
        first, last = columns["trade_id"], columns["last_trade_id"]
        rows["first_trade_id"] = -1 if first is None else first
        rows["last_trade_id"] = rows["first_trade_id"] if last is None else last
        if columns["side"] is not None:
            side = np.asarray(columns["side"]).astype(np.int8)
            buys = side == 0 if columns["side_is_maker"] else side > 0
            rows["side"] = np.where(buys, 1, -1)
        if columns["flags"] is not None:
            rows["flags"] = columns["flags"]
        parts.append(rows[rows["symbol"] == symbol])
    return np.concatenate(parts) if parts else np.empty(0, TRADE_DTYPE)


def known_revisions(
    rows: Iterable[tuple[str, str, int, int, int]], names: list[str]
) -> list[tuple[int, int, int, int, int]]:
    """The same for the core, with numbers for names; those of other intervals are left out.

    Raises:
        OptionError: ``invalid_option``.
    """
    wanted = "rows of (symbol, interval, open and close in ns, revision)"
    if isinstance(rows, (str, bytes)) or not isinstance(rows, Iterable):
        raise invalid("revisions", rows, wanted)
    out = []
    for row in rows:
        good = isinstance(row, (tuple, list)) and len(row) == 5
        good = good and all(isinstance(name, str) for name in row[:2])
        if not (good and all(is_integer(number) for number in row[2:])):
            raise invalid("revisions", row, wanted)
        symbol, interval, *numbers = row
        if interval in names:
            begin, end, revision = map(int, numbers)
            out.append((int(intern([symbol])[0]), names.index(interval), begin, end, revision))
    return out


class Corrections(Reaching):
    """The part of :class:`klineagg.Engine` that puts bars right."""

    _wal: Wal | None
    _nonpositive: bool

    def cancel(self, symbol: str | int, trade_id: int, *, source: int = 0) -> CorrectionReport:
        """Takes a trade out of its bars: the exchange has cancelled it.

        The bars that it touches are rebuilt from the log, closed ones as revisions, in the order
        of all trades; the cancel is in the log too. Trades go on meanwhile. A bar that has no
        trade any more becomes a flat one, in every gap mode. A second cancel of the same trade
        changes nothing.

        Args:
            symbol: name, or id from :func:`klineagg.intern`.
            trade_id: of the trade; the first one of an aggregated trade.
            source: of the producer that pushed it.

        Raises:
            EngineError: ``correction_needs_log`` without a log, ``correction_unknown_trade`` when
                the log does not have it (any more), ``correction_pending`` when its bar is open
                and has no other trade, or changes all the time, ``unknown_name``.
            WalHaltedError: ``wal_halted``, ``wal_full``.
        """
        return self._put_right(symbol, trade_id, source, None)

    def correct(
        self, symbol: str | int, trade_id: int, *, source: int = 0, **instead: Any
    ) -> CorrectionReport:
        """Gives a trade other values: the exchange has corrected it. See :meth:`cancel`.

        Args:
            symbol: name, or id from :func:`klineagg.intern`.
            trade_id: of the trade; it stays.
            source: of the producer that pushed it.
            **instead: ``time``, ``price``, ``quantity``, ``side`` (1: the taker bought, else -1),
                ``flags``; what is not named stays.

        Raises:
            OptionError: ``invalid_option`` for values that no trade of this engine can have.
            EngineError, WalHaltedError: as :meth:`cancel`.
        """
        return self._put_right(
            symbol, trade_id, source, valid_values(instead, nonpositive=self._nonpositive)
        )

    def repair(
        self, symbol: str | int, start: Any, end: Any, trades: Any = None
    ) -> CorrectionReport:
        """Rebuilds the closed bars of a symbol that lie within ``[start, end)``.

        What differs comes as a revision; a command in the log. Bars that the engine does not keep
        any more (``amend_horizon``) are counted as ``unexplained``; they are repaired in the lake.

        Args:
            symbol: name, or id from :func:`klineagg.intern`.
            start: ISO 8601 text, ``datetime``, ``datetime64``, or int nanoseconds; UTC.
            end: likewise, not included.
            trades: complete for the range, anything that :func:`klineagg.aggregate` takes; None:
                those of the log.

        Raises:
            OptionError: ``invalid_option``.
            EngineError: ``correction_needs_log`` without trades and without a log,
                ``correction_log_gone`` when the log does not reach back to ``start``,
                ``unknown_name``.
            WalHaltedError: ``wal_halted``, ``wal_full``.
        """
        symbol_id = _id_of(symbol)
        begin_ns, end_ns = time_ns(start, "start"), time_ns(end, "end")
        if begin_ns >= end_ns:
            raise errors.make("invalid_option", "the range has no time in it", option="end")
        with self._lock_of_corrections():
            if trades is not None:
                rows = rows_of(trades, symbol_id)
            else:
                logged = self._logged()
                self._core.flush(None)  # what waits in the lanes is not in the log yet
                logged.update()
                if not logged.is_whole and not logged.reaches(symbol_id, begin_ns):
                    text = "the log does not have the trades of the whole range any more"
                    raise errors.make("correction_log_gone", text, symbol=str(symbol))
                if (lost := logged.lost(begin_ns, end_ns)) is not None:
                    raise lost.error()
                rows = logged.between(symbol_id, begin_ns, end_ns).rows
            times = rows["time"].view(np.int64)
            rows = rows[(times >= begin_ns) & (times < end_ns)]
            total = dict.fromkeys(("replaced", "same", "unexplained"), 0)
            for _ in range(_TRIES):
                told = _core.correct_bars(
                    self._core, symbol_id, b"", rows.tobytes(), [], (begin_ns, end_ns)
                )
                total["replaced"] += told["replaced"]
                if not told["pending"]:
                    total |= {name: told[name] for name in ("same", "unexplained")}
                    return CorrectionReport(**total, position=told["position"])
        raise errors.make("correction_pending", "bars of the range change all the time")

    def _lock_of_corrections(self) -> threading.Lock:
        lock: threading.Lock = self.__dict__.setdefault("_correcting", threading.Lock())
        return lock

    def _logged(self) -> LoggedTrades:
        """Of who has the lock of corrections."""
        if self._wal is None:
            raise errors.make("correction_needs_log", "the engine has no log to rebuild bars from")
        logged: LoggedTrades | None = self.__dict__.get("_logged_trades")
        if logged is None:
            logged = self.__dict__["_logged_trades"] = LoggedTrades(
                self._wal, salvage=self._wal._salvages
            )
        return logged

    def _over(self, times: list[int]) -> tuple[int, int]:
        """From the first to the last instant of all bars over these times."""
        begin, end = min(times), max(times) + 1
        for each in times:
            self._reach_time(each)
        for interval in list(self._core_intervals.values()):
            for each in times:
                is_inside, opened, closed = interval.locate(each)
                if is_inside:
                    begin, end = min(begin, opened), max(end, closed)
        return begin, end

    def _searched(
        self,
        logged: LoggedTrades,
        symbol_id: int,
        source: int,
        trade_id: int,
        instead: dict[str, Any] | None,
    ) -> tuple[NDArray[np.void], NDArray[np.void], list[int]] | None:
        """The trades of the bars over one as they count and as they should, and when it was.

        None: that was done to it already.
        """
        logged.update()
        if logged.was_changed(symbol_id, source, trade_id, instead):
            return None
        time_ns = logged.time_of(symbol_id, source, trade_id)
        if time_ns is None:
            name = symbol_names([symbol_id])[0]
            text = f"the log does not have trade {trade_id} of {name} (any more)"
            if (lost := logged.any_lost()) is not None:
                text += f"; its records {lost.damage.first} ... {lost.damage.last} are damaged"
            raise errors.make("correction_unknown_trade", text, trade_id=trade_id)
        times = [time_ns] if instead is None else [time_ns, instead.get("time", time_ns)]
        before = logged.between(symbol_id, *self._over(times))
        after = changed(before.rows, before.find(source, trade_id), instead)
        return before.rows, after, times

    def _put_right(
        self,
        symbol: str | int,
        trade_id: int,
        source: int,
        instead: dict[str, Any] | None,
        *,
        tries: int = _TRIES,
    ) -> CorrectionReport:
        symbol_id = _id_of(symbol)
        with self._lock_of_corrections():
            logged = self._logged()
            for attempt in range(tries):
                self._core.flush(None)  # what waits in the lanes is not in the log yet
                try:
                    found = self._searched(logged, symbol_id, source, trade_id, instead)
                except errors.WalError as error:
                    # Retention may take a segment away while it is read.
                    if error.name not in ("wal_range", "wal_io") or attempt + 1 == tries:
                        raise
                    continue
                if found is None:
                    return CorrectionReport(0, 0, 0, 0)
                before, after, times = found
                told = _core.correct_bars(
                    self._core, symbol_id, before.tobytes(), after.tobytes(), times, None
                )
                if not told["pending"]:
                    change = {
                        "symbol": symbol_names([symbol_id])[0],
                        "source": source,
                        "id": trade_id,
                        "instead": instead,
                    }
                    logged.append(change)
                    told.pop("pending")
                    return CorrectionReport(**told)
                time.sleep(0.001 * attempt)
        text = f"the bar of trade {trade_id} of {symbol} is open, and has no other or changes"
        raise errors.make("correction_pending", text, trade_id=trade_id)


def _id_of(symbol: str | int) -> int:
    return symbol if isinstance(symbol, int) else int(intern([symbol])[0])
