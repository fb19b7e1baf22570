"""Files of bars: Parquet, Arrow and CSV, written whole or not at all."""

from __future__ import annotations

import csv
import gzip
import io
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from klineagg import errors
from klineagg._bars_columns import COLUMNS, DTYPES
from klineagg._bars_extras import require
from klineagg._bars_files import replacing
from klineagg.io.arrow import format_of, read_table
from klineagg.io.bartext import write_csv
from klineagg.io.held import Held, is_once
from klineagg.io.streams import Stream, open_streams, seekable

if TYPE_CHECKING:
    from klineagg.bars import Bars

__all__ = ["FORMATS", "format_for", "is_bars_file", "read_bars", "write_bars"]

FORMATS: Final = ("parquet", "arrow", "csv")
_SUFFIXES: Final = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".csv": "csv",
    ".csv.gz": "csv",
}
_HEAD_BYTES: Final = 4096


def format_for(path: str | os.PathLike[str], format: str | None = None) -> str:
    """The format of a file to be written, by its name unless it is said.

    Raises:
        OptionError: ``invalid_option`` when the name tells none.
    """
    if format is not None:
        return format
    name = os.fspath(path).lower()
    if name == "-":
        return "csv"
    for suffix, known in _SUFFIXES.items():
        if name.endswith(suffix):
            return known
    text = f"the name {os.fspath(path)!r} tells no format"
    hint = f"end it in one of {', '.join(_SUFFIXES)}, or pass --format"
    raise errors.make("invalid_option", text, hint=hint, option="output", value=os.fspath(path))


def write_bars(bars: Bars, path: str | os.PathLike[str], *, format: str | None = None) -> None:
    """Writes bars to a file.

    Args:
        bars: what to write.
        path: where to; ``-`` is standard output (CSV). A name that ends in ``.gz`` is compressed.
        format: ``parquet``, ``arrow`` (an IPC file, as Feather is) or ``csv``; None: by the name.

    Raises:
        OptionError: ``invalid_option`` when the name tells no format.
        MissingExtraError: ``missing_extra`` when pyarrow is not installed (not for CSV).
        FileError: ``file_not_written``; nothing is left behind then.
    """
    kind = format_for(path, format)
    if os.fspath(path) == "-":
        if kind != "csv":
            text = f"standard output takes csv, not {kind}"
            raise errors.make("invalid_option", text, option="format", value=kind)
        write_csv(bars, sys.stdout)
        return
    target = Path(path)
    if kind == "parquet":
        bars.to_parquet(target)
        return
    with replacing(target) as unfinished:
        if kind == "arrow":
            ipc = require("pyarrow.ipc", "parquet", "writing Arrow files")
            table = bars.to_arrow()
            with ipc.new_file(str(unfinished), table.schema) as writer:
                writer.write_table(table)
        else:
            packed = target.name.lower().endswith(".gz")
            opener: Any = gzip.open if packed else open
            with opener(unfinished, "wt", encoding="utf-8", newline="") as file:
                write_csv(bars, file)


