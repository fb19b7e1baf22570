"""Progress: shown where somebody looks, silent elsewhere."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from klineagg.errors import MissingExtraError
from klineagg.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def work(progress: Progress) -> None:
    with progress:
        for _ in range(4):
            progress.update(25)
    assert progress.done == 100


def watched(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Standard error as a terminal; not a fixture, since pytest sets it anew for the test."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def test_a_function_hears_of_every_step() -> None:
    calls: list[tuple[int, int | None]] = []
    work(Progress(100, option=lambda done, total: calls.append((done, total))))
    assert calls == [(25, 100), (50, 100), (75, 100), (100, 100)]


def test_long_work_on_a_terminal_shows_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = watched(monkeypatch)
    pytest.importorskip("tqdm")
    work(Progress(100, desc="aggregate", delay_s=0.0))
    text = stderr.getvalue()
    assert "aggregate" in text
    assert "trades" in text
    # The bar begins with what had been done before it was shown.
    assert "25%" in text or "25.0/100" in text


def test_short_work_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = watched(monkeypatch)
    work(Progress(100, delay_s=3_600.0))
    assert stderr.getvalue() == ""


def test_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    work(Progress(100, delay_s=0.0))
    assert stream.getvalue() == ""
    monkeypatch.setattr(sys, "stderr", None)
    work(Progress(100, delay_s=0.0))


def test_off_and_on(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = watched(monkeypatch)
    work(Progress(100, option=False, delay_s=0.0))
    assert stderr.getvalue() == ""
    pytest.importorskip("tqdm")
    plain = io.StringIO()
    monkeypatch.setattr(sys, "stderr", plain)
    work(Progress(None, option=True, desc="forced"))
    assert "forced" in plain.getvalue()


def test_without_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = watched(monkeypatch)
    for name in list(sys.modules):
        if name.partition(".")[0] == "tqdm":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    work(Progress(100, delay_s=0.0))
    assert stderr.getvalue() == ""
    with pytest.raises(MissingExtraError, match=r"klineagg\[progress\]"):
        Progress(100, option=True)


def test_an_error_closes_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = watched(monkeypatch)
    progress = Progress(100, delay_s=0.0)
    progress.update(10)
    with pytest.raises(ZeroDivisionError), progress:
        _ = 1 // 0
    shown = stderr.getvalue()
    progress.update(10)
    assert progress.done == 20
    assert stderr.getvalue() == shown


def test_tqdm_is_loaded_only_when_it_is_needed() -> None:
    code = (
        "import sys; from klineagg.progress import Progress\n"
        "with Progress(10) as progress: progress.update(10)\n"
        "print('tqdm' in sys.modules)"
    )
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, check=True, capture_output=True, text=True, env=dict(os.environ))
    assert done.stdout.strip() == "False"
