"""Which column of a file plays which role: by what the user says, the preset, or its name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from klineagg import errors
from klineagg._columns_roles import ALIASES, resolve
from klineagg.io.presets import Preset, key_of

if TYPE_CHECKING:
    from klineagg._conditions_table import ConditionTable

__all__ = ["Wanted", "positions_of", "symbol_of"]


@dataclass(frozen=True)
class Wanted:
    """What the user says about the columns; None and empty: to be found out.

    Attributes:
        preset: name of a preset, or ``"none"`` to go by the names of the columns alone.
        columns: role -> name of a column, or ``#n`` for the n-th field from 1; None: not used.
        unit: of integer stamps, ``s``, ``ms``, ``us`` or ``ns``.
        symbol: of all trades, where no column tells it.
        delimiter: of the fields.
        header: whether the first record holds names.
        conditions: table of the codes in the conditions column, which there has to be then.
    """

    preset: str | None = None
    columns: Mapping[str, str | None] | None = None
    unit: str | None = None
    symbol: str | None = None
    delimiter: str | None = None
    header: bool | None = None
    conditions: ConditionTable | str | None = None


def positions_of(
    preset: Preset | None, fields: tuple[str, ...], wanted: Wanted, file: str
) -> tuple[dict[str, int], bool]:
    """Field of each role, and whether the side tells about the maker.

    Ids of aggregated trades are ``trade_id`` (the first one) and ``last_trade_id``.

    Raises:
        ColumnError: ``missing_column`` or ``ambiguous_column``.
        OptionError: ``invalid_option`` for a column of conditions without a table.
    """
    mapped = dict(wanted.columns or {})
    marked = wanted.conditions is not None
    if mapped.get("conditions") is not None and not marked:
        text = "a column of conditions is named, and no table says what its codes mean"
        hint = "pass conditions='us_utp' or another table; on the command line --conditions us_utp"
        raise errors.make("invalid_option", text, hint=hint, option="conditions")
    found: dict[str, int] = {}
    try:
        if preset is not None:
            found = _by_preset(preset, fields)
            if not mapped and not marked and {"time", "price", "quantity"} <= found.keys():
                return found, "side" in found and "maker" in key_of(fields[found["side"]])
        # Roles that the preset knows are told to the search, so that what the user maps is all
        # that can differ.
        names = [f"#{k + 1}" if _is_dull(name) else _short(name) for k, name in enumerate(fields)]
        columns: dict[str, str | None] = {
            _core_role(role, found): names[at] for role, at in found.items()
        }
        columns.update({role: _named(name, names, fields) for role, name in mapped.items()})
        told = columns["symbol"] is not None if "symbol" in columns else _has_symbol(names)
        roles = resolve(names, columns=columns, needs_symbol=told, needs_conditions=marked)
    except errors.ColumnError as error:
        hint = (error.hint + "; " if error.hint else "") + (
            "on the command line: --columns time=NAME,price=NAME,quantity=NAME "
            "(#2 stands for the second field)"
        )
        text = f"{file}: {error.message}"
        if preset is not None and wanted.preset is not None and not mapped:
            text += f"; preset {wanted.preset} does not fit"
        raise errors.make(error.name, text, hint=hint, **{**error.fields, "file": file}) from error
    positions = dict(roles.positions)
    first = positions.pop("first_trade_id", None)
    if first is not None:
        positions["trade_id"] = first
    return positions, roles.buyer_is_maker


def _has_symbol(names: Sequence[str]) -> bool:
    return any(key_of(name) in ALIASES["symbol"] for name in names)


def _core_role(role: str, found: Mapping[str, int]) -> str:
    """What the search calls a role of a preset: ids of aggregated trades come in pairs there."""
    return "first_trade_id" if role == "trade_id" and "last_trade_id" in found else role


def _is_dull(name: str) -> bool:
    return name.startswith("#") or not name


def _short(name: str) -> str:
    """A name without its translation: ``side/...`` is ``side``."""
    return name.split("/")[0].strip() or name


def _named(name: str | None, names: Sequence[str], fields: Sequence[str]) -> str | None:
    """The name that the search knows for what the user wrote."""
    if name is None:
        return None
    if name in fields:
        return names[fields.index(name)]
    match = re.fullmatch(r"#(\d+)", name)
    if match and 1 <= int(match[1]) <= len(names):
        return names[int(match[1]) - 1]
    return name


def _by_preset(preset: Preset, fields: Sequence[str]) -> dict[str, int]:
    keys = [key_of(name) for name in fields]
    found: dict[str, int] = {}
    for role, choices in preset.roles.items():
        for choice in choices:
            if choice in keys:
                found[role] = keys.index(choice)
                break
    return found


def symbol_of(preset: Preset | None, names: Sequence[str], file: str, fields: Sequence[str]) -> str:
    """The symbol that the name of a file tells.

    Raises:
        ColumnError: ``missing_column`` when it tells none.
    """
    for name in names if preset is not None else ():
        symbol = preset.symbol_in(name) if preset is not None else None
        if symbol is not None:
            return symbol
    text = f"{file}: neither a column nor the file's name tells the symbol"
    hint = "pass --symbol BTCUSDT, or map its column with --columns symbol=NAME"
    raise errors.make(
        "missing_column", text, hint=hint, column="symbol", file=file, known=list(fields)
    )
