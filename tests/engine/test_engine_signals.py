"""Ctrl-C ends every call that may wait; timeouts end pushes and flushes."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import klineagg
from klineagg import SimulatedClock, errors
from klineagg.engine import Engine, Producer

T0 = np.datetime64("2024-01-01T00:00:00", "ns")


def trades(count: int, price: float = 1.0) -> dict[str, Any]:
    return {
        "symbol": ["STALL"] * count,
        "time": T0 + np.arange(count) * np.timedelta64(1, "s"),
        "price": np.full(count, price),
        "quantity": np.ones(count),
    }


@pytest.fixture
def idle() -> tuple[Engine, Producer]:
    """An engine that was not started: nobody empties its lanes."""
    engine = Engine("1m", clock=SimulatedClock(), lane_capacity=1024, push_timeout="1h")
    producer = engine.producer()
    producer.push(trades(1024))
    return engine, producer


def interrupted(call: Callable[[], object]) -> None:
    """The call waits for ever, and is left by Ctrl-C."""
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGINT))

    def wait() -> None:
        timer.start()
        call()

    with pytest.raises(KeyboardInterrupt):
        wait()
    timer.join()


def test_ctrl_c_ends_a_push_into_full_lanes(idle: tuple[Engine, Producer]) -> None:
    engine, producer = idle
    interrupted(lambda: producer.push(trades(5000)))
    assert producer.stats().offered == producer.stats().in_flight <= 1024
    assert engine.counts().offered == producer.stats().offered


def test_ctrl_c_ends_a_push_of_one_trade(idle: tuple[Engine, Producer]) -> None:
    _, producer = idle
    symbol = int(klineagg.intern("STALL")[0])
    interrupted(lambda: producer.push_one(symbol, 1.0, 1.0, 0))


def test_ctrl_c_ends_the_flush_of_a_producer(idle: tuple[Engine, Producer]) -> None:
    interrupted(idle[1].flush)


def test_timeouts_of_pushes_and_flushes(idle: tuple[Engine, Producer]) -> None:
    engine, producer = idle
    assert producer.flush(timeout=np.timedelta64(10, "ms")) is False
    with pytest.raises(errors.LaneFullError) as caught:
        producer.push(trades(600), timeout=np.timedelta64(10, "ms"))
    assert caught.value.fields["left"] == 600
    engine.start()
    assert producer.flush() is True
    producer.push(trades(600))
    assert producer.flush(timeout="1m") is True
    assert engine.counts().accepted == 1024 + 600
    engine.stop()


def test_a_take_gives_up_in_time_and_loses_nothing() -> None:
    with Engine("1s", clock=SimulatedClock(), late="drop", gaps="none") as engine:
        producer = engine.producer()
        seconds = 0
        given_up: list[Exception] = []
        while not given_up:
            batch = trades(5_000)
            batch["time"] = batch["time"] + np.timedelta64(seconds, "s")
            producer.push(batch)
            seconds += 5_000
            try:
                engine.take("lake", timeout=1).nack()
            except TimeoutError as error:
                given_up.append(error)
        assert isinstance(given_up[0], errors.SnapshotTimeoutError)
        assert given_up[0].name == "take_timeout"
        engine.flush()
        with engine.take("lake", timeout="4m") as snapshot:
            assert len(snapshot.closed) == seconds - 1
        with pytest.raises(errors.OptionError):
            engine.take("lake", timeout="soon")


def test_what_a_push_left_can_be_pushed_again() -> None:
    """Nothing is lost or doubled when a batch is pushed in the pieces that fit."""
    engine = Engine("1m", clock=SimulatedClock(), lane_capacity=4096, late="drop")
    producer = engine.producer()
    batch = trades(20_000)
    batch["price"][::7] = -1.0
    rejected = done = 0
    while done < 20_000:
        rest = {name: column[done:] for name, column in batch.items()}
        try:
            result = producer.push(rest, timeout=1, return_rejected=True)
            assert result.rejected_rows is not None
            assert (result.rejected_rows + done).tolist() == [
                row for row in range(done, 20_000) if row % 7 == 0
            ]
            rejected += result.rejected
            done += result.offered
        except errors.LaneFullError as full:
            rejected += full.fields["rejected"]
            done = 20_000 - full.fields["left"]
            if engine.state == "created":
                engine.start()
            producer.flush()
    engine.stop()
    counts = engine.counts()
    assert rejected == counts.rejected["price_not_positive"] == len(range(0, 20_000, 7))
    assert counts.accepted == counts.offered - rejected == 20_000 - rejected


def test_a_worker_that_waits_for_a_consumer_holds_nobody_else_up() -> None:
    with Engine(
        "1s", clock=SimulatedClock(), on_bound="block", unacknowledged_max=1024, lane_capacity=1024
    ) as engine:
        producer = engine.producer()
        slow = engine.take("slow")
        with pytest.raises(errors.LaneFullError):
            producer.push(trades(30_000), timeout="1s")
        while engine.consumers()[0].rows_behind < 1024:
            time.sleep(0.01)  # the worker has not come as far as that yet
        (consumer,) = engine.consumers()
        assert (consumer.name, consumer.outstanding, consumer.rows_lost) == ("slow", True, 0)
        assert consumer.rows_behind >= 1024
        assert engine.stats().consumers == (consumer,)
        assert len(engine.view().open) == 1
        slow.ack()
        with engine.take("slow") as snapshot:
            assert len(snapshot.closed) >= consumer.rows_behind
        assert engine.flush() is True
        engine.advance(T0 + np.timedelta64(31, "D"))
        assert engine.remove_consumer("slow") is True
        assert engine.remove_consumer("slow") is False
        assert engine.consumers() == ()


def test_ctrl_c_leaves_a_take_that_has_begun_and_no_row_is_lost() -> None:
    ids = klineagg.intern([f"LEFT-{number}" for number in range(20_000)]).astype(np.int32)
    main = threading.main_thread().ident
    assert main is not None
    rows = len(ids)
    with Engine("1s,1m,1h", clock=SimulatedClock(), late="drop", gaps="none") as engine:
        producer = engine.producer()
        for second in range(4):
            producer.push(
                {"symbol": ids, "time": np.full(rows, T0 + second * np.timedelta64(1, "s")),
                 "price": np.ones(rows), "quantity": np.ones(rows)}
            )  # fmt: skip
        engine.flush()
        heard: list[int] = []

        def hear(*_: object) -> None:
            heard.append(1)
            raise KeyboardInterrupt

        before = signal.signal(signal.SIGINT, hear)
        for left, delay in enumerate((0.0, 0.001, 0.003, 0.006, 0.01)):
            timer = threading.Timer(delay, signal.pthread_kill, (main, signal.SIGINT))
            try:
                timer.start()
                engine.take("lake")  # dropped at once: its rows go back
                timer.join()
                while len(heard) == left:  # the signal comes now if it has not come yet
                    time.sleep(0.01)
            except KeyboardInterrupt:
                timer.join()
        signal.signal(signal.SIGINT, before)
        assert len(heard) == 5
        with engine.take("lake") as whole:
            assert len(whole.closed) == 3 * rows
            assert len(whole.open) == 3 * rows
        with engine.take("lake") as empty:
            assert len(empty.closed) == len(empty.open) == 0
