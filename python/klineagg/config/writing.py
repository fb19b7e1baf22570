"""The configuration as a file: every key, its default, and a comment that says what it is."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from klineagg.config.sections import SECTIONS, Config

__all__ = ["default_text", "text_of"]

_HEAD: Final = """\
# The configuration of `klineagg run` and `klineagg worker`. All keys are here, with their defaults.
# Keys marked with * are taken over by a running engine when this file is saved; others at its next
# start. Paths are relative to this file. Check it with: klineagg config check FILE
"""


def default_text() -> str:
    """The file that ``klineagg config init`` writes."""
    return text_of(Config())


def text_of(config: Config) -> str:
    """A file that reads as ``config``."""
    parts = [_HEAD]
    for section, kind in SECTIONS.items():
        summary = (kind.__doc__ or "").replace("``", "`")
        lines = [f"\n[{section}]  # {summary}"]
        for each in fields(kind):
            mark = "*" if each.metadata["live"] else " "
            lines.append(f"#{mark} {each.metadata['doc']}")
            lines.append(f"{each.name} = {_toml(getattr(getattr(config, section), each.name))}")
        parts.append("\n".join(lines) + "\n")
    return "".join(parts)


def _toml(value: Any) -> str:
    if value is None:
        return '"none"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (str, Path)):
        return _quoted(str(value))
    if isinstance(value, dict):
        inside = ", ".join(f"{_quoted(key)} = {_toml(each)}" for key, each in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    return "[" + ", ".join(_toml(each) for each in value) + "]"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in escaped) + '"'
