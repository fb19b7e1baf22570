"""The distinct values of arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klineagg._distinct import distinct


@given(st.lists(st.integers(-5, 5)))
def test_each_value_once_and_rising(values: list[int]) -> None:
    assert distinct(np.array(values, np.int64)).tolist() == sorted(set(values))


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint64])
def test_the_type_stays_and_the_input_too(dtype: type[np.generic]) -> None:
    values = np.array([3, 1, 3], dtype)
    assert distinct(values).dtype == dtype
    assert values.tolist() == [3, 1, 3]
    assert distinct(values[:0]).dtype == dtype
