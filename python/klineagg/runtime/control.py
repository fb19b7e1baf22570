"""The control socket of a running engine: who may ask, and how the answers come."""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import struct
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from klineagg import errors
from klineagg.runtime.messages import close_all, receive, send

__all__ = ["Client", "Reply", "Server", "check_path"]

_PATH_BYTES_MAX: Final = 103  # of a Unix socket, on the narrowest system
_log: Final = logging.getLogger("klineagg.control")

Reply = tuple[dict[str, Any], Sequence[int]]


def check_path(path: Path) -> None:
    """Refuses a path that no socket can have.

    Raises:
        ConfigError: ``config_invalid``.
    """
    if len(os.fsencode(path)) > _PATH_BYTES_MAX:
        reason = f"{path} is too long for a socket ({_PATH_BYTES_MAX} bytes)"
        text = f"runtime.folder: {reason}"
        hint = "name a folder whose path is shorter"
        raise errors.make("config_invalid", text, hint=hint, key="runtime.folder", reason=reason)


class Server:
    """Answers requests on a Unix socket that only its owner can open, from :meth:`start` on.

    Each connection has a thread. A lock beside the socket keeps a second engine of that name out,
    and tells a socket that was left behind from one that is in use.

    Args:
        path: of the socket; its folder is made, for the owner alone.
        answer: called with a connection's number and a request; gives the reply and files to send.
            A KlineaggError becomes one at the other side.
        left: called with the number of a connection that has ended.

    Raises:
        ControlError: ``already_running``.
        ConfigError: ``config_invalid`` for a path that no socket can have.
    """

    def __init__(
        self,
        path: Path,
        answer: Callable[[int, dict[str, Any]], Reply],
        left: Callable[[int], None],
    ) -> None:
        check_path(path)
        self.path = path
        self._answer, self._left = answer, left
        self._threads: set[threading.Thread] = set()
        self._connections: dict[int, socket.socket] = {}
        self._guard = threading.Lock()
        self._closing = False
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = _lock(path.with_suffix(".lock"))
        path.unlink(missing_ok=True)  # whoever left it there is gone: we have the lock
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            self._socket.bind(str(path))
        finally:
            os.umask(before)
        self._socket.listen(16)
        self._accepter = threading.Thread(target=self._accept, name="klineagg-control", daemon=True)

    def start(self) -> None:
        """Begins to answer; who has connected before has waited."""
        self._accepter.start()

    def close(self) -> None:
        """Ends all connections and removes the socket; again: does nothing."""
        if self._closing:
            return
        self._closing = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        # First nobody comes any more: one who did behind the list would be served on.
        if self._accepter.ident is not None:
            self._accepter.join(5)
        with self._guard:
            connections = list(self._connections.values())
            threads = list(self._threads)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(5)
        self.path.unlink(missing_ok=True)
        os.close(self._lock)

    def _accept(self) -> None:
        number = 0
        while not self._closing:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            number += 1
            if not _is_owner(connection):
                connection.close()
                continue
            thread = threading.Thread(
                target=self._serve, args=(number, connection), name=f"klineagg-control-{number}",
                daemon=True,
            )  # fmt: skip
            with self._guard:
                self._connections[number] = connection
                self._threads.add(thread)
            thread.start()

    def _serve(self, number: int, connection: socket.socket) -> None:
        try:
            while not self._closing:
                found = receive(connection)
                if found is None:
                    break
                request, files = found
                close_all(files)  # nobody sends us any
                self._reply(number, connection, request)
        except (OSError, ValueError) as error:
            if not self._closing:
                _log.debug("connection %d broke: %s", number, error)
        finally:
            self._left(number)
            with self._guard:
                self._connections.pop(number, None)
                self._threads.discard(threading.current_thread())
            connection.close()

    def _reply(self, number: int, connection: socket.socket, request: dict[str, Any]) -> None:
        files: Sequence[int] = ()
        try:
            message, files = self._answer(number, request)
            message = {"ok": True, **message}
        except errors.KlineaggError as error:
            message = {"ok": False, "error": error.name, "message": error.message}
            message["hint"] = error.hint
        except Exception as error:
            _log.exception("request %r failed", request.get("op"))
            message = {"ok": False, "error": "internal", "message": str(error), "hint": None}
        send(connection, message, files)


def _lock(path: Path) -> int:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.pread(file, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(file)
        text = f"an engine of that name runs already, as process {owner}"
        raise errors.make("already_running", text, file=str(path), process=owner) from error
    os.ftruncate(file, 0)
    os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
    return file


def _is_owner(connection: socket.socket) -> bool:
    """The socket's mode keeps others out already, where systems heed it."""
    if sys.platform != "linux":
        return True
    size = struct.calcsize("3i")
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    _, user, _ = struct.unpack("3i", data)
    return user in (os.geteuid(), 0)


class Client:
    """Asks a running engine; from one thread at a time.

    Args:
        path: of its socket.
        timeout: seconds to wait for an answer.

    Raises:
        ControlError: ``control_unavailable``.
    """

    def __init__(self, path: Path, timeout: float = 30.0) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        self._guard = threading.Lock()
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            text = f"no engine listens on {path}: {error.strerror or error}"
            raise errors.make("control_unavailable", text, file=str(path)) from error

    def request(self, op: str, **values: Any) -> tuple[dict[str, Any], list[int]]:
        """Sends a request; gives the reply and its files, which are the caller's to close.

        Raises:
            ControlError: ``control_unavailable`` when the engine has gone, ``control_refused``.
            KlineaggError: what the engine raised.
        """
        with self._guard:
            try:
                send(self._socket, {"op": op, **values})
                found = receive(self._socket)
            except (OSError, ValueError) as error:
                self.close()
                text = f"the engine on {self.path} does not answer: {error}"
                raise errors.make("control_unavailable", text, file=str(self.path)) from error
        if found is None:
            self.close()
            text = f"the engine on {self.path} has ended"
            raise errors.make("control_unavailable", text, file=str(self.path))
        message, files = found
        if message.pop("ok", False):
            return message, files
        close_all(files)
        name, text = message.get("error", ""), str(message.get("message", ""))
        try:
            raise errors.make(name, text, hint=message.get("hint"))
        except KeyError:
            raise errors.make("control_refused", text) from None

    def close(self) -> None:
        """Ends the connection: what it holds of the engine goes back."""
        self._socket.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()
