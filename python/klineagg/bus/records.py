"""Records: fixed layouts, the same bytes in shared memory, in C++ and in NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np

from klineagg import _core, errors
from klineagg._options import invalid
from klineagg.bus._checks import count_of

__all__ = [
    "ACCOUNT_UPDATE",
    "ACK",
    "BAR",
    "DEFAULT_TOPICS",
    "HEADER",
    "HEARTBEAT",
    "MARKET_L2",
    "TRADE_EVENT",
    "RecordType",
    "builtin_type",
    "record_type",
]

DType = np.dtype[Any]

#: What every record begins with; publishers fill it in. ``publish_time`` is in UTC.
HEADER: Final[list[tuple[Any, ...]]] = [
    ("sequence", "<u8"),
    ("publish_time", "<M8[ns]"),
    ("publisher", "S16"),
]


def _dtype(fields: list[tuple[Any, ...]], padding: int = 0) -> DType:
    made = np.dtype(HEADER + fields)
    if padding == 0:
        return made
    parts = made.fields
    assert parts is not None
    return np.dtype(
        {
            "names": list(made.names or ()),
            "formats": [parts[name][0] for name in made.names or ()],
            "offsets": [parts[name][1] for name in made.names or ()],
            "itemsize": made.itemsize + padding,
        }
    )


#: A trade. ``direction``: 1 the taker bought, -1 sold, 0 not known; ``flags``: what it does not
#: count for (1 open and close, 2 high and low, 4 volume); ``trade_id`` of an aggregated trade:
#: its first and last id, ``17-21``.
TRADE_EVENT: Final[DType] = _dtype(
    [
        ("trade_id", "S40"),
        ("order_id", "S40"),
        ("instrument", "S16"),
        ("price", "<f8"),
        ("volume", "<f8"),
        ("time", "<M8[ns]"),
        ("direction", "i1"),
        ("flags", "u1"),
    ],
    padding=6,
)
#: Balance, available amount and margin of a user.
ACCOUNT_UPDATE: Final[DType] = _dtype(
    [
        ("user", "S32"),
        ("balance", "<f8"),
        ("available", "<f8"),
        ("margin", "<f8"),
        ("time", "<M8[ns]"),
    ]
)
#: Ten bids and ten asks, best first.
MARKET_L2: Final[DType] = _dtype(
    [
        ("instrument", "S16"),
        ("time", "<M8[ns]"),
        ("bid_price", "<f8", (10,)),
        ("bid_volume", "<f8", (10,)),
        ("ask_price", "<f8", (10,)),
        ("ask_volume", "<f8", (10,)),
    ]
)
#: A row of :class:`klineagg.Bars`, with the names of instrument and interval.
BAR: Final[DType] = _dtype(
    [
        ("instrument", "S16"),
        ("interval", "S24"),
        ("open_time", "<M8[ns]"),
        ("close_time", "<M8[ns]"),
        ("open", "<f8"),
        ("high", "<f8"),
        ("low", "<f8"),
        ("close", "<f8"),
        ("volume", "<f8"),
        ("quote_volume", "<f8"),
        ("trade_count", "<i8"),
        ("taker_buy_volume", "<f8"),
        ("taker_buy_quote_volume", "<f8"),
        ("first_trade_id", "<i8"),
        ("last_trade_id", "<i8"),
        ("first_trade_time", "<M8[ns]"),
        ("last_trade_time", "<M8[ns]"),
        ("run_length", "<i4"),
        ("revision", "<i4"),
        ("flags", "<u2"),
    ],
    padding=6,
)
#: What a publisher (``of``) says of itself: the last sequence it has published, and when.
HEARTBEAT: Final[DType] = _dtype([("of", "S16"), ("last_sequence", "<u8"), ("time", "<M8[ns]")])
#: ``subscriber`` has received message ``acknowledged`` of the publisher ``of``.
ACK: Final[DType] = _dtype(
    [("subscriber", "S16"), ("of", "S16"), ("acknowledged", "<u8"), ("time", "<M8[ns]")]
)

_BUILTIN: Final[dict[str, DType]] = {
    "TradeEvent": TRADE_EVENT,
    "AccountUpdate": ACCOUNT_UPDATE,
    "MarketL2": MARKET_L2,
    "Bar": BAR,
    "Heartbeat": HEARTBEAT,
    "Ack": ACK,
}


@dataclass(frozen=True)
class RecordType:
    """A record with a name, a version and a layout; see :func:`record_type`.

    Attributes:
        name: the same on both sides.
        version: raise it when the meaning of a field changes.
        dtype: the layout, with the message header.
        text: name, version and layout as the segments carry them.
        hash: of the text; two programs whose hashes differ do not mean the same bytes.
    """

    name: str
    version: int
    dtype: DType
    text: str
    hash: int

    @staticmethod
    def parse(text: str) -> RecordType:
        """The type that a segment's text describes.

        Raises:
            RecordTypeError: it describes none.
        """
        name, version, size, number, fields = _core.bus_parse_type(text)
        formats = []
        for _, kind, width, count, _ in fields:
            unit = "[ns]" if kind in "mM" else ""
            item = np.dtype(f"{kind}{width}{unit}" if kind != "b" else "?")
            formats.append((item.str, (count,)) if count > 1 else item.str)
        dtype = np.dtype(
            {
                "names": [field[0] for field in fields],
                "formats": formats,
                "offsets": [field[4] for field in fields],
                "itemsize": size,
            }
        )
        return RecordType(name, version, dtype, text, number)


def _field_text(record: str, name: str, dtype: DType, offset: int) -> str:
    item, shape = dtype.subdtype or (dtype, ())
    plain = item.kind in "iufSb" or (item.kind in "mM" and item.str.endswith("[ns]"))
    if not plain or item.byteorder == ">" or item.itemsize == 0:
        raise errors.make(
            "record_mismatch",
            f"the field {name} of {record} is {dtype}: records are made of little-endian "
            "integers, floats, bools, bytes and times in ns, and arrays of them",
            field=name,
        )
    if len(shape) > 1:
        text = f"the field {name} of {record} has the shape {shape}: arrays have one dimension"
        raise errors.make("record_mismatch", text, field=name)
    count = int(np.prod(shape, dtype=np.int64)) if shape else 1
    times = f"x{count}" if count != 1 else ""
    return f"{name}:{item.kind}{item.itemsize}{times}@{offset}"


def record_type(name: str, dtype: Any, *, version: int = 1) -> RecordType:
    """A record of your own.

    Args:
        name: of letters, digits and ``_``.
        dtype: a structured dtype of fixed-size fields. The message header (``sequence``,
            ``publish_time``, ``publisher``) is put before it unless it begins with it, and it is
            padded to a multiple of 8 bytes.
        version: of the meaning of the fields.

    Raises:
        RecordTypeError: a field has no fixed layout, or the name is not possible.
    """
    if not isinstance(name, str):
        raise invalid("name", name, "a name of letters, digits and _")
    count_of(version, "version")
    layout = np.dtype(dtype)
    if layout.names is None:
        raise errors.make("record_mismatch", f"the dtype of {name} has no fields", type=name)
    header = np.dtype(HEADER)
    parts = layout.fields
    assert parts is not None
    if layout.names[:3] != header.names:
        entries = [(field, parts[field][0], parts[field][1] + 32) for field in layout.names]
        size = layout.itemsize + 32
    else:
        entries = [(field, parts[field][0], parts[field][1]) for field in layout.names[3:]]
        size = layout.itemsize
    size = -(-size // 8) * 8
    texts = [_field_text(name, *entry) for entry in sorted(entries, key=lambda entry: entry[2])]
    head = "sequence:u8@0|publish_time:M8@8|publisher:S16@16"
    return RecordType.parse("|".join([f"{name},{version},{size}", head, *texts]))


@lru_cache(maxsize=1)
def _builtin_types() -> dict[str, RecordType]:
    types = {}
    for text in _core.bus_record_types():
        parsed = RecordType.parse(text)
        dtype = _BUILTIN[parsed.name]
        # Two tables, made apart: a mistake in one of them must not become the format.
        if (
            parsed.dtype != dtype
            or record_type(parsed.name, dtype, version=parsed.version).text != text
        ):
            raise errors.make("internal", f"{parsed.name} has another layout in C++: {text}")
        types[parsed.name] = parsed
    return types


def builtin_type(name: str) -> RecordType:
    """A built-in record type, its dtype checked against the layout in C++.

    Raises:
        RecordTypeError: there is none of this name.
    """
    try:
        return _builtin_types()[name]
    except KeyError:
        raise errors.make(
            "record_mismatch",
            f"no built-in record {name!r}; there are {', '.join(_BUILTIN)}",
            type=name,
        ) from None


#: Topic: (record, bytes of the ring).
DEFAULT_TOPICS: Final[dict[str, tuple[str, int]]] = {
    topic: (record, size) for topic, record, size in _core.bus_default_topics()
}


def checked_type(record: RecordType) -> RecordType:
    """Refuses what is no record type."""
    if not isinstance(record, RecordType):
        raise invalid("record", record, "a RecordType, as klineagg.bus.record_type() makes one")
    return record
