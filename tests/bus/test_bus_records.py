"""Record types: two tables of layouts agree, and users' own dtypes become records."""

from __future__ import annotations

import numpy as np
import pytest

from klineagg import _core
from klineagg.bus import BAR, MARKET_L2, TRADE_EVENT, Bus, RecordType, record_type
from klineagg.bus.records import DEFAULT_TOPICS, builtin_type
from klineagg.errors import RecordTypeError


@pytest.mark.parametrize("text", _core.bus_record_types())
def test_dtypes_have_the_layout_of_the_core(text: str) -> None:
    name, version, size, number, fields = _core.bus_parse_type(text)
    built = builtin_type(name)
    assert (built.version, built.hash) == (version, number)
    assert built.dtype.itemsize == size
    parts = built.dtype.fields
    assert parts is not None
    assert list(parts) == [field[0] for field in fields]
    for field, kind, width, count, offset in fields:
        dtype, at = parts[field][:2]
        assert at == offset, field
        assert dtype.base.kind == kind, field
        assert dtype.base.itemsize == width, field
        assert dtype.shape == ((count,) if count > 1 else ()), field


def test_sizes_are_those_of_the_format() -> None:
    assert TRADE_EVENT.itemsize == 160
    assert MARKET_L2.itemsize == 376
    assert BAR.itemsize == 208
    assert DEFAULT_TOPICS["market_l2"] == ("MarketL2", 50 * 2**20)


def test_own_records_get_the_header_and_padding() -> None:
    tick = record_type("Tick", [("price", "<f4"), ("ok", "?"), ("deltas", "<i2", (3,))], version=2)
    assert tick.dtype.itemsize == 48
    assert tick.dtype.names == (
        "sequence", "publish_time", "publisher", "price", "ok", "deltas"
    )  # fmt: skip
    assert RecordType.parse(tick.text) == tick
    assert record_type("Tick", tick.dtype, version=2) == tick
    assert record_type("Tick", tick.dtype, version=3).hash != tick.hash


@pytest.mark.parametrize(
    "dtype",
    [
        [("x", "O")],
        [("x", ">f8")],
        [("x", "<M8[s]")],
        [("x", "<U8")],
        [("x", [("y", "<f8")])],
        [("x", "<c16")],
        [("not a name", "<f8")],
        "<f8",
    ],
)
def test_what_has_no_fixed_layout_is_refused(dtype: object) -> None:
    with pytest.raises(RecordTypeError):
        record_type("Tick", dtype)


def test_both_sides_have_to_mean_the_same_record(bus: Bus) -> None:
    one = record_type("Tick", [("price", "<f8")])
    other = record_type("Tick", [("price", "<f8")], version=2)
    with bus.publisher("ticks", record=one) as publisher:
        with pytest.raises(RecordTypeError, match="sends Tick,1,40"):
            bus.subscriber("ticks", record=other)
        with pytest.raises(RecordTypeError):
            bus.publisher("ticks", "second", record=other)
        with pytest.raises(RecordTypeError, match="Tick,1,40"):
            publisher.publish(np.zeros(1, other.dtype.descr[:-1] + [("cost", "<f8")]))
        assert bus.subscriber("ticks").record == one  # as its publisher says
    with pytest.raises(RecordTypeError, match="no publisher yet"):
        bus.subscriber("nothing")
