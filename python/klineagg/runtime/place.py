"""The place in the source, beside the log, for a start at which the lake cannot be asked.

The lake has it with each commit, and the log with each batch. But the log is given up to what the
lake has, and when nothing has come since, the last note went with that.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from klineagg import errors

if TYPE_CHECKING:
    from klineagg.config import Config
    from klineagg.wal import Wal

__all__ = ["Place", "PlaceFile"]

_NAME: Final = "place.json"
_log: Final = logging.getLogger("klineagg.run")


@dataclass(frozen=True, slots=True)
class Place:
    """What was kept.

    Attributes:
        log: id of the log that it belongs to.
        position: where the source is to be read on behind the log's checkpoint; None for a source
            that cannot be read again.
    """

    log: str
    position: dict[str, Any] | None


class PlaceFile:
    """A file beside the log, replaced as a whole: a crash leaves the old place or the new one."""

    def __init__(self, config: Config) -> None:
        self._path = os.path.join(config.at(config.wal.path), _NAME)
        self._kept: Place | None = None
        self._guard = threading.Lock()

    def keep(self, wal: Wal, position: dict[str, Any] | None) -> None:
        """On the disk when it returns, or no place is: an old one would have trades read again.

        To be called before the log is told that what lies before may go. A full disk does not stop
        that: it may be what makes room.

        Raises:
            WalError: ``wal_io``: an old place cannot be removed.
        """
        place = Place(wal.id, position)
        with self._guard:
            if place == self._kept:
                return
            self._kept = None
            try:
                self._write(place)
                self._kept = place
            except OSError as error:
                _log.warning(
                    "%s cannot be written: %s; a run could not begin without its lake now",
                    self._path, error.strerror or error,
                )  # fmt: skip
                self._remove()

    def _write(self, place: Place) -> None:
        text = json.dumps({"log": place.log, "position": place.position})
        new = f"{self._path}.new"
        with open(new, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self._path)
        _sync_folder(self._path)

    def _remove(self) -> None:
        try:
            with suppress(FileNotFoundError):
                os.unlink(self._path)
            _sync_folder(self._path)
        except OSError as error:
            reason = error.strerror or str(error)
            raise errors.make("wal_io", f"{self._path} cannot be removed: {reason}") from error

    def load(self) -> Place | None:
        """What was kept; None: nothing, or nothing that can be read."""
        with suppress(FileNotFoundError):
            try:
                with open(self._path, encoding="utf-8") as file:
                    found = json.load(file)
                return Place(str(found["log"]), found["position"])
            except FileNotFoundError:
                raise
            except (OSError, ValueError, KeyError, TypeError) as error:
                _log.error("%s cannot be read: %s", self._path, error)
        return None


def _sync_folder(path: str) -> None:
    descriptor = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
