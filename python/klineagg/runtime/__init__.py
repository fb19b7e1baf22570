"""A running engine: control socket, snapshots for other processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from klineagg.runtime.control import Client
    from klineagg.runtime.remote import RemoteHost
    from klineagg.runtime.sharing import MappedSnapshot

__all__ = ["Client", "MappedSnapshot", "RemoteHost"]

_HOMES = {"Client": "control", "MappedSnapshot": "sharing", "RemoteHost": "remote"}


def __getattr__(name: str) -> Any:
    # Loaded when used: a client needs neither the lake nor Huey.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
