"""How long to try again what others are in the way of."""

from __future__ import annotations

import random
import time
from typing import Final

__all__ = ["Patience"]

# A process that was stopped for longer than its patience has not tried for as long.
_ATTEMPTS_MIN: Final = 5


class Patience:
    """Attempts at one thing, from now on.

    Args:
        timeout_s: how long to go on.
    """

    def __init__(self, timeout_s: float) -> None:
        self.attempts = 0
        self._timeout_s = timeout_s
        self._until = time.monotonic() + timeout_s

    @property
    def is_over(self) -> bool:
        """Whether the attempt that has just failed was the last one."""
        return self.attempts >= _ATTEMPTS_MIN and time.monotonic() > self._until

    def pause(self) -> None:
        """Sleeps a random while that grows with the number of attempts."""
        self._sleep(random.uniform(0.2, 1.0) * min(0.005 * 2.0 ** min(self.attempts, 6), 0.25))

    def nap(self) -> None:
        """Sleeps a few milliseconds, for what is in the way for no longer."""
        self._sleep(random.uniform(0.0005, 0.002) * 2.0 ** min(self.attempts, 4))

    def attempt_s(self, most_s: float) -> float:
        """How long an attempt that waits by itself may do so, so that there are enough of them."""
        return max(min(self._timeout_s / _ATTEMPTS_MIN, most_s), 0.001)

    def waited(self) -> None:
        """Such an attempt has failed."""
        self.attempts += 1

    def _sleep(self, seconds: float) -> None:
        time.sleep(seconds)
        self.attempts += 1
