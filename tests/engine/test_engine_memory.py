"""What a snapshot hands out is the engine's own memory: not copied, not changed, used again."""

from __future__ import annotations

import gc
import os
import threading
import zlib
from typing import Any

import numpy as np
import pytest

from klineagg import Bars, SimulatedClock, _core
from klineagg.bars import COLUMNS
from klineagg.engine import Engine, Snapshot

T0 = np.datetime64("2024-01-01T00:00:00", "ns")
SYMBOLS = 64


def batch(start: int, seconds: int) -> dict[str, Any]:
    """One trade of each symbol in each second."""
    rows = seconds * SYMBOLS
    rng = np.random.default_rng(start)
    return {
        "symbol": np.tile(np.arange(SYMBOLS, dtype=np.int32), seconds),
        "time": T0 + np.repeat(np.arange(start, start + seconds), SYMBOLS) * np.timedelta64(1, "s"),
        "price": rng.uniform(1, 100, rows),
        "quantity": rng.uniform(1, 100, rows),
    }


def address(column: Any) -> int:
    return int(column.__array_interface__["data"][0])


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    with Engine("1s,1m", clock=SimulatedClock()) as engine:
        engine.producer().push(batch(0, 600))
        with engine.take("lake") as taken:
            return taken


def test_columns_are_read_only_views_of_one_buffer(snapshot: Snapshot) -> None:
    for bars in (snapshot.closed, snapshot.open):
        columns = [bars.column(name) for name in COLUMNS]
        owners = {id(column.base) for column in columns}
        assert len(owners) == 1  # the table of the core, whose memory this is
        assert not any(column.flags.owndata or column.flags.writeable for column in columns)
        places = sorted((address(column), column.nbytes) for column in columns)
        ends = [start + size for start, size in places]
        assert all(end <= start for end, (start, _) in zip(ends, places[1:], strict=False))
        span = ends[-1] - places[0][0]
        assert span < 2 * sum(size for _, size in places) + 2**20  # one block of memory


def test_parts_of_a_snapshot_are_views_too(snapshot: Snapshot) -> None:
    bars = snapshot.closed
    part = bars[:, "1s"]
    assert address(part.close) == address(bars.close)
    assert address(bars.close[10:]) == address(bars.close) + 80


def test_pyarrow_has_the_same_addresses(snapshot: Snapshot) -> None:
    pa = pytest.importorskip("pyarrow")
    bars = snapshot.closed
    table = pa.table(bars)
    for name in ("open", "close", "volume", "trade_count", "open_time", "revision", "flags"):
        (chunk,) = table.column(name).chunks
        assert chunk.buffers()[1].address + chunk.offset == address(bars.column(name)), name


def test_polars_has_the_same_addresses(snapshot: Snapshot) -> None:
    pl = pytest.importorskip("polars")
    bars = snapshot.closed
    frame = pl.DataFrame(bars)
    for name in ("open", "close", "volume", "trade_count", "revision"):
        assert address(frame[name].to_numpy(allow_copy=False)) == address(bars.column(name)), name


def test_pandas_and_duckdb_read_it(snapshot: Snapshot) -> None:
    duckdb = pytest.importorskip("duckdb")
    pd = pytest.importorskip("pandas")
    bars = snapshot.closed
    with duckdb.connect() as connection:
        connection.register("bars", bars)
        count, volume = connection.sql("select count(*), sum(volume) from bars").fetchone()
    assert count == len(bars)
    assert volume == pytest.approx(bars.volume.sum())
    pa = pytest.importorskip("pyarrow")
    frame = pa.table(bars).to_pandas(types_mapper=pd.ArrowDtype)
    (chunk,) = pa.chunked_array(frame["close"].array.__arrow_array__()).chunks
    assert chunk.buffers()[1].address == address(bars.close)


def digest(bars: Bars) -> int:
    value = 0
    for name in COLUMNS:
        value = zlib.crc32(bars.column(name).tobytes(), value)
    return value


def test_what_is_held_does_not_change_while_the_engine_runs_at_full_rate() -> None:
    with Engine("1s,1m", clock=SimulatedClock(), late="drop", lane_capacity=2**13) as engine:
        producer = engine.producer()
        stop = threading.Event()
        template = batch(0, 50)

        def feed() -> None:
            while not stop.is_set():
                producer.push(template)
                template["time"] += 50 * np.timedelta64(1, "s")

        writer = threading.Thread(target=feed)
        writer.start()
        held: list[tuple[Bars, int]] = []
        turns = 0
        while turns < 6 or engine.counts().accepted <= 10_000:
            turns += 1
            with engine.take("lake") as snapshot:
                held += [(bars, digest(bars)) for bars in (snapshot.closed, snapshot.open)]
            view = engine.view().open
            held.append((view, digest(view)))
            if len(held) > 9:
                del held[::2]  # buffers that are released are used again, beside those held
        stop.set()
        writer.join()
    assert sum(len(bars) for bars, _ in held) > 1_000
    assert [digest(bars) for bars, _ in held] == [told for _, told in held]


@pytest.mark.skipif(
    "libasan" in os.environ.get("LD_PRELOAD", ""), reason="a sanitizer keeps freed memory apart"
)
def test_a_buffer_that_nobody_refers_to_is_used_again() -> None:
    with Engine("1s", clock=SimulatedClock()) as engine:
        producer = engine.producer()
        producer.push(batch(0, 1))
        engine.take("lake").ack()

        def take(number: int) -> Bars:
            producer.push(batch(1 + 100 * number, 100))
            with engine.take("lake") as snapshot:
                return snapshot.closed

        released = {address(take(number).close) for number in range(30)}
        assert len(released) < 15
        kept = [take(number) for number in range(30, 40)]
        assert len({address(bars.close) for bars in kept}) == 10
        column = kept[0].close  # any part of it keeps the whole
        place = address(column)
        kept.clear()
        gc.collect()
        assert place not in {address(take(number).close) for number in range(40, 50)}
        assert _core.cache_bytes() > 0
