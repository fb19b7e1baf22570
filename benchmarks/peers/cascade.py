"""Which interval is rolled up from which, for peers that run one query after another."""

from __future__ import annotations

from benchmarks.workload import interval_ns


def sources(intervals: tuple[str, ...]) -> dict[str, str | None]:
    """For each interval, finest first, the coarsest finer one that divides it; None: the trades."""
    found: dict[str, str | None] = {}
    for text in sorted(intervals, key=interval_ns):
        finer = [known for known in found if interval_ns(text) % interval_ns(known) == 0]
        found[text] = max(finer, key=interval_ns) if finer else None
    return found
