"""iceoryx2: a program in Rust, written with the official crate alone, and klineagg."""

from __future__ import annotations

import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from bus import programs
from klineagg.bus import Bus, Iceoryx2Bridge
from klineagg.bus._waiting import Records

pytest.importorskip("iceoryx2")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
MANIFEST = ROOT / "cpp" / "bench" / "iceoryx2" / "Cargo.toml"
BUILT = ROOT / "build" / "iceoryx2"


@pytest.fixture(scope="module")
def bars_program() -> Path:
    cargo = shutil.which("cargo")
    if cargo is None:
        pytest.skip("there is no cargo")

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([cargo, *map(str, arguments)], capture_output=True, text=True,
                              check=False)  # fmt: skip

    if (fetched := run("fetch", "--manifest-path", MANIFEST)).returncode:
        pytest.skip(f"cargo cannot get the crate: {fetched.stderr.splitlines()[-1:]}")
    made = run("build", "--offline", "--release", "--example", "bars",
               "--manifest-path", MANIFEST, "--target-dir", BUILT)  # fmt: skip
    assert made.returncode == 0, made.stderr
    return BUILT / "release" / "examples" / "bars"


@pytest.fixture
def service() -> str:
    return f"klineagg-test/{uuid.uuid4()}"


@contextmanager
def started(program: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([program, *arguments], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_rust_program_receives_bars(bus: Bus, bars_program: Path, service: str) -> None:
    publisher = bus.publisher("bars", "engine")
    with (
        Iceoryx2Bridge(bus, "bars", "out", service=service),
        started(bars_program, service, "20") as process,
    ):
        assert programs.first_line(process) == "ready"
        bars = publisher.empty(20)
        bars["instrument"], bars["interval"], bars["flags"] = b"BTCUSDT", b"5m", 1
        bars["close"] = np.arange(20) + 0.25
        publisher.publish(bars)
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(20)]
        assert process.wait(120) == 0
    assert lines == [f"{n + 1} BTCUSDT 5m {n + 0.25} 1" for n in range(20)]
    publisher.close()


def test_a_rust_program_sends_bars(bus: Bus, bars_program: Path, service: str) -> None:
    subscriber = bus.subscriber("bars")
    with (
        Iceoryx2Bridge(bus, "bars", "in", service=service),
        started(bars_program, service, "send") as process,
    ):
        assert programs.first_line(process) == "sent"
        received: list[Records] = []
        deadline = time.monotonic() + 120
        while sum(map(len, received)) < 4 and time.monotonic() < deadline:
            received.append(subscriber.receive(timeout=0.1))
    records = np.concatenate(received)
    assert records["close"].tolist() == [0.5, 1.5, 2.5, 3.5]
    assert set(records["instrument"].tolist()) == {b"ETHUSDT"}
    assert set(records["interval"].tolist()) == {b"1m"}
