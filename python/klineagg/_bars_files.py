"""Results from Arrow data, and to and from Parquet files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from klineagg import errors
from klineagg._bars_columns import COLUMNS, DTYPES
from klineagg._bars_concat import sorted_rows
from klineagg._bars_export import METADATA_KEY, SCHEMA_VERSION, to_arrow
from klineagg._bars_extras import require

if TYPE_CHECKING:
    from klineagg.bars import Bars

__all__ = ["from_arrow", "not_written", "read_parquet", "replacing", "to_parquet"]


def to_parquet(bars: Bars, path: str | os.PathLike[str], compression: str) -> None:
    """Writes a Parquet file; see :meth:`Bars.to_parquet`."""
    parquet = require("pyarrow.parquet", "parquet", "to_parquet()")
    with replacing(Path(path)) as unfinished:
        parquet.write_table(to_arrow(bars), unfinished, compression=compression)


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A file to be written, which takes the place of ``target`` once it is whole.

    Readers, and a run that is cut off, never see half a file. A link stays one: the file that it
    names is replaced. A pipe or a device is written as it is.

    Raises:
        FileError: ``file_not_written``; nothing is left behind then.
    """
    if not target.name:
        raise not_written(target, "that is a directory")
    unfinished = None
    try:
        if target.exists() and not target.is_file() and not target.is_dir():
            yield target  # a file in its place would take /dev/null away from everybody
            return
        real = Path(os.path.realpath(target))
        unfinished = real.with_name(f".{real.name}.{os.getpid()}.part")
        yield unfinished
        os.replace(unfinished, real)
    except errors.KlineaggError:
        raise
    except OSError as error:
        raise not_written(target, error) from error
    finally:
        if unfinished is not None:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)


def not_written(target: Path, reason: OSError | str) -> errors.KlineaggError:
    """The error for a file that cannot be written."""
    if isinstance(reason, OSError):  # Arrow's text names the unfinished file
        reason = os.strerror(reason.errno) if reason.errno else str(reason)
    text = f"{target} cannot be written: {reason}"
    return errors.make("file_not_written", text, file=str(target), reason=reason)


def read_parquet(path: str | os.PathLike[str]) -> Bars:
    """Reads a Parquet file; see :meth:`Bars.read_parquet`."""
    pa = require("pyarrow", "parquet", "read_parquet()")
    parquet = require("pyarrow.parquet", "parquet", "read_parquet()")
    target = Path(path)
    if not target.is_file():
        text = f"there is no file {target}"
        raise errors.make("file_not_found", text, path=str(target))
    try:
        table = parquet.ParquetFile(target).read()
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(target, error) from error
    return from_arrow(table)


def _unreadable(path: Path, error: Exception) -> errors.KlineaggError:
    """What is wrong with a file that Arrow cannot read."""
    with path.open("rb") as file:
        begins = file.read(4) == b"PAR1"
    name = "file_truncated" if begins else "file_format"
    what = "is a damaged or truncated Parquet file" if begins else "is not a Parquet file"
    hint = None if begins else "give a file that Bars.to_parquet has written"
    return errors.make(name, f"{path} {what}: {error}", hint=hint, path=str(path))


def from_arrow(data: Any) -> Bars:
    """The bars in Arrow data; see :meth:`Bars.from_arrow`."""
    pa = require("pyarrow", "arrow", "from_arrow()")
    table = data if isinstance(data, pa.Table) else _table(pa, data)
    facts = _metadata(table.schema.metadata or {})
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        text = f"these are not the columns of Bars: {', '.join(missing)} missing"
        hint = "Bars.to_arrow and to_parquet make such data"
        raise errors.make("missing_column", text, hint=hint, column=missing[0], missing=missing)
    columns = {name: _plain(pa, table, name) for name in COLUMNS[2:]}
    codes, names = _labels(pa, table, "symbol")
    columns["symbol"], symbols = _symbols(codes, names, facts.get("symbols") == "ids")
    codes, names = _labels(pa, table, "interval")
    intervals = [str(name) for name in facts.get("intervals", names)]
    intervals += [name for name in names if name not in intervals]
    positions = np.array([intervals.index(name) for name in names], np.int16)
    columns["interval"] = positions[codes]
    rows = sorted_rows(columns["interval"], columns["symbol"], columns["open_time"])
    if rows is not None:
        columns = {name: column[rows] for name, column in columns.items()}
    from klineagg.bars import Bars

    return Bars(columns, symbols=symbols, intervals=intervals)


