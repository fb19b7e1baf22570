"""Lakes of another version: an older one is brought up to date, a newer one is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from klineagg import errors
from klineagg.lake import Lake, schema
from lake.lakes import Model, content, delivery
from lake.test_lake_servers import SQLITE_BY_DEFAULT

OLDER = schema.SCHEMA_VERSION - 1


def of_version(place: tuple[str, str | None], version: int) -> Model:
    """A lake with bars that says of itself that it has this version; an older one lacks a view."""
    pytest.importorskip("duckdb_extension_ducklake")
    model = Model()
    with Lake(*place) as lake:
        for number in (1, 2):
            snapshot = delivery(number, [{"at": number}], [{"at": number + 1}], position=number)
            model.commit(snapshot)
            lake.commit(snapshot)
        if version < schema.SCHEMA_VERSION:
            run(lake, 'DROP VIEW "rows"')
        run(lake, f"UPDATE klineagg SET schema_version = {version}")
    return model


def run(lake: Lake, statement: str) -> list[Any]:
    found: list[Any] = lake._session.writing(lambda cursor: cursor.execute(statement).fetchall())
    return found


def version_of(place: tuple[str, str | None]) -> int | None:
    """What a lake says of itself, without klineagg looking at it first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "check", lambda *_: None)
        patch.setattr(schema, "migrate", lambda *_: None)
        with Lake(*place) as lake:
            return lake._session.reading(schema.version_of)


def add_rows_view(cursor: Any) -> None:
    cursor.execute(f'CREATE VIEW "rows" AS {schema._views()["rows"]}')


@SQLITE_BY_DEFAULT
def test_an_older_lake_is_brought_up_to_date_once(
    place: tuple[str, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = of_version(place, OLDER)
    steps: list[int] = []

    def step(cursor: Any) -> None:
        steps.append(OLDER)
        add_rows_view(cursor)

    monkeypatch.setitem(schema.MIGRATIONS, OLDER, step)
    with pytest.raises(errors.LakeError) as refused:
        Lake(*place, read_only=True)
    assert refused.value.name == "lake_version" and "read_only" in refused.value.hint
    assert steps == [] and version_of(place) == OLDER, "a reader changes nothing"
    for _ in range(2):
        with Lake(*place) as lake:
            assert content(lake) == model.rows()
            assert lake.sql('SELECT count(*) AS n FROM "rows"')["n"][0] == len(model.rows())
    assert steps == [OLDER] and version_of(place) == schema.SCHEMA_VERSION
    with Lake(*place) as lake:
        after = delivery(3, [{"at": 3}], [{"at": 4}])
        model.commit(after)
        assert lake.commit(after).applied and content(lake) == model.rows()


@SQLITE_BY_DEFAULT
def test_a_step_that_fails_leaves_the_lake_as_it_was(
    place: tuple[str, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = of_version(place, OLDER)

    def fails(cursor: Any) -> None:
        add_rows_view(cursor)
        cursor.execute("DELETE FROM closed")
        raise RuntimeError("in the middle of it")

    monkeypatch.setitem(schema.MIGRATIONS, OLDER, fails)
    with pytest.raises(RuntimeError, match="in the middle"):
        Lake(*place)
    assert version_of(place) == OLDER
    monkeypatch.setitem(schema.MIGRATIONS, OLDER, add_rows_view)
    with Lake(*place) as lake:
        assert content(lake) == model.rows()


def test_steps_follow_one_another_and_each_counts(tmp_path: Path) -> None:
    place = (str(tmp_path / "lake"), None)
    of_version(place, schema.SCHEMA_VERSION)
    first = schema.SCHEMA_VERSION
    with Lake(*place) as lake:

        def adds(cursor: Any) -> None:
            cursor.execute("ALTER TABLE fence ADD COLUMN told VARCHAR DEFAULT 'by nobody'")

        def fails(cursor: Any) -> None:
            cursor.execute("UPDATE fence SET told = 'too early'")
            raise RuntimeError("the second one")

        def fills(cursor: Any) -> None:
            cursor.execute("UPDATE fence SET told = 'by ' || consumer")

        def migrate(version: int, second: Any) -> None:
            steps = {first: adds, first + 1: second}
            lake._session.writing(lambda cursor: schema.migrate(cursor, version, first + 2, steps))

        with pytest.raises(RuntimeError, match="the second one"):
            migrate(first, fails)
        assert lake._session.reading(schema.version_of) == first + 1, "the first one is done"
        assert run(lake, "SELECT told FROM fence") == [("by nobody",)]
        migrate(first + 1, fills)
        assert lake._session.reading(schema.version_of) == first + 2
        assert run(lake, "SELECT told FROM fence") == [("by lake",)]
        with pytest.raises(errors.LakeError) as caught:
            lake._session.writing(lambda cursor: schema.migrate(cursor, 0, 2, {1: adds}))
        assert caught.value.name == "lake_version" and "no way" in str(caught.value)


@pytest.mark.parametrize("read_only", [False, True])
@SQLITE_BY_DEFAULT
def test_a_newer_lake_is_refused_and_left_alone(
    place: tuple[str, str | None], read_only: bool
) -> None:
    newer = schema.SCHEMA_VERSION + 1
    model = of_version(place, newer)
    with pytest.raises(errors.LakeError) as caught:
        Lake(*place, read_only=read_only)
    assert caught.value.name == "lake_version"
    assert caught.value.fields["version"] == newer
    assert caught.value.fields["known"] == schema.SCHEMA_VERSION
    assert version_of(place) == newer
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "SCHEMA_VERSION", newer)  # the klineagg that wrote it
        with Lake(*place) as lake:
            assert content(lake) == model.rows()


def test_a_way_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    place = (str(tmp_path / "lake"), None)
    of_version(place, -1)
    with pytest.raises(errors.LakeError) as caught:
        Lake(*place)
    assert caught.value.name == "lake_version"
    assert version_of(place) == -1
