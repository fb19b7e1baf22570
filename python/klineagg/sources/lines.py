"""Complete lines of text into columns of trades."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, Protocol

from klineagg import errors
from klineagg.io.csv import CsvRows
from klineagg.io.roles import Wanted
from klineagg.io.sniff import Layout, sniff
from klineagg.sources.base import Source

__all__ = ["CsvLines", "JsonLines", "Lines", "make_lines"]

# A layout is guessed from this much at most; a header alone is not enough.
_HEAD_BYTES: Final = 1 << 16
_EXCERPT_BYTES: Final = 80


class Lines(Protocol):
    """Takes whole lines, gives columns."""

    def feed(self, data: bytes, *, final: bool = False) -> Iterator[tuple[Any, int]]:
        """The trades of these lines as ``(columns, rows)``; ``final``: no more will come."""


def make_lines(format: str, label: str, wanted: Wanted, counts: Source) -> Lines:
    """For ``"csv"`` or ``"jsonl"``."""
    return (JsonLines if format == "jsonl" else CsvLines)(label, wanted, counts)


class CsvLines:
    """CSV whose layout is found out from its first lines.

    Args:
        label: how messages call the input.
        wanted: what the user says about the columns.
        counts: is told of bad rows.
        names: names of files that may tell the symbol.
        layout: where it is known already, and the header was read before.
        line_of: other numbers for the lines that messages name.
    """

    def __init__(
        self,
        label: str,
        wanted: Wanted,
        counts: Source,
        *,
        names: tuple[str, ...] = (),
        layout: Layout | None = None,
        line_of: Mapping[int, int] | None = None,
    ) -> None:
        self._line_of = {} if line_of is None else line_of
        self._label, self._wanted, self._counts, self._names = label, wanted, counts, names
        self._head = b""
        self._told: dict[str, int] = {}
        self._into: CsvRows | None = None
        if layout is not None:
            self._into = self._rows_of(replace(layout, header=False))

    def feed(self, data: bytes, *, final: bool = False) -> Iterator[tuple[Any, int]]:
        """The trades of these lines."""
        if self._into is None:
            data = self._head + data
            layout = _layout(data, self._label, self._wanted, self._names, final)
            if layout is None:
                self._head = data
                return
            self._head = b""
            self._into = self._rows_of(layout)
        for chunk in self._into.feed(data):
            yield chunk.columns, chunk.rows
        if final:
            for chunk in self._into.finish():
                yield chunk.columns, chunk.rows
        faults = self._into.faults
        samples = self._into.samples if faults != self._told else []
        first = samples[0] if samples else None
        if first is not None:
            first = replace(first, row=self._line_of.get(first.row, first.row))
        for reason, count in faults.items():
            if count > self._told.get(reason, 0):
                self._counts.count(reason, count - self._told.get(reason, 0), first or "")
        self._told = faults

    @property
    def is_known(self) -> bool:
        """Whether the layout has been found; until then nothing was given."""
        return self._into is not None

    def _rows_of(self, layout: Layout) -> CsvRows:
        return CsvRows(layout, self._label, conditions=self._wanted.conditions, count_faults=True)


def _layout(
    head: bytes, label: str, wanted: Wanted, names: tuple[str, ...], final: bool
) -> Layout | None:
    """None as long as there may be more, and there is no row of data yet."""
    if not head.strip():
        return None
    try:
        layout = sniff(head[:_HEAD_BYTES], label, wanted, names)
    except errors.KlineaggError:
        # One line may be too little to tell; many are not.
        if final or head.count(b"\n") > 1:
            raise
        return None
    if layout is None or (layout.header and head.strip(b"\r\n").count(b"\n") < 1):
        return None
    return layout


class JsonLines:
    """An object on each line: ``{"symbol": "BTCUSDT", "price": "42000.5", ...}``.

    The keys of the first object are the columns; texts and numbers are read as they are written,
    so no digit is lost. A line that is no object counts as ``json_unreadable``.

    Args:
        label: how messages call the input.
        wanted: what the user says about the columns.
        counts: is told of bad rows.
    """

    def __init__(self, label: str, wanted: Wanted, counts: Source) -> None:
        self._line_of: dict[int, int] = {}  # of the rows at hand
        as_csv = replace(wanted, delimiter=",", header=True)
        self._csv = CsvLines(label, as_csv, counts, line_of=self._line_of)
        self._counts = counts
        self._keys: list[str] = []
        self._label = label
        self._line, self._row = 0, 1  # of the text, and of the CSV made of it, with its header

    def feed(self, data: bytes, *, final: bool = False) -> Iterator[tuple[Any, int]]:
        """The trades of these lines."""
        import csv
        import io
        import json

        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        self._line_of.clear()
        for line in io.BytesIO(data):
            self._line += 1
            if not line.strip():
                continue
            try:
                found = json.loads(line, parse_float=str, parse_int=str)
            except ValueError:
                found = None
            if not isinstance(found, dict):
                excerpt = line.strip()[:_EXCERPT_BYTES].decode(errors="replace")
                where = f"{self._label}:{self._line}: {excerpt!r} (json_unreadable)"
                self._counts.count("json_unreadable", where=where)
                continue
            if not self._keys:
                self._keys = list(found)
                writer.writerow(self._keys)
            self._row += 1
            self._line_of[self._row] = self._line
            writer.writerow([_text(found.get(key)) for key in self._keys])
        return self._csv.feed(out.getvalue().encode(), final=final)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else ""
