"""Marks in the trade feeds of crypto venues; see :mod:`klineagg.conditions`."""

from __future__ import annotations

from typing import Final

from klineagg._conditions_table import ALL, NOTHING, VOLUME_ONLY, ConditionTable, codes_of

__all__ = [
    "BINANCE_OPTIONS",
    "BYBIT_BLOCK",
    "DERIBIT_BLOCK",
    "DERIBIT_LIQUIDATION",
    "GATE_INTERNAL",
    "KRAKEN_FUTURES",
    "OKX_SOURCE",
    "RPI",
]

GATE_INTERNAL: Final = ConditionTable(
    name="gate_internal",
    title="is_internal of Gate futures trades",
    source="Gate API v4, futures trades, field is_internal",
    codes=codes_of(
        {
            "true": ("liquidation taken over by the insurance fund or by ADL users", NOTHING),
            "false": ("matched in the order book", ALL),
        }
    ),
)
"""Gate futures mark takeovers of liquidations as internal, and document that these are not recorded
in their K-lines: such trades count for nothing.
"""

KRAKEN_FUTURES: Final = ConditionTable(
    name="kraken_futures",
    title="type of Kraken Futures trades",
    source="Kraken Futures API, trade feed and trade history, field type",
    codes=codes_of(
        {
            "fill": ("matched in the order book", ALL),
            "liquidation": ("the taker was liquidated in the order book", ALL),
            "termination": ("a position was terminated outside of the book", VOLUME_ONLY),
            "block": ("part of a block trade", VOLUME_ONLY),
        }
    ),
)
"""Kraken Futures classify each trade. The classes are documented; that the prices of those made
outside of the order book set no open, high, low or close is a convention.
"""

BYBIT_BLOCK: Final = ConditionTable(
    name="bybit_block",
    title="BT or isBlockTrade of Bybit trades",
    source="Bybit API v5, public trades, fields BT and isBlockTrade",
    codes=codes_of(
        {
            "true": ("block trade, negotiated outside of the book", VOLUME_ONLY),
            "false": ("matched in the order book", ALL),
        }
    ),
)
"""Bybit marks block trades. The mark is documented; that a negotiated price sets no open, high, low
or close is a convention.
"""

BINANCE_OPTIONS: Final = ConditionTable(
    name="binance_options",
    title="X of Binance options trades",
    source="Binance options API, trade streams, field X",
    codes=codes_of(
        {
            "market": ("matched in the order book", ALL),
            "block": ("block trade", VOLUME_ONLY),
        }
    ),
)
"""Binance options mark block trades. The mark is documented; that a negotiated price sets no open,
high, low or close is a convention. (Binance futures leave trades of the insurance fund and of ADL
out of their public trades, so there is nothing to exclude.)
"""

DERIBIT_BLOCK: Final = ConditionTable(
    name="deribit_block",
    title="block_trade_id of Deribit trades",
    source="Deribit API v2, public trades, field block_trade_id",
    codes=codes_of({}),
    unknown=VOLUME_ONLY,
)
"""Deribit gives the trades of a block an id of the block: any value marks one. That a negotiated
price sets no open, high, low or close is a convention.
"""

DERIBIT_LIQUIDATION: Final = ConditionTable(
    name="deribit_liquidation",
    title="liquidation of Deribit trades",
    source="Deribit API v2, public trades, field liquidation",
    codes=codes_of(
        {
            "none": ("no liquidation", ALL),
            "m": ("the maker was under liquidation", ALL),
            "t": ("the taker was under liquidation", ALL),
            "mt": ("both were under liquidation", ALL),
        }
    ),
)
"""Deribit marks liquidations. They are matched in the order book and count for all; the table is
there to be changed with :meth:`ConditionTable.with_flags`.
"""

OKX_SOURCE: Final = ConditionTable(
    name="okx_source",
    title="source of OKX trades",
    source="OKX API v5, trades, field source",
    codes=codes_of(
        {
            "0": ("normal order", ALL),
            "1": ("order of the Enhanced Liquidity Program", ALL),
        }
    ),
)
"""OKX mark trades against orders of the Enhanced Liquidity Program. They count for all; the table
is there to be changed with :meth:`ConditionTable.with_flags`. (OKX send block trades in a feed of
their own.)
"""

RPI: Final = ConditionTable(
    name="rpi",
    title="isRPITrade (Binance futures, Bybit) or RPI (Bybit)",
    source="Binance USD-M futures API and Bybit API v5, public trades, field isRPITrade",
    codes=codes_of(
        {
            "true": ("against a Retail Price Improvement order", ALL),
            "false": ("against an order that everybody may hit", ALL),
        }
    ),
)
"""Trades against Retail Price Improvement orders, which API users cannot hit. They count for all;
``RPI.with_flags({"true": 3})`` keeps their prices out of the bars.
"""
