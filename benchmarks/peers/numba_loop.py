"""The loop that numba compiles; imported only where numba is."""

from __future__ import annotations

from typing import Final

from benchmarks.peer import Array, need

numba = need("numba")

# Columns of a level's float64 and int64 state, and of the rows written out.
OPEN: Final = 0
HIGH: Final = 1
LOW: Final = 2
CLOSE: Final = 3
VOLUME: Final = 4
QUOTE_VOLUME: Final = 5
BUY_VOLUME: Final = 6
BUY_QUOTE_VOLUME: Final = 7
REALS: Final = 8

SYMBOL: Final = 0
OPEN_TIME: Final = 1
COUNT: Final = 2
FIRST_ID: Final = 3
LAST_ID: Final = 4
FIRST_TIME: Final = 5
LAST_TIME: Final = 6
END: Final = 7
WHOLES: Final = 8


def _write_and_roll_up(
    real: Array, whole: Array, first: int, level: int, lengths: Array, out: tuple[Array, ...]
) -> None:
    """Write out this symbol's bar of a level, and of each coarser one that it pushes out.

    ``first`` is the row of the symbol's finest level in ``real`` and ``whole``.
    """
    out_real, out_whole, used = out
    last = lengths.size - 1
    top = level
    while top < last and 0 < whole[first + top + 1, END] <= whole[first + top, OPEN_TIME]:
        top += 1
    for at in range(top, level - 1, -1):
        here = first + at
        row = used[at]
        used[at] += 1
        for k in range(REALS):
            out_real[row, k] = real[here, k]
        for k in range(END):
            out_whole[row, k] = whole[here, k]
        if at == last:
            continue
        up = here + 1
        if whole[here, OPEN_TIME] >= whole[up, END]:
            for k in range(REALS):
                real[up, k] = real[here, k]
            for k in range(END):
                whole[up, k] = whole[here, k]
            whole[up, OPEN_TIME] -= whole[up, OPEN_TIME] % lengths[at + 1]
            whole[up, END] = whole[up, OPEN_TIME] + lengths[at + 1]
            continue
        if real[here, HIGH] > real[up, HIGH]:
            real[up, HIGH] = real[here, HIGH]
        if real[here, LOW] < real[up, LOW]:
            real[up, LOW] = real[here, LOW]
        real[up, CLOSE] = real[here, CLOSE]
        for k in range(VOLUME, REALS):
            real[up, k] += real[here, k]
        whole[up, COUNT] += whole[here, COUNT]
        whole[up, LAST_ID] = whole[here, LAST_ID]
        whole[up, LAST_TIME] = whole[here, LAST_TIME]


write_and_roll_up = numba.njit(cache=True)(_write_and_roll_up)


def _loop(
    trades: tuple[Array, ...], real: Array, whole: Array, lengths: Array, out: tuple[Array, ...]
) -> None:
    """All trades into the finest level; what closes there goes up. At the end all bars go out."""
    symbols, times, prices, quantities, sides, ids = trades
    levels = lengths.size
    length = lengths[0]
    for i in range(times.size):
        time, price, quantity = times[i], prices[i], quantities[i]
        at = symbols[i] * levels
        value = price * quantity
        if time >= whole[at, END]:
            if whole[at, END] > 0:
                write_and_roll_up(real, whole, at, 0, lengths, out)
            start = time - time % length
            whole[at, END] = start + length
            real[at, OPEN] = price
            real[at, HIGH] = price
            real[at, LOW] = price
            for k in range(VOLUME, REALS):
                real[at, k] = 0.0
            whole[at, SYMBOL] = symbols[i]
            whole[at, OPEN_TIME] = start
            whole[at, COUNT] = 0
            whole[at, FIRST_ID] = ids[i]
            whole[at, FIRST_TIME] = time
        if price > real[at, HIGH]:
            real[at, HIGH] = price
        if price < real[at, LOW]:
            real[at, LOW] = price
        real[at, CLOSE] = price
        real[at, VOLUME] += quantity
        real[at, QUOTE_VOLUME] += value
        if sides[i] > 0:
            real[at, BUY_VOLUME] += quantity
            real[at, BUY_QUOTE_VOLUME] += value
        whole[at, COUNT] += 1
        whole[at, LAST_ID] = ids[i]
        whole[at, LAST_TIME] = time
    for first in range(0, real.shape[0], levels):
        for level in range(levels):
            if whole[first + level, END] > 0:
                write_and_roll_up(real, whole, first, level, lengths, out)


loop = numba.njit(cache=True)(_loop)
