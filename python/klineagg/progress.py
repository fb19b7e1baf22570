"""A progress bar for long work, where somebody can see it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from klineagg import errors
from klineagg._bars_extras import require
from klineagg.errors import MissingExtraError

__all__ = ["Progress", "ProgressOption", "check_option"]

ProgressOption = bool | Callable[[int, int | None], None] | None

_DELAY_S = 1.0


def check_option(option: ProgressOption) -> ProgressOption:
    """The option as it is.

    Raises:
        OptionError: ``invalid_option`` when it is none of True, False, None and a function.
    """
    if option is None or isinstance(option, bool) or callable(option):
        return option
    text = f"progress={option!r} is not True, False, None or a function"
    raise errors.make("invalid_option", text, option="progress", value=option)


class Progress:
    """Shows how far the work is, with tqdm when it is installed; else does nothing.

    ::

        with Progress(total=rows, desc="aggregate") as progress:
            for chunk in chunks:
                ...
                progress.update(len(chunk))

    Args:
        total: all units of work; None when it is not known.
        option: True: always show (needs tqdm); False: never; None: on a terminal or in a notebook,
            when the work takes longer than a second; a function is called with the units that are
            done and the total, and nothing is shown.
        desc: what is being done.
        unit: what is counted.

    Raises:
        MissingExtraError: ``missing_extra`` when ``option`` is True and tqdm is not installed.
        OptionError: ``invalid_option`` for another ``option``.
    """

    def __init__(
        self,
        total: int | None = None,
        *,
        option: ProgressOption = None,
        desc: str = "",
        unit: str = "trades",
        delay_s: float = _DELAY_S,
    ) -> None:
        self.done = 0
        self.total = total
        check_option(option)
        self._call = option if callable(option) else None
        self._desc = desc
        self._unit = unit
        self._bar: Any = None
        self._show_at: float | None = None
        if option is True:
            self._open(required=True)
        elif option is None and _watched():
            self._show_at = time.monotonic() + delay_s

    def update(self, n: int = 1) -> None:
        """Counts ``n`` more units as done."""
        self.done += n
        if self._call is not None:
            self._call(self.done, self.total)
        elif self._bar is not None:
            self._bar.update(n)
        elif self._show_at is not None and time.monotonic() >= self._show_at:
            # tqdm takes longer to load than most work does, so it is loaded only now.
            self._show_at = None
            self._open(required=False)

    def close(self) -> None:
        """Leaves the bar as it stands; further updates are counted but not shown."""
        self._show_at = None
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self, *, required: bool) -> None:
        try:
            module = require("tqdm.auto", "progress", "progress=True")
        except MissingExtraError:
            if required:
                raise
            return
        self._bar = module.tqdm(
            total=self.total,
            initial=self.done,
            desc=self._desc or None,
            unit=f" {self._unit}",
            unit_scale=True,
            dynamic_ncols=True,
            leave=False,
        )


def _watched() -> bool:
    """Whether somebody looks at standard error: a terminal, or a notebook."""
    isatty = getattr(sys.stderr, "isatty", None)
    if isatty is not None and isatty():
        return True
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"
