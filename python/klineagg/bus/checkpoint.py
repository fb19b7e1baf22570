"""Where a resumable subscriber is, in a file."""

from __future__ import annotations

import os
from collections.abc import Mapping

from klineagg import _core
from klineagg.bus._checks import positions_of

__all__ = ["Checkpoint"]


class Checkpoint:
    """Positions in a file, replaced as a whole: a crash leaves the old ones or the new ones.

    Args:
        path: the file; beside it, ``<path>.seen`` has what was handed out since, for the marks.

    Raises:
        FileError: ``file_not_found``: its folder is not there.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._core = _core.BusCheckpoint(self._path)

    def __repr__(self) -> str:
        return f"Checkpoint({self._path!r})"

    def load(self) -> dict[str, int]:
        """Publisher -> next sequence; empty when there is no file yet.

        Raises:
            FileError: ``file_format``: it is no checkpoint.
            WalError: ``wal_io``: the system does not give it.
        """
        return self._core.load()

    def save(self, positions: Mapping[str, int]) -> None:
        """On the disk when it returns.

        Raises:
            WalError: ``wal_io``: the system does not take it.
        """
        self._core.save(positions_of(positions))

    def load_seen(self) -> dict[str, int]:
        """What was handed out at last, saved or not: what lies below may have had its effect."""
        return self._core.load_seen()

    def save_seen(self, positions: Mapping[str, int]) -> None:
        """Survives the death of the process, not that of the machine: nothing is synced."""
        self._core.save_seen(positions_of(positions))
