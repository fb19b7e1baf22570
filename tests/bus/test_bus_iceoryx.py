"""iceoryx2: programs written with the official package alone receive from klineagg, and send."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import time
import uuid
from typing import Any

import numpy as np
import pytest

from bus import programs
from klineagg.bus import BAR, Bus, Iceoryx2Bridge, ctypes_type, record_type
from klineagg.bus._waiting import Records
from klineagg.bus.records import builtin_type
from klineagg.errors import BusError, OptionError, RecordTypeError

pytest.importorskip("iceoryx2")

# What a user would write who has iceoryx2 and the layout of a bar, and nothing of klineagg.
BAR_STRUCT = """
import ctypes, sys, time
import iceoryx2 as iox2
class Bar(ctypes.Structure):
    _fields_ = [
        ("sequence", ctypes.c_uint64), ("publish_time", ctypes.c_int64),
        ("publisher", ctypes.c_char * 16), ("instrument", ctypes.c_char * 16),
        ("interval", ctypes.c_char * 24), ("open_time", ctypes.c_int64),
        ("close_time", ctypes.c_int64), ("open", ctypes.c_double), ("high", ctypes.c_double),
        ("low", ctypes.c_double), ("close", ctypes.c_double), ("volume", ctypes.c_double),
        ("quote_volume", ctypes.c_double), ("trade_count", ctypes.c_int64),
        ("taker_buy_volume", ctypes.c_double), ("taker_buy_quote_volume", ctypes.c_double),
        ("first_trade_id", ctypes.c_int64), ("last_trade_id", ctypes.c_int64),
        ("first_trade_time", ctypes.c_int64), ("last_trade_time", ctypes.c_int64),
        ("run_length", ctypes.c_int32), ("revision", ctypes.c_int32),
        ("flags", ctypes.c_uint16), ("reserved", ctypes.c_uint8 * 6),
    ]
    @staticmethod
    def type_name(): return "Bar"
node = iox2.NodeBuilder.new().create(iox2.ServiceType.Ipc)
service = (node.service_builder(iox2.ServiceName.new(sys.argv[2]))
           .publish_subscribe(iox2.Slice[Bar]).open_or_create())
"""
STOCK_SUBSCRIBER = (
    BAR_STRUCT
    + """
subscriber = service.subscriber_builder().create()
print("ready", flush=True)
got, end = 0, time.monotonic() + 120
while got < int(sys.argv[3]) and time.monotonic() < end:
    sample = subscriber.receive()
    if sample is None:
        time.sleep(0.001)
        continue
    bars = ctypes.cast(sample.payload().as_ptr(), ctypes.POINTER(Bar))
    for i in range(sample.header.number_of_elements):
        bar = bars[i]
        print(bar.sequence, bar.instrument.decode(), bar.interval.decode(), bar.close, bar.flags)
        got += 1
print("end", flush=True)
"""
)
STOCK_PUBLISHER = (
    BAR_STRUCT
    + """
publisher = service.publisher_builder().initial_max_slice_len(16).create()
print("ready", flush=True)
sys.stdin.readline()
for batch in range(3):
    sample = publisher.loan_slice_uninit(4)
    bars = ctypes.cast(sample.payload().as_ptr(), ctypes.POINTER(Bar))
    for i in range(4):
        bar = Bar(instrument=b"ETHUSDT", interval=b"1m", close=batch * 4 + i + 0.5, flags=1)
        bars[i] = bar
    sample.assume_init().send()
