"""Which trades count, and which came too late."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

SECOND = 1_000_000_000
NO_OPEN_CLOSE, NO_HIGH_LOW, NO_VOLUME = 1, 2, 4

TIME_MIN = -25_567 * 86_400 * SECOND  # 1900-01-01
TIME_MAX = 84_006 * 86_400 * SECOND  # 2200-01-01
NAT = -(2**63)
AMOUNT_MIN, AMOUNT_MAX = 2.0**-100, 2.0**100
COUNT_MAX = 2**32  # of an aggregated trade


@dataclass(frozen=True, slots=True)
class Trade:
    symbol: str
    time: int
    price: float
    quantity: float
    side: int = 0  # +1: the taker bought, -1: it sold, 0: nobody knows
    trade_id: int = -1
    last_trade_id: int | None = None  # aggregated trades
    flags: int = 0

    @property
    def count(self) -> int:
        return 1 if self.last_trade_id is None else self.last_trade_id - self.trade_id + 1

    @property
    def last_id(self) -> int:
        return self.trade_id if self.last_trade_id is None else self.last_trade_id

    @property
    def value(self) -> float:
        return self.price * self.quantity

    @property
    def order(self) -> tuple[int, int]:
        """Sorting by this with a stable sort leaves ties in their order of arrival."""
        return self.time, self.trade_id


@dataclass(frozen=True)
class Options:
    lateness: int | None = None  # ns
    late: str = "raise"
    amend_horizon: int | None = None  # ns
    gaps: str = "none"
    coverage: tuple[int | None, int | None] = (None, None)
    include_open: bool = True
    last_prices: Mapping[str, float] = field(default_factory=dict)
    on_bad: str = "raise"
    allow_nonpositive_prices: bool = False
    by: str = "time"
    threshold: float = 0.0


class BadTrade(Exception):
    """A trade with a value that no trade can have; the argument is the reason."""


class Unsorted(Exception):
    """Time goes back within a symbol, and no lateness was allowed."""


class LateTrade(Exception):
    """A trade later than the allowed lateness."""


def fault(trade: Trade, options: Options) -> str | None:
    """Why a trade is rejected; None for a good one."""
    price, quantity = trade.price, trade.quantity
    if trade.time == NAT:
        return "time_missing"
    if not TIME_MIN <= trade.time < TIME_MAX:
        return "time_out_of_range"
    if not math.isfinite(price):
        return "price_not_finite"
    if price <= 0 and not options.allow_nonpositive_prices:
        return "price_not_positive"
    if price != 0 and not AMOUNT_MIN <= abs(price) <= AMOUNT_MAX:
        return "price_out_of_range"
    if not math.isfinite(quantity):
        return "quantity_not_finite"
    if quantity <= 0:
        return "quantity_not_positive"
    if not AMOUNT_MIN <= quantity <= AMOUNT_MAX:
        return "quantity_out_of_range"
    if price != 0 and not AMOUNT_MIN <= abs(trade.value) <= AMOUNT_MAX:
        return "value_out_of_range"
    if trade.trade_id < -1 or (trade.last_trade_id is not None and trade.count < 1):
        return "id_invalid"
    if trade.count > COUNT_MAX:
        return "count_overflow"
    if not 0 <= trade.flags <= 7:
        return "flags_invalid"
    return None


@dataclass
class Arrival:
    """A good trade, and the watermark of its symbol when it came (None: nothing had come yet)."""

    trade: Trade
    watermark: int | None
    reach: int | None = None  # bars that ended by then are not amended any more; None: all are

    @property
    def late(self) -> bool:
        """Whether its second had ended: a grid that no set of intervals changes."""
        return self.ended(self._second_end)

    @property
    def beyond(self) -> bool:
        """Whether it is too late even for an amendment: it is in no bar."""
        return self.late and self.reach is not None and self._second_end <= self.reach

    @property
    def _second_end(self) -> int:
        return self.trade.time // SECOND * SECOND + SECOND

    def ended(self, time: int) -> bool:
        """Whether the watermark was at a time."""
        return self.watermark is not None and time <= self.watermark


@dataclass
class Admission:
    """The good trades of one symbol in order of arrival, but for those dropped as late."""

    arrivals: list[Arrival] = field(default_factory=list)
    newest: int | None = None  # highest time of a good trade

    @property
    def kept(self) -> list[Trade]:
        return [arrival.trade for arrival in self.arrivals if not arrival.beyond]


def reach_of(watermark: int | None, options: Options) -> int | None:
    """What ended by then, late trades do not amend."""
    if watermark is None or options.amend_horizon is None:
        return None
    return watermark - options.amend_horizon


def admit(
    trades: Iterable[Trade], options: Options
) -> tuple[dict[str, Admission], Counter[str], Counter[str]]:
    """The admissions of each symbol, the rejections and the drops by reason."""
    symbols: dict[str, Admission] = {}
    rejected: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    for trade in trades:
        reason = fault(trade, options)
        if reason is not None:
            if options.on_bad == "raise":
                raise BadTrade(reason)
            rejected[reason] += 1
            continue
        symbol = symbols.setdefault(trade.symbol, Admission())
        if options.lateness is None:
            if symbol.newest is not None and trade.time < symbol.newest:
                raise Unsorted(trade)
            watermark = None
        else:
            watermark = None if symbol.newest is None else symbol.newest - options.lateness
        arrival = Arrival(trade, watermark, reach_of(watermark, options))
        if not arrival.late:
            symbol.arrivals.append(arrival)
        elif options.late == "raise":
            raise LateTrade(trade)
        elif options.late == "drop":
            dropped["late"] += 1
        elif arrival.beyond:
            dropped["beyond_horizon"] += 1
            symbol.arrivals.append(arrival)
        else:
            symbol.arrivals.append(arrival)
        symbol.newest = trade.time if symbol.newest is None else max(symbol.newest, trade.time)
    return symbols, rejected, dropped
