"""A damaged log of `klineagg run`: it does not start by itself, and goes on when it is told to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import klineagg
from klineagg import Lake
from klineagg.bars import BarFlag
from runtime.runs import (
    assert_same,
    command,
    ended,
    expected,
    stored,
    write_config,
    write_trades,
)

for needed in ("duckdb", "huey", "pyarrow"):
    pytest.importorskip(needed)

ROWS = 20_000


def test_damage_is_named_and_salvage_goes_past_it(tmp_path: Path) -> None:
    paths = write_trades(tmp_path / "trades", ROWS)
    config = write_config(tmp_path)
    ended(command("run", config, cwd=tmp_path))
    (segment,) = (tmp_path / "wal").glob("*.kwal")
    data = bytearray(segment.read_bytes())
    data[40_000] ^= 1
    segment.write_bytes(data)
    for name in ("catalog.sqlite", "data"):  # the lake has gone; the log has all of it but that
        (tmp_path / "lake" / name).rename(tmp_path / f"lost-{name}")
    for checkpoint in (tmp_path / "wal").glob("*.checkpoint"):
        checkpoint.unlink()

    out = ended(command("run", config, cwd=tmp_path), code=3)
    assert "wal_damaged" in out and "--salvage" in out
    out = ended(command("run", "--salvage", config, cwd=tmp_path))
    assert "are lost" in out
    with Lake(tmp_path / "lake/catalog.sqlite", tmp_path / "lake/data", read_only=True) as lake:
        bars = lake.bars("XBTUSD", "1m")
    whole = klineagg.aggregate(klineagg.io.read_trades(*paths), "1m", progress=False)
    assert bars.trade_count.sum() < ROWS
    counts = dict(zip(whole.open_time.tolist(), whole.trade_count.tolist(), strict=True))
    incomplete = bars.flags & np.uint16(BarFlag.INCOMPLETE) != 0
    assert incomplete.any() and not incomplete.all()
    for opens, count, known in zip(
        bars.open_time.tolist(), bars.trade_count.tolist(), (~incomplete).tolist(), strict=True
    ):
        assert not known or counts.get(opens, 0) == count, "what lacks a trade says so"


@pytest.mark.parametrize("has_lake", [True, False])
def test_a_damaged_checkpoint_is_named_and_salvage_goes_on_without_it(
    tmp_path: Path, has_lake: bool
) -> None:
    paths = write_trades(tmp_path / "trades", ROWS, files=2)
    later = paths.pop()
    later.rename(tmp_path / "later.csv")
    config = write_config(tmp_path)
    ended(command("run", config, cwd=tmp_path))
    checkpoint = tmp_path / "wal/lake.checkpoint"
    data = bytearray(checkpoint.read_bytes())
    data[len(data) // 2] ^= 1
    checkpoint.write_bytes(data)
    if not has_lake:
        for name in ("catalog.sqlite", "data"):
            (tmp_path / "lake" / name).rename(tmp_path / f"lost-{name}")
    (tmp_path / "later.csv").rename(later)

    out = ended(command("run", config, cwd=tmp_path), code=3)
    assert "checkpoint_format" in out and str(checkpoint) in out and "--salvage" in out
    out = ended(command("run", "--salvage", config, cwd=tmp_path))
    assert "the checkpoint of 'lake'" in out and "set aside" in out
    assert "INCOMPLETE" not in out  # the lake, or the log, has all of it
    assert (tmp_path / "wal/lake.checkpoint.damaged").read_bytes() == bytes(data)
    assert_same(stored(tmp_path), expected([*paths, later]))
    ended(command("run", config, cwd=tmp_path))  # by its new checkpoint
