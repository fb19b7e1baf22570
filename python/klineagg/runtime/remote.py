"""An engine in another process, as a source of snapshots."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from klineagg import errors
from klineagg._engine_snapshot import SnapshotId
from klineagg.runtime.control import Client
from klineagg.runtime.sharing import MappedSnapshot, map_snapshot

__all__ = ["RemoteHost"]


class RemoteHost:
    """An engine in another process, as a source of snapshots; from any thread.

    It connects when it is first asked, and again after the engine was gone.

    Args:
        path: of the engine's control socket.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._client: Client | None = None
        self._guard = threading.Lock()

    def freeze(self, consumer: str, *, checkpoint: bool) -> tuple[MappedSnapshot, bytes | None]:
        """A snapshot in the engine's memory, mapped; and the state at its moment, if asked for.

        Raises:
            ControlError: ``control_unavailable``, ``control_refused``.
            SnapshotError: ``snapshot_outstanding``: another worker has it.
        """
        message, files = self._ask(
            "take", consumer=consumer, checkpoint=checkpoint, process=os.getpid()
        )
        snapshot = map_snapshot(consumer, message, files, self._settle)
        return snapshot, snapshot.checkpoint

    def mark(self) -> list[Any] | None:
        """Changes with everything that a snapshot may show.

        Raises:
            ControlError: ``control_unavailable``, ``control_refused``.
        """
        found: list[Any] | None = self._ask("mark")[0]["mark"]
        return found

    def stored(self, snapshot: MappedSnapshot) -> None:
        """Nothing to do here: the engine's process keeps the place when it hears of the ack."""

    def status(self) -> dict[str, Any]:
        """How the engine is doing."""
        return self._ask("status")[0]

    def close(self) -> None:
        """Ends the connection."""
        with self._guard:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _settle(self, how: str, number: SnapshotId) -> None:
        self._ask(how, id=list(number))

    def _ask(self, op: str, **values: Any) -> tuple[dict[str, Any], list[int]]:
        with self._guard:
            if self._client is None:
                self._client = Client(self._path)
            client = self._client
        try:
            return client.request(op, **values)
        except errors.ControlError as error:
            if error.name == "control_unavailable":
                with self._guard:
                    if self._client is client:
                        self._client = None
            raise
