"""Trades in CSV as chunks of columns, read by the parser of the core."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from klineagg import errors
from klineagg.io.roles import Wanted
from klineagg.io.sniff import Layout, sniff
from klineagg.io.streams import Stream

if TYPE_CHECKING:
    from klineagg.conditions import ConditionTable

__all__ = ["CsvChunk", "CsvRows", "CsvSource", "Fault", "LineMap"]

# Large enough to make calls cheap, small enough to stay in the caches and to count for nothing.
_BLOCK_BYTES: Final = 1 << 21


@dataclass(frozen=True, slots=True)
class Fault:
    """A record that could not be read.

    Attributes:
        file: where it is.
        row: the line on which it begins, from 1.
        column: the role of the field at fault; empty for the whole record.
        reason: stable name, for example ``price_unreadable``.
        excerpt: its text, shortened.
    """

    file: str
    row: int
    column: str
    reason: str
    excerpt: str

    def __str__(self) -> str:
        column = f" {self.column}" if self.column else ""
        return f"{self.file}:{self.row}:{column} {self.excerpt!r} ({self.reason})"


@dataclass(frozen=True, slots=True)
class LineMap:
    """Lines of the rows of a chunk; call it with a row to get the line on which it begins, from 1.

    Attributes:
        first: the line of row 0.
        steps: ``(row, n)``: from this row on, lines lie n further down than before.
    """

    first: int
    steps: tuple[tuple[int, int], ...] = ()

    def __call__(self, row: int) -> int:
        """The line of a row."""
        passed = bisect_right([at for at, _ in self.steps], row)
        return self.first + row + sum(skipped for _, skipped in self.steps[:passed])


@dataclass(frozen=True, slots=True)
class CsvChunk:
    """Some rows of a file.

    Attributes:
        columns: what :meth:`klineagg.Aggregator.update` takes: ``symbol`` int32 ids, ``time``
            datetime64[ns], ``price`` and ``quantity`` float64, ``side`` int8 (+1 the taker bought,
            -1 sold, 0 unknown), ``trade_id`` int64 (-1 none), or ``first_trade_id`` and
            ``last_trade_id`` for aggregated trades, ``flags`` uint8; all ``(n,)``.
        rows: how many.
        lines: where they are in the file.
    """

    columns: dict[str, NDArray[Any]]
    rows: int
    lines: LineMap


class CsvRows:
    """Bytes of CSV into columns, whatever they come from.

    Args:
        layout: what the fields are.
        label: how messages call the input.
        conditions: table of the codes in the conditions column, where there is one.
        count_faults: skip and count bad records instead of raising.
    """

    def __init__(
        self,
        layout: Layout,
        label: str,
        *,
        conditions: ConditionTable | str | None = None,
        count_faults: bool = False,
    ) -> None:
        self.layout: Layout = layout
        self._label = label
        self._parser = layout.parser(count_faults=count_faults)
        self._marks = None
        if conditions is not None:
            from klineagg.io.marks import Marks

            self._marks = Marks(conditions, label)
        self._texts_known = 0
        self._ids = np.empty(0, np.int32)

    @property
    def rows(self) -> int:
        """Good rows so far."""
        return int(self._parser.rows())

    @property
    def faults(self) -> dict[str, int]:
        """Skipped records so far, by reason."""
        return dict(self._parser.faults())

    @property
    def samples(self) -> list[Fault]:
        """The first few of them."""
        return [
            Fault(self._label, line, column, reason, excerpt)
            for reason, line, column, excerpt in self._parser.samples()
        ]

    def feed(self, block: bytes) -> Iterator[CsvChunk]:
        """The rows that this block completes; all of it is read before the first is given.

        Raises:
            FileError: ``csv_row``, unless faults are counted.
        """
        try:
            self._parser.feed(block)
        except errors.FileError as error:
            raise self._located(error) from error
        return self._take()

    def finish(self) -> Iterator[CsvChunk]:
        """The row that the end of the input completes."""
        try:
            self._parser.finish()
        except errors.FileError as error:
            raise self._located(error) from error
        return self._take()

    def _take(self) -> Iterator[CsvChunk]:
        rows, columns, first_line, steps = self._parser.take()
        if rows == 0:
            return
        columns = {name: column[:rows] for name, column in columns.items()}
        columns["time"] = columns["time"].view("datetime64[ns]")
        columns["symbol"] = self._symbols(columns.get("symbol"), rows)
        if "last_trade_id" in columns and "trade_id" in columns:
            columns["first_trade_id"] = columns.pop("trade_id")
        lines = LineMap(first_line, tuple(steps))
        if self._marks is not None:
            new = self._parser.conditions(self._texts_known)
            self._texts_known += len(new)
            excluded = self._marks.of_codes(columns.pop("conditions"), new, lines)
            columns["flags"] = columns["flags"] | excluded if "flags" in columns else excluded
        yield CsvChunk(columns, rows, lines)

    def _symbols(self, codes: NDArray[np.int32] | None, rows: int) -> NDArray[np.int32]:
        from klineagg.symbols import intern

        if codes is None:
            if not len(self._ids):
                self._ids = np.asarray(intern([self.layout.symbol or ""]), np.int32)
            return np.broadcast_to(self._ids, (rows,))
        names = self._parser.symbols(len(self._ids))
        if names:
            self._ids = np.concatenate([self._ids, np.asarray(intern(names), np.int32)])
        return self._ids[codes]

    def _located(self, error: errors.FileError) -> errors.KlineaggError:
        """The parser's error with the name of the file."""
        if error.name != "csv_row" or "file" in error.fields:
            return error
        fields = {**error.fields, "file": self._label, "row": int(error.fields["row"])}
        position = self.layout.positions.get(str(fields.get("column")))
        if position is not None:
            fields["column_name"] = self.layout.names[position]
        return errors.make("csv_row", f"{self._label}: {error.message}", **fields)


