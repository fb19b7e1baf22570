"""What an engine writes into its log beside trades, as values with names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

__all__ = ["CORRECTION_MARK", "WalEvent", "event_of"]

CORRECTION_MARK: Final = b"klineagg.correction\x00"
"""Begins the record of what was done to a trade; JSON follows."""

_TIMES: Final = frozenset({"watermark", "clock", "start", "end"})
_DURATIONS: Final = frozenset({"lateness", "amend_horizon"})


@dataclass(frozen=True, slots=True)
class WalEvent:
    """A record of an engine that is no trade.

    ==========  ====================================================================
    kind        values
    ==========  ====================================================================
    begin       ``epoch`` of its snapshots: an engine begins to write
    rules       ``intervals``, ``lateness``, ``amend_horizon`` (None: no bound), ``gaps``
    symbol      ``symbol``, ``price`` that seeds it, ``start`` of its coverage
    removed     ``symbol``, ``open_bars_too``
    clock       ``watermark`` that all symbols reach, ``clock`` where a simulated one is
    hole        ``start``, ``end``, ``symbols``: trades between were dropped
    cancel      ``symbol``, ``source``, ``trade_id``: a trade does not count any more
    correct     the same, and ``instead``: the values that it has now
    corrected   ``symbol``, ``bars`` that were replaced, ``marked`` ones (INCOMPLETE)
    note        ``note``: bytes of the application, as the place in a source
    ==========  ====================================================================

    Attributes:
        kind: see above.
        values: by name. Times are datetime64[ns] UTC, durations timedelta64[ns], None: not given;
            bars are pairs of an interval's name and an open time.
    """

    kind: str
    values: Mapping[str, Any]


def event_of(
    told: tuple[str, Mapping[str, Any]] | None, topic: str, data: bytes
) -> WalEvent | None:
    """The event that a record is.

    Args:
        told: what the core makes of it.
        topic: of the record.
        data: its bytes.
    """
    if told is not None:
        return WalEvent(told[0], {name: _value(name, value) for name, value in told[1].items()})
    if topic == "application" and data.startswith(CORRECTION_MARK):
        return _correction(data[len(CORRECTION_MARK) :])
    return None


def _value(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in _TIMES:
        return np.datetime64(value, "ns")
    if name in _DURATIONS:
        return np.timedelta64(value, "ns")
    if name in ("bars", "marked"):
        return tuple((interval, np.datetime64(ns, "ns")) for interval, ns in value)
    return tuple(value) if isinstance(value, list) else value


def _correction(data: bytes) -> WalEvent | None:
    try:
        change = json.loads(data)
        values = {"symbol": change["symbol"], "source": change["source"], "trade_id": change["id"]}
        instead = change["instead"]
    except (ValueError, KeyError, TypeError):  # bytes of somebody else that begin alike
        return None
    if instead is None:
        return WalEvent("cancel", values)
    if "time" in instead:
        instead = {**instead, "time": np.datetime64(instead["time"], "ns")}
    return WalEvent("correct", {**values, "instead": instead})
