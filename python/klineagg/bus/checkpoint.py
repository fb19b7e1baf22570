"""Where a resumable subscriber is, in a file."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from klineagg import errors

__all__ = ["Checkpoint"]

_SEEN_BYTES = 4096


def _positions_of(text: str) -> dict[str, int]:
    """What bus::Checkpoint takes, too. Raises ValueError for anything else."""
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise ValueError(text[:20]) from error
    if not isinstance(found, dict):
        raise ValueError(found)
    for next_ in found.values():
        # A truth value is an int as well, and int() would take "12" and 1.5.
        if type(next_) is not int or not 0 <= next_ < 1 << 64:
            raise ValueError(next_)
    return found


class Checkpoint:
    """Positions in a file, replaced as a whole: a crash leaves the old ones or the new ones.

    Args:
        path: the file; beside it, ``<path>.seen`` has what was handed out since, for the marks.

    Raises:
        FileError: ``file_not_found``: its folder is not there.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        if not self._path.parent.is_dir():  # before anything is received that it cannot keep
            text = f"no checkpoint {self._path}: there is no folder {self._path.parent}"
            raise errors.make("file_not_found", text, path=str(self._path))
        self._seen_path = Path(f"{self._path}.seen")
        self._seen_file: int | None = None

    def __repr__(self) -> str:
        return f"Checkpoint({str(self._path)!r})"

    def load(self) -> dict[str, int]:
        """Publisher -> next sequence; empty when there is no file yet."""
        try:
            return _positions_of(self._path.read_text(encoding="ascii"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise errors.make(
                "file_format", f"{self._path} is no checkpoint", path=str(self._path)
            ) from error

    def save(self, positions: Mapping[str, int]) -> None:
        """On the disk when it returns."""
        draft = Path(f"{self._path}.new")
        with draft.open("w", encoding="ascii") as file:
            json.dump(dict(positions), file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def load_seen(self) -> dict[str, int]:
        """What was handed out at last, saved or not: what lies below may have had its effect."""
        with contextlib.suppress(OSError, ValueError):
            return _positions_of(self._seen_path.read_text(encoding="ascii"))
        return {}

    def save_seen(self, positions: Mapping[str, int]) -> None:
        """Survives the death of the process, not that of the machine: nothing is synced."""
        text = json.dumps(dict(positions)).encode("ascii")
        if len(text) > _SEEN_BYTES:
            return
        if self._seen_file is None:
            self._seen_file = os.open(self._seen_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # One page in one call: it is there as a whole or not at all.
        os.pwrite(self._seen_file, text.ljust(_SEEN_BYTES), 0)

    def close(self) -> None:
        """Closes the file of marks."""
        if self._seen_file is not None:
            os.close(self._seen_file)
            self._seen_file = None
