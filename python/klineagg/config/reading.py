"""A configuration file into a checked configuration, or into errors that name their line."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from klineagg import errors
from klineagg.config.sections import SECTIONS, Config

__all__ = ["invalid_key", "key_lines", "lines_of", "load", "loads"]

_HEADER: Final = re.compile(r"\s*\[\s*([A-Za-z0-9_.\"'-]+)\s*\]\s*(?:#.*)?$")
_KEY: Final = re.compile(r"\s*([A-Za-z0-9_.\"'-]+)\s*=")
_AT: Final = re.compile(r"\(at (?:line (\d+), column \d+|end of document)\)")


def load(path: str | os.PathLike[str]) -> Config:
    """Reads and checks a configuration file.

    Raises:
        ConfigError: ``config_invalid``; ``fields`` has ``file``, ``line``, ``key`` and ``reason``.
        FileError: ``file_not_found``.
    """
    target = Path(path)
    try:
        data = target.read_bytes()
    except OSError as error:
        text = f"{target} cannot be read: {error.strerror or error}"
        raise errors.make("file_not_found", text, file=str(target)) from error
    try:
        return loads(data.decode("utf-8"), target)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _invalid(target, line, "", "the file is not UTF-8 text") from error


def loads(text: str, path: Path | None = None) -> Config:
    """Checks the text of a configuration; ``path`` is where it is from.

    Raises:
        ConfigError: ``config_invalid``, as in :func:`load`.
    """
    tables = _parse(text, path)
    lines = key_lines(text)
    sections: dict[str, Any] = {}
    for section, values in tables.items():
        kind = SECTIONS.get(section)
        line = lines.get(section, 1)
        if kind is None:
            raise _invalid(path, line, section, "there is no such section" + _near(section))
        if not isinstance(values, Mapping):
            raise _invalid(path, line, section, f"it has to be a section: [{section}]")
        sections[section] = _section(kind, section, values, lines, path)
    config = Config(**sections, path=path)
    _check_together(config, lines)
    return config


def _parse(text: str, path: Path | None) -> dict[str, Any]:
    try:
        import tomllib
    except ImportError:  # before Python 3.11
        from klineagg._bars_extras import require

        tomllib = require("tomli", "run", "a configuration file")
    try:
        return dict(tomllib.loads(text))
    except ValueError as error:  # tomllib.TOMLDecodeError is one
        match = _AT.search(str(error))
        line = int(match[1]) if match and match[1] else text.count("\n") + 1
        reason = str(error)[: match.start()].strip() if match else str(error)
        raise _invalid(path, line, "", f"it is not TOML: {reason}") from error


def key_lines(text: str) -> dict[str, int]:
    """``"section"`` and ``"section.key"`` -> the line that they stand on, from 1."""
    out: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        header = _HEADER.match(line)
        if header:
            section = _bare(header[1])
            out.setdefault(section, number)
            continue
        key = _KEY.match(line)
        if key:
            whole = f"{section}.{_bare(key[1])}" if section else _bare(key[1])
            parts = whole.split(".")
            for end in range(1, len(parts) + 1):
                out.setdefault(".".join(parts[:end]), number)
    return out


def _bare(key: str) -> str:
    return key.replace('"', "").replace("'", "")


def _section(
    kind: Any, section: str, values: Mapping[str, Any], lines: Mapping[str, int], path: Path | None
) -> Any:
    known = {each.name: each for each in fields(kind)}
    found: dict[str, Any] = {}
    for key, value in values.items():
        whole = f"{section}.{key}"
        line = lines.get(whole, lines.get(section, 1))
        if key not in known:
            reason = f"[{section}] has no such key" + _near(key, *known)
            raise _invalid(path, line, whole, reason)
        try:
            found[key] = known[key].metadata["check"](value)
        except ValueError as error:
            raise _invalid(path, line, whole, f"{error}, not {_shown(value)}") from error
    return kind(**found)


def _check_together(config: Config, lines: Mapping[str, int]) -> None:
    """What single keys cannot tell."""

    def refuse(key: str, reason: str) -> None:
        raise invalid_key(config.path, lines, key, reason)

    engine, source = config.engine, config.source
    if engine.cores and len(engine.cores) != engine.workers:
        refuse("engine.cores", f"it has to name {engine.workers} cores, one for each worker")
    if source.kind != "stdin" and not source.paths:
        refuse("source.paths", f"a source of kind {source.kind!r} needs a path")
    if source.kind == "directory" and len(source.paths) > 1:
        refuse("source.paths", "a followed directory is one folder")
    if source.kind != "stdin" and source.format != "csv":
        refuse("source.format", 'it is for kind = "stdin": other files tell their format')


def _near(word: str, *known: str) -> str:
    near = get_close_matches(word, known or SECTIONS, 1)
    return f"; did you mean {near[0]}?" if near else ""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def lines_of(path: Path | None) -> dict[str, int]:
    """As :func:`key_lines`, of a file that was read before; empty when it has gone."""
    try:
        return {} if path is None else key_lines(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def invalid_key(
    path: Path | None,
    lines: Mapping[str, int],
    key: str,
    reason: str,
    hint: str | None = None,
    **fields: Any,
) -> errors.KlineaggError:
    """The error for a key whose value cannot be used."""
    line = lines.get(key, lines.get(key.partition(".")[0], 1))
    return _invalid(path, line, key, reason, hint, **fields)


def _invalid(
    path: Path | None, line: int, key: str, reason: str, hint: str | None = None, **fields: Any
) -> errors.KlineaggError:
    where = f"{'configuration' if path is None else path}:{line}"
    text = f"{where}: {key}: {reason}" if key else f"{where}: {reason}"
    about = {"file": str(path or ""), "line": line, "key": key, "reason": reason, **fields}
    return errors.make("config_invalid", text, hint=hint, **about)
