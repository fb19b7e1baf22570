"""klineagg.Engine as its users see it."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import klineagg
from klineagg import SimulatedClock, SystemClock, errors
from klineagg.engine import Engine, SnapshotId

T0 = np.datetime64("2024-01-01T00:00:00", "ns")
SECOND = np.timedelta64(1, "s")


def trades(
    *seconds: float, symbol: str | list[str] = "BTC", price: float = 100.0
) -> dict[str, Any]:
    """One trade of quantity 1 at each of these seconds behind T0."""
    count = len(seconds)
    return {
        "symbol": [symbol] * count if isinstance(symbol, str) else symbol,
        "time": T0 + (np.array(seconds) * 1e9).astype("timedelta64[ns]"),
        "price": [price] * count,
        "quantity": [1.0] * count,
    }


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine("1m", clock=SimulatedClock()) as made:
        yield made


# -- life ----------------------------------------------------------------------------------------


def test_an_engine_from_start_to_stop() -> None:
    engine = Engine("1m,1h", clock=SimulatedClock(), workers=2)
    assert (engine.state, engine.intervals) == ("created", ("1m", "1h"))
    with engine:
        assert engine.state == "running"
        engine.producer().push(trades(1))
    assert engine.state == "stopped"
    engine.stop()  # again
    assert repr(engine) == "<Engine 1m,1h: stopped, 2 workers, 1 trades, 0 in flight>"
    with pytest.raises(errors.EngineError) as caught:
        engine.start()
    assert caught.value.name == "engine_state"


def test_stop_applies_what_was_pushed_and_its_rows_can_still_be_taken() -> None:
    engine = Engine("1m", clock=SimulatedClock()).start()
    engine.producer().push(trades(1, 61))
    engine.stop()
    with engine.take("lake") as snapshot:
        assert snapshot.closed.trade_count.tolist() == [1]
        assert snapshot.open.trade_count.tolist() == [1]


def test_a_stopped_engine_takes_no_more(engine: Engine) -> None:
    producer = engine.producer("feed")
    engine.stop()
    for call in (
        lambda: producer.push(trades(1)),
        lambda: producer.push_one(0, 1.0, 1.0, 0),
        engine.flush,
        engine.producer,
    ):
        with pytest.raises(errors.EngineError) as caught:
            call()
        assert caught.value.name == "engine_state"


def test_the_system_clock_closes_bars() -> None:
    with Engine("1s", wait="park") as engine:
        now = engine.clock.now()
        assert now is not None
        row = {"symbol": ["BTC"], "time": [now], "price": [5.0], "quantity": [2.0]}
        engine.producer().push(row)
        for bars in engine.closed("here"):  # waits for the clock alone
            assert bars.close.tolist() == [5.0]
            assert bars.close_time[0] > now
            break


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"workers": 0}, "workers"),
        ({"workers": True}, "workers"),
        ({"cores": [0, 1]}, "cores"),
        ({"cores": b"x"}, "cores"),
        ({"wait": "sleep"}, "wait"),
        ({"policy": "drop"}, "policy"),
        ({"lane_capacity": 0}, "lane_capacity"),
        ({"lateness": "-1s"}, "lateness"),
        ({"lateness": None}, "lateness"),
        ({"late": "raise"}, "late"),
        ({"gaps": "no"}, "gaps"),
        ({"close_delay": "soon"}, "close_delay"),
        ({"max_ahead": -1}, "max_ahead"),
        ({"lease": "1M"}, "lease"),
        ({"clock": "now"}, "clock"),
        ({"admit_unknown": 1}, "admit_unknown"),
        ({"last_prices": {"BTC": -1.0}}, "last_prices"),
        ({"last_prices": {"BTC": 1.0}, "clock": SimulatedClock()}, "last_prices"),
        ({"unacknowledged_max": 0}, "unacknowledged_max"),
        ({"on_bound": "wait"}, "on_bound"),
    ],
)
def test_options_are_checked(options: dict[str, Any], option: str) -> None:
    with pytest.raises(errors.OptionError) as caught:
        Engine("1m", **options)
    assert caught.value.fields["option"] == option


def test_a_core_that_is_not_there_is_named() -> None:
    with pytest.raises(errors.EngineError) as caught:
        Engine("1m", cores=[1023]).start()
    assert caught.value.name == "core_unavailable"
    assert "1023" in str(caught.value)


@pytest.mark.parametrize(
    ("call", "option"),
    [
        (lambda e: e.move([("BTC", 0)]), "symbols"),
        (lambda e: e.move({"BTC": 1}), "worker"),
        (lambda e: e.remove_symbol("BTC", open_bars_too="no"), "open_bars_too"),
        (lambda e: e.reconfigure(remove=5), "remove"),
        (lambda e: e.reconfigure(remove=["1m", None]), "remove"),
        (lambda e: e.take(None), "consumer"),
        (lambda e: e.take("lake", checkpoint="no"), "checkpoint"),
        (lambda e: e.take_async(""), "consumer"),
        (lambda e: e.closed(5), "consumer"),
        (lambda e: e.remove_consumer(b"lake"), "consumer"),
        (lambda e: e.producer(symbol=1.5), "symbol"),
        (lambda e: e.producer().push_all([], None), "wait"),
        (lambda e: e.producer(conditions=["@"]), "conditions"),
    ],
)
def test_arguments_are_checked_by_name(
    engine: Engine, call: Callable[[Engine], object], option: str
) -> None:
    before = repr(engine)
    with pytest.raises(errors.OptionError) as caught:
        call(engine)
    assert caught.value.fields["option"] == option
    assert repr(engine) == before


def test_what_is_no_bars_warms_nothing() -> None:
    engine = Engine("1m", clock=SimulatedClock(T0))
    with pytest.raises(errors.ColumnError, match="a list is no Bars"):
        engine.warm_start([])  # type: ignore[arg-type]


# -- producers -----------------------------------------------------------------------------------


def test_push_tells_what_became_of_the_rows(engine: Engine) -> None:
    batch = trades(1, 2, 3, 4)
    batch["price"] = [1.0, -1.0, np.nan, 2.0]
    with engine.producer("feed") as producer:
        result = producer.push([trades(0), batch], return_rejected=True)
    assert (result.offered, result.queued, result.rejected, result.dropped) == (5, 3, 2, 0)
    assert result.rejected_rows is not None
    assert result.rejected_rows.tolist() == [2, 3]
    assert result.rejected_reasons == ("price_not_positive", "price_not_finite")
    assert repr(result) == "<PushResult: 3 of 5 queued, 2 rejected>"
    again = producer.push(batch, return_rejected=True)
    assert again.rejected_rows is not None
    assert again.rejected_rows.tolist() == [1, 2]  # rows of this call
    with pytest.raises(errors.ColumnError, match="row 2 of the side column"):  # of this one, too
        producer.push({**batch, "side": ["buy", "sell", "bought", "sold"]})
    with pytest.raises(errors.OptionError, match="return_rejected"):
        producer.push(batch, return_rejected="yes")  # type: ignore[arg-type]
    assert producer.push(batch).rejected_rows is None
    engine.flush()
    assert producer.stats().rejected == {"price_not_positive": 3, "price_not_finite": 3}
    counts = engine.counts()
    assert (counts.offered, counts.accepted, counts.in_flight) == (13, 7, 0)


def test_trades_of_the_future_and_unknown_symbols() -> None:
    clock = SimulatedClock(T0)
    with Engine("1m", clock=clock, admit_unknown=False, max_ahead="10s") as engine:
        engine.add_symbol("KNOWN")
        producer = engine.producer()
        result = producer.push(
            trades(1, 11, 5, symbol=["KNOWN", "KNOWN", "UNKNOWN"]), return_rejected=True
        )
        assert result.rejected_reasons == ("time_ahead", "symbol_unknown")
        assert result.queued == 1


def test_push_one_is_a_push_of_one_row(engine: Engine) -> None:
    symbol = int(klineagg.intern("ONE")[0])
    start = int(T0.astype(np.int64))
    producer = engine.producer()
    assert producer.push_one(symbol, 10.0, 2.0, start) is True
    assert producer.push_one(symbol, 12, np.float64(3.0), start + 1, 1, 77) is True
    assert producer.push_one(symbol, -1.0, 2.0, start) is False
    assert producer.push_one(-1, 1.0, 2.0, start) is False
    assert producer.push_one(2**40, 1.0, 2.0, start) is False
    engine.flush()
    (bar,) = engine.bars("ONE", "1m")
    assert (bar.open, bar.high, bar.volume, bar.taker_buy_volume) == (10.0, 12.0, 5.0, 3.0)
    assert (bar.first_trade_id, bar.last_trade_id) == (-1, 77)
    assert producer.stats().rejected == {"price_not_positive": 1, "symbol_missing": 2}
    for wrong, says in (
        ((symbol, 1.0, 2.0), "4 to 6"),
        ((symbol, "x", 1.0, 1), "price is a number, not str"),
        ((symbol, 1.0, None, 1), "quantity is a number, not NoneType"),
        (("ONE", 1.0, 1.0, 1), "symbol_id is an id from"),
        ((symbol, 1.0, 1.0, 1.5), "time_ns is an integer, not float"),
        ((symbol, 1.0, 1.0, 1, 0, "7"), "trade_id is an integer, not str"),
    ):
        with pytest.raises(TypeError, match=says):
            producer.push_one(*wrong)
    for too_large, says in (
        ((symbol, 1.0, 1.0, 2**63), "time_ns is 9223372036854775808, too large"),
        ((2**80, 1.0, 1.0, 1), "symbol_id is 1208925819614629174706176, too large"),
        ((symbol, 10**400, 1.0, 1), "price is 10+, too large"),
    ):
        with pytest.raises(OverflowError, match=says):
            producer.push_one(*too_large)


def test_a_full_lane_raises_after_the_timeout_or_drops() -> None:
    # Before the start nobody empties the lanes.
    engine = Engine("1m", clock=SimulatedClock(), lane_capacity=8, push_timeout=10_000_000)
    with pytest.raises(errors.LaneFullError) as caught:
        engine.producer().push(trades(*range(100)))
    fields = caught.value.fields
    assert fields["left"] > 80
    assert fields["queued"] + fields["left"] == 100
    dropping = Engine("1m", clock=SimulatedClock(), lane_capacity=8, policy="drop_newest")
    result = dropping.producer().push(trades(*range(100)))
    assert result.queued + result.dropped == 100
    assert dropping.counts().dropped == {"lane_newest": result.dropped}
    assert result.dropped > 80


def test_input_in_any_form(engine: Engine) -> None:
    producer = engine.producer(columns={"quantity": "lots"}, unit="ms", symbol="X")
    start = int(T0.astype("datetime64[ms]").astype(np.int64))
    producer.push({"ts": [start, start + 1], "price": [1.0, 2.0], "lots": [3.0, 4.0]})
    table = np.zeros(1, [("time", "M8[us]"), ("price", "f8"), ("lots", "f8"), ("side", "i1")])
    table["time"], table["price"], table["lots"], table["side"] = T0, 5.0, 6.0, 1
    producer.push(table)
    engine.flush()
    (bar,) = engine.bars("X")
    assert (bar.volume, bar.taker_buy_volume) == (13.0, 6.0)
    with pytest.raises(errors.ColumnError):
        producer.push({"price": [1.0]})


def test_producers_have_names(engine: Engine) -> None:
    engine.producer("producer-1")
    assert engine.producer().name == "producer-2"
    for name in ("producer-1", "", 3):
        with pytest.raises(errors.OptionError):
            engine.producer(name)  # type: ignore[arg-type]
    with pytest.raises(errors.OptionError):
        engine.producer(source=-1)


def test_several_threads_push_at_once() -> None:
    columns = trades(*np.arange(0, 600, 0.05).tolist())
    with Engine("1s,1m", clock=SimulatedClock(), workers=2, lane_capacity=256) as engine:

        def feed(name: str) -> None:
            with engine.producer(name, symbol=name) as producer:
                part = {key: columns[key] for key in ("time", "price", "quantity")}
                for start in range(0, 12_000, 500):
                    producer.push(
                        {key: column[start : start + 500] for key, column in part.items()}
                    )

        threads = [threading.Thread(target=feed, args=(f"T{k}",)) for k in range(4)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            engine.take("busy").ack()
        for thread in threads:
            thread.join()
        counts = engine.view().open[:, "1m"].trade_count
        assert counts.tolist() == [1200] * 4
        assert engine.counts().accepted == 48_000


# -- snapshots -----------------------------------------------------------------------------------


def test_a_block_acknowledges_and_an_exception_gives_back(engine: Engine) -> None:
    engine.producer().push(trades(1, 61, 121))
    with pytest.raises(KeyError), engine.take("lake") as snapshot:
        raise KeyError
    assert snapshot.state == "returned"
    with engine.take("lake") as again:
        assert again.id > snapshot.id
        assert again.id == SnapshotId(snapshot.id.epoch, 2)
        assert again.closed.open_time.tolist() == snapshot.closed.open_time.tolist()
    assert again.state == "acknowledged"
    with engine.take("lake") as last:
        assert (len(last.closed), len(last.open)) == (0, 0)


def test_one_snapshot_of_a_consumer_at_a_time(engine: Engine) -> None:
    engine.producer().push(trades(1, 61))
    snapshot = engine.take("lake")
    with pytest.raises(errors.SnapshotError) as caught:
        engine.take("lake")
    assert caught.value.name == "snapshot_outstanding"
    engine.take("bus").ack()  # others go on
    snapshot.ack()
    with pytest.raises(errors.SnapshotError) as caught:
        snapshot.ack()
    assert caught.value.name == "snapshot_over"


def test_an_expired_lease_brings_the_rows_again(engine: Engine) -> None:
    engine.advance(T0 + 70 * SECOND)
    engine.producer().push(trades(1, 61))
    snapshot = engine.take("lake", lease="5s")
    engine.advance(T0 + 75 * SECOND)
    with engine.take("lake") as again:
        assert len(again.closed) == len(snapshot.closed) == 1
    with pytest.raises(errors.SnapshotError) as caught:
        snapshot.ack()
    assert caught.value.name == "snapshot_over"


def test_a_dropped_snapshot_gives_its_rows_back(engine: Engine) -> None:
    engine.producer().push(trades(1, 61))
    snapshot = engine.take("lake")
    del snapshot
    gc.collect()
    assert len(engine.take("lake").closed) == 1


def test_arrays_are_read_only_and_stay_as_they_are() -> None:
    engine = Engine("1s", clock=SimulatedClock()).start()
    producer = engine.producer()
    producer.push(trades(*range(1000), price=7.0))
    with engine.take("lake") as snapshot:
        close = snapshot.closed.close
    column = snapshot.closed["close"]
    assert column.base is not None
    assert column.__array_interface__["data"][0] == close.__array_interface__["data"][0]
    assert not close.flags.writeable
    with pytest.raises(ValueError, match="read-only|writeable"):
        close[0] = 1.0
    before = close.tobytes()
    del snapshot
    for k in range(20):
        producer.push(trades(*range(1000 * (k + 1), 1000 * (k + 2)), price=8.0 + k))
        engine.take("lake").ack()
    engine.stop()
    del engine, producer
    gc.collect()
    assert close.tobytes() == before
    assert set(close.tolist()) == {7.0}


def test_arrow_takes_a_snapshot_without_a_copy(engine: Engine) -> None:
    pa = pytest.importorskip("pyarrow")
    engine.producer().push(trades(*range(0, 600, 7)))
    with engine.take("lake") as snapshot:
        table = pa.table(snapshot.closed)
        buffer = table.column("volume").chunk(0).buffers()[1]
        assert buffer.address == snapshot.closed.volume.ctypes.data


def test_take_async_leaves_the_loop_alone(engine: Engine) -> None:
    async def work() -> tuple[int, int]:
        engine.take("bus").ack()  # who comes later has no right to what others have acknowledged
        engine.producer().push(trades(1, 61))
        async with engine.take_async("lake") as snapshot:
            closed = len(snapshot.closed)
        assert snapshot.state == "acknowledged"
        with pytest.raises(KeyError):
            async with engine.take_async("bus"):
                raise KeyError
        again = await engine.take_async("bus")
        again.ack()
        return closed, len(again.closed)

    assert asyncio.run(work()) == (1, 1)


def test_iteration_over_closed_bars() -> None:
    engine = Engine("1m", clock=SimulatedClock()).start()
    producer = engine.producer()
    seen = []
    producer.push(trades(1, 61))
    for bars in engine.closed("loop"):
        seen += bars.open_time.tolist()
        if len(seen) == 1:
            producer.push(trades(121, 181))
        else:
            engine.stop()
    assert len(seen) == 3  # each bar once, up to the end
    assert list(engine.closed("loop")) == []


def test_a_loop_that_breaks_off_gets_the_bars_again() -> None:
    engine = Engine("1m", clock=SimulatedClock()).start()
    engine.producer().push(trades(1, 61))
    for _ in engine.closed("loop"):
        break
    engine.stop()
    assert [len(bars) for bars in engine.closed("loop")] == [1]


def test_asynchronous_iteration() -> None:
    engine = Engine("1m", clock=SimulatedClock()).start()
    producer = engine.producer()

    async def work() -> int:
        count = 0
        producer.push(trades(1, 61))
        async for bars in engine.closed("loop"):
            count += len(bars)
            if count == 1:
                producer.push(trades(121))
            else:
                engine.stop()
        return count

    assert asyncio.run(work()) == 2


def test_many_loops_wait_beside_one_another() -> None:
    """A loop that waits has no thread of its own."""
    engine = Engine("1m", clock=SimulatedClock()).start()
    producer = engine.producer()

    async def listen(name: str) -> int:
        return sum([len(bars) async for bars in engine.closed(name)])

    async def work() -> list[int]:
        listeners = [asyncio.create_task(listen(f"L{k}")) for k in range(50)]
        # Who comes later has no right to what others have acknowledged.
        while len(engine.consumers()) < 50:
            await asyncio.sleep(0.01)
        threads = threading.active_count()
        for minute in range(5):
            producer.push(trades(60 * minute, 60 * minute + 30))
            await asyncio.sleep(0.01)
        assert threads < 50
        engine.flush()
        engine.stop()
        return await asyncio.gather(*listeners)

    assert asyncio.run(work()) == [4] * 50


# -- clocks, symbols, workers --------------------------------------------------------------------


def test_the_simulated_clock_goes_forward_only() -> None:
    clock = SimulatedClock()
    assert clock.now() is None
    assert repr(clock) == "SimulatedClock()"
    clock.advance("2024-01-01T00:01")
    assert clock.now() == T0 + 60 * SECOND
    with pytest.raises(errors.EngineError) as caught:
        clock.advance(T0)
    assert caught.value.name == "clock_backwards"
    with pytest.raises(errors.OptionError):
        clock.advance("noon")
    with Engine("1m") as engine, pytest.raises(errors.EngineError) as caught:
        engine.advance(T0)
    assert caught.value.name == "engine_state"
    assert isinstance(engine.clock, SystemClock)


def test_a_seeded_symbol_has_a_genesis_bar() -> None:
    with Engine("1m", clock=SimulatedClock(T0)) as engine:
        assert engine.add_symbol("SEED", 42.0) is True
        (bar,) = engine.bars("SEED", "1m")
        assert (bar.open_time, bar.close, bar.trade_count) == (T0, 42.0, 0)
        engine.producer().push(trades(1, symbol="SEED"))
        engine.flush()
        assert engine.add_symbol("SEED", 43.0) is False
        for symbol, price, says in (
            ("SEED", -1.0, "last_price=-1.0 is not a price"),
            ("SEED", float("nan"), "last_price=nan is not a price"),
            (None, None, "symbol=None is not a symbol or its id"),
            (-1, 5.0, "symbol=-1 is not a symbol or its id"),
            ([], 5.0, "symbol=.* is not a symbol or its id"),
        ):
            with pytest.raises(errors.OptionError, match=says):
                engine.add_symbol(symbol, price)  # type: ignore[arg-type]


def test_symbols_move_and_nothing_changes() -> None:
    names = [f"M{k}" for k in range(10)]
    with Engine("1m", clock=SimulatedClock(), workers=3) as engine:
        producer = engine.producer()
        for minute in range(6):
            producer.push(trades(*[60 * minute + k for k in range(10)], symbol=names))
            assert engine.move({name: (minute + k) % 3 for k, name in enumerate(names)}) <= 10
            engine.rebalance()
        assert engine.move({"NOBODY": 1}) == 0
        with pytest.raises(errors.OptionError):
            engine.move({"M0": 3})
        with engine.take("lake") as snapshot:
            assert snapshot.closed.trade_count.tolist() == [1] * 50
            assert len(snapshot.open) == 10
        assert sum(engine.stats().worker_loads) == 60


def test_wall_clocks_are_right_around_the_clock() -> None:
    day = "1d@America/New_York"
    with Engine(day, clock=SimulatedClock("2024-03-09")) as engine:
        producer = engine.producer(symbol="NY")
        times = np.array(["2024-03-09T12:00", "2024-03-10T12:00", "2024-03-11T12:00"], "M8[ns]")
        for time in times:
            engine.advance(time)
            producer.push({"time": [time], "price": [1.0], "quantity": [1.0]})
        with engine.take("lake") as snapshot:
            lengths = snapshot.closed.close_time - snapshot.closed.open_time
        assert (lengths // np.timedelta64(1, "h")).tolist() == [24, 23]


def test_a_view_disturbs_nobody(engine: Engine) -> None:
    engine.producer().push(trades(1, 61))
    view = engine.view()
    assert view.watermark is None
    assert view.open.trade_count.tolist() == [1]
    assert len(engine.take("lake").open) == 1
    with pytest.raises(errors.ResultError):
        engine.bars("NOBODY")


@pytest.mark.parametrize(
    "wrong",
    [5, "rows", [5], [("A", "1m", 0, 1)], [("A", "1m", 0, 1, 2.5)], [(1, "1m", 0, 1, 2)]],
)
def test_revisions_that_are_none_are_refused(wrong: Any) -> None:
    with pytest.raises(errors.OptionError, match="rows of \\(symbol, interval") as caught:
        Engine("1m", revisions=wrong)
    assert caught.value.name == "invalid_option" and caught.value.fields["option"] == "revisions"
