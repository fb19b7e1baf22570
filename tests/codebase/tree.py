"""The files of the project, as the rules see them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Never part of the project, for trees without git (an unpacked source distribution).
_NOT_OURS = {"build", "dist", "__pycache__"}


@cache
def files() -> tuple[Path, ...]:
    """Every file that is tracked or could be, sorted, relative to the root."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0 and listed.stdout:
        names = map(os.fsdecode, listed.stdout.rstrip(b"\0").split(b"\0"))
        found = {Path(name) for name in names if (ROOT / name).is_file()}
    else:
        found = set(_walk())
    return tuple(sorted(found))


def _walk() -> Iterator[Path]:
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [f for f in folders if f not in _NOT_OURS and not f.startswith(".")]
        yield from ((Path(folder) / name).relative_to(ROOT) for name in names)


def sources(*suffixes: str, under: str = "") -> list[Path]:
    """The files with one of the suffixes, below a folder."""
    return [
        path for path in files() if path.suffix in suffixes and path.as_posix().startswith(under)
    ]


def text(path: Path) -> str:
    """The text of a file of the project."""
    return (ROOT / path).read_text(encoding="utf-8")
