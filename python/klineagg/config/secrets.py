"""Values from the environment, which no message and no log ever shows."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final

from klineagg import errors

__all__ = ["expand", "scrub"]

_NAME: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_HIDDEN: Final = "***"

# Values that were handed out; whatever is logged later is searched for them.
_known: set[str] = set()


def expand(text: str, key: str, environment: Mapping[str, str] | None = None) -> str:
    """``text`` with each ``${NAME}`` replaced by the environment's value of it.

    Args:
        text: of the configuration.
        key: which one, for the error.
        environment: None: that of the process.

    Raises:
        ConfigError: ``config_invalid`` when there is no such variable, or a ``${`` is not closed.
    """
    variables = os.environ if environment is None else environment

    def value_of(match: re.Match[str]) -> str:
        value = variables.get(match[1])
        if value is None:
            reason = f"the environment has no variable {match[1]}"
            hint = f"set it where this runs: export {match[1]}=..."
            text = f"{key}: {reason}"
            raise errors.make("config_invalid", text, hint=hint, key=key, reason=reason)
        if value:
            _known.add(value)
        return value

    if "${" in _NAME.sub("", text):  # of the text alone: a value may have anything in it
        reason = "it has a ${ that names no variable"
        hint = "write ${NAME}, of letters, digits and _"
        raise errors.make("config_invalid", f"{key}: {reason}", hint=hint, key=key, reason=reason)
    return _NAME.sub(value_of, text)


def scrub(text: str) -> str:
    """``text`` without any value that :func:`expand` has handed out."""
    for value in sorted(_known, key=len, reverse=True):
        text = text.replace(value, _HIDDEN)
    return text
