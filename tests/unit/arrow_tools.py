"""What the tests of Arrow data share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from klineagg import _core


def column(array: Any) -> Any:
    """The one batch's one column of a pyarrow array."""
    pa = pytest.importorskip("pyarrow")
    batch = pa.record_batch([array], names=["c"])
    ((only,),) = list(_core.read_arrow(batch.__arrow_c_array__()))
    return only


def table_of(reader: Any) -> list[Any]:
    (only,) = list(reader)
    return list(only)


def data_address(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


def decoded(got: Any) -> list[str | None]:
    factorizer = _core.Factorizer()
    codes = factorizer.encode(got)
    assert codes.dtype == np.int32
    names = factorizer.names()
    assert len(set(names)) == len(names) == len(factorizer)
    return [names[code] if code >= 0 else None for code in codes.tolist()]
