"""What the columns of a CSV file are: its delimiter, header, preset, and the role of each field."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from klineagg import errors
from klineagg.io import presets
from klineagg.io.presets import Preset, key_of
from klineagg.io.roles import Wanted, positions_of, symbol_of
from klineagg.io.units import NUMBER, unit_of

__all__ = ["Layout", "sniff"]

DELIMITERS: Final = ",;\t|"
_SAMPLE_BYTES: Final = 1 << 16
_SAMPLE_ROWS: Final = 20
_FIELDS_MIN: Final = 3  # time, price and quantity


@dataclass(frozen=True)
class Layout:
    """How to read one CSV file.

    Attributes:
        names: of the fields; ``#1``, ``#2``, ... when nothing names them.
        positions: field of each role, from 0.
        delimiter: of the fields.
        header: whether the first record holds names.
        unit: of integer stamps; ``ms/us``: either, by the size of each; ``detect``: they are texts.
        side: ``taker`` or ``maker``, see :class:`klineagg._core.CsvParser`.
        symbol: of all trades; None when a column tells it.
        preset: what it was taken for; None: the columns were found by their names.
        why: one line for the user about what was chosen.
    """

    names: tuple[str, ...]
    positions: Mapping[str, int]
    delimiter: str
    header: bool
    unit: str
    side: str
    symbol: str | None
    preset: Preset | None
    why: str

    def parser(self, *, count_faults: bool) -> Any:
        """A parser of such a file."""
        from klineagg import _core

        return _core.CsvParser(
            [(position, role) for role, position in self.positions.items()],
            field_count=len(self.names),
            delimiter=self.delimiter,
            header=self.header,
            unit=self.unit,
            side=self.side,
            count_faults=count_faults,
        )


def sniff(head: bytes, file: str, wanted: Wanted, names: Sequence[str]) -> Layout | None:
    """The layout of a file.

    Args:
        head: its first bytes.
        file: how messages call it.
        wanted: what the user says.
        names: names that may tell the symbol, without directories, the most telling first (the
            member of an archive before the archive).

    Returns:
        None when it has no records at all.

    Raises:
        FileError: ``file_format`` when it is no CSV.
        ColumnError: ``missing_column`` or ``ambiguous_column``.
    """
    text = _text(head, file)
    rows, delimiter = _rows(text, file, wanted.delimiter)
    if not rows:
        return None
    header = _is_header(rows[0]) if wanted.header is None else wanted.header
    data = _usual(rows[1:] if header else rows)
    known = tuple(name.strip() for name in rows[0]) if header else None
    preset = _preset(wanted, known, data, names)
    fields = known or _positional(preset, data[0] if data else rows[0])
    if len(fields) < _FIELDS_MIN:
        count = f"{len(fields)} field" + ("s" if len(fields) > 1 else "")
        text = f"{file} has {count} in its first record, and a trade needs {_FIELDS_MIN}"
        hint = "if it is CSV with another delimiter, pass --delimiter"
        raise errors.make("file_format", text, hint=hint, file=file)
    positions, maker = positions_of(preset, fields, wanted, file)
    symbol = None
    if "symbol" not in positions:
        symbol = wanted.symbol or symbol_of(preset, names, file, fields)
    _drop_textual_ids(positions, data)
    stamps = [row[positions["time"]] for row in data if positions["time"] < len(row)]
    unit = unit_of(stamps, wanted.unit, preset, fields[positions["time"]], file)
    return Layout(
        names=fields,
        positions=positions,
        delimiter=delimiter,
        header=header,
        unit=unit,
        side="maker" if maker else "taker",
        symbol=symbol,
        preset=preset,
        why=_explain(preset, fields, positions, header, symbol, unit, wanted),
    )


def _text(head: bytes, file: str) -> str:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        hint = "write it as UTF-8, for example with: iconv -f UTF-16 -t UTF-8"
        raise errors.make("file_format", f"{file} is UTF-16 text", hint=hint, file=file)
    start = head.lstrip()[:64].lower()
    for mark, what in ((b"<", "an HTML or XML page"), (b"{", "JSON"), (b"[", "JSON")):
        if start.startswith(mark):
            text = f"{file} is {what}, not CSV, Parquet or Arrow"
            hint = "if it was fetched, look at it: servers answer errors with such files"
            raise errors.make("file_format", text, hint=hint, file=file)
    sample = head[:_SAMPLE_BYTES]
    # bzip2 has the size of its blocks before the mark.
    for mark, at, tool in ((b"\xfd7zXZ\0", 0, "xz"), (b"1AY&SY", 4, "bzip2")):
        if head.startswith(mark, at):
            text = f"{file} is packed by {tool}, which is not read"
            raise errors.make("file_format", text, hint=f"unpack it: {tool} -dk", file=file)
    if b"\0" in sample:
        text = f"{file} is binary, and neither Parquet, Arrow, gzip, zip nor zstd"
        raise errors.make("file_format", text, file=file)
    # Some headers are in GBK or Latin-1; what is needed of them is ASCII.
    return sample.decode("utf-8-sig", errors="replace")


def _rows(text: str, file: str, delimiter: str | None) -> tuple[list[list[str]], str]:
    """The first records, and the delimiter between their fields."""
    first = text.lstrip("\r\n").partition("\n")[0]
    if "\n" not in text and "\r" in first.strip("\r"):
        hint = "write it with LF, for example with: tr '\\r' '\\n'"
        raise errors.make("file_format", f"lines of {file} end in CR alone", hint=hint, file=file)
    delimiter = delimiter or max(DELIMITERS, key=first.count)
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            if row:
                rows.append(row)
            if len(rows) == _SAMPLE_ROWS:
                break
    except csv.Error as error:
        raise errors.make("file_format", f"{file} is not CSV: {error}", file=file) from error
    return rows, delimiter


def _usual(rows: list[list[str]]) -> list[list[str]]:
    """The records with as many fields as most have, so that a bad first one decides nothing."""
    lengths = [len(row) for row in rows]
    most = max(lengths, key=lengths.count, default=0)
    return [row for row in rows if len(row) == most]


def _is_header(row: Sequence[str]) -> bool:
    """Names have letters and are no numbers; a record of a trade always holds a number."""
    return not any(NUMBER.fullmatch(cell.strip()) for cell in row) and any(
        c.isalpha() for cell in row for c in cell
    )


def _preset(
    wanted: Wanted,
    header: tuple[str, ...] | None,
    data: Sequence[Sequence[str]],
    names: Sequence[str],
) -> Preset | None:
    if wanted.preset == "none":
        return None
    if wanted.preset is not None:
        return presets.find(wanted.preset)
    keys = None if header is None else [key_of(name) for name in header]
    return presets.guess(keys, data, names[0] if names else "")


def _positional(preset: Preset | None, row: Sequence[str]) -> tuple[str, ...]:
    layout = presets.layout_of(preset, row) if preset else None
    return layout or tuple(f"#{k + 1}" for k in range(len(row)))


def _drop_textual_ids(positions: dict[str, int], data: Sequence[Sequence[str]]) -> None:
    """Ids such as UUIDs order nothing: trades of one stamp keep their order in the file."""
    at = positions.get("trade_id")
    if at is None or "last_trade_id" in positions:
        return
    ids = [row[at] for row in data if at < len(row)]
    textual = [text for text in ids if not re.fullmatch(r"\s*([+-]?\d{1,19})?\s*", text)]
    # One of many is a bad row, and told as such.
    if len(textual) * 2 > len(ids):
        del positions["trade_id"]


def _explain(
    preset: Preset | None,
    fields: Sequence[str],
    positions: Mapping[str, int],
    header: bool,
    symbol: str | None,
    unit: str,
    wanted: Wanted,
) -> str:
    parts = []
    if preset is not None:
        how = "as asked" if wanted.preset else "found"
        parts.append(f"preset {preset.name} ({how})")
    else:
        columns = ", ".join(f"{role}={fields[at]}" for role, at in positions.items())
        parts.append(f"columns {columns}")
    parts.append("with a header" if header else "without a header")
    parts.append("times as text" if unit == "detect" else f"times in {unit}")
    if symbol is not None:
        parts.append(f"symbol {symbol}" + ("" if wanted.symbol else " (from the file's name)"))
    return ", ".join(parts)
