"""Trades in Parquet and Arrow files as record batches with the usual names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final

import numpy as np

from klineagg import errors
from klineagg._bars_extras import require
from klineagg._columns_convert import to_flags
from klineagg._columns_read import column_of
from klineagg._columns_time import guard_unit
from klineagg.io import presets
from klineagg.io.presets import Preset, key_of
from klineagg.io.roles import Wanted, positions_of, symbol_of
from klineagg.io.streams import Stream, seekable
from klineagg.io.units import by_digits

__all__ = ["ArrowSource", "format_of", "is_bars", "read_table"]

_BATCH_ROWS: Final = 1 << 18
_STREAM_MAGIC: Final = b"\xff\xff\xff\xff"


def format_of(magic: bytes) -> str | None:
    """``parquet``, ``arrow`` (file) or ``arrow-stream`` by the first bytes of a file; else None."""
    if magic.startswith(b"PAR1"):
        return "parquet"
    if magic.startswith(b"ARROW1"):
        return "arrow"
    return "arrow-stream" if magic.startswith(_STREAM_MAGIC) else None


def is_bars(names: Any) -> bool:
    """Whether these are the columns of a file of bars, not of trades."""
    return {"open_time", "open", "high", "low", "close"} <= set(names)


def read_table(stream: Stream, format: str) -> Any:
    """A whole Parquet or Arrow file as a pyarrow table.

    Raises:
        FileError: ``file_truncated`` for a damaged file.
        MissingExtraError: ``missing_extra`` when pyarrow is not installed.
    """
    pa = require("pyarrow", "parquet", f"reading {stream.label}")
    data = pa.BufferReader(stream.read(-1))
    with _ArrowErrors(pa, stream.label):
        if format == "parquet":
            parquet = require("pyarrow.parquet", "parquet", f"reading {stream.label}")
            return parquet.read_table(data)
        ipc = require("pyarrow.ipc", "parquet", f"reading {stream.label}")
        opener = ipc.open_file if format == "arrow" else ipc.open_stream
        return opener(data).read_all()


class ArrowSource:
    """One Parquet or Arrow file.

    Args:
        stream: its bytes.
        format: as :func:`format_of` tells.
        wanted: what the user says about its columns.

    Raises:
        FileError: ``file_truncated`` for a damaged file, ``file_format`` for one without trades.
        ColumnError: ``missing_column``, ``ambiguous_column``, ``column_type`` for a condition that
            is not in the table.
        MissingExtraError: ``missing_extra`` when pyarrow is not installed.
    """

    def __init__(self, stream: Stream, format: str, wanted: Wanted) -> None:
        self._pa = require("pyarrow", "parquet", f"reading {stream.label}")
        self._stream = stream
        self._stack = ExitStack()
        self.rows = 0
        with self._typed():
            names, self._batches = self._open(format)
        if is_bars(names):
            text = f"{stream.label} is a file of bars, not of trades"
            hint = "look at it with `klineagg show`, or merge bars with klineagg.Bars.concat"
            raise errors.make("file_format", text, hint=hint, file=stream.label)
        self.preset = self._preset(names, wanted)
        positions, maker = positions_of(self.preset, tuple(names), wanted, stream.label)
        self.symbol: str | None = None
        if "symbol" not in positions:
            self.symbol = wanted.symbol or symbol_of(self.preset, stream.names, stream.label, names)
        self.columns = {role: names[at] for role, at in positions.items()}
        self._renamed = [self._canonical(role, maker) for role in self.columns]
        self._marks = None
        if wanted.conditions is not None:
            from klineagg.io.marks import Marks

            self._marks = Marks(wanted.conditions, stream.label)
        self._unit = wanted.unit
        if self._unit is None and self.preset is not None and self.preset.unit != "detect":
            self._unit = self.preset.unit
        columns = ", ".join(f"{role}={name}" for role, name in self.columns.items())
        known = f"preset {self.preset.name}, " if self.preset else ""
        self.why = f"{known}columns {columns}" + (f", symbol {self.symbol}" if self.symbol else "")

    def _preset(self, names: list[str], wanted: Wanted) -> Preset | None:
        if wanted.preset == "none":
            return None
        if wanted.preset is not None:
            return presets.find(wanted.preset)
        name = self._stream.names[0] if self._stream.names else ""
        return presets.guess([key_of(column) for column in names], (), name)

    def _canonical(self, role: str, maker: bool) -> str:
        if role == "side" and maker:
            return "is_buyer_maker"
        if role == "trade_id" and "last_trade_id" in self.columns:
            return "first_trade_id"
        return role

    def _open(self, format: str) -> tuple[list[str], Any]:
        """Names of the columns, and a function from names to batches of those columns."""
        file = seekable(self._stack, self._stream)
        if format == "parquet":
            parquet = require("pyarrow.parquet", "parquet", f"reading {self._stream.label}")
            # Texts that repeat stay the codes that they are in the file.
            head = parquet.ParquetFile(file)
            is_text = self._pa.types.is_string, self._pa.types.is_large_string
            texts = [f.name for f in head.schema_arrow if any(is_(f.type) for is_ in is_text)]
            found = parquet.ParquetFile(file, read_dictionary=texts) if texts else head
            return list(found.schema_arrow.names), lambda columns: found.iter_batches(
                _BATCH_ROWS, columns=columns
            )
        ipc = require("pyarrow.ipc", "parquet", f"reading {self._stream.label}")
        if format == "arrow":
            source = ipc.open_file(file)
            batches = (source.get_batch(k) for k in range(source.num_record_batches))
        else:
            source = ipc.open_stream(file)
            batches = iter(source)
        return list(source.schema.names), lambda columns: (
            batch.select(columns) for batch in batches
        )

    def __iter__(self) -> Iterator[Any]:
        """Record batches with the columns ``symbol``, ``time``, ``price``, ``quantity``, ..."""
        with self._stack:
            batches = iter(self._batches(list(self.columns.values())))
            while True:
                with self._typed():
                    batch = next(batches, None)
                if batch is None:
                    return
                if batch.num_rows:
                    yield self._usual(batch)
                    self.rows += batch.num_rows

    def _usual(self, batch: Any) -> Any:
        pa = self._pa
        columns = {
            usual: batch.column(name)
            for usual, name in zip(self._renamed, self.columns.values(), strict=True)
        }
        if pa.types.is_integer(columns["time"].type):
            stamps = columns["time"].cast(pa.int64())
            unit = self._unit_of(stamps)
            # As timestamps nobody could tell any more that they are in another unit.
            guard_unit(self.columns["time"], stamps.drop_null().to_numpy(), unit)
            columns["time"] = stamps.cast(pa.timestamp(unit))
        if self.symbol is not None:
            codes = pa.array(np.zeros(batch.num_rows, np.int32))
            columns["symbol"] = pa.DictionaryArray.from_arrays(codes, pa.array([self.symbol]))
        if self._marks is not None:
            flags = self._marks.of_arrow(columns.pop("conditions"), self.rows)
            if "flags" in columns:
                (piece,) = column_of("flags", columns["flags"])
                own = to_flags(piece)
                flags = flags if own is None else flags | own
            columns["flags"] = pa.array(flags)
        return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))

    def _unit_of(self, stamps: Any) -> str:
        """The unit of integer stamps: as it was said, else by the size of the first one."""
        if self._unit is None:
            present = stamps.drop_null()
            if not len(present):
                return "ns"
            self._unit = by_digits(present[0].as_py())
        return self._unit

    def _typed(self) -> Any:
        return _ArrowErrors(self._pa, self._stream.label)


class _ArrowErrors:
    """Turns the errors of Arrow within it into typed ones that name the file."""

    def __init__(self, pa: Any, label: str) -> None:
        self._pa = pa
        self._label = label

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, errors.KlineaggError):
            return
        if isinstance(error, (self._pa.ArrowException, OSError, EOFError)):
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            text = f"{self._label} is damaged or truncated: {reason}"
            raise errors.make("file_truncated", text, file=self._label) from error
