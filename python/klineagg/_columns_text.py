"""Text columns as dense codes, across blocks and batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klineagg import errors
from klineagg._columns_data import Column, checked_codes

__all__ = ["TextEncoder", "holds_text"]


def holds_text(column: Any) -> bool:
    """Whether the values of ``column`` are text, or objects that may be."""
    if column.kind == "dictionary":
        return holds_text(column.dictionary())
    return column.kind in ("text", "object")


class TextEncoder:
    """Gives each distinct text a number that depends on the text.

    The numbers of texts that were seen before are remembered, so that ``number_of`` is asked once
    for each text, however many rows and batches there are.

    Args:
        numbers_of: new texts -> their numbers, as many.
        missing: the number of rows without a text.
        dtype: type of the numbers.
    """

    def __init__(
        self,
        numbers_of: Callable[[list[str]], Any],
        *,
        missing: int,
        dtype: type[np.generic],
    ) -> None:
        from klineagg import _core

        self._factorizer = _core.Factorizer()
        self._numbers_of = numbers_of
        # The last entry is the one that the code -1 of a missing text picks.
        self._table: NDArray[Any] = np.array([missing], dtype)
        self._dictionary: Any = None
        self._dictionary_codes: NDArray[np.int32] = np.empty(0, np.int32)

    def encode(self, column: Any, first_row: int = 0) -> NDArray[Any]:
        """The number of each row's text, ``(n,)``.

        Raises:
            ColumnError: ``column_type`` when a row holds no text; names column and row, which is
                counted from ``first_row``.
        """
        codes = self._codes(column, first_row)
        self._learn(column)
        numbers: NDArray[Any] = self._table[codes]
        return numbers

    def text_of(self, column: Any, row: int) -> str:
        """The text of a row that :meth:`encode` has seen."""
        code = int(self._codes(column.slice(row, row + 1), 0)[0])
        return str(self._factorizer.names(code)[0]) if code >= 0 else ""

    def _codes(self, column: Any, first_row: int) -> NDArray[np.int32]:
        if column.kind == "dictionary":
            return self._gathered(column, first_row)
        codes = self._factorized(column, first_row)
        valid = column.valid() if hasattr(column, "array") else None  # Arrow's nulls are known
        return codes if valid is None else np.where(valid, codes, np.int32(-1))

    def _factorized(self, column: Any, first_row: int) -> NDArray[np.int32]:
        values = column
        if hasattr(column, "array"):
            values = column.values()
            if values.dtype.kind == "T":
                values = values.astype(object)
        try:
            codes: NDArray[np.int32] = self._factorizer.encode(values)
        except errors.ColumnError as error:
            row = int(error.fields.get("row", 0)) + first_row
            found = error.fields.get("type", column.type)
            text = f"row {row} of the column {column.name!r} holds no text: {found}"
            raise errors.make("column_type", text, column=column.name, row=row) from None
        except UnicodeEncodeError as error:
            text = f"column {column.name!r} holds text that is not Unicode: {error}"
            raise errors.make("column_type", text, column=column.name) from None
        return codes

    def _gathered(self, column: Any, first_row: int) -> NDArray[np.int32]:
        """Codes of a dictionary column: its dictionary is looked at once, not for each row."""
        known = self._dictionary
        if known is None or known[0] != column.token:
            inner = self._codes(column.dictionary(), first_row)
            # Refers to the column, which keeps its token from being given to another one.
            self._dictionary = (column.token, column)
            self._dictionary_codes = np.append(inner, np.int32(-1))
        indices, valid = column.indices(), column.valid()
        last = len(self._dictionary_codes) - 1
        if valid is not None:
            indices = np.where(valid, indices, last)
        codes: NDArray[np.int32] = self._dictionary_codes[checked_codes(column, indices, last + 1)]
        return codes

    def _learn(self, column: Column) -> None:
        known = len(self._table) - 1
        if len(self._factorizer) == known:
            return
        try:
            names = self._factorizer.names(known)
        except errors.ColumnError as error:
            text = f"column {column.name!r}: {error.message}"
            raise errors.make("column_type", text, column=column.name) from None
        numbers = np.asarray(self._numbers_of(names), self._table.dtype)
        self._table = np.concatenate([self._table[:-1], numbers, self._table[-1:]])
