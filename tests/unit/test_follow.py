"""Progress of long work, and how it is interrupted."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from klineagg import Aggregator, Report, errors
from klineagg._follow import follow
from klineagg.symbols import intern

# Far more rows than any machine passes before the first look at the progress; they are one row
# seen many times, and take no memory.
ROWS = 500_000_000
KINDS = [{"intervals": "1m"}, {"intervals": "1m", "lateness": "1s"}, {"by": "tick", "threshold": 9}]


def trades(rows: int, price: float = 1.0) -> dict[str, Any]:
    row = {
        "symbol": intern("FOLLOWED")[0],
        "time": np.datetime64("2024-01-01", "ns"),
        "price": np.float64(price),
        "quantity": np.float64(2.0),
    }
    return {name: np.broadcast_to(value, (rows,)) for name, value in row.items()}


def check_untouched(aggregator: Aggregator) -> None:
    assert aggregator.report == Report()
    aggregator._progress = False
    parts = [aggregator.update(trades(3)), aggregator.finish()]
    assert sum(int(part.trade_count.sum()) for part in parts) == 3
    assert aggregator.report == Report(offered=3, accepted=3)


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupt_stops_the_core_and_changes_nothing(kind: Any) -> None:
    calls: list[tuple[int, int | None]] = []

    def hear(done: int, total: int | None) -> None:
        calls.append((done, total))
        raise KeyboardInterrupt

    aggregator = Aggregator(**kind, progress=hear)
    with pytest.raises(KeyboardInterrupt):
        aggregator.update(trades(ROWS))
    assert not any(thread.name == "klineagg-aggregate" for thread in threading.enumerate())
    ((done, total),) = calls
    assert total == 2 * ROWS  # the core passes over them twice
    assert done < ROWS
    check_untouched(aggregator)


def test_an_error_of_the_progress_function_stops_the_work_too() -> None:
    def fail(done: int, total: int | None) -> None:
        raise LookupError("the window is closed")

    aggregator = Aggregator("1m", progress=fail)
    with pytest.raises(LookupError, match="the window is closed"):
        aggregator.update(trades(ROWS))
    check_untouched(aggregator)


def test_an_error_of_the_core_reaches_the_caller() -> None:
    aggregator = Aggregator("1m", progress=lambda done, total: None)
    with pytest.raises(errors.TradeError) as caught:
        aggregator.update(trades(10, price=-1.0))
    assert caught.value.fields["reason"] == "price_not_positive"
    check_untouched(aggregator)


def test_short_work_is_done_by_the_caller_itself() -> None:
    def where(option: Any, rows: int) -> threading.Thread:
        return follow(
            threading.current_thread,
            rows=rows,
            passed=lambda: 0,
            cancel=lambda: None,
            option=option,
        )

    here = threading.current_thread()
    assert where(None, 1_000) is here
    assert where(False, 10**9) is here
    assert where(None, 10**9) is not here
    assert where(lambda done, total: None, 1_000) is not here


def test_counts_never_pass_the_total() -> None:
    passed = iter([3, 7, 12, 12, 12])
    go_on = threading.Event()
    calls: list[tuple[int, int | None]] = []

    def hear(done: int, total: int | None) -> None:
        calls.append((done, total))
        if len(calls) == 4:
            go_on.set()

    follow(go_on.wait, rows=10, passed=lambda: next(passed), cancel=go_on.set, option=hear)
    assert calls[:4] == [(3, 10), (7, 10), (10, 10), (10, 10)]
