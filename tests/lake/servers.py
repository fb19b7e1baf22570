"""Real servers on loopback for the tests: PostgreSQL from the system's packages, S3 from moto."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PASSWORD = "se'cret-of-the-test"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _binaries() -> Path | None:
    """The folder of the newest PostgreSQL of the system."""
    if (found := shutil.which("initdb")) is not None:
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: float(p.parent.name))
    return next((path for path in reversed(folders) if (path / "initdb").exists()), None)


@contextmanager
def postgres() -> Iterator[str]:
    """A server with an empty data folder; yields the URL of a database."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL here (Debian package: postgresql)")
    as_user: list[str] = []
    if os.geteuid() == 0:
        # The server refuses to run as root.
        if shutil.which("runuser") is None:
            pytest.skip("PostgreSQL cannot run as root, and there is no runuser here")
        as_user = ["runuser", "-u", "postgres", "--"]
    # A server under the sanitizer that is preloaded for the tests waits for itself at its start.
    plain = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    folder = Path(tempfile.mkdtemp(prefix="klineagg-postgres-"))
    server: subprocess.Popen[bytes] | None = None
    try:
        secret = folder / "password"
        secret.write_text(PASSWORD)
        if as_user:
            shutil.chown(folder, "postgres")
            shutil.chown(secret, "postgres")
        data = folder / "data"
        made = subprocess.run(
            [*as_user, str(binaries / "initdb"), "-D", str(data), "-U", "postgres", "-E", "UTF8",
             "--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync", "--locale=C"],
            capture_output=True, text=True, check=False, cwd=folder, env=plain, timeout=240,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        port = free_port()
        options = {
            "listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": folder,
            "fsync": "off", "max_connections": 200,
        }  # fmt: skip
        arguments = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [*as_user, str(binaries / "postgres"), "-D", str(data), *arguments],
                stdout=log, stderr=log, cwd=folder, env=plain,
            )  # fmt: skip
        _wait_for(data / "postmaster.pid", server)
        quoted = PASSWORD.replace("'", "%27")
        yield f"postgresql://postgres:{quoted}@127.0.0.1:{port}/postgres"
    finally:
        if server is not None:
            # What runuser started gets its own signal: the first line of the file is its id.
            pid = int((folder / "data" / "postmaster.pid").read_text().split()[0])
            os.kill(pid, signal.SIGINT)
            server.wait(timeout=240)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server for all tests that want one."""
    with postgres() as url:
        yield url


@pytest.fixture
def fresh_base(postgres_url: str) -> str:
    """The URL of an empty database."""
    import duckdb

    from klineagg.lake.catalog import Catalog, make_secrets
    from klineagg.lake.duck import connect

    base = f"lake_{uuid.uuid4().hex[:12]}"
    connection = connect(["postgres_scanner"])
    make_secrets(connection, Catalog.of(postgres_url, None))
    connection.execute("ATTACH '' AS server (TYPE postgres, SECRET klineagg_catalog)")
    connection.execute(
        f"CALL postgres_execute('server', 'CREATE DATABASE {base}', use_transaction=false)"
    )
    connection.close()
    assert duckdb
    return postgres_url.rpartition("/")[0] + "/" + base


def _wait_for(file: Path, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 240
    while time.monotonic() < until:
        assert server.poll() is None, "PostgreSQL did not start"
        if file.exists() and file.read_text().rstrip().endswith("ready"):
            return
        time.sleep(0.05)
    raise AssertionError("PostgreSQL was not ready after four minutes")


@contextmanager
def s3() -> Iterator[dict[str, str]]:
    """An object store with the bucket ``lake``; yields the variables that lead to it."""
    server_module = pytest.importorskip("moto.server")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        request = urllib.request.Request(f"{endpoint}/lake", method="PUT")
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 200
        yield {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "key-of-the-test",
            "AWS_SECRET_ACCESS_KEY": PASSWORD,
            "AWS_REGION": "us-east-1",
        }
    finally:
        server.stop()
