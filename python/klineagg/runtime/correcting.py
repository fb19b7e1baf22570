"""Bars that are put right while an engine runs, asked for over the control socket."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from klineagg import errors

if TYPE_CHECKING:
    from klineagg.engine import Engine
    from klineagg.lake import Lake

__all__ = ["OPERATIONS", "correct"]

OPERATIONS: Final = ("cancel", "correct", "repair")
_log: Final = logging.getLogger("klineagg.correct")


def correct(engine: Engine, lake: Lake, request: dict[str, Any]) -> dict[str, Any]:
    """Does what is asked; gives what became of the bars, for JSON.

    A repair puts right what the engine still keeps. Bars that lie further back than
    ``amend_horizon`` are known to the lake alone, and are put right there.

    Raises:
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
    return done


def _repair(engine: Engine, lake: Lake, request: dict[str, Any]) -> dict[str, Any]:
    from klineagg.io.readers import read_trades
    from klineagg.lake.repair import plan_repair, write_repair

    symbol, start, end = (request[name] for name in ("symbol", "start", "end"))
    files = request.get("files")
    trades = read_trades(*files) if files else None
    done = {**asdict(engine.repair(symbol, start, end, trades)), "in_lake": 0}
    if not done["unexplained"]:
        return done
    # Once more from the beginning: trades are streams, and the engine has read this one.
    if files:
        trades = read_trades(*files)
    else:
        assert engine.wal is not None  # repair() has read it
        trades = engine.wal.trades()
    try:
        plan = plan_repair(lake, symbol, start, end, trades)
    except errors.KlineaggError as error:
        _log.warning("the lake is not repaired: %s", error.message)
        return done
    wrote = write_repair(lake, plan)
    done["in_lake"] = 0 if wrote is None else wrote.rows
    return done
