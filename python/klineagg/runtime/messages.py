"""Messages over a Unix socket: a JSON object each, with open files beside it."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

__all__ = ["MESSAGE_BYTES_MAX", "receive", "send"]

MESSAGE_BYTES_MAX: Final = 256 << 20
_FILES_MAX: Final = 4
_LENGTH: Final = struct.Struct(">I")


def send(connection: socket.socket, message: dict[str, Any], files: Sequence[int] = ()) -> None:
    """Sends a message; the other side gets files of its own for ``files``.

    Raises:
        OSError: the other side is gone.
    """
    body = json.dumps(message, separators=(",", ":")).encode()
    data = memoryview(_LENGTH.pack(len(body)) + body)
    sent = 0
    if files:
        sent = socket.send_fds(connection, [data], list(files))
    connection.sendall(data[sent:])


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next message and its files, which are the caller's to close; None at the end.

    Raises:
        OSError: the connection broke, perhaps in the middle of a message.
        ValueError: what came is no message.
    """
    files: list[int] = []
    try:
        head = _exactly(connection, _LENGTH.size, files)
        if not head:
            return None
        (size,) = _LENGTH.unpack(head)
        if size > MESSAGE_BYTES_MAX:
            raise ValueError(f"a message of {size} bytes is too long")
        body = _exactly(connection, size, files)
        message = json.loads(body)
        if not isinstance(message, dict):
            raise ValueError("a message has to be a JSON object")
        return message, files
    except BaseException:
        close_all(files)
        raise


def _exactly(connection: socket.socket, size: int, files: list[int]) -> bytes:
    """So many bytes; none at all when the other side has ended before."""
    parts: list[bytes] = []
    left = size
    while left:
        data, found, _, _ = socket.recv_fds(connection, min(left, 1 << 20), _FILES_MAX)
        files += found
        if not data:
            if left == size and size == _LENGTH.size:
                return b""
            raise ConnectionResetError("the other side went away within a message")
        parts.append(data)
        left -= len(data)
    return b"".join(parts)


def close_all(files: Sequence[int]) -> None:
    """Closes files that nobody has taken."""
    for file in files:
        with suppress(OSError):
            os.close(file)
