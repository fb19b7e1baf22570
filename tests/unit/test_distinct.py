"""The distinct values of arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klineagg._distinct import distinct, is_among


@given(st.lists(st.integers(-5, 5)))
def test_each_value_once_and_rising(values: list[int]) -> None:
    assert distinct(np.array(values, np.int64)).tolist() == sorted(set(values))


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint64])
def test_the_type_stays_and_the_input_too(dtype: type[np.generic]) -> None:
    values = np.array([3, 1, 3], dtype)
    assert distinct(values).dtype == dtype
    assert values.tolist() == [3, 1, 3]
    assert distinct(values[:0]).dtype == dtype


def test_what_is_among_others_is_what_numpy_says() -> None:
    random = np.random.default_rng(9)
    for size in (0, 1, 5, 1_000):
        values = random.integers(-50, 50, size) * 10**12
        for count in (0, 1, 3, 100):
            others = random.integers(-60, 60, count) * 10**12
            assert (is_among(values, others) == np.isin(values, others)).all()
    assert is_among(np.array([1, 2, 3], np.int16), [3, 1]).tolist() == [True, False, True]
    assert is_among(np.array([1, 2], np.int16), []).tolist() == [False, False]
