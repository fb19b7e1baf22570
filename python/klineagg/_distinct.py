"""The distinct values of an array, in a thread that may outlive the interpreter.

NumPy >= 2.3 hashes integers for ``np.unique`` in C++ without the GIL. A daemon thread that takes
the GIL back once the interpreter ends is ended by CPython before 3.14 as by an exception, which
that code does not let through: the whole process aborts ("terminate called without an active
exception"). Sorting has no such end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["distinct"]


def distinct(values: NDArray[Any]) -> NDArray[Any]:
    """The values that occur in ``values`` ``(n,)``, rising, each once."""
    rising = np.sort(values)
    return rising[np.concatenate(([True], rising[1:] != rising[:-1]))[: len(rising)]]
