"""Sale conditions of the US consolidated tape; see :mod:`klineagg.conditions`."""

from __future__ import annotations

from typing import Final

from klineagg._conditions_table import (
    ALL,
    NOT_LAST,
    NOTHING,
    VOLUME_ONLY,
    ConditionTable,
    TradeFlag,
    codes_of,
)

__all__ = ["US_CTA", "US_UTP"]

US_CTA: Final = ConditionTable(
    name="us_cta",
    title="sale conditions of CTA Tapes A and B",
    source="CTA Plan, CTS Pillar Multicast Output Binary Specification, field Sale Condition: "
    "consolidated update of last, high/low and volume",
    per_character=True,
    codes=codes_of(
        {
            "@": ("regular sale", ALL),
            "B": ("average price trade", VOLUME_ONLY),
            "C": ("cash trade (same-day clearing)", VOLUME_ONLY),
            "E": ("automatic execution", ALL),
            "F": ("intermarket sweep order", ALL),
            "H": ("price variation trade", VOLUME_ONLY),
            "I": ("odd lot trade", VOLUME_ONLY),
            "K": ("rule 127 (NYSE) or rule 155 (NYSE American) trade", ALL),
            "L": ("sold last (late reporting)", NOT_LAST),
            "M": ("market center official close", NOTHING),
            "N": ("next-day trade (no longer in use)", VOLUME_ONLY),
            "O": ("market center opening trade", ALL),
            "P": ("prior reference price", NOT_LAST),
            "Q": ("market center official open", NOTHING),
            "R": ("seller", VOLUME_ONLY),
            "T": ("extended hours trade", VOLUME_ONLY),
            "U": ("extended hours, sold (out of sequence)", VOLUME_ONLY),
            "V": ("contingent trade", VOLUME_ONLY),
            "X": ("cross or periodic auction trade", ALL),
            "Z": ("sold (out of sequence)", NOT_LAST),
            "4": ("derivatively priced", NOT_LAST),
            "5": ("market center reopening trade", ALL),
            "6": ("market center closing trade", ALL),
            "7": ("qualified contingent trade", VOLUME_ONLY),
            "9": ("corrected consolidated close of the listing market", TradeFlag.NO_VOLUME),
        }
    ),
)
"""Sale conditions of the Consolidated Tape System (NYSE-listed, Tape A, and the regional
exchanges, Tape B), by the processor's rules for the *consolidated* last, high, low and volume.

Where the rules let a trade set the last price only if it is the first or only one of the day
(``L``, ``P``, ``Z``, ``4``) it sets neither open nor close here. ``M`` and ``Q`` repeat prints that
were reported on their own, so they count for nothing.
"""

US_UTP: Final = ConditionTable(
    name="us_utp",
    title="sale conditions of UTP Tape C",
    source="UTP Plan, UTP Data Feed Services Specification, UTP Sale Condition Matrix: "
    "consolidated update of high/low and last, and update of volume",
    per_character=True,
    codes=codes_of(
        {
            "@": ("regular sale", ALL),
            "A": ("acquisition", ALL),
            "B": ("bunched trade", ALL),
            "C": ("cash sale", VOLUME_ONLY),
            "D": ("distribution", ALL),
            "F": ("intermarket sweep", ALL),
            "G": ("bunched sold trade", NOT_LAST),
            "H": ("price variation trade", VOLUME_ONLY),
            "I": ("odd lot trade", VOLUME_ONLY),
            "K": ("rule 155 trade", ALL),
            "L": ("sold last", ALL),
            "M": ("market center official close", NOTHING),
            "N": ("next day (no longer in use)", VOLUME_ONLY),
            "O": ("opening prints", ALL),
            "P": ("prior reference price", NOT_LAST),
            "Q": ("market center official open", NOTHING),
            "R": ("seller", VOLUME_ONLY),
            "S": ("split trade", ALL),
            "T": ("form T (extended hours)", VOLUME_ONLY),
            "U": ("extended trading hours (sold out of sequence)", VOLUME_ONLY),
            "V": ("contingent trade", VOLUME_ONLY),
            "W": ("average price trade", VOLUME_ONLY),
            "X": ("cross or periodic auction trade", ALL),
            "Y": ("yellow flag regular trade", ALL),
            "Z": ("sold (out of sequence)", NOT_LAST),
            "1": ("stopped stock (regular trade)", ALL),
            "2": ("stopped stock, sold last (no longer in use)", ALL),
            "3": ("stopped stock, sold out of sequence (no longer in use)", NOT_LAST),
            "4": ("derivatively priced", NOT_LAST),
            "5": ("re-opening prints", ALL),
            "6": ("closing prints", ALL),
            "7": ("qualified contingent trade", VOLUME_ONLY),
            "9": ("corrected consolidated close of the listing market", TradeFlag.NO_VOLUME),
        }
    ),
)
"""Sale conditions of the UTP Trade Data Feed (Nasdaq-listed, Tape C), by the processor's rules for
the *consolidated* high, low and last, and for volume. Letters differ from Tapes A and B: ``B`` is
a bunched trade here and an average price there. ``E`` and ``8`` are placeholders without rules.
"""
