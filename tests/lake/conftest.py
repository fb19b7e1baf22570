"""Lakes in a folder of their own, or on servers that the tests start."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from klineagg.lake import Lake
from lake import servers
from lake.servers import fresh_base, postgres_url  # noqa: F401  fixtures


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    """An empty lake with a catalog of SQLite."""
    pytest.importorskip("duckdb_extension_ducklake")
    with Lake(tmp_path / "lake") as made:
        yield made


@pytest.fixture(scope="session")
def s3_variables() -> Iterator[dict[str, str]]:
    """An object store for all tests that want one."""
    with servers.s3() as variables:
        yield variables


@pytest.fixture(params=["sqlite", "postgres", pytest.param("postgres+s3", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str | None]:
    """Catalog and data path of an empty lake, on each of the stacks."""
    if request.param == "sqlite":
        return str(tmp_path / "lake"), None
    base: Any = request.getfixturevalue("fresh_base")
    if request.param == "postgres":
        return str(base), str(tmp_path / "data")
    variables = request.getfixturevalue("s3_variables")
    patch = request.getfixturevalue("monkeypatch")
    for key, value in variables.items():
        patch.setenv(key, value)
    return str(base), f"s3://lake/{uuid.uuid4().hex[:8]}"
