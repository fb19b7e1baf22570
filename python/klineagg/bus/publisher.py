"""Publishing: by copy or in place, one record or many."""

from __future__ import annotations

from typing import Any

import numpy as np

from klineagg import _core, errors
from klineagg.bus._checks import check_publisher, count_of, nanoseconds
from klineagg.bus._closing import Closing
from klineagg.bus.records import RecordType

__all__ = ["Loan", "Publisher"]

Records = np.ndarray[Any, np.dtype[Any]]


def _is_packed(one: np.dtype[Any], other: np.dtype[Any]) -> bool:
    """Whether two records differ by their padding alone."""
    a, b = one.fields, other.fields
    if a is None or b is None or one == other:
        return False
    return one.names == other.names and all(a[name][0] == b[name][0] for name in a)


def converted(records: Any, record: RecordType) -> Records:
    """As an array of the topic's records, shape ``(n,)``.

    Raises:
        RecordTypeError: they are others.
    """
    array = np.asarray(records)
    if _is_packed(array.dtype, record.dtype):
        # NumPy drops padding when it concatenates or sorts.
        array = array.astype(record.dtype)
    if array.dtype != record.dtype:
        text = f"the topic has records {record.text}, not {array.dtype}"
        raise errors.make("record_mismatch", text)
    return np.atleast_1d(array)


class Publisher(Closing):
    """Sends records of one topic under one name; see :meth:`klineagg.bus.Bus.publisher`.

    Any thread may publish. Nothing ever waits for a reader: who is too slow loses the oldest
    records, and knows how many.
    """

    def __init__(
        self,
        place: tuple[str, int],
        topic: str,
        name: str,
        record: RecordType,
        *,
        ring_bytes: int | None = None,
        first_sequence: int = 1,
        orphan_after: float = 60.0,
        publishers_max: int = 10,
        keep_headers: bool = False,
        skip_to: int = 0,
    ) -> None:
        check_publisher(ring_bytes, first_sequence, publishers_max)
        self.topic = topic
        self.name = name
        self.record = record
        self._core: _core.BusPublisher | _core.BusLoggedPublisher = _core.BusPublisher(
            place[0],
            place[1],
            topic,
            name,
            record.text,
            ring_bytes or 0,
            first_sequence,
            nanoseconds(orphan_after, "orphan_after"),
            publishers_max,
            keep_headers,
            skip_to,
        )

    @property
    def capacity(self) -> int:
        """Records of the ring."""
        return self._core.capacity

    @property
    def batch_max(self) -> int:
        """Records of a loan, or shown at once, at most: half of the capacity."""
        return self._core.batch_max

    @property
    def generation(self) -> int:
        """1 for the first publisher of this name, one more for each successor."""
        return self._core.generation

    @property
    def next_sequence(self) -> int:
        """Sequence of the next message."""
        return self._core.next_sequence

    @property
    def is_open(self) -> bool:
        """False after :meth:`close`."""
        return self._core.is_open

    def empty(self, count: int) -> Records:
        """``count`` zeroed records to be filled in and published, shape ``(count,)``."""
        return np.zeros(count, self.record.dtype)

    def publish(self, records: Any) -> int:
        """Copies records into the ring and shows them.

        Args:
            records: a structured array of shape ``(n,)`` or one record, of the dtype of the
                topic; their message headers are filled in by the publisher.

        Returns:
            The sequence of the last one.

        Raises:
            RecordTypeError: another dtype.
            BusError: the publisher is closed, or a loan is not committed.
        """
        if type(records) is not np.ndarray or records.dtype != self.record.dtype:
            records = converted(records, self.record)
        if records.ndim != 1 or not records.flags.c_contiguous:
            records = np.ascontiguousarray(records).reshape(-1)
        return self._core.publish(records)

    def loan(self, count: int) -> Loan:
        """Places for ``count`` records in the ring, to be written in place.

        Raises:
            BusError: more than :attr:`batch_max`, or another loan is not committed.
            OptionError: a publisher with a log lends nothing.
        """
        core = self._core
        if isinstance(core, _core.BusLoggedPublisher):
            raise errors.make(
                "invalid_option", "what goes into a log first cannot be written in place: publish()"
            )
        return Loan(core, self.record, count_of(count, "count", 0))

    def close(self) -> None:
        """Ends the publisher; readers drain what there is, a successor may follow at once."""
        self._core.close()

    def _leave(self, error: BaseException | None) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "" if self.is_open else ", closed"
        name = type(self).__name__
        return f"<{name} {self.name!r} of {self.topic!r}, next {self.next_sequence:,}{state}>"


class Loan(Closing):
    """Records of the ring, to be written in place: nothing is copied.

    As a context manager it is committed at the end, and dropped by an exception. The message
    headers are filled in by the commit. One at a time; a loan that is lost, arrays and all, counts
    as dropped.

    Attributes:
        arrays: one or two writable structured arrays (two around the end of the ring).
        first_sequence: of the first record.
    """

    def __init__(self, core: _core.BusPublisher, record: RecordType, count: int) -> None:
        self._core = core
        self._count = count
        self._open = True
        self.first_sequence, pieces = core.loan(count)
        self.arrays: list[Records] = [piece.view(record.dtype) for piece in pieces]

    def __len__(self) -> int:
        return self._count

    def commit(self, count: int | None = None) -> int:
        """Shows the first ``count`` records, None: all of them; 0 drops the loan.

        Returns:
            The sequence of the last one.
        """
        if not self._open:
            raise errors.make("bus_closed", "the loan was committed or dropped already")
        shown = self._count if count is None else count_of(count, "count", 0)
        last = self._core.commit_loan(shown)
        self._open = False
        # Whoever still writes to them would write into what others read now.
        self.arrays = []
        return last

    def _leave(self, error: BaseException | None) -> None:
        if self._open:
            self.commit(None if error is None else 0)

    def __repr__(self) -> str:
        state = "not committed yet" if self._open else "settled"
        return f"<Loan of {self._count:,} records from {self.first_sequence:,} on, {state}>"
