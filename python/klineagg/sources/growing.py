"""A CSV file that somebody else appends to."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final

from klineagg.io.roles import Wanted
from klineagg.io.sniff import Layout, sniff
from klineagg.sources.base import Batch, Source
from klineagg.sources.lines import CsvLines

__all__ = ["Growing", "Place", "fingerprint"]

_BLOCK_BYTES: Final = 1 << 21
# Enough for a header and the stamps of some trades, which no other file begins with.
_HEAD_BYTES: Final = 4_096
_SNIFF_BYTES: Final = 1 << 16


def fingerprint(file: IO[bytes], size: int) -> str:
    """What the first ``size`` bytes are known by."""
    file.seek(0)
    head = file.read(size)
    file.seek(0)
    return hashlib.sha256(head).hexdigest()[:32] if size else ""


@dataclass
class Place:
    """How far a file was read, and how to know it again.

    Attributes:
        name: of the last time it was seen, without its folder.
        dev: device, likewise.
        ino: inode, likewise; 0 when the file has other contents now.
        offset: bytes of whole lines that were read, of a CSV file.
        rows: trades that were read, of other files.
        head: fingerprint of its beginning.
        head_bytes: length of that.
        number: of this place among all.
        state: size and time of change when it was read to its end.
    """

    name: str = ""
    dev: int = 0
    ino: int = 0
    offset: int = 0
    rows: int = 0
    head: str = ""
    head_bytes: int = 0
    number: int = 0
    state: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.state is not None:
            self.state = (self.state[0], self.state[1])  # JSON has lists only

    def copy(self) -> Place:
        """As it is now."""
        return replace(self)

    def to_json(self) -> dict[str, Any]:
        """Its fields that are set."""
        return {key: value for key, value in vars(self).items() if value}


class Growing:
    """Reads whole lines from where it has come to.

    Args:
        file: open, and kept open: a file that is renamed or removed is read to its end.
        place: where to begin; it moves along.
        anew: gives another place when the file has other contents.
        wanted: what the user says about the columns.
        source: is told of bad rows.
        folder: that it is in.

    Attributes:
        place: where it has come to; another object each time.
        has_rest: it ends in a line that is not complete.
        grown_at: when there was something new the last time, by the clock of ``time.monotonic``.
    """

    def __init__(
        self,
        file: IO[bytes],
        place: Place,
        anew: Callable[[Place], Place],
        wanted: Wanted,
        source: Source,
        folder: Path,
    ) -> None:
        self.place, self.has_rest = place, False
        self.grown_at = time.monotonic()
        self._file, self._anew = file, anew
        self._wanted, self._source, self._folder = wanted, source, folder
        self._offset = place.offset  # of what was read; its rows may not have been given yet
        self._lines = self._new_lines()

    def _new_lines(self) -> CsvLines:
        layout = self._layout() if self._offset else None
        name = self.place.name
        label = str(self._folder / name)
        return CsvLines(label, self._wanted, self._source, names=(name,), layout=layout)

    def _layout(self) -> Layout | None:
        """As it was found out when its beginning was read."""
        self._file.seek(0)
        name = self.place.name
        head = self._file.read(_SNIFF_BYTES)
        return sniff(head, str(self._folder / name), self._wanted, (name,))

    def read(self, *, final: bool) -> Iterator[Batch]:
        """What is new; ``final``: nobody will add to it, a last line without an end is one too."""
        size = os.fstat(self._file.fileno()).st_size
        if size < self._offset or self._is_rewritten(size):
            self._begin_anew()
        if size == self._offset and not final:
            self.has_rest = False
            return
        while True:
            self._file.seek(self._offset)
            data = self._file.read(_BLOCK_BYTES)
            end = data.rfind(b"\n") + 1
            last = len(data) < _BLOCK_BYTES
            self.has_rest = last and end < len(data)
            if last and final:
                end = len(data)
            if end:
                self.grown_at = time.monotonic()
                self._offset += end
            whole = data[:end]
            if whole or (final and last):
                yield from self._give(whole, final=final and last)
            if last or not end:
                return

    def _give(self, data: bytes, *, final: bool) -> Iterator[Batch]:
        given = list(self._lines.feed(data, final=final))
        if not self._lines.is_known:
            return
        # Rows of one block are given together: the place moves over whole blocks only.
        self._move()
        if given:
            rows = sum(rows for _, rows in given)
            yield Batch([columns for columns, _ in given], rows, self.place)

    def _move(self) -> None:
        place = self.place = self.place.copy()
        place.offset = self._offset
        if place.head_bytes < _HEAD_BYTES:
            place.head_bytes = min(self._offset, _HEAD_BYTES)
            place.head = fingerprint(self._file, place.head_bytes)

    def _is_rewritten(self, size: int) -> bool:
        """Truncated and filled again between two looks: its beginning is another."""
        if size == self._offset or not self.place.head_bytes:
            return False
        return fingerprint(self._file, self.place.head_bytes) != self.place.head

    def _begin_anew(self) -> None:
        self.place = self._anew(self.place)
        self._offset = 0
        self._lines = self._new_lines()

    def stat(self) -> os.stat_result:
        """Of the open file."""
        return os.fstat(self._file.fileno())

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
