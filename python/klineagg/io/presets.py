"""Known layouts of public trade dumps, and how to tell which one a file has.

Names of columns are compared by their letters and digits alone, in lower case and up to a slash, so
that ``isBuyerMaker``, ``is_buyer_maker`` and ``trade_id/...`` (some dumps add a second language
behind a slash) are all found.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

__all__ = ["PRESETS", "Preset", "find", "guess", "key_of", "layout_of"]

_DATE: Final = r"\d{4}-\d{2}(?:-\d{2})?"


@dataclass(frozen=True)
class Preset:
    """One layout of a dump.

    Attributes:
        name: what ``--preset`` takes.
        title: what it is.
        source: where the dumps come from, and where their layout is documented.
        roles: names of the columns by role, normalised as by :func:`key_of`.
        header: names that a header of this layout has, all of them.
        layouts: fields of files without a header, each as ``(names, kinds)``; one letter of
            ``kinds`` a field: ``i`` integer, ``d`` decimal, ``b`` true or false, ``s`` side,
            ``t`` a plausible time.
        unit: of integer stamps; ``ms/us``: either, by the size of each; ``detect``: what the first
            one looks like.
        file_names: patterns with a group ``symbol``, for dumps without a symbol column.
        examples: names of files as they are published.
    """

    name: str
    title: str
    source: str
    roles: Mapping[str, tuple[str, ...]]
    header: frozenset[str] = frozenset()
    layouts: tuple[tuple[tuple[str, ...], str], ...] = ()
    unit: str = "detect"
    file_names: tuple[str, ...] = ()
    examples: tuple[str, ...] = field(default=())

    def symbol_in(self, name: str) -> str | None:
        """The symbol that the name of a file (without directories) tells."""
        for pattern in self.file_names:
            match = re.match(pattern, name)
            if match:
                return match["symbol"]
        return None


_BINANCE: Final = "data.binance.vision, documented at github.com/binance/binance-public-data"
_BINANCE_TRADES: Final = ("id", "price", "qty", "quoteqty", "time", "isbuyermaker")
_BINANCE_AGG: Final = (
    "aggtradeid",
    "price",
    "quantity",
    "firsttradeid",
    "lasttradeid",
    "transacttime",
    "isbuyermaker",
)

_ALL: Final = (
    # Spot stamps are milliseconds up to 2024 and microseconds from 2025-01-01 on; futures stay at
    # milliseconds. Futures dumps of recent years have a header, older ones and spot have none.
    Preset(
        name="binance-trades",
        title="Binance trades (spot, USD-M and COIN-M futures)",
        unit="ms/us",
        source=_BINANCE,
        roles={
            "trade_id": ("id", "tradeid"),
            "price": ("price",),
            "quantity": ("qty", "quantity"),
            "time": ("time",),
            "side": ("isbuyermaker",),
        },
        header=frozenset({"price", "qty", "time", "isbuyermaker"}),
        layouts=(
            ((*_BINANCE_TRADES, "isbestmatch"), "idddtbb"),
            (_BINANCE_TRADES, "idddtb"),
        ),
        file_names=(rf"(?P<symbol>[A-Za-z0-9_]+)-trades-{_DATE}",),
        examples=("BTCUSDT-trades-2024-01-01.zip",),
    ),
    Preset(
        name="binance-aggtrades",
        title="Binance aggregated trades (spot, USD-M and COIN-M futures)",
        unit="ms/us",
        source=_BINANCE,
        roles={
            "trade_id": ("firsttradeid",),
            "last_trade_id": ("lasttradeid",),
            "price": ("price",),
            "quantity": ("quantity", "qty"),
            "time": ("transacttime", "timestamp", "time"),
            "side": ("isbuyermaker", "wasthebuyerthemaker"),
        },
        header=frozenset({"price", "quantity", "firsttradeid", "lasttradeid"}),
        layouts=(
            ((*_BINANCE_AGG, "isbestmatch"), "iddiitbb"),
            (_BINANCE_AGG, "iddiitb"),
        ),
        file_names=(rf"(?P<symbol>[A-Za-z0-9_]+)-aggTrades-{_DATE}",),
        examples=("BTCUSDT-aggTrades-2024-01-01.zip",),
    ),
    # The derivatives dump: seconds with decimals, the taker's side, ids that are no numbers (and
    # so order nothing). Files of the first years run backwards in time.
    Preset(
        name="bybit",
        title="Bybit derivatives trades",
        source="public.bybit.com/trading/ (the header names the columns)",
        roles={
            "time": ("timestamp",),
            "symbol": ("symbol",),
            "side": ("side",),
            "quantity": ("size",),
            "price": ("price",),
        },
        header=frozenset({"timestamp", "symbol", "side", "size", "price", "tickdirection"}),
        examples=("BTCUSDT2024-01-01.csv.gz",),
    ),
    Preset(
        name="bybit-spot",
        title="Bybit spot trades",
        source="public.bybit.com/spot/ (the header names the columns)",
        roles={
            "trade_id": ("id",),
            "time": ("timestamp",),
            "price": ("price",),
            "quantity": ("volume",),
            "side": ("side",),
        },
        header=frozenset({"id", "timestamp", "price", "volume", "side"}),
        file_names=(rf"(?P<symbol>[A-Z0-9]+)[-_]{_DATE}",),
        examples=("BTCUSDT_2024-01-01.csv.gz",),
    ),
    # Days of OKX begin at 16:00 UTC. Before 2022 without a header; then with one in two
    # languages, in GBK; newer ones in UTF-8 with instrument_name first.
    Preset(
        name="okx",
        title="OKX trades (all instruments)",
        source="www.okx.com/data-download (the header names the columns)",
        roles={
            "symbol": ("instrumentname",),
            "trade_id": ("tradeid",),
            "side": ("side",),
            "price": ("price",),
            "quantity": ("size",),
            "time": ("createdtime",),
        },
        header=frozenset({"tradeid", "side", "size", "price", "createdtime"}),
        layouts=((("tradeid", "side", "size", "price", "createdtime"), "isddt"),),
        file_names=(rf"(?P<symbol>.+?)-(?:agg)?trades-{_DATE}",),
        examples=("BTC-USDT-trades-2024-01-01.zip",),
    ),
    Preset(
        name="kraken",
        title="Kraken time and sales (no sides, no ids)",
        source="support.kraken.com, downloadable historical market data (time and sales)",
        roles={"time": ("time",), "price": ("price",), "quantity": ("volume",)},
        layouts=((("time", "price", "volume"), "tdd"),),
        file_names=(r"(?P<symbol>[A-Z0-9.]+)(?:_\d{4}Q\d)?\.csv",),
        examples=("XBTUSD.csv", "Kraken_Trading_History.zip"),
    ),
    # Stamps are microseconds; the id is a number at most venues, a text at others.
    Preset(
        name="tardis",
        title="Tardis.dev trades (all venues)",
        source="docs.tardis.dev, downloadable CSV files, data type trades",
        roles={
            "symbol": ("symbol",),
            "time": ("timestamp",),
            "trade_id": ("id",),
            "side": ("side",),
            "price": ("price",),
            "quantity": ("amount",),
        },
        header=frozenset({"exchange", "symbol", "timestamp", "localtimestamp", "price", "amount"}),
        unit="us",
        examples=("binance-futures_trades_2024-01-01_BTCUSDT.csv.gz",),
    ),
    # The same columns as Bybit's, with stamps such as 2018-01-01D00:00:00.123456000.
    Preset(
        name="bitmex",
        title="BitMEX trades",
        source="public.bitmex.com/?prefix=data/trade/ (the header names the columns)",
        roles={
            "time": ("timestamp",),
            "symbol": ("symbol",),
            "side": ("side",),
            "quantity": ("size",),
            "price": ("price",),
        },
        header=frozenset({"timestamp", "symbol", "side", "size", "price", "trdmatchid", "trdtype"}),
        examples=("20180101.csv.gz",),
    ),
)

PRESETS: Final[Mapping[str, Preset]] = {preset.name: preset for preset in _ALL}


def key_of(name: str) -> str:
    """A column name by which spellings are compared: ``"isBuyerMaker"`` -> ``"isbuyermaker"``."""
    return "".join(c for c in name.split("/")[0].lower() if c.isascii() and c.isalnum())


def find(name: str) -> Preset:
    """The preset of a name.

    Raises:
        OptionError: ``invalid_option`` when there is none; the hint lists all.
    """
    from klineagg import errors

    preset = PRESETS.get(name.lower())
    if preset is None:
        hint = f"there are {', '.join(PRESETS)}"
        raise errors.make(
            "invalid_option",
            f"no preset is called {name!r}",
            hint=hint,
            option="preset",
            value=name,
        )
    return preset


def guess(keys: Sequence[str] | None, rows: Sequence[Sequence[str]], file: str) -> Preset | None:
    """The preset that a file has, or None.

    Args:
        keys: normalised names of its header; None when it has none.
        rows: its first records of data.
        file: its name, which decides where columns do not.
    """
    if keys is not None:
        names = set(keys)
        fitting = [preset for preset in _ALL if preset.header and preset.header <= names]
        # The one that asks for the most is the most specific.
        return max(fitting, key=lambda preset: len(preset.header), default=None)
    fitting = [
        preset
        for preset in _ALL
        if any(_has_kinds(row, kinds) for _, kinds in preset.layouts for row in rows[:1])
    ]
    named = [preset for preset in fitting if preset.symbol_in(file) is not None]
    return next(iter(named or fitting), None)


def layout_of(preset: Preset, row: Sequence[str]) -> tuple[str, ...] | None:
    """Names of the fields of a file without header, by its first record."""
    for names, kinds in preset.layouts:
        if _has_kinds(row, kinds):
            return names
    # The record may be a bad one: its number of fields decides, where it can.
    fitting = [names for names, _ in preset.layouts if len(names) == len(row)]
    return fitting[0] if len(fitting) == 1 else None


def _has_kinds(row: Sequence[str], kinds: str) -> bool:
    return len(row) == len(kinds) and all(map(_is_kind, row, kinds))


def _is_kind(text: str, kind: str) -> bool:
    text = text.strip()
    if kind == "b":
        return text.lower() in ("true", "false")
    if kind == "s":
        return text.lower() in ("buy", "sell")
    if kind == "i":
        return bool(re.fullmatch(r"-?\d+", text))
    number = bool(re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text))
    # A number that is a time between 2001 and 2286 in any unit.
    return number and (kind != "t" or float(text) >= 1e9)
