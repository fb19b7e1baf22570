"""Compiles the native peers into the cache directory, once for each state of their sources."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.peer import PeerUnavailable
from benchmarks.workload import cache_dir

NATIVE: Final = Path(__file__).parent / "native"
CXX_FLAGS: Final = ("-std=c++20", "-O3", "-march=native", "-ffp-contract=off", "-shared", "-fPIC")
_BUILD_SECONDS_MAX: Final = 300


def cxx() -> str:
    """The C++ compiler: $CXX, else the first of c++, g++ and clang++ that is installed."""
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        if name and shutil.which(name):
            return name
    raise PeerUnavailable("no C++ compiler is installed")


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_BUILD_SECONDS_MAX, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerUnavailable(f"{command[0]} did not run: {error}") from error
    if done.returncode != 0:
        tail = " | ".join(done.stderr.strip().splitlines()[-2:])
        raise PeerUnavailable(f"{Path(command[0]).name} failed: {tail}")
    return done.stdout


def first_line(command: list[str]) -> str:
    """The first line that a command prints (its version, usually)."""
    return _run(command).strip().splitlines()[0]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def cxx_library() -> Path:
    """Compile native/bars.cpp; the path of the shared library."""
    source = NATIVE / "bars.cpp"
    compiler = cxx()
    tag = _digest(source.read_text(), first_line([compiler, "--version"]), *CXX_FLAGS)
    built = cache_dir() / f"bars-{tag}.so"
    if not built.exists():
        with tempfile.TemporaryDirectory(dir=cache_dir()) as scratch:
            target = Path(scratch) / "bars.so"
            _run([compiler, *CXX_FLAGS, str(source), "-o", str(target)])
            target.rename(built)
    return built


def rust_library() -> Path:
    """Build native/rust with cargo, which fetches two crates; the path of the shared library."""
    if shutil.which("cargo") is None:
        raise PeerUnavailable("cargo is not installed")
    project = NATIVE / "rust"
    sources = [project / "Cargo.toml", *sorted((project / "src").glob("*.rs"))]
    tag = _digest(*(path.read_text() for path in sources), first_line(["cargo", "--version"]))
    built = cache_dir() / f"rust-{tag}.so"
    if not built.exists():
        # Built from a copy: cargo writes its lock file beside the manifest.
        copy = cache_dir() / "rust-project"
        shutil.copytree(project, copy, dirs_exist_ok=True)
        manifest = ["--manifest-path", str(copy / "Cargo.toml")]
        target = cache_dir() / "rust-target"
        _run(["cargo", "build", "--release", *manifest, "--target-dir", str(target)])
        for name in ("libbench_peers.so", "libbench_peers.dylib"):
            if (target / "release" / name).exists():
                shutil.copy(target / "release" / name, built)
    if not built.exists():
        raise PeerUnavailable("cargo built no library that is known here")
    return built


def java_library(group: str, artifact: str, version: str) -> Path:
    """A Java library that Maven fetches into the cache directory."""
    name = f"{artifact}-{version}.jar"
    if not (cache_dir() / name).exists():
        with tempfile.TemporaryDirectory(dir=cache_dir()) as scratch:
            wanted = [f"-Dartifact={group}:{artifact}:{version}", f"-DoutputDirectory={scratch}"]
            _run(["mvn", "--batch-mode", "--quiet", "dependency:copy", *wanted])
            (Path(scratch) / name).rename(cache_dir() / name)
    return cache_dir() / name
