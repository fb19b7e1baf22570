"""A configuration file that may change while it is in use."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from klineagg import errors
from klineagg.config.reading import key_lines, load
from klineagg.config.sections import SECTIONS, Config

__all__ = ["Change", "Watcher", "check_live"]


@dataclass(frozen=True)
class Change:
    """What a changed file asks for.

    Attributes:
        config: the new configuration.
        changes: ``"section.key"`` -> (old value, new value).
    """

    config: Config
    changes: dict[str, tuple[Any, Any]]


class Watcher:
    """Looks at a file when asked to; a changed one is read once.

    Args:
        config: what is in use, with its path.
    """

    def __init__(self, config: Config) -> None:
        if config.path is None:
            raise ValueError("a configuration without a file cannot be watched")
        self.current = config
        self._path: Path = config.path
        self._seen = self._mark()

    def look(self) -> Change | None:
        """The change since the last look, None when there is none.

        It is in use only once :meth:`accept` says so.

        Raises:
            ConfigError: ``config_invalid`` or ``config_restart``: told once for each state of the
                file; the old configuration stays.
            FileError: ``file_not_found`` when it is gone.
        """
        mark = self._mark()
        if mark == self._seen:
            return None
        self._seen = mark
        new = load(self._path)
        changes = self.current.changes(new)
        if not changes:
            return None
        check_live(changes, self._path)
        return Change(new, changes)

    def accept(self, change: Change) -> None:
        """The change is in use now."""
        self.current = change.config

    def _mark(self) -> tuple[int, int, int] | None:
        # An editor may write in place or put a new file into its place.
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


def check_live(changes: dict[str, tuple[Any, Any]], path: Path) -> None:
    """Refuses changes of keys that a running engine does not take.

    Raises:
        ConfigError: ``config_restart``, with the line of the first one.
    """
    fixed = [key for key in changes if not _is_live(key)]
    if not fixed:
        return
    try:
        lines = key_lines(path.read_text(encoding="utf-8"))
    except OSError:
        lines = {}
    key = fixed[0]
    line = lines.get(key, lines.get(key.partition(".")[0], 1))
    reason = "it cannot change while running"
    raise errors.make(
        "config_restart",
        f"{path}:{line}: {key}: {reason}",
        file=str(path),
        line=line,
        key=key,
        reason=reason,
        keys=fixed,
    )


def _is_live(key: str) -> bool:
    section, _, name = key.partition(".")
    return bool(SECTIONS[section].__dataclass_fields__[name].metadata["live"])
