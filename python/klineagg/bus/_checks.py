"""Arguments of publishers and subscribers that cannot be meant are refused here."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from klineagg._options import invalid, is_integer

__all__ = ["check_publisher", "count_of", "deadline_of", "nanoseconds", "positions_of"]

_SECONDS_MAX: Final = 1e9


def count_of(value: Any, option: str, least: int = 1) -> int:
    """An integer that is large enough."""
    if not is_integer(value) or value < least:
        raise invalid(option, value, f"an integer of at least {least}")
    return int(value)


def nanoseconds(value: Any, option: str) -> int:
    """Of seconds; NaN is none."""
    if isinstance(value, bool) or not 0 <= value <= _SECONDS_MAX:
        raise invalid(option, value, "a number of seconds of at least 0")
    return int(round(value * 1e9))


def deadline_of(timeout: float | None) -> float | None:
    """Of the monotonic clock; None: there is none. NaN would never come."""
    if timeout is None:
        return None
    if timeout != timeout:
        raise invalid("timeout", timeout, "a number of seconds, or None")
    return time.monotonic() + timeout


def positions_of(positions: Mapping[str, int] | None) -> dict[str, int]:
    """Publisher -> next sequence."""
    wanted = "a mapping of publishers to their next sequences"
    if positions is not None and not isinstance(positions, Mapping):
        raise invalid("positions", positions, wanted)
    for name, next_ in (positions or {}).items():
        if not isinstance(name, str) or not is_integer(next_) or next_ < 0:
            raise invalid("positions", {name: next_}, wanted)
    return {name: int(next_) for name, next_ in (positions or {}).items()}


def check_publisher(ring_bytes: int | None, first_sequence: int, publishers_max: int) -> None:
    """The numbers that all publishers are made with."""
    count_of(ring_bytes or 0, "ring_bytes", 0)
    count_of(first_sequence, "first_sequence")
    count_of(publishers_max, "publishers_max")
