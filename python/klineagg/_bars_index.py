"""Where the rows of each series lie, and the names of symbols and intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klineagg import errors

__all__ = ["SeriesIndex", "SymbolTable", "near_names", "no_such_series"]

_MAX_COMPARED = 5_000


class SeriesIndex:
    """Stretches of rows with one symbol and one interval.

    Rows ``offsets[k] .. offsets[k + 1]`` belong to ``(interval[k], symbol[k])``.

    Attributes:
        interval: index of the interval, int16 ``(k,)``.
        symbol: symbol id, int32 ``(k,)``.
    """

    __slots__ = ("_in_order", "_keys", "_offsets", "interval", "symbol")

    def __init__(
        self,
        interval: NDArray[Any],
        symbol: NDArray[Any],
        offsets: NDArray[Any] | tuple[NDArray[Any], NDArray[Any]],
    ) -> None:
        """``offsets``: as the attribute, or where the stretches begin and where they end."""
        self.interval: NDArray[np.int16] = interval.astype(np.int16, copy=False)
        self.symbol: NDArray[np.int32] = symbol.astype(np.int32, copy=False)
        # Made when they are asked for: whoever reads by columns never does.
        self._offsets = (
            offsets if isinstance(offsets, tuple) else offsets.astype(np.int64, copy=False)
        )
        self._keys: NDArray[np.int64] | None = None
        self._in_order: bool | None = None

    @property
    def offsets(self) -> NDArray[np.int64]:
        """First row of each stretch and the number of rows, int64 ``(k + 1,)``."""
        if isinstance(self._offsets, tuple):
            begin, end = self._offsets
            self._offsets = np.append(begin, end[-1:] if len(end) else [0]).astype(np.int64)
        return self._offsets

    @property
    def keys(self) -> NDArray[np.int64]:
        """One rising number for each series, int64 ``(k,)``."""
        if self._keys is None:
            self._keys = series_keys(self.interval, self.symbol)
        return self._keys

    @property
    def in_order(self) -> bool:
        """Whether the rows stand in the order of a result, so each series is one stretch."""
        if self._in_order is None:
            self._in_order = bool(np.all(self.keys[1:] > self.keys[:-1]))
        return self._in_order

    @classmethod
    def of(cls, interval: NDArray[np.int16], symbol: NDArray[np.int32]) -> SeriesIndex:
        """The index of rows with these two columns."""
        changes = (interval[1:] != interval[:-1]) | (symbol[1:] != symbol[:-1])
        starts = np.flatnonzero(changes) + 1
        first = [0] if len(symbol) else []
        offsets = np.concatenate([first, starts, [len(symbol)]]).astype(np.int64)
        return cls(interval[offsets[:-1]], symbol[offsets[:-1]], offsets)

    def __len__(self) -> int:
        return len(self.symbol)

    def rows(self, stretches: NDArray[np.intp]) -> slice | NDArray[np.int64]:
        """The rows of some stretches: a slice when they touch, else their positions."""
        if not len(stretches):
            return slice(0, 0)
        begin, end = self.offsets[stretches], self.offsets[stretches + 1]
        if np.array_equal(begin[1:], end[:-1]):
            return slice(int(begin[0]), int(end[-1]))
        return ranges(begin, end)

    def find(self, interval: int, symbol: int) -> NDArray[np.intp]:
        """Positions of the stretches of one series."""
        key = (interval << 32) | symbol
        if not self.in_order:
            return np.flatnonzero(self.keys == key)
        k = int(np.searchsorted(self.keys, key))
        return np.arange(k, k + int(k < len(self.keys) and self.keys[k] == key))


def series_keys(interval: NDArray[Any], symbol: NDArray[Any]) -> NDArray[np.int64]:
    """A number for each row that sorts as ``(interval, symbol)``."""
    keys: NDArray[np.int64] = (interval.astype(np.int64) << 32) | symbol.astype(np.int64)
    return keys


def ranges(begin: NDArray[Any], end: NDArray[Any]) -> NDArray[np.int64]:
    """``begin[0] ... end[0] - 1, begin[1] ... end[1] - 1, ...`` as one int64 array."""
    lengths = (end - begin).astype(np.int64)
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    out = np.arange(total, dtype=np.int64)
    out += np.repeat(begin - (ends - lengths), lengths)
    return out


class SymbolTable:
    """Names of symbol ids. An id without a name is called by its digits."""

    __slots__ = ("_given", "_ids")

    def __init__(self, names: Mapping[int, str] | Callable[[], Mapping[int, str]]) -> None:
        self._given = names
        self._ids: dict[str, int] | None = None

    @property
    def _names(self) -> Mapping[int, str]:
        names = self._given
        if callable(names):
            names = self._given = names()
        return names

    @property
    def mapping(self) -> Mapping[int, str]:
        """Name of each id that has one; read-only."""
        return MappingProxyType(self._names)

    def name(self, symbol: int) -> str:
        """The name of an id."""
        return self._names.get(symbol, str(symbol))

    def names(self, symbols: NDArray[np.int32]) -> list[str]:
        """The names of ids."""
        return [self._names.get(symbol, str(symbol)) for symbol in symbols.tolist()]

    def find(self, name: str) -> int | None:
        """The id of a name; None when nobody has it."""
        if self._ids is None:
            self._ids = {text: symbol for symbol, text in self._names.items()}
        symbol = self._ids.get(name)
        if symbol is None and name.isdecimal() and str(int(name)) == name:
            # An id that was never interned is labelled, and so found, by its digits.
            plain = int(name)
            return plain if plain < 2**31 and self.name(plain) == name else None
        return symbol


def near_names(name: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """Up to ``limit`` of the known names that the caller may have meant, best first."""
    import difflib

    pool = list(known)
    folded = name.casefold()
    same = [text for text in pool if text.casefold() == folded]
    if same:
        return same[:limit]
    # Comparing one hundred thousand names letter by letter would take seconds.
    close = pool
    if len(pool) > _MAX_COMPARED:
        close = [text for text in pool if text[:2].casefold() == folded[:2]][:_MAX_COMPARED]
    by_fold = {text.casefold(): text for text in close}
    found = [by_fold[text] for text in difflib.get_close_matches(folded, by_fold, limit, 0.6)]
    inside = [text for text in pool if folded and folded in text.casefold()]
    return list(dict.fromkeys(found + inside))[:limit]


def no_such_series(what: str, name: object, known: Sequence[str]) -> errors.KlineaggError:
    """The error for an unknown symbol or interval, with the names that come near."""
    near = near_names(str(name), known)
    if near:
        hint = f"did you mean {' or '.join(repr(text) for text in near)}?"
    elif known:
        more = f" and {len(known) - 8:,} more" if len(known) > 8 else ""
        hint = f"there are {', '.join(known[:8])}{more}"
    else:
        hint = "the result is empty"
    text = f"no {what} {name!r} in these bars"
    return errors.make("no_such_series", text, hint=hint, **{what: name, "near": near})
