"""Rows that were left out: a run tells of them, and does not take them for a success."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from klineagg import errors

if TYPE_CHECKING:
    from klineagg.engine import Engine
    from klineagg.sources import Source

__all__ = ["LeftOut"]

_TELL_S: Final = 30.0
# The engine's counts cost as much as a small batch: once a second is enough for a line in the log.
_LOOK_S: Final = 1.0
_log: Final = logging.getLogger("klineagg.run")


class LeftOut:
    """Counts what the source could not read and what the engine has rejected, of this run alone.

    Args:
        engine: with the counts of earlier runs, if it goes on.
        source: likewise.
    """

    def __init__(self, engine: Engine, source: Source) -> None:
        self._engine, self._source = engine, source
        self._before: dict[str, int] = {}
        self._before = self.counts()
        self._told = 0
        self._next = 0.0  # when it is looked at again

    def counts(self) -> dict[str, int]:
        """How many, by reason."""
        out = dict(self._source.faults)
        for reason, count in self._engine.counts().rejected.items():
            out[reason] = out.get(reason, 0) + count
        left = {name: count - self._before.get(name, 0) for name, count in out.items()}
        return {name: count for name, count in left.items() if count > 0}

    def look(self, *, final: bool = False) -> None:
        """Tells of those that are new: at most a line in half a minute, and one at the end."""
        now = time.monotonic()
        if not final and now < self._next:
            return
        counts = self.counts()
        total = sum(counts.values())
        self._next = now + (_TELL_S if total > self._told else _LOOK_S)
        if total > self._told:
            self._told = total
            _log.warning("%s left out%s", self._text(counts), "" if final else " so far")

    def check_any(self, taken: int) -> None:
        """At the end of the source.

        Raises:
            SourceError: ``source_failed``: there were rows, and none of them was taken. The end of
                such a run is no success: its columns or its format are not what was said.
        """
        counts = self.counts()
        if taken or not counts or self._source.goes_on:
            return
        text = f"the source has ended, and no row of it could be used: {self._text(counts)}"
        hint = "compare the rows with [source] format, columns and unit"
        raise errors.make("source_failed", text, hint=hint, rejected=sum(counts.values()))

    def _text(self, counts: dict[str, int]) -> str:
        total = sum(counts.values())
        reasons = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        first = self._source.first_fault
        return f"{total:,} rows ({reasons}{f'; the first: {first}' if first else ''})"
