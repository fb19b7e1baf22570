"""What the tests of the write-ahead log share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klineagg import Wal, intern, symbol_names
from klineagg.wal import TRADE_DTYPE, WalRecord, replay

SMALL: dict[str, Any] = {"segment_bytes": 1 << 14, "ring_bytes": 1 << 14}

# Appends numbered records for as long as it lives, and says which ones were accepted.
WRITER = """
import sys
from klineagg import Wal
path, fsync = sys.argv[1:]
wal = Wal(path, fsync, interval="1ms", segment_bytes=1 << 14, ring_bytes=1 << 14)
number = wal.next_sequence
print("ready", flush=True)
while True:
    for _ in range(7):
        assert wal.append("command", b"%d:" % number + b"x" * (number * 37 % 150)) == number
        number += 1
    wal.flush()
    sys.stdout.write(f"{number - 1} {wal.durable}\\n")
    sys.stdout.flush()
"""


def content(number: int) -> bytes:
    return b"%d:" % number + b"x" * (number * 37 % 150)


def fill(path: Path, count: int, **options: Any) -> None:
    with Wal(path, **{**SMALL, **options}) as wal:
        for number in range(wal.next_sequence, wal.next_sequence + count):
            wal.append("command", content(number))


def check_whole(records: list[WalRecord], first: int, last: int) -> None:
    """Records first ... last, each as it was offered, and no other."""
    assert [record.first for record in records] == list(range(first, last + 1))
    assert all(record.data == content(record.first) for record in records)


def read(path: Path, **options: Any) -> list[WalRecord]:
    return list(replay(path, **options))


def segments(path: Path) -> list[Path]:
    return sorted(path.glob("*.kwal"))


def flip(path: Path, at: int, count: int = 1) -> None:
    data = bytearray(path.read_bytes())
    for place in range(at, at + count):
        data[place] ^= 0x55
    path.write_bytes(data)


def cut_behind(path: Path, garbage: bytes) -> None:
    """Puts bytes behind the last frame, where the room of a segment is not written yet."""
    data = path.read_bytes()
    end = len(data.rstrip(b"\0"))
    end += -end % 8
    path.write_bytes(data[:end] + garbage)


def trades_of(records: list[WalRecord]) -> NDArray[np.void]:
    parts = [record.trades for record in records if record.trades is not None]
    return np.concatenate([np.empty(0, TRADE_DTYPE), *parts])


def edge_trades() -> NDArray[np.void]:
    """Rows with every value that a column can have at its ends, good trades or not."""
    rows = 2000
    rng = np.random.default_rng(7)
    edges = np.array(
        [0.0, -0.0, np.nan, np.inf, -np.inf, 5e-324, -5e-324, 2.2250738585072014e-308,
         1.7976931348623157e308, 0.1, 1 / 3, 123456.789, 2.0**53 + 2, 1e-14, -27500.25]
    )  # fmt: skip
    whole = np.array(
        [0, -1, 1, 2**63 - 1, -(2**63) + 1, 2**31, -(2**31), 1_700_000_000_000_000_000]
    )
    trades = np.zeros(rows, TRADE_DTYPE)
    ids = intern([f"EDGE{number}" for number in range(300)])
    trades["symbol"] = rng.choice(np.append(ids, -1), rows)
    trades["price"], trades["quantity"] = rng.choice(edges, (2, rows))
    trades["time"] = rng.choice(np.append(whole, np.iinfo(np.int64).min), rows).view("M8[ns]")
    trades["first_trade_id"] = rng.choice(np.array([-1, 0, 1, 2**62, -(2**62)]), rows)
    trades["last_trade_id"] = trades["first_trade_id"] + rng.choice([0, 1, 255, 2**32 - 1], rows)
    trades["side"] = rng.choice([-1, 1], rows)
    trades["flags"] = rng.integers(0, 256, rows)
    return trades


def same_trades(found: NDArray[np.void], wanted: NDArray[np.void]) -> None:
    for name in ("time", "price", "quantity", "first_trade_id", "last_trade_id", "side", "flags"):
        assert found[name].tobytes() == wanted[name].tobytes(), name
    np.testing.assert_array_equal(found["symbol"] < 0, wanted["symbol"] < 0)
    there = wanted["symbol"] >= 0
    assert symbol_names(found["symbol"][there]) == symbol_names(wanted["symbol"][there])


def python(code: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )
