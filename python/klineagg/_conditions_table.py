"""The form of a table of conditions; see :mod:`klineagg.conditions`."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from klineagg import errors

__all__ = [
    "ALL",
    "NOTHING",
    "NOT_LAST",
    "UNKNOWN",
    "VOLUME_ONLY",
    "Condition",
    "ConditionTable",
    "TradeFlag",
    "codes_of",
]


class TradeFlag(enum.IntFlag):
    """What a trade does not count for; 0: it counts for all."""

    NO_OPEN_CLOSE = 1
    """Sets neither open nor close."""
    NO_HIGH_LOW = 2
    """Sets neither high nor low."""
    NO_VOLUME = 4
    """Adds nothing to the volumes; it still counts as a trade."""
    CANCEL = 8
    """No trade: takes an earlier one with the same id out of its bars; live engines only."""
    CORRECT = 16
    """No trade: gives an earlier one with the same id these values; live engines only."""


class Condition(NamedTuple):
    """What a code means and what a trade with it does not count for."""

    meaning: str
    flags: TradeFlag


ALL: Final = TradeFlag(0)
VOLUME_ONLY: Final = TradeFlag.NO_OPEN_CLOSE | TradeFlag.NO_HIGH_LOW
NOT_LAST: Final = TradeFlag.NO_OPEN_CLOSE
NOTHING: Final = VOLUME_ONLY | TradeFlag.NO_VOLUME
UNKNOWN: Final = 255  # marks a code that the table does not have


@dataclass(frozen=True, slots=True)
class ConditionTable:
    """Codes of a feed and what they exclude a trade from.

    Attributes:
        name: what ``conditions=`` may say.
        title: what the codes are.
        source: the public document that the table states.
        codes: code -> :class:`Condition`.
        per_character: whether a text such as ``"@ TI"`` is several codes of one character each,
            with blanks between. Otherwise a text is one code, in any case.
        unknown: flags of a code that is not in the table; ``None``: such a code is an error.

    A trade with several codes is excluded from whatever any of them excludes it from. A missing or
    empty value is a trade without a mark: it counts for all.
    """

    name: str
    title: str
    source: str
    codes: Mapping[str, Condition] = field(repr=False)
    per_character: bool = False
    unknown: TradeFlag | None = None

    def flags_of(self, text: str) -> TradeFlag:
        """The flags of one value, for example ``US_UTP.flags_of("@ TI")``.

        Raises:
            ColumnError: ``column_type`` for a code that the table does not have.
        """
        flags = self.bits_of(text)
        if flags == UNKNOWN:
            raise self.bad_code(text, None)
        return TradeFlag(flags)

    def with_unknown(self, flags: int) -> ConditionTable:
        """The table with ``flags`` for every code that it does not have (0: counts for all)."""
        return replace(self, unknown=TradeFlag(flags))

    def with_flags(self, codes: Mapping[str, int]) -> ConditionTable:
        """The table with other flags for some codes, or with new codes.

        For bars of the extended hours, say, ``US_UTP.with_flags({"T": 0, "U": 1})``.
        """
        changed = dict(self.codes)
        for code, flags in codes.items():
            key = code if self.per_character else code.lower()
            meaning = changed[key].meaning if key in changed else "defined by the user"
            changed[key] = Condition(meaning, TradeFlag(flags))
        return replace(self, codes=MappingProxyType(changed))

    def bits_of(self, text: str) -> int:
        """Like :meth:`flags_of`, with ``UNKNOWN`` where that raises."""
        codes = text if self.per_character else [text.strip().lower()]
        flags = 0
        for code in codes:
            if code in (" ", ",", ""):
                continue
            condition = self.codes.get(code)
            if condition is not None:
                flags |= condition.flags
            elif self.unknown is not None:
                flags |= self.unknown
            else:
                return UNKNOWN
        return flags

    def bad_code(self, code: Any, row: int | None) -> errors.KlineaggError:
        """The error for a value with a code that the table does not have."""
        where = "" if row is None else f"row {row}: "
        text = f"{where}{code!r} holds a code that is not in the table {self.name!r} ({self.title})"
        return errors.make(
            "column_type",
            text,
            hint="table.with_unknown(0) lets trades with unknown codes count for all",
            code=code,
            row=row,
            table=self.name,
        )


def codes_of(rows: Mapping[str, tuple[str, TradeFlag]]) -> Mapping[str, Condition]:
    """The codes of a table, read-only."""
    return MappingProxyType({code: Condition(*row) for code, row in rows.items()})
