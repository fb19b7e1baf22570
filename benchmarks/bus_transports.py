"""What the benchmark of the bus compares: one direction between two processes."""

from __future__ import annotations

import ctypes
import multiprocessing as mp
import os
import tempfile
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final

__all__ = ["BATCHES", "Iceoryx2", "Klineagg", "Queue", "Transport", "Zmq"]

BATCHES: Final = (1, 16, 64, 256)
BYTES: Final = 128
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
