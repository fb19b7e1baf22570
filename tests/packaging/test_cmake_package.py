"""The core as a C++ library: installed, found by find_package, linked, and right."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LISTS = """
cmake_minimum_required(VERSION 3.22)
project(user LANGUAGES CXX)
find_package(klineagg 0.1 REQUIRED)
add_executable(user user.cpp)
target_link_libraries(user PRIVATE klineagg::core)
"""

USER = """
#include <iostream>
#include "klineagg/interval.hpp"

int main() {
    klineagg::Span span;
    klineagg::Interval::parse("1m").locate(61 * klineagg::NS_PER_SECOND, span);
    std::cout << span.open << ' ' << span.close;
}
"""

EXAMPLE_PRINTS = """\
4 trades, 4 closed bars
symbol 0 interval 0 close 42285.00 volume 0.75
symbol 1 interval 0 close 2281.25 volume 2.00
symbol 0 interval 1 close 42285.00 volume 0.75
symbol 1 interval 1 close 2281.25 volume 2.00
"""

BUS_EXAMPLE_PRINTS = """\
quote 1: 27500.0 27500.5
quote 2: 27500.0 27500.5
quote 3: 27500.0 27500.5
3, then 2 resumed
2 at once
3 in the history from 2 to 4
0 lost
"""


def cmake(*arguments: str | Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "cmake", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.slow
def test_a_project_finds_and_links_the_core(project: Path, tmp_path: Path) -> None:
    pytest.importorskip("cmake", reason="the Python package cmake is not installed")
    build, prefix, user = tmp_path / "build", tmp_path / "prefix", tmp_path / "user"
    python = f"-DPython_EXECUTABLE={sys.executable}"
    cmake("-S", project, "-B", build, f"-DCMAKE_INSTALL_PREFIX={prefix}", python)
    cmake("--build", build)
    cmake("--install", build)
    user.mkdir()
    (user / "CMakeLists.txt").write_text(LISTS)
    (user / "user.cpp").write_text(USER)
    cmake("-S", user, "-B", user / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
    cmake("--build", user / "build")
    run = subprocess.run([user / "build" / "user"], capture_output=True, text=True, check=True)
    assert run.stdout == "60000000000 120000000000"

    example = tmp_path / "example"
    cmake("-S", project / "cpp" / "examples", "-B", example, f"-DCMAKE_PREFIX_PATH={prefix}")
    cmake("--build", example)
    run = subprocess.run([example / "live_engine"], capture_output=True, text=True, check=True)
    assert run.stdout == EXAMPLE_PRINTS
    run = subprocess.run([example / "bus_topic"], capture_output=True, text=True, check=True)
    assert run.stdout == BUS_EXAMPLE_PRINTS
