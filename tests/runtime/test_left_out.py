"""Rows that were left out: told soon, seldom, and without asking the engine for each batch."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest

from klineagg.engine import Engine
from klineagg.runtime.left_out import LeftOut
from klineagg.sources import Source


class Counting:
    """An engine that counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.rejected: dict[str, int] = {}

    def counts(self) -> Any:
        self.asked += 1
        return SimpleNamespace(rejected=dict(self.rejected))


def test_the_engine_is_asked_once_a_second_and_tells_every_half_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [1000.0]
    monkeypatch.setattr("klineagg.runtime.left_out.time.monotonic", lambda: now[0])
    monkeypatch.setattr(logging.getLogger("klineagg"), "propagate", True)
    engine, source = Counting(), SimpleNamespace(faults={}, first_fault="", goes_on=False)
    told = LeftOut(cast("Engine", engine), cast("Source", source))

    def look(seconds: float) -> int:
        """How often the engine is asked meanwhile, with a hundred batches a second."""
        before = engine.asked
        for _ in range(round(100 * seconds)):
            now[0] += 0.01
            told.look()
        return engine.asked - before

    with caplog.at_level(logging.WARNING, logger="klineagg.run"):
        assert 9 <= look(10) <= 11  # nothing is wrong: that costs next to nothing
        engine.rejected["price_not_positive"] = 3
        look(1.5)
        assert [each.message for each in caplog.records] == [
            "3 rows (price_not_positive 3) left out so far"
        ]
        engine.rejected["price_not_positive"] = 5
        assert look(25) == 0
        look(6)
        assert len(caplog.records) == 2 and caplog.records[1].message.startswith("5 rows")
        engine.rejected["price_not_positive"] = 6
        told.look(final=True)
        assert caplog.records[2].message == "6 rows (price_not_positive 6) left out"
