"""The sending side of a bridge."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from klineagg import _core, errors
from klineagg._options import invalid
from klineagg.bus.bridge.frames import VERSION, Kind, Link, damaged, port_of, refused, values_of
from klineagg.bus.bridge.security import Security, is_loopback
from klineagg.bus.resumable import ResumableSubscriber

if TYPE_CHECKING:
    from klineagg.bus._waiting import Receiver, Records
    from klineagg.bus.core import Bus

__all__ = ["BridgeServer"]

_log: Final = logging.getLogger("klineagg.bridge")
_BEAT_S: Final = 1.0
_NO_ERROR: Final = (OSError, EOFError)


@dataclass
class _Totals:
    connections: int = 0
    refused: int = 0
    records: int = 0
    bytes: int = 0
    waits: int = 0
    waited_s: float = 0.0
    replayed: int = 0

    def add(self, link: Link) -> None:
        self.bytes += link.bytes_out
        self.waits += link.waits
        self.waited_s += link.waited_s


class BridgeServer:
    """Sends topics to whoever connects and may: :class:`BridgeClient` on another machine.

    A slow network slows nobody down here: its connection falls behind, and goes on out of the
    publishers' logs when the rings have moved on. Without logs, what is lost is counted there.

    Args:
        bus: whose topics.
        topics: which.
        wal: folder of the publishers' logs, for what a client missed; None: there are none.
        host: where to listen. Others than this machine's loopback need a secret, or TLS with
            certificates of clients.
        port: 0: any that is free, see :attr:`port`.
        security: who may connect.
        timeout: a client that is silent for so many seconds is gone.

    Raises:
        OptionError: ``invalid_option``: it would be open to everybody, or that is no port.
        BusNameError: ``bus_name``: that is no name of a topic.
        WalError: ``wal_io``: there is no such folder of logs.
    """

    def __init__(
        self,
        bus: Bus,
        topics: list[str],
        *,
        wal: Path | str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        security: Security | None = None,
        timeout: float = 10.0,
    ) -> None:
        if isinstance(topics, str):
            raise invalid("topics", topics, f"a list of names, as [{topics!r}] is")
        for topic in topics:
            _core.bus_check_topic(topic)
        # Who asks for logs would else learn of a mistyped folder by what is lost.
        if wal is not None and not Path(wal).is_dir():
            hint = "give the folder that the publishers have as wal=; they make it when they start"
            raise errors.make("wal_io", f"there are no logs: {wal} is no folder", hint=hint)
        self._bus, self._topics, self._wal = bus, topics, wal
        self._security = security or Security()
        if not is_loopback(host) and self._security.is_open:
            text = f"a bridge on {host} without secret would be open to everybody who can reach it"
            hint = "set KLINEAGG_BRIDGE_SECRET on both sides, or use TLS with an authority"
            raise errors.make("invalid_option", text, hint=hint, option="host")
        self._host, self._timeout = host, timeout
        self._port = port_of(port, least=0)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._links: set[Link] = set()
        self._totals = _Totals()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port

    @property
    def stats(self) -> Mapping[str, float]:
        """Counts since the start; ``waits``: how often the network was slower than the bus."""
        totals = replace(self._totals)
        for link in self._links:  # counted for good when they end
            totals.add(link)
        return dict(vars(totals))

    async def start(self) -> None:
        """Listens from now on.

        Raises:
            OSError: the port is taken.
        """
        context = self._security.server_context()
        self._server = await asyncio.start_server(self._take, self._host, self._port, ssl=context)
        self._port = self._server.sockets[0].getsockname()[1]
        _log.info("serves %s on %s:%d", ", ".join(self._topics), self._host, self._port)

    async def close(self) -> None:
        """Ends all connections."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            with suppress(Exception):
                await self._server.wait_closed()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._totals.connections += 1
        link = Link(reader, writer)
        self._links.add(link)
        try:
            await self._serve(link)
        except errors.KlineaggError as failure:
            error = _for_client(failure)
            self._totals.refused += error.name == "bridge_refused"
            _log.warning("%s", error.message)
            with suppress(*_NO_ERROR):
                await link.send_json(Kind.REFUSED, error=error.name, message=error.message)
        except _NO_ERROR as error:
            _log.info("a client has gone: %s", str(error) or type(error).__name__)
        except asyncio.CancelledError:
            pass  # by close(); nobody else waits for this task
        finally:
            self._links.discard(link)
            self._totals.add(link)
            link.close()
            self._tasks.discard(task)

    async def _serve(self, link: Link) -> None:
        own = self._security.nonce()
        await link.send_json(Kind.CHALLENGE, version=VERSION, nonce=own)
        kind, payload = await link.receive(self._timeout)
        hello = values_of(payload)
        other = str(hello.get("nonce"))
        if kind is not Kind.HELLO or hello.get("version") != VERSION:
            raise refused(f"this side speaks version {VERSION}, the other {hello.get('version')}")
        self._security.check("client", other, own, hello.get("proof"))
        asked = hello.get("topics")
        if not isinstance(asked, list) or not all(isinstance(each, dict) for each in asked):
            raise damaged("it asks for no topics")
        receivers: list[Receiver] = []
        try:
            for each in asked:  # one by one: those that were made are closed when one fails
                receivers.append(self._receiver(each))  # noqa: PERF401
            texts = [receiver.record.text for receiver in receivers]  # type: ignore[attr-defined]
            proof = self._security.proof("server", own, other)
            await link.send_json(Kind.WELCOME, proof=proof, types=texts)
            await self._send_all(link, receivers)
        finally:
            for receiver in receivers:
                receiver.close()

    def _receiver(self, asked: dict[str, Any]) -> Receiver:
        topic = str(asked.get("topic"))
        if topic not in self._topics:
            raise refused(f"the topic {topic} is not on offer")
        record = self._bus.record_type(topic)
        if asked.get("hash") not in (None, record.hash):
            raise refused(f"the two sides mean different records by the topic {topic}")
        positions = {str(name): int(next_) for name, next_ in asked.get("positions", {}).items()}
        latest = bool(asked.get("latest"))
        if self._wal is None:
            start: Any = "latest" if latest and not positions else "oldest"
            return self._bus.subscriber(
                topic, "bridge", record=record, start=start, positions=positions
            )
        if latest:
            # Who comes for the first time and wants nothing old begins where publishers are now.
            for info in self._bus.inspect(topic)["publishers"]:
                positions.setdefault(info["name"], info["next_sequence"])
        history = self._bus.history(topic, self._wal, record=record)
        return ResumableSubscriber(
            self._bus, topic, "bridge", history=history, positions=positions, record=record
        )

    async def _send_all(self, link: Link, receivers: list[Receiver]) -> None:
        tasks = [asyncio.ensure_future(self._listen(link))]
        for number, receiver in enumerate(receivers):
            tasks.append(asyncio.ensure_future(self._send(link, number, receiver)))
        tasks.append(asyncio.ensure_future(self._beat(link)))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self, link: Link) -> None:
        """Until the client has gone: it only says that it is there."""
        while True:
            await link.receive(self._timeout)

    async def _beat(self, link: Link) -> None:
        """Says that we are there, and which publishers are: those that died end over there, too."""
        while True:
            alive = {}
            for topic in self._topics:
                publishers = self._bus.inspect(topic)["publishers"]
                alive[topic] = [info["name"] for info in publishers if info["alive"]]
            await link.send_json(Kind.BEAT, alive=alive)
            await asyncio.sleep(_BEAT_S)

    async def _send(self, link: Link, number: int, receiver: Receiver) -> None:
        replayed = 0
        while True:
            try:
                batch = await receiver.next_batch()
            except errors.BusError as error:
                if error.name != "resume_hole":
                    raise
                _log.warning("%s", error.message)  # the client sees it by the sequence
                continue
            if batch is None:
                continue
            for run in _runs(batch):
                self._totals.records += len(run)
                await link.send_records(number, run)
            now = int(getattr(receiver, "replayed", 0))
            self._totals.replayed += now - replayed
            replayed = now


def _for_client(error: errors.KlineaggError) -> errors.KlineaggError:
    """A bridge does not change sequences: it would send what the other side takes for repeats."""
    if error.name != "resume_ahead":
        return error
    topic_files = f"the files of {error.fields['publisher']} in the folder of the bus there"
    return refused(f"{error.message}; to begin anew there, too, remove {topic_files}")


def _runs(records: Records) -> list[Records]:
    """Cut where the publisher changes, or some are missing."""
    publishers = list(dict.fromkeys(records["publisher"].tolist()))
    runs = []
    for name in publishers:
        own = records if len(publishers) == 1 else records[records["publisher"] == name]
        breaks = np.flatnonzero(np.diff(own["sequence"].astype(np.int64)) != 1) + 1
        runs += np.split(own, breaks)
    return runs
