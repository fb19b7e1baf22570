"""K-lines of the exchanges, with the decimals that they are printed with.

Known without a header: Binance (12 fields; spot in milliseconds up to 2024, in microseconds from
2025 on; documented at github.com/binance/binance-public-data) and Kraken's OHLCVT (7 fields;
seconds; only bars with trades; the minutes of the interval end the file's name, as in
``XBTUSD_1.csv``; documented at support.kraken.com). With a header, and in Parquet or Arrow files,
columns are found by their usual names.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from klineagg import errors
from klineagg._bars_extras import require
from klineagg.io.arrow import format_of, read_table
from klineagg.io.matching import named_series
from klineagg.io.presets import key_of
from klineagg.io.streams import Stream, open_streams
from klineagg.io.units import SCALES, by_digits

__all__ = ["FIELDS", "Klines", "read_klines"]

# What is compared: name in Bars -> names that exchanges give it.
FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "open": ("open", "o", "openprice"),
    "high": ("high", "h", "highprice"),
    "low": ("low", "l", "lowprice"),
    "close": ("close", "c", "closeprice"),
    "volume": ("volume", "vol", "v", "basevolume", "volumebase"),
    "quote_volume": (
        "quotevolume", "quoteassetvolume", "quoteav", "volquote", "volumequote", "turnover",
    ),
    "trade_count": (
        "count", "trades", "tradecount", "numberoftrades", "numtrades", "n", "tradescount",
    ),
    "taker_buy_volume": ("takerbuyvolume", "takerbuybaseassetvolume", "takerbuybasevolume"),
    "taker_buy_quote_volume": ("takerbuyquotevolume", "takerbuyquoteassetvolume"),
}  # fmt: skip
_TIMES: Final[Mapping[str, tuple[str, ...]]] = {
    "open_time": (
        "opentime", "starttime", "start", "time", "timestamp", "ts", "datetime", "date", "t",
    ),
    "close_time": ("closetime", "endtime"),
}  # fmt: skip
_BINANCE: Final = (
    "open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume",
    "trade_count", "taker_buy_volume", "taker_buy_quote_volume", "",
)  # fmt: skip
_KRAKEN: Final = ("open_time", "open", "high", "low", "close", "volume", "trade_count")
_PLAIN: Final = _KRAKEN[:6]
_HEADLESS: Final[Mapping[int, tuple[str, tuple[str, ...]]]] = {
    12: ("Binance K-lines", _BINANCE),
    7: ("Kraken OHLCVT", _KRAKEN),
    6: ("time, open, high, low, close, volume", _PLAIN),
}
_WHOLE: Final = re.compile(r"-?[0-9]{1,30}")
# A float column has no printed decimals; more than these are noise of its sums.
_DECIMALS_MAX: Final = 8
_ROWS_AT_ONCE: Final = 1 << 16


@dataclass
class Klines:
    """K-lines of one symbol and interval.

    Attributes:
        file: where they are from.
        format: what the file was taken for.
        open_time: int64 ``(n,)`` nanoseconds UTC, rising.
        columns: names of :data:`FIELDS` -> float64 ``(n,)``; those that the file has.
        close_time: int64 ``(n,)`` as printed; None when there is none.
        unit_ns: nanoseconds of one unit of the printed stamps.
        decimals: column -> how many decimals it is printed with.
        rows: int64 ``(n,)`` lines of the file from 1 (rows from 0 where it has no lines).
        symbol: as the name of the file tells.
        interval: likewise.
    """

    file: str
    format: str
    open_time: NDArray[np.int64]
    columns: dict[str, NDArray[np.float64]]
    close_time: NDArray[np.int64] | None
    unit_ns: int
    decimals: dict[str, int]
    rows: NDArray[np.int64]
    symbol: str | None = None
    interval: str | None = None

    def __len__(self) -> int:
        return len(self.open_time)


def read_klines(*paths: str, keep: Callable[[str, str], bool] | None = None) -> list[Klines]:
    """K-lines of files, one item for each file or member of an archive.

    Args:
        paths: CSV (plain or compressed), Parquet or Arrow files.
        keep: called with the symbol and the interval that the name of an archive's member tells;
            members for which it is false are left out. Archives of whole exchanges are large.

    Raises:
        FileError: ``file_not_found``, ``file_format``, ``file_truncated``, ``csv_row``.
        ColumnError: ``missing_column`` when there is no time or no price in it.
    """
    found = []
    for path in paths:
        for stream in open_streams(path):
            named = named_series(stream.names)
            is_member = stream.compression == "zip"
            if keep is None or named is None or not is_member or keep(*named):
                found.append(_read(stream, named))
    return found


def _read(stream: Stream, named: tuple[str, str] | None) -> Klines:
    format = format_of(stream.peek(8))
    klines = _from_csv(stream) if format is None else _from_arrow(stream, format)
    if named is not None:
        klines.symbol, klines.interval = named
    order = np.argsort(klines.open_time, kind="stable")
    if np.any(order[1:] < order[:-1]):
        klines.open_time, klines.rows = klines.open_time[order], klines.rows[order]
        klines.columns = {name: values[order] for name, values in klines.columns.items()}
        if klines.close_time is not None:
            klines.close_time = klines.close_time[order]
    return klines


def _roles(names: Sequence[str], file: str) -> list[str]:
    """What each column is, empty for what is not compared."""
    keys = [key_of(name) for name in names]
    roles = [""] * len(names)
    for role, choices in {**_TIMES, **FIELDS}.items():
        at = next((keys.index(key) for key in choices if key in keys), None)
        if at is not None and not roles[at]:
            roles[at] = role
    for needed in ("open_time", "open", "high", "low", "close"):
        if needed not in roles:
            text = f"{file} has no column for the {needed.replace('_', ' ')} of K-lines"
            hint = f"its columns are {', '.join(map(repr, names))}"
            raise errors.make("missing_column", text, hint=hint, column=needed, file=file)
    return roles


# -- CSV -----------------------------------------------------------------------------------------


def _from_csv(stream: Stream) -> Klines:
    with stream.lines() as lines:
        return _from_lines(lines, stream)


def _from_lines(lines: Iterator[str], stream: Stream) -> Klines:
    label = stream.label
    blank: list[str] = []
    first = ""
    for line in lines:
        if first := line.strip("\r\n"):
            break
        blank.append(line)
    delimiter = max(",;\t|", key=first.count)
    reader = csv.reader(itertools.chain(blank, [line] if first else [], lines), delimiter=delimiter)
    try:
        rows: Iterator[tuple[int, list[str]]] = ((reader.line_num, row) for row in reader if row)
        head = next(rows, None)
        if head is None:
            raise errors.make("file_truncated", f"{label} is empty", file=label)
        if not re.match(r"\s*[-+.\d]", head[1][0]):
            format, roles = "CSV with a header", _roles(head[1], label)
        elif len(head[1]) in _HEADLESS:
            format, known = _HEADLESS[len(head[1])]
            roles, rows = list(known), itertools.chain([head], rows)
        else:
            text = f"{label} has {len(head[1])} fields and no header: not known as K-lines"
            hint = "add a header with the names time, open, high, low, close, volume"
            raise errors.make("file_format", text, hint=hint, file=label)
        columns = _CsvColumns(roles, label)
        while block := list(itertools.islice(rows, _ROWS_AT_ONCE)):
            columns.add(block)
    except csv.Error as error:
        raise stream.no_csv(error) from error
    return columns.klines(format)


class _CsvColumns:
    """Columns that grow by blocks of records, so that a file never is in memory as text.

    Args:
        roles: of each field, empty for what is not compared.
        label: how messages call the file.
    """

    def __init__(self, roles: Sequence[str], label: str) -> None:
        self._roles = roles
        self._label = label
        self._scale: int | None = None
        self._parts: dict[str, list[NDArray[Any]]] = {role: [] for role in roles if role}
        self._lines: list[NDArray[np.int64]] = []
        self._decimals = {role: 0 for role in roles if role and role not in _TIMES}

    def add(self, records: Sequence[tuple[int, list[str]]]) -> None:
        """Adds records, each behind its line.

        Raises:
            FileError: ``csv_row`` for a record that cannot be read.
        """
        for line, row in records:
            if len(row) != len(self._roles):
                label, fields = self._label, f"{len(row)} fields, not {len(self._roles)}"
                text = f"{label}: line {line} has {fields}"
                raise errors.make("csv_row", text, file=label, row=line, reason="field_count")
        lines = np.array([line for line, _ in records], np.int64)
        cells = list(zip(*(row for _, row in records), strict=True))
        self._lines.append(lines)
        for role, texts in zip(self._roles, cells, strict=True):
            if role == "open_time":
                times, self._scale = _times(texts, lines, self._label, self._scale)
                self._parts[role].append(times)
            elif role == "close_time":
                self._parts[role].append(_times(texts, lines, self._label, None)[0])
            elif role:
                self._parts[role].append(_numbers(role, texts, lines, self._label))
                self._decimals[role] = max(self._decimals[role], _most_decimals(texts))

    def klines(self, format: str) -> Klines:
        """All of it."""
        none: list[NDArray[Any]] = [np.empty(0, np.int64)]
        columns = {role: np.concatenate(parts or none) for role, parts in self._parts.items()}
        columns.update({role: columns[role].astype(np.float64) for role in self._decimals})
        open_time = columns.pop("open_time")
        close_time = columns.pop("close_time", None)
        return Klines(
            file=self._label,
            format=format,
            open_time=open_time,
            columns=columns,
            close_time=close_time,
            unit_ns=self._scale or SCALES["s"],
            decimals=self._decimals,
            rows=np.concatenate(self._lines or none),
        )


def _numbers(
    name: str, texts: Sequence[str], lines: NDArray[np.int64], label: str
) -> NDArray[np.float64]:
    try:
        return np.array(list(map(float, texts)), np.float64)
    except ValueError:
        bad = next(at for at, text in enumerate(texts) if not _is_number(text))
        raise _bad_cell(label, int(lines[bad]), name, texts[bad]) from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _bad_cell(label: str, line: int, name: str, text: str) -> errors.KlineaggError:
    return errors.make(
        "csv_row",
        f"{label}: line {line}: {name} {text[:60]!r} cannot be read",
        hint="fix the row",
        file=label,
        row=line,
        column=name,
        excerpt=text[:60],
    )


def _decimals(text: str) -> int:
    """How many decimals a number is printed with: 2 in ``"1.50"``, 7 in ``"1.5e-6"``."""
    mantissa, _, exponent = text.strip().lower().partition("e")
    return max(len(mantissa.partition(".")[2]) - int(exponent or 0), 0)


def _most_decimals(texts: Sequence[str]) -> int:
    """The most decimals that any of the numbers is printed with."""
    whole = "".join(texts)
    if "e" in whole or "E" in whole or whole.split() != [whole]:
        return max(map(_decimals, texts))
    return max(len(text.partition(".")[2]) for text in texts)


def _times(
    texts: Sequence[str], lines: NDArray[np.int64], label: str, scale: int | None
) -> tuple[NDArray[np.int64], int]:
    """Stamps as nanoseconds, and the nanoseconds in one unit of theirs.

    Args:
        texts: at least one.
        lines: where they are.
        label: how messages call the file.
        scale: of the stamps before; None: there are none, and the first one tells.
    """
    from klineagg import _core

    if scale is None:
        first = texts[0].strip().partition(".")[0].lstrip("-")
        scale = SCALES[by_digits(int(first))] if _WHOLE.fullmatch(first) else SCALES["s"]
    whole_texts = "".join(texts)
    if whole_texts.isascii() and whole_texts.isdigit():
        stamps = list(map(int, filter(None, texts)))
        if len(stamps) == len(texts) and max(stamps) * scale < 2**63 - 1:
            return np.array(stamps, np.int64) * scale, scale
    out = np.empty(len(texts), np.int64)
    for at, text in enumerate(texts):
        stamp = text.strip()
        whole, _, fraction = stamp.partition(".")
        ns: int | None
        if _WHOLE.fullmatch(whole) and not fraction.strip("0"):
            ns = int(whole) * scale
        else:
            ns = _core.parse_iso_time(stamp)
            scale = SCALES["s"]
        if ns is None or abs(ns) >= 2**63 - 1:
            raise _bad_cell(label, int(lines[at]), "time", text)
        out[at] = ns
    return out, scale


# -- Parquet and Arrow ---------------------------------------------------------------------------


def _from_arrow(stream: Stream, format: str) -> Klines:
    pa = require("pyarrow", "parquet", f"reading {stream.label}")
    table = read_table(stream, format)
    names = list(table.column_names)
    roles = _roles(names, stream.label)
    columns: dict[str, NDArray[np.float64]] = {}
    decimals: dict[str, int] = {}
    times: dict[str, tuple[NDArray[np.int64], int]] = {}
    for name, role in zip(names, roles, strict=True):
        if role in _TIMES:
            times[role] = _arrow_times(pa, table.column(name))
        elif role:
            values = table.column(name).cast(pa.float64()).to_numpy()
            columns[role] = values
            digits = (_decimals(repr(value)) for value in values.tolist() if value == value)
            decimals[role] = min(max(digits, default=0), _DECIMALS_MAX)
    open_time, unit_ns = times["open_time"]
    return Klines(
        file=stream.label,
        format=format,
        open_time=open_time,
        columns=columns,
        close_time=times["close_time"][0] if "close_time" in times else None,
        unit_ns=unit_ns,
        decimals=decimals,
        rows=np.arange(len(open_time)),
    )


def _arrow_times(pa: Any, column: Any) -> tuple[NDArray[np.int64], int]:
    if pa.types.is_timestamp(column.type):
        unit = column.type.unit
        stamps = column.cast(pa.int64()).to_numpy()
    else:
        stamps = column.cast(pa.int64()).to_numpy()
        unit = by_digits(int(stamps[0])) if len(stamps) else "ns"
    return stamps * SCALES[unit], SCALES[unit]
