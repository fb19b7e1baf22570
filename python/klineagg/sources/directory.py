"""A directory that is followed: files that come, and CSV files that grow."""

from __future__ import annotations

import fnmatch
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from klineagg import errors
from klineagg.io.arrow import format_of
from klineagg.io.roles import Wanted
from klineagg.sources.base import Batch, Source
from klineagg.sources.files import rows_of
from klineagg.sources.growing import Growing, Place, fingerprint

__all__ = ["DirectorySource"]

_PACKED: Final = (b"\x1f\x8b", b"PK\x03\x04", b"PK\x05\x06", b"\x28\xb5\x2f\xfd")
# Written by tools for themselves, or not complete yet.
_IGNORED: Final = (".tmp", ".part", ".swp", "~")
_OPEN_MAX: Final = 256


class DirectorySource(Source):
    """Follows a folder (not the folders in it).

    CSV files are read as they grow, up to the last whole line; other formats once they have not
    changed for ``settle_s``. New files are read by name. A file that is renamed, or moved away or
    removed while it is open, is read to its end; one that is written anew is read anew.

    Args:
        folder: to follow.
        wanted: what the user says about the columns.
        pattern: names of the files to read.
        poll_s: how often it is looked at.
        settle_s: how long a packed file has to be unchanged.
        position: of an earlier run.

    Raises:
        FileError: ``file_not_found`` when there is no such folder.
    """

    def __init__(
        self,
        folder: Path,
        wanted: Wanted,
        *,
        pattern: str = "*",
        poll_s: float = 0.2,
        settle_s: float = 1.0,
        position: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if not folder.is_dir():
            raise errors.make("file_not_found", f"there is no folder {folder}", file=str(folder))
        self.folder, self.pattern = folder, pattern
        self.poll_s, self.settle_s = poll_s, settle_s
        self._wanted = wanted
        self._growing: dict[tuple[int, int], Growing] = {}
        self._failed: dict[str, tuple[int, int]] = {}
        self._places: dict[int, Place] = {}  # by number: of what was given out
        self._committed: dict[int, Place] = {}  # of what was taken over
        self._there: set[tuple[int, int]] = set()
        if position is not None:
            self.faults = dict(position.get("faults", {}))
            for values in position.get("files", []):
                place = Place(**values)
                self._places[place.number] = place
            self._committed = dict(self._places)

    @property
    def idle_s(self) -> float:
        """How often the folder is looked at."""
        return self.poll_s

    def batches(self) -> Iterator[Batch | None]:
        """Rows as they come, without end."""
        while not self._stopping:
            found = False
            for batch in self._look():
                found = True
                yield batch
                if self._stopping:
                    return
            if not found:
                yield None

    def done(self, batch: Batch) -> None:
        """The batch was taken over."""
        self._committed[batch.mark.number] = batch.mark

    def position(self) -> dict[str, Any] | None:
        """Every file: how far it was read, and how to know it again."""
        files = [place.to_json() for place in self._committed.values()]
        return {"kind": "directory", "files": files, "faults": dict(self.faults)}

    def describe(self) -> dict[str, Any]:
        """Files and bytes."""
        return {
            "folder": str(self.folder),
            "files": len(self._committed),
            "open": len(self._growing),
            "unfinished_lines": sum(each.has_rest for each in list(self._growing.values())),
            "faults": dict(self.faults),
        }

    def retime(self, poll_s: float, settle_s: float) -> None:
        """How often to look, and how long a packed file has to be unchanged."""
        self.poll_s, self.settle_s = poll_s, settle_s

    def close(self) -> None:
        """Closes what is open."""
        for each in self._growing.values():
            each.close()
        self._growing.clear()

    # -- one look --------------------------------------------------------------------------------

    def _look(self) -> Iterator[Batch]:
        there = self._scan()
        self._there = set(there)
        for identity, growing in list(self._growing.items()):
            if identity in there:
                growing.place.name = there[identity][0]
            yield from self._read(identity, growing, gone=identity not in there)
        for identity, (name, state) in sorted(there.items(), key=lambda item: item[1][0]):
            if identity in self._growing or self._failed.get(name) == state:
                continue
            if self._is_wanted(identity, name, state):
                yield from self._open(identity, name, state)
        self._close_idle()

    def _scan(self) -> dict[tuple[int, int], tuple[str, tuple[int, int]]]:
        """Identity -> name and state of each file."""
        found = {}
        try:
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or entry.name.endswith(_IGNORED):
                        continue
                    with suppress(FileNotFoundError):  # removed since
                        if entry.is_file():
                            stat = entry.stat()
                            state = stat.st_size, stat.st_mtime_ns
                            found[stat.st_dev, stat.st_ino] = entry.name, state
        except FileNotFoundError as error:
            text = f"the folder {self.folder} is gone"
            raise errors.make("source_failed", text, file=str(self.folder)) from error
        return found

    def _is_wanted(self, identity: tuple[int, int], name: str, state: tuple[int, int]) -> bool:
        """A new file with a fitting name, or a known one, renamed or not, with something new."""
        for place in self._places.values():
            if (place.dev, place.ino) == identity:
                return place.state != state
        return fnmatch.fnmatch(name, self.pattern)

    def _read(self, identity: tuple[int, int], growing: Growing, *, gone: bool) -> Iterator[Batch]:
        try:
            for batch in growing.read(final=gone):
                self._places[growing.place.number] = growing.place
                yield batch
        except errors.KlineaggError as error:
            gone = True
            stat = growing.stat()
            self._fail(growing.place.name, (stat.st_size, stat.st_mtime_ns), error)
        self._places[growing.place.number] = growing.place
        if gone:
            growing.close()
            del self._growing[identity]

    def _open(
        self, identity: tuple[int, int], name: str, state: tuple[int, int]
    ) -> Iterator[Batch]:
        path = self.folder / name
        with ExitStack() as stack:
            try:
                file = stack.enter_context(path.open("rb"))
            except OSError:
                return  # gone, or not ours to read yet: the next look will tell
            stat = os.fstat(file.fileno())
            if (stat.st_dev, stat.st_ino) != identity:
                return
            place = self._known(name, file, stat)
            head = file.read(8)
            if head.startswith(_PACKED) or format_of(head) is not None:
                yield from self._whole(path, place, state)
                return
            try:
                growing = Growing(file, place, self._anew, self._wanted, self, self.folder)
            except errors.KlineaggError as error:
                self._fail(name, state, error)
                return
            stack.pop_all()  # it stays open
        self._growing[identity] = growing
        yield from self._read(identity, growing, gone=False)

    def _known(self, name: str, file: Any, stat: os.stat_result) -> Place:
        """How far it was read, whatever it was called then; from the beginning if it is new."""
        identity = stat.st_dev, stat.st_ino

        def kinship(place: Place) -> int:
            if (place.dev, place.ino) == identity:
                return 0  # a rotated file has another name, and another file has its name
            if place.name == name:
                return 1  # written anew with the old contents, or copied with its folder
            # What was copied away before the file was emptied.
            return 2 if (place.dev, place.ino) not in self._there and place.head_bytes else 3

        for place in sorted(self._places.values(), key=kinship):
            if kinship(place) == 3:
                break
            same = stat.st_size >= place.offset
            if same and fingerprint(file, place.head_bytes) == place.head:
                return self._place(replace(place, name=name, dev=identity[0], ino=identity[1]))
        number = max(self._places, default=0) + 1
        return self._place(Place(name=name, dev=identity[0], ino=identity[1], number=number))

    def _place(self, place: Place) -> Place:
        self._places[place.number] = place
        return place

    def _anew(self, old: Place) -> Place:
        """The file has other contents; the old ones may turn up under another name."""
        self._place(replace(old, ino=0))
        number = max(self._places) + 1
        return self._place(Place(name=old.name, dev=old.dev, ino=old.ino, number=number))

    def _whole(self, path: Path, place: Place, state: tuple[int, int]) -> Iterator[Batch]:
        """A file that cannot be read before it is complete."""
        if time.time_ns() - state[1] < self.settle_s * 1e9:
            return
        try:
            for data, rows in rows_of(path, self._wanted, place.rows, self):
                place = self._place(replace(place, rows=place.rows + rows))
                yield Batch(data, rows, place)
        except errors.KlineaggError as error:
            self._fail(path.name, state, error)
            return
        # Of a file that is read again after a restart, all rows are skipped.
        place = self._place(replace(place, state=state))
        if place.number in self._committed:
            self._committed[place.number] = place

    def _fail(self, name: str, state: tuple[int, int], error: errors.KlineaggError) -> None:
        """A file that cannot be read does not end the others; a changed one is tried again."""
        import logging

        self._failed[name] = state
        self.count(f"file_{error.name.removeprefix('file_')}", where=error)
        logging.getLogger("klineagg.source").error("left out: %s", error)

    def _close_idle(self) -> None:
        """Bounds the number of open files; those closed are found again by their place."""
        if len(self._growing) <= _OPEN_MAX:
            return
        idle = sorted(self._growing.items(), key=lambda item: item[1].grown_at)
        for identity, growing in idle[: len(self._growing) - _OPEN_MAX]:
            stat = growing.stat()
            if stat.st_size == growing.place.offset:
                self._place(replace(growing.place, state=(stat.st_size, stat.st_mtime_ns)))
            growing.close()
            del self._growing[identity]
