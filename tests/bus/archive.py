"""A history of the tests: a file of records for each publisher, written before they are sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bus.records import CHECKED, checked
from klineagg.bus import Publisher
from klineagg.bus._waiting import Records


class Archive:
    """Record ``n`` of a publisher stands at ``(n - 1) * record size`` of its file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, publisher: str) -> Path:
        return self._folder / f"{publisher}.records"

    def publishers(self) -> list[str]:
        return sorted(path.stem for path in self._folder.glob("*.records"))

    def read(self, publisher: str, start: int, end: int | None) -> Iterator[Records]:
        size = CHECKED.dtype.itemsize
        with self.path(publisher).open("rb") as file:
            while end is None or start < end:
                file.seek((start - 1) * size)
                wanted = 500 if end is None else min(500, end - start)
                data = file.read(wanted * size)
                records = np.frombuffer(data[: len(data) // size * size], CHECKED.dtype)
                if len(records) == 0:
                    return
                yield records
                start += len(records)


def publish_archived(archive: Archive, publisher: Publisher, count: int) -> None:
    """As a publisher with a log does: first there, then on the bus."""
    records = checked(publisher.next_sequence, count)
    records["sequence"] = records["number"]
    records["publisher"] = publisher.name.encode()
    with archive.path(publisher.name).open("ab") as file:
        file.write(records.tobytes())
    publisher.publish(records)
