"""The build backend: scikit-build-core, plus Boost's headers where they are needed and missing.

The package ``boost-headers`` is large, so it is no fixed build requirement: it is asked for only
when the core includes Boost and the compiler does not find it on the system.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from scikit_build_core import build as _base
from scikit_build_core.build import (
    build_editable,
    build_sdist,
    build_wheel,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

_ROOT = Path(__file__).resolve().parents[2]
_BUILT_DIRECTORIES = ("cpp/include", "cpp/src", "cpp/bindings")
_PROBE = b"#include <boost/lockfree/spsc_queue.hpp>\n"


def _core_includes_boost() -> bool:
    return any(
        b"#include <boost/" in path.read_bytes()
        for directory in _BUILT_DIRECTORIES
        for path in (_ROOT / directory).rglob("*.?pp")
    )


def _system_has_boost() -> bool:
    compiler = os.environ.get("CXX", "").split() or [
        next(filter(shutil.which, ("c++", "g++", "clang++")), "c++")
    ]
    places = [os.environ.get(name) for name in ("BOOST_INCLUDEDIR", "BOOST_ROOT")]
    places += [f"{place}/include" for place in places if place]
    includes = [f"-I{place}" for place in places if place]
    try:
        probe = subprocess.run(
            [*compiler, *includes, "-std=c++20", "-fsyntax-only", "-x", "c++", "-"],
            input=_PROBE,
            capture_output=True,
            check=False,
        )
    except OSError:
        # No compiler: CMake says so better than a missing header would.
        return True
    return probe.returncode == 0


def _boost() -> list[str]:
    return ["boost-headers"] if _core_includes_boost() and not _system_has_boost() else []


def get_requires_for_build_wheel(config_settings: dict[str, Any] | None = None) -> list[str]:
    return [*_base.get_requires_for_build_wheel(config_settings), *_boost()]


def get_requires_for_build_editable(config_settings: dict[str, Any] | None = None) -> list[str]:
    return [*_base.get_requires_for_build_editable(config_settings), *_boost()]
