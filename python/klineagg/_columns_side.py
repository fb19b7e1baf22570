"""The taker's side from bools, signs, letters and words."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from klineagg import errors
from klineagg._columns_data import Column, NumpyColumn, is_missing
from klineagg._columns_text import TextEncoder, holds_text

__all__ = ["side_encoder", "to_side"]

_WORDS: Final = {
    **dict.fromkeys(("b", "buy", "bid", "buyer", "true"), 1),
    **dict.fromkeys(("s", "sell", "a", "ask", "seller", "false"), -1),
    **dict.fromkeys(("", "n", "none", "unknown"), 0),
}
"""Letters and words of the venues, in lower case."""

_BAD: Final = 2  # no side; marks a text that is none

_ADVICE: Final = (
    "a side is a bool, -1, 0 or 1, or one of b, buy, bid, s, sell, a, ask and '' for unknown; "
    "columns={'side': None} goes without"
)


def side_encoder() -> TextEncoder:
    """Letters and words as signs; what is none of them gets a mark of its own."""

    def signs(words: list[str]) -> list[int]:
        return [_WORDS.get(word.strip().lower(), _BAD) for word in words]

    return TextEncoder(signs, missing=0, dtype=np.int8)


def to_side(
    column: Column,
    encoder: TextEncoder,
    *,
    of_maker: bool,
    buyer_is_maker: bool,
    first_row: int,
) -> tuple[NDArray[Any] | None, str]:
    """The side as int8, uint8 or bool ``(n,)`` and the rule to read it by.

    Args:
        column: signs, bools or text.
        encoder: from :func:`side_encoder`.
        of_maker: the column tells the maker's side, not the taker's.
        buyer_is_maker: the column is true where the buyer was the maker.
        first_row: the row of the input that the column starts with, for messages.

    Returns:
        The values and ``"sign"`` (above 0: the taker bought) or ``"maker"`` (not 0: the taker
        sold). A view where the memory holds such values already.

    Raises:
        ColumnError: ``column_type``; names the row and the value.
    """
    kind = column.kind
    if kind == "null":
        return None, "sign"
    if kind == "bool":
        return _from_bools(column, of_maker)
    if kind == "int":
        return _from_ints(column, of_maker, buyer_is_maker, first_row)
    if kind == "float":
        return _from_floats(column, of_maker, buyer_is_maker, first_row)
    if holds_text(column):
        signs = _from_text(column, encoder, first_row)
        return (np.negative(signs) if of_maker else signs), "sign"
    text = f"the side column {column.name!r} holds {column.type}"
    raise errors.make("column_type", text, hint=_ADVICE, column=column.name, type=column.type)


def _from_bools(column: Column, of_maker: bool) -> tuple[NDArray[Any], str]:
    values, valid = column.values(), column.valid()
    if valid is None:
        return values, "maker" if of_maker else "sign"
    return _as_signs(np.where(values, 1, -1).astype(np.int8), valid, of_maker, False)


def _from_ints(
    column: Column, of_maker: bool, buyer_is_maker: bool, first_row: int
) -> tuple[NDArray[Any], str]:
    values, valid = column.values(), column.valid()
    if valid is not None:
        values = np.where(valid, values, 0)
    _check(column, values, 0 if buyer_is_maker else -1, 1, first_row)
    if valid is None and values.dtype in (np.int8, np.uint8):
        if not of_maker:
            return values, "sign"
        if buyer_is_maker:
            return values, "maker"
    known = np.ones(len(values), np.bool_) if valid is None else valid
    return _as_signs(values.astype(np.int8), known, of_maker, buyer_is_maker)


def _from_floats(
    column: Column, of_maker: bool, buyer_is_maker: bool, first_row: int
) -> tuple[NDArray[Any], str]:
    """What pandas makes of signs when some are missing."""
    values, valid = column.values(), column.valid()
    known = ~np.isnan(values)
    if valid is not None:
        known &= valid
    values = np.where(known, values, 0)
    _check(column, values, 0 if buyer_is_maker else -1, 1, first_row)
    _check(column, np.abs(values - np.trunc(values)), 0, 0, first_row, values)
    return _as_signs(values.astype(np.int8), known, of_maker, buyer_is_maker)


def _as_signs(
    signs: NDArray[np.int8], known: NDArray[np.bool_], of_maker: bool, buyer_is_maker: bool
) -> tuple[NDArray[Any], str]:
    """int8 with 0 where the side is not known."""
    if buyer_is_maker:
        # 0 and 1 are the answers to a question here, not "unknown" and "bought".
        signs = np.where(signs > 0, 1, -1).astype(np.int8)
    if of_maker:
        signs = np.negative(signs)
    return np.where(known, signs, 0).astype(np.int8), "sign"


def _check(
    column: Column,
    values: NDArray[Any],
    low: int,
    high: int,
    first_row: int,
    shown: NDArray[Any] | None = None,
) -> None:
    if len(values) == 0 or (values.min() >= low and values.max() <= high):
        return
    row = int(np.argmax((values < low) | (values > high)))
    raise _bad_value(column, row + first_row, (values if shown is None else shown)[row].item())


def _bad_value(column: Column, row: int, value: Any) -> errors.KlineaggError:
    text = f"row {row} of the side column {column.name!r} holds {value!r}"
    return errors.make("column_type", text, hint=_ADVICE, column=column.name, row=row, value=value)


def _from_text(column: Column, encoder: TextEncoder, first_row: int) -> NDArray[np.int8]:
    if column.kind == "object":
        column = _spelled(column, first_row)
    signs: NDArray[np.int8] = encoder.encode(column, first_row)
    bad = signs == _BAD
    if bad.any():
        row = int(np.argmax(bad))
        raise _bad_value(column, row + first_row, encoder.text_of(column, row))
    return signs


def _spelled(column: Column, first_row: int) -> Column:
    """Objects as text, so that True, 1 and 'buy' may stand in one column."""
    values, valid = column.values(), column.valid()
    if all(value is None or isinstance(value, (str, bytes)) for value in values):
        return column
    spelled = np.empty(len(values), object)
    for row, value in enumerate(values):
        if isinstance(value, (str, bytes)) or is_missing(value):
            spelled[row] = value
        elif isinstance(value, (bool, np.bool_)):
            spelled[row] = "true" if value else "false"
        elif isinstance(value, (int, float, np.number)) and value in (-1, 0, 1):
            spelled[row] = {1: "b", -1: "s", 0: ""}[int(value)]
        else:
            raise _bad_value(column, row + first_row, value)
    return NumpyColumn(column.name, spelled, valid)
