"""SQLite's log of writes ahead, which readers must not have to set up again at each look."""

from __future__ import annotations

from pathlib import Path

import pytest

from klineagg import Engine, SimulatedClock
from klineagg.lake import Lake, hold
from lake.test_lake_commits import INTERVALS, START, commit

pytest.importorskip("duckdb")


def test_the_log_of_writes_stays_between_writes_and_does_not_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hold, "_WRITES_BETWEEN", 4)
    place = tmp_path / "lake"
    log = place / "catalog.sqlite-wal"
    sizes = []
    with (
        Lake(place) as lake,
        Engine(INTERVALS, clock=SimulatedClock(START), max_ahead=None) as engine,
        engine.producer() as feed,
        Lake(place, read_only=True) as reader,
    ):
        for number in range(24):
            commit(engine, feed, lake, number)
            # SQLite removes it with the last connection: nobody's was open otherwise.
            sizes.append(log.stat().st_size)
            assert len(reader.bars("COMMIT0", "1s", include_open=False)) == number + 1
            assert log.exists()
    assert max(sizes[12:]) < 1.5 * max(sizes[:12]), sizes
    assert not log.exists(), "a lake that is closed leaves one file"


def test_a_lake_that_was_not_closed_holds_nobody_up(tmp_path: Path) -> None:
    place = tmp_path / "lake"
    with (
        Lake(place) as first,
        Lake(place) as second,
        Engine(INTERVALS, clock=SimulatedClock(START), max_ahead=None) as engine,
        engine.producer() as feed,
    ):
        for number in range(6):
            commit(engine, feed, (first, second)[number % 2], number)
        assert len(first.bars("COMMIT0", "1s", include_open=False)) == 6
        assert len(second.bars("COMMIT0", "1s", include_open=False)) == 6
