"""Engines and processes: forks, exits, and workers that fail."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

import klineagg
from klineagg import SimulatedClock, errors
from klineagg.engine import Engine

HEAD = """
import gc, os, resource, sys, threading, time
import numpy as np
import klineagg
from klineagg import SimulatedClock, errors
from klineagg.engine import Engine

def trades(count, symbol=0):
    return {
        "symbol": np.arange(symbol, symbol + count, dtype=np.int32),
        "time": np.full(count, np.datetime64("2024-01-01", "ns")),
        "price": np.ones(count),
        "quantity": np.ones(count),
    }
"""


def run(body: str) -> str:
    """What a process of its own says; it must end by itself."""
    done = subprocess.run(
        [sys.executable, "-c", HEAD + textwrap.dedent(body)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_is_told_and_ends() -> None:
    said = run(
        """
        engine = Engine("1m", clock=SimulatedClock(), workers=2).start()
        producer = engine.producer("feed")
        producer.push(trades(10))
        snapshot = engine.take("lake")
        child = os.fork()
        if child == 0:
            for call in (
                engine.flush, engine.view, engine.stop, engine.producer, snapshot.ack,
                lambda: engine.take("lake"), lambda: engine.advance(0), engine.stats,
                lambda: producer.push(trades(1)), lambda: producer.push_one(0, 1.0, 1.0, 0),
            ):
                try:
                    call()
                except errors.EngineError as error:
                    assert error.name == "forked", error
                else:
                    raise AssertionError("a call went through in the child")
            assert engine.state == "forked"
            assert "forked" in repr(engine) and "forked" in repr(producer), repr(producer)
            assert len(snapshot.open) == 10  # what is taken is memory like any other
            with Engine("1m", clock=SimulatedClock()) as own:
                own.producer().push(trades(3))
                own.flush()
                assert own.counts().accepted == 3
            del snapshot, producer, engine
            gc.collect()
            sys.exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        snapshot.ack()
        producer.push(trades(10))
        engine.flush()
        print(engine.counts().accepted)
        """
    )
    assert said == "20"


@pytest.mark.parametrize("wait", ["spin", "backoff", "park"])
def test_an_engine_that_was_never_stopped_lets_the_process_end(wait: str) -> None:
    body = f"""
        engine = Engine("1m", clock=SimulatedClock(), workers=2, wait={wait!r}).start()
        producer = engine.producer()
        producer.push(trades(1000))
        kept = engine.take("lake")
        print("end")
        """
    assert run(body) == "end"


def test_an_exit_while_other_threads_push_and_wait() -> None:
    """Daemon threads end with their engine, whatever they are at, and say nothing."""
    said = run(
        """
        engine = Engine("1s", lane_capacity=64).start()
        symbol = int(klineagg.intern("A")[0])
        def feed():
            producer = engine.producer()
            while True:
                producer.push(trades(1000))
        def feed_one():
            producer = engine.producer()
            while True:
                producer.push_one(symbol, 1.0, 1.0, engine.clock.now_ns())
        def wait():
            for bars in engine.closed("thread"):
                pass
        def look():
            while True:
                engine.take("look").ack()
                engine.view()
                engine.flush()
                engine.stats()
        for target in (feed, feed, feed_one, wait, look):
            threading.Thread(target=target, daemon=True).start()
        time.sleep(0.3)
        print("end")
        sys.stdout.flush()
        """
    )
    assert said == "end"


def test_an_exit_with_threads_that_are_held_up_by_a_full_lane() -> None:
    said = run(
        """
        engine = Engine("1s", lane_capacity=64, push_timeout="1h")
        def feed():
            engine.producer().push(trades(1000))
        def flush():
            producer = engine.producer()
            producer.push(trades(10))
            producer.flush()
        threads = [threading.Thread(target=each, daemon=True) for each in (feed, flush)]
        for thread in threads:
            thread.start()
        time.sleep(0.2)
        print(*[thread.is_alive() for thread in threads])
        sys.stdout.flush()
        """
    )
    assert said == "True True"


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of the address space")
def test_an_engine_without_memory_fails_in_one_way_and_never_hangs() -> None:
    said = run(
        """
        engine = Engine("1s,1m,1h,1d", clock=SimulatedClock(), workers=2).start()
        producer = engine.producer()
        producer.push(trades(10))
        engine.flush()
        with open("/proc/self/statm") as pages:
            used = int(pages.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (16 << 20), resource.RLIM_INFINITY))
        names = set()
        for start in range(10, 2_000_000, 1000):
            try:
                producer.push(trades(1000, start))
                engine.flush()
            except (MemoryError, errors.EngineError) as error:
                names.add(getattr(error, "name", "memory"))
                if engine.state == "failed":
                    break
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
        assert names <= {"memory", "worker_failed"}, names
        if engine.state == "failed":
            for call in (engine.flush, engine.view, lambda: engine.take("lake"),
                         lambda: producer.push(trades(1))):
                try:
                    call()
                except errors.EngineError as error:
                    assert error.name == "worker_failed", error
                    assert error.fields["cause"], error.fields
                else:
                    raise AssertionError("a call went through")
        assert "failed" in repr(engine) or names
        print("ended")
        """
    )
    assert said == "ended"


def test_an_exception_in_the_block_is_not_hidden() -> None:
    with pytest.raises(KeyError), Engine("1m", clock=SimulatedClock()) as engine:
        raise KeyError
    assert engine.state == "stopped"


def test_the_module_is_not_loaded_before_it_is_used() -> None:
    said = run('print([name for name in sys.modules if name in ("asyncio", "zoneinfo")])')
    assert said == "[]"
    assert klineagg.Engine is Engine
    assert issubclass(klineagg.EngineError, errors.KlineaggError)
