"""Trades from files of any known format, as chunks for :class:`klineagg.Aggregator`."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from klineagg import errors
from klineagg.io.arrow import ArrowSource, format_of
from klineagg.io.csv import CsvChunk, CsvSource, Fault, LineMap
from klineagg.io.held import is_once
from klineagg.io.roles import Wanted
from klineagg.io.streams import Stream, open_streams

if TYPE_CHECKING:
    from klineagg.conditions import ConditionTable

__all__ = ["FileFacts", "TradeBatch", "TradeReader", "read_trades"]

_SAMPLES_MAX: Final = 8
# An aggregation takes several batches at once, and may report a row of any of them.
_REMEMBERED: Final = 256


@dataclass
class FileFacts:
    """What is known about one file, or one member of an archive.

    Attributes:
        file: its path; the member of an archive behind a colon.
        format: ``csv``, ``parquet``, ``arrow`` or ``arrow-stream``.
        compression: ``gzip``, ``zip``, ``zstd`` or empty.
        preset: what its layout was taken for; None: by the names of its columns.
        unit: of integer stamps, ``detect`` when each goes by its size; None when it has none.
        symbol: of all trades; None when a column tells it.
        columns: role -> name of the column.
        why: one line about what was chosen.
        rows: good rows so far.
        faults: records that could not be read so far, by reason.
    """

    file: str
    format: str
    compression: str = ""
    preset: str | None = None
    unit: str | None = None
    symbol: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    why: str = ""
    rows: int = 0
    faults: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TradeBatch:
    """Some trades of one file.

    Attributes:
        data: what :meth:`klineagg.Aggregator.update` takes.
        rows: how many.
        start: position of the first one among all rows that were read.
        file: where they are from.
        row_of: from a position in the batch to what users call its row: the line of a CSV file
            from 1, the row of other files from 0.
    """

    data: Any
    rows: int
    start: int
    file: str
    row_of: Callable[[int], int]


class TradeReader:
    """Reads files one after another; iterate to get :class:`TradeBatch`.

    Args:
        paths: files in the order of their trades; ``-`` is standard input.
        wanted: what the user says about their columns.
        on_bad: ``"raise"`` on the first record that cannot be read, or ``"count"``.
        read_ahead: unpack in a thread beside.
        notify: called with the facts of each file when it has been opened.

    Attributes:
        files: facts of the files so far.
        samples: the first few records that could not be read.
        bytes_total: size of all files on disk; None with standard input and other pipes.

    Raises:
        FileError: ``file_not_found``, ``file_format``, ``file_truncated``, ``csv_row``.
        ColumnError: ``missing_column``, ``ambiguous_column``.
        MissingExtraError: ``missing_extra`` when a package for the format is not installed.
    """

    def __init__(
        self,
        paths: Iterable[str | os.PathLike[str]],
        wanted: Wanted | None = None,
        *,
        on_bad: str = "raise",
        read_ahead: bool = False,
        notify: Callable[[FileFacts], None] | None = None,
    ) -> None:
        self._paths = list(paths)
        self._wanted = wanted or Wanted()
        self._count_faults = on_bad == "count"
        self._read_ahead = read_ahead
        self._notify = notify
        self._rows = 0
        self._recent: deque[tuple[int, int, str, Callable[[int], int]]] = deque(maxlen=_REMEMBERED)
        self._bytes_before = 0
        self._stream: Stream | None = None
        self.files: list[FileFacts] = []
        self.samples: list[Fault] = []
        self.bytes_total = _size(self._paths)

    @property
    def bytes_done(self) -> int:
        """Bytes of the files on disk that have been read so far."""
        if self._stream is None:
            return self._bytes_before
        try:
            return self._bytes_before + self._stream.raw.tell()
        except (OSError, ValueError):
            return self._bytes_before

    @property
    def rows(self) -> int:
        """Good rows so far."""
        return self._rows

    @property
    def faults(self) -> dict[str, int]:
        """Records that could not be read so far, by reason."""
        out: dict[str, int] = {}
        for facts in self.files:
            for reason, count in facts.faults.items():
                out[reason] = out.get(reason, 0) + count
        return out

    def locate(self, position: int) -> tuple[str, int] | None:
        """File and row of the trade at a position among all rows; None when it was long ago."""
        for start, rows, file, row_of in self._recent:
            if start <= position < start + rows:
                return file, row_of(position - start)
        return None

    def __iter__(self) -> Iterator[TradeBatch]:
        for path in self._paths:
            for stream in open_streams(path):
                self._stream = stream
                yield from self._batches(stream)
            self._stream = None
            self._bytes_before += _size([path]) or 0

    def _batches(self, stream: Stream) -> Iterator[TradeBatch]:
        format = format_of(stream.peek(8))
        source = self._csv(stream) if format is None else ArrowSource(stream, format, self._wanted)
        facts = _facts(stream, format or "csv", source)
        self.files.append(facts)
        if self._notify is not None:
            self._notify(facts)
        try:
            for chunk in source:
                if isinstance(chunk, CsvChunk):
                    data, rows, row_of = chunk.columns, chunk.rows, chunk.lines
                else:
                    data, rows, row_of = chunk, chunk.num_rows, LineMap(facts.rows)
                start = self._rows
                self._recent.append((start, rows, stream.label, row_of))
                self._rows += rows
                facts.rows += rows
                yield TradeBatch(data, rows, start, stream.label, row_of)
        finally:
            if isinstance(source, CsvSource):
                facts.faults = source.faults
                self.samples += source.samples[: _SAMPLES_MAX - len(self.samples)]

    def _csv(self, stream: Stream) -> CsvSource:
        return CsvSource(
            stream,
            self._wanted,
            count_faults=self._count_faults,
            read_ahead=self._read_ahead,
        )


def _facts(stream: Stream, format: str, source: CsvSource | ArrowSource) -> FileFacts:
    if isinstance(source, ArrowSource):
        preset, symbol, why = source.preset, source.symbol, source.why
        columns, unit = dict(source.columns), None
    else:
        layout = source.layout
        preset, symbol, why, unit = layout.preset, layout.symbol, layout.why, layout.unit
        columns = {role: layout.names[at] for role, at in layout.positions.items()}
    return FileFacts(
        file=stream.label,
        format=format,
        compression=stream.compression,
        preset=None if preset is None else preset.name,
        unit=unit,
        symbol=symbol,
        columns=columns,
        why=why,
    )


def _size(paths: Iterable[str | os.PathLike[str]]) -> int | None:
    total = 0
    for path in paths:
        if is_once(path):
            return None
        with suppress(OSError):  # opening it will tell
            total += Path(path).stat().st_size
    return total


def read_trades(
    *paths: str | os.PathLike[str],
    preset: str | None = None,
    columns: Mapping[str, str | None] | None = None,
    unit: str | None = None,
    symbol: str | None = None,
    delimiter: str | None = None,
    header: bool | None = None,
    conditions: ConditionTable | str | None = None,
    on_bad: str = "raise",
) -> Iterator[Any]:
    """Trades of files in bounded memory, for :func:`klineagg.aggregate`.

    CSV (plain, gzip, zip or zstd), Parquet and Arrow; the format, the layout and the unit of the
    stamps are found out. ::

        bars = klineagg.aggregate(klineagg.io.read_trades("BTCUSDT-trades-2024-01.zip"), ["1m"])

    Args:
        paths: files in the order of their trades.
        preset: a name of :data:`klineagg.io.presets.PRESETS`, or ``"none"``; None: guess.
        columns: role -> name of the column, where neither preset nor names tell; ``"#2"`` is the
            second field of a file without a header, None a role that is not used. Roles: symbol,
            time, price, quantity, side, trade_id, first_trade_id, last_trade_id, flags,
            conditions.
        unit: of integer stamps, ``s``, ``ms``, ``us`` or ``ns``; None: by their size.
        symbol: of all trades, where no column tells it; it goes before the file's name.
        delimiter: of the fields of CSV; None: the most frequent of comma, semicolon, tab and bar.
        header: whether CSV has names in its first record; None: find out.
        conditions: table of sale conditions, or its name, see :mod:`klineagg.conditions`; the
            column of that role then becomes flags.
        on_bad: ``"raise"`` on the first record that cannot be read; ``"count"`` leaves it out (use
            :class:`TradeReader` to see the counts).

    Yields:
        Chunks that :func:`klineagg.aggregate` and :meth:`klineagg.Aggregator.update` take.

    Raises:
        FileError: ``file_not_found``, ``file_format``, ``file_truncated``, ``csv_row``.
        ColumnError: ``missing_column``, ``ambiguous_column``; ``column_type`` for a condition that
            is not in the table.
        MissingExtraError: ``missing_extra`` when a package for the format is not installed.
        OptionError: ``invalid_option``: a value of ``on_bad`` or ``conditions`` that is not known.
    """
    if on_bad not in ("raise", "count"):
        text = f"on_bad is 'raise' or 'count', not {on_bad!r}"
        raise errors.make("invalid_option", text, option="on_bad", value=on_bad)
    wanted = Wanted(preset, columns, unit, symbol, delimiter, header, conditions)
    for batch in TradeReader(paths, wanted, on_bad=on_bad):
        yield batch.data
