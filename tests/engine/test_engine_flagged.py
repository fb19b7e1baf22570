"""Rows that cancel or correct a trade, among the trades that are pushed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klineagg
from engine.test_engine_correct import END, START, closed, engine_of, is_right, trades
from klineagg import Bars, Engine, SimulatedClock, errors
from klineagg.conditions import TradeFlag

CANCEL, CORRECT = int(TradeFlag.CANCEL), int(TradeFlag.CORRECT)


def flagged(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The rows with a column of flags."""
    out = np.zeros(len(rows), np.dtype([*rows.dtype.descr, ("flags", "u1")]))
    for name in rows.dtype.names or ():
        out[name] = rows[name]
    return out


def with_acts(rows: np.ndarray[Any, Any], acts: dict[int, Any]) -> np.ndarray[Any, Any]:
    """Behind the row of each number one that cancels it (None) or corrects it (other values)."""
    parts = []
    for at, row in enumerate(flagged(rows)):
        parts.append(row.reshape(1))
        if at in acts:
            act = row.reshape(1).copy()
            act["flags"] = CANCEL if acts[at] is None else CORRECT
            for name, value in (acts[at] or {}).items():
                act[name] = value
            if acts[at] is None:
                act["price"] = act["quantity"] = np.nan  # nobody looks at them
            parts.append(act)
    return np.concatenate(parts)


def done_to(rows: np.ndarray[Any, Any], acts: dict[int, Any]) -> np.ndarray[Any, Any]:
    rows = rows.copy()
    for at, values in acts.items():
        for name, value in (values or {}).items():
            rows[name][at] = value
    return np.delete(rows, [at for at, values in acts.items() if values is None])


ACTS: dict[int, Any] = {
    7: None, 50: {"price": 500.0}, 51: None, 200: {"quantity": 9.5, "side": 1}, 399: None,
}  # fmt: skip


@pytest.mark.parametrize("batch", [1_000, 13])
def test_flagged_rows_are_followed_and_are_no_trades(tmp_path: Path, batch: int) -> None:
    rows = trades()
    stream = with_acts(rows, ACTS)
    parts: list[Bars] = []
    with engine_of(tmp_path / "log") as engine:
        with engine.producer("feed") as feed:
            for begin in range(0, len(stream), batch):
                result = feed.push(stream[begin : begin + batch], return_rejected=True)
                assert result.offered == result.queued + result.corrected
                parts.append(closed(engine))
        engine.advance(END)
        assert engine.retry_corrections() == 0
        told = engine.corrections
        assert (told.cancelled, told.corrected, told.waiting, told.refused) == (3, 2, 0, {})
        assert engine.counts().accepted == len(rows) and told.incomplete == 0
        # What was said already changes nothing.
        with engine.producer("again") as again:
            assert again.push(stream[stream["flags"] != 0]).corrected == len(ACTS)
        assert engine.corrections.unchanged == len(ACTS)
        parts.append(closed(engine))
    is_right(Bars.concat(parts), done_to(rows, ACTS))


def test_rows_that_cannot_be_followed_are_rejected_with_reasons(tmp_path: Path) -> None:
    rows = with_acts(trades(20), {3: None, 5: {"quantity": 0.0}, 6: {"price": np.inf}})
    unknown = rows[rows["flags"] == CANCEL].copy()
    unknown["trade_id"] = 9_999
    no_id = unknown.copy()
    no_id["trade_id"] = -1
    both = unknown.copy()
    both["flags"], both["price"], both["quantity"] = CANCEL | CORRECT, 1.0, 1.0
    mixed = np.concatenate([no_id, rows, unknown, both])
    with engine_of(tmp_path / "log") as engine:
        with engine.producer("feed") as feed:
            result = feed.push(mixed, return_rejected=True)
        assert result.rejected_rows is not None and result.rejected_reasons is not None
        assert dict(zip(result.rejected_rows.tolist(), result.rejected_reasons, strict=True)) == {
            0: "correction_needs_id",
            8: "invalid_option",
            10: "invalid_option",
            24: "correction_unknown_trade",
            25: "flags_invalid",
        }
        assert (result.queued, result.corrected, result.rejected) == (20, 1, 5)
        assert result.offered == len(mixed)
        assert sum(engine.corrections.refused.values()) == 4
        text = engine.metrics_text()
        assert 'klineagg_corrections_refused_total{reason="correction_unknown_trade"} 1' in text
        assert 'klineagg_corrections_total{outcome="cancelled"} 1' in text
    with Engine("1m", clock=SimulatedClock(), max_ahead=None) as plain:
        result = plain.producer("feed").push(rows, return_rejected=True)
        assert result.rejected_reasons == ("correction_needs_log",) * 3
        assert plain.corrections.refused == {"correction_needs_log": 3}
        plain.flush()
        assert plain.counts().accepted == result.queued == 20
    with pytest.raises(errors.TradeError):
        klineagg.aggregate(rows, "1m")


def test_a_cancel_of_the_only_trade_of_an_open_bar_waits_for_the_bar(tmp_path: Path) -> None:
    rows = trades(4)
    rows["time"] = START + np.array([0, 60, 120, 180]).astype("timedelta64[s]")
    stream = with_acts(rows, {2: None})
    with engine_of(tmp_path / "log") as engine:
        feed = engine.producer("feed")
        assert feed.push(stream[:4]).corrected == 1
        assert engine.corrections.waiting == 1
        kept = engine.waiting_corrections()
        assert [each["id"] for each in kept] == [3] and kept[0]["symbol"] == "BTCUSDT"
    # Somebody who has kept what waits goes on with it.
    with engine_of(tmp_path / "log") as engine:
        engine.wait_corrections(kept)
        assert engine.retry_corrections() == 1
        with engine.producer("feed") as feed:
            feed.push(stream[4:])
        assert engine.retry_corrections() == 0 and engine.corrections.cancelled == 1
        engine.advance(END)
        bars = closed(engine)["BTCUSDT", "1m"].resolve()
        assert bars[np.flatnonzero(bars.trade_count > 0)].trade_count.sum() == 3


def test_rows_that_a_full_lane_leaves_are_the_last_ones(tmp_path: Path) -> None:
    rows = trades(3_000)
    stream = with_acts(rows, dict.fromkeys(range(100, 3_000, 700)))
    options: dict[str, Any] = {"lane_capacity": 64, "push_timeout": "1ms"}
    left = stream
    with engine_of(tmp_path / "log", **options) as engine:
        feed = engine.producer("feed")
        for _ in range(10_000):
            try:
                feed.push(left)
                break
            except errors.LaneFullError as error:
                left = left[len(left) - int(str(error.fields["left"])) :]
        engine.advance(END)
        engine.flush()
        assert engine.retry_corrections() == 0
        is_right(closed(engine), np.delete(rows, range(100, 3_000, 700)))
        assert engine.counts().accepted == len(rows)
