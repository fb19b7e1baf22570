"""What every test of the command line starts from."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.harness import NAME
from unit import dumps


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    """A day of trades of BTCUSDT as Binance publishes them."""
    return dumps.write(tmp_path / f"{NAME}.csv", dumps.binance(dumps.make_trades(1500)))


@pytest.fixture
def all_of_run() -> None:
    """Skips where what `klineagg run` needs is missing: a check of its file needs it too."""
    for needed in ("duckdb", "huey"):
        pytest.importorskip(needed)
