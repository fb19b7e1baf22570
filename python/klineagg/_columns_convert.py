"""Prices, symbols, ids and flags as the core takes them; a view where the type fits already."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from klineagg import errors
from klineagg._columns_data import INT64_MAX, Column, ConstantColumn, is_missing
from klineagg._columns_text import TextEncoder, holds_text

__all__ = ["MISSING_ID", "symbol_encoder", "to_amount", "to_flags", "to_id", "to_symbol"]

MISSING_ID: Final = -1
_SYMBOL_MAX: Final = np.iinfo(np.int32).max
_EXACT_FLOAT: Final = 2**53


def to_amount(column: Column, first_row: int) -> NDArray[np.float64]:
    """Prices or quantities as float64 ``(n,)``; NaN where there is none.

    Raises:
        ColumnError: ``column_type`` when the column holds no numbers.
    """
    kind = column.kind
    if kind == "object":
        return _amounts_from_objects(column, first_row)
    if kind == "null":
        return np.full(len(column), np.nan)
    if kind not in ("float", "int", "decimal"):
        hint = "convert it to float64"
        if holds_text(column):
            hint = "convert it first, for example with numpy.asarray(texts).astype(float)"
        text = f"column {column.name!r} holds {column.type}, not numbers"
        raise errors.make("column_type", text, hint=hint, column=column.name, type=column.type)
    values, valid = column.values(), column.valid()
    amounts = values if values.dtype == np.float64 else values.astype(np.float64)
    return amounts if valid is None else np.where(valid, amounts, np.nan)


def _amounts_from_objects(column: Column, first_row: int) -> NDArray[np.float64]:
    import decimal

    values, valid = column.values(), column.valid()
    out = np.full(len(values), np.nan)
    for row, value in enumerate(values):
        if (valid is not None and not valid[row]) or is_missing(value):
            continue
        is_bool = isinstance(value, (bool, np.bool_))
        if is_bool or not isinstance(value, (int, float, decimal.Decimal, np.number)):
            text = f"row {row + first_row} of the column {column.name!r} holds {value!r}, no number"
            raise errors.make(
                "column_type", text, column=column.name, row=row + first_row, value=value
            )
        out[row] = float(value)
    return out


def symbol_encoder() -> TextEncoder:
    """Names as their process-wide ids; an empty name is a missing one."""
    from klineagg import symbols

    def ids(names: list[str]) -> NDArray[np.int32]:
        out = np.full(len(names), MISSING_ID, np.int32)
        known = [place for place, name in enumerate(names) if name]
        out[known] = symbols.intern([names[place] for place in known])
        return out

    return TextEncoder(ids, missing=MISSING_ID, dtype=np.int32)


def to_symbol(column: Column, encoder: TextEncoder, first_row: int) -> NDArray[np.int32]:
    """Symbol ids, int32 ``(n,)``; -1 where there is none.

    Raises:
        ColumnError: ``column_type``, or ``unknown_symbol`` for an integer that is no id.
    """
    if isinstance(column, ConstantColumn):
        single = to_symbol(_single(column), encoder, first_row)
        return np.broadcast_to(single, (len(column),)) if len(column) else single[:0]
    if holds_text(column):
        ids: NDArray[np.int32] = encoder.encode(column, first_row)
        return ids
    if column.kind == "null":
        return np.full(len(column), MISSING_ID, np.int32)
    if column.kind != "int":
        text = f"the symbol column {column.name!r} holds {column.type}"
        hint = "symbols are text or integer ids"
        raise errors.make("column_type", text, hint=hint, column=column.name, type=column.type)
    values, valid = column.values(), column.valid()
    if values.dtype != np.int32:
        values = _narrowed(
            column, values if valid is None else np.where(valid, values, 0), first_row
        )
    return values if valid is None else np.where(valid, values, np.int32(MISSING_ID))


def _narrowed(column: Column, ids: NDArray[Any], first_row: int) -> NDArray[np.int32]:
    """Any id below zero is a missing one; cut off, since a cast alone could make it valid."""
    if len(ids) and ids.max() > _SYMBOL_MAX:
        row = int(np.argmax(ids > _SYMBOL_MAX))
        text = f"row {row + first_row} of the symbol column {column.name!r} holds "
        text += f"{ids[row]}, and symbol ids are below 2**31"
        raise errors.make("unknown_symbol", text, column=column.name, row=row + first_row)
    if ids.dtype.kind == "i":
        ids = np.maximum(ids, MISSING_ID)
    return ids.astype(np.int32)


def _single(column: ConstantColumn) -> Any:
    from klineagg._columns_read import column_of

    (single,) = column_of(column.name, [column.value])
    return single


def to_id(column: Column, first_row: int) -> NDArray[np.int64] | None:
    """Trade ids as int64 ``(n,)``; -1 where there is none; ``None`` for a column of nulls.

    Raises:
        ColumnError: ``column_type``.
    """
    kind = column.kind
    if kind == "null":
        return None
    values, valid = column.values() if kind in ("int", "float", "object") else None, column.valid()
    if kind == "object" and values is not None:
        return _ids_from_objects(column, values, valid, first_row)
    if kind == "float" and values is not None:
        known = ~np.isnan(values) if valid is None else valid & ~np.isnan(values)
        values = np.where(known, values, MISSING_ID)
        whole = np.abs(values) < _EXACT_FLOAT
        whole &= values == np.trunc(values)
        if not whole.all():
            row = int(np.argmin(whole))
            raise _bad_id(column, row + first_row, values[row].item())
        return values.astype(np.int64)
    if values is None:
        raise _no_ids(column)
    if values.dtype == np.uint64 and len(values) and values.max() > INT64_MAX:
        # As it stands in 64 bits, 2^64 - 1 were no id at all, and others came before all.
        beyond = values > INT64_MAX if valid is None else (values > INT64_MAX) & valid
        if beyond.any():
            row = int(np.argmax(beyond))
            raise _bad_id(column, row + first_row, values[row].item())
    ids = values.view(np.int64) if values.dtype.itemsize == 8 else values.astype(np.int64)
    return ids if valid is None else np.where(valid, ids, MISSING_ID)


def _ids_from_objects(
    column: Column, values: NDArray[Any], valid: NDArray[np.bool_] | None, first_row: int
) -> NDArray[np.int64]:
    out = np.full(len(values), MISSING_ID, np.int64)
    for row, value in enumerate(values):
        if (valid is not None and not valid[row]) or is_missing(value):
            continue
        if isinstance(value, (str, bytes)):
            raise _no_ids(column)
        is_bool = isinstance(value, (bool, np.bool_))
        if is_bool or not isinstance(value, (int, np.integer)) or not -(2**63) <= value < 2**63:
            raise _bad_id(column, row + first_row, value)
        out[row] = value
    return out


def _no_ids(column: Column) -> errors.KlineaggError:
    hint = f"convert {column.name!r} to int64, or go without: columns={{'trade_id': None}}"
    text = f"the id column {column.name!r} holds {column.type}; trade ids are integers"
    return errors.make("column_type", text, hint=hint, column=column.name, type=column.type)


def _bad_id(column: Column, row: int, value: Any) -> errors.KlineaggError:
    text = f"row {row} of the id column {column.name!r} holds {value!r}, no integer id"
    return errors.make("column_type", text, column=column.name, row=row, value=value)


def to_flags(column: Column) -> NDArray[np.uint8] | None:
    """TradeFlag bits as uint8 ``(n,)``; 0 where there are none; ``None`` for a column of nulls.

    A number that does not fit becomes 255, which the core refuses as ``flags_invalid``.

    Raises:
        ColumnError: ``column_type``.
    """
    if column.kind == "null":
        return None
    if column.kind != "int":
        hint = "convert it to uint8, or go without: columns={'flags': None}"
        text = f"the flags column {column.name!r} holds {column.type}; flags are integers"
        raise errors.make("column_type", text, hint=hint, column=column.name, type=column.type)
    values, valid = column.values(), column.valid()
    if values.dtype.itemsize == 1:
        flags = values.view(np.uint8)
    else:
        flags = np.where((values < 0) | (values > 255), 255, values).astype(np.uint8)
    return flags if valid is None else np.where(valid, flags, np.uint8(0))
