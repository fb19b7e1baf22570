"""Trades of any kind of input as chunks of columns that the core takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from klineagg import errors
from klineagg._columns_convert import symbol_encoder, to_amount, to_flags, to_id, to_symbol
from klineagg._columns_data import Column, ConstantColumn, plain
from klineagg._columns_roles import Roles, resolve
from klineagg._columns_side import side_encoder, to_side
from klineagg._columns_sources import Source, sources
from klineagg._columns_text import TextEncoder, holds_text
from klineagg._columns_time import UNITS, check_unit, to_time
from klineagg._options import is_integer

if TYPE_CHECKING:
    from klineagg.conditions import ConditionTable

__all__ = ["BLOCK_ROWS", "TradeChunk", "iter_chunks"]

BLOCK_ROWS: Final = 1 << 18
"""Rows at a time when a column has to be converted: bounds the memory that the copies take."""

# The types that each role takes as they are.
_FITTING: Final[Mapping[str, frozenset[str]]] = {
    "symbol": frozenset({"int32"}),
    "time": frozenset(
        {"int64", "uint64", *(f"datetime64[{unit}]" for unit in ("D", "h", "m", *UNITS))}
    ),
    "price": frozenset({"float64"}),
    "quantity": frozenset({"float64"}),
    "side": frozenset({"bool", "int8", "uint8"}),
    "trade_id": frozenset({"int64", "uint64"}),
    "first_trade_id": frozenset({"int64", "uint64"}),
    "last_trade_id": frozenset({"int64", "uint64"}),
    "flags": frozenset({"uint8", "int8"}),
    "conditions": frozenset(),
}


@dataclass(frozen=True, slots=True)
class TradeChunk:
    """Columns of ``n`` trades in the order of arrival.

    The arrays are views of the input's memory wherever its types fit. They may be strided (a field
    of a structured array), lie at odd addresses (a packed one), have a stride of 0 (one symbol for
    all rows) and be read-only.

    Attributes:
        symbol: symbol ids, int32 ``(n,)``; negative: missing.
        time: event times, int64 ``(n,)``, in units of ``time_scale``; the least int64: missing.
        time_scale: nanoseconds in a unit of ``time``. The product may leave the range of int64.
        price: float64 ``(n,)``; NaN: missing.
        quantity: float64 ``(n,)``; NaN: missing.
        side: int8, uint8 or bool ``(n,)``, or ``None`` when the input has no sides.
        side_rule: ``"sign"``: above 0 the taker bought. ``"maker"``: not 0 means that the buyer was
            the maker, so that the taker sold.
        trade_id: int64 ``(n,)``; the first id of an aggregated trade; -1: none. Or ``None``.
        last_trade_id: int64 ``(n,)``; the last id of an aggregated trade. Or ``None``.
        flags: bits of TradeFlag, uint8 ``(n,)``. Or ``None``.
        first_row: the row of the whole input (of a producer: of the push) that it starts with.
    """

    symbol: NDArray[np.int32]
    time: NDArray[np.int64]
    time_scale: int
    price: NDArray[np.float64]
    quantity: NDArray[np.float64]
    side: NDArray[Any] | None = None
    side_rule: str = "sign"
    trade_id: NDArray[np.int64] | None = None
    last_trade_id: NDArray[np.int64] | None = None
    flags: NDArray[np.uint8] | None = None
    first_row: int = 0

    def __len__(self) -> int:
        return len(self.price)


def iter_chunks(
    trades: Any,
    *,
    columns: Mapping[str, str | None] | None = None,
    unit: str | None = None,
    side: str | None = None,
    conditions: ConditionTable | str | None = None,
    symbol: str | int | None = None,
) -> Iterator[TradeChunk]:
    """The trades of ``trades`` in chunks; no chunk is empty.

    Args:
        trades: a NumPy structured array; a mapping of names to columns; a pandas DataFrame;
            anything with ``__arrow_c_stream__`` or ``__arrow_c_array__`` (polars, pyarrow,
            DuckDB, ...); or an iterable of those. A mapping may hold one value instead of a column
            for the symbol; a mapping of single values is one trade.
        columns: role -> name of the column, where the usual names do not say it; ``None`` instead
            of a name: the role is not used. Roles: symbol, time, price, quantity, side, trade_id,
            first_trade_id, last_trade_id, flags, conditions.
        unit: of integer times: s, ms, us or ns (which is the default). datetime64 and Arrow
            timestamps carry their own; those without a time zone are taken as UTC.
        side: ``"taker"`` or ``"maker"``: whose side the side column tells. By default its name
            decides: the taker's, but for ``is_buyer_maker`` and its like.
        conditions: a table, or its name, that maps the conditions column to flags; see
            :mod:`klineagg.conditions`.
        symbol: the symbol of all trades, when they are of one.

    Raises:
        ColumnError: ``missing_column``, ``ambiguous_column``, ``column_type``, ``column_length``,
            ``unsupported_input``, ``unknown_symbol``.
        TimeUnitError: integer times that look like another unit's.
        OptionError: an argument with a value that it cannot have.
        FileError: ``stream_failed`` when a producer of Arrow data fails.
    """
    return Normaliser(columns, unit, side, conditions, symbol).chunks(trades)


class Normaliser:
    """What has to be remembered from one batch to the next."""

    def __init__(
        self,
        columns: Mapping[str, str | None] | None,
        unit: str | None,
        side: str | None,
        conditions: ConditionTable | str | None,
        symbol: str | int | None,
    ) -> None:
        check_unit(unit)
        if side not in (None, "taker", "maker"):
            text = f"side={side!r} is neither 'taker' nor 'maker'"
            raise errors.make("invalid_option", text, option="side", value=side)
        if columns is not None and not isinstance(columns, Mapping):
            text = f"columns={columns!r} is no mapping of names, such as {{'price': 'px'}}"
            raise errors.make("invalid_option", text, option="columns", value=columns)
        if symbol is not None and not isinstance(symbol, (str, bytes)) and not is_integer(symbol):
            text = f"symbol={symbol!r} is neither a name nor an id"
            raise errors.make("invalid_option", text, option="symbol", value=symbol)
        if symbol is not None and columns and columns.get("symbol") is not None:
            text = "symbol= and columns={'symbol': ...} exclude each other"
            raise errors.make("invalid_option", text, option="symbol", value=symbol)
        self._columns = columns
        self._unit = unit
        self._side = side
        self._symbol = symbol
        self._flags_of: Any = None
        if conditions is not None:
            from klineagg.conditions import flag_encoder

            self._flags_of = flag_encoder(conditions)
        self._symbols: TextEncoder = symbol_encoder()
        self._sides: TextEncoder = side_encoder()
        self._roles: dict[tuple[str, ...], Roles] = {}
        self._row = 0

    def restart(self) -> None:
        """Counts rows anew: those of the next table are told from its first one on."""
        self._row = 0

    def chunks(self, trades: Any) -> Iterator[TradeChunk]:
        for source in sources(trades):
            roles = self._roles_of(source)
            order = list(roles.positions)
            for piece in source.pieces([roles.positions[role] for role in order]):
                yield from self._blocks(dict(zip(order, piece, strict=True)), roles)

    def _roles_of(self, source: Source) -> Roles:
        roles = self._roles.get(source.names)
        if roles is None:
            roles = self._roles[source.names] = resolve(
                source.names,
                columns=self._columns,
                needs_symbol=self._symbol is None,
                needs_conditions=self._flags_of is not None,
            )
            if self._symbol is not None and "symbol" in roles.positions:
                # Taken for that symbol's all the same, those of others would be in its bars.
                name = source.names[roles.positions["symbol"]]
                text = f"symbol={self._symbol!r} is for trades that do not say of which symbol "
                text += f"they are, and these have the column {name!r}"
                hint = f"filter by {name!r}, or leave it out with columns={{'symbol': None}}"
                raise errors.make("invalid_option", text, hint=hint, option="symbol")
        return roles

    def _blocks(self, data: dict[str, Any], roles: Roles) -> Iterator[TradeChunk]:
        for role, column in data.items():
            # What a list of rows or a category of numbers is, is known here and not further in.
            if column.kind == "dictionary" and not holds_text(column):
                data[role] = plain(column)
            elif column.kind == "constant" and role != "symbol":
                text = f"column {column.name!r} is one value; only the symbol can be that"
                raise errors.make("column_type", text, column=column.name)
        rows = len(data["price"])
        if self._symbol is not None:
            data["symbol"] = ConstantColumn("symbol", self._symbol, rows)
        fits = all(_fits(role, column) for role, column in data.items())
        step = max(rows, 1) if fits else BLOCK_ROWS
        for start in range(0, rows, step):
            stop = min(start + step, rows)
            block = data
            if step < rows:
                block = {role: column.slice(start, stop) for role, column in data.items()}
            yield self._chunk(block, roles)
            self._row += stop - start
        if rows == 0:
            self._chunk(data, roles)  # an empty table of wrong types is an error all the same

    def _chunk(self, data: Mapping[str, Any], roles: Roles) -> TradeChunk:
        row = self._row
        time, scale = to_time(data["time"], self._unit, row)
        side, rule = self._side_of(data.get("side"), roles)
        first, last = self._ids_of(data)
        return TradeChunk(
            symbol=to_symbol(data["symbol"], self._symbols, row),
            time=time,
            time_scale=scale,
            price=to_amount(data["price"], row),
            quantity=to_amount(data["quantity"], row),
            side=side,
            side_rule=rule,
            trade_id=first,
            last_trade_id=last,
            flags=self._flags(data),
            first_row=row,
        )

    def _side_of(self, column: Column | None, roles: Roles) -> tuple[NDArray[Any] | None, str]:
        if column is None:
            return None, "sign"
        of_maker = roles.buyer_is_maker if self._side is None else self._side == "maker"
        return to_side(
            column,
            self._sides,
            of_maker=of_maker,
            buyer_is_maker=roles.buyer_is_maker and of_maker,
            first_row=self._row,
        )

    def _ids_of(
        self, data: Mapping[str, Any]
    ) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]:
        if "last_trade_id" not in data:
            column = data.get("trade_id")
            return (None if column is None else to_id(column, self._row)), None
        # An aggregated trade: its own id, if it has one, says nothing about the trades in it.
        first = to_id(data.get("first_trade_id", data.get("trade_id")), self._row)
        last = to_id(data["last_trade_id"], self._row)
        if first is None or last is None:
            return None, None
        return first, last

    def _flags(self, data: Mapping[str, Any]) -> NDArray[np.uint8] | None:
        flags = to_flags(data["flags"]) if "flags" in data else None
        if self._flags_of is None:
            return flags
        excluded: NDArray[np.uint8] = self._flags_of(data["conditions"], self._row)
        return excluded if flags is None else flags | excluded


def _fits(role: str, column: Column) -> bool:
    if column.kind == "constant":
        return True
    if column.kind == "null":
        return len(column) == 0
    return column.dtype in _FITTING[role] and column.null_count == 0
