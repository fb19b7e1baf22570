"""Sale conditions: which trades count for open and close, for high and low, and for volume.

A :class:`ConditionTable` says what each code of a feed means for a bar. The ready tables are here;
``aggregate(trades, ..., conditions="us_utp")`` or ``conditions=klineagg.conditions.US_UTP`` uses
one on the input's conditions column, :func:`flags_from` makes a ``flags`` column of it.

The tables of the US consolidated tape state the rules by which the processors themselves update
the consolidated high, low, last and volume. Those of the crypto venues say what a mark in their
trade feeds means; a venue seldom says what its own K-lines do with it, so each table tells what
is documented and what is convention.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from klineagg import errors
from klineagg._columns_data import Column, NumpyColumn, is_missing
from klineagg._columns_read import column_of
from klineagg._columns_text import TextEncoder, holds_text
from klineagg._conditions_crypto import (
    BINANCE_OPTIONS,
    BYBIT_BLOCK,
    DERIBIT_BLOCK,
    DERIBIT_LIQUIDATION,
    GATE_INTERNAL,
    KRAKEN_FUTURES,
    OKX_SOURCE,
    RPI,
)
from klineagg._conditions_table import UNKNOWN, Condition, ConditionTable, TradeFlag
from klineagg._conditions_us import US_CTA, US_UTP

__all__ = [
    "BINANCE_OPTIONS",
    "BYBIT_BLOCK",
    "DERIBIT_BLOCK",
    "DERIBIT_LIQUIDATION",
    "GATE_INTERNAL",
    "KRAKEN_FUTURES",
    "OKX_SOURCE",
    "RPI",
    "TABLES",
    "US_CTA",
    "US_UTP",
    "Condition",
    "ConditionTable",
    "TradeFlag",
    "flags_from",
    "table",
]

TABLES: Final[Mapping[str, ConditionTable]] = MappingProxyType(
    {
        each.name: each
        for each in (
            US_CTA,
            US_UTP,
            GATE_INTERNAL,
            KRAKEN_FUTURES,
            BYBIT_BLOCK,
            BINANCE_OPTIONS,
            DERIBIT_BLOCK,
            DERIBIT_LIQUIDATION,
            OKX_SOURCE,
            RPI,
        )
    }
)
"""The ready tables by name."""


def flags_from(codes: Any, conditions: ConditionTable | str) -> NDArray[np.uint8]:
    """TradeFlag bits, uint8 ``(n,)``, of a column of codes.

    Args:
        codes: text, integers, bools, or lists of those: a list, a NumPy array, a pandas or polars
            Series, an Arrow array.
        conditions: a table, or the name of one of :data:`TABLES`.

    Raises:
        ColumnError: ``column_type`` for a code that the table does not have; names it and its row.
        OptionError: no table has that name.
    """
    encoder = flag_encoder(conditions)
    row, out = 0, [np.empty(0, np.uint8)]
    for piece in column_of("conditions", codes):
        out.append(encoder(piece, row))
        row += len(piece)
    return np.concatenate(out)


def table(name: ConditionTable | str) -> ConditionTable:
    """The ready table of that name; a table is returned as it is.

    Raises:
        OptionError: no table has that name.
    """
    if isinstance(name, ConditionTable):
        return name
    if not isinstance(name, str) or name not in TABLES:
        text = f"there is no table of conditions {name!r}; the tables are {', '.join(TABLES)}"
        raise errors.make("invalid_option", text, option="conditions", value=name)
    return TABLES[name]


def flag_encoder(conditions: ConditionTable | str) -> _FlagEncoder:
    """Turns columns of codes into flags; remembers the codes that it has seen."""
    return _FlagEncoder(table(conditions))


class _FlagEncoder:
    def __init__(self, conditions: ConditionTable) -> None:
        self._table = conditions

        def flags(texts: list[str]) -> list[int]:
            return [conditions.bits_of(text) for text in texts]

        self._texts = TextEncoder(flags, missing=0, dtype=np.uint8)

    def __call__(self, column: Any, first_row: int) -> NDArray[np.uint8]:
        """The flags of a column whose first row is row ``first_row`` of the input."""
        kind = column.kind
        if kind == "null":
            return np.zeros(len(column), np.uint8)
        if kind == "list":
            return self._of_arrow_lists(column, first_row)
        if kind == "object":
            return self._of_objects(column, first_row)
        if kind in ("int", "bool"):
            return self._of_numbers(column, first_row)
        if not holds_text(column):
            text = f"the conditions column {column.name!r} holds {column.type}"
            hint = "codes are text, integers, bools, or lists of those"
            raise errors.make("column_type", text, hint=hint, column=column.name)
        flags: NDArray[np.uint8] = self._texts.encode(column, first_row)
        self._check(flags, first_row, lambda row: self._texts.text_of(column, row))
        return flags

    def _check(self, flags: NDArray[np.uint8], first_row: int, text_of: Any) -> None:
        bad = flags == UNKNOWN
        if bad.any():
            row = int(np.argmax(bad))
            raise self._table.bad_code(text_of(row), row + first_row)

    def _of_numbers(self, column: Column, first_row: int) -> NDArray[np.uint8]:
        values, valid = column.values(), column.valid()
        if len(values) and not (valid is not None and not valid.any()):
            self._check_not_number(column.name, values[0].item(), first_row)
        distinct, codes = np.unique(values, return_inverse=True)
        numbers = distinct.tolist()
        known = np.array([self._table.bits_of(str(n)) for n in numbers] or [0], np.uint8)
        flags: NDArray[np.uint8] = known[codes] if len(values) else np.zeros(0, np.uint8)
        if valid is not None:
            flags = np.where(valid, flags, np.uint8(0))
        self._check(flags, first_row, lambda row: numbers[codes[row]])
        return flags

    def _check_not_number(self, name: str, value: Any, row: int) -> None:
        """Feeds that number their conditions have lists of their own: 37 is neither "3" nor "7"."""
        if self._table.per_character:
            text = f"row {row} of the conditions column {name!r} holds the number {value!r}, "
            text += f"and the codes of the table {self._table.name!r} are characters"
            hint = "translate the numbers by the feed's own list, or give a ConditionTable of them"
            raise errors.make("column_type", text, hint=hint, column=name, row=row)

    def _of_objects(self, column: Column, first_row: int) -> NDArray[np.uint8]:
        values = column.values()
        if any(isinstance(value, (list, tuple, set, np.ndarray)) for value in values):
            rows = [[] if is_missing(value) else list(value) for value in values]
            offsets = np.cumsum([0, *map(len, rows)])
            items = np.empty(int(offsets[-1]), object)
            items[:] = [item for row in rows for item in row]
            return self._joined(NumpyColumn(column.name, items), offsets, None, first_row)
        texts = np.empty(len(values), object)
        for row, value in enumerate(values):
            if isinstance(value, (int, np.integer)):
                self._check_not_number(column.name, value, row + first_row)
            texts[row] = value if is_missing(value) or isinstance(value, bytes) else str(value)
        column = NumpyColumn(column.name, texts, column.valid())
        flags: NDArray[np.uint8] = self._texts.encode(column, first_row)
        self._check(flags, first_row, lambda row: values[row])
        return flags

    def _of_arrow_lists(self, column: Any, first_row: int) -> NDArray[np.uint8]:
        offsets = column.offsets()
        items = column.items().slice(int(offsets[0]), int(offsets[-1]))
        return self._joined(items, offsets - offsets[0], column.valid(), first_row)

    def _joined(
        self,
        items: Any,
        offsets: NDArray[np.int64],
        valid: NDArray[np.bool_] | None,
        first_row: int,
    ) -> NDArray[np.uint8]:
        """The flags of each row's codes, or-ed."""
        try:
            flags = self(items, 0)
        except errors.ColumnError as error:
            item = error.fields.get("row")
            if not isinstance(item, int) or "code" not in error.fields:
                raise
            row = int(np.searchsorted(offsets, item, side="right")) - 1 + first_row
            raise self._table.bad_code(error.fields.get("code"), row) from None
        out = np.zeros(len(offsets) - 1, np.uint8)
        filled = np.diff(offsets) > 0
        if filled.any():
            out[filled] = np.bitwise_or.reduceat(flags, offsets[:-1][filled])
        return out if valid is None else np.where(valid, out, np.uint8(0))
