"""Checkpoints: an engine goes on where another one was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import klineagg
from klineagg import SimulatedClock, errors
from klineagg.data import BITMEX_COVERAGE, load_bitmex
from klineagg.engine import Engine

T0 = np.datetime64("2024-01-01T00:00:00", "ns")


def made(**more: Any) -> Engine:
    return Engine(
        "1m,1h", **{"clock": SimulatedClock(BITMEX_COVERAGE[0]), "max_ahead": None, **more}
    )


def test_an_engine_goes_on_from_a_checkpoint() -> None:
    trades = load_bitmex()
    with made(workers=2) as first:
        first.producer().push(trades[:50_000])
        with first.take("lake", checkpoint=True) as snapshot:
            before = snapshot.closed
        assert isinstance(snapshot.checkpoint, bytes)
        assert first.take("other").checkpoint is None
        assert first.checkpoint() == snapshot.checkpoint
    second = made(workers=3, keep_bars=5)
    assert second.restore(memoryview(snapshot.checkpoint)) == 1
    assert second.checkpoint() == snapshot.checkpoint
    with second:
        second.producer().push(trades[50_000:])
        second.advance(BITMEX_COVERAGE[1])
        with second.take("lake") as rest:
            after = rest.closed
        assert rest.id > snapshot.id
    with made() as whole:
        whole.producer().push(trades)
        whole.advance(BITMEX_COVERAGE[1])
        with whole.take("lake") as all_of_it:
            expected = all_of_it.closed
    assert klineagg.Bars.concat([before, after]).equals(expected)


def test_an_interval_that_the_new_engine_does_not_have() -> None:
    trades = load_bitmex()
    with made() as first:
        first.reconfigure(add="5m")
        first.producer().push(trades[:10_000])
        checkpoint = first.checkpoint()
    engine = Engine("1h", clock=SimulatedClock(), max_ahead=None)
    engine.restore(checkpoint)
    with engine:
        engine.producer().push(trades[10_000:50_000])
        assert engine.intervals == ("1h",)
        assert engine.reconfigure(add="5m").added == ("5m",)
        engine.producer().push(trades[50_000:])
        with engine.take("lake") as snapshot:
            hours = snapshot.closed["XBTUSD", "1h"]
            assert len(snapshot.closed[:, "5m"]) > 10
    batch = klineagg.aggregate(trades, "1h")
    assert hours.volume.tobytes() == batch.volume[: len(hours)].tobytes()


def test_what_is_no_checkpoint_is_refused() -> None:
    with made() as engine:
        engine.producer().push(load_bitmex()[:1000])
        checkpoint = engine.checkpoint()
        with pytest.raises(errors.EngineError) as caught:
            engine.restore(checkpoint)
        assert caught.value.name == "engine_state"
    for wrong in (b"", b"nothing", checkpoint[:-1], checkpoint[:100] + b"\xff" + checkpoint[101:]):
        fresh = made()
        with pytest.raises(errors.KlineaggError) as refused:
            fresh.restore(wrong)
        assert refused.value.name.startswith("checkpoint_")
        assert fresh.restore(checkpoint) == 1  # nothing had changed
    with pytest.raises(errors.KlineaggError) as caught_too:
        made(late="drop").restore(checkpoint)
    assert caught_too.value.name == "checkpoint_mismatch"
    with pytest.raises(errors.OptionError, match="is not bytes"):
        made().restore("text")  # type: ignore[arg-type]
