"""Random trades, intervals and options for the property tests."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import strategies as st

import reference as ref

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def at(*days: int) -> list[int]:
    return [day * DAY for day in days]


# The epoch, before it, a leap day, and the days on which New York's and Lord Howe's clocks change.
ORIGINS = at(0, -3, 19_781, 19_791, 20_029, 19_818, 20_000, 18_321)


@dataclass(frozen=True)
class Scale:
    """Steps between trades, and intervals for which they make a bearable number of gap bars."""

    steps: tuple[int, ...]
    intervals: tuple[str, ...]


FINE = Scale(
    steps=(0, 0, 0, 1, 1_000_000, 400_000_000, 999_999_999, SECOND, 3 * SECOND, MINUTE, 3 * MINUTE),
    intervals=(
        *("1s", "2s", "3s", "5s", "7s", "10s", "1m", "1m+30s", "90s", "5m", "1h", "1d", "3d", "1w"),
        *("1M", "1m@Asia/Kolkata", "15m@America/New_York", "1d@America/New_York", "1d+1s", "2d"),
    ),
)
COARSE = Scale(
    steps=(0, 0, 1, SECOND, MINUTE, 17 * MINUTE, HOUR, 5 * HOUR, DAY, 3 * DAY, 9 * DAY),
    intervals=(
        *(
            "30m",
            "1h",
            "4h",
            "5h",
            "7h",
            "1d",
            "1d+8h",
            "3d",
            "1w",
            "2w",
            "10d",
            "1M",
            "3M",
            "12M+3M",
        ),
        *("1h@America/New_York", "4h@America/New_York", "1d@America/New_York", "1w@Europe/Berlin"),
        *("1d@America/New_York+17h", "1h@Australia/Lord_Howe", "2h@Australia/Lord_Howe"),
        *("1d@Asia/Kolkata", "3d@Asia/Tokyo", "1M@Asia/Tokyo", "3M@America/New_York", "1M-1d"),
    ),
)

scales = st.sampled_from([FINE, COARSE])

# What markets print, round binary numbers, and magnitudes that no pair of floats can hold at once.
prices = st.one_of(
    st.integers(1, 400).map(lambda n: n * 0.05),
    st.sampled_from([0.1, 0.2, 0.3, 1.0, 7.5, 43_210.01, 1e-5, 3e6]),
)
wide_prices = st.one_of(prices, st.floats(1e-9, 1e9))
quantities = st.one_of(
    st.integers(1, 5_000).map(lambda n: n / 1000),
    st.sampled_from([0.1, 0.2, 0.3, 1.0, 100.0, 1e-8]),
)
wide_quantities = st.one_of(
    quantities,
    st.builds(
        lambda mantissa, exponent: mantissa * 10.0**exponent,
        st.floats(1.0, 9.99),
        st.integers(-18, 18),
    ),
)
flags = st.sampled_from([0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7])


@st.composite
def streams(
    draw: st.DrawFn,
    scale: Scale,
    *,
    size: int = 40,
    wide: bool = False,
    plain: bool = False,
    ids: str | None = None,
) -> list[ref.Trade]:
    """Trades of up to three symbols, in order of time.

    Args:
        scale: the steps between them.
        size: most trades.
        wide: amounts from 1e-18 to 1e18.
        plain: no flags and no aggregated trades.
        ids: ``"none"``, ``"rising"`` (over all symbols) or ``"mixed"``; None: any of them.
    """
    kind = ids or draw(st.sampled_from(["none", "rising", "mixed"]))
    trade_flags = st.just(0) if plain or draw(st.booleans()) else flags
    aggregated = not plain and kind == "rising" and draw(st.booleans())
    trades: list[ref.Trade] = []
    time = draw(st.sampled_from(ORIGINS)) + draw(st.integers(0, DAY - 1)) // SECOND * SECOND
    next_id = draw(st.integers(0, 10))
    for _ in range(draw(st.integers(0, size))):
        if trades and draw(st.integers(0, 7)) == 0:
            trades.append(trades[-1])  # a sweep: the same row again
            continue
        time += draw(st.sampled_from(scale.steps))
        last_id = next_id + (draw(st.integers(0, 3)) if aggregated else 0)
        trade_id = {"none": -1, "rising": next_id, "mixed": draw(st.integers(-1, 6))}[kind]
        trades.append(
            ref.Trade(
                symbol=draw(st.sampled_from("ABC")),
                time=time,
                price=draw(wide_prices if wide else prices),
                quantity=draw(wide_quantities if wide else quantities),
                side=draw(st.integers(-1, 1)),
                trade_id=trade_id,
                last_trade_id=last_id if aggregated else None,
                flags=draw(trade_flags),
            )
        )
        next_id = last_id + 1
    return trades


@st.composite
def session_tables(draw: st.DrawFn, trades: list[ref.Trade]) -> ref.Sessions:
    """Sessions around the trades, some touching, most with holes between them."""
    begin = trades[0].time if trades else 0
    edge = begin // SECOND * SECOND - draw(st.integers(0, 3 * 3600)) * SECOND
    spans = []
    for _ in range(draw(st.integers(1, 12))):
        edge += draw(st.sampled_from([0, 1, 60, 3600, 30_000])) * SECOND
        close = edge + draw(st.sampled_from([1, 30, 600, 3600, 23_400, 86_400])) * SECOND
        spans.append((edge, close))
        edge = close
    return ref.Sessions("session", tuple(spans))


@st.composite
def interval_sets(
    draw: st.DrawFn, scale: Scale, trades: list[ref.Trade], *, most: int = 5
) -> list[ref.Clock | ref.Sessions]:
    """A few different intervals in any order; often no one refines all the others."""
    names = draw(st.lists(st.sampled_from(scale.intervals), min_size=1, max_size=most, unique=True))
    chosen: list[ref.Clock | ref.Sessions] = [ref.parse(name) for name in names]
    if draw(st.integers(0, 3)) == 0:
        chosen.insert(draw(st.integers(0, len(chosen))), draw(session_tables(trades)))
    return chosen


@st.composite
def coverages(draw: st.DrawFn, trades: list[ref.Trade], scale: Scale) -> ref.Options:
    """Options about gaps, coverage and seeds that hold all the trades."""
    begin = trades[0].time if trades else 0
    end = trades[-1].time if trades else 0
    margin = st.sampled_from([0, 1, SECOND, *scale.steps])
    start = draw(st.none() | margin.map(lambda step: begin - step))
    stop = draw(st.none() | margin.map(lambda step: end + 1 + step))
    # A last price is one from before the start, so it needs one.
    most = 0 if start is None else 2
    known = st.sampled_from([5.0, 0.25, 100.1])
    seeds = draw(st.dictionaries(st.sampled_from("ABCD"), known, max_size=most))
    return ref.Options(
        gaps=draw(st.sampled_from(["none", "runs", "flat"])),
        coverage=(start, stop),
        include_open=draw(st.booleans()),
        last_prices=seeds,
    )


@st.composite
def shuffled_across_symbols(draw: st.DrawFn, trades: list[ref.Trade]) -> list[ref.Trade]:
    """Another order in which each symbol keeps its own."""
    queues = [[t for t in trades if t.symbol == symbol] for symbol in "ABC"]
    picks = draw(st.permutations([number for number, queue in enumerate(queues) for _ in queue]))
    heads = [iter(queue) for queue in queues]
    return [next(heads[number]) for number in picks]


@st.composite
def disordered(
    draw: st.DrawFn, trades: list[ref.Trade], reach: int, *, keep_ties: bool = True
) -> list[ref.Trade]:
    """Another order of arrival: each trade is delayed by up to ``reach``, ties stay as they are."""
    arrivals = []
    delays: dict[tuple[str, int, int], int] = {}
    for position, trade in enumerate(trades):
        delay = draw(st.sampled_from([0, 0, 1, reach // 3, reach]))
        if keep_ties:
            delay = delays.setdefault((trade.symbol, *trade.order), delay)
        arrivals.append((trade.time + delay, position))
    return [trades[position] for _, position in sorted(arrivals)]


def cuts(trades: list[ref.Trade]) -> st.SearchStrategy[list[int]]:
    """Where to cut a stream into chunks; some of them empty."""
    return st.lists(st.integers(0, len(trades)), max_size=5)


def without_flags(trades: list[ref.Trade]) -> list[ref.Trade]:
    return [replace(trade, flags=0) for trade in trades]
