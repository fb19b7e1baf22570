"""Optional packages, loaded when they are first needed."""

from __future__ import annotations

import importlib
from typing import Any

from klineagg import errors

__all__ = ["require"]


def require(module: str, extra: str, purpose: str) -> Any:
    """Imports an optional package.

    Args:
        module: what to import.
        extra: the extra of klineagg that brings it.
        purpose: what needs it, for the error.

    Raises:
        MissingExtraError: ``missing_extra`` when it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        # A package that is there but broken has its own, better, reason.
        if error.name is not None and error.name.partition(".")[0] != package:
            raise
        text = f"{purpose} needs the package {package}: {error}"
        hint = f"pip install 'klineagg[{extra}]'"
        raise errors.make("missing_extra", text, hint=hint, extra=extra, module=package) from error
