"""Inputs that can be read only once, whose beginning is read again: pipes and standard input."""

from __future__ import annotations

import io
import os
import stat
import tempfile
from typing import IO, Any, Final

__all__ = ["Held", "is_once"]

_KEPT_IN_MEMORY: Final = 1 << 20
# What a file is must not hang on how much of it the other side has written so far.
_HEAD_BYTES: Final = 1 << 12


def is_once(path: str | os.PathLike[str]) -> bool:
    """Whether a second look at a path would not find what the first one has read.

    Standard input, named pipes, and the pipes that shells make of ``<(...)``.
    """
    if os.fspath(path) == "-":
        return True
    try:
        mode = os.stat(path).st_mode
    except OSError:  # opening it will tell
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode)


class Held(os.PathLike[str]):
    """A look at such an input, and then a whole reading of it.

    What the look reads is kept, in a file where it is much, and comes again in front of the rest.

    Args:
        path: how it was named.
        raw: its bytes.
    """

    def __init__(self, path: str | os.PathLike[str], raw: IO[bytes]) -> None:
        self._path = os.fspath(path)
        self._raw = raw
        self._kept: IO[bytes] = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - see close()
            _KEPT_IN_MEMORY, prefix="klineagg-"
        )

    def __fspath__(self) -> str:
        return self._path

    def reading(self, *, again: bool) -> io.RawIOBase:
        """All of it from its beginning.

        Args:
            again: whether there will be another one, for which this one keeps what it reads.
        """
        return _Reading(self, again)

    def close(self) -> None:
        """Lets go of what was kept; the input itself stays open."""
        self._kept.close()

    def read(self, at: int, size: int, *, keep: bool) -> bytes:
        """Up to ``size`` bytes from the place ``at``, of what was kept or of the input; at the end
        none.
        """
        self._kept.seek(at)
        if found := self._kept.read(size):
            return found
        reader: Any = self._raw
        read = reader.read1 if hasattr(reader, "read1") else reader.read
        while new := read(size - len(found)):
            found += new
            if at + len(found) >= _HEAD_BYTES or len(found) == size:
                break
        if keep:
            self._kept.write(found)
        return found


class _Reading(io.RawIOBase):
    """One reading; closing it, as buffers do that are left alone, closes nothing else."""

    def __init__(self, held: Held, keep: bool) -> None:
        super().__init__()
        self._held = held
        self._keep = keep
        self._at = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer with the next bytes; 0 at the end."""
        found = self._held.read(self._at, len(buffer), keep=self._keep)
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)
