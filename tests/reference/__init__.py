"""A slow, obvious implementation of what bars mean, to judge the fast one by.

It shares no code with klineagg and uses plain Python only: lists, dictionaries, ``sorted`` and
``math.fsum``. Where it and the package differ, one of the two is wrong. Read it in this order:

1. ``intervals`` says where bars begin and end,
2. ``trades`` says which trades count, and which came too late,
3. ``bars`` turns the trades of one symbol into the bars of one interval,
4. ``results`` puts symbols, intervals, revisions and gap runs together.

It knows the whole input at once, so nothing in it depends on chunks, threads or a roll-up.
"""

from reference.bars import (
    CLOSED,
    COLUMNS,
    GAP,
    GENESIS,
    INCOMPLETE,
    PARTIAL,
    REVISED,
    Row,
    activity_bars,
    series,
)
from reference.intervals import Clock, Sessions, parse
from reference.results import Result, aggregate, evaluate
from reference.trades import (
    NAT,
    NO_HIGH_LOW,
    NO_OPEN_CLOSE,
    NO_VOLUME,
    TIME_MAX,
    TIME_MIN,
    BadTrade,
    LateTrade,
    Options,
    Trade,
    Unsorted,
)

__all__ = [
    "CLOSED",
    "COLUMNS",
    "GAP",
    "GENESIS",
    "INCOMPLETE",
    "NAT",
    "NO_HIGH_LOW",
    "NO_OPEN_CLOSE",
    "NO_VOLUME",
    "PARTIAL",
    "REVISED",
    "BadTrade",
    "Clock",
    "LateTrade",
    "Options",
    "Result",
    "Row",
    "Sessions",
    "TIME_MAX",
    "TIME_MIN",
    "Trade",
    "Unsorted",
    "activity_bars",
    "aggregate",
    "evaluate",
    "parse",
    "series",
]
