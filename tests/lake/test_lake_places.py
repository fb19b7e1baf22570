"""A lake opens under every spelling of its path, and where it was moved or copied to."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from klineagg import errors
from klineagg.lake import Lake
from lake.lakes import content, delivery


def made(catalog: Path | str, data: Path | None = None) -> list[tuple[object, ...]]:
    """A lake with a few bars and files; what it holds."""
    with Lake(catalog, data) as lake:
        for k in range(3):
            lake.commit(delivery(k + 1, [{"at": k}]))
        return content(lake)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*.parquet")}


def test_every_spelling_of_a_path_is_the_same_lake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tmp_path / "real"
    (real / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(real)
    rows = made(tmp_path / "link" / "lake")
    monkeypatch.chdir(real / "deep")
    spellings: list[Path | str] = [
        "../lake", "sqlite:../lake/catalog.sqlite", real / "lake", tmp_path / "link" / "lake",
        f"{real}/deep/../lake/",
    ]  # fmt: skip
    for k, spelling in enumerate(spellings):
        data = real / "lake" / "data" if str(spelling).startswith("sqlite:") else None
        for read_only in (True, False):
            with Lake(spelling, data, read_only=read_only) as lake:
                assert content(lake)[: len(rows)] == rows
        with Lake(spelling, tmp_path / "link" / "lake" / "data") as lake:
            lake.commit(delivery(4 + k, [{"at": 3 + k}]))
            assert len(lake.sql("FROM bars")) == 4 + k


@pytest.mark.parametrize("kind", ["folder", "sqlite", "duckdb"])
@pytest.mark.parametrize("how", ["moved", "copied"])
def test_a_lake_of_the_default_layout_may_be_moved_and_copied(
    tmp_path: Path, kind: str, how: str
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    names = {"folder": "lake", "sqlite": "sqlite:bars.db", "duckdb": "duckdb:bars.db"}
    prefix, colon, file = names[kind].rpartition(":")
    rows = made(f"{prefix}{colon}{old / file}")
    before = files(old)
    (shutil.move if how == "moved" else shutil.copytree)(str(old), str(new))
    with Lake(f"{prefix}{colon}{new / file}", read_only=True) as lake:
        assert content(lake) == rows and len(lake.sql("FROM bars")) == len(rows)
    with Lake(f"{prefix}{colon}{new / file}") as lake:
        lake.commit(delivery(4, [{"at": 3}]))
        lake.maintain(longest_read=0, orphan_age=0)
        assert len(content(lake)) == len(rows) + 1 == len(lake.sql("FROM bars"))
    # The original is as it was, and nothing is written where it has gone from.
    assert (files(old) == before) if how == "copied" else not old.exists()
    if how == "copied":
        assert content(Lake(f"{prefix}{colon}{old / file}")) == rows


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_a_lake_whose_data_path_is_given_may_be_moved_and_copied(tmp_path: Path, how: str) -> None:
    """As a configuration gives it, which always names both."""
    old, new = tmp_path / "old" / "lake", tmp_path / "new" / "lake"
    old.mkdir(parents=True)
    rows = made(old / "catalog.sqlite", old / "data")
    (shutil.move if how == "moved" else shutil.copytree)(str(old.parent), str(new.parent))
    before = files(tmp_path / "old") if how == "copied" else set()
    with Lake(new / "catalog.sqlite", new / "data") as lake:
        lake.commit(delivery(4, [{"at": 3}]))
        lake.maintain(longest_read=0, orphan_age=0)
        assert content(lake)[: len(rows)] == rows and len(lake.sql("FROM bars")) == len(rows) + 1
    assert not old.exists() or files(tmp_path / "old") == before
    # A folder that is not the catalog's own, or has another name, is another lake's.
    shutil.copytree(new, tmp_path / "other")
    for wrong in (tmp_path / "other" / "data", new / "data2"):
        with pytest.raises(errors.LakeError) as caught:
            Lake(new / "catalog.sqlite", wrong)
        assert caught.value.name == "lake_catalog"


def test_a_catalog_knows_where_its_files_are(tmp_path: Path) -> None:
    rows = made(tmp_path / "lake", tmp_path / "elsewhere" / "data")
    with Lake(tmp_path / "lake") as lake:
        lake.commit(delivery(4, [{"at": 3}]))
        assert content(lake)[: len(rows)] == rows
    assert not (tmp_path / "lake" / "data").exists()
    with pytest.raises(errors.LakeError) as caught:
        Lake(tmp_path / "lake", tmp_path / "other")
    assert caught.value.name == "lake_catalog" and not (tmp_path / "other").exists()
    assert str(tmp_path / "elsewhere") in str(caught.value)
    with pytest.raises(errors.LakeError, match="and not in"):  # it has the name of the old one
        Lake(tmp_path / "lake", tmp_path / "lake" / "data")
    os.rename(tmp_path / "elsewhere", tmp_path / "gone")
    for read_only in (True, False):
        with pytest.raises(errors.LakeError, match="not there") as caught:
            Lake(tmp_path / "lake", read_only=read_only)
    assert not (tmp_path / "elsewhere").exists() and not (tmp_path / "lake" / "data").exists()


def test_a_lake_whose_folder_goes_away_says_so_and_goes_on_when_it_is_back(tmp_path: Path) -> None:
    with Lake(tmp_path / "lake") as lake:
        lake.commit(delivery(1, [{"at": 0}]))
        os.rename(tmp_path / "lake", tmp_path / "away")
        with pytest.raises(errors.LakeError) as caught:
            lake.commit(delivery(2, [{"at": 1}]))
        assert caught.value.name == "lake_commit" and str(tmp_path / "lake") in str(caught.value)
        assert not (tmp_path / "lake").exists()  # nothing is begun in its place
        os.rename(tmp_path / "away", tmp_path / "lake")
        assert lake.commit(delivery(2, [{"at": 1}])).applied
        assert len(content(lake)) == 2


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
def test_the_database_of_something_else_is_left_alone(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"other.{kind}"
    if kind == "sqlite":
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE accounts (name TEXT)")
        other.close()
    else:
        duckdb = pytest.importorskip("duckdb")
        duckdb.connect(str(path)).execute("CREATE TABLE accounts (name TEXT)").close()
    before = path.read_bytes()
    for read_only in (True, False):
        with pytest.raises(errors.LakeError, match="something else") as caught:
            Lake(path, read_only=read_only)
        assert caught.value.name == "lake_catalog"
    assert path.read_bytes() == before and os.listdir(tmp_path) == [path.name]
    (tmp_path / "empty.db").touch()
    assert len(made(tmp_path / "empty.db")) == 3
