"""Files and functions stay small enough to be read at once."""

from __future__ import annotations

import ast
from pathlib import Path

from codebase.tree import sources, text

# Seldom above the first number, never above the second.
FILE_LINES = (300, 450)
TEST_FILE_LINES = (500, 700)
FUNCTION_LINES = (70, 100)
SELDOM = 0.08


def code() -> list[Path]:
    cpp = sources(".hpp", ".ipp", ".cpp", under="cpp/")
    python = sources(".py", ".pyi", under="python/")
    other = sources(".py", under="benchmarks/") + sources(".py", under="scripts/")
    return [path for path in cpp + python + other if "tests" not in path.parts]


def of_tests() -> list[Path]:
    return sources(".py", under="tests/") + sources(".cpp", ".hpp", under="cpp/tests/")


def check(sizes: dict[str, int], limits: tuple[int, int]) -> None:
    usual, most = limits
    assert sizes
    assert {name: size for name, size in sizes.items() if size > most} == {}
    above = {name: size for name, size in sizes.items() if size > usual}
    assert len(above) <= SELDOM * len(sizes), f"too many above {usual} lines: {above}"


def test_files_are_short() -> None:
    check({str(p): text(p).count("\n") for p in code()}, FILE_LINES)


def test_test_files_are_short() -> None:
    check({str(p): text(p).count("\n") for p in of_tests()}, TEST_FILE_LINES)


def test_functions_are_short() -> None:
    sizes = {}
    for path in sources(".py"):
        for node in ast.walk(ast.parse(text(path))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) is not None else node.body
                first, last = (body[0].lineno, body[-1].end_lineno) if body else (0, 0)
                sizes[f"{path}:{node.lineno} {node.name}"] = (last or first) - first + 1
    check(sizes, FUNCTION_LINES)
