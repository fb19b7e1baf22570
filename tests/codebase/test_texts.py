"""The project speaks of itself alone: no places of one machine, no hosts of registries."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from codebase.tree import ROOT, files, text

BINARY = {".npz", ".npy", ".parquet", ".png", ".gz", ".zst", ".zip", ".arrow", ".ws"}

# Absolute paths that exist on the machine of whoever wrote them only.
MACHINE_PATH = re.compile(r"(?<![\w.:$}])/(?:work|root|home|Users|opt/wheels|tmp)/[\w.]")
URL = re.compile(r"https?://([\w.-]+)")
HOSTS = {"127.0.0.1", "localhost", "www.apache.org", "www.w3.org"}
# Where packages come from is the business of the tools' settings.
REGISTRY = re.compile(r"\b(?:pypi|pythonhosted|crates|npmjs|debian|anaconda)\.(?:org|io|com)\b")


def lines() -> Iterator[tuple[str, str]]:
    for path in files():
        if path.suffix not in BINARY:
            for number, line in enumerate(text(path).splitlines(), 1):
                yield f"{path}:{number}", line


def test_there_are_lines_to_look_at() -> None:
    assert sum(1 for _ in lines()) > 1_000


@pytest.mark.parametrize("pattern", [MACHINE_PATH, REGISTRY], ids=["machine", "registry"])
def test_no_line_names_a_place_outside(pattern: re.Pattern[str]) -> None:
    assert [f"{where}: {line.strip()}" for where, line in lines() if pattern.search(line)] == []


def test_urls_point_to_known_hosts() -> None:
    wrong = [
        f"{where}: {host}"
        for where, line in lines()
        for host in URL.findall(line)
        if host not in HOSTS
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("see /ho" + "me/anna/data", True),
        ("cd /wo" + "rk/main", True),
        ("the network/work/plan", False),
        ("the rate is 3/work/hour", False),
        ("${ROOT}/work/x", False),
    ],
)
def test_the_pattern_of_machine_paths(line: str, found: bool) -> None:
    assert (MACHINE_PATH.search(line) is not None) == found


def test_scripts_can_be_run() -> None:
    scripts = [p for p in files() if text_starts_with_shebang(p)]
    assert scripts
    assert [str(p) for p in scripts if not (ROOT / p).stat().st_mode & 0o100] == []


def text_starts_with_shebang(path: object) -> bool:
    with (ROOT / str(path)).open("rb") as file:
        return file.read(2) == b"#!"
