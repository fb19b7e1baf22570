"""Text of NumPy and Arrow as dense codes."""

from __future__ import annotations

import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klineagg import _core, errors
from unit.arrow_tools import column, decoded

texts = st.lists(st.one_of(st.none(), st.text(max_size=20)), max_size=40)


@given(texts)
def test_object_arrays_become_codes(rows: list[str | None]) -> None:
    array = np.empty(len(rows), object)
    array[:] = rows
    assert decoded(array) == rows


@given(st.lists(st.text(max_size=9).filter(lambda text: not text.endswith("\0")), max_size=40))
def test_numpy_strings_become_codes(rows: list[str]) -> None:
    assert decoded(np.array(rows, "U9")) == rows
    assert decoded(np.array(rows, "U9")[::-1]) == rows[::-1]
    raw = np.array([row.encode() for row in rows], "S40")
    assert decoded(raw) == rows


def test_strings_in_a_packed_structured_array() -> None:
    array = np.zeros(5, [("odd", "i1"), ("u", "U3"), ("s", "S5"), ("o", object)])
    array["u"] = array["s"] = array["o"] = ["a", "bc", "", "bc", "def"]
    for name in ("u", "s", "o"):
        assert decoded(array[name]) == ["a", "bc", "", "bc", "def"]


def test_missing_objects() -> None:
    pd = pytest.importorskip("pandas")
    array = np.array([None, float("nan"), pd.NA, pd.NaT, "x", b"x"], object)
    assert decoded(array) == [None, None, None, None, "x", "x"]


def test_objects_that_are_no_text_are_refused() -> None:
    for odd in (1, 1.5, datetime.date(2020, 1, 1), ("x",)):
        array = np.empty(3, object)
        array[:] = ["x", None, odd]
        with pytest.raises(errors.ColumnError) as raised:
            _core.Factorizer().encode(array)
        assert raised.value.fields["row"] == "2"
    with pytest.raises(errors.ColumnError):
        _core.Factorizer().encode(np.zeros(3))


def test_codes_go_on_from_one_column_to_the_next() -> None:
    pa = pytest.importorskip("pyarrow")
    factorizer = _core.Factorizer()
    assert factorizer.encode(np.array(["b", "a"])).tolist() == [0, 1]
    assert factorizer.encode(np.array(["a", "c"], object)).tolist() == [1, 2]
    assert factorizer.encode(column(pa.array(["c", "b"]))).tolist() == [2, 0]
    assert factorizer.names(1) == ["a", "c"]


def test_many_distinct_texts() -> None:
    # Enough to grow the table several times; lengths around those at which keys change form.
    rows = [str(n) * (n % 5 + 1) for n in range(30_000)]
    rows += ["x" * n for n in range(40)] + ["x" * n + "\0" for n in range(40)]
    array = np.empty(len(rows), object)
    array[:] = rows
    assert decoded(array) == rows
    pa = pytest.importorskip("pyarrow")
    assert decoded(column(pa.array(rows))) == rows
