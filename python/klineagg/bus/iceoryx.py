"""iceoryx2 as second transport: the same records, in slices, for its stock programs."""

from __future__ import annotations

import ctypes
import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from klineagg import errors
from klineagg.bus._closing import Closing
from klineagg.bus._waiting import Records
from klineagg.bus.records import RecordType

if TYPE_CHECKING:
    from klineagg.bus.core import Bus

__all__ = ["Iceoryx2Bridge", "ctypes_type"]

_log = logging.getLogger(__name__)

#: Publisher of what comes from iceoryx2; it is never sent back there.
NAME: Final = "iceoryx2"
_SLICE_MAX: Final = 1024
_CLEANUP_S: Final = 10.0
_IDLE_S: Final = 0.001

_PLAIN: Final[dict[str, Any]] = {
    "i1": ctypes.c_int8,
    "i2": ctypes.c_int16,
    "i4": ctypes.c_int32,
    "i8": ctypes.c_int64,
    "u1": ctypes.c_uint8,
    "u2": ctypes.c_uint16,
    "u4": ctypes.c_uint32,
    "u8": ctypes.c_uint64,
    "f4": ctypes.c_float,
    "f8": ctypes.c_double,
    "b1": ctypes.c_bool,
    "M8": ctypes.c_int64,
    "m8": ctypes.c_int64,
}


def ctypes_type(record: RecordType) -> Any:
    """The record as a ``ctypes.Structure`` with the type name that iceoryx2 compares.

    Size and alignment are those of the C++ struct; times are int64 nanoseconds, texts are bytes
    padded with zeros, and padding has fields ``_0``, ``_1``, ...
    """
    fields: list[tuple[str, Any]] = []
    end = 0
    parts = record.dtype.fields
    assert parts is not None

    def pad(to: int) -> None:
        if to > end:
            fields.append((f"_{len(fields)}", ctypes.c_uint8 * (to - end)))

    for name in record.dtype.names or ():
        dtype, offset = parts[name][:2]
        pad(offset)
        item, shape = dtype.subdtype or (dtype, ())
        kind: Any = (
            ctypes.c_char * item.itemsize
            if item.kind == "S"
            else _PLAIN[f"{item.kind}{item.itemsize}"]
        )
        for length in reversed(shape):
            kind = kind * length
        fields.append((name, kind))
        end = offset + dtype.itemsize
    pad(record.dtype.itemsize)
    made = type(
        record.name,
        (ctypes.Structure,),
        {"_fields_": fields, "type_name": staticmethod(lambda: record.name)},
    )
    if ctypes.sizeof(made) != record.dtype.itemsize:
        raise errors.make("record_mismatch", f"{record.name} has another layout in C")
    return made


def _iceoryx2() -> Any:
    try:
        import iceoryx2
    except ImportError as error:
        raise errors.make(
            "missing_extra",
            "the second transport needs the package iceoryx2",
            hint="pip install 'klineagg[iceoryx2]'",
            extra="iceoryx2",
        ) from error
    return iceoryx2


