"""iceoryx2 as second transport: the same records, in slices, for its stock programs."""

from __future__ import annotations

import ctypes
import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from klineagg import _core, errors
from klineagg._options import choice, invalid, is_integer
from klineagg.bus._closing import Closing
from klineagg.bus._iceoryx_records import ctypes_type, records_of
from klineagg.bus.records import RecordType

if TYPE_CHECKING:
    from klineagg.bus.core import Bus

__all__ = ["Iceoryx2Bridge"]

_log = logging.getLogger(__name__)

#: Publisher of what comes from iceoryx2; it is never sent back there.
NAME: Final = "iceoryx2"
_SLICE_MAX: Final = 1024
_COUNT_LIMIT: Final = 1 << 24
_CLEANUP_S: Final = 10.0
_IDLE_S: Final = 0.001


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
    what that one sent is not carried back. ``moved`` counts them, :attr:`lost` what it has missed.

    In a ``with`` block it carries in a thread of its own; else call :meth:`pump`. A thread that
    fails logs it, and :meth:`stop` and the end of the block raise it.

    Args:
        bus: the bus.
        topic: the topic.
        direction: ``"out"``: from the bus to iceoryx2; ``"in"``: the other way.
        record: what the records are; see :meth:`klineagg.bus.Bus.record_type` for the default.
        service: name of the service, 255 bytes at most; None: ``klineagg/<topic>``.
        slice_max: records of a slice at most, 1 or more.
        subscribers_max: of the service, when it is made here, 1 or more.
        start: as of :meth:`klineagg.bus.Bus.subscriber`.
        core: the thread of :meth:`start` stays on this core.

    Raises:
        EngineError: ``core_unavailable``.
        OptionError: an argument that cannot be meant.
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
        core: int | None = None,
    ) -> None:
        choice(direction, "direction", ("out", "in"))
        for option, count in (("slice_max", slice_max), ("subscribers_max", subscribers_max)):
            # For some others iceoryx2 ends the process, or counts bytes in too few bits.
            if not is_integer(count) or not 1 <= count <= _COUNT_LIMIT:
                raise invalid(option, count, f"an integer in 1 ... {_COUNT_LIMIT:,}")
        if core is not None:
            _core.check_core(core)
        self._core_number = core
        self._iox = _iceoryx2()
        name = f"klineagg/{topic}" if service is None else service
        try:
            self._name = self._iox.ServiceName.new(name)
        except (TypeError, self._iox.SemanticStringError) as error:
            raise invalid("service", service, "a name of 1 to 255 bytes") from error
        self.record = bus.record_type(topic, record)
        self.direction = direction
        self.service_name = name
        self.slice_max = slice_max
        self.moved = 0
        self._lost = 0  # on the way in
        self._expected: dict[bytes, int] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._cleaned = time.monotonic()
        self._node = self._iox.NodeBuilder.new().create(self._iox.ServiceType.Ipc)
        self._service = self._open(subscribers_max)
        if direction == "out":
            self._source = bus.subscriber(topic, NAME, record=self.record, start=start)
            self._port = self._publisher(slice_max)
        else:
            self._sink = bus.publisher(topic, NAME, record=self.record)
            self._port = self._service.subscriber_builder().create()

    def _open(self, subscribers_max: int) -> Any:
        iox = self._iox
        name = self._name
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

    def _publisher(self, slice_max: int) -> Any:
        try:
            return self._service.publisher_builder().initial_max_slice_len(slice_max).create()
        except self._iox.PublisherCreateError as error:
            self._source.close()
            text = f"iceoryx2 has no room for slices of {slice_max} records: {error}"
            raise errors.make("peer_failed", text) from error

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
                records = records_of(sample, self.record)
                self._count_lost(records)
                self._sink.publish(records)
                return int(sample.header.number_of_elements)
            left = deadline - time.monotonic()
            if left <= 0:
                return 0
            time.sleep(min(_IDLE_S, left))

    @property
    def lost(self) -> int:
        """Records that it has not carried.

        ``"out"``: the bus's ring overwrote them first. ``"in"``: iceoryx2 dropped them, which keeps
        64 slices for a subscriber; by the sequences of publishers that give some, as those of a bus
        on the other side do. What came before the first record that it saw is not known.
        """
        return int(self._source.lost) if self.direction == "out" else self._lost

    def _count_lost(self, records: np.ndarray[Any, Any]) -> None:
        for name in dict.fromkeys(records["publisher"].tolist()):
            own = records["sequence"][records["publisher"] == name].astype(np.int64)
            before = self._expected.get(name, int(own[0])) - 1
            missed = np.diff(own, prepend=before) - 1
            self._lost += int(missed[missed > 0].sum())
            self._expected[name] = int(own[-1]) + 1

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
            if self._core_number is not None:
                _core.pin_thread(self._core_number)
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
            self._port = self._service = self._node = None  # drops them

    def __repr__(self) -> str:
        state = "idle" if self._thread is None else "runs"
        if self._error is not None:
            state = "failed"
        arrow = "to" if self.direction == "out" else "from"
        return (
            f"Iceoryx2Bridge({self.record.name}, {arrow} {self.service_name!r}, "
            f"{self.moved:,} moved, {self.lost:,} lost, {state})"
        )

    def __enter__(self) -> Iceoryx2Bridge:
        return self.start()

    def _leave(self, error: BaseException | None) -> None:
        self.close()
