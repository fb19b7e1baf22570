"""How long the lake tries again."""

from __future__ import annotations

import time

import pytest

from klineagg.lake.patience import Patience


def test_who_was_stopped_tries_again_before_giving_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    patience = Patience(30)
    now += 3_600  # a process that was stopped has not tried for as long
    for _ in range(5):
        assert not patience.is_over
        patience.nap()
    assert patience.is_over and patience.attempts == len(slept) == 5


def test_patience_lasts_as_long_as_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    patience = Patience(30)
    for _ in range(1_000):
        patience.pause()
    assert not patience.is_over
    assert max(slept[:8]) < max(slept[8:]) <= 0.25
    now += 30.1
    assert patience.is_over
