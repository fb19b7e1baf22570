"""What every source of trades can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from klineagg import errors
from klineagg.io.roles import Wanted

if TYPE_CHECKING:
    from klineagg.config import Config

__all__ = ["Batch", "Source", "check_circle", "make", "wanted_of"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Some trades.

    Attributes:
        data: what :meth:`klineagg.Engine.producer`'s ``push`` takes.
        rows: how many.
        mark: for the source: how far it has come with them.
    """

    data: Any
    rows: int
    mark: Any = None


class Source(ABC):
    """A source of trades, read by one thread.

    A batch counts once :meth:`done` was told of it: :meth:`position` is where to read on when all
    batches that were done, and no others, are kept. Rows that are no trades are left out and
    counted by reason.

    Attributes:
        faults: rows and files that could not be read, by reason.
        first_fault: where the first one of this run is, with its text; empty when not known.
        goes_on: some of its rows were taken over by an earlier run.
    """

    def __init__(self) -> None:
        self.faults: dict[str, int] = {}
        self.first_fault = ""
        self.goes_on = False
        self._stopping = False

    @abstractmethod
    def batches(self) -> Iterator[Batch | None]:
        """The trades as they come; None when there are none just now. Ends with the source.

        Raises:
            SourceError: ``source_failed`` when it cannot go on.
        """

    @abstractmethod
    def done(self, batch: Batch) -> None:
        """The batch was taken over."""

    @abstractmethod
    def position(self) -> dict[str, Any] | None:
        """Where to read on, for JSON; None for a source that cannot be read again."""

    @property
    def idle_s(self) -> float:
        """How long to wait after a None."""
        return 0.05

    def stop(self) -> None:
        """Ends :meth:`batches` soon; from any thread."""
        self._stopping = True

    def retime(self, poll_s: float, settle_s: float) -> None:  # noqa: B027 - most do not wait
        """Other times of waiting, while it runs."""

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Lets go of files; after the last batch."""

    def count(self, reason: str, by: int = 1, where: object = "") -> None:
        """Counts rows or files that were left out; ``where`` says where the first of them is."""
        self.first_fault = self.first_fault or str(where)
        self.faults[reason] = self.faults.get(reason, 0) + by

    def describe(self) -> dict[str, Any]:
        """What there is to say about it, for JSON."""
        return {"faults": dict(self.faults)}


def wanted_of(config: Config) -> Wanted:
    """What the configuration says about the columns."""
    source = config.source
    return Wanted(
        preset=source.preset,
        columns=dict(source.columns) or None,
        unit=source.unit,
        symbol=source.symbol,
    )


def check_circle(config: Config) -> None:
    """Refuses to read what the engine itself publishes.

    Raises:
        ConfigError: ``config_invalid``.
    """
    if config.source.topic == config.bus.trades:
        reason = f"the engine publishes to {config.bus.trades} itself ([bus] trades)"
        text = f"source.topic: {reason}"
        raise errors.make("config_invalid", text, key="source.topic", reason=reason)


def make(config: Config, position: dict[str, Any] | None = None) -> Source:
    """The source of a configuration.

    Args:
        config: with its section ``[source]``.
        position: of an earlier run, see :meth:`Source.position`; None: from the beginning.

    Raises:
        SourceError: ``source_failed`` when the position is of another source.
        FileError: ``file_not_found``.
    """
    if config.source.kind == "bus":
        from klineagg.bus import Bus
        from klineagg.sources.topic import TopicSource

        check_circle(config)
        wal = None if config.source.wal is None else config.at(config.source.wal)
        bus = Bus(config.at(config.bus.folder) if config.bus.folder else None)
        return TopicSource(
            bus, config.source.topic, wal=wal, name=config.bus.name, position=position,
            core=config.source.core,
        )  # fmt: skip
    wanted = wanted_of(config)
    if config.source.kind == "stdin":
        from klineagg.sources.stdin import StdinSource

        return StdinSource(wanted, format=config.source.format)
    paths = [config.at(path) for path in config.source.paths]
    if config.source.kind == "file":
        from klineagg.sources.files import FileSource

        return FileSource(paths, wanted, position=position)
    from klineagg.sources.directory import DirectorySource

    return DirectorySource(
        paths[0],
        wanted,
        pattern=config.source.pattern,
        poll_s=config.source.poll_ms / 1e3,
        settle_s=config.source.settle_ms / 1e3,
        position=position,
    )
