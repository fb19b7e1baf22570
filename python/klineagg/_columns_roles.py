"""Which column of the input plays which role: aliases, venues' short names, and the user's map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from klineagg import errors

__all__ = ["ALIASES", "ROLES", "Roles", "resolve"]

ROLES: Final[tuple[str, ...]] = (
    "symbol",
    "time",
    "price",
    "quantity",
    "side",
    "trade_id",
    "first_trade_id",
    "last_trade_id",
    "flags",
    "conditions",
)
"""What ``columns=`` may map."""

_REQUIRED: Final = ("time", "price", "quantity")

# Names that say "the buyer was the maker": true means that the taker sold.
_MAKER_NAMES: Final = frozenset({"isbuyermaker", "buyermaker", "buyerismaker", "isbuyerthemaker"})

ALIASES: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "symbol": frozenset(
            "symbol sym ticker instrument instrumentname instid productid pair currencypair "
            "market".split()
        ),
        "time": frozenset(
            "time ts timestamp date datetime transacttime tradetime tradets tradetimestamp "
            "exectime eventtime tsevent".split()
        ),
        "price": frozenset("price px rate tradeprice".split()),
        "quantity": frozenset(
            "quantity qty size amount vol volume sz baseqty basequantity tradeqty tradesize".split()
        ),
        "side": frozenset("side takerside direction aggressorside".split()) | _MAKER_NAMES,
        "trade_id": frozenset("tradeid id tradeseq aggtradeid aggregatetradeid".split()),
        "first_trade_id": frozenset("firsttradeid firstid".split()),
        "last_trade_id": frozenset("lasttradeid lastid".split()),
        "flags": frozenset("flags tradeflags".split()),
        "conditions": frozenset(
            "conditions condition saleconditions salecondition tradeconditions tradecondition "
            "cond".split()
        ),
    }
)
"""Other names of each role, in lower case and without ``_``, ``-`` and spaces."""

# Trades as venues send them in JSON. Single letters mean something only together, and only as
# they are written: "s" is the symbol beside "q" and the size beside "p" elsewhere, "t" an id
# beside "T" and a time without it.
_DIALECTS: Final[tuple[tuple[frozenset[str], Mapping[str, str]], ...]] = (
    # Binance aggregated trades (streams and REST).
    (
        frozenset("pqTmafl"),
        {
            "symbol": "s",
            "time": "T",
            "price": "p",
            "quantity": "q",
            "side": "m",
            "trade_id": "a",
            "first_trade_id": "f",
            "last_trade_id": "l",
        },
    ),
    # Binance trades (streams); their "a" and "b" are order ids.
    (
        frozenset("pqTm"),
        {
            "symbol": "s",
            "time": "T",
            "price": "p",
            "quantity": "q",
            "side": "m",
            "trade_id": "t",
        },
    ),
    # Bybit public trades (streams).
    (frozenset("pvTS"), {"symbol": "s", "time": "T", "price": "p", "quantity": "v", "side": "S"}),
    # Short names in the user's own data.
    (frozenset("tpq"), {"symbol": "s", "time": "t", "price": "p", "quantity": "q"}),
)

_AGGREGATE_IDS: Final = frozenset({"a", "aggtradeid", "aggregatetradeid"})


@dataclass(frozen=True, slots=True)
class Roles:
    """Positions of the columns that are used.

    Attributes:
        positions: position of the column of each role that the input has.
        buyer_is_maker: the side column is true where the *buyer* was the maker.
    """

    positions: Mapping[str, int]
    buyer_is_maker: bool


def resolve(
    names: Sequence[str],
    *,
    columns: Mapping[str, str | None] | None = None,
    needs_symbol: bool = True,
    needs_conditions: bool = False,
) -> Roles:
    """Finds the column of each role.

    Args:
        names: the names of the input's columns.
        columns: role -> name where the user says it; ``None`` for a role that is not to be used.
        needs_symbol: whether the input has to have a symbol column.
        needs_conditions: whether it has to have a conditions column; without a need it is ignored.

    Raises:
        ColumnError: ``missing_column`` or ``ambiguous_column``.
        OptionError: ``columns`` has a key that is no role.
    """
    mapped = _mapped(names, columns or {})
    not_needed = set()
    if not needs_conditions:
        not_needed.add("conditions")
    taken = {position for position in mapped.values() if position is not None}
    found: dict[str, int] = {}
    for role in ROLES:
        if role in mapped:
            position = mapped[role]
        else:
            position = None if role in not_needed else _search(role, names, taken)
        if position is not None:
            found[role] = position
    _check_ids(found, names)
    for role in (*_REQUIRED, *(["symbol"] if needs_symbol else [])):
        if role not in found:
            raise _missing(role, names)
    if needs_conditions and "conditions" not in found:
        raise _missing("conditions", names)
    side = names[found["side"]] if "side" in found else ""
    return Roles(MappingProxyType(found), _plain(side) in _MAKER_NAMES or side == "m")


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").replace(" ", "")


def _mapped(names: Sequence[str], columns: Mapping[str, str | None]) -> dict[str, int | None]:
    out: dict[str, int | None] = {}
    for role, name in columns.items():
        if role not in ROLES:
            text = f"columns= maps {role!r}, which is none of {', '.join(ROLES)}"
            raise errors.make("invalid_option", text, option="columns", value=role)
        if name is None:
            out[role] = None
            continue
        places = [place for place, other in enumerate(names) if other == name]
        if not places:
            text = f"columns= says that the {role} is in {name!r}; {_known(names)}"
            facts = {"column": name, "role": role, "known": list(names)}
            raise errors.make("missing_column", text, hint=_mapping(role), **facts)
        if len(places) > 1:
            raise _ambiguous(role, [name] * len(places))
        out[role] = places[0]
    return out


def _search(role: str, names: Sequence[str], taken: set[int]) -> int | None:
    short = _short_name(role, names)
    places = [
        place
        for place, name in enumerate(names)
        if place not in taken and (_plain(name) in ALIASES[role] or name == short)
    ]
    if len(places) > 1:
        raise _ambiguous(role, [names[place] for place in places])
    if places:
        return places[0]
    # pandas calls an index without a name so once it has become a column.
    if role == "time" and "__index_level_0__" in names:
        return list(names).index("__index_level_0__")
    return None


def _short_name(role: str, names: Sequence[str]) -> str | None:
    present = set(names)
    for signature, dialect in _DIALECTS:
        if signature <= present:
            return dialect.get(role)
    return None


def _check_ids(found: dict[str, int], names: Sequence[str]) -> None:
    """An aggregated trade has a first and a last id; one without the other counts nothing."""
    has_first, has_last = "first_trade_id" in found, "last_trade_id" in found
    if has_last and not has_first:
        own = names[found["trade_id"]] if "trade_id" in found else None
        if own is None or _plain(own) in _AGGREGATE_IDS:
            raise _missing("first_trade_id", names)
    if has_first and not has_last:
        raise _missing("last_trade_id", names)


def _known(names: Sequence[str]) -> str:
    return f"the columns are {', '.join(map(repr, names))}" if names else "there are no columns"


def _mapping(role: str) -> str:
    return f"map it with columns={{{role!r}: 'its_name'}}"


def _missing(role: str, names: Sequence[str]) -> errors.KlineaggError:
    hint = _mapping(role)
    if role == "symbol":
        hint += ", or pass symbol='BTCUSDT' when all trades are of one symbol"
    text = f"no column holds the {role.replace('_', ' ')}; {_known(names)}"
    return errors.make("missing_column", text, hint=hint, column=role, known=list(names))


def _ambiguous(role: str, candidates: Sequence[str]) -> errors.KlineaggError:
    text = f"several columns may hold the {role.replace('_', ' ')}: "
    return errors.make(
        "ambiguous_column",
        text + ", ".join(map(repr, candidates)),
        hint=f"say which with columns={{{role!r}: {candidates[0]!r}}}",
        column=role,
        candidates=list(candidates),
    )
