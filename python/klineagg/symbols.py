"""Symbols and their ids.

Ids are dense from 0, stable for the life of the process and never reused, so that hot code can
pass integers. An id that was never interned is labelled by its digits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from klineagg import _core, errors
from klineagg._distinct import distinct

__all__ = ["intern", "names_later", "symbol_names"]

# An id keeps its name for ever, and a snapshot of ten thousand symbols asks for all of them.
_known: Final[dict[int, str]] = {}
_DENSE_IDS: Final = 1 << 20


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
    elif hasattr(names, "to_pylist"):  # pyarrow's arrays yield scalars of their own
        names = names.to_pylist()
    elif not isinstance(names, Iterable):
        raise _no_text(names)
    known: dict[str, int] = {}
    ids: list[int] = []
    for name in names:
        if not isinstance(name, str):
            raise _no_text(name)
        id_ = known.get(name)
        if id_ is None:
            try:
                id_ = known[name] = _core.intern_symbol(name)
            except TypeError:  # half of a surrogate pair has no UTF-8
                raise _no_text(name) from None
        ids.append(id_)
    return np.array(ids, dtype=np.int32)


def _no_text(name: object) -> errors.KlineaggError:
    text = f"a symbol must be Unicode text, this is {name!r}"
    return errors.make("column_type", text, column="symbol")


def symbol_names(ids: Any) -> list[str]:
    """The names of ids, in order; the digits of an id that was never interned.

    Args:
        ids: integers ``(n,)``, or one.

    Raises:
        ColumnError: ``column_type`` for something else.
    """
    array = np.asarray(ids)
    if array.size and array.dtype.kind not in "iu":
        text = f"ids of symbols are integers, these are {array.dtype}"
        raise errors.make("column_type", text, column="symbol")
    return [_name_of(id_) or str(id_) for id_ in array.reshape(-1).tolist()]


def _name_of(id_: int) -> str:
    name = _core.symbol_name(id_) if 0 <= id_ < 2**31 else ""
    if name:
        _known[id_] = name
    return name


def names_later(ids: NDArray[Any]) -> Callable[[], Mapping[int, str]]:
    """What gives names by id, rising, for the ids of a result, integers ``(n,)``.

    Whoever reads a snapshot by columns never asks, and naming ten thousand symbols takes as long as
    half of the snapshot. Ids without a name now have none then: a result does not change.
    """
    count = _core.symbol_count()  # ids are dense: none from here on has a name
    return lambda: _names(ids, count)


def _names(ids: NDArray[Any], count: int) -> dict[int, str]:
    array = ids.astype(np.int64)
    is_dense = array.size and array.min() >= 0 and array.max() < _DENSE_IDS
    # Counted instead of sorted: there is one for each series.
    unique = (np.flatnonzero(np.bincount(array)) if is_dense else distinct(array)).tolist()
    return {
        id_: str(id_) if id_ >= count else _known.get(id_) or _name_of(id_) or str(id_)
        for id_ in unique
    }