print("sent", flush=True)
sys.stdin.readline()
"""
)


@pytest.fixture
def service() -> str:
    return f"klineagg-test/{uuid.uuid4()}"


def test_a_stock_subscriber_receives_bars(bus: Bus, service: str) -> None:
    publisher = bus.publisher("bars", "engine")
    with Iceoryx2Bridge(bus, "bars", "out", service=service):
        process = programs.start(STOCK_SUBSCRIBER, service, 20)
        assert programs.first_line(process) == "ready"
        bars = publisher.empty(20)
        bars["instrument"], bars["interval"], bars["flags"] = b"BTCUSDT", b"5m", 1
        bars["close"] = np.arange(20) + 0.25
        publisher.publish(bars)
        assert process.stdout is not None
        lines = process.stdout.read().split("\n")
        process.wait()
    assert lines[:20] == [f"{n + 1} BTCUSDT 5m {n + 0.25} 1" for n in range(20)]


def test_a_stock_publisher_reaches_subscribers_of_the_bus(bus: Bus, service: str) -> None:
    subscriber = bus.subscriber("bars")
    with Iceoryx2Bridge(bus, "bars", "in", service=service):
        program = subprocess.Popen(
            [sys.executable, "-c", STOCK_PUBLISHER, "", service],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert program.stdin is not None
        assert programs.first_line(program) == "ready"
        program.stdin.write("go\n")
        program.stdin.flush()
        received: list[Records] = []
        deadline = time.monotonic() + 120
        while sum(map(len, received)) < 12 and time.monotonic() < deadline:
            received.append(subscriber.receive(timeout=0.1))
        program.stdin.write("end\n")
        program.stdin.close()
        program.wait()
        assert program.stdout is not None
        program.stdout.close()
    records = np.concatenate(received)
    assert received[0].dtype == BAR
    assert records["close"].tolist() == [n + 0.5 for n in range(12)]
    assert records["sequence"].tolist() == list(range(1, 13))
    assert set(records["publisher"].tolist()) == {b"iceoryx2"}


def test_another_type_is_refused_and_nothing_goes_round_in_circles(bus: Bus, service: str) -> None:
    one = record_type("Tick", [("price", "<f8")])
    two = record_type("Tick", [("price", "<f8"), ("size", "<f8")])
    bus.register("ticks", one)
    out = Iceoryx2Bridge(bus, "ticks", "out", service=service)
    with pytest.raises(RecordTypeError, match="another type"):
        Iceoryx2Bridge(bus, "other", "out", service=service, record=two)
    back = Iceoryx2Bridge(bus, "ticks", "in", service=service)
    publisher = bus.publisher("ticks", "feed")
    publisher.publish(publisher.empty(5))
    assert out.pump(timeout=120) == 5
    assert back.pump(timeout=120) == 5
    assert out.pump(timeout=0.05) == 0
    out.close()
    back.close()


def test_what_either_side_drops_is_counted(bus: Bus, service: str) -> None:
    record = record_type("Tick", [("price", "<f8")])
    bus.register("ticks", record)
    out = Iceoryx2Bridge(bus, "ticks", "out", service=service, slice_max=1)
    back = Iceoryx2Bridge(bus, "copies", "in", service=service, record=record)
    publisher = bus.publisher("ticks", "feed", ring_bytes=1 << 14)

    def carry(count: int) -> int:
        publisher.publish(publisher.empty(count))
        moved = sum(iter(out.pump, 0))
        got = sum(iter(back.pump, 0))
        assert moved - got == back.lost
        return got

    assert carry(5) == 5
    assert (out.lost, back.lost) == (0, 0)
    assert carry(100) == 64
    assert (out.lost, back.lost) == (0, 36)
    before = out.moved
    publisher.publish(publisher.empty(5_000))
    while out.pump():
        pass
    assert out.lost > 0
    assert out.moved - before + out.lost == 5_000
    assert f"{out.lost:,} lost" in repr(out)
    out.close()
    back.close()


def test_structures_have_the_layout_of_the_records() -> None:
    for name in ("TradeEvent", "AccountUpdate", "MarketL2", "Bar", "Heartbeat", "Ack"):
        record = builtin_type(name)
        structure = ctypes_type(record)
        assert ctypes.sizeof(structure) == record.dtype.itemsize
        assert structure.type_name() == name
        parts = record.dtype.fields
        assert parts is not None
        for field in record.dtype.names or ():
            assert getattr(structure, field).offset == parts[field][1]


def test_a_thread_that_fails_is_told(
    bus: Bus, service: str, caplog: pytest.LogCaptureFixture
) -> None:
    publisher = bus.publisher("bars", "engine")
    record = bus.record_type("bars")
    bridge = Iceoryx2Bridge(bus, "copies", "in", record=record, service=service)
    assert repr(bridge) == f"Iceoryx2Bridge(Bar, from '{service}', 0 moved, 0 lost, idle)"
    bridge.start()
    assert "runs" in repr(bridge)
    bridge._sink.close()  # whatever it is that ends its side of the bus
    with Iceoryx2Bridge(bus, "bars", "out", service=service) as out:
        publisher.publish(publisher.empty(3))
        deadline = time.monotonic() + 60
        while "failed" not in repr(bridge) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert "failed" in repr(bridge)
        assert repr(out) == f"Iceoryx2Bridge(Bar, to '{service}', 3 moved, 0 lost, runs)"
    with pytest.raises(BusError) as raised:
        bridge.close()
    assert raised.value.name == "bus_closed"
    assert service in caplog.text


@pytest.mark.parametrize(
    "options",
    [
        {"slice_max": 0},
        {"slice_max": 1 << 60},
        {"slice_max": "all"},
        {"subscribers_max": 0},
        {"service": ""},
        {"service": "x" * 256},
        {"service": 5},
        {"direction": "up"},
    ],
    ids=str,
)
def test_arguments_that_cannot_be_are_refused(bus: Bus, options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="is not") as caught:
        Iceoryx2Bridge(bus, "bars", **options)
    assert caught.value.fields["option"] in options
    assert bus.topics() == []


def test_slices_that_have_no_room_are_an_error_of_the_bus(bus: Bus) -> None:
    service = f"klineagg-test/{uuid.uuid4()}"
    with pytest.raises(BusError, match="no room for slices"):
        Iceoryx2Bridge(bus, "bars", service=service, slice_max=1 << 24, subscribers_max=1 << 12)


@pytest.mark.parametrize("direction", ["in", "out"])
def test_a_bridge_may_be_closed_again(bus: Bus, direction: Any) -> None:
    service = f"klineagg-test/{uuid.uuid4()}"
    with Iceoryx2Bridge(bus, "bars", service=service, direction=direction) as bridge:
        bridge.close()
    bridge.close()
    assert "idle" in repr(bridge)
