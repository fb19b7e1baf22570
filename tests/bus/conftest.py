"""A bus of its own for each test."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from klineagg.bus import Bus


@pytest.fixture
def folder() -> Iterator[str]:
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as path:
        yield path


@pytest.fixture
def bus(folder: str) -> Bus:
    return Bus(folder)
