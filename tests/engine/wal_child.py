"""A process that pushes into an engine with a log until somebody kills it.

It tells what it does on standard output, before (``offered``) or after (``accepted``) it is done,
and keeps what its consumer was given in files: whoever killed it judges by these alone.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from klineagg import Engine, SimulatedClock, Wal, intern, symbol_names

INTERVALS = ("1s", "1m")
ROWS = 24_000


def trades(rows: int = ROWS) -> dict[str, np.ndarray]:
    """The same in every process; times never fall."""
    random = np.random.default_rng(20_240_131)
    symbols = intern([f"KILL{k}" for k in range(5)])
    steps = random.integers(0, 40_000_000, rows)
    return {
        "symbol": symbols[random.integers(0, 5, rows)],
        "time": np.int64(1_706_659_200_000_000_000) + np.cumsum(steps),
        "price": random.integers(9_000, 11_000, rows) / 100,
        "quantity": random.integers(1, 5_000, rows) / 1000,
        "side": random.choice(np.array([-1, 1], np.int8), rows),
        "trade_id": np.arange(rows),
    }


def store(folder: Path, engine: Engine) -> None:
    """What a database would do: keep the rows, then acknowledge them."""
    snapshot = engine.take("lake", checkpoint=True)
    closed = snapshot.closed
    names = np.array(symbol_names(closed.symbol))
    path = folder / f"{snapshot.id.epoch:020}-{snapshot.id.number:08}.npz"
    columns: dict[str, Any] = {name: closed.column(name) for name in closed.columns}
    columns["symbol"] = names
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        np.savez(file, **columns)
    temporary.rename(path)
    snapshot.ack()


def tell(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def main() -> None:
    path, fsync, workers, seed = sys.argv[1:]
    rows = trades()
    random = np.random.default_rng(int(seed))
    wal = Wal(path, fsync, interval="5ms", segment_bytes=1 << 16, ring_bytes=1 << 20)
    engine = Engine(
        INTERVALS, wal=wal, clock=SimulatedClock(), workers=int(workers), max_ahead=None
    ).start()
    recovery = engine.recovery
    assert recovery is not None
    producer = engine.producer()
    tail = producer.skip_recovered()
    at = int(recovery.note or b"0")
    tell("begins", at, tail)
    while at < ROWS:
        to = min(ROWS, at + int(random.integers(1, 400)))
        tell("offered", to)
        producer.push({name: column[at:to] for name, column in rows.items()})
        at = to
        match random.integers(0, 5):
            case 0:
                engine.flush()
                tell("accepted", at)
            case 1:
                engine.note(b"%d" % at)
                tell("accepted", at)
            case 2:
                # After a crash the clock is where it was, and the trades begin at the last note.
                engine.advance(max(engine.clock.now_ns(), int(rows["time"][at - 1])))
            case 3:
                store(Path(path), engine)
    engine.note(b"%d" % at)
    engine.advance(int(rows["time"][-1]) + 120 * 10**9)
    store(Path(path), engine)
    tell("done", at)


if __name__ == "__main__":
    main()
