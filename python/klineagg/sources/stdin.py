"""Trades from standard input, as CSV or as JSON lines."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from typing import Any, Final

from klineagg import errors
from klineagg.io.roles import Wanted
from klineagg.sources.base import Batch, Source
from klineagg.sources.lines import Lines, make_lines

__all__ = ["StdinSource"]

_READ_BYTES: Final = 1 << 20
_POLL_S: Final = 0.1
_PACKED: Final = (b"\x1f\x8b", b"PK\x03\x04", b"\x28\xb5\x2f\xfd", b"PAR1", b"ARROW1")


class StdinSource(Source):
    """A pipe: what has come is handed on at once; it cannot be read again.

    Args:
        wanted: what the user says about the columns.
        format: ``"csv"``, or ``"jsonl"``: an object on each line, whose keys are the columns.
        file: descriptor to read from; None: standard input.

    Raises:
        SourceError: ``source_failed``: standard input is closed.
    """

    def __init__(self, wanted: Wanted, *, format: str = "csv", file: int | None = None) -> None:
        super().__init__()
        self._file = _stdin() if file is None else file
        self._lines: Lines = make_lines(format, "<stdin>", wanted, self)
        self._rows = 0

    def batches(self) -> Iterator[Batch | None]:
        """Rows as their lines are complete; ends with the input."""
        begun = False
        rest = b""
        while not self._stopping:
            ready, _, _ = select.select([self._file], [], [], _POLL_S)
            if not ready:
                yield None
                continue
            try:
                data = os.read(self._file, _READ_BYTES)
            except OSError as error:
                text = f"standard input cannot be read: {error.strerror or error}"
                raise errors.make("source_failed", text) from error
            if data and not begun:
                begun = True
                _refuse_packed(data)
            rest += data
            end = rest.rfind(b"\n") + 1 if data else len(rest)
            whole, rest = rest[:end], rest[end:]
            for columns, rows in self._lines.feed(whole, final=not data):
                yield Batch(columns, rows)
            if not data:
                return

    @property
    def idle_s(self) -> float:
        """It has waited itself."""
        return 0.0

    def done(self, batch: Batch) -> None:
        """The batch was taken over."""
        self._rows += batch.rows

    def position(self) -> dict[str, Any] | None:
        """None: what was read is gone."""
        return None

    def describe(self) -> dict[str, Any]:
        """Rows so far."""
        return {"rows": self._rows, "faults": dict(self.faults)}


def _stdin() -> int:
    try:
        if sys.stdin is not None:  # it is None in a process that was started with it closed
            return sys.stdin.fileno()
    except (OSError, ValueError):  # no file, or closed since
        pass
    text = "standard input is closed"
    hint = "pipe the trades into it, or use a source of kind file"
    raise errors.make("source_failed", text, hint=hint)


def _refuse_packed(data: bytes) -> None:
    if data.startswith(_PACKED):
        text = "standard input is packed or binary"
        hint = "unpack it on the way, for example with zcat, or use a source of kind file"
        raise errors.make("source_failed", text, hint=hint)
