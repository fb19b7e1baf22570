"""Arguments of publishers and subscribers that cannot be meant are refused here."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from klineagg._options import choice, invalid, is_integer

__all__ = [
    "SYNC_MODES",
    "check_publisher",
    "check_role",
    "count_of",
    "deadline_of",
    "nanoseconds",
    "positions_of",
]

_SECONDS_MAX: Final = 1e9
# What a power cut may take of a log.
SYNC_MODES: Final = ("none", "interval", "always")
# Behind it there is room for more messages than anybody sends.
_FIRST_MAX: Final = 2**62


def count_of(value: Any, option: str, least: int = 1) -> int:
    """An integer that is large enough."""
    if not is_integer(value) or value < least:
        raise invalid(option, value, f"an integer of at least {least}")
    return int(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def nanoseconds(value: Any, option: str) -> int:
    """Of seconds; NaN is none."""
    if not _is_number(value) or not 0 <= value <= _SECONDS_MAX:
        raise invalid(option, value, "a number of seconds of at least 0")
    return int(round(value * 1e9))


def deadline_of(timeout: float | None) -> float | None:
    """Of the monotonic clock; None: there is none. NaN would never come."""
    if timeout is None:
        return None
    if not _is_number(timeout) or timeout != timeout:
        raise invalid("timeout", timeout, "a number of seconds, or None")
    return time.monotonic() + timeout


def positions_of(positions: Mapping[str, int] | None) -> dict[str, int]:
    """Publisher -> next sequence."""
    wanted = "a mapping of publishers to their next sequences"
    if positions is not None and not isinstance(positions, Mapping):
        raise invalid("positions", positions, wanted)
    for name, next_ in (positions or {}).items():
        if not isinstance(name, str) or not is_integer(next_) or not 0 <= next_ < 2**64:
            raise invalid("positions", {name: next_}, wanted)
    return {name: int(next_) for name, next_ in (positions or {}).items()}


def check_role(name: Any, core: Any, wait: Any = "park") -> None:
    """What publishers and subscribers have in common; the core's words are those of C++."""
    if not isinstance(name, str):
        raise invalid("name", name, "a name of at most 16 bytes")
    if core is not None and not is_integer(core):
        raise invalid("core", core, "the number of a core, or None")
    choice(wait, "wait", ("spin", "backoff", "park"))


def check_publisher(ring_bytes: int | None, first_sequence: int, publishers_max: int) -> None:
    """The numbers that all publishers are made with."""
    count_of(ring_bytes or 0, "ring_bytes", 0)
    if count_of(first_sequence, "first_sequence") > _FIRST_MAX:
        raise invalid("first_sequence", first_sequence, "an integer of at most 2**62")
    count_of(publishers_max, "publishers_max")
