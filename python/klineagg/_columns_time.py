"""Event times: to int64 with a scale, and the guard against stamps in another unit."""

from __future__ import annotations

import datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from klineagg import errors
from klineagg._columns_data import INT64_MAX, Column, is_missing

__all__ = ["MISSING_TIME", "UNITS", "check_unit", "guard_unit", "to_time"]

MISSING_TIME: Final = np.iinfo(np.int64).min
"""Stands for a missing time, as in NumPy's NaT. The core rejects it as ``time_missing``."""

UNITS: Final = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
"""Nanoseconds in each unit that ``unit=`` may name."""

_SCALES: Final = {**UNITS, "m": 60 * 10**9, "h": 3600 * 10**9, "D": 86_400 * 10**9}

_FINER_THAN_NS: Final = ("ps", "fs", "as")

# Markets that klineagg reads have printed between these: seconds of 1990 and of 2100.
_PLAUSIBLE_SECONDS: Final = (631_152_000, 4_102_444_800)

_SAMPLES: Final = 256

_ADVICE: Final = (
    "times are integers with unit=, datetime64, datetime objects or Arrow timestamps; "
    "for example numpy.array(texts, 'datetime64[ns]') or pandas.to_datetime(texts, utc=True)"
)


def check_unit(unit: str | None) -> None:
    """Raises ``invalid_option`` when ``unit`` is no unit of time."""
    if unit is not None and not (isinstance(unit, str) and unit in UNITS):
        text = f"unit={unit!r} is none of {', '.join(UNITS)}"
        raise errors.make("invalid_option", text, option="unit", value=unit)


def to_time(column: Column, unit: str | None, first_row: int) -> tuple[NDArray[np.int64], int]:
    """Times as int64 ``(n,)`` and the nanoseconds in one of their units.

    A view where the memory holds 64-bit integers already; missing times become
    :data:`MISSING_TIME`.

    ``first_row`` is the row of the input that the column starts with, for messages.

    Raises:
        ColumnError: ``column_type``.
        TimeUnitError: ``time_unit`` when integers look like stamps in another unit than ``unit``.
    """
    kind = column.kind
    if kind == "object":
        return _from_objects(column, unit, first_row)
    if kind == "timestamp" or kind == "date":
        stamps, scale = _from_stamps(column)
        return _filled(stamps, column.valid()), scale
    if kind == "null":
        return np.full(len(column), MISSING_TIME), 1
    if kind == "int":
        stamps = column.values()
        if stamps.dtype == np.uint64:
            # As it stands in 64 bits, 2^64 - 1 (no time, for some feeds) were the year 1969.
            if len(stamps) and stamps.max() > INT64_MAX:
                stamps = np.minimum(stamps, INT64_MAX)  # out of range, which is counted
            stamps = stamps.view(np.int64)
        elif stamps.dtype != np.int64:
            stamps = stamps.astype(np.int64)
        stamps = _filled(stamps, column.valid())
        guard_unit(column.name, stamps, unit)
        return stamps, UNITS[unit or "ns"]
    raise _refused(column)


def _refused(column: Column) -> errors.KlineaggError:
    hint = _ADVICE
    what = f"holds {column.type}"
    if column.kind in ("float", "decimal"):
        what += ", and a time is never a float: float64 cannot hold the nanoseconds of today"
        hint = "convert it first, for example (seconds * 1000).round().astype('int64') as unit='ms'"
    elif column.kind == "time":
        what += ", which has no date"
    text = f"the time column {column.name!r} {what}"
    return errors.make("column_type", text, hint=hint, column=column.name, type=column.type)


def _from_stamps(column: Column) -> tuple[NDArray[np.int64], int]:
    values = column.values()
    if values.dtype.kind != "M":  # Arrow: integers beside a unit
        stamps = values if values.dtype == np.int64 else values.astype(np.int64)
        return stamps, _SCALES[column.unit]
    unit, count = np.datetime_data(values.dtype)
    if unit in _FINER_THAN_NS:
        values, unit, count = values.astype("datetime64[ns]"), "ns", 1
    elif unit not in _SCALES:  # weeks, months, years
        coarse, unit, count = values, "s", 1
        values = coarse.astype("datetime64[s]")
        # NumPy wraps around silently: a week far from any market would become one of 1970.
        wrapped = (values.astype(coarse.dtype) != coarse) & ~np.isnat(coarse)
        if wrapped.any():
            values = np.where(wrapped, np.datetime64(np.iinfo(np.int64).max, "s"), values)
    return values.view(np.int64), _SCALES[unit] * count


