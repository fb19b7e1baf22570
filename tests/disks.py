"""A small file system, and what fills it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOM = 6 << 20  # bytes


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few MiB of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    options = f"size={ROOM}"
    made = subprocess.run([mount, "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=False)
    if made.returncode != 0:
        pytest.skip("a small file system cannot be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def filled(place: Path, left: int) -> Path:
    """A file that leaves so much of a disk."""
    filler = place / "filler"
    stat = os.statvfs(place)
    size = max(stat.f_bavail * stat.f_frsize - left, 0)
    with filler.open("wb") as file:
        file.write(b"x" * size)
    return filler
