"""A run and its lake, which may be away when the run begins."""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from klineagg import _core, errors
from klineagg.lake.state import all_fences
from klineagg.runtime.host import unpack_state
from klineagg.runtime.place import Place, PlaceFile
from klineagg.runtime.setup import (
    CONSUMER,
    another_lake,
    claim,
    engine_that_goes_on,
    make_engine,
    revised,
)

if TYPE_CHECKING:
    from klineagg.config import Config
    from klineagg.engine import Engine
    from klineagg.lake import Lake
    from klineagg.wal import Wal

__all__ = ["LakeLink"]

# Not with every task of persistence, of which there may be many in a second.
_AGAIN_S: Final = 1.0
_AWAY: Final = ("lake_catalog", "lake_commit", "lake_busy")
_log: Final = logging.getLogger("klineagg.run")


class LakeLink:
    """Begins with the lake, or without it, and has the lake join when it is there.

    A log that was stored from has all that an engine needs to go on: the checkpoint beside it, its
    records behind that, and the place in the source. What the lake alone knows (that it is this
    log's, how far it has come, and who else has revised its bars) is asked when it can be, before
    anything is written to it. What an engine hands out again by then, the lake may have already: it
    is the same to the last bit, and changes nothing.

    Args:
        lake: opened lazily.
        config: of the run.

    Attributes:
        error: why the lake has not joined; None: it has.
        refusal: it never will join this engine.
    """

    def __init__(self, lake: Lake, config: Config) -> None:
        self._lake, self._config = lake, config
        self._found: tuple[dict[str, Any] | None, bytes] | None = None
        self._revisions: Any = ()
        self._place: Place | None = None
        self._log_id, self._log_end = "", 0
        self._guard = threading.Lock()
        self._next = 0.0
        self.error: errors.KlineaggError | None = None
        self.refusal: errors.KlineaggError | None = None

    def claim(self) -> None:
        """Keeps earlier engines out of the lake, and asks where the last one was.

        Raises:
            LakeError, LakeBusyError: it is away, and there is no log that could do without it.
            SourceError: ``source_failed``: it holds a damaged state.
        """
        try:
            self._found = claim(self._lake, self._config)
            self._revisions = revised(self._lake, self._config)
        except (errors.LakeError, errors.LakeBusyError) as error:
            if error.name not in _AWAY or self._config.wal.fsync == "off":
                raise
            self._place = PlaceFile(self._config).load()
            if self._place is None:  # nobody knows whether that lake has bars of other engines
                raise
            self.error = error

    def engine(self, wal: Wal | None) -> tuple[Engine, dict[str, Any] | None]:
        """The engine where the last one was, and where its source is to be read on.

        Raises:
            ControlError: ``control_refused``: the log is not that of this lake.
            LakeError, LakeBusyError: the lake is away, and this is not the log that it had.
            EngineError, WalError: it cannot go on.
        """
        if self.error is None:
            return engine_that_goes_on(self._config, wal, self._found, self._revisions)
        assert wal is not None and self._place is not None
        if self._place.log != wal.id:
            raise self.error
        _log.error("the lake is away: %s", self.error.message)
        engine = make_engine(self._config, wal)
        recovery = engine.recovery
        assert recovery is not None
        if recovery.missing:  # what the lake has is better than bars that are INCOMPLETE
            raise self.error
        _log.warning(
            "goes on from the checkpoint beside the log, at record %d; bars are stored when the "
            "lake is there", recovery.checkpoint,
        )  # fmt: skip
        self._log_id, self._log_end = wal.id, recovery.position
        if recovery.note is not None:
            return engine, json.loads(recovery.note)
        return engine, self._place.position

    def join(self) -> Lake:
        """The lake, for who writes to it.

        Raises:
            LakeError, LakeBusyError: it is away still.
            ControlError: ``control_refused``: what it holds does not go with this engine.
        """
        if self.error is None:
            return self._lake
        with self._guard:
            if self.error is None:
                return self._lake
            if self.refusal is not None or time.monotonic() < self._next:
                raise self.error.with_traceback(None)
            try:
                self._check()
            except (errors.LakeError, errors.LakeBusyError) as error:
                self.error = error
                self._next = time.monotonic() + _AGAIN_S
                raise
            except errors.KlineaggError as error:
                self.error = self.refusal = error
                raise
            self.error = None
            _log.info("the lake is there")
        return self._lake

    def _check(self) -> None:
        """Raises when the lake's bars and those of this engine are not of one piece."""
        found = self._lake.checkpoint(CONSUMER)
        place = None if found is None else _core.checkpoint_place(unpack_state(found[0])[1])
        if place is None or place[0] != self._log_id:
            raise another_lake(self._config)
        if place[1] > self._log_end:
            text = (
                f"the lake is ahead of the log: it has what was accepted up to record {place[1]}, "
                f"and when this engine began the log ended at {self._log_end}"
            )
            hint = (
                "move the log's folder away and start again: the engine begins with the lake's "
                "state, and reads its source on from there"
            )
            raise errors.make("control_refused", text, hint=hint)
        fences = all_fences(self._lake)
        since = fences[CONSUMER].epoch
        others = any(fence.epoch > since for name, fence in fences.items() if name != CONSUMER)
        if others and revised(self._lake, self._config):
            text = (
                "the lake's bars were repaired while no engine ran, of which this one, begun while "
                "the lake was away, does not know"
            )
            hint = "start it again, now that the lake is there; nothing is lost"
            raise errors.make("control_refused", text, hint=hint)
