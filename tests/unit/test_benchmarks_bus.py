"""The bus's benchmark: what its tables say of what was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import bus
from benchmarks.bus_tables import MARKS, tables, write

LINES: list[dict[str, Any]] = [
    {"machine": {"CPU": "some", "cores": "2"}, "load": 0.1},
    {"transport": "klineagg (native)", "what": "latency", "wait": "park", "count": 9,
     "p50_ns": 105, "p99_ns": 215, "p999_ns": 3130, "max_ns": 9999},
    {"transport": "klineagg (native)", "what": "rate", "subscribers": 100, "wait": "backoff",
     "own_core": True, "batch": 64, "sent_per_s": 181e6, "processor_ns": 5.4, "calls": 0,
     "received_all": 123_456, "lost_all": 7_890},
    {"transport": "klineagg (native)", "what": "memory", "subscribers": 100, "pss_kb": 20_500},
    {"transport": "klineagg (native)", "what": "memory", "subscribers": 100, "pss_kb": 21_500},
    {"transport": "iceoryx2 (native)", "what": "rate", "subscribers": 1, "batch": 1,
     "sent_per_s": 2.9e6},
    {"transport": "pyzmq (ipc)", "latency_us": {"p50": 51, "p99": 114, "p99.9": 610}},
    {"transport": "pyzmq (ipc)", "batch": 16, "received_per_s": 7.8e6, "sent": 1_000,
     "received": 990, "lost": 10, "pss_kb": 65_000},
]  # fmt: skip


def test_the_tables_have_memory_losses_and_each_number_of_subscribers() -> None:
    text = tables(LINES)
    for row in (
        "| klineagg (native), latency park | 0.105 us | 0.215 us | 3.13 us |",
        "| klineagg (native), 100 subscribers | backoff | own | 64 | 181 | 5.4 | 123,456 | 7,890 |",
        "| iceoryx2 (native), 1 subscribers |  |  | 1 | 2.9 |  |  |  |",
        "| 100 | 21.5 MB |",
        "| pyzmq (ipc) | 51 us | 114 us | 610 us |",
        "| pyzmq (ipc) | 16 | 7.8 | 990 | 10 | 65.0 MB |",
    ):
        assert row in text.splitlines()


def test_a_run_replaces_the_tables_of_the_page_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{MARKS[0]}\nold\n{MARKS[1]}\nbehind\n")
    for _ in range(2):
        write(page, LINES)
        text = page.read_text()
        assert text.startswith(f"before\n{MARKS[0]}\nCPU: some; cores: 2\n")
        assert text.endswith(f"{MARKS[1]}\nbehind\n")
        assert "old" not in text
        assert text.count("| 100 | 21.5 MB |") == 1
    assert all(mark in bus.PAGE.read_text() for mark in MARKS)
    page.write_text("no marks")
    with pytest.raises(SystemExit):
        write(page, LINES)


def test_a_short_run_counts_what_is_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "sys.argv", ["bus", "--seconds", "0.05", "--transports", "klineagg", "--no-engine",
                     "--program", "nowhere", "--peer", "nowhere"],
    )  # fmt: skip
    bus.main()
    out = capsys.readouterr().out.splitlines()
    lines = [json.loads(line) for line in out if line.startswith("{")]
    rates = [line for line in lines if "batch" in line]
    assert [line["batch"] for line in rates] == [1, 16, 64, 256] * 2
    for line in rates:
        assert line["received"] > 0
        assert line["received"] + line["lost"] == line["sent"]
        assert line["lost"] >= 0
