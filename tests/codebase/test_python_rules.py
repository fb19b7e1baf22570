"""The Python package: light imports, declared extras, stubs that match the module."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from hypothesis import settings

from codebase.tree import ROOT, sources, text

# Third-party packages that the top level of a module may import.
EAGER = {"numpy", "klineagg"}
# Of the standard library, what is too slow to load for a user who may never need it.
HEAVY = {
    "argparse", "asyncio", "concurrent.futures.process", "csv", "ctypes", "curses", "decimal",
    "email", "http", "importlib.metadata", "importlib.resources", "json", "logging",
    "multiprocessing", "sqlite3", "ssl", "statistics", "unittest", "urllib.request", "xml",
    "zipfile", "zoneinfo",
}  # fmt: skip

IMPORTED = """
import sys
import numpy
before = set(sys.modules)
import klineagg
print("\\n".join(sorted(set(sys.modules) - before)))
"""


def package_files() -> list[Path]:
    return sources(".py", under="python/klineagg/")


def eager_imports(body: list[ast.stmt]) -> Iterator[tuple[int, str]]:
    """What a module imports when it is imported itself (not in functions, not for types only)."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or ""
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from eager_imports(node.orelse)
        elif isinstance(node, ast.If | ast.Try | ast.With | ast.ClassDef):
            for field in ("body", "orelse", "handlers", "finalbody"):
                yield from eager_imports(getattr(node, field, []))
        elif isinstance(node, ast.ExceptHandler):
            yield from eager_imports(node.body)


def test_modules_import_optional_packages_when_they_need_them() -> None:
    wrong = [
        f"{path}:{line} {name}"
        for path in package_files()
        for line, name in eager_imports(ast.parse(text(path)).body)
        if (top := name.partition(".")[0]) not in EAGER and top not in sys.stdlib_module_names
    ]
    assert wrong == []


ASKS_UNIQUE = {
    f"np.{name}"
    for name in ("unique", "unique_values", "isin", "intersect1d", "setdiff1d", "union1d")
}


def test_nothing_asks_numpy_for_distinct_values_by_hashes() -> None:
    """See klineagg._distinct: in a daemon thread at exit that ends the whole process."""
    wrong = [
        f"{path}:{node.lineno}"
        for path in package_files()
        for node in ast.walk(ast.parse(text(path)))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ASKS_UNIQUE
        and not {key.arg for key in node.keywords}
        & {"return_index", "return_inverse", "return_indices"}
    ]
    assert wrong == []


def test_importing_klineagg_is_light() -> None:
    run = subprocess.run(
        [sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True, cwd="/"
    )
    loaded = run.stdout.split()
    assert "klineagg._core" in loaded
    third_party = {
        name
        for name in loaded
        if (top := name.partition(".")[0]) not in EAGER and top not in sys.stdlib_module_names
    }
    assert third_party == set()
    heavy = {name for name in loaded if any(name == h or name.startswith(f"{h}.") for h in HEAVY)}
    assert heavy == set()


def extras() -> set[str]:
    table = text(Path("pyproject.toml")).partition("[project.optional-dependencies]")[2]
    return set(re.findall(r"^([\w-]+) = \[", table.partition("\n[")[0], re.MULTILINE))


def test_named_extras_exist() -> None:
    named = {}
    for path in package_files():
        for pattern in (r"klineagg\[([\w,-]+)\]", r"\bextra=\"([\w-]+)\""):
            for names in re.findall(pattern, text(path)):
                named.update({name: str(path) for name in names.split(",")})
        for node in ast.walk(ast.parse(text(path))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "require":
                extra = node.args[1]
                assert isinstance(extra, ast.Constant), f"{path}:{node.lineno}"
                named[str(extra.value)] = f"{path}:{node.lineno}"
    assert named
    assert {name: where for name, where in named.items() if name not in extras()} == {}


def test_all_brings_every_extra() -> None:
    everything = re.search(
        r"^all = \[\"klineagg\[([\w,-]+)\]\"\]", text(Path("pyproject.toml")), re.M
    )
    assert everything is not None
    assert set(everything[1].split(",")) == extras() - {"all"}


def test_the_tests_run_against_an_installed_klineagg() -> None:
    # Else they would pass on files that the wheel leaves out.
    spec = importlib.util.find_spec("klineagg")
    assert spec is not None
    assert spec.origin is not None
    assert ROOT / "python" not in Path(spec.origin).parents
    installed = Path(spec.origin).parent
    for path in sources(".py", ".pyi", ".npz", ".typed", under="python/klineagg/"):
        name = path.relative_to("python/klineagg")
        assert (installed / name).read_bytes() == (ROOT / path).read_bytes(), f"{path}: reinstall"


# What pybind11 does to every class, and no stub can say.
OF_PYBIND11 = re.compile(
    r"is inconsistent, metaclass differs$|__init__ is inconsistent, stub .*args"
)


def test_stubs_match_the_module(tmp_path: Path) -> None:
    assert (ROOT / "python/klineagg/_core.pyi").is_file()
    run = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "klineagg._core", "--concise"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    said = (run.stdout + run.stderr).splitlines()
    assert [line for line in said if not OF_PYBIND11.search(line)] == []
    # A crash without a word would look like a success.
    assert run.returncode == (1 if said else 0)


def test_the_long_properties_look_for_new_examples() -> None:
    """A profile inherits from "default", whose examples are always the same."""
    long = settings.get_profile("long")
    assert not long.derandomize and long.database is not None
    assert settings.get_profile("default").derandomize
