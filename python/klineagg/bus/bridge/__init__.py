"""The bridge: topics of one machine on the bus of another one, over TCP."""

from __future__ import annotations

from klineagg.bus.bridge.client import BridgeClient
from klineagg.bus.bridge.security import Security
from klineagg.bus.bridge.server import BridgeServer

__all__ = ["BridgeClient", "BridgeServer", "Security"]
