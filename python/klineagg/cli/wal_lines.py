"""Records of a write-ahead log as lines: columns for people, an object a line for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from klineagg.wal import WalRecord

__all__ = ["json_lines", "moment", "text_lines"]

_SHOWN_BYTES: Final = 80
_TRADE_KEYS: Final = (
    "symbol", "trade_time", "price", "quantity", "side", "first_trade_id", "last_trade_id",
    "flags", "source",
)  # fmt: skip
_UNITS: Final = ((86_400 * 10**9, "d"), (3600 * 10**9, "h"), (60 * 10**9, "m"), (10**9, "s"))


def json_lines(record: WalRecord) -> Iterator[str]:
    """An object for each record; for each trade, when it has several."""
    head: dict[str, Any] = {"time": moment(record.time), "topic": record.topic}
    if record.trades is not None:
        for number, trade in enumerate(_trades(record), record.first):
            pairs = zip(_TRADE_KEYS, trade, strict=True)
            yield json.dumps({"sequence": number, **head, **dict(pairs)})
        return
    head = {"sequence": record.first, **head}
    if record.event is not None:
        head["event"] = record.event.kind
        for name, value in record.event.values.items():
            head |= _json_bytes(value, name) if isinstance(value, bytes) else {name: _plain(value)}
        yield json.dumps(head)
    else:
        yield json.dumps({**head, **_json_bytes(record.data or b"", "text")})


def text_lines(record: WalRecord) -> Iterator[str]:
    """Columns: number, time of appending, topic, and what the record says."""
    when = moment(record.time) or "-"

    def line(number: int, text: str) -> str:
        return f"{number:>10}  {when:<29}  {record.topic:<11}  {text}"

    if record.trades is not None:
        for number, trade in enumerate(_trades(record), record.first):
            name, time, price, quantity, side, first, last, flags, _ = trade
            ids = "-" if first < 0 else str(first) if first == last else f"{first}..{last}"
            word = "buy " if side > 0 else "sell"
            more = f"  flags {flags}" if flags else ""
            yield line(
                number,
                f"{name or '-'}  {time or '-'}  {word}  {quantity} at {price}  id {ids}{more}",
            )
    elif record.event is not None:
        values = {name: _text_value(value) for name, value in record.event.values.items()}
        said = "  ".join(f"{name}={value}" for name, value in values.items() if value)
        yield line(record.first, f"{record.event.kind}  {said}")
    else:
        yield line(record.first, _text_value(record.data or b""))


def moment(time: np.datetime64) -> str | None:
    """ISO 8601, UTC; None for NaT."""
    return None if np.isnat(time) else str(time)


def _trades(record: WalRecord) -> Iterator[tuple[Any, ...]]:
    """The values of each trade, in the order of ``_TRADE_KEYS``; numbers as exact texts."""
    from klineagg.symbols import symbol_names

    rows = record.trades
    assert rows is not None
    ids = rows["symbol"].tolist()
    known = sorted({one for one in ids if one >= 0})
    named: dict[int, str | None] = dict(zip(known, symbol_names(known), strict=True))
    times = [None if text == "NaT" else text for text in np.datetime_as_string(rows["time"])]
    rest = ("side", "first_trade_id", "last_trade_id", "flags", "source")
    return zip(
        (named.get(one) for one in ids),
        (None if text is None else str(text) for text in times),
        map(repr, rows["price"].tolist()),
        map(repr, rows["quantity"].tolist()),
        *(rows[name].tolist() for name in rest),
        strict=True,
    )


def _json_bytes(data: bytes, name: str) -> dict[str, str]:
    """As text where it is one, else as ``hex``, which nobody takes for a text."""
    try:
        return {name: data.decode("utf-8")}
    except UnicodeDecodeError:
        return {"hex": data.hex()}


def _plain(value: Any) -> Any:
    if isinstance(value, np.datetime64):
        return moment(value)
    if isinstance(value, np.timedelta64):
        return _duration(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value


def _text_value(value: Any) -> str:
    """Empty for what is not given."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        return _shown(value)
    if isinstance(value, tuple):
        return ",".join("@".join(map(_text_value, v)) if isinstance(v, tuple) else _text_value(v)
                        for v in value)  # fmt: skip
    if isinstance(value, dict):
        return ",".join(f"{name}:{_text_value(item)}" for name, item in value.items())
    return str(_plain(value))


def _duration(value: np.timedelta64) -> str:
    """As intervals are written: ``90s``, ``1d``."""
    ns = int(value.astype(np.int64))
    for size, unit in _UNITS:
        if ns and ns % size == 0:
            return f"{ns // size}{unit}"
    return f"{ns}ns" if ns else "0s"


def _shown(data: bytes) -> str:
    text = data[:_SHOWN_BYTES].decode("utf-8", "backslashreplace")
    plain = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return plain if len(data) <= _SHOWN_BYTES else f"{plain}... ({len(data):,} bytes)"
