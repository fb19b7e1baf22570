"""Results as NumPy, pandas, polars and Arrow data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from klineagg._bars_columns import COLUMNS, DTYPES
from klineagg._bars_extras import require

if TYPE_CHECKING:
    from klineagg.bars import Bars

__all__ = [
    "METADATA_KEY",
    "SCHEMA_VERSION",
    "arrow_schema",
    "arrow_stream",
    "to_arrow",
    "to_numpy",
    "to_pandas",
    "to_polars",
]

SCHEMA_VERSION: Final = 1
METADATA_KEY: Final = b"klineagg"

_ARROW_FORMATS: Final = {
    "int16": "s",
    "uint16": "S",
    "int32": "i",
    "int64": "l",
    "float64": "g",
    "datetime64[ns]": "tsn:UTC",
}


def symbol_codes(bars: Bars) -> tuple[NDArray[np.int32], list[str]]:
    """The symbol column as dense codes, int32 ``(n,)``, and the name of each code.

    Ids that are dense already stay as they are, in the same memory.
    """
    ids, names = bars._present_symbols()
    if ids == list(range(len(ids))):
        return bars.symbol, names
    codes = np.searchsorted(np.array(ids, np.int32), bars.symbol)
    return codes.astype(np.int32), names


def to_numpy(bars: Bars, *, names: bool) -> NDArray[np.void]:
    """A structured array; see :meth:`Bars.to_numpy`."""
    dtypes: dict[str, Any] = dict(DTYPES)
    values: dict[str, NDArray[Any]] = {name: bars.column(name) for name in COLUMNS}
    if names:
        codes, symbols = symbol_codes(bars)
        # An empty list would become a float array.
        values["symbol"] = np.array([*symbols, ""])[codes]
        values["interval"] = np.array([*bars.intervals, ""])[bars.interval]
        dtypes.update({name: values[name].dtype for name in ("symbol", "interval")})
    out = np.empty(len(bars), np.dtype(list(dtypes.items())))
    for name, value in values.items():
        out[name] = value
    return out


def to_pandas(bars: Bars, *, index: str | Sequence[str] | None) -> Any:
    """A pandas DataFrame; see :meth:`Bars.to_pandas`."""
    pd = require("pandas", "pandas", "to_pandas()")
    codes, symbols = symbol_codes(bars)
    data: dict[str, Any] = {}
    for name in COLUMNS:
        column = bars.column(name)
        if name == "symbol":
            data[name] = pd.Categorical.from_codes(codes, symbols)
        elif name == "interval":
            data[name] = pd.Categorical.from_codes(column, list(bars.intervals))
        elif column.dtype.kind == "M":
            data[name] = pd.DatetimeIndex(column).tz_localize("UTC")
        else:
            data[name] = column
    # A copy, since a frame over read-only memory fails at the first assignment.
    frame = pd.DataFrame(data, copy=True)
    if index is None:
        return frame
    return frame.set_index([index] if isinstance(index, str) else list(index))


def arrow_stream(bars: Bars) -> Any:
    """A PyCapsule with an Arrow C stream of one batch over the memory of ``bars``."""
    from klineagg import _core

    codes, symbols = symbol_codes(bars)
    columns: list[tuple[str, str, NDArray[Any], list[str] | None, NDArray[Any] | None]] = []
    for name, dtype in DTYPES.items():
        array, dictionary, valid = bars.column(name), None, None
        if name == "symbol":
            array, dictionary = codes, symbols
        elif name == "interval":
            dictionary = list(bars.intervals)
        elif name in ("first_trade_time", "last_trade_time"):
            # Arrow has no NaT: without a mask the smallest integer would be read as the year 1677.
            missing = np.isnat(array)
            valid = ~missing if missing.any() else None
        format_ = _ARROW_FORMATS[str(dtype)]
        columns.append((name, format_, np.ascontiguousarray(array), dictionary, valid))
    return _core.arrow_stream(columns, len(bars))


def arrow_schema() -> Any:
    """A PyCapsule with the Arrow schema that every result has."""
    from klineagg import _core

    named = ("symbol", "interval")
    return _core.arrow_schema(
        [(name, _ARROW_FORMATS[str(dtype)], name in named) for name, dtype in DTYPES.items()]
    )


def metadata(bars: Bars) -> dict[bytes, bytes]:
    """What Arrow and Parquet data needs to become the same ``Bars`` again."""
    ids, names = bars._present_symbols()
    plain = names == [str(symbol) for symbol in ids]
    content = {
        "schema_version": SCHEMA_VERSION,
        "intervals": list(bars.intervals),
        "symbols": "ids" if plain else "names",
    }
    return {METADATA_KEY: json.dumps(content).encode()}


def to_arrow(bars: Bars) -> Any:
    """A pyarrow Table; see :meth:`Bars.to_arrow`."""
    pa = require("pyarrow", "arrow", "to_arrow()")
    table = pa.RecordBatchReader.from_stream(bars).read_all()
    return table.replace_schema_metadata(metadata(bars))


def to_polars(bars: Bars) -> Any:
    """A polars DataFrame; see :meth:`Bars.to_polars`."""
    pl = require("polars", "polars", "to_polars()")
    return pl.DataFrame(bars)
