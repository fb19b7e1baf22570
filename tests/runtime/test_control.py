"""The control socket, and snapshots that another process maps from shared memory."""

from __future__ import annotations

import json
import mmap
import os
import socket
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from klineagg import Bars, Engine, SimulatedClock, aggregate, errors
from klineagg.data import load_bitmex
from klineagg.io.roles import Wanted
from klineagg.runtime.control import Client, Server
from klineagg.runtime.host import Host, pack_state, unpack_state
from klineagg.runtime.lending import Lender
from klineagg.runtime.messages import receive, send
from klineagg.runtime.remote import RemoteHost
from klineagg.runtime.sharing import map_snapshot, share_bytes
from klineagg.sources import Batch
from klineagg.sources.files import FileSource

TRADES = load_bitmex()


class Lent:
    """An engine whose snapshots are lent over a socket."""

    def __init__(self, folder: Path, lease_s: float = 30.0) -> None:
        self.engine = Engine("1m,1h", clock=SimulatedClock(), max_ahead=None, shared_snapshots=True)
        self.engine.start()
        self.host = Host(self.engine, FileSource([], Wanted()))
        self.lender = Lender(self.host, lease_s)
        self.server = Server(folder / "run" / "e.sock", self.answer, self.lender.left)
        self.server.start()
        self._remote: list[RemoteHost] = []

    def remote(self) -> RemoteHost:
        """As a worker has it; closed with this."""
        self._remote.append(RemoteHost(self.server.path))
        return self._remote[-1]

    def answer(self, connection: int, request: dict[str, Any]) -> Any:
        if request["op"] == "take":
            return self.lender.take(connection, request["consumer"], checkpoint=False)
        if request["op"] in ("ack", "nack"):
            self.lender.settle(request["op"], tuple(request["id"]))
            return {}, ()
        raise RuntimeError("a defect")

    def push(self, first: int, last: int) -> None:
        self.host.producer.push(TRADES[first:last])
        self.engine.flush()

    def close(self) -> None:
        for each in self._remote:
            each.close()
        self.lender.close()
        self.server.close()
        self.engine.stop()


@pytest.fixture
def lent(tmp_path: Path) -> Iterator[Lent]:
    made = Lent(tmp_path)
    yield made
    made.close()


def same(a: Bars, b: Bars) -> bool:
    return all(np.array_equal(a.column(n), b.column(n), equal_nan=a.column(n).dtype.kind == "f")
               for n in a.columns if n not in ("first_trade_time", "last_trade_time"))  # fmt: skip


def test_the_socket_is_its_owners_alone(lent: Lent) -> None:
    path = lent.server.path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with pytest.raises(errors.ControlError, match=str(os.getpid())) as caught:
        Server(path, lent.answer, lent.lender.left)
    assert caught.value.name == "already_running"
    Client(path).close()  # and the first one still answers
    lent.server.close()
    assert not path.exists()
    with pytest.raises(errors.ControlError) as caught:
        Client(path)
    assert caught.value.name == "control_unavailable"


def test_a_socket_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "e.sock"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))
    assert path.exists()
    server = Server(path, lambda *_: ({"here": 1}, ()), lambda _: None)
    server.start()
    with Client(path) as client:
        assert client.request("hello")[0] == {"here": 1}
    server.close()


def test_a_path_too_long_for_a_socket_is_told(tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigError, match="too long"):
        Server(tmp_path / ("x" * 120) / "e.sock", lambda *_: ({}, ()), lambda _: None)


def test_errors_and_nonsense_do_not_end_the_server(lent: Lent) -> None:
    with Client(lent.server.path) as client:
        with pytest.raises(errors.InternalError, match="a defect"):
            client.request("break")
        client.request("take", consumer="a")
        with pytest.raises(errors.SnapshotError) as caught:
            client.request("take", consumer="a")
        assert caught.value.name == "snapshot_outstanding"
    for garbage in (b"\xff\xff\xff\xff", b"\0\0\0\2[]", b"\0\0\0\5nojso", b"\0\0\1"):
        with socket.socket(socket.AF_UNIX) as raw:
            raw.connect(str(lent.server.path))
            raw.sendall(garbage)
            raw.shutdown(socket.SHUT_WR)
            assert raw.recv(10) == b""
    with Client(lent.server.path) as client:
        client.request("take", consumer="b")


def test_messages_of_any_size_carry_files() -> None:
    a, b = socket.socketpair()
    with a, b:
        file = share_bytes(b"state" * 1000)
        import threading

        big = {"text": "x" * 3_000_000}
        sender = threading.Thread(target=send, args=(a, big, [file]))
        sender.start()
        found = receive(b)
        sender.join()
        assert found is not None
        assert found[0] == big
        assert os.pread(found[1][0], 10, 4_990) == b"statestate"
        with pytest.raises(OSError, match=r"."):
            os.pwrite(found[1][0], b"y", 0)
        os.close(found[1][0])
        os.close(file)
        a.close()
        assert receive(b) is None


