"""The receiving side of a bridge."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from klineagg import errors
from klineagg.bus.bridge.frames import (
    VERSION,
    Kind,
    Link,
    damaged,
    port_of,
    records_of,
    refused,
    values_of,
)
from klineagg.bus.bridge.security import Security
from klineagg.bus.publisher import Publisher
from klineagg.bus.records import RecordType

if TYPE_CHECKING:
    from klineagg.bus.core import Bus

__all__ = ["BridgeClient"]

_log: Final = logging.getLogger("klineagg.bridge")
_BEAT_S: Final = 1.0
_PAUSE_MIN_S: Final = 0.05
_PAUSE_MAX_S: Final = 5.0


@dataclass
class _Totals:
    connections: int = 0
    records: int = 0
    duplicates: int = 0
    lost: int = 0
    damaged: int = 0


class _Inlet:
    """A topic of the other side, on this bus: a publisher of the same name for each of its own."""

    def __init__(self, bus: Bus, topic: str, totals: _Totals) -> None:
        self.topic = topic
        self.record: RecordType | None = None
        self._bus, self._totals = bus, totals
        self._publishers: dict[str, Publisher] = {}

    def positions(self) -> dict[str, int]:
        """Where each publisher goes on: what this bus has, living, dead or already cleaned."""
        next_: dict[str, int] = {}
        for last in Path(self._bus.path).glob(f"{self.topic}@*.last"):
            with suppress(OSError, ValueError):
                name = last.name.removeprefix(f"{self.topic}@").removesuffix(".last")
                next_[name] = int(last.read_text().split()[0])
        for info in self._bus.inspect(self.topic)["publishers"]:
            if not info["damaged"]:
                next_[info["name"]] = info["next_sequence"]
        return next_

    def put(self, name: str, records: Any) -> None:
        """Publishes records of one publisher, with the sequences and headers they have."""
        first, last = int(records["sequence"][0]), int(records["sequence"][-1])
        publisher = self._publishers.get(name)
        if publisher is None:
            publisher = self._publishers[name] = self._make(name, first)
        expected = publisher.next_sequence
        if first > expected:
            # A new ring behind the hole: its readers count what lies between as lost.
            self._totals.lost += first - expected
            _log.warning("%s of %s: %d messages are lost", name, self.topic, first - expected)
            publisher.close()
            publisher = self._publishers[name] = self._make(name, first)
        repeats = min(len(records), max(0, expected - first))
        self._totals.duplicates += repeats
        if last >= expected:
            publisher.publish(records[repeats:])
            self._totals.records += len(records) - repeats

    def _make(self, name: str, first: int) -> Publisher:
        assert self.record is not None
        known = name in self.positions()
        return Publisher(
            (self._bus.path, self._bus._group),
            self.topic,
            name,
            self.record,
            first_sequence=first,
            skip_to=first if not known or name in self._publishers else 0,
            keep_headers=True,
        )

    def end_dead(self, alive: list[str]) -> None:
        """Closes the publishers whose originals are gone: their readers are to know."""
        for name in [each for each in self._publishers if each not in alive]:
            self._publishers.pop(name).close()

    def close(self) -> None:
        """Closes them all; the next bridge goes on with their sequences."""
        for publisher in self._publishers.values():
            publisher.close()
        self._publishers.clear()


class BridgeClient:
    """Publishes topics of another machine on this machine's bus.

    Each publisher of the other side has one of its name here, with the same records: sequence,
    time and name stay. After a break it connects again and asks for what it has not; what the
    other side no longer has is counted as ``lost``, here and by every reader.

    Args:
        bus: where to publish.
        topics: which topics.
        host: of the other side.
        port: of the other side.
        security: as the other side's.
        latest: publishers that are new here begin with what they send from now on, and not with
            what their logs or rings have.
        timeout: silence of so many seconds is a broken connection.

    Raises:
        OptionError: ``invalid_option``.
    """

    def __init__(
        self,
        bus: Bus,
        topics: list[str],
        host: str,
        port: int,
        *,
        security: Security | None = None,
        latest: bool = False,
        timeout: float = 5.0,
    ) -> None:
        if not topics or timeout <= _BEAT_S:
            text = f"a bridge has topics, and a timeout above {_BEAT_S} s"
            raise errors.make("invalid_option", text, option="topics" if timeout else "timeout")
        self._bus, self._host, self._port = bus, host, port_of(port)
        self._security = security or Security()
        self._latest, self._timeout = latest, timeout
        self._totals = _Totals()
        self._inlets = [_Inlet(bus, topic, self._totals) for topic in topics]
        self.connected = False
        #: Why the last connection ended, or did not come about; empty: nothing has failed yet.
        self.trouble = ""

    @property
    def stats(self) -> Mapping[str, int]:
        """Counts since the start; ``connections`` beyond the first were made after a break."""
        return dict(vars(self._totals))

    async def run(self) -> None:
        """Until it is cancelled.

        Raises:
            BridgeError: ``bridge_refused``: trying again would change nothing.
            RecordTypeError: this bus has other records in that topic.
            PublisherExistsError: this machine has a living publisher of that name.
        """
        pause = _PAUSE_MIN_S
        try:
            while True:
                before = self._totals.connections
                try:
                    await self._session()
                except errors.BridgeError as error:
                    if error.name != "bridge_damaged":
                        raise
                    self._totals.damaged += 1
                    self.trouble = error.message
                    _log.warning("%s", error.message)
                except (OSError, EOFError) as error:
                    self.trouble = str(error) or type(error).__name__
                    _log.info("no connection: %s", self.trouble)
                finally:
                    self.connected = False
                pause = _PAUSE_MIN_S if self._totals.connections > before else pause
                await asyncio.sleep(pause)
                pause = min(2 * pause, _PAUSE_MAX_S)
        finally:
            for inlet in self._inlets:
                inlet.close()

    async def _session(self) -> None:
        context = self._security.client_context()
        opening = asyncio.ensure_future(
            asyncio.open_connection(self._host, self._port, ssl=context)
        )
        try:
            await asyncio.wait({opening}, timeout=self._timeout)
            if not opening.done():
                raise TimeoutError(f"{self._host}:{self._port} does not answer")
        finally:
            opening.cancel()
        link = Link(*opening.result())
        try:
            await self._greet(link)
            self._totals.connections += 1
            self.connected = True
            beat = asyncio.ensure_future(self._beat(link))
            try:
                await self._take(link)
            finally:
                beat.cancel()
                await asyncio.gather(beat, return_exceptions=True)
        finally:
            link.close()

    async def _greet(self, link: Link) -> None:
        kind, payload = await link.receive(self._timeout)
        challenge = values_of(payload)
        if kind is not Kind.CHALLENGE or challenge.get("version") != VERSION:
            raise refused(f"this side speaks version {VERSION}, not {challenge.get('version')}")
        own, other = self._security.nonce(), str(challenge.get("nonce"))
        asked = [
            {
                "topic": inlet.topic,
                "hash": None if inlet.record is None else inlet.record.hash,
                "positions": inlet.positions(),
                "latest": self._latest,
            }
            for inlet in self._inlets
        ]
        proof = self._security.proof("client", own, other)
        await link.send_json(Kind.HELLO, version=VERSION, nonce=own, proof=proof, topics=asked)
        kind, payload = await link.receive(self._timeout)
        values = values_of(payload)
        _check_refused(kind, values)
        if kind is not Kind.WELCOME or len(values.get("types", ())) != len(self._inlets):
            raise damaged("this is no welcome")
        self._security.check("server", other, own, values.get("proof"))
        for inlet, text in zip(self._inlets, values["types"], strict=True):
            inlet.record = _agreed(self._bus, inlet.topic, RecordType.parse(str(text)))

    async def _take(self, link: Link) -> None:
        dtypes = [inlet.record.dtype for inlet in self._inlets if inlet.record is not None]
        while True:
            kind, payload = await link.receive(self._timeout)
            if kind is Kind.RECORDS:
                number, name, records = records_of(payload, dtypes)
                self._inlets[number].put(name, records)
            elif kind is Kind.BEAT:
                alive = values_of(payload).get("alive", {})
                for inlet in self._inlets:
                    inlet.end_dead(alive.get(inlet.topic, []))
            else:
                _check_refused(kind, values_of(payload))

    async def _beat(self, link: Link) -> None:
        while True:
            await link.send_json(Kind.BEAT)
            await asyncio.sleep(_BEAT_S)


def _check_refused(kind: Kind, values: dict[str, Any]) -> None:
    if kind is not Kind.REFUSED:
        return
    if values.get("error") == "bridge_refused":
        raise refused(str(values.get("message")).removeprefix("the bridge is refused: "))
    # Such as: nobody there knows yet what the records are. It may know them later.
    raise damaged(str(values.get("message")))


def _agreed(bus: Bus, topic: str, record: RecordType) -> RecordType:
    """Built-in topics and those that have publishers here must mean the same record."""
    try:
        own = bus.record_type(topic)
    except errors.RecordTypeError:
        return record  # nobody here has said anything
    if own.hash != record.hash:
        raise refused(f"the two sides mean different records by the topic {topic}")
    return own