def _table(pa: Any, data: Any) -> Any:
    if hasattr(data, "__arrow_c_stream__"):
        return pa.RecordBatchReader.from_stream(data).read_all()
    if hasattr(data, "__arrow_c_array__"):
        return pa.Table.from_batches([pa.record_batch(data)])
    text = f"a {type(data).__name__} is not Arrow data"
    hint = "pass anything with __arrow_c_stream__, for example a pyarrow or polars table"
    raise errors.make("unsupported_input", text, hint=hint, type=type(data).__name__)


def _metadata(raw: dict[bytes, bytes]) -> dict[str, Any]:
    if METADATA_KEY not in raw:
        return {}
    facts: dict[str, Any] = json.loads(raw[METADATA_KEY])
    version = facts.get("schema_version")
    if version != SCHEMA_VERSION:
        text = f"the data has schema version {version}, this klineagg reads {SCHEMA_VERSION}"
        raise errors.make("record_version", text, version=version, known=SCHEMA_VERSION)
    return facts


def _plain(pa: Any, table: Any, name: str) -> NDArray[Any]:
    """A column without names as an array of the type that the result has."""
    dtype = DTYPES[name]
    column = table.column(name)
    try:
        if dtype.kind == "M":
            column = column.cast(pa.timestamp("ns", column.type.tz)).cast(pa.int64())
            fill: float | None = int(np.datetime64("NaT").astype(np.int64))
        else:
            column = column.cast(pa.from_numpy_dtype(dtype))
            fill = np.nan if dtype.kind == "f" else None
        if column.null_count and fill is not None and not name.startswith(("open_t", "close_t")):
            column = column.fill_null(pa.scalar(fill, column.type))
        if column.null_count:
            raise errors.make("column_type", f"column {name!r} has nulls", column=name)
    except (pa.ArrowException, AttributeError) as error:
        text = f"column {name!r} is {table.column(name).type}, which is not {dtype}: {error}"
        raise errors.make("column_type", text, column=name) from error
    array: NDArray[Any] = column.combine_chunks().to_numpy(zero_copy_only=False)
    return array.view(dtype) if dtype.kind == "M" else array.astype(dtype, copy=False)


def _labels(pa: Any, table: Any, name: str) -> tuple[NDArray[np.int64], list[str]]:
    """Codes and names of a column of names, whatever its encoding."""
    column = table.column(name).combine_chunks()
    if not pa.types.is_dictionary(column.type):
        try:
            column = column.cast(pa.string()).dictionary_encode()
        except pa.ArrowException as error:
            text = f"column {name!r} is {column.type}, which is not text"
            raise errors.make("column_type", text, column=name) from error
    if isinstance(column, pa.ChunkedArray):
        column = column.unify_dictionaries().combine_chunks()
    if column.null_count:
        raise errors.make("column_type", f"column {name!r} has nulls", column=name)
    codes = column.indices.cast(pa.int64()).to_numpy(zero_copy_only=False)
    names = column.dictionary.to_pylist()
    # A dictionary may hold names of other tables, which nobody asked to be known here.
    used = np.flatnonzero(np.bincount(codes, minlength=len(names)))
    place = np.zeros(len(names), np.int64)
    place[used] = np.arange(len(used))
    return place[codes], [str(names[code]) for code in used.tolist()]


def _symbols(
    codes: NDArray[np.int64], names: list[str], plain: bool
) -> tuple[NDArray[np.int32], dict[int, str]]:
    """Ids of this process for names, and the names by id."""
    if plain:
        ids = np.array([int(name) for name in names], np.int32)
    else:
        from klineagg.symbols import intern

        ids = intern(names) if names else np.empty(0, np.int32)
    symbols = {} if plain else dict(zip(ids.tolist(), names, strict=True))
    return ids[codes].astype(np.int32, copy=False), symbols