class CsvSource:
    """One CSV stream.

    Args:
        stream: its bytes.
        wanted: what the user says about its columns.
        count_faults: skip and count bad records instead of raising.
        read_ahead: unpack the next block in a thread of its own.

    Raises:
        FileError: ``file_format`` for what is no CSV, ``file_truncated`` for an empty file.
        ColumnError: ``missing_column``, ``ambiguous_column``, ``column_type`` for a condition that
            is not in the table.
    """

    def __init__(
        self,
        stream: Stream,
        wanted: Wanted,
        *,
        count_faults: bool = False,
        read_ahead: bool = False,
    ) -> None:
        self._stream = stream
        self._read_ahead = read_ahead
        self._head = stream.read(_BLOCK_BYTES)
        layout = sniff(self._head, stream.label, wanted, stream.names)
        if layout is None:
            text = f"{stream.label} is empty"
            raise errors.make("file_truncated", text, file=stream.label)
        self._into = CsvRows(
            layout, stream.label, conditions=wanted.conditions, count_faults=count_faults
        )

    @property
    def layout(self) -> Layout:
        """What its fields are."""
        return self._into.layout

    @property
    def rows(self) -> int:
        """Good rows so far."""
        return self._into.rows

    @property
    def faults(self) -> dict[str, int]:
        """Skipped records so far, by reason."""
        return self._into.faults

    @property
    def samples(self) -> list[Fault]:
        """The first few of them."""
        return self._into.samples

    def __iter__(self) -> Iterator[CsvChunk]:
        blocks = self._blocks_ahead() if self._read_ahead else self._blocks()
        for block in blocks:
            yield from self._into.feed(block)
        yield from self._into.finish()

    def _blocks(self) -> Iterator[bytes]:
        block, self._head = self._head, b""
        while block:
            yield block
            block = self._stream.read(_BLOCK_BYTES)

    def _blocks_ahead(self) -> Iterator[bytes]:
        """The same blocks; the next one is read while the last one is worked on."""
        block, self._head = self._head, b""
        with ThreadPoolExecutor(1, "klineagg-read") as pool:
            while block:
                coming = pool.submit(self._stream.read, _BLOCK_BYTES)
                yield block
                block = coming.result()
