"""A TCP proxy that does to connections what networks do."""

from __future__ import annotations

import random
import socket
import threading
import time
from contextlib import suppress


class FaultProxy:
    """Forwards to ``port``, and breaks each connection after some bytes, in one of the ways.

    Args:
        port: of the server, on this machine.
        ways: ``"cut"`` (RST), ``"end"`` (FIN), ``"half"`` (some bytes less, then FIN),
            ``"flip"`` (a wrong bit), ``"silent"`` (nothing more comes), ``"delay"``; picked at
            random for each connection. Empty: nothing is broken.
        after: bytes that come through before, from ... to.
        seed: of the random choices.
        at: the port that it listens at; 0: one that is free.
    """

    def __init__(
        self,
        port: int,
        ways: tuple[str, ...] = (),
        after: tuple[int, int] = (2_000, 60_000),
        seed: int = 1,
        at: int = 0,
    ) -> None:
        self._target, self.ways, self._after = port, ways, after
        self._random = random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", at))
        self.port: int = self._listener.getsockname()[1]
        self.broken: dict[str, int] = {}
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def _start(self, act: object, *arguments: object) -> None:
        thread = threading.Thread(target=act, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            self._sockets += [near, far]
            way = self._random.choice(self.ways) if self.ways else ""
            limit = self._random.randint(*self._after)
            self._start(self._pump, far, near, way, limit)
            self._start(self._pump, near, far, "", 0)

    def _pump(self, source: socket.socket, to: socket.socket, way: str, limit: int) -> None:
        done = 0
        with suppress(OSError):
            while data := source.recv(16_384):
                if way and done + len(data) > limit:
                    data = data[: max(1, limit - done)]
                    self.broken[way] = self.broken.get(way, 0) + 1
                    if not self._break(way, data, source, to):
                        break
                    way = ""
                    continue
                done += len(data)
                to.sendall(data)
        for each in (source, to):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _break(self, way: str, data: bytes, source: socket.socket, to: socket.socket) -> bool:
        """False: the connection has ended."""
        if way == "cut":
            to.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        elif way == "half":
            to.sendall(data[:-1])
        elif way == "flip":
            to.sendall(data[:-1] + bytes([data[-1] ^ 0x10]))
        elif way == "silent":
            while source.recv(16_384):
                pass
        elif way == "delay":
            time.sleep(0.3)
            to.sendall(data)
        return way in ("delay", "flip")

    def close(self) -> None:
        for each in [self._listener, *self._sockets]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(60)