class Iceoryx2Bridge(Closing):
    """Carries one topic between the bus and an iceoryx2 service ``klineagg/<topic>``.

    Records travel in slices of the record type, whose type name is the record's name. What comes
    from iceoryx2 is published on the bus by a publisher ``iceoryx2``, with sequences of its own;
    what that one sent is not carried back. ``moved`` counts them.

    In a ``with`` block it carries in a thread of its own; else call :meth:`pump`. A thread that
    fails logs it, and :meth:`stop` and the end of the block raise it.

    Args:
        bus: the bus.
        topic: the topic.
        direction: ``"out"``: from the bus to iceoryx2; ``"in"``: the other way.
        record: what the records are; see :meth:`klineagg.bus.Bus.record_type` for the default.
        service: name of the service.
        slice_max: records of a slice at most.
        subscribers_max: of the service, when it is made here.
        start: as of :meth:`klineagg.bus.Bus.subscriber`.

    Raises:
        MissingExtraError: iceoryx2 is not installed.
        RecordTypeError: the service carries another type.
        BusError: iceoryx2 refused something else.
    """

    def __init__(
        self,
        bus: Bus,
        topic: str,
        direction: Literal["out", "in"] = "out",
        *,
        record: RecordType | None = None,
        service: str | None = None,
        slice_max: int = _SLICE_MAX,
        subscribers_max: int = 64,
        start: Literal["latest", "oldest"] = "latest",
    ) -> None:
        if direction not in ("out", "in"):
            raise errors.make("invalid_option", f"direction is 'out' or 'in', not {direction!r}")
        self._iox = _iceoryx2()
        self.record = bus.record_type(topic, record)
        self.direction = direction
        self.service_name = service or f"klineagg/{topic}"
        self.slice_max = slice_max
        self.moved = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._cleaned = time.monotonic()
        self._node = self._iox.NodeBuilder.new().create(self._iox.ServiceType.Ipc)
        self._service = self._open(subscribers_max)
        if direction == "out":
            self._source = bus.subscriber(topic, NAME, record=self.record, start=start)
            builder = self._service.publisher_builder().initial_max_slice_len(slice_max)
            self._port = builder.create()
        else:
            self._sink = bus.publisher(topic, NAME, record=self.record)
            self._port = self._service.subscriber_builder().create()

    def _open(self, subscribers_max: int) -> Any:
        iox = self._iox
        name = iox.ServiceName.new(self.service_name)
        kind = iox.Slice[ctypes_type(self.record)]
        builder = self._node.service_builder(name).publish_subscribe(kind)
        try:
            return (
                builder.max_subscribers(subscribers_max)
                .subscriber_max_buffer_size(64)
                .open_or_create()
            )
        except iox.PublishSubscribeOpenOrCreateError as error:
            if "IncompatibleTypes" in str(error):
                raise errors.make(
                    "record_mismatch",
                    f"the service {self.service_name} carries another type than "
                    f"{self.record.name} of {self.record.dtype.itemsize} bytes",
                    service=self.service_name,
                ) from error
            if "DoesNotSupportRequested" in str(error):
                # Somebody else made it, with limits of his own.
                return self._node.service_builder(name).publish_subscribe(kind).open()
            raise errors.make("peer_failed", f"iceoryx2: {error}") from error

    def pump(self, timeout: float = 0.0) -> int:
        """Carries what is there, waiting up to ``timeout`` seconds for the first; how many."""
        self._clean()
        moved = self._out(timeout) if self.direction == "out" else self._in(timeout)
        self.moved += moved
        return moved

    def _out(self, timeout: float) -> int:
        records = self._source.receive(self.slice_max, timeout=timeout)
        records = records[records["publisher"] != NAME.encode()]
        if len(records):
            records = np.ascontiguousarray(records)
            sample = self._port.loan_slice_uninit(len(records))
            ctypes.memmove(sample.payload_ptr, records.ctypes.data, records.nbytes)
            sample.assume_init().send()
        return len(records)

    def _in(self, timeout: float) -> int:
        deadline = time.monotonic() + timeout
        while True:
            sample = self._port.receive()
            if sample is not None:
                self._sink.publish(records_of(sample, self.record))
                return int(sample.header.number_of_elements)
            left = deadline - time.monotonic()
            if left <= 0:
                return 0
            time.sleep(min(_IDLE_S, left))

    def _clean(self) -> None:
        """What programs that were killed have left in iceoryx2 is removed now and then."""
        if time.monotonic() - self._cleaned > _CLEANUP_S:
            self._cleaned = time.monotonic()
            self._node.try_cleanup_dead_nodes()

    def start(self) -> Iceoryx2Bridge:
        """Carries in a thread of its own until :meth:`stop`."""
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="kla-iceoryx2", daemon=True)
            self._thread.start()
        return self

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self.pump(timeout=0.1)
        except Exception as error:
            self._error = error
            _log.exception("the bridge of %s has stopped", self.service_name)

    def stop(self) -> None:
        """Ends the thread.

        Raises:
            Exception: what ended it before.
        """
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def close(self) -> None:
        """Ends the bridge and its side of the bus. Raises as :meth:`stop`."""
        try:
            self.stop()
        finally:
            if self.direction == "in":
                self._sink.close()
            else:
                self._source.close()
            del self._port, self._service, self._node

    def __repr__(self) -> str:
        state = "idle" if self._thread is None else "runs"
        if self._error is not None:
            state = "failed"
        arrow = "to" if self.direction == "out" else "from"
        return (
            f"Iceoryx2Bridge({self.record.name}, {arrow} {self.service_name!r}, "
            f"{self.moved:,} moved, {state})"
        )

    def __enter__(self) -> Iceoryx2Bridge:
        return self.start()

    def _leave(self, error: BaseException | None) -> None:
        self.close()


def records_of(sample: Any, record: RecordType) -> Records:
    """A copy of a received slice as a structured array.

    Goes by the element count of the header: ``Slice.as_memory_view`` of iceoryx2 0.10.0 takes
    bytes for elements and reads beyond the end.
    """
    count = int(sample.header.number_of_elements)
    out = np.empty(count, record.dtype)
    ctypes.memmove(out.ctypes.data, sample.payload_ptr, out.nbytes)
    return out
