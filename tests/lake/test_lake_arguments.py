"""Wrong arguments and places give errors of klineagg, which say what is wrong."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from klineagg import errors
from klineagg.lake import Lake
from lake.lakes import delivery


def test_places_that_cannot_be_made_are_told_with_their_path(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("text")
    places = [file, file / "sub", Path("/proc/lake")]
    if os.geteuid():
        shut = tmp_path / "shut"
        shut.mkdir(mode=0o500)
        places.append(shut / "lake")
    for place in places:
        for read_only in (False, True):
            with pytest.raises(errors.LakeError) as caught:
                Lake(place, read_only=read_only)
            assert caught.value.name == "lake_catalog" and str(place) in str(caught.value)
    assert file.read_text() == "text" and not Path("/proc/lake").exists()


def test_a_lake_that_is_not_allowed_to_write_its_files_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(errors.LakeError) as caught:
        Lake(tmp_path / "lake", tmp_path / "file" / "data")
    assert caught.value.name == "lake_catalog" and "file/data" in str(caught.value)


@pytest.mark.parametrize("options", [{"timeout": "x"}, {"timeout": -1}, {"timeout": float("nan")}])
def test_wrong_options_make_no_lake(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(errors.OptionError) as caught:
        Lake(tmp_path / "lake", **options)
    assert caught.value.fields["option"] == "timeout" and not list(tmp_path.iterdir())


@pytest.mark.parametrize("data", ["s3://", "s3:", "", Path("s3://bucket/prefix")])
def test_a_data_path_without_a_bucket_makes_no_folder(
    tmp_path: Path, data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.OptionError) as caught:
        Lake(tmp_path / "lake", data)
    assert caught.value.fields["option"] == "data_path" and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda lake: lake.commit(None), "snapshot"),
        (lambda lake: lake.commit(delivery(1, [{"at": 0}]).closed), "snapshot"),
        (lambda lake: lake.commit(with_id("abc")), "snapshot"),
        (lambda lake: lake.commit(with_id((1, "2"))), "snapshot"),
        (lambda lake: lake.commit(delivery(1, [{"at": 0}]), consumer=5), "consumer"),
        (lambda lake: lake.commit(delivery(1, [{"at": 0}]), consumer=""), "consumer"),
        (lambda lake: lake.commit(delivery(1, [{"at": 0}]), checkpoint="state"), "checkpoint"),
        (lambda lake: lake.commit(delivery(1, [{"at": 0}]), checkpoint=5), "checkpoint"),
        (lambda lake: lake.maintain(retention="1s=7d"), "retention"),
        (lambda lake: lake.maintain(retention={"zz": "1d"}), "retention"),
        (lambda lake: lake.maintain(retention={1: "1d"}), "retention"),
        (lambda lake: lake.bars(symbols=["X", 3]), "symbols"),
        (lambda lake: lake.bars(interval=[None]), "interval"),
    ],
)
def test_wrong_arguments_are_named(lake: Lake, call: Callable[[Lake], Any], name: str) -> None:
    with pytest.raises(errors.OptionError) as caught:
        call(lake)
    assert caught.value.name == "invalid_option" and caught.value.fields["option"] == name
    assert lake.fence() is None


def with_id(number: Any) -> Any:
    made = delivery(1, [{"at": 0}])
    made.id = number
    return made


def test_retention_of_an_interval_that_is_yet_to_come_is_fine(lake: Lake) -> None:
    lake.commit(delivery(1, [{"at": 0}]))
    coming = {"1s": "7d", "1m": "7d", "1d@America/New_York": "7d"}
    assert lake.maintain(retention=coming).bars_expired == 1


def test_errors_of_queries_hint_at_what_helps(lake: Lake, tmp_path: Path) -> None:
    lake.commit(delivery(1, [{"at": 0}]))
    wrong: list[tuple[Any, str]] = [
        (None, "only reads"),
        ("DROP TABLE closed", "only reads"),
        ("SELECT x FROM bars", "DESCRIBE"),
        ("FROM nowhere", "DESCRIBE"),
        ("SELECT CAST('a' AS INT)", ""),
    ]
    for query, hint in wrong:
        with pytest.raises(errors.LakeQueryError) as caught:
            lake.sql(query)
        assert hint in caught.value.hint and bool(hint) == bool(caught.value.hint)
    for file in (tmp_path / "lake").glob("data/main/closed/**/*.parquet"):
        file.write_bytes(b"no parquet")
    with Lake(tmp_path / "lake") as again, pytest.raises(errors.LakeQueryError) as caught:
        again.sql("SELECT sum(volume) FROM bars")
    assert "files of the lake" in caught.value.hint


def test_a_closed_lake_says_so(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    assert "closed)" not in repr(lake)
    lake.close()
    assert "closed)" in repr(lake)
