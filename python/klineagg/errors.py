"""Typed errors with stable codes.

Every error of klineagg is a :class:`KlineaggError`. Its ``code`` never changes its meaning, so
programs may compare it; its text may get better. The table of codes lives in the C++ core.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

__all__ = [
    "BridgeError",
    "BusError",
    "BusNameError",
    "ColumnError",
    "DeliveryError",
    "DeliveryTimeoutError",
    "ConfigError",
    "ControlError",
    "EngineError",
    "FileError",
    "InternalError",
    "IntervalError",
    "KlineaggError",
    "LakeBusyError",
    "LakeError",
    "LakeQueryError",
    "LaneFullError",
    "MissingExtraError",
    "OptionError",
    "OrderError",
    "PublisherExistsError",
    "RecordTypeError",
    "ResultError",
    "SnapshotError",
    "SnapshotTimeoutError",
    "SourceError",
    "TaskError",
    "TimeUnitError",
    "TradeError",
    "WalDamagedError",
    "WalError",
    "WalHaltedError",
    "WalTimeoutError",
    "make",
]


class KlineaggError(Exception):
    """Base of all errors of klineagg.

    Attributes:
        code: stable code, for example ``"KLA-201"``.
        name: stable name of the code, for example ``"missing_column"``.
        hint: what to do about it.
        fields: facts about this occurrence (column, row, value, ...).
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "KLA-901",
        name: str = "internal",
        hint: str = "",
        fields: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.name = name
        self.hint = hint
        self.fields: dict[str, Any] = dict(fields or {})

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        return f"[{self.code} {self.name}] {self.message}{hint}"

    def __reduce__(self) -> tuple[Any, ...]:
        # Without this an error that crosses a process pool arrives as a TypeError.
        return _restore, (type(self), self.message, self.code, self.name, self.hint, self.fields)


def _restore(
    cls: type[KlineaggError],
    message: str,
    code: str,
    name: str,
    hint: str,
    fields: dict[str, Any],
) -> KlineaggError:
    return cls(message, code=code, name=name, hint=hint, fields=fields)


class IntervalError(KlineaggError, ValueError):
    """An interval, a time zone or a session table that cannot be used."""


class OptionError(KlineaggError, ValueError):
    """An argument with a value outside its range, or two that exclude each other."""


class MissingExtraError(KlineaggError, ImportError):
    """An optional dependency is not installed; the hint names the extra."""

    name: str  # the name of the code; ImportError has an attribute of the same name


class ColumnError(KlineaggError, ValueError):
    """The input has the wrong shape: a column is missing, ambiguous or of another type."""


class TimeUnitError(KlineaggError, ValueError):
    """The time stamps do not fit the unit that was given or assumed."""


class TradeError(KlineaggError, ValueError):
    """A trade has a value that cannot be right (NaN, price <= 0, time out of range, ...)."""


class OrderError(KlineaggError, ValueError):
    """Trades came later than the promised order allows."""


class FileError(KlineaggError, OSError):
    """A file is missing, truncated, or not in the expected format."""

    # OSError has a __str__ of its own that would hide code and hint.
    __str__ = KlineaggError.__str__


class ResultError(KlineaggError, ValueError):
    """A result cannot be used as asked (no such series, merge of different intervals)."""


class EngineError(KlineaggError, RuntimeError):
    """A live engine cannot do what it was asked to, as it is or where it is."""


class LaneFullError(KlineaggError, TimeoutError):
    """Trades were not taken: the lanes stayed full for longer than the timeout."""

    # TimeoutError is an OSError, whose __str__ would hide code and hint.
    __str__ = KlineaggError.__str__


class SnapshotError(KlineaggError, RuntimeError):
    """A snapshot cannot be taken or acknowledged now."""


class SnapshotTimeoutError(SnapshotError, TimeoutError):
    """A snapshot was not begun within the timeout: the workers are held up."""

    # TimeoutError is an OSError, whose __str__ would hide code and hint.
    __str__ = KlineaggError.__str__


class WalError(KlineaggError, OSError):
    """A write-ahead log cannot be opened, written or read as asked."""

    # OSError has a __str__ of its own that would hide code and hint.
    __str__ = KlineaggError.__str__


class WalDamagedError(WalError):
    """Bytes inside a log are not what was written; ``fields`` has the records that are lost."""


class WalHaltedError(WalError):
    """A log accepts nothing since its storage failed or its limit was reached; reading goes on."""


class WalTimeoutError(WalError, TimeoutError):
    """A log had no room, or had not written or synced, within the timeout."""

    # TimeoutError is an OSError, whose __str__ would hide code and hint.
    __str__ = KlineaggError.__str__


class BusError(KlineaggError, RuntimeError):
    """The bus cannot do what it was asked to, as it is or where it is."""


class BusNameError(BusError, ValueError):
    """A name that a topic, a publisher or a subscriber cannot have."""


class BridgeError(BusError):
    """The other side of a bridge does not let us in, or what it sends is damaged."""


class PublisherExistsError(BusError):
    """A living publisher of this name holds the topic already."""


class RecordTypeError(BusError, TypeError):
    """A record without a fixed layout, or another one than the topic's."""


class DeliveryError(BusError):
    """A message was not acknowledged by all who had to, after every retry."""


class DeliveryTimeoutError(BusError, TimeoutError):
    """What became of a message was not known within the caller's timeout; it is on its way."""

    # TimeoutError is an OSError, whose __str__ would hide code and hint.
    __str__ = KlineaggError.__str__


class ConfigError(KlineaggError, ValueError):
    """A configuration file has a key or a value that cannot be used; it names file and line."""


class ControlError(KlineaggError, RuntimeError):
    """A running engine cannot be reached, or does not do what it was asked to."""


class SourceError(KlineaggError, RuntimeError):
    """A source of trades cannot go on."""


class TaskError(KlineaggError, ValueError):
    """A task cannot be registered or found."""


class LakeError(KlineaggError, RuntimeError):
    """A lake cannot be opened, read or written as it is."""


class LakeBusyError(LakeError, TimeoutError):
    """Another writer held the lake for longer than the timeout."""

    # TimeoutError is an OSError, whose __str__ would hide code and hint.
    __str__ = KlineaggError.__str__


class LakeQueryError(LakeError, ValueError):
    """A query that a lake cannot or will not answer."""


class InternalError(KlineaggError, RuntimeError):
    """A defect of klineagg itself."""


@lru_cache(maxsize=1)
def _table() -> dict[str, tuple[int, type[KlineaggError], str]]:
    from klineagg import _core

    return {name: (number, globals()[cls], hint) for number, name, cls, hint in _core.error_table()}


def make(error: str, message: str, /, *, hint: str | None = None, **fields: Any) -> KlineaggError:
    """The exception for the stable name ``error``, ready to be raised.

    Args:
        error: a name of the table, for example ``"missing_column"``.
        message: what happened, and where.
        hint: replaces the table's general advice.
        fields: facts that a program may want (column, row, value, ...).
    """
    number, cls, general_hint = _table()[error]
    return cls(
        message,
        code=f"KLA-{number:03d}",
        name=error,
        hint=general_hint if hint is None else hint,
        fields=fields,
    )
