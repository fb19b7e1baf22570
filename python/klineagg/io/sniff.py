"""What the columns of a CSV file are: its delimiter, header, preset, and the role of each field."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from klineagg import errors
from klineagg._columns_roles import ALIASES, resolve
from klineagg.io import presets
from klineagg.io.presets import Preset, key_of

__all__ = ["Layout", "Wanted", "positions_of", "sniff", "symbol_of"]

DELIMITERS: Final = ",;\t|"
_SAMPLE_BYTES: Final = 1 << 16
_SAMPLE_ROWS: Final = 20
_PER_SECOND: Final = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_PLAUSIBLE: Final = (631_152_000.0, 4_102_444_800.0)  # 1990 and 2100
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Wanted:
    """What the user says about the columns; None and empty: to be found out.

    Attributes:
        preset: name of a preset, or ``"none"`` to go by the names of the columns alone.
        columns: role -> name of a column, or ``#n`` for the n-th field from 1; None: not used.
        unit: of integer stamps, ``s``, ``ms``, ``us`` or ``ns``.
        symbol: of all trades, where no column tells it.
        delimiter: of the fields.
        header: whether the first record holds names.
    """

    preset: str | None = None
    columns: Mapping[str, str | None] | None = None
    unit: str | None = None
    symbol: str | None = None
    delimiter: str | None = None
    header: bool | None = None


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
    data = rows[1:] if header else rows
    known = tuple(name.strip() for name in rows[0]) if header else None
    preset = _preset(wanted, known, data, names)
    fields = known or _positional(preset, data[0] if data else rows[0])
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


def _is_header(row: Sequence[str]) -> bool:
    """Names have letters and are no numbers; a record of a trade always holds a number."""
    return not any(_NUMBER.fullmatch(cell.strip()) for cell in row) and any(
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


def positions_of(
    preset: Preset | None, fields: tuple[str, ...], wanted: Wanted, file: str
) -> tuple[dict[str, int], bool]:
    """Field of each role, and whether the side tells about the maker.

    Ids of aggregated trades are ``trade_id`` (the first one) and ``last_trade_id``.

    Raises:
        ColumnError: ``missing_column`` or ``ambiguous_column``.
    """
    mapped = dict(wanted.columns or {})
    found: dict[str, int] = {}
    try:
        if preset is not None:
            found = _by_preset(preset, fields)
            if not mapped and {"time", "price", "quantity"} <= found.keys():
                return found, "side" in found and "maker" in key_of(fields[found["side"]])
        # Roles that the preset knows are told to the search, so that what the user maps is all
        # that can differ.
        names = [f"#{k + 1}" if _is_dull(name) else _short(name) for k, name in enumerate(fields)]
        columns: dict[str, str | None] = {
            _core_role(role, found): names[at] for role, at in found.items()
        }
        columns.update({role: _named(name, names, fields) for role, name in mapped.items()})
        told = columns["symbol"] is not None if "symbol" in columns else _has_symbol(names)
        roles = resolve(names, columns=columns, needs_symbol=told)
    except errors.ColumnError as error:
        hint = (error.hint + "; " if error.hint else "") + (
            "on the command line: --columns time=NAME,price=NAME,quantity=NAME "
            "(#2 stands for the second field)"
        )
        text = f"{file}: {error.message}"
        raise errors.make(error.name, text, hint=hint, **{**error.fields, "file": file}) from error
    positions = dict(roles.positions)
    first = positions.pop("first_trade_id", None)
    if first is not None:
        positions["trade_id"] = first
    positions.pop("conditions", None)
    return positions, roles.buyer_is_maker


def _has_symbol(names: Sequence[str]) -> bool:
    return any(key_of(name) in ALIASES["symbol"] for name in names)


def _core_role(role: str, found: Mapping[str, int]) -> str:
    """What the search calls a role of a preset: ids of aggregated trades come in pairs there."""
    return "first_trade_id" if role == "trade_id" and "last_trade_id" in found else role


def _is_dull(name: str) -> bool:
    return name.startswith("#") or not name


def _short(name: str) -> str:
    """A name without its translation: ``side/...`` is ``side``."""
    return name.split("/")[0].strip() or name


def _named(name: str | None, names: Sequence[str], fields: Sequence[str]) -> str | None:
    """The name that the search knows for what the user wrote."""
    if name is None:
        return None
    if name in fields:
        return names[fields.index(name)]
    match = re.fullmatch(r"#(\d+)", name)
    if match and 1 <= int(match[1]) <= len(names):
        return names[int(match[1]) - 1]
    return name


def _by_preset(preset: Preset, fields: Sequence[str]) -> dict[str, int]:
    keys = [key_of(name) for name in fields]
    found: dict[str, int] = {}
    for role, choices in preset.roles.items():
        for choice in choices:
            if choice in keys:
                found[role] = keys.index(choice)
                break
    return found


def symbol_of(preset: Preset | None, names: Sequence[str], file: str, fields: Sequence[str]) -> str:
    """The symbol that the name of a file tells.

    Raises:
        ColumnError: ``missing_column`` when it tells none.
    """
    for name in names if preset is not None else ():
        symbol = preset.symbol_in(name) if preset is not None else None
        if symbol is not None:
            return symbol
    text = f"{file}: neither a column nor the file's name tells the symbol"
    hint = "pass --symbol BTCUSDT, or map its column with --columns symbol=NAME"
    raise errors.make(
        "missing_column", text, hint=hint, column="symbol", file=file, known=list(fields)
    )


def unit_of(
    stamps: Sequence[str], wanted: str | None, preset: Preset | None, column: str, file: str
) -> str:
    """The unit of time stamps: as asked or as the preset says, else by the size of the first one.

    Raises:
        TimeUnitError: ``time_unit`` when the unit that was asked for makes no sense and another
            one does, such as milliseconds given as nanoseconds.
    """
    numbers = [text.strip() for text in stamps if _NUMBER.fullmatch(text.strip())]
    if not numbers:
        return wanted or (preset.unit if preset is not None else "detect")
    seconds = {unit: float(numbers[0]) / per for unit, per in _PER_SECOND.items()}
    plausible = [unit for unit, value in seconds.items() if _PLAUSIBLE[0] <= value < _PLAUSIBLE[1]]
    if wanted is not None:
        if plausible and wanted not in plausible:
            date = np.datetime64(int(seconds[plausible[0]]), "s")
            text = (
                f"{file}: the unit {wanted!r} was given, but {numbers[0]} in column {column!r} "
                f"looks like {plausible[0]!r}: it is then {date}"
            )
            hint = f"pass --unit {plausible[0]}, or leave it out"
            raise errors.make(
                "time_unit", text, hint=hint, file=file, given=wanted, likely=plausible[0]
            )
        return wanted
    if preset is not None and preset.unit != "detect":
        return preset.unit
    return plausible[0] if plausible else _by_digits(numbers[0])


def _by_digits(number: str) -> str:
    """The unit that the size of a number tells, also for times far from today."""
    digits = len(str(abs(int(float(number)))))
    return next(
        unit for most, unit in ((11, "s"), (14, "ms"), (17, "us"), (99, "ns")) if digits <= most
    )


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