def is_bars_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file holds bars that klineagg wrote; False also for what cannot be read.

    Standard input and pipes are looked at only as :func:`klineagg.io.streams.held` gives them,
    since they can be read only once.
    """
    if is_once(path) and not isinstance(path, Held):
        return False
    try:
        for stream in open_streams(path, again=True):
            format = format_of(stream.peek(8))
            if format is None:
                head = stream.peek(_HEAD_BYTES).removeprefix(b"\xef\xbb\xbf")
                return head.startswith(",".join(COLUMNS).encode())
            return set(COLUMNS) <= set(_arrow_names(stream, format))
    except errors.KlineaggError:
        return False
    return False


def _arrow_names(stream: Stream, format: str) -> list[str]:
    pa = require("pyarrow", "parquet", f"reading {stream.label}")
    with ExitStack() as stack:
        file = seekable(stack, stream)
        try:
            if format == "parquet":
                parquet = require("pyarrow.parquet", "parquet", f"reading {stream.label}")
                return list(parquet.read_schema(file).names)
            ipc = require("pyarrow.ipc", "parquet", f"reading {stream.label}")
            opener = ipc.open_file if format == "arrow" else ipc.open_stream
            return list(opener(file).schema.names)
        except (pa.ArrowException, OSError):
            return []


def read_bars(path: str | os.PathLike[str]) -> Bars:
    """Reads bars that :func:`write_bars` or :meth:`klineagg.Bars.to_parquet` wrote.

    Raises:
        FileError: ``file_not_found``, ``file_format``, ``file_truncated``, ``csv_row``.
        ColumnError: ``missing_column`` when the file has other columns.
    """
    from klineagg.bars import Bars

    for stream in open_streams(path):
        format = format_of(stream.peek(8))
        if format is None:
            return _read_csv(stream)
        if format == "parquet" and stream.path is not None:
            return Bars.read_parquet(stream.path)
        return Bars.from_arrow(read_table(stream, format))
    raise errors.make("file_truncated", f"{os.fspath(path)} is empty", file=os.fspath(path))


def _read_csv(stream: Stream) -> Bars:
    from klineagg.bars import Bars
    from klineagg.symbols import intern

    try:
        rows = [row for row in csv.reader(io.StringIO(stream.text(), newline="")) if row]
    except csv.Error as error:
        raise stream.no_csv(error) from error
    missing = [name for name in COLUMNS if not rows or name not in rows[0]]
    if missing:
        text = f"{stream.label} is not a file of bars: it has no column {missing[0]!r}"
        hint = "give a file that `klineagg aggregate -o` has written"
        raise errors.make("missing_column", text, hint=hint, column=missing[0], file=stream.label)
    names = rows.pop(0)
    for number, row in enumerate(rows, 2):
        if len(row) != len(names):
            text = f"{stream.label}: row {number} has {len(row)} fields, not {len(names)}"
            raise errors.make("csv_row", text, file=stream.label, row=number, reason="field_count")
    texts = {name: [row[names.index(name)] for row in rows] for name in COLUMNS}
    columns = {name: _column(stream.label, name, texts[name]) for name in COLUMNS[2:]}
    # In the order of their first rows, as a dictionary keeps its keys.
    symbols, intervals = (list(dict.fromkeys(texts[name])) for name in COLUMNS[:2])
    ids = dict(zip(symbols, intern(symbols).tolist(), strict=True))
    codes = {name: code for code, name in enumerate(intervals)}
    columns["symbol"] = np.array([ids[name] for name in texts["symbol"]], np.int32)
    columns["interval"] = np.array([codes[name] for name in texts["interval"]], np.int16)
    known = {number: name for name, number in ids.items()}
    return Bars.concat([Bars(columns, symbols=known, intervals=intervals)])


def _column(label: str, name: str, texts: list[str]) -> NDArray[Any]:
    """A column of a file of bars; an empty text is a missing number or time."""
    dtype = DTYPES[name]
    for number, text in enumerate(texts, 2):
        if text == "" and dtype.kind not in "fM":
            raise _unreadable(label, number, name, text)
    try:
        if dtype.kind == "M":
            plain = [text[:-1] if text.endswith("Z") else text or "NaT" for text in texts]
            return np.array(plain, "datetime64[ns]")
        if dtype.kind == "f":
            return np.array([float(text or "nan") for text in texts], dtype)
        return np.array([int(text) for text in texts], dtype)
    except (ValueError, OverflowError):
        bad = next((at for at, text in enumerate(texts) if not _fits(text, dtype)), None)
        if bad is None:
            raise
        raise _unreadable(label, bad + 2, name, texts[bad]) from None


def _fits(text: str, dtype: np.dtype[Any]) -> bool:
    try:
        np.array([text.removesuffix("Z") or "nan"]).astype(dtype)
    except (ValueError, OverflowError):
        return False
    return True


def _unreadable(label: str, row: int, column: str, text: str) -> errors.KlineaggError:
    return errors.make(
        "csv_row",
        f"{label}: row {row}: {column} {text!r} cannot be read",
        hint="give a file that `klineagg aggregate -o` has written",
        file=label,
        row=row,
        column=column,
        excerpt=text,
    )
