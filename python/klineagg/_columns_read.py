"""One column of the input, from whatever object holds it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klineagg import errors
from klineagg._columns_data import CategoryColumn, Column, NumpyColumn

__all__ = ["arrow_of", "column_of", "is_scalar"]


def is_scalar(value: Any) -> bool:
    """Whether ``value`` is one value and no column."""
    if isinstance(value, (str, bytes)) or value is None or np.isscalar(value):
        return True
    if isinstance(value, np.ndarray):
        return value.ndim == 0
    if hasattr(value, "__arrow_c_stream__") or hasattr(value, "__arrow_c_array__"):
        return False
    return not hasattr(value, "__len__") and not hasattr(value, "__iter__")


def column_of(name: str, data: Any) -> list[Column]:
    """The pieces of the column ``data``: several where Arrow data comes in chunks.

    Raises:
        ColumnError: ``column_type`` when ``data`` is no one-dimensional column.
    """
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(data, (pandas.Series, pandas.Index)):
        return _from_pandas(name, data)
    if not isinstance(data, np.ndarray):
        data = arrow_of(data)
        if hasattr(data, "__arrow_c_array__"):
            return _from_arrow(name, data.__arrow_c_array__())
        if hasattr(data, "__arrow_c_stream__"):
            return _from_arrow(name, data.__arrow_c_stream__())
        if hasattr(data, "iterchunks"):  # a ChunkedArray of a pyarrow that cannot export it
            parts = [part for chunk in data.iterchunks() for part in column_of(name, chunk)]
            return parts or [_empty(name)]
    return [_from_array(name, data)]


def arrow_of(data: Any) -> Any:
    """Data of a version of polars that had no Arrow interface as that of pyarrow; else ``data``."""
    has_interface = hasattr(data, "__arrow_c_array__") or hasattr(data, "__arrow_c_stream__")
    if (
        not has_interface
        and type(data).__module__.startswith("polars.")
        and "to_arrow" in dir(data)
    ):
        return data.to_arrow()
    return data


def _from_array(name: str, data: Any) -> Column:
    if isinstance(data, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(data)
        if mask.ndim == 1:
            return NumpyColumn(name, np.asarray(data), ~mask if mask.any() else None)
    if not isinstance(data, np.ndarray) and hasattr(data, "__len__") and len(data) == 0:
        # NumPy makes an empty list an array of floats, which no time may be.
        return _empty(name)
    try:
        array = np.asarray(data)
    except (ValueError, TypeError) as error:
        if not isinstance(data, (list, tuple)):
            text = f"column {name!r} cannot be read as an array: {error}"
            raise errors.make("column_type", text, column=name) from error
        array = _rows_of_lists(data)
    if array.ndim > 1 and isinstance(data, (list, tuple)):
        array = _rows_of_lists(data)
    if array.ndim != 1 or array.dtype.names is not None:
        shape = "structured" if array.dtype.names is not None else f"of shape {array.shape}"
        text = f"column {name!r} has to have one dimension; it is {shape}"
        raise errors.make("column_type", text, column=name)
    return NumpyColumn(name, array)


def _empty(name: str) -> Column:
    return NumpyColumn(name, np.empty(0, np.int8), np.empty(0, np.bool_))


def _rows_of_lists(data: Sequence[Any]) -> NDArray[Any]:
    """Rows that are lists themselves, such as the codes of one trade's conditions."""
    array = np.empty(len(data), object)
    for row, value in enumerate(data):
        array[row] = value
    return array


def _from_arrow(name: str, capsule: Any) -> list[Column]:
    from klineagg import _core

    reader = _core.read_arrow(capsule)
    pieces: list[Column] = []
    for batch in reader:
        if reader.is_table:
            text = f"column {name!r} is a table, not a column"
            raise errors.make("column_type", text, column=name)
        pieces.extend(batch)
    # A column without chunks still has a type.
    return pieces or [_empty(name)]


def _from_pandas(name: str, series: Any) -> list[Column]:
    dtype = series.dtype
    if isinstance(dtype, np.dtype):
        return [_from_array(name, series.to_numpy())]
    # Types of pandas' own, told apart by what they offer, since pandas may be of any version.
    if hasattr(dtype, "categories"):
        values = series.array if hasattr(series, "array") else series
        (categories,) = column_of(name, dtype.categories)
        return [CategoryColumn(name, np.asarray(values.codes), categories)]
    if str(dtype).startswith("period["):
        # Their memory holds the numbers of periods, which would be taken for stamps of 1970.
        text = f"column {name!r} holds {dtype}: spans of time, not times"
        hint = "take their beginnings with .dt.to_timestamp(), or .to_timestamp() of an index"
        raise errors.make("column_type", text, hint=hint, column=name, type=str(dtype))
    if hasattr(dtype, "tz"):
        return [_from_array(name, series.to_numpy(dtype=f"datetime64[{dtype.unit}]"))]
    values = series.array
    if hasattr(values, "__arrow_array__"):
        try:
            data = values.__arrow_array__()
        except ImportError:
            pass
        else:
            return column_of(name, data)
    return [_from_array(name, series.to_numpy(dtype=object))]
