"""The standard streams of the process, where whoever started it has closed some."""

from __future__ import annotations

import io
import os
import sys
from typing import Final

from klineagg import errors

__all__ = ["keep_places", "refuse_output"]

_STANDARD_ERROR: Final = 2


def keep_places() -> None:
    """Opens nothing in the place of what is closed.

    A file that is opened later would take the number of a closed stream, and with it what any
    library writes to standard error. Python itself would print to standard output what is meant
    for a standard error that is None.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= _STANDARD_ERROR:
        pass
    os.close(number)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the end


def refuse_output() -> None:
    """Makes writing to a closed standard output an error; printing to None would lose a result."""
    if sys.stdout is None:
        sys.stdout = _Closed()


class _Closed(io.TextIOBase):
    """Standard output that is closed: writing to it is an error, not writing is none."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of what would be written."""
        return "utf-8"

    def writable(self) -> bool:
        """True, as of a stream that can fail."""
        return True

    def write(self, text: str) -> int:
        """Refuses.

        Raises:
            FileError: ``file_not_written``, always.
        """
        raise errors.make("file_not_written", "standard output is closed", hint="")
