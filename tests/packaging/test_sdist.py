"""What a source distribution and an installation hold."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import tarfile
from pathlib import Path

BUILD = "import klineagg_backend as b, sys; print(b.build_sdist(sys.argv[1]))"


def test_the_source_distribution_has_what_a_build_needs(project: Path, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", BUILD, str(tmp_path)],
        cwd=project,
        env={"PYTHONPATH": str(project / "scripts" / "backend"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    archive = next(tmp_path.glob("klineagg-*.tar.gz"))
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    for folder in ("cmake", "cpp/include", "cpp/src", "cpp/bindings", "python"):
        there = {
            path.relative_to(project).as_posix()
            for path in (project / folder).rglob("*")
            if path.is_file() and not {"__pycache__"} & set(path.parts) and "cache" not in str(path)
        }
        assert there - names == set()
    assert {"CMakeLists.txt", "LICENSE", "README.md", "PKG-INFO"} <= names
    assert "scripts/backend/klineagg_backend.py" in names
    unwanted = ("build/", ".venv/", ".git/", "dist/")
    assert [n for n in names if n.startswith(unwanted) or "__pycache__" in n] == []


def test_an_installation_holds_the_package_and_nothing_else() -> None:
    files = importlib.metadata.files("klineagg")
    assert files is not None
    names = {file.as_posix() for file in files}
    strange = [
        name
        for name in names
        if not name.startswith(("klineagg/", "klineagg-")) and not name.endswith("bin/klineagg")
    ]
    assert strange == []
    assert {"klineagg/py.typed", "klineagg/__init__.py"} <= names
    assert any(name.startswith("klineagg/_core.") and name.endswith(".so") for name in names)


def test_numpy_is_the_only_hard_dependency() -> None:
    requires = importlib.metadata.requires("klineagg")
    assert requires is not None
    hard = [text for text in requires if "extra ==" not in text]
    assert [text.partition(">")[0] for text in hard] == ["numpy"]
