"""A column as it came in: one interface over NumPy arrays and Arrow memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from klineagg import errors

__all__ = [
    "INT64_MAX",
    "CategoryColumn",
    "Column",
    "ConstantColumn",
    "NumpyColumn",
    "checked_codes",
    "is_missing",
    "plain",
]


class Column(Protocol):
    """What the conversions need to know of a column of ``n`` rows.

    ``kind`` is one of null, bool, int, float, decimal, text, object, date, time, timestamp,
    duration, list, dictionary, constant, other. ``dtype`` is the NumPy type of ``values()`` when
    that is a view of the input's memory, else ``""``.
    """

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def null_count(self) -> int: ...
    def __len__(self) -> int: ...
    def slice(self, start: int, stop: int) -> Column: ...
    def values(self) -> NDArray[Any]: ...
    def valid(self) -> NDArray[np.bool_] | None: ...


INT64_MAX: Final = np.uint64(np.iinfo(np.int64).max)
"""What is larger, in a column of uint64, stands for no time and no id."""

_KINDS: Final = {
    "b": "bool",
    "i": "int",
    "u": "int",
    "f": "float",
    "M": "timestamp",
    "m": "duration",
    "U": "text",
    "S": "text",
    "T": "text",
    "O": "object",
}


@dataclass(frozen=True, slots=True)
class NumpyColumn:
    """A NumPy array ``(n,)`` of any stride, and where it has values (``None``: everywhere)."""

    name: str
    array: NDArray[Any]
    mask: NDArray[np.bool_] | None = None

    @property
    def kind(self) -> str:
        """What the array holds."""
        return _KINDS.get(self.array.dtype.kind, "other")

    @property
    def type(self) -> str:
        """For messages."""
        return "object" if self.kind == "object" else str(self.array.dtype)

    @property
    def dtype(self) -> str:
        """The type of the values when they are a view in native byte order."""
        dtype = self.array.dtype
        return str(dtype) if dtype.isnative and dtype.kind in "biufMm" else ""

    @property
    def unit(self) -> str:
        """Empty: a datetime64 carries its unit in the dtype."""
        return ""

    @property
    def null_count(self) -> int:
        """Number of rows without a value."""
        return 0 if self.mask is None else int(np.count_nonzero(~self.mask))

    def __len__(self) -> int:
        return len(self.array)

    def slice(self, start: int, stop: int) -> NumpyColumn:
        """Rows ``start ... stop - 1``, in the same memory."""
        mask = None if self.mask is None else self.mask[start:stop]
        return NumpyColumn(self.name, self.array[start:stop], mask)

    def values(self) -> NDArray[Any]:
        """The array, in native byte order."""
        dtype = self.array.dtype
        return self.array if dtype.isnative else self.array.astype(dtype.newbyteorder("="))

    def valid(self) -> NDArray[np.bool_] | None:
        """Where there is a value."""
        return self.mask


@dataclass(frozen=True, slots=True)
class CategoryColumn:
    """Codes ``(n,)`` into a column of distinct values; a negative code is a missing value."""

    name: str
    codes: NDArray[Any]
    categories: Column

    kind = "dictionary"
    dtype = ""
    unit = ""

    @property
    def type(self) -> str:
        """For messages."""
        return f"category of {self.categories.type}"

    @property
    def null_count(self) -> int:
        """Number of rows without a value."""
        return int(np.count_nonzero(self.codes < 0))

    @property
    def token(self) -> int:
        """The same for two slices of one column."""
        return id(self.categories)

    def __len__(self) -> int:
        return len(self.codes)

    def slice(self, start: int, stop: int) -> CategoryColumn:
        """Rows ``start ... stop - 1``, in the same memory."""
        return CategoryColumn(self.name, self.codes[start:stop], self.categories)

    def indices(self) -> NDArray[Any]:
        """The codes."""
        return self.codes

    def dictionary(self) -> Column:
        """What the codes refer to."""
        return self.categories

    def values(self) -> NDArray[Any]:
        """Not available: see :func:`plain`."""
        raise NotImplementedError

    def valid(self) -> NDArray[np.bool_] | None:
        """Where there is a value."""
        valid: NDArray[np.bool_] = self.codes >= 0
        return None if valid.all() else valid


@dataclass(frozen=True, slots=True)
class ConstantColumn:
    """One value for all rows (the symbol of data that is of one symbol)."""

    name: str
    value: Any
    rows: int

    kind = "constant"
    dtype = ""
    unit = ""
    null_count = 0

    @property
    def type(self) -> str:
        """For messages."""
        return type(self.value).__name__

    def __len__(self) -> int:
        return self.rows

    def slice(self, start: int, stop: int) -> ConstantColumn:
        """Rows ``start ... stop - 1``."""
        return ConstantColumn(self.name, self.value, stop - start)

    def values(self) -> NDArray[Any]:
        """The value in each row, without memory for each row."""
        return np.broadcast_to(np.asarray(self.value), (self.rows,))

    def valid(self) -> NDArray[np.bool_] | None:
        """``None``: everywhere."""
        return None


def is_missing(value: Any) -> bool:
    """Whether a Python object stands for no value: None, NaN, NaT, pandas' NA."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, np.datetime64):
        return bool(np.isnat(value))
    return isinstance(value, (float, np.floating)) and bool(value != value)


def plain(column: Any) -> Column:
    """A dictionary column of numbers, times or bools with each row's own value.

    Raises:
        ColumnError: ``column_type`` when the dictionary is of a type without values, or a code
            refers to nothing.
    """
    if column.kind != "dictionary":
        return column  # type: ignore[no-any-return]
    inner = plain(column.dictionary())
    values, inner_valid = inner.values(), inner.valid()
    indices, valid = column.indices(), column.valid()
    if valid is not None:
        indices = np.where(valid, indices, 0)
    if len(values) == 0:
        values = np.zeros(1, values.dtype)
        inner_valid = np.zeros(1, np.bool_)
    out = values[checked_codes(column, indices, len(values))]
    if inner_valid is not None:
        from_inner = inner_valid[indices]
        valid = from_inner if valid is None else valid & from_inner
    if inner.unit:
        out = out.astype(np.int64).view(f"datetime64[{inner.unit}]")
    return NumpyColumn(column.name, out, valid)


def checked_codes(column: Column, codes: NDArray[Any], size: int) -> NDArray[Any]:
    """``codes``, if each of them lies in ``0 ... size - 1``."""
    if len(codes) and (int(codes.min()) < 0 or int(codes.max()) >= size):
        text = f"column {column.name!r}: a code of the dictionary refers to no value"
        raise errors.make("column_type", text, column=column.name)
    return codes
