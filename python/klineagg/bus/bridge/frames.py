"""Frames on the wire: length, kind, checksum, payload.

Records travel as the bytes that they are in shared memory. Everything else is JSON.
"""

from __future__ import annotations

import asyncio
import json
import struct
import zlib
from enum import IntEnum
from typing import Any, Final

import numpy as np

from klineagg import errors
from klineagg._options import invalid, is_integer

__all__ = ["RECORDS_BYTES_MAX", "VERSION", "Frame", "Kind", "Link", "damaged", "port_of", "refused"]

VERSION: Final = 1
_MAGIC: Final = 0x4B4C
_HEAD: Final = struct.Struct("<HBxII")  # magic, kind, payload bytes, CRC-32 of the payload
_RECORDS: Final = struct.Struct("<HxxI")  # topic, records
#: Of the records of one frame: large enough to cost little, small enough to be there soon.
RECORDS_BYTES_MAX: Final = 1 << 20
_PAYLOAD_MAX: Final = RECORDS_BYTES_MAX + (1 << 17)
_SLOW_S: Final = 0.001
_PORT_MAX: Final = 65_535

Records = np.ndarray[Any, np.dtype[Any]]


class Kind(IntEnum):
    """What a frame is."""

    CHALLENGE = 1
    HELLO = 2
    WELCOME = 3
    REFUSED = 4
    RECORDS = 5
    BEAT = 6


_KINDS: Final = frozenset(Kind)
Frame = tuple[Kind, bytes]


def damaged(reason: str) -> errors.KlineaggError:
    """A ``bridge_damaged`` to be raised: the connection is of no use any more."""
    return errors.make("bridge_damaged", f"the bridge ends this connection: {reason}")


def refused(reason: str, *, hint: str | None = None) -> errors.KlineaggError:
    """A ``bridge_refused`` to be raised: trying again would change nothing."""
    return errors.make("bridge_refused", f"the bridge is refused: {reason}", hint=hint)


def port_of(port: int, *, least: int = 1) -> int:
    """The number of a port, as it was given."""
    if not is_integer(port) or not least <= port <= _PORT_MAX:
        raise invalid("port", port, f"an integer in {least} ... {_PORT_MAX}")
    return port


class Link:
    """One connection, with its counts.

    Attributes:
        bytes_out: sent.
        waits: how often the other side, or the network, was slower than this one.
        waited_s: and for how long.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.bytes_out = 0
        self.waits = 0
        self.waited_s = 0.0

    async def receive(self, timeout: float) -> Frame:
        """The next frame.

        Raises:
            BridgeError: ``bridge_damaged``.
            EOFError, OSError: the connection has ended, or is silent.
        """
        # Not wait_for(): it takes a task for each frame, and may swallow a cancellation.
        silence = asyncio.get_running_loop().call_later(timeout, self._writer.transport.abort)
        try:
            head = await self._reader.readexactly(_HEAD.size)
            magic, kind, size, checksum = _HEAD.unpack(head)
            if magic != _MAGIC or size > _PAYLOAD_MAX or kind not in _KINDS:
                raise damaged("this is no frame of a bridge")
            payload = await self._reader.readexactly(size)
        finally:
            silence.cancel()
        if zlib.crc32(payload) != checksum:
            raise damaged("the checksum of a frame is wrong")
        return Kind(kind), payload

    async def send(self, kind: Kind, payload: bytes) -> None:
        """Sends a frame; waits as long as the other side does not take it."""
        head = _HEAD.pack(_MAGIC, kind, len(payload), zlib.crc32(payload))
        self._writer.write(head + payload)
        self.bytes_out += len(head) + len(payload)
        begin = asyncio.get_running_loop().time()
        await self._writer.drain()
        waited = asyncio.get_running_loop().time() - begin
        if waited > _SLOW_S:
            self.waits += 1
            self.waited_s += waited

    async def send_json(self, kind: Kind, **values: Any) -> None:
        """Sends values."""
        await self.send(kind, json.dumps(values).encode())

    async def send_records(self, topic: int, records: Records) -> None:
        """Sends records of one publisher that follow each other."""
        rows = max(1, RECORDS_BYTES_MAX // records.itemsize)
        for first in range(0, len(records), rows):
            part = records[first : first + rows]
            head = _RECORDS.pack(topic, len(part))
            await self.send(Kind.RECORDS, head + part.tobytes())

    def close(self) -> None:
        """Ends the connection now."""
        self._writer.close()


def values_of(payload: bytes) -> dict[str, Any]:
    """The values of a frame in JSON.

    Raises:
        BridgeError: ``bridge_damaged``.
    """
    try:
        values = json.loads(payload)
    except ValueError as error:
        raise damaged("a frame is not what it says") from error
    if not isinstance(values, dict):
        raise damaged("a frame is not what it says")
    return values


def records_of(payload: bytes, dtypes: list[np.dtype[Any]]) -> tuple[int, str, Records]:
    """Number of the topic, name of the publisher, records whose sequences follow each other.

    Raises:
        BridgeError: ``bridge_damaged``.
    """
    if len(payload) < _RECORDS.size:
        raise damaged("a frame is too short")
    topic, count = _RECORDS.unpack_from(payload)
    if topic >= len(dtypes) or count == 0:
        raise damaged("a frame names a topic that was not asked for")
    dtype = dtypes[topic]
    if len(payload) != _RECORDS.size + count * dtype.itemsize:
        raise damaged("a frame has another size than its records")
    records = np.frombuffer(payload, dtype, count, _RECORDS.size)
    own = records["publisher"] == records["publisher"][0]
    steps = np.diff(records["sequence"].astype(np.int64))
    if not own.all() or (steps != 1).any():
        raise damaged("the records of a frame do not follow each other")
    return topic, records["publisher"][0].decode("utf-8", "replace"), records
