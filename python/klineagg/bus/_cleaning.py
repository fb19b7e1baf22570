"""Removing what is left of topics and publishers that nobody needs any more."""

from __future__ import annotations

from klineagg import _core
from klineagg.bus._checks import nanoseconds

__all__ = ["Cleaning"]


class Cleaning:
    """The part of a :class:`klineagg.bus.Bus` that removes files."""

    _path: str
    _group: int

    def topics(self) -> list[str]:
        """Topics that anybody has opened, and nobody has removed, sorted."""
        return _core.bus_topics(self._path, self._group)

    def remove_orphans(self, topic: str, *, older_than: float = 0.0) -> int:
        """Removes the segments of publishers that died longer ago than so many seconds.

        Returns:
            How many files were removed. Where a sequence goes on is kept.
        """
        age_ns = nanoseconds(older_than, "older_than")
        if topic not in self.topics():
            return 0  # opening it would make it
        return _core.BusTopic(self._path, self._group, topic).remove_orphans(age_ns)

    def clean(self, *, older_than: float = 60.0, forget: float | None = None) -> int:
        """Removes what nobody needs any more, of all topics; publishers do so when they start.

        That are segments of publishers that have been dead for so long, what was left half made,
        and topics without publishers that nobody has open.

        Args:
            older_than: seconds since the publishers' end.
            forget: where the sequences of removed publishers go on is forgotten after so many
                seconds, in topics that nobody has open: the next of their names begin anew, and
                who resumes at an old position is told so (``resume_ahead``). None: never.

        Returns:
            How many files were removed.
        """
        age_ns = nanoseconds(older_than, "older_than")
        note_ns = None if forget is None else nanoseconds(forget, "forget")
        removed = _core.bus_clean(self._path, self._group, age_ns)
        if note_ns is not None:
            removed += _core.bus_forget(self._path, self._group, note_ns)
        return removed
