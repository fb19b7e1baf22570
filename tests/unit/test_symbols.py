"""Names of symbols and their ids."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import klineagg
from klineagg import _core, errors
from klineagg.symbols import intern, names_later, symbol_names

UNKNOWN = 2**31 - 1  # nobody interns so many

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64)


def test_a_new_name_gets_the_next_id() -> None:
    before = _core.symbol_count()
    ids = intern(["next-1", "next-2", "next-1", "next-3"])
    assert ids.dtype == np.int32
    assert ids.tolist() == [before, before + 1, before, before + 2]
    assert _core.symbol_count() == before + 3
    assert intern(("next-3", "next-1")).tolist() == [before + 2, before]


def test_one_name_is_not_taken_for_letters() -> None:
    ids = intern("single")
    assert ids.shape == (1,)
    assert symbol_names(ids) == ["single"]


@pytest.mark.parametrize("kind", [list, tuple, iter, np.array, lambda x: np.array(x, object)])
def test_any_sequence_of_names(kind: Any) -> None:
    assert symbol_names(intern(kind(["sequence-b", "sequence-a"]))) == ["sequence-b", "sequence-a"]


def test_no_names() -> None:
    assert intern([]).dtype == np.int32
    assert intern([]).shape == (0,)
    assert symbol_names([]) == []


@given(st.lists(names, max_size=20))
def test_ids_are_as_different_as_names(texts: list[str]) -> None:
    ids = intern(texts)
    assert symbol_names(ids) == texts
    assert len(set(ids.tolist())) == len(set(texts))
    assert np.array_equal(intern(texts), ids)


def test_names_count_in_bytes_up_to_256() -> None:
    assert symbol_names(intern("é" * 128)) == ["é" * 128]
    for name in ("", "x" * 257, "é" * 129, "xé" * 100):
        with pytest.raises(errors.ColumnError) as caught:
            intern(name)
        assert caught.value.code == "KLA-207"
        # Cut within a character, which is then told as an escape.
        assert caught.value.fields == {
            "name": name.encode()[:256].decode(errors="backslashreplace")
        }
        assert _core.find_symbol(name) is None


def test_names_in_arrow_data() -> None:
    pa = pytest.importorskip("pyarrow")
    array = pa.chunked_array([["arrow-b"], ["arrow-a", "arrow-b"]])
    assert symbol_names(intern(array)) == ["arrow-b", "arrow-a", "arrow-b"]


@pytest.mark.parametrize(
    "value", [[1], ["good", None], [b"bytes"], np.array([1.5]), "\ud800", 5, None]
)
def test_what_is_no_text_is_refused(value: Any) -> None:
    with pytest.raises(errors.ColumnError) as caught:
        intern(value)
    assert caught.value.code == "KLA-203"
    assert caught.value.fields == {"column": "symbol"}


def test_ids_that_were_never_interned_are_called_by_their_digits() -> None:
    known = int(intern("known")[0])
    assert symbol_names([UNKNOWN, known, -1]) == [str(UNKNOWN), "known", "-1"]
    assert symbol_names(np.array([[UNKNOWN], [known]], np.int32)) == [str(UNKNOWN), "known"]
    assert symbol_names(known) == ["known"]
    assert symbol_names(np.int32(known)) == ["known"]


def test_ids_beyond_the_range_and_what_is_no_id() -> None:
    assert symbol_names([2**40, -(2**40)]) == [str(2**40), str(-(2**40))]
    for value in (1.5, "X", [True]):
        with pytest.raises(errors.ColumnError) as caught:
            symbol_names(value)
        assert caught.value.code == "KLA-203"


def test_looking_does_not_intern() -> None:
    before = _core.symbol_count()
    assert _core.find_symbol("only looked for") is None
    assert symbol_names([UNKNOWN]) == [str(UNKNOWN)]
    assert _core.symbol_count() == before


def test_names_by_id_of_a_result() -> None:
    b, a = intern(["by-id-b", "by-id-a"]).tolist()
    assert names_later(np.array([a, b, a, UNKNOWN]))() == {
        b: "by-id-b",
        a: "by-id-a",
        UNKNOWN: str(UNKNOWN),
    }
    assert list(names_later(np.array([a, b]))()) == sorted([a, b])


def test_threads_agree_about_new_names() -> None:
    texts = [f"thread-{k}" for k in range(2_000)]
    before = _core.symbol_count()
    # Each begins elsewhere, so that each name is new to whichever comes first.
    turns = [texts[k * 250 :] + texts[: k * 250] for k in range(8)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda turn: dict(zip(turn, intern(turn), strict=True)), turns))
    assert all(result == results[0] for result in results)
    assert sorted(results[0].values()) == list(range(before, before + len(texts)))


def trades(symbol: Any) -> dict[str, Any]:
    time = np.array(["2024-01-01T00:00", "2024-01-01T00:01", "2024-01-01T00:02"], "datetime64[ns]")
    return {"symbol": symbol, "time": time, "price": [1.0, 2.0, 3.0], "quantity": [1.0, 1.0, 1.0]}


def test_a_column_of_ids_and_one_of_names_are_the_same() -> None:
    texts = ["column-b", "column-a", "column-b"]
    ids = intern(texts)
    by_name = klineagg.aggregate(trades(texts), "1m")
    by_id = klineagg.aggregate(trades(ids), "1m")
    assert by_name.symbols == ("column-b", "column-a")
    assert by_name.equals(by_id)
    # Rows stand by id, which is the order of appearance and not that of the alphabet.
    assert by_name.symbol.tolist() == sorted(ids.tolist())


def test_ids_of_the_users_own_need_no_names() -> None:
    bars = klineagg.aggregate(trades(np.array([UNKNOWN, UNKNOWN - 1, UNKNOWN], np.int32)), "1m")
    assert bars.symbols == (str(UNKNOWN - 1), str(UNKNOWN))
    assert bars[UNKNOWN, "1m"].close.tolist() == [1.0, 3.0]


def test_a_result_keeps_the_names_of_its_time() -> None:
    unnamed = _core.symbol_count()
    later = names_later(np.array([unnamed]))
    assert intern("by-id-later").tolist() == [unnamed]
    assert later() == {unnamed: str(unnamed)}  # as it is when somebody looks at once
    assert names_later(np.array([unnamed]))() == {unnamed: "by-id-later"}
