"""Symbols and their ids.

Ids are dense from 0, stable for the life of the process and never reused, so that hot code can
pass integers. An id that was never interned is labelled by its digits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klineagg import _core, errors

__all__ = ["intern", "names_of", "symbol_names"]


def intern(names: str | Iterable[str]) -> NDArray[np.int32]:
    """The ids of names; new names get new ids.

    Args:
        names: one name, or a sequence or array of ``n`` names (each 1 to 256 bytes of UTF-8).

    Returns:
        int32 ``(n,)``, equal ids for equal names; ``(1,)`` for a single name.

    Raises:
        ColumnError: ``unknown_symbol`` for an empty or overlong name, ``column_type`` for
            something that is not text.
    """
    if isinstance(names, str):
        names = [names]
    known: dict[str, int] = {}
    ids: list[int] = []
    for name in names:
        if not isinstance(name, str):
            raise errors.make(
                "column_type", f"a symbol must be text, this is {name!r}", column="symbol"
            )
        id_ = known.get(name)
        if id_ is None:
            id_ = known[name] = _core.intern_symbol(name)
        ids.append(id_)
    return np.array(ids, dtype=np.int32)


def symbol_names(ids: Any) -> list[str]:
    """The names of ids, in order; the digits of an id that was never interned.

    Args:
        ids: integers ``(n,)``, or one.
    """
    flat = np.asarray(ids).reshape(-1).tolist()
    return [_core.symbol_name(id_) or str(id_) for id_ in flat]


def names_of(ids: Iterable[int]) -> Mapping[int, str]:
    """Names by id, for the ids of a result."""
    unique = sorted(set(ids))
    return dict(zip(unique, symbol_names(unique), strict=True))
