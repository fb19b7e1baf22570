"""What the sequences of a publisher say: in order, repeated, out of order, or so many missing."""

from __future__ import annotations

from typing import Any

import numpy as np

from klineagg import _core

__all__ = ["SequenceTracker"]


class SequenceTracker:
    """Judges sequences of one publisher, however they came (ring, log, another transport).

    Args:
        next_sequence: the first one expected; None: the first one seen.
    """

    def __init__(self, next_sequence: int | None = None) -> None:
        self._core = _core.BusTracker(next_sequence)

    @property
    def next_sequence(self) -> int | None:
        """Above all that were seen."""
        return self._core.next_sequence

    @property
    def missing(self) -> list[tuple[int, int]]:
        """Sequences below it that have not come (yet), as half-open ranges ``[a, b)``."""
        return self._core.missing

    @property
    def missing_count(self) -> int:
        """How many are missing now."""
        return self._core.missing_count

    @property
    def complete_below(self) -> int:
        """All sequences below this one have come."""
        return self._core.complete_below

    @property
    def duplicates(self) -> int:
        """How many came that had come before."""
        return self._core.duplicates

    @property
    def out_of_order(self) -> int:
        """How many came late."""
        return self._core.out_of_order

    def __repr__(self) -> str:
        counts = f"{self.missing_count:,} missing, {self.duplicates:,} duplicates"
        return f"<SequenceTracker next {self.next_sequence}, {counts}>"

    def see(self, sequence: int) -> str:
        """Takes note of one message.

        Returns:
            ``"in_order"``, ``"gap"`` (it is new, messages before it are missing),
            ``"out_of_order"`` (it was missing, or is older than the first one expected) or
            ``"duplicate"``.
        """
        return self._core.see(sequence)

    def see_all(self, sequences: np.ndarray[Any, np.dtype[Any]]) -> np.ndarray[Any, Any]:
        """Takes note of many; bool array of shape ``(n,)``: which of them are no duplicates."""
        return self._core.see_all(sequences)
