"""What the documents say is what happens."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import klineagg
from docs.documents import DOCUMENTS, PROJECT, anchors, blocks, commands, links, rows
from docs.samples import write_samples
from klineagg.aggregation import PARTIAL_DTYPE
from klineagg.bars import COLUMNS, DTYPES, BarFlag
from klineagg.cli.output import EXIT_CODES
from klineagg.io.presets import PRESETS

ARCHITECTURE = PROJECT / "docs" / "ARCHITECTURE.md"
SEMANTICS = PROJECT / "docs" / "SEMANTICS.md"

# Runs blocks one after another as one program, and prints what each of them printed.
RUNNER = """
import contextlib, io, json, sys
path, found = json.load(sys.stdin)
names, printed = {"__name__": "__main__"}, []
for line, code in found:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile("\\n" * (line - 1) + code, path, "exec"), names)
    printed.append(out.getvalue())
print(json.dumps(printed))
"""


def environment(**more: str) -> dict[str, str]:
    # What is printed must not depend on the terminal of whoever runs the tests.
    drop = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")
    kept = {name: value for name, value in os.environ.items() if name not in drop}
    return {**kept, "MPLBACKEND": "Agg", "PYTHONIOENCODING": "utf-8", **more}


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    write_samples(folder)
    return folder


@pytest.fixture
def samples(originals: Path, tmp_path: Path) -> Path:
    """A folder of its own for each document, which may write into it."""
    shutil.copytree(originals, tmp_path, dirs_exist_ok=True)
    return tmp_path


def with_blocks(language: str) -> list[Path]:
    return [path for path in DOCUMENTS if blocks(path, language)]


@pytest.mark.parametrize("path", with_blocks("python"), ids=lambda path: path.name)
def test_python_of_documents_runs_and_prints_what_they_say(path: Path, samples: Path) -> None:
    for name in ("matplotlib", "pandas", "polars", "pyarrow"):
        pytest.importorskip(name)
    found = blocks(path, "python")
    done = subprocess.run(
        [sys.executable, "-c", RUNNER],
        input=json.dumps([str(path), [(block.line, block.code) for block in found]]),
        cwd=samples,
        env=environment(),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for block, printed in zip(found, json.loads(done.stdout), strict=True):
        assert printed == (block.output or ""), f"{path.name}:{block.line}"


@pytest.mark.parametrize("path", with_blocks("console"), ids=lambda path: path.name)
def test_commands_of_documents_run_and_print_what_they_say(path: Path, samples: Path) -> None:
    pytest.importorskip("pyarrow")
    for block in commands(path):
        script = f'klineagg() {{ "{sys.executable}" -m klineagg "$@"; }}\n{block.code}\n'
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=samples,
            env=environment(COLUMNS="110"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=240,
            check=False,
        )
        where = f"{path.name}:{block.line}: {block.code}"
        assert done.returncode == 0, f"{where}\n{done.stdout}{done.stderr}"
        if block.output is not None:
            assert done.stdout == block.output, where


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in links(path):
        name, _, anchor = target.partition("#")
        linked = (path.parent / name).resolve() if name else path
        assert linked.exists(), f"{path.name}: {target}"
        if anchor:
            assert anchor in anchors(linked), f"{path.name}: {target}"


def test_every_document_is_reached_from_the_readme() -> None:
    readme = links(PROJECT / "README.md")
    assert {f"docs/{path.name}" for path in DOCUMENTS[1:]} - readme == set()


def test_the_table_of_extras() -> None:
    project = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    table = project.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    extras = set(re.findall(r"^([\w-]+) = ", table, re.M)) - {"all"}
    told = [row[0] for row in rows(PROJECT / "README.md", "extra", "brings", "for")]
    assert set(re.findall(r"`(\w+)`", " ".join(told))) == extras


def test_the_tables_of_presets_and_exit_codes() -> None:
    guide = PROJECT / "docs" / "GUIDE-FILES.md"
    presets = " ".join(row[0] for row in rows(guide, "preset", "dumps"))
    assert set(re.findall(r"`([\w-]+)`", presets)) == set(PRESETS)
    codes = ",".join(row[0] for row in rows(guide, "code", "meaning")).split(",")
    assert {int(code) for code in codes} == set(EXIT_CODES)


def test_the_map_names_what_is_there() -> None:
    names = set(re.findall(r"`([^`\n]+)`", ARCHITECTURE.read_text(encoding="utf-8")))
    code = [
        path for top in ("cpp", "python", "docs", "tests") for path in (PROJECT / top).rglob("*")
    ]
    suffixes = (".hpp", ".cpp", ".ipp", ".py", "/")
    places = {name for name in names if name.endswith(suffixes) and " " not in name}
    missing = [name for name in places if not any(p.match(f"*/{name.rstrip('/')}") for p in code)]
    assert missing == []
    text = "".join(
        p.read_text("utf-8") for p in code if p.suffix in (".hpp", ".ipp", ".cpp", ".py")
    )
    words = {match[1] for name in names if (match := re.fullmatch(r"(\w+)(\(\w*\))?", name))}
    assert {word for word in words if not re.search(rf"\b{word}\b", text)} == set()


def test_the_page_of_errors_is_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, str(PROJECT / "docs" / "generate.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_pictures_are_small() -> None:
    pictures = list((PROJECT / "docs" / "images").glob("*.png"))
    assert pictures
    assert {p.name: p.stat().st_size for p in pictures if p.stat().st_size >= 200_000} == {}


def test_the_table_of_columns() -> None:
    told = [
        (name.strip("`"), dtype) for name, dtype, _ in rows(SEMANTICS, "column", "dtype", "meaning")
    ]
    assert told == [(name, str(DTYPES[name])) for name in COLUMNS]


def test_the_table_of_flags() -> None:
    told = {name.strip("`"): int(bit) for name, bit, _ in rows(SEMANTICS, "flag", "bit", "meaning")}
    assert told == {flag.name: flag.value for flag in BarFlag}
    rolled = rows(SEMANTICS, "flag", "of a coarse bar", "of a merged bar")
    assert [row[0].strip("`") for row in rolled] == [flag.name for flag in BarFlag]


def test_the_table_of_the_partial_record() -> None:
    formats = {"int32": "<i4", "int64": "<i8", "float64": "<f8", "uint8": "|u1", "uint16": "<u2"}
    formats |= {"4 x float64": "<f8", "12 x uint64": "<u8"}
    told = {
        name.strip("`"): (int(offset), formats[type_])
        for offset, type_, name, _ in rows(SEMANTICS, "offset", "type", "field", "meaning")
    }
    fields = PARTIAL_DTYPE.fields
    assert fields is not None
    assert told == {name: (field[1], field[0].base.str) for name, field in fields.items()}


GOOD: dict[str, float] = {"symbol": 0, "time": 1_700_000_000, "price": 1.0, "quantity": 1.0}
GOOD |= {"first_trade_id": 1, "last_trade_id": 1, "flags": 0}
BAD: dict[str, dict[str, float]] = {
    "symbol_missing": {"symbol": -1},
    "time_missing": {"time": np.iinfo(np.int64).min},
    "time_out_of_range": {"time": 8_000_000_000},
    "price_not_finite": {"price": np.inf},
    "price_not_positive": {"price": 0.0},
    "price_out_of_range": {"price": 2.0**101},
    "quantity_not_finite": {"quantity": np.nan},
    "quantity_not_positive": {"quantity": -1.0},
    "quantity_out_of_range": {"quantity": 2.0**-101},
    "value_out_of_range": {"price": 2.0**60, "quantity": 2.0**60},
    "id_invalid": {"first_trade_id": 2},
    "count_overflow": {"last_trade_id": 2**32 + 1},
    "flags_invalid": {"flags": 8},
}


def test_the_table_of_reasons() -> None:
    told = [row[0].strip("`") for row in rows(SEMANTICS, "reason", "the row has")]
    assert told == list(BAD)
    dtypes = {"symbol": np.int32, "flags": np.uint8}
    table = [GOOD] * 50 + [{**GOOD, **change} for change in BAD.values()]
    trades = {name: np.array([row[name] for row in table], dtypes.get(name)) for name in GOOD}
    bars = klineagg.aggregate(trades, "1m", unit="s", on_bad="count")
    assert bars.report is not None
    assert dict(bars.report.rejected) == dict.fromkeys(told, 1)
    assert bars.report.accepted == 50
    assert bars.report.balanced
