"""Bars as CSV: times in ISO 8601, numbers with the digits that make them again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from klineagg._bars_columns import COLUMNS, DTYPES

if TYPE_CHECKING:
    from klineagg.bars import Bars

__all__ = ["write_csv"]

_ROWS_AT_ONCE: Final = 50_000
# Below this, loading pyarrow takes longer than it saves.
_ARROW_ROWS_MIN: Final = 50_000
# Between these, Arrow writes the digits that Python does, but for ".0" behind whole numbers.
_ALIKE_MIN: Final = 1e-4
_ALIKE_MAX: Final = 1e10


def write_csv(bars: Bars, file: IO[str]) -> None:
    """Writes a header and all rows; the text is the same with and without pyarrow."""
    file.write(",".join(COLUMNS) + "\n")
    block: Callable[[Bars, dict[str, str]], str] = _block
    if len(bars) >= _ARROW_ROWS_MIN:
        with suppress(ImportError):
            block = _arrow_block()
    units = {name: _unit(bars.column(name)) for name, dtype in DTYPES.items() if dtype.kind == "M"}
    for start in range(0, len(bars), _ROWS_AT_ONCE):
        file.write(block(bars[start : start + _ROWS_AT_ONCE], units))


def _unit(times: NDArray[Any]) -> str:
    ns = times.view(np.int64)[~np.isnat(times)]
    for unit, size in (("s", 10**9), ("ms", 10**6), ("us", 10**3)):
        if not np.any(ns % size):
            return unit
    return "ns"


def _quoted(text: str) -> str:
    if any(c in text for c in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def _block(part: Bars, units: dict[str, str]) -> str:
    columns = [_texts(part, name, units.get(name, "")) for name in COLUMNS]
    return "\n".join(map(",".join, zip(*columns, strict=True))) + "\n"


def _texts(part: Bars, name: str, unit: str) -> list[str]:
    if name == "symbol":
        return [_quoted(text) for text in part._row_symbols()]
    column = part.column(name)
    if name == "interval":
        labels = [_quoted(text) for text in part.intervals]
        return [labels[code] for code in column.tolist()]
    if column.dtype.kind == "M":
        missing = np.isnat(column).tolist()
        texts = np.datetime_as_string(column, unit=unit)  # type: ignore[call-overload]
        return ["" if m else f"{t}Z" for t, m in zip(texts.tolist(), missing, strict=True)]
    if column.dtype.kind == "f":
        return ["" if value != value else repr(value) for value in column.tolist()]
    return list(map(str, column.tolist()))


# -- the same by Arrow, several times as fast ----------------------------------------------------


def _arrow_block() -> Callable[[Bars, dict[str, str]], str]:
    import pyarrow as pa
    import pyarrow.compute as pc

    def labels(part: Bars, name: str) -> Any:
        ids, codes = np.unique(part.column(name), return_inverse=True)
        if name == "symbol":
            names = part._table.names(ids)
        else:
            names = [part.intervals[i] for i in ids.tolist()]
        return pa.array([_quoted(text) for text in names], pa.string()).take(pa.array(codes))

    def times(column: NDArray[Any], unit: str) -> Any:
        stamps = pa.array(column.astype(f"datetime64[{unit}]")).cast(pa.string())
        stamps = pc.utf8_replace_slice(stamps, 10, 11, "T")
        return pc.binary_join_element_wise(stamps, "Z", "").fill_null("")

    def floats(values: NDArray[Any]) -> Any:
        size = np.abs(values)
        alike = ((size >= _ALIKE_MIN) & (size < _ALIKE_MAX)) | (size == 0)
        texts = pa.array(values).cast(pa.string())
        whole = alike & (values == np.rint(values))
        if whole.any():
            ends = pa.array(["", ".0"]).take(pa.array(whole.view(np.int8)))
            texts = pc.binary_join_element_wise(texts, ends, "")
        if not alike.all():
            other = ["" if value != value else repr(value) for value in values[~alike].tolist()]
            texts = pc.replace_with_mask(texts, pa.array(~alike), pa.array(other, pa.string()))
        return texts

    def texts(part: Bars, name: str, unit: str) -> Any:
        column = part.column(name)
        if (column.view(f"i{column.itemsize}") == column[:1].view(f"i{column.itemsize}")).all():
            return _texts(part[:1], name, unit)[0]  # of the same bits: Arrow repeats the text
        if name in ("symbol", "interval"):
            return labels(part, name)
        if column.dtype.kind == "M":
            return times(column, unit)
        if column.dtype.kind == "f":
            return floats(column)
        return pa.array(column).cast(pa.string())

    def block(part: Bars, units: dict[str, str]) -> str:
        columns = [texts(part, name, units.get(name, "")) for name in COLUMNS]
        # Behind the last column, so that the rows lie one behind the other as they are written.
        ends = pa.array(["\n"]).take(pa.array(np.zeros(len(part), np.int32)))
        columns[-1] = pc.binary_join_element_wise(columns[-1], ends, "")
        lines = pc.binary_join_element_wise(*columns, ",")
        offsets = np.frombuffer(lines.buffers()[1], np.int32)
        data = memoryview(lines.buffers()[2])
        return str(data[offsets[lines.offset] : offsets[lines.offset + len(lines)]], "utf-8")

    return block
