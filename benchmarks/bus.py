"""``python -m benchmarks.bus``: the bus beside iceoryx2, pyzmq over ipc and multiprocessing.Queue.

A message has 128 bytes. Latency is half of a round trip between two processes; a rate is what one
subscriber has received, batch by batch, until it has all. The native figures (and those for many
subscribers, with memory) come from ``bench_bus``, where it is built. First comes what publishing
costs an engine.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import multiprocessing as mp
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.feed import feeds
from benchmarks.machine import facts, load_average

BATCHES: Final = (1, 16, 64, 256)
BYTES: Final = 128
ROOT: Final = Path(__file__).parent.parent
Receive = Callable[[], int]
Send = Callable[[int], None]


class Transport(ABC):
    """One direction between two processes; both ends are made in the process that uses them."""

    name: str

    @abstractmethod
    def sender(self, channel: str) -> Send:
        """``send(count)`` sends so many messages in one batch."""

    @abstractmethod
    def receiver(self, channel: str) -> Receive:
        """``receive()`` waits for messages; how many came."""


class Klineagg(Transport):
    def __init__(self, wait: str) -> None:
        self.name = f"klineagg (Python, {wait})"
        self._wait = wait
        memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
        self.folder = tempfile.mkdtemp(dir=memory)

    def _bus(self) -> Any:
        from klineagg.bus import Bus, record_type

        bus = Bus(self.folder)
        for channel in ("there", "back"):
            bus.register(channel, record_type("Message", [("filler", "<u8", (12,))]))
        return bus

    def sender(self, channel: str) -> Send:
        publisher = self._bus().publisher(channel)
        records = {count: publisher.empty(count) for count in BATCHES}
        return lambda count: publisher.publish(records[count])

    def receiver(self, channel: str) -> Receive:
        subscriber = self._bus().subscriber(channel, wait=self._wait, start="oldest")
        return lambda: len(subscriber.receive(4096, timeout=1.0))


class Iceoryx2(Transport):
    name = "iceoryx2 (Python)"

    def __init__(self) -> None:
        self._prefix = f"klineagg-bench/{uuid.uuid4()}"

    def _service(self, channel: str) -> Any:
        import iceoryx2 as iox2

        class Message(ctypes.Structure):
            _fields_ = [("words", ctypes.c_uint64 * (BYTES // 8))]

            @staticmethod
            def type_name() -> str:
                return "Message"

        iox2.set_log_level(iox2.LogLevel.Error)
        node = iox2.NodeBuilder.new().create(iox2.ServiceType.Ipc)
        service = (
            node.service_builder(iox2.ServiceName.new(f"{self._prefix}/{channel}"))
            .publish_subscribe(iox2.Slice[Message])
            .subscriber_max_buffer_size(256)
            .enable_safe_overflow(False)
            .open_or_create()
        )
        return node, service

    def sender(self, channel: str) -> Send:
        node, service = self._service(channel)
        port = service.publisher_builder().initial_max_slice_len(max(BATCHES)).create()
        content = ctypes.create_string_buffer(max(BATCHES) * BYTES)

        def send(count: int, _node: Any = node) -> None:
            sample = port.loan_slice_uninit(count)
            ctypes.memmove(sample.payload_ptr, content, count * BYTES)
            sample.assume_init().send()

        return send

    def receiver(self, channel: str) -> Receive:
        node, service = self._service(channel)
        port = service.subscriber_builder().create()
        content = ctypes.create_string_buffer(max(BATCHES) * BYTES)

        def receive(_node: Any = node) -> int:
            end = time.monotonic() + 1
            while (sample := port.receive()) is None:
                if time.monotonic() > end:
                    return 0
            count = int(sample.header.number_of_elements)
            ctypes.memmove(content, sample.payload_ptr, count * BYTES)
            return count

        return receive


class Zmq(Transport):
    name = "pyzmq (ipc)"

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp()

    def sender(self, channel: str) -> Send:
        import zmq

        socket: Any = zmq.Context.instance().socket(zmq.PUSH)
        socket.connect(f"ipc://{self._folder}/{channel}")
        content = {count: bytes(BYTES * count) for count in BATCHES}
        return lambda count: socket.send(content[count])

    def receiver(self, channel: str) -> Receive:
        import zmq

        socket: Any = zmq.Context.instance().socket(zmq.PULL)
        socket.bind(f"ipc://{self._folder}/{channel}")
        socket.RCVTIMEO = 1000

        def receive() -> int:
            try:
                return len(socket.recv()) // BYTES
            except zmq.Again:
                return 0

        return receive


class Queue(Transport):
    name = "multiprocessing.Queue"

    def __init__(self) -> None:
        context = mp.get_context("fork")
        self._queues = {name: context.Queue() for name in ("there", "back")}

    def sender(self, channel: str) -> Send:
        content = {count: bytes(BYTES * count) for count in BATCHES}
        queue = self._queues[channel]
        return lambda count: queue.put(content[count])

    def receiver(self, channel: str) -> Receive:
        queue = self._queues[channel]

        def receive() -> int:
            try:
                return len(queue.get(timeout=1)) // BYTES
            except Exception:
                return 0

        return receive


def _echo(transport: Transport, ready: Any) -> None:
    receive = transport.receiver("there")
    send = transport.sender("back")
    ready.set()
    while receive():
        send(1)


def latency(transport: Transport, seconds: float) -> dict[str, float]:
    """Half round trips in microseconds."""
    context = mp.get_context("fork")
    ready = context.Event()
    process = context.Process(target=_echo, args=(transport, ready))
    process.start()
    receive = transport.receiver("back")
    send = transport.sender("there")
    ready.wait(20)
    time.sleep(0.3)
    halves = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter_ns()
        send(1)
        if receive():
            halves.append((time.perf_counter_ns() - start) / 2000)
    process.join()
    found = np.percentile(halves or [np.nan], [50, 99, 99.9])
    return dict(zip(("p50", "p99", "p99.9"), map(float, found), strict=True))


def _count(transport: Transport, total: int, ready: Any, result: Any) -> None:
    receive = transport.receiver("there")
    ready.set()
    got = 0
    start = 0.0
    while got < total:
        count = receive()
        if not count:
            break
        start = start or time.perf_counter()
        last = time.perf_counter()
        got += count
    result.put((got, last - start if got else 0.0))


def rate(transport: Transport, batch: int, seconds: float) -> float:
    """Messages a second that one subscriber has received."""
    context = mp.get_context("fork")
    ready = context.Event()
    result = context.Queue()
    process = context.Process(target=_count, args=(transport, 1 << 60, ready, result))
    process.start()
    ready.wait(20)
    send = transport.sender("there")
    time.sleep(0.3)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for _ in range(32):
            send(batch)
    got, took = result.get(timeout=60)
    process.join()
    return float(got / took) if took else 0.0


def native(program: Path, seconds: float, subscribers: str) -> list[dict[str, Any]]:
    """What ``bench_bus`` says."""
    run = subprocess.run(
        [program, str(seconds), subscribers], capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in run.stdout.splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bus", description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--subscribers", default="0,1,10,100,1000", help="of the native rates")
    parser.add_argument("--program", type=Path, default=ROOT / "build" / "bench" / "bench_bus")
    parser.add_argument("--transports", default="klineagg,iceoryx2,zmq,queue")
    arguments = parser.parse_args()
    print(json.dumps({"machine": facts(), "load": load_average()}, default=str))
    for feed, found in feeds().items():
        print(json.dumps({"engine with feed": feed, "million_trades_per_s": found}), flush=True)
    if arguments.program.exists():
        for line in native(arguments.program, arguments.seconds, arguments.subscribers):
            print(json.dumps({"transport": "klineagg (native)", **line}), flush=True)
    makers: dict[str, list[Callable[[], Transport]]] = {
        "klineagg": [lambda: Klineagg("spin"), lambda: Klineagg("park")],
        "iceoryx2": [Iceoryx2],
        "zmq": [Zmq],
        "queue": [Queue],
    }
    for name in arguments.transports.split(","):
        for make in makers[name]:
            transport = make()
            tails = latency(transport, arguments.seconds)
            print(json.dumps({"transport": transport.name, "latency_us": tails}), flush=True)
            for batch in BATCHES:
                transport = make()
                found = rate(transport, batch, arguments.seconds)
                line = {"transport": transport.name, "batch": batch, "received_per_s": found}
                print(json.dumps(line), flush=True)
                if isinstance(transport, Klineagg):
                    shutil.rmtree(transport.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
