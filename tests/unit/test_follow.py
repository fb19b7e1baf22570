"""Progress of long work, and how it is interrupted."""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable
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


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupt_while_waiting(kind: Any) -> None:
    under_way = threading.Event()

    def interrupt() -> None:
        under_way.wait()
        _thread.interrupt_main()  # as Ctrl-C does

    aggregator = Aggregator(**kind, progress=lambda done, total: under_way.set())
    other = threading.Thread(target=interrupt)
    other.start()
    with pytest.raises(KeyboardInterrupt):
        aggregator.update(trades(ROWS))
    other.join()
    # Else the next update would run beside this one.
    assert not any(thread.name == "klineagg-aggregate" for thread in threading.enumerate())
    check_untouched(aggregator)


def test_a_second_interrupt_waits_for_the_work_too() -> None:
    cancelled = threading.Semaphore(0)
    ended = threading.Event()

    def work() -> None:
        cancelled.acquire()
        _thread.interrupt_main()
        for _ in range(3):
            cancelled.acquire()
        ended.set()

    def hear(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        follow(work, rows=1, passed=lambda: 0, cancel=cancelled.release, option=hear)
    assert ended.is_set()


def check_lost(aggregator: Aggregator) -> None:
    calls: list[Callable[[], object]] = [lambda: aggregator.update(trades(10)), aggregator.finish]
    for further in calls:
        with pytest.raises(errors.OptionError, match="bars are lost") as caught:
            further()
        assert caught.value.name == "invalid_option"
    assert "broken" in repr(aggregator)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_whose_bars_were_lost_ends(kind: Any) -> None:
    def fail(done: int, total: int | None) -> None:
        if done == total:
            raise LookupError("too late: the trades are taken")

    aggregator = Aggregator(**kind, progress=fail)
    with pytest.raises(LookupError):
        aggregator.update(trades(10))
    check_lost(aggregator)


def test_an_interrupt_while_the_result_is_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    aggregator = Aggregator("1m")
    with monkeypatch.context() as patch:
        patch.setattr("klineagg.aggregation.bars_of", interrupted)
        with pytest.raises(KeyboardInterrupt):
            aggregator.update(trades(10))
    check_lost(aggregator)


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_count_is_the_total(kind: Any) -> None:
    calls: list[tuple[int, int | None]] = []
    aggregator = Aggregator(**kind, progress=lambda done, total: calls.append((done, total)))
    for rows in (1, 1_000):
        aggregator.update(trades(rows))
        assert calls[-1] == (2 * rows, 2 * rows)


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
