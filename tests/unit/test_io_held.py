"""What can be read once: a look at it, and then all of it."""

from __future__ import annotations

import io
from pathlib import Path

from klineagg.io.held import Held, is_once

DATA = bytes(range(256)) * 8192  # more than is kept in memory


class Pipe(io.RawIOBase):
    """Gives a few bytes at a time, and cannot be sought."""

    def __init__(self) -> None:
        self._data = io.BytesIO(DATA)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        part = self._data.read(min(len(buffer), 999))
        buffer[: len(part)] = part
        return len(part)


def test_what_a_look_has_read_comes_again() -> None:
    for looked in (0, 1, 5000, len(DATA) // 2, len(DATA) + 1):
        held = Held("pipe", io.BufferedReader(Pipe(), 100))
        assert io.BufferedReader(held.reading(again=True)).read(looked) == DATA[:looked]
        assert io.BufferedReader(held.reading(again=True)).read(7) == DATA[:7]
        assert io.BufferedReader(held.reading(again=False)).read() == DATA
        held.close()


def test_the_beginning_comes_whole() -> None:
    held = Held("pipe", io.BufferedReader(Pipe(), 100))
    head = io.BufferedReader(held.reading(again=True), 1 << 16).peek(4096)
    assert head[:4096] == DATA[:4096]
    assert len(held.reading(again=False).read(100) or b"") == 100


def test_what_can_be_read_once(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    for path, once in (("-", True), (tmp_path / "a", False), (tmp_path, False), ("none", False)):
        assert is_once(path) is once
