"""Which snapshots of a lake are kept for time travel, and which may go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

__all__ = ["KEPT_NEWEST", "expendable"]

_MINUTE_US: Final = 60_000_000
_HOUR_US: Final = 60 * _MINUTE_US
_DAY_US: Final = 24 * _HOUR_US

KEPT_NEWEST: Final = 32
# (up to this age, the newest of as long a time)
_LADDER: Final = ((_HOUR_US, _MINUTE_US), (30 * _DAY_US, _HOUR_US), (2**62, _DAY_US))


def expendable(snapshots: Sequence[tuple[int, int]], now_us: int) -> list[int]:
    """The snapshots that may go: all but the newest, and one of each minute, hour and day.

    Every commit leaves a snapshot, and every snapshot holds on to files. The last one of each
    minute is kept for an hour, of each hour for 30 days, of each day for ever.

    Args:
        snapshots: number and time in microseconds, rising.
        now_us: the time by which they age.
    """
    older = snapshots[:-KEPT_NEWEST]
    keep = set()
    seen = set()
    for number, time_us in reversed(older):
        step = next(step for age, step in _LADDER if now_us - time_us <= age)
        bucket = (step, time_us // step)
        if bucket not in seen:
            seen.add(bucket)
            keep.add(number)
    return [number for number, _ in older if number not in keep]
