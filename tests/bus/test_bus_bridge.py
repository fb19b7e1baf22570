"""Topics carried to another bus over TCP, through networks that break."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bus.proxy import FaultProxy
from bus.records import CHECKED, checked, damaged
from klineagg import errors
from klineagg.bus import Bus, record_type
from klineagg.bus.bridge import BridgeClient, BridgeServer, Security
from klineagg.cli import main

SECRET = b"a secret of more than sixteen bytes"
Records = np.ndarray[Any, np.dtype[Any]]


@pytest.fixture
def far() -> Iterator[Bus]:
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as path:
        yield Bus(path)


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(120)

    def start(self, coroutine: Any) -> asyncio.Task[Any]:
        async def make() -> asyncio.Task[Any]:
            return asyncio.ensure_future(coroutine)

        task: asyncio.Task[Any] = self.run(make())
        return task

    def end(self, task: asyncio.Task[Any]) -> None:
        async def cancel() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self.run(cancel())

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(120)
        self.loop.close()


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


@contextmanager
def serving(loop: Loop, bus: Bus, **options: Any) -> Iterator[BridgeServer]:
    server = BridgeServer(bus, ["ticks"], **options)
    loop.run(server.start())
    try:
        yield server
    finally:
        loop.run(server.close())


@contextmanager
def connected(loop: Loop, bus: Bus, port: int, **options: Any) -> Iterator[BridgeClient]:
    client = BridgeClient(bus, ["ticks"], "127.0.0.1", port, timeout=1.5, **options)
    running = loop.start(client.run())
    try:
        yield client
    finally:
        loop.end(running)


def until(holds: Callable[[], Any], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it does not come to pass"
        time.sleep(0.01)


def take(subscriber: Any, count: int, seconds: float = 120.0) -> Records:
    parts: list[Records] = []
    end = time.monotonic() + seconds
    while sum(map(len, parts)) + subscriber.lost < count and time.monotonic() < end:
        parts.append(subscriber.receive(timeout=0.2))
    return np.concatenate(parts) if parts else np.empty(0, CHECKED.dtype)


def test_records_arrive_with_their_headers(bus: Bus, far: Bus, loop: Loop) -> None:
    there = far.subscriber("ticks", record=CHECKED)
    here = bus.subscriber("ticks", record=CHECKED)
    first = bus.publisher("ticks", "first", record=CHECKED, first_sequence=1_000)
    second = bus.publisher("ticks", "second", record=CHECKED)
    with serving(loop, bus) as server, connected(loop, far, server.port) as client:
        until(lambda: client.connected)
        for batch in range(20):
            first.publish(checked(batch * 100, 100))
            second.publish(checked(batch, 1))
        got, sent = take(there, 2_020), take(here, 2_020)
        for name in (b"first", b"second"):
            own = got[got["publisher"] == name]
            assert own.tobytes() == sent[sent["publisher"] == name].tobytes()
        assert int(got["sequence"].max()) == 2_999
        assert damaged(got) == 0
        assert server.stats["records"] == 2_020
        assert server.stats["bytes"] > 2_020 * CHECKED.dtype.itemsize, (
            "though the connection goes on"
        )
        until(lambda: client.stats["records"] == 2_020)  # counted when they are published
        # One that ends here ends there.
        second.close()
        until(lambda: [p["name"] for p in far.inspect("ticks")["publishers"] if p["alive"]]
              == ["first"])  # fmt: skip
    first.close()


@pytest.mark.parametrize(
    ("seed", "count"),
    [(0, 6_000), *(pytest.param(i, 60_000, marks=pytest.mark.slow) for i in (1, 2))],
)
def test_a_breaking_network_loses_and_doubles_nothing(
    bus: Bus, far: Bus, loop: Loop, tmp_path: Path, seed: int, count: int
) -> None:
    ways: tuple[str, ...] = ("cut", "end", "half", "flip")
    if count > 10_000:
        ways = (*ways, "delay", "silent")
    options: Any = {"record": CHECKED, "ring_bytes": 1 << 16}
    there = far.subscriber("ticks", record=CHECKED)
    publisher = bus.publisher("ticks", "feed", wal=tmp_path, **options)
    with serving(loop, bus, wal=tmp_path) as server:
        proxy = FaultProxy(server.port, ways, (10_000, count * 12), seed)
        with connected(loop, far, proxy.port) as client:
            got = []
            for first in range(0, count, 500):
                publisher.publish(checked(first, 500))
                got.append(there.receive(timeout=0.01))
            got.append(take(there, count - sum(map(len, got))))
        proxy.close()
    records = np.concatenate(got)
    assert there.lost == 0
    assert records["sequence"].tolist() == list(range(1, count + 1))
    assert damaged(records) == 0
    assert client.stats["lost"] == 0
    assert client.stats["connections"] > 5
    assert sum(proxy.broken.values()) > 5
    publisher.close()


def test_without_a_log_what_is_lost_is_counted(bus: Bus, far: Bus, loop: Loop) -> None:
    there = far.subscriber("ticks", record=CHECKED)
    publisher = bus.publisher("ticks", "feed", record=CHECKED, ring_bytes=1 << 14)
    with serving(loop, bus) as server:
        with connected(loop, far, server.port) as client:
            until(lambda: client.connected)
            publisher.publish(checked(0, 50))
            until(lambda: client.stats["records"] == 50)
        for first in range(50, 5_000, 50):  # nobody is connected
            publisher.publish(checked(first, 50))
        with connected(loop, far, server.port) as client:
            got = take(there, 5_000)
            assert client.stats["lost"] == there.lost > 0
    assert len(got) + there.lost == 5_000
    assert damaged(got) == 0
    assert int(got["sequence"][-1]) == 5_000
    publisher.close()


def test_a_client_that_comes_again_goes_on_where_it_was(
    bus: Bus, far: Bus, loop: Loop, tmp_path: Path
) -> None:
    there = far.subscriber("ticks", record=CHECKED)
    publisher = bus.publisher("ticks", "feed", record=CHECKED, wal=tmp_path)
    with serving(loop, bus, wal=tmp_path) as server:
        got = []
        for first in range(0, 3_000, 1_000):
            publisher.publish(checked(first, 1_000))
            with connected(loop, far, server.port) as client:
                got.append(take(there, 1_000))
                assert client.stats["duplicates"] == 0
            # What has died is removed; where its sequence goes on is kept.
            assert far.remove_orphans("ticks", older_than=0.0) == 1
    assert np.concatenate(got)["sequence"].tolist() == list(range(1, 3_001))
    assert there.lost == 0
    publisher.close()


def test_latest_leaves_out_what_was_before(bus: Bus, far: Bus, loop: Loop, tmp_path: Path) -> None:
    there = far.subscriber("ticks", record=CHECKED, start="oldest")
    publisher = bus.publisher("ticks", "feed", record=CHECKED, wal=tmp_path)
    publisher.publish(checked(0, 100))
    with (
        serving(loop, bus, wal=tmp_path) as server,
        connected(loop, far, server.port, latest=True) as client,
    ):
        until(lambda: client.connected)
        publisher.publish(checked(100, 5))
        assert take(there, 5)["sequence"].tolist() == [101, 102, 103, 104, 105]
        assert there.lost == 0
    publisher.close()


@pytest.mark.parametrize(("ours", "theirs"), [(SECRET, None), (None, SECRET), (SECRET, b"x" * 20)])
def test_who_has_another_secret_is_refused(
    bus: Bus, far: Bus, loop: Loop, caplog: pytest.LogCaptureFixture, ours: Any, theirs: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    bus.publisher("ticks", "feed", record=CHECKED).close()
    with serving(loop, bus, security=Security(ours)) as server:
        client = BridgeClient(far, ["ticks"], "127.0.0.1", server.port, security=Security(theirs))
        with pytest.raises(errors.BridgeError) as caught:
            loop.run(client.run())
        assert caught.value.name == "bridge_refused"
        assert far.topics() in ([], ["ticks"])
        assert far.inspect("ticks")["publishers"] == []
    told = caplog.text + repr(server) + repr(client) + repr(Security(ours)) + str(caught.value)
    for secret in (ours, theirs):
        assert secret is None or secret.decode() not in told


def test_the_same_secret_is_let_in_and_a_server_must_have_it_too(
    bus: Bus, far: Bus, loop: Loop
) -> None:
    publisher = bus.publisher("ticks", "feed", record=CHECKED)
    security = Security(SECRET)
    with (
        serving(loop, bus, security=security) as server,
        connected(loop, far, server.port, security=security) as client,
    ):
        until(lambda: client.connected)
        publisher.publish(checked(0, 3))
        until(lambda: client.stats["records"] == 3)
    publisher.close()
    ours, theirs = Security.nonce(), Security.nonce()
    with pytest.raises(errors.BridgeError):  # a proof of one side is none of the other one
        security.check("server", theirs, ours, security.proof("client", theirs, ours))


def test_what_would_be_open_to_everybody_is_refused(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    for host in ("0.0.0.0", "::", "example.com"):
        with pytest.raises(errors.OptionError, match="open to everybody"):
            BridgeServer(bus, ["ticks"], host=host)
    BridgeServer(bus, ["ticks"], host="0.0.0.0", security=Security(SECRET))
    monkeypatch.setenv("KLINEAGG_BRIDGE_SECRET", "short")
    with pytest.raises(errors.OptionError, match="16 bytes") as caught:
        Security.from_environment()
    assert "short" not in str(caught.value).replace("KLINEAGG_BRIDGE_SECRET", "")


@pytest.mark.parametrize("kept", [True, False], ids=["log", "ring"])
def test_a_topic_that_began_anew_is_refused(
    bus: Bus, far: Bus, loop: Loop, tmp_path: Path, kept: bool
) -> None:
    wal = tmp_path if kept else None
    with far.publisher("ticks", "feed", record=CHECKED) as before:
        before.publish(checked(1, 100))
    publisher = bus.publisher("ticks", "feed", record=CHECKED, wal=wal)
    publisher.publish(checked(1, 5))
    with serving(loop, bus, wal=wal) as server:
        with pytest.raises(errors.BridgeError, match="began anew.*remove the files of feed"):
            loop.run(BridgeClient(far, ["ticks"], "127.0.0.1", server.port).run())
        for path in Path(far.path).glob("ticks@feed.*"):
            path.unlink()
        with connected(loop, far, server.port):
            assert (
                take(far.subscriber("ticks", record=CHECKED, start="oldest"), 5)["number"][-1] == 5
            )
    publisher.close()


def test_other_records_are_refused(bus: Bus, far: Bus, loop: Loop) -> None:
    other = record_type("Other", [("value", "<f8")])
    own = far.publisher("ticks", "own", record=other)
    publisher = bus.publisher("ticks", "feed", record=CHECKED)
    with serving(loop, bus) as server:
        client = BridgeClient(far, ["ticks"], "127.0.0.1", server.port)
        with pytest.raises(errors.BridgeError, match="different records"):
            loop.run(client.run())
        unknown = BridgeClient(far, ["fills"], "127.0.0.1", server.port)
        with pytest.raises(errors.BridgeError, match="not on offer"):
            loop.run(unknown.run())
        assert server.stats["refused"] == 1
    own.close()
    publisher.close()


def test_garbage_ends_the_connection_and_nothing_else(bus: Bus, far: Bus, loop: Loop) -> None:
    publisher = bus.publisher("ticks", "feed", record=CHECKED)

    async def talk(port: int, data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        return answer

    with serving(loop, bus) as server:
        for data in (b"", b"GET / HTTP/1.1\r\n\r\n", os.urandom(4096), b"\x4c\x4b\x02\0" * 100):
            loop.run(talk(server.port, data))
        with connected(loop, far, server.port) as client:
            until(lambda: client.connected)
            publisher.publish(checked(0, 3))
            until(lambda: client.stats["records"] == 3)
    publisher.close()


def test_tls_with_certificates(bus: Bus, far: Bus, loop: Loop, tmp_path: Path) -> None:
    tool = shutil.which("openssl")
    if tool is None:
        pytest.skip("openssl is not there to make a certificate")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [tool, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    both = Security(certificate=certificate, key=key, authority=certificate)
    publisher = bus.publisher("ticks", "feed", record=CHECKED)
    with serving(loop, bus, security=both) as server:
        plain = BridgeClient(far, ["ticks"], "127.0.0.1", server.port, timeout=1.5)
        running = loop.start(plain.run())
        with connected(loop, far, server.port, security=both) as client:
            until(lambda: client.connected)
            publisher.publish(checked(0, 7))
            until(lambda: client.stats["records"] == 7)
        assert plain.stats["connections"] == 0
        loop.end(running)
    publisher.close()


def test_the_command_carries_on_after_kill(bus: Bus, far: Bus, tmp_path: Path) -> None:
    there = far.subscriber("ticks", record=CHECKED)
    publisher = bus.publisher("ticks", "feed", record=CHECKED, wal=tmp_path)

    def start(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "klineagg", "bus", "bridge", *arguments],
            stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "KLINEAGG_BRIDGE_SECRET": SECRET.decode()},
        )  # fmt: skip

    server = start("serve", "--topic", "ticks", "--port", "0", "--path", bus.path,
                   "--wal", str(tmp_path))  # fmt: skip
    assert server.stderr is not None
    port = server.stderr.readline().strip().rpartition(":")[2]
    client = ("connect", f"127.0.0.1:{port}", "--topic", "ticks", "--path", far.path)
    got = []
    for round_ in range(3):
        process = start(*client)
        publisher.publish(checked(round_ * 1_000, 1_000))
        got.append(take(there, 1_000))
        process.send_signal(signal.SIGKILL if round_ < 2 else signal.SIGTERM)
        out, told = process.communicate(timeout=120)
        assert SECRET.decode() not in out + told
    assert process.returncode == 0, told
    assert "records 1,000" in out
    server.terminate()
    out, told = server.communicate(timeout=120)
    assert server.returncode == 0, told
    assert np.concatenate(got)["sequence"].tolist() == list(range(1, 3_001))
    publisher.close()


def test_connect_says_at_once_what_it_does(bus: Bus, far: Bus) -> None:
    publisher = bus.publisher("ticks", "feed", record=CHECKED)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]  # nobody listens there
        process = subprocess.Popen(
            [sys.executable, "-m", "klineagg", "bus", "bridge", "connect", f"127.0.0.1:{port}",
             "--topic", "ticks", "--path", far.path, "--core", str(min(os.sched_getaffinity(0)))],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stderr is not None
        assert f"connects to 127.0.0.1:{port}" in process.stderr.readline()
        assert "not connected, tries again" in process.stderr.readline()
        assert os.sched_getaffinity(process.pid) == {min(os.sched_getaffinity(0))}
    server = subprocess.Popen(
        [sys.executable, "-m", "klineagg", "bus", "bridge", "serve", "--port", str(port),
         "--topic", "ticks", "--path", bus.path], stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while "connected" not in (line := process.stderr.readline()) or "not connected" in line:
        assert line, "it has ended"
    for each in (process, server):
        each.terminate()
        each.communicate(timeout=120)
        assert each.returncode == 0
    publisher.close()


@pytest.mark.parametrize(
    "side",
    [
        ["connect", "nowhere"],
        ["connect", "127.0.0.1:99999"],
        ["connect", "127.0.0.1:0"],
        ["serve", "--port", "99999"],
        ["serve", "--port", "-1"],
    ],
    ids=" ".join,
)
def test_a_wrong_address_is_told(
    bus: Bus, side: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bus", "bridge", *side, "--topic", "ticks", "--path", bus.path]) == 2
    said = capsys.readouterr().err
    assert "invalid_option" in said
    assert side[-1].rpartition(":")[2] in said
