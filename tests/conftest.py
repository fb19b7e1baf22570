"""What every test may use: Hypothesis profiles and the real trades beside the project."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.database import DirectoryBasedExampleDatabase

from disks import small_disk  # noqa: F401  fixture
from watchdog import (  # noqa: F401  hooks of pytest
    pytest_configure,
    pytest_runtest_call,
    pytest_runtest_setup,
    pytest_runtest_teardown,
    pytest_unconfigure,
)

PROJECT = Path(__file__).resolve().parents[1]

# Without deadlines: a slow machine is no defect. The default profile tries the same examples on
# every run, so that a change is judged by its own doing; the long one looks for new ones, which it
# has to say: a profile takes what it does not say from the one that is named "default".
settings.register_profile(
    "default", max_examples=100, deadline=None, derandomize=True, print_blob=True
)
settings.register_profile(
    "long",
    max_examples=2_000,
    deadline=None,
    derandomize=False,
    database=DirectoryBasedExampleDatabase(PROJECT / ".hypothesis" / "examples"),
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# A shell starts its background jobs with interrupts ignored, and what the tests start inherits it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def project() -> Path:
    """The root of the source tree that the tests lie in."""
    return PROJECT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real market data beside the project; skips where there is none.

    ``KLINEAGG_SHARED_DATA`` names another place for it.
    """
    default = PROJECT.parent / "shared" / "data"
    folder = Path(os.environ.get("KLINEAGG_SHARED_DATA") or default)
    if not folder.is_dir():
        pytest.skip(f"no real market data here: the folder {folder} is missing")
    return folder
