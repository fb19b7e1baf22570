"""The way in: a bus is a folder of segments, in which topics have publishers and subscribers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from klineagg import _core, errors
from klineagg._options import choice, invalid
from klineagg.bus._checks import SYNC_MODES, check_role
from klineagg.bus._cleaning import Cleaning
from klineagg.bus._group import group_number
from klineagg.bus.publisher import Publisher
from klineagg.bus.records import DEFAULT_TOPICS, RecordType, builtin_type, checked_type
from klineagg.bus.subscriber import Subscriber

if TYPE_CHECKING:
    from klineagg.bus.delayed import DelayedSubscriber
    from klineagg.bus.health import Monitor
    from klineagg.bus.logged import LogHistory
    from klineagg.bus.reliable import ReliablePublisher
    from klineagg.bus.reliable_subscriber import ReliableSubscriber

__all__ = ["Bus"]

Wait = Literal["spin", "backoff", "park"]
Start = Literal["latest", "oldest"]


class Bus(Cleaning):
    """Topics in one folder of shared memory, which processes of one user (or group) share.

    Args:
        path: the folder; None: the user's default one in ``/dev/shm``.
        group: name or number of a group whose members may take part, too; None: the owner alone.
            A folder that is there and not the group's is made so as long as it is empty.

    Raises:
        OptionError: there is no such group.
        BusError: ``bus_unavailable``: the folder cannot be made or trusted, or holds files and is
            not open to the group.
    """

    def __init__(
        self, path: str | os.PathLike[str] | None = None, *, group: str | int | None = None
    ):
        if path is not None and not os.fspath(path):
            raise invalid("path", path, "a folder, or None for the user's own one")
        # Of this moment: the process may go to another folder.
        self._path = (
            _core.bus_default_path() if path is None else os.path.join(os.getcwd(), os.fspath(path))
        )
        self._group = group_number(group)
        self._types: dict[str, RecordType] = {}
        _core.bus_topics(self._path, self._group)  # makes the folder, or says why it cannot be

    @property
    def path(self) -> str:
        """The folder of the segments."""
        return self._path

    def __repr__(self) -> str:
        return f"Bus({self._path!r})"

    def register(self, topic: str, record: RecordType) -> None:
        """Says what a topic's records are, so that publishers and subscribers need not."""
        if topic in DEFAULT_TOPICS:
            # Others take the topic for what it is by default: they would not understand these.
            raise errors.make("invalid_option", f"the records of {topic} are given", topic=topic)
        self._types[topic] = checked_type(record)

    def inspect(self, topic: str) -> dict[str, list[dict[str, Any]]]:
        """Publishers and subscribers of a topic, as its segments have them, by name of the role.

        Of a publisher whose segment is damaged there is only that, as ``damaged``.
        """
        _core.bus_check_topic(topic)
        if topic not in self.topics():  # opening would make it
            return {"publishers": [], "subscribers": []}
        control = _core.BusTopic(self._path, self._group, topic)
        return {"publishers": control.publishers(), "subscribers": control.subscribers()}

    def metrics_text(self, topics: Iterable[str] | None = None, **labels: str) -> str:
        """What :meth:`inspect` says, in the OpenMetrics text format, which Prometheus reads.

        Any process may serve it, whether or not it takes part.

        Args:
            topics: which; None: all.
            labels: put on every sample, for example ``instance="feed-1"``.
        """
        from klineagg.bus.metrics import metrics_text

        return metrics_text(self, topics, labels)

    def record_type(self, topic: str, record: RecordType | None = None) -> RecordType:
        """What a topic's records are: as given, registered, built in, or sent by a publisher.

        Raises:
            RecordTypeError: nobody knows.
        """
        known = self._types.get(topic) if record is None else checked_type(record)
        if known is not None:
            return known
        if topic in DEFAULT_TOPICS:
            return builtin_type(DEFAULT_TOPICS[topic][0])
        publishers = self.inspect(topic)["publishers"]
        whole = [info for info in publishers if not info["damaged"]]
        for info in sorted(whole, key=lambda info: not info["alive"]):
            return RecordType.parse(info["type"])
        raise errors.make(
            "record_mismatch",
            f"the topic {topic} has no publisher yet that would say what its records are",
            hint="pass record=, or register() the topic",
            topic=topic,
        )

    def publisher(
        self,
        topic: str,
        name: str = "publisher",
        *,
        record: RecordType | None = None,
        ring_bytes: int | None = None,
        first_sequence: int = 1,
        orphan_after: float = 60.0,
        publishers_max: int = 10,
        wal: str | os.PathLike[str] | None = None,
        sync: Literal["none", "interval", "always"] = "interval",
        core: int | None = None,
    ) -> Publisher:
        """A publisher; it takes over from a dead one of its name, whose sequence goes on.

        Args:
            topic: letters, digits, ``_``, ``-`` and ``.``.
            name: of the publisher, at most 16 bytes; one of a name lives at a time.
            record: what it sends; see :meth:`record_type` for the default.
            ring_bytes: at most so much for the records; None: the topic's default.
            first_sequence: of the first message, when nobody of this name was here before; not
                with ``wal``, whose numbers it would contradict.
            orphan_after: seconds after which segments of dead publishers are removed.
            publishers_max: of this topic.
            wal: a folder for logs; records are in the log of this topic and publisher before they
                are shown, and its numbers are their sequence.
            sync: of the log: what a power cut may take. ``always`` waits for the disk.
            core: the calling thread, which is to publish, stays on this core from now on.

        Raises:
            OptionError: ``first_sequence`` with ``wal``.
            EngineError: ``core_unavailable``.
            PublisherExistsError: one of this name lives.
            RecordTypeError: living publishers of the topic send other records.
            BusError: no room in the shared memory, or too many publishers.
        """
        check_role(name, core)
        choice(sync, "sync", SYNC_MODES)
        if core is not None:
            _core.pin_thread(core)
        if wal is not None:
            from klineagg.bus.logged import LoggedPublisher, check_first

            check_first(first_sequence)
            return LoggedPublisher(
                (self._path, self._group),
                topic,
                name,
                self.record_type(topic, record),
                wal=wal,
                sync=sync,
                ring_bytes=ring_bytes,
                orphan_after=orphan_after,
                publishers_max=publishers_max,
            )
        return Publisher(
            (self._path, self._group),
            topic,
            name,
            self.record_type(topic, record),
            ring_bytes=ring_bytes,
            first_sequence=first_sequence,
            orphan_after=orphan_after,
            publishers_max=publishers_max,
        )

    def subscriber(
        self,
        topic: str,
        name: str = "subscriber",
        *,
        record: RecordType | None = None,
        wait: Wait = "park",
        start: Start = "latest",
        positions: Mapping[str, int] | None = None,
        core: int | None = None,
    ) -> Subscriber:
        """A real-time subscriber to all publishers of a topic.

        Args:
            topic: need not have a publisher yet.
            name: shown to others, at most 16 bytes; need not be unique.
            record: what is received; see :meth:`record_type` for the default.
            wait: ``spin`` answers at once and uses a core to the full, ``backoff`` sleeps for up
                to half a millisecond, ``park`` sleeps until it is called.
            start: ``latest``: what is published from now on; ``oldest``: with what is still there.
            positions: publisher -> next sequence wanted, see :attr:`Subscriber.positions`.
            core: the calling thread, which is to receive, stays on this core from now on, and so
                does the one that waits for asyncio.

        Raises:
            EngineError: ``core_unavailable``.
            RecordTypeError: the publishers send other records.
            BusError: ``resume_ahead``: a publisher has never come to its position; of one that
                comes later :meth:`Subscriber.receive` says so, and then goes on with its first.
        """
        check_role(name, core, wait)
        subscriber = Subscriber(
            (self._path, self._group),
            topic,
            name,
            self.record_type(topic, record),
            wait=wait,
            start=start,
            positions=positions,
        )
        subscriber._pin(core)
        return subscriber

    def delayed(
        self,
        topic: str,
        name: str = "subscriber",
        *,
        batch_size: int = 1024,
        interval: float = 0.1,
        conflate: str | None = None,
        **options: Any,
    ) -> DelayedSubscriber:
        """A subscriber in batches: ``batch_size`` records, or what came within ``interval``.

        Args:
            topic: as of :meth:`subscriber`.
            name: as of :meth:`subscriber`.
            batch_size: records of a batch at most.
            interval: seconds from the first record of a batch on.
            conflate: a field; of each of its values only the latest record is kept.
            options: those of :meth:`subscriber`.
        """
        from klineagg.bus.delayed import DelayedSubscriber

        subscriber = self.subscriber(topic, name, **options)
        return DelayedSubscriber(
            subscriber, batch_size=batch_size, interval=interval, conflate=conflate
        )

    def reliable_publisher(
        self, topic: str, name: str = "publisher", **options: Any
    ) -> ReliablePublisher:
        """A publisher that knows of each message whether it has arrived.

        Args:
            topic: as of :meth:`publisher`.
            name: as of :meth:`publisher`.
            options: those of :class:`klineagg.bus.ReliablePublisher`.
        """
        from klineagg.bus.reliable import ReliablePublisher

        return ReliablePublisher(self, topic, name, **options)

    def reliable_subscriber(
        self, topic: str, name: str = "subscriber", **options: Any
    ) -> ReliableSubscriber:
        """A subscriber that acknowledges what it receives.

        Args:
            topic: as of :meth:`subscriber`.
            name: by which publishers know it; one of a name lives at a time.
            options: those of :class:`klineagg.bus.ReliableSubscriber`.
        """
        from klineagg.bus.reliable_subscriber import ReliableSubscriber

        return ReliableSubscriber(self, topic, name, **options)

    def history(
        self, topic: str, wal: str | os.PathLike[str], *, record: RecordType | None = None
    ) -> LogHistory:
        """What the publishers of a topic have in their logs.

        Args:
            topic: the topic.
            wal: the folder that the publishers were given.
            record: what the records are; see :meth:`record_type` for the default.

        Raises:
            WalError: ``wal_io``: there is no such folder.
        """
        from klineagg.bus.logged import LogHistory

        return LogHistory(topic, wal, self.record_type(topic, record))

    def monitor(self, **options: Any) -> Monitor:
        """Watches the publishers' health; options: those of :class:`klineagg.bus.Monitor`."""
        from klineagg.bus.health import Monitor

        return Monitor(self, **options)
