"""Sale conditions of files as flags, for readers that hand out chunks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klineagg import errors
from klineagg._columns_read import column_of
from klineagg._conditions_table import UNKNOWN, ConditionTable
from klineagg.conditions import flag_encoder, table

__all__ = ["Marks"]


class Marks:
    """The flags of one file's conditions column.

    Args:
        conditions: a table of codes, or its name.
        file: how messages call the file.

    Raises:
        OptionError: ``invalid_option``: no table has that name.
    """

    def __init__(self, conditions: ConditionTable | str, file: str) -> None:
        self._table = table(conditions)
        self._file = file
        self._encoder = flag_encoder(self._table)
        self._texts: list[str] = []
        self._bits = np.empty(0, np.uint8)

    def of_codes(
        self, codes: NDArray[np.int32], new: Sequence[str], line_of: Callable[[int], int]
    ) -> NDArray[np.uint8]:
        """The flags of rows of a CSV file.

        Args:
            codes: places among the texts of the column so far, ``(n,)``.
            new: the texts that were not there at the last call.
            line_of: from a row to its line.

        Raises:
            ColumnError: ``column_type`` for a code that the table does not have.
        """
        self._texts += new
        bits = [self._table.bits_of(text) for text in new]
        self._bits = np.concatenate([self._bits, np.array(bits, np.uint8)])
        flags: NDArray[np.uint8] = self._bits[codes]
        # Looked for among the rows: a text may also come from a record that was left out.
        bad = flags == UNKNOWN
        if bad.any():
            row = int(np.argmax(bad))
            raise self._located(self._table.bad_code(self._texts[codes[row]], None), line_of(row))
        return flags

    def of_arrow(self, column: Any, first_row: int) -> NDArray[np.uint8]:
        """The flags of an Arrow column whose first row is row ``first_row`` of the file.

        Raises:
            ColumnError: ``column_type`` for what holds no codes, or a code that the table does not
                have.
        """
        row, out = first_row, [np.empty(0, np.uint8)]
        for piece in column_of("conditions", column):
            try:
                out.append(self._encoder(piece, row))
            except errors.ColumnError as error:
                place = error.fields.get("row")
                raise self._located(error, place if isinstance(place, int) else None) from error
            row += len(piece)
        return np.concatenate(out)

    def _located(self, error: errors.KlineaggError, row: int | None) -> errors.KlineaggError:
        place = self._file if row is None else f"{self._file}:{row}"
        message = error.message.removeprefix(f"row {row}: ")
        hint = error.hint
        if "table" in error.fields:
            hint += "; on the command line: --unknown-conditions count"
        fields = {**error.fields, "file": self._file, "row": row, "column": "conditions"}
        return errors.make(error.name, f"{place}: {message}", hint=hint, **fields)
