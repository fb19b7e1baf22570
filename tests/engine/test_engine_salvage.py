"""An engine on a damaged log refuses, or goes on when told to, and marks what may lack trades."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klineagg
from klineagg import Engine, SimulatedClock, Wal, errors
from klineagg.bars import BarFlag
from klineagg.runtime.correcting import logged_trades

START = np.datetime64("2024-01-01T00:00", "ns")
END = START + np.timedelta64(2, "h")
ROWS, STEP, LATE = 12_000, 500, 8_000
SMALL: dict[str, Any] = {"segment_bytes": 1 << 14, "ring_bytes": 1 << 20}


def trades() -> np.ndarray[Any, Any]:
    """Of two symbols, and from LATE on of a third one."""
    chance = np.random.default_rng(5)
    rows = np.zeros(
        ROWS, [("symbol", "U8"), ("time", "M8[ns]"), ("price", "f8"), ("quantity", "f8")]
    )
    rows["symbol"] = np.r_[
        chance.choice(["AAA", "BBB"], LATE), chance.choice(["AAA", "BBB", "CCC"], ROWS - LATE)
    ]
    rows["time"] = START + np.sort(chance.integers(0, 7_200 * 10**9, ROWS)).astype("m8[ns]")
    rows["price"] = np.round(chance.uniform(90, 110, ROWS), 2)
    rows["quantity"] = 1.0
    return rows


def engine_on(wal: Wal | Path) -> Engine:
    return Engine("1m,5m,1h", wal=wal, clock=SimulatedClock(), max_ahead=None, amend_horizon="3h")


def oldest(path: Path) -> int:
    return min(int(file.stem) for file in path.glob("*.kwal"))


def write(path: Path, rows: Any, *, committed: int = 0) -> None:
    """A log of the trades; up to ``committed`` a consumer has a checkpoint, and files went."""
    with Wal(path, **SMALL) as wal, engine_on(wal) as engine, engine.producer("feed") as feed:
        for begin in range(0, len(rows), STEP):
            feed.push(rows[begin : begin + STEP])
            feed.flush()
            if begin < committed:
                engine.take("lake", checkpoint=True).ack()
            if begin + STEP == committed:
                wal.set_retention(size_max=1 << 15)
                deadline = time.monotonic() + 60
                while oldest(path) == 1 and time.monotonic() < deadline:
                    time.sleep(0.01)  # the log's writer does it
                wal.set_retention()


def recovered(path: Path) -> klineagg.Bars:
    with Wal(path, salvage=True, **SMALL) as wal, engine_on(wal) as engine:
        engine.advance(END)
        with engine.take("lake") as snapshot:
            return snapshot.closed.resolve().expand_gaps()


def marked(bars: klineagg.Bars, rows: Any) -> dict[tuple[str, str], int]:
    """How many bars say that they may lack trades; all others have every one."""
    whole = klineagg.aggregate(rows, "1m,5m,1h", coverage=(None, END), progress=False)
    out = {}
    for symbol in ("AAA", "BBB", "CCC"):
        for interval in ("1m", "5m", "1h"):
            found, wanted = bars[symbol, interval], whole[symbol, interval]
            counts = dict(zip(wanted.open_time.tolist(), wanted.trade_count.tolist(), strict=True))
            incomplete = found.flags & np.uint16(BarFlag.INCOMPLETE) != 0
            for opens, count in zip(
                found.open_time[~incomplete].tolist(),
                found.trade_count[~incomplete].tolist(),
                strict=True,
            ):
                assert counts.get(opens, 0) == count, (symbol, interval, "it does not say so")
            out[symbol, interval] = int(incomplete.sum())
    return out


def damage(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def test_a_damaged_checkpoint_is_set_aside_and_a_whole_log_lacks_nothing(tmp_path: Path) -> None:
    rows = trades()
    write(tmp_path, rows)
    (tmp_path / "lake.checkpoint").write_bytes(b"KLA, but not for long")
    with pytest.raises(errors.EngineError) as caught:
        engine_on(tmp_path)
    assert caught.value.name == "checkpoint_format"
    assert str(tmp_path / "lake.checkpoint") in caught.value.message
    assert "--salvage" in caught.value.hint
    assert set(marked(recovered(tmp_path), rows).values()) == {0}
    assert (tmp_path / "lake.checkpoint.damaged").read_bytes() == b"KLA, but not for long"


def test_without_its_checkpoint_a_log_begins_where_it_can_and_says_so(tmp_path: Path) -> None:
    rows = trades()
    write(tmp_path, rows, committed=6_000)
    (first, *_) = sorted(tmp_path.glob("*.kwal"))
    assert int(first.stem) > 1_000  # what lay before is in the checkpoint alone
    damage(tmp_path / "lake.checkpoint")
    with pytest.raises(errors.EngineError) as caught:
        engine_on(tmp_path)
    assert caught.value.name == "checkpoint_format"
    kept = (tmp_path / "lake.checkpoint").rename(tmp_path / "elsewhere")
    with pytest.raises(errors.EngineError) as caught:
        engine_on(tmp_path)
    assert caught.value.name == "recovery_hole" and "--salvage" in caught.value.hint
    assert "there is no checkpoint" in caught.value.message
    kept.rename(tmp_path / "lake.checkpoint")
    bars = recovered(tmp_path)
    assert (tmp_path / "lake.checkpoint.damaged").is_file()
    found = marked(bars, rows)
    # The bars over the first trade that there is, and no others.
    assert [found["AAA", name] for name in ("1m", "5m", "1h")] == [1, 1, 1]
    assert [found["BBB", name] for name in ("1m", "5m", "1h")] == [1, 1, 1]
    assert bars["AAA", "1m"].trade_count.sum() > 1_000


def test_damage_of_an_older_file_marks_symbols_that_come_behind_it_too(tmp_path: Path) -> None:
    rows = trades()
    write(tmp_path, rows)
    files = sorted(tmp_path.glob("*.kwal"))
    (file,) = (
        one for one, next in zip(files, files[1:], strict=False)
        if int(one.stem) <= LATE - 200 < int(next.stem)
    )  # fmt: skip
    data = file.read_bytes()
    for back in range(1, 4):  # the last trades before the third symbol comes, or its first
        damaged = bytearray(data)
        damaged[len(data) - back * len(data) // 5] ^= 1
        file.write_bytes(damaged)
        with pytest.raises(errors.WalDamagedError):
            engine_on(tmp_path)
        found = marked(recovered(tmp_path), rows)
        assert found["AAA", "1m"] > 0 and found["BBB", "1h"] == 1
        # Its first hour began before the damage: nobody knows whether it had trades there.
        assert found["CCC", "1h"] == 1


def whole_bars(rows: Any, interval: str) -> dict[int, tuple[float, int]]:
    bars = klineagg.aggregate(rows, interval, coverage=(None, END), progress=False)["AAA", interval]
    return dict(zip(bars.open_time.tolist(), zip(bars.close.tolist(), bars.trade_count.tolist(),
                                                 strict=True), strict=True))  # fmt: skip


def test_trades_beside_damage_are_cancelled_and_bars_repaired(tmp_path: Path) -> None:
    plain = trades()
    rows = np.zeros(ROWS, [*plain.dtype.descr, ("trade_id", "i8")])
    for name in plain.dtype.names or ():
        rows[name] = plain[name]
    rows["trade_id"] = np.arange(ROWS)
    write(tmp_path, rows)
    files = sorted(tmp_path.glob("*.kwal"))
    damage(files[len(files) // 2])
    (lost,) = klineagg.wal.inspect(tmp_path).damages
    before, behind = (
        int(np.flatnonzero((rows["symbol"] == "AAA") & (np.arange(ROWS) // STEP == batch))[0])
        for batch in (2, ROWS // STEP - 2)
    )
    # Numbers of records are those of the trades, and of a few others before them.
    assert before < lost.first - 2 * STEP and behind > lost.last + 2 * STEP
    with Wal(tmp_path, salvage=True, **SMALL) as wal, engine_on(wal) as engine:
        for trade in (before, behind):
            done = engine.cancel("AAA", trade)
            assert (done.replaced, done.unexplained) == (3, 0)
        minute = np.timedelta64(1, "m")
        for trade in (before, behind):
            start = rows["time"][trade].astype("M8[m]").astype("M8[ns]")
            done = engine.repair("AAA", start, start + minute)
            assert (done.replaced, done.same, done.unexplained) == (0, 1, 0)
        gap = START + (rows["time"][lost.first] - START)
        with pytest.raises(errors.EngineError, match=f"records {lost.first} ... {lost.last}") as no:
            engine.repair("AAA", gap - minute, gap + minute)
        assert no.value.name == "correction_log_gone" and "from a file" in no.value.hint
        gone = next(k for k in range(lost.first, lost.last - 20) if rows["symbol"][k] == "AAA")
        with pytest.raises(errors.EngineError, match="are damaged") as no:
            engine.cancel("AAA", gone)
        assert no.value.name == "correction_unknown_trade"
        engine.advance(END)
        with engine.take("lake") as snapshot:
            whole = snapshot.closed.resolve().expand_gaps()
    assert (whole["AAA", "1h"].flags & np.uint16(BarFlag.INCOMPLETE) != 0).any()
    bars = whole["AAA", "1m"]
    wanted = whole_bars(np.delete(rows, [before, behind]), "1m")
    known = bars.flags & np.uint16(BarFlag.INCOMPLETE) == 0
    found = dict(zip(bars.open_time[known].tolist(), bars.trade_count[known].tolist(), strict=True))
    assert 100 < len(found) < 120
    assert found == {opens: count for opens, (_, count) in wanted.items() if opens in found}
    minutes = [int(rows["time"][k].astype("M8[m]").astype("M8[ns]").astype(int))
               for k in (before, behind)]  # fmt: skip
    assert all(minute in found for minute in minutes)
    # Offline, for the lake: the same ranges.
    at = rows["time"][before].astype("M8[m]").astype("M8[ns]")
    (minute_of,) = logged_trades(tmp_path, "AAA", at, at + minute)
    assert len(minute_of) == wanted[minutes[0]][1]
    with pytest.raises(errors.EngineError) as no:
        list(logged_trades(tmp_path, "AAA", gap - minute, gap + minute))
    assert no.value.name == "correction_log_gone"
