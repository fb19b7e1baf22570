"""The write-ahead log in Python: what was appended comes back."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klineagg
from klineagg import Wal, _wal_read, errors
from klineagg.data import load_bitmex
from klineagg.wal import TOPICS, inspect, replay
from wal.harness import (
    SMALL,
    check_whole,
    content,
    edge_trades,
    fill,
    python,
    read,
    same_trades,
    trades_of,
)


@pytest.mark.parametrize("fsync", ["none", "interval", "always"])
def test_records_come_back_as_they_were(tmp_path: Path, fsync: str) -> None:
    payloads = [b"", b"\0", bytes(range(256)), b"\0" * 4096, "naïve ✓".encode(), b"x" * 7000]
    topics = [topic for topic in TOPICS if topic != "trade"]
    offered = [(topic, data) for topic in topics for data in payloads]
    with Wal(tmp_path, fsync, **SMALL) as wal:
        numbers = [wal.append(topic, data) for topic, data in offered]
        assert numbers == list(range(1, len(offered) + 1))
        assert wal.flush()
        assert wal.written == len(offered)
        assert wal.durable == (0 if fsync == "none" else wal.durable)
        if fsync == "always":
            assert wal.durable == len(offered)
        found = list(wal.replay())
    assert [(one.topic, one.data) for one in found] == offered
    assert [one.first for one in found] == numbers
    assert [(one.topic, one.data) for one in read(tmp_path)] == offered
    times = np.array([one.time for one in found])
    assert (np.diff(times) >= np.timedelta64(0, "ns")).all()
    assert abs(times[-1] - np.datetime64(time.time_ns(), "ns")) < np.timedelta64(60, "s")


def test_any_bytes_like_object_is_a_record(tmp_path: Path) -> None:
    array, strided = np.arange(5.0), memoryview(b"0123456789")[::2]
    offered: list[Any] = [bytearray(b"ab"), memoryview(b"cd"), array]
    with Wal(tmp_path) as wal:
        for data in offered:
            wal.append("application", data)
        with pytest.raises(errors.WalError, match="contiguous"):
            wal.append("application", strided)
    assert [one.data for one in read(tmp_path)] == [b"ab", b"cd", array.tobytes()]


@pytest.mark.parametrize("options", [{}, SMALL, {"ring_bytes": 4096}])
def test_trades_come_back_bit_for_bit(tmp_path: Path, options: dict[str, Any]) -> None:
    trades = edge_trades()
    with Wal(tmp_path, **options) as wal:
        assert wal.append_trades(trades[:1500]) == 1500
        assert wal.append_trades(trades[1500:]) == len(trades)
        assert wal.append_trades(trades[:0]) == 0
    records = read(tmp_path)
    same_trades(trades_of(records), trades)
    assert records[0].first == 1
    assert records[-1].last == len(trades)


def test_what_a_log_cannot_hold_is_refused(tmp_path: Path) -> None:
    trades = edge_trades()[:3]
    with Wal(tmp_path) as wal:
        wide = trades.copy()
        wide["first_trade_id"], wide["last_trade_id"] = 1, 2**32 + 2
        with pytest.raises(errors.WalError, match=r"2\^32") as caught:
            wal.append_trades(wide)
        assert caught.value.name == "wal_record"
        seconds = {"symbol": "A", "time": np.array([2**62]), "price": [1.0], "quantity": [1.0]}
        with pytest.raises(errors.WalError, match="64-bit"):
            wal.append_trades(seconds, unit="s")
        with pytest.raises(errors.WalError, match="append_trades"):
            wal.append("trade", b"x")
        for topic in ("names", "seal", "none"):
            with pytest.raises(errors.WalError, match="no topic"):
                wal.append(topic, b"x")
        with pytest.raises(errors.WalError, match="frame holds") as caught:
            wal.append("command", b"x" * (wal.record_bytes_max + 1))
        assert caught.value.fields["limit"] == str(wal.record_bytes_max)
        assert wal.next_sequence == 1


def test_the_bars_of_a_replay_are_those_of_the_trades(tmp_path: Path) -> None:
    trades = load_bitmex()
    with Wal(tmp_path, segment_bytes=1 << 17) as wal:
        for part in np.array_split(trades, 23):
            wal.append_trades(part)
            wal.append("command", b"between")
        found = klineagg.aggregate(wal.trades(), "1m,1h", gaps="runs")
    wanted = klineagg.aggregate(trades, "1m,1h", gaps="runs")
    assert found.to_numpy(names=True).tobytes() == wanted.to_numpy(names=True).tobytes()
    assert len(inspect(tmp_path).segments) > 1


def test_symbols_go_by_name_into_another_process(tmp_path: Path) -> None:
    klineagg.intern(["ZZZ-FILLS-A-PLACE"])
    rows = {"symbol": ["BBB", "AAA", "BBB"], "time": [1, 2, 3], "price": [1.0, 2.0, 3.0]}
    with Wal(tmp_path) as wal:
        wal.append_trades({**rows, "quantity": [1.0] * 3}, unit="ns")
    code = (
        "import sys; from klineagg import symbol_names; from klineagg.wal import trades\n"
        "for part in trades(sys.argv[1]): print(part['symbol'].min(), symbol_names(part['symbol']))"
    )
    out, _ = python(code, tmp_path).communicate(timeout=240)
    assert out == "0 ['BBB', 'AAA', 'BBB']\n"


def test_reopening_goes_on(tmp_path: Path) -> None:
    trades = edge_trades()
    for begin in range(0, len(trades), 500):
        with Wal(tmp_path, **SMALL) as wal:
            assert wal.next_sequence == begin + 1
            identity = wal.id
            wal.append_trades(trades[begin : begin + 500])
    same_trades(trades_of(read(tmp_path)), trades)
    with Wal(tmp_path) as wal:
        assert wal.id == identity
        assert wal.repaired_bytes == 0


def test_a_replay_gives_what_was_asked_for(tmp_path: Path) -> None:
    with Wal(tmp_path, **SMALL) as wal:
        wal.append_trades(edge_trades()[:100])
        wal.append("command", b"one")
        wal.flush()
        time.sleep(0.002)
        middle = np.datetime64(time.time_ns(), "ns")
        time.sleep(0.002)
        wal.append("account", b"two")
        wal.append_trades(edge_trades()[100:200])
    some = read(tmp_path, from_seq=50, to_seq=110)
    assert [(one.first, one.last) for one in some] == [
        (50, 100),
        (101, 101),
        (102, 102),
        (103, 110),
    ]
    same_trades(trades_of(some), np.concatenate([edge_trades()[49:100], edge_trades()[100:108]]))
    assert [one.data for one in read(tmp_path, topics=["command", "account"])] == [b"one", b"two"]
    assert [one.data for one in read(tmp_path, topics="account")] == [b"two"]
    assert [one.first for one in read(tmp_path, start=middle)] == [102, 103]
    assert [one.last for one in read(tmp_path, end=middle)] == [100, 101]
    assert read(tmp_path, from_seq=1000) == []
    with pytest.raises(errors.WalError, match="no topic"):
        replay(tmp_path, topics="trades")
    with pytest.raises(errors.OptionError, match="speed"):
        replay(tmp_path, speed=0)
    with pytest.raises(errors.WalError, match="no directory"):
        replay(tmp_path / "elsewhere")


class FakeTime:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("speed", [0.5, 1.0, 2.0])
def test_speed_keeps_the_distances(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speed: float
) -> None:
    with Wal(tmp_path) as wal:
        for text in (b"first", b"second", b"third"):
            wal.append("command", text)
            time.sleep(0.02)
    times = [one.time for one in read(tmp_path)]
    fake = FakeTime()
    monkeypatch.setattr(_wal_read, "time", fake)
    came = [(fake.now, one.data) for one in replay(tmp_path, speed=speed)]
    assert [data for _, data in came] == [b"first", b"second", b"third"]
    for (at, _), when in zip(came, times, strict=True):
        apart = (when - times[0]) / np.timedelta64(1, "s")
        assert at - 100.0 == pytest.approx(apart / speed, abs=1e-6)
    assert came[-1][0] >= 100.0 + 0.04 / speed


class Untimed:
    """A reader of a log of an earlier version, whose engine had no clock."""

    has_untimed = True

    def __init__(self, count: int) -> None:
        self.left = count

    def next(self, _dtype: object, _rows: int) -> tuple[object, ...] | None:
        self.left -= 1
        return None if self.left < 0 else ("trade", 1, 1, 0, False, np.empty(1), None)

    def damages(self) -> list[object]:
        return []


def test_a_log_without_times_says_so_when_it_is_asked_by_time() -> None:
    for speed, left in ((None, 0), (1.0, 1)):
        with pytest.raises(errors.WalError, match="have no time") as caught:
            list(_wal_read._records(Untimed(left), speed, None))  # type: ignore[arg-type]
        assert caught.value.name == "wal_no_times" and "numbers" in caught.value.hint
    (one,) = _wal_read._records(Untimed(1), None, None)  # type: ignore[arg-type]
    assert np.isnat(one.time)


def test_a_reader_follows_several_threads(tmp_path: Path) -> None:
    def write(topic: str) -> None:
        for number in range(300):
            wal.append(topic, b"%d" % number)

    with Wal(tmp_path, **SMALL) as wal:
        threads = [threading.Thread(target=write, args=(t,)) for t in ("l2", "bar", "clock")]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            seen = list(replay(tmp_path))
            assert [one.first for one in seen] == list(range(1, len(seen) + 1))
        for thread in threads:
            thread.join()
        whole = list(wal.replay())
    assert len(whole) == 900
    for topic in ("l2", "bar", "clock"):
        mine = [one.data for one in whole if one.topic == topic]
        assert mine == [b"%d" % number for number in range(300)]


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    code = (
        "import sys; from klineagg import Wal, WalError\n"
        "try: Wal(sys.argv[1])\n"
        "except WalError as error: print(error.name)\n"
        "else: print('opened')"
    )
    with Wal(tmp_path) as wal:
        with pytest.raises(errors.WalError) as caught:
            Wal(tmp_path)
        assert caught.value.name == "wal_locked"
        assert python(code, tmp_path).communicate(timeout=240)[0] == "wal_locked\n"
        wal.append("command", b"still here")
    assert python(code, tmp_path).communicate(timeout=240)[0] == "opened\n"
    assert len(read(tmp_path)) == 1


def test_states_and_texts(tmp_path: Path) -> None:
    wal = Wal(tmp_path, "always")
    assert repr(wal) == (
        f"<Wal {str(tmp_path)!r}, running, fsync='always': next 1, written 0, durable 0>"
    )
    wal.append("command", b"x")
    assert wal.flush("2m")
    stats = wal.stats()
    assert (stats.next, stats.written, stats.durable, stats.segments) == (2, 1, 1, 1)
    assert wal.failure is None
    wal.resume()  # nothing to mend
    wal.append("command", b"y")
    assert wal.flush("2m")
    assert wal.stats().syncs >= 1  # the one of the first record
    wal.close()
    wal.close()
    assert wal.state == "closed"
    assert "closed" in repr(wal)
    for call in (lambda: wal.append("command", b"x"), wal.resume):
        with pytest.raises(errors.WalError, match="closed"):
            call()
    with pytest.raises(errors.OptionError, match="fsync"):
        Wal(tmp_path, "sometimes")
    with pytest.raises(errors.OptionError, match="segment_bytes"):
        Wal(tmp_path, segment_bytes=100)
    with Wal(tmp_path, "none") as other, pytest.raises(errors.OptionError, match="durable"):
        other.flush(durable=True)


def test_an_open_log_is_closed_at_the_end_of_the_interpreter(tmp_path: Path) -> None:
    code = (
        "import sys; from klineagg import Wal\n"
        "wal = Wal(sys.argv[1]); [wal.append('command', b'%d' % n) for n in range(500)]"
    )
    child = python(code, tmp_path)
    child.communicate(timeout=240)
    assert child.returncode == 0
    assert len(read(tmp_path)) == 500
    assert inspect(tmp_path).is_sealed


def test_retention_removes_nothing_that_is_not_committed(tmp_path: Path) -> None:
    limit = 3 * SMALL["segment_bytes"]
    committed = 60

    def append_until_it_halts() -> None:
        for number in range(1, 100_000):
            wal.append("command", content(number))
            if number == 100:
                wal.set_committed(committed)
            if number % 10 == 0:
                wal.flush()

    with Wal(tmp_path, size_max=limit, **SMALL) as wal:
        with pytest.raises(errors.WalHaltedError) as caught:
            append_until_it_halts()
        assert caught.value.name == "wal_full"
        assert wal.state == "halted"
        assert wal.failure is not None
        left = list(replay(tmp_path))
        # All that is not committed is there, and readable while it stands still.
        assert left[0].first <= committed + 1
        check_whole(left, left[0].first, wal.written)
        offered = wal.next_sequence - 1
        wal.set_committed(wal.written)
        wal.resume()
        wal.flush("2m")
        assert wal.state == "running"
        assert wal.written == offered
        assert wal.stats().removed_segments > 0
        check_whole(list(wal.replay()), list(wal.replay())[0].first, offered)
        with pytest.raises(errors.WalError, match="begins with") as gone:
            list(wal.replay(from_seq=1))
        assert gone.value.name == "wal_range"


def test_a_halted_log_says_how_many_rows_it_took(tmp_path: Path) -> None:
    def append_until_it_halts() -> None:
        while True:
            wal.append_trades(edge_trades()[:200])
            wal.flush()

    with Wal(tmp_path, size_max=2 * SMALL["segment_bytes"], **SMALL) as wal:
        with pytest.raises(errors.WalHaltedError) as caught:
            append_until_it_halts()
        assert isinstance(caught.value, errors.WalError)
        assert isinstance(caught.value, OSError)
        with pytest.raises(errors.WalHaltedError) as again:
            wal.append_trades(edge_trades()[:200])
        assert again.value.fields["appended_rows"] == 0
        wal.set_committed(wal.written)
        wal.resume()


def test_a_forked_child_is_told(tmp_path: Path) -> None:
    code = """
