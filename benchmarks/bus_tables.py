"""Tables of what the benchmark of the bus has measured, for docs/BENCHMARKS-BUS.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

__all__ = ["MARKS", "tables", "write"]

#: What lies between them on the page is replaced.
MARKS: Final = ("<!-- tables of the last run -->", "<!-- end of the tables -->")
Line = dict[str, Any]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [" | ".join(head), " | ".join(["---", *["---:"] * (len(head) - 1)])]
    lines += [" | ".join(row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def _native_rates(lines: list[Line]) -> str:
    rows = []
    for line in lines:
        if line.get("what") != "rate":
            continue
        own = {True: "own", False: "shared"}.get(line.get("own_core", ""), "")
        counted = "received_all" in line
        cost = f"{line['processor_ns']:.1f}" if "processor_ns" in line else ""
        rows.append([
            f"{line['transport']}, {line['subscribers']:,} subscribers", line.get("wait", ""), own,
            str(line["batch"]), f"{line['sent_per_s'] / 1e6:.3g}", cost,
            f"{line['received_all']:,}" if counted else "",
            f"{line['lost_all']:,}" if counted else "",
        ])  # fmt: skip
    head = ["", "wait", "sender's core", "batch", "million sent a second",
            "processor ns a message", "received by all so far", "lost by all so far"]  # fmt: skip
    return _table(head, rows)


def _native_memory(lines: list[Line]) -> str:
    most: dict[int, int] = {}
    for line in lines:
        if line.get("what") == "memory":
            number = line["subscribers"]
            most[number] = max(most.get(number, 0), line["pss_kb"])
    rows = [[f"{number:,}", f"{kb / 1000:,.1f} MB"] for number, kb in sorted(most.items())]
    return _table(["native subscribers", "memory of all processes (PSS)"], rows)


def _latencies(lines: list[Line]) -> str:
    rows = []
    for line in lines:
        if "latency_us" in line:
            tails = [f"{line['latency_us'][key]:,.3g} us" for key in ("p50", "p99", "p99.9")]
            rows.append([line["transport"], *tails])
        elif "p50_ns" in line:
            what = f"{line['transport']}, {line['what']} {line.get('wait', '')}".rstrip()
            tails = [f"{line.get(key, 0) / 1e3:,.3g} us" for key in ("p50_ns", "p99_ns", "p999_ns")]
            rows.append([what, *tails])
    return _table(["half a round trip, or a gap", "p50", "p99", "p99.9"], rows)


def _python_rates(lines: list[Line]) -> str:
    rows = [
        [line["transport"], str(line["batch"]), f"{line['received_per_s'] / 1e6:.3g}",
         f"{line['received']:,}", f"{line['lost']:,}", f"{line['pss_kb'] / 1000:,.1f} MB"]
        for line in lines
        if "received_per_s" in line
    ]  # fmt: skip
    head = ["from Python, one subscriber", "batch", "million received a second", "received", "lost",
            "memory of both processes (PSS)"]  # fmt: skip
    return _table(head, rows)


def tables(lines: list[Line]) -> str:
    """As Markdown; ``lines`` are what the benchmark prints."""
    parts = [_latencies(lines), _native_rates(lines), _native_memory(lines), _python_rates(lines)]
    return "\n\n".join(parts)


def write(page: Path, lines: list[Line]) -> None:
    """Replaces the tables of the page."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    if not rest:
        raise SystemExit(f"{page} has no line {MARKS[0]}")
    told = "; ".join(f"{key}: {value}" for key, value in lines[0]["machine"].items())
    new = f"{MARKS[0]}\n{told}\n\n{tables(lines)}\n{MARKS[1]}"
    page.write_text(before + new + after, encoding="utf-8")