def test_another_process_maps_the_very_memory(lent: Lent) -> None:
    lent.push(0, 40_000)
    code = """
        import json, sys
        import numpy as np
        from pathlib import Path
        from klineagg.runtime.remote import RemoteHost
        host = RemoteHost(Path(sys.argv[1]))
        snapshot, state = host.freeze("other", checkpoint=False)
        closed = snapshot.closed
        maps = open("/proc/self/maps").read()
        address = closed.volume.__array_interface__["data"][0]
        inside = [m for m in maps.splitlines() if "klineagg-snapshot" in m
                  and int(m.split("-")[0], 16) <= address < int(m.split("-")[1].split()[0], 16)]
        try:
            closed.volume.flags.writeable = True
            writeable = True
        except ValueError:
            writeable = False
        print(json.dumps({
            "volume": closed.volume.tolist(), "open": snapshot.open.close.tolist(),
            "symbols": closed.symbols, "rights": [m.split()[1] for m in inside],
            "writeable": writeable, "id": list(snapshot.id)}))
        snapshot.ack()
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(lent.server.path)],
        capture_output=True, text=True, check=True, timeout=240,
    )  # fmt: skip
    seen = json.loads(run.stdout)
    expected = aggregate(TRADES[:40_000], "1m,1h", gaps="runs", progress=False)
    closed = expected[(expected.flags & 1) > 0]
    assert seen["volume"] == closed.volume.tolist()
    assert seen["symbols"] == ["XBTUSD"]
    assert seen["rights"] == ["r--s"] if sys.platform == "linux" else True
    assert seen["writeable"] is False
    assert len(seen["open"]) == 2
    # Acknowledged: nothing of it comes again.
    assert len(lent.engine.take("other").closed) == 0
    assert lent.lender.outstanding == 0


def test_a_mapped_snapshot_outlives_everything(lent: Lent) -> None:
    lent.push(0, 20_000)
    host = lent.remote()
    snapshot, _ = host.freeze("lake", checkpoint=False)
    before = snapshot.closed.quote_volume.copy()
    assert len(before) > 100
    snapshot.nack()
    lent.push(20_000, 60_000)
    for _ in range(20):
        with lent.engine.take("noise") as _noise:
            pass
    lent.close()
    assert np.array_equal(snapshot.closed.quote_volume, before)
    with pytest.raises(ValueError, match="read-only"):
        snapshot.closed.volume[0] = 1.0


def test_the_lease_brings_the_rows_back(tmp_path: Path) -> None:
    lent = Lent(tmp_path, lease_s=3_600)
    lent.push(0, 20_000)
    host = lent.remote()
    held, _ = host.freeze("other", checkpoint=False)
    with pytest.raises(errors.SnapshotError):
        host.freeze("other", checkpoint=False)
    lent.lender.lease_s = 0.05
    first, _ = host.freeze("lake", checkpoint=False)
    lent.lender.lease_s = 3_600
    time.sleep(0.1)
    second, _ = host.freeze("lake", checkpoint=False)  # a take looks at what is overdue
    assert second.id > first.id
    assert same(first.closed, second.closed)
    with pytest.raises(errors.SnapshotError) as caught:
        first.ack()
    assert caught.value.name == "snapshot_over"
    second.ack()
    assert lent.lender.expired == 1
    third, _ = host.freeze("lake", checkpoint=False)
    assert len(third.closed) == 0
    assert held.state == "outstanding"
    lent.close()


def test_a_connection_that_ends_brings_the_rows_back_at_once(lent: Lent) -> None:
    lent.push(0, 20_000)
    gone = lent.remote()
    first, _ = gone.freeze("lake", checkpoint=False)
    gone.close()
    while lent.lender.abandoned == 0:  # counted when the rows are back
        time.sleep(0.01)
    assert (lent.lender.abandoned, lent.lender.outstanding) == (1, 0)
    second, _ = lent.remote().freeze("lake", checkpoint=False)
    assert same(first.closed, second.closed)


def test_a_block_that_raises_gives_the_rows_back(lent: Lent) -> None:
    lent.push(0, 20_000)
    host = lent.remote()
    with pytest.raises(OSError, match="full"), host.freeze("lake", checkpoint=False)[0] as lost:
        raise OSError("the disk is full")
    assert lost.state == "returned"
    with host.freeze("lake", checkpoint=False)[0] as found:
        assert same(found.closed, lost.closed)
    assert found.state == "acknowledged"
    assert len(host.freeze("lake", checkpoint=False)[0].closed) == 0


def test_memory_that_could_shrink_is_refused(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("memory is sealed on Linux only")
    file = os.memfd_create("loose")
    os.ftruncate(file, 4096)
    part = {"rows": 1, "bytes": 4096, "file": 0, "columns": {}}
    message: dict[str, Any] = {
        "id": [1, 1], "watermark": None, "rows_lost": 0, "intervals": ["1m"], "closed": part,
        "open": None, "symbols": [[], []],
    }  # fmt: skip
    with pytest.raises(errors.ControlError, match="not sealed"):
        map_snapshot("x", message, [file], lambda *_: None)
    with pytest.raises(OSError, match=r"."):
        os.fstat(file)  # closed in any case
    assert mmap.PAGESIZE


def test_states_are_packed_with_their_position() -> None:
    position = {"kind": "file", "file": "a.csv", "rows": 7}
    data = pack_state(position, b"engine" * 100)
    assert unpack_state(data) == (position, b"engine" * 100)
    assert unpack_state(pack_state(None, b"")) == (None, b"")
    for damaged in (data[:-1], b"x" + data[1:], data[:30] + b"?" + data[31:], b""):
        with pytest.raises(errors.SourceError, match="damaged"):
            unpack_state(damaged)


def test_a_batch_counts_when_it_is_in(lent: Lent) -> None:
    class Counting(FileSource):
        taken = 0

        def done(self, batch: Batch) -> None:
            self.taken += batch.rows

    source = Counting([], Wanted())
    lent.host.source = source
    with pytest.raises(errors.ColumnError):
        lent.host.push(Batch({"price": np.array([1.0])}, 1))
    assert source.taken == 0
    lent.host.push(Batch(TRADES[:10], 10))
    assert source.taken == 10
