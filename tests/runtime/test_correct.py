"""Cancelled trades and repairs of `klineagg run`, and what they leave in the lake."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klineagg
from klineagg import Bars
from klineagg.data import load_bitmex
from klineagg.errors import LakeError, ResultError
from runtime.runs import (
    FOLLOWED,
    INTERVALS,
    answers,
    command,
    ended,
    running,
    status,
    stored,
    terminated,
    until,
    write_config,
)

for needed in ("duckdb", "huey", "pyarrow"):
    pytest.importorskip(needed)

COUNT = 4_000


def rows() -> np.ndarray[Any, Any]:
    source = load_bitmex()[:COUNT]
    out = np.zeros(
        COUNT,
        [("symbol", "U8"), ("time", "M8[ns]"), ("price", "f8"), ("quantity", "f8"), ("side", "i1"),
         ("trade_id", "i8")],
    )  # fmt: skip
    for name in ("time", "price", "quantity", "side"):
        out[name] = source[name]
    out["symbol"], out["trade_id"] = "XBTUSD", np.arange(COUNT) + 1
    return out


def fields_of(row: Any, price: float, flags: int = 0) -> dict[str, Any]:
    time = int(row["time"].astype("datetime64[ns]").astype(np.int64))
    return {
        "symbol": str(row["symbol"]), "time": time, "price": price,
        "quantity": float(row["quantity"]), "side": "buy" if row["side"] > 0 else "sell",
        "trade_id": int(row["trade_id"]), "flags": flags,
    }  # fmt: skip


def write(path: Path, trades: np.ndarray[Any, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    lines = ["symbol,time,price,quantity,side,trade_id,flags"]
    lines += [",".join(map(str, fields_of(row, float(row["price"])).values())) for row in trades]
    path.write_text("\n".join(lines) + "\n")


def with_trades(bars: Bars) -> list[tuple[Any, ...]]:
    kept = bars[np.flatnonzero(bars.trade_count > 0)]
    names = ("interval", "open_time", "open", "high", "low", "close", "volume", "trade_count",
             "first_trade_id", "last_trade_id")  # fmt: skip
    return list(zip(*(kept.column(name).tolist() for name in names), strict=True))


def is_stored(folder: Path, trades: np.ndarray[Any, Any], *intervals: str) -> bool:
    wanted = klineagg.aggregate(trades, INTERVALS, progress=False)
    try:
        found = stored(folder)
    except (LakeError, ResultError):  # nothing is there yet
        return False
    return all(
        with_trades(found[:, name]) == with_trades(wanted[:, name])
        for name in intervals or INTERVALS
    )


def asked(folder: Path, *arguments: Any) -> dict[str, Any]:
    out = ended(command(*arguments, "--json", cwd=folder))
    found: dict[str, Any] = json.loads(out[out.index("{") :])
    return found


def test_trades_are_cancelled_and_bars_repaired_while_it_runs(tmp_path: Path) -> None:
    trades = rows()
    missing = np.random.default_rng(3).random(COUNT) < 0.01
    heard = trades[~missing]
    write(tmp_path / "trades/part-0.csv", heard)
    config = write_config(tmp_path, **FOLLOWED, engine__amend_horizon='"365d"')
    after = heard[~np.isin(heard["trade_id"], heard["trade_id"][[100, 2000]])].copy()
    after["price"][500] = 1.0
    with running("run", config, cwd=tmp_path) as process:
        until(lambda: answers(config) and status(config)["accepted"] == len(heard))
        for place in (100, 2000):
            done = asked(tmp_path, "cancel", config, "XBTUSD", heard["trade_id"][place])
            assert done["unexplained"] == 0
        asked(tmp_path, "cancel", config, "XBTUSD", after["trade_id"][500], "--price", "1.0")
        until(lambda: is_stored(tmp_path, after))
        process.kill()  # it goes on with that
        process.wait()
    with running("run", config, cwd=tmp_path) as process:
        until(lambda: answers(config))
        again = asked(tmp_path, "cancel", config, "XBTUSD", heard["trade_id"][100])
        assert again["replaced"] == 0 and is_stored(tmp_path, after)
        # All of a file puts in again what was taken out, and what was never heard.
        write(tmp_path / "whole.csv", trades)
        first = trades["time"][0].astype("datetime64[m]")
        last = trades["time"][-1].astype("datetime64[m]")
        done = asked(
            tmp_path, "repair", "XBTUSD", "--running", config, "--from", str(first),
            "--to", str(last), "--trades", "whole.csv",
        )  # fmt: skip
        assert done["replaced"] > 0
        inside = trades["time"] < last
        mixed = np.concatenate([trades[inside], after[after["time"] >= last]])
        # The hour is not within the range.
        until(lambda: is_stored(tmp_path, mixed, "1s", "1m"))
        terminated(process)
    assert is_stored(tmp_path, mixed, "1s", "1m")


def test_a_repair_from_the_log_leaves_out_what_was_cancelled(tmp_path: Path) -> None:
    trades = rows()
    write(tmp_path / "trades/part-0.csv", trades)
    config = write_config(tmp_path, **FOLLOWED, engine__amend_horizon='"365d"')
    with running("run", config, cwd=tmp_path) as process:
        until(lambda: answers(config) and status(config)["accepted"] == COUNT)
        asked(tmp_path, "cancel", config, "XBTUSD", trades["trade_id"][100])
        asked(tmp_path, "cancel", config, "XBTUSD", trades["trade_id"][500], "--price", "1.0")
        after = np.delete(trades, 100)
        after["price"][499] = 1.0
        until(lambda: is_stored(tmp_path, after))
        terminated(process)
    first = trades["time"][0].astype("datetime64[m]")
    last = trades["time"][-1].astype("datetime64[m]")
    lake = tmp_path / "lake"
    done = asked(
        tmp_path, "repair", "XBTUSD", "--lake", lake / "catalog.sqlite", "--data-path",
        lake / "data", "--from", first, "--to", last, "--wal", "wal", "--write",
    )  # fmt: skip
    assert done["checked"] > 100
    assert (done["differences"], done["written"]) == ([], 0)
    assert is_stored(tmp_path, after)


def acts_of(trades: np.ndarray[Any, Any]) -> tuple[list[dict[str, Any]], np.ndarray[Any, Any]]:
    """The trades with rows that cancel or correct some, and the trades that are left."""
    lines: list[dict[str, Any]] = []
    after, gone = trades.copy(), []
    for at, row in enumerate(trades):
        lines.append(fields_of(row, float(row["price"])))
        # Of trades some way back, and of the newest one.
        if at % 400 == 399:
            lines.append(fields_of(trades[at - 150], 0.0, flags=8))
            lines.append(fields_of(row, 2.5, flags=16))
            gone.append(at - 150)
            after["price"][at] = 2.5
    return lines, np.delete(after, gone)


def test_rows_that_cancel_and_correct_survive_kills(tmp_path: Path) -> None:
    lines, after = acts_of(rows())
    header = ",".join(lines[0])
    text = [",".join(map(str, line.values())) for line in lines]
    (tmp_path / "trades").mkdir()
    path = tmp_path / "trades/part-0.csv"
    config = write_config(tmp_path, **FOLLOWED, engine__amend_horizon='"365d"')
    # It grows, so that there are batches, and kills between them.
    for round, part in enumerate(np.array_split(np.array(text), 3)):
        with path.open("a") as file:
            file.write("\n".join(([header] if round == 0 else []) + part.tolist()) + "\n")
        if round < 2:
            with running("run", config, cwd=tmp_path):
                time.sleep(0.7 + 0.3 * round)  # anywhere: while it reads, corrects or stores
    with running("run", config, cwd=tmp_path) as process:
        until(lambda: is_stored(tmp_path, after))
        told = status(config)["corrections"]
        assert told["refused"] == {} and told["waiting"] == 0
        terminated(process)
    assert is_stored(tmp_path, after)


def test_rows_of_json_lines_cancel_and_correct(tmp_path: Path) -> None:
    lines, after = acts_of(rows()[:1_200])
    stray = {**lines[0], "trade_id": 77_777, "flags": 8}
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, [*lines, stray])) + "\n")
    config = write_config(
        tmp_path, source__kind='"stdin"', source__format='"jsonl"', source__on_end='"stop"',
        engine__amend_horizon='"365d"',
    )  # fmt: skip
    with (tmp_path / "in.jsonl").open("rb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "klineagg", "run", str(config)],
            cwd=tmp_path, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        out = ended(process)
    assert "correction_unknown_trade" in out
    assert is_stored(tmp_path, after)


def test_what_standard_input_cancels_before_its_bar_has_come_survives_a_kill(
    tmp_path: Path,
) -> None:
    trades = rows()
    seconds = trades["time"].astype("datetime64[s]")
    # The only trade of its bar, so that the cancel waits for the bar's end.
    alone = int(np.flatnonzero((np.diff(seconds)[:-1] > 0) & (np.diff(seconds)[1:] > 0))[5]) + 1
    lines = [fields_of(row, float(row["price"])) for row in trades]
    cancel = fields_of(trades[alone], 0.0, flags=8)
    config = write_config(
        tmp_path, source__kind='"stdin"', source__format='"jsonl"',
        engine__amend_horizon='"365d"',
    )  # fmt: skip

    def tell(part: list[dict[str, Any]], then: Callable[[subprocess.Popen[str]], Any]) -> None:
        with running("run", config, cwd=tmp_path, stdin=subprocess.PIPE) as process:
            assert process.stdin is not None
            process.stdin.write("".join(json.dumps(line) + "\n" for line in part))
            process.stdin.flush()
            until(lambda: answers(config) and status(config)["rows_read"] >= len(part))
            then(process)

    def killed(process: subprocess.Popen[str]) -> None:
        assert status(config)["corrections"]["waiting"] == 1
        process.kill()
        process.wait()

    tell([*lines[: alone + 1], cancel], killed)
    tell([], killed)  # it waits there, too
    tell(lines[alone + 1 :], terminated)
    assert is_stored(tmp_path, np.delete(trades, alone))


def test_a_running_repair_revises_in_the_lake_what_the_engine_has_forgotten(tmp_path: Path) -> None:
    trades = rows()
    span = trades["time"][-1] - trades["time"][0]
    early = trades["time"] < trades["time"][0] + span // 4
    missing = early & (np.random.default_rng(4).random(COUNT) < 0.05)
    write(tmp_path / "trades/part-0.csv", trades[~missing])
    write(tmp_path / "whole.csv", trades)
    config = write_config(tmp_path, **FOLLOWED, engine__amend_horizon='"1s"')
    first = trades["time"][0].astype("datetime64[m]")
    last = (trades["time"][0] + span // 2).astype("datetime64[m]")
    with running("run", config, cwd=tmp_path) as process:
        until(lambda: answers(config) and is_stored(tmp_path, trades[~missing]))
        asks = ("repair", "XBTUSD", "--running", config, "--from", first, "--to", last)
        # The log has what was heard, so all of it is right by that.
        done = asked(tmp_path, *asks)
        assert (done["replaced"], done["in_lake"]) == (0, 0)
        done = asked(tmp_path, *asks, "--trades", "whole.csv")
        assert done["replaced"] == 0 and done["in_lake"] > 0
        until(lambda: is_stored(tmp_path, trades, "1s", "1m"))
        assert asked(tmp_path, *asks, "--trades", "whole.csv")["in_lake"] == 0
        told = ended(command(*asks, "--trades", "whole.csv", cwd=tmp_path))
        assert "bars the engine cannot tell" in told
        assert "--write is for" in ended(command(*asks, "--write", cwd=tmp_path), 2)
        terminated(process)
    assert is_stored(tmp_path, trades, "1s", "1m")


def test_a_trade_behind_the_amend_horizon_is_not_cancelled_but_repaired(tmp_path: Path) -> None:
    trades = rows()
    write(tmp_path / "trades/part-0.csv", trades)
    config = write_config(
        tmp_path, **FOLLOWED, engine__amend_horizon='"1s"', engine__intervals='["1m"]'
    )
    with running("run", config, cwd=tmp_path) as process:
        until(lambda: answers(config) and status(config)["persist"]["rows"] > 10, seconds=30)
        gone = int(np.flatnonzero(trades["time"] > trades["time"][0] + np.timedelta64(60, "s"))[0])
        ask = ("cancel", config, "XBTUSD", trades["trade_id"][gone])
        told = ended(command(*ask, "--price", "-5", cwd=tmp_path), 2)
        assert "price=-5.0 is no price of a trade" in told
        told = ended(command(*ask, cwd=tmp_path), 3)
        assert "behind the amend horizon (1s)" in told and "klineagg repair" in told
        first = trades["time"][0].astype("datetime64[m]")
        last = trades["time"][gone].astype("datetime64[m]") + 2
        asks = ("repair", "XBTUSD", "--running", config, "--from", first, "--to", last)
        assert asked(tmp_path, *asks)["in_lake"] > 0
        assert asked(tmp_path, *asks)["in_lake"] == 0
        terminated(process)
    place = tmp_path / "lake"
    with klineagg.Lake(place / "catalog.sqlite", place / "data", read_only=True) as lake:
        found = lake.bars("XBTUSD", "1m")
    wanted = klineagg.aggregate(np.delete(trades, gone), "1m", progress=False)
    assert with_trades(found) == with_trades(wanted)
