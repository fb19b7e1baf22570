"""The unit of integer time stamps, by what they look like."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from klineagg import errors

if TYPE_CHECKING:
    from klineagg.io.presets import Preset

__all__ = ["NUMBER", "SCALES", "by_digits", "unit_of"]

NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
SCALES: Final = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
"""Nanoseconds in each unit."""

_PLAUSIBLE_S: Final = (631_152_000.0, 4_102_444_800.0)  # 1990 and 2100
# Digits of a stamp between 1973 and 5138.
_DIGITS: Final = ((11, "s"), (14, "ms"), (17, "us"))


def by_digits(stamp: int) -> str:
    """The unit that the size of a stamp tells, right for every time between 1973 and 5138."""
    digits = len(str(abs(stamp)))
    return next((unit for most, unit in _DIGITS if digits <= most), "ns")


def unit_of(
    stamps: Sequence[str], wanted: str | None, preset: Preset | None, column: str, file: str
) -> str:
    """The unit of time stamps: as asked or as the preset says, else by the size of the first one.

    Raises:
        TimeUnitError: ``time_unit`` when the unit that was asked for makes no sense and another
            one does, such as milliseconds given as nanoseconds.
    """
    numbers = [text.strip() for text in stamps if NUMBER.fullmatch(text.strip())]
    if not numbers:
        return wanted or (preset.unit if preset is not None else "detect")
    seconds = {unit: float(numbers[0]) * ns / 1e9 for unit, ns in SCALES.items()}
    plausible = [
        unit for unit, value in seconds.items() if _PLAUSIBLE_S[0] <= value < _PLAUSIBLE_S[1]
    ]
    if wanted is not None:
        if plausible and wanted not in plausible:
            date = np.datetime64(int(seconds[plausible[0]]), "s")
            text = (
                f"{file}: the unit {wanted!r} was given, but {numbers[0]} in column {column!r} "
                f"looks like {plausible[0]!r}: it is then {date}"
            )
            hint = f"pass --unit {plausible[0]}, or leave it out"
            raise errors.make(
                "time_unit", text, hint=hint, file=file, given=wanted, likely=plausible[0]
            )
        return wanted
    if preset is not None and preset.unit != "detect":
        return preset.unit
    return plausible[0] if plausible else by_digits(int(float(numbers[0])))
