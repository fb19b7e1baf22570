"""Records whose every field tells whether the record is whole."""

from __future__ import annotations

from typing import Any

import numpy as np

from klineagg.bus import record_type

CHECKED = record_type("Checked", [("number", "<u8"), ("filler", "<u8", (10,)), ("sum", "<u8")])
CAPACITY_BYTES = CHECKED.dtype.itemsize


def checked(first: int, count: int) -> np.ndarray[Any, np.dtype[Any]]:
    """Records ``first ... first + count - 1``."""
    records = np.zeros(count, CHECKED.dtype)
    records["number"] = np.arange(first, first + count, dtype=np.uint64)
    records["filler"] = records["number"][:, None] * np.uint64(31) + np.arange(10, dtype=np.uint64)
    records["sum"] = records["number"] ^ records["filler"].sum(axis=1)
    return records


def damaged(records: np.ndarray[Any, np.dtype[Any]]) -> int:
    """How many of them are not as :func:`checked` made them."""
    total = records["filler"].sum(axis=1)
    expected = records["number"][:, None] * np.uint64(31) + np.arange(10, dtype=np.uint64)
    wrong = (records["sum"] != (records["number"] ^ total)) | (records["filler"] != expected).any(
        axis=1
    )
    return int(wrong.sum())