def _filled(stamps: NDArray[np.int64], valid: NDArray[np.bool_] | None) -> NDArray[np.int64]:
    return stamps if valid is None else np.where(valid, stamps, MISSING_TIME)


def _from_objects(
    column: Column, unit: str | None, first_row: int
) -> tuple[NDArray[np.int64], int]:
    """Python objects: datetimes, integers, and what stands for a missing value."""
    values, valid = column.values(), column.valid()
    out = np.full(len(values), MISSING_TIME)
    kinds = set()
    for row, value in enumerate(values):
        if (valid is not None and not valid[row]) or is_missing(value):
            continue
        if isinstance(value, (datetime.datetime, datetime.date, np.datetime64)):
            out[row] = _nanoseconds(column, value, row + first_row)
            kinds.add("datetime")
        elif isinstance(value, (int, np.integer)) and not isinstance(value, bool):
            out[row] = min(max(int(value), MISSING_TIME + 1), -(MISSING_TIME + 1))
            kinds.add("int")
        else:
            text = f"row {row + first_row} of the time column {column.name!r} holds {value!r}"
            fields = {"column": column.name, "row": row + first_row, "value": value}
            raise errors.make("column_type", text, hint=_ADVICE, **fields)
    if kinds == {"int"}:
        guard_unit(column.name, out, unit)
        return out, UNITS[unit or "ns"]
    if "int" in kinds:
        text = f"the time column {column.name!r} mixes integers and datetimes"
        raise errors.make("column_type", text, hint=_ADVICE, column=column.name)
    return out, 1


def _nanoseconds(column: Column, value: Any, row: int) -> int:
    if hasattr(value, "to_datetime64"):  # pandas' own, which has nanoseconds
        value = value.to_datetime64()
    elif isinstance(value, datetime.datetime) and value.tzinfo is not None:
        value = value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
    coarse = np.datetime64(value)
    stamp = coarse.astype("datetime64[ns]")
    # NumPy wraps around silently: the year 9999 would become one of our own.
    if stamp.astype(coarse.dtype) != coarse:
        text = f"row {row} of the time column {column.name!r} is out of range: {value}"
        raise errors.make("column_type", text, column=column.name, row=row, value=str(value))
    return int(stamp.astype(np.int64))


def guard_unit(name: str, stamps: NDArray[np.int64], unit: str | None) -> None:
    """Milliseconds read as nanoseconds all lie in January 1970, and no later check would notice.

    A sample decides: it raises when a tenth of the stamps fit one other unit and some the given
    one, as in files of a feed that changed its unit; and where none fits that, when nearly all fit
    one other. Zeros and negative stamps stand for no time in many feeds, and say nothing.

    Raises:
        TimeUnitError: ``time_unit``.
    """
    sample = stamps[:: max(1, len(stamps) // _SAMPLES)]
    sample = sample[sample > 0]
    if len(sample) == 0:
        return
    given = unit or "ns"
    fits = {other: _plausible(sample, UNITS["s"] // scale) for other, scale in UNITS.items()}
    of_ten = 1 if fits.pop(given).any() else 9
    for other, plausible in fits.items():
        if np.count_nonzero(plausible) * 10 >= len(sample) * of_ten:
            first = int(sample[np.argmax(plausible)])
            date = np.datetime64(first * UNITS[other], "ns").astype("datetime64[ms]")
            said = f"unit={unit!r}" if unit is not None else "no unit (so ns)"
            looks = "looks like" if of_ten == 9 else "has stamps that look like"
            text = f"{said} was given, but the column {name!r} {looks} {other}: "
            text += f"{first} is then {date}"
            hint = f"pass unit={other!r}, or datetime64 values if the times are right as they are"
            raise errors.make("time_unit", text, hint=hint, column=name, given=given, likely=other)


def _plausible(sample: NDArray[np.int64], per_second: int) -> NDArray[np.bool_]:
    low, high = (second * per_second for second in _PLAUSIBLE_SECONDS)
    return (sample >= low) & (sample < high)
