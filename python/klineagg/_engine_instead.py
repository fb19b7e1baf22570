"""What a corrected trade may get instead of what it had."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from klineagg import errors
from klineagg._options import AMOUNT_MAX, AMOUNT_MIN, invalid, is_integer, is_number, time_ns

__all__ = ["valid_values"]

_FIELDS: Final = ("time", "price", "quantity", "side", "flags")


def valid_values(
    instead: Mapping[str, Any] | None, *, nonpositive: bool = False
) -> dict[str, Any] | None:
    """What a corrected trade gets, looked at; OptionError for what no trade can have.

    Args:
        instead: values by their names; None: the trade is cancelled.
        nonpositive: prices may be zero and below.
    """
    if instead is None:
        return None
    for name in instead:
        if name not in _FIELDS:
            text = f"a corrected trade has no {name!r}: it may have {', '.join(_FIELDS)}"
            raise errors.make("invalid_option", text, option="instead", value=name)
    return {name: _valid(name, value, nonpositive) for name, value in instead.items()}


def _valid(name: str, value: Any, nonpositive: bool) -> Any:
    """As a row of a trade would be accepted: the engine rebuilds bars with it."""
    if name == "time":
        return time_ns(value, "time")
    if name in ("side", "flags"):
        if not is_integer(value) or not -128 <= value < 2**16:
            raise invalid(name, value, "an integer")
        return int(value)
    if is_number(value) and AMOUNT_MIN <= abs(value) <= AMOUNT_MAX:
        if value > 0 or (name == "price" and nonpositive):
            return float(value)
    elif is_number(value) and value == 0 and name == "price" and nonpositive:
        return 0.0
    text = f"{name}={value!r} is no {name} of a trade"
    hint = f"a {name} is a number above 0"
    if name == "price":
        hint += "; at and below it with allow_nonpositive_prices of the engine"
    raise errors.make("invalid_option", text, hint=hint, option=name, value=value)
