"""What the sequences of a publisher say: in order, repeated, out of order, or so many missing."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["SequenceTracker"]


# Older holes are given up: what comes of them after so many others counts as a duplicate.
_RANGES_MAX = 65_536


class SequenceTracker:
    """Judges sequences of one publisher, however they came (ring, log, another transport).

    Args:
        next_sequence: the first one expected; None: the first one seen.

    Attributes:
        next_sequence: above all that were seen.
        missing: sequences below it that have not come (yet), as half-open ranges ``[a, b)``.
    """

    def __init__(self, next_sequence: int | None = None) -> None:
        self.next_sequence = next_sequence
        self._first = next_sequence
        self._before: set[int] = set()
        self.missing: list[tuple[int, int]] = []
        self.duplicates = 0
        self.out_of_order = 0

    @property
    def missing_count(self) -> int:
        """How many are missing now."""
        return sum(end - start for start, end in self.missing)

    @property
    def complete_below(self) -> int:
        """All sequences below this one have come."""
        if self.missing:
            return self.missing[0][0]
        return 0 if self.next_sequence is None else self.next_sequence

    def see(self, sequence: int) -> str:
        """Takes note of one message.

        Returns:
            ``"in_order"``, ``"gap"`` (it is new, messages before it are missing),
            ``"out_of_order"`` (it was missing, or is older than the first one expected) or
            ``"duplicate"``.
        """
        expected = sequence if self.next_sequence is None else self.next_sequence
        if self._first is None:
            self._first = sequence
        if sequence >= expected:
            self.next_sequence = sequence + 1
            if sequence == expected:
                return "in_order"
            self.missing.append((expected, sequence))
            if len(self.missing) > _RANGES_MAX:
                del self.missing[0]
            return "gap"
        if self._first is not None and sequence < self._first and sequence not in self._before:
            # Sent before this one was there, and repeated: it has not had it.
            self._before.add(sequence)
            self.out_of_order += 1
            return "out_of_order"
        for i in range(len(self.missing) - 1, -1, -1):
            start, end = self.missing[i]
            if start <= sequence < end:
                rest = [(start, sequence), (sequence + 1, end)]
                self.missing[i : i + 1] = [part for part in rest if part[0] < part[1]]
                self.out_of_order += 1
                return "out_of_order"
        self.duplicates += 1
        return "duplicate"

    def see_all(self, sequences: np.ndarray[Any, np.dtype[Any]]) -> np.ndarray[Any, Any]:
        """Takes note of many; bool array of shape ``(n,)``: which of them are no duplicates."""
        count = len(sequences)
        new = np.ones(count, bool)
        if count == 0:
            return new
        first = int(sequences[0])
        whole = count == 1 or bool((np.diff(sequences.astype(np.int64)) == 1).all())
        if whole and self.next_sequence in (None, first):
            self.next_sequence = first + count
            if self._first is None:
                self._first = first
            return new
        for i, sequence in enumerate(sequences.tolist()):
            new[i] = self.see(sequence) != "duplicate"
        return new