import os, sys
from klineagg import Wal, _wal_read, errors
wal = Wal(sys.argv[1])
wal.append("command", b"parent")
child = os.fork()
if child == 0:
    assert wal.state == "forked" and "forked" in repr(wal)
    try:
        wal.append("command", b"child")
    except errors.EngineError as error:
        assert error.name == "forked"
    else:
        os._exit(1)
    wal.close()
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
wal.append("command", b"parent again")
"""
    child = python(code, tmp_path)
    child.communicate(timeout=240)
    assert child.returncode == 0
    assert [one.data for one in read(tmp_path)] == [b"parent", b"parent again"]


def test_the_package_has_it(tmp_path: Path) -> None:
    assert klineagg.Wal is Wal
    assert klineagg.WalError is errors.WalError
    fill(tmp_path, 3)
    found = inspect(tmp_path)
    assert (found.records, found.first, found.last) == ({"command": 3}, 1, 3)
    assert found.start <= found.end
    assert found.is_sealed


@pytest.mark.parametrize("wrong", [3, 10**9, -1, "1", 1.5])
def test_what_is_not_in_the_log_is_not_committed(tmp_path: Path, wrong: Any) -> None:
    with Wal(tmp_path / "log") as wal:
        wal.append("application", b"one")
        wal.append("application", b"two")
        with pytest.raises(errors.OptionError, match="from 0 to 2"):
            wal.set_committed(wrong)
        assert wal.stats().committed == 0
        wal.set_committed(2)
        assert wal.stats().committed == 2
