"""How long the lake tries again."""

from __future__ import annotations

import pytest

from klineagg.lake.patience import Patience


class Clock:
    """A time that passes when it is told to, and what was slept meanwhile."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    # In the place of the module's own name alone: the limit of the tests looks at the true time.
    clock = Clock()
    monkeypatch.setattr("klineagg.lake.patience.time", clock)
    return clock


def test_who_was_stopped_tries_again_before_giving_up(clock: Clock) -> None:
    patience = Patience(30)
    clock.now += 3_600  # a process that was stopped has not tried for as long
    for _ in range(5):
        assert not patience.is_over
        patience.nap()
    assert patience.is_over and patience.attempts == len(clock.slept) == 5


def test_patience_lasts_as_long_as_was_asked(clock: Clock) -> None:
    patience = Patience(30)
    for _ in range(1_000):
        patience.pause()
    assert not patience.is_over
    # Pauses are random: the sixth is at most 0.16 s, hundreds of later ones are at most 0.25 s.
    assert max(clock.slept[:6]) < max(clock.slept[6:]) <= 0.25
    clock.now += 30.1
    assert patience.is_over


@pytest.mark.parametrize(("timeout_s", "attempt_s"), [(30, 2), (1, 0.2), (0, 0.001)])
def test_attempts_that_wait_share_the_time(
    clock: Clock, timeout_s: float, attempt_s: float
) -> None:
    begun = clock.now
    patience = Patience(timeout_s)
    while not patience.is_over:
        assert patience.attempt_s(2) == attempt_s
        clock.now += attempt_s
        patience.waited()
    assert patience.attempts >= 5
    assert timeout_s <= clock.now - begun <= max(timeout_s, 5 * attempt_s) + 1.1 * attempt_s
