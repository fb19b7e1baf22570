"""Distinct values, and which values are among others, in a thread that may outlive the interpreter.

NumPy >= 2.3 hashes integers for ``np.unique`` in C++ without the GIL. A daemon thread that takes
the GIL back once the interpreter ends is ended by CPython before 3.14 as by an exception, which
that code does not let through: the whole process aborts ("terminate called without an active
exception"). Sorting has no such end. ``np.isin`` asks ``np.unique``, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["distinct", "is_among"]


def distinct(values: NDArray[Any]) -> NDArray[Any]:
    """The values that occur in ``values`` ``(n,)``, rising, each once."""
    rising = np.sort(values)
    return rising[np.concatenate(([True], rising[1:] != rising[:-1]))[: len(rising)]]


def is_among(values: NDArray[Any], others: ArrayLike) -> NDArray[np.bool_]:
    """Of each of the ``values`` ``(n,)``, whether it is one of the others."""
    rising = np.sort(np.asarray(others))
    if len(rising) == 0:
        return np.zeros(len(values), np.bool_)
    places = np.minimum(np.searchsorted(rising, values), len(rising) - 1)
    among: NDArray[np.bool_] = rising[places] == values
    return among
