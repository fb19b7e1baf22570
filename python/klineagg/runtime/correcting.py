"""Bars that are put right while an engine runs, asked for over the control socket."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from klineagg import errors

if TYPE_CHECKING:
    from klineagg.engine import Engine
    from klineagg.lake import Lake
    from klineagg.wal import Wal

__all__ = ["OPERATIONS", "correct", "logged_trades"]

OPERATIONS: Final = ("cancel", "correct", "repair")
_log: Final = logging.getLogger("klineagg.correct")


def correct(
    engine: Engine,
    lake: Callable[[], Lake],
    request: dict[str, Any],
    *,
    horizon: str = "",
) -> dict[str, Any]:
    """Does what is asked; gives what became of the bars, for JSON.

    A repair puts right what the engine still keeps. Bars that lie further back than
    ``amend_horizon`` are known to the lake alone, and are put right there.

    Args:
        engine: running.
        lake: gives its lake, for what the engine does not keep any more.
        request: what is asked.
        horizon: for messages: the engine's ``amend_horizon``.

    Raises:
        ControlError: ``control_refused``: the engine keeps none of the trade's bars any more.
        KlineaggError: what the engine, the lake or the files raise.
    """
    op, symbol = request["op"], request["symbol"]
    if op == "repair":
        done = _repair(engine, lake, request)
    elif op == "cancel":
        done = asdict(engine.cancel(symbol, request["id"], source=request.get("source", 0)))
    else:
        done = asdict(
            engine.correct(
                symbol, request["id"], source=request.get("source", 0), **request["instead"]
            )
        )
    _log.info("%s of %s: %s", op, symbol, done)
    if op != "repair" and done["unexplained"] and not done["replaced"] + done["same"]:
        text = (
            f"no bar is revised: {done['unexplained']:,} bars of trade {request['id']} lie behind "
            f"the amend horizon ({horizon}), or the log has not all their trades"
        )
        hint = (
            "it is noted in the log: `klineagg repair SYMBOL --running CONFIG --from TIME "
            "--to TIME` puts their bars in the lake right"
        )
        raise errors.make("control_refused", text, hint=hint, unexplained=done["unexplained"])
    return done


@dataclass(frozen=True, slots=True)
class _ToRead:
    """A log that is read here and written elsewhere, if at all."""

    path: str
    state: str = "closed"


def logged_trades(path: str | os.PathLike[str], symbol: str, start: Any, end: Any) -> Iterator[Any]:
    """The trades of a log within a range of time as they count, for a repair.

    The log has a cancelled trade still, and what was done to it in another record: bars made of
    the trades alone would have it again.

    Raises:
        WalError: as :func:`klineagg.wal.replay`.
        EngineError: ``correction_log_gone`` for damage that may have taken trades of the range.
    """
    from klineagg._bars_time import to_ns
    from klineagg._engine_logged import LoggedTrades
    from klineagg.symbols import intern

    # Past damage: of a range that it does not concern all trades are there.
    logged = LoggedTrades(cast("Wal", _ToRead(os.fspath(path))), salvage=True)
    logged.update()
    begin_ns, end_ns = to_ns(start, "start"), to_ns(end, "end")
    if (lost := logged.lost(begin_ns, end_ns)) is not None:
        raise lost.error()
    rows = logged.between(int(intern([symbol])[0]), begin_ns, end_ns).rows
    times = rows["time"].astype("int64")  # a correction may have brought some out of the range
    yield rows[(times >= begin_ns) & (times < end_ns)]


def _repair(engine: Engine, lake_of: Callable[[], Lake], request: dict[str, Any]) -> dict[str, Any]:
    from klineagg._bars_time import to_ns
    from klineagg.io.readers import read_trades
    from klineagg.lake.repair import plan_repair, write_repair
    from klineagg.lake.state import closed_until

    symbol, start, end = (request[name] for name in ("symbol", "start", "end"))
    files = request.get("files")
    trades = read_trades(*files) if files else None
    done = {**asdict(engine.repair(symbol, start, end, trades)), "in_lake": 0}
    if not done["unexplained"]:
        return done
    try:
        lake = lake_of()
    except errors.KlineaggError as error:
        _log.warning("the lake is not repaired: %s", error.message)
        return done
    # Once more from the beginning: trades are streams, and the engine has read this one.
    if files:
        trades = read_trades(*files)
    else:
        assert engine.wal is not None  # repair() has read it
        engine.wal.flush()  # who reads a log from outside sees what was written
        trades = logged_trades(engine.wal.path, symbol, start, end)
    until = closed_until(lake, symbol)
    if until is not None:  # what lies behind is the engine's, who has just looked at it
        end = min(to_ns(end, "end"), int(until.astype("int64")))
    try:
        plan = plan_repair(lake, symbol, start, end, trades)
    except errors.KlineaggError as error:
        _log.warning("the lake is not repaired: %s", error.message)
        return done
    wrote = write_repair(lake, plan)
    done["in_lake"] = 0 if wrote is None else wrote.rows
    return done
