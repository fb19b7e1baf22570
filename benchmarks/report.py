"""Tables of the results: for the terminal, for docs/BENCHMARKS.md and as JSON."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any, Final

from benchmarks.peers import SUBJECT, all_peers
from benchmarks.runner import Entry, Found
from benchmarks.workload import INTERVAL_SETS, SYMBOLS, ZIPF_EXPONENT, seconds_of

_MIB: Final = 1 << 20
MEMORY_SLACK_BYTES: Final = 64 * _MIB
_PRICE_COLUMNS: Final = ("key", "open", "high", "low", "close")
# Peers that work in a process of their own, whose memory the visiting process does not see.
_OUTSIDE: Final = frozenset(("questdb",))
_HEAD: Final = (
    "peer",
    "threads",
    "million trades/s",
    "lowest - highest",
    "klineagg is",
    "memory beyond input",
    "bars",
    "prices' checksum",
    "sums",
)

Results = dict[Entry, Found]


def checksum(found: Found) -> str:
    """One short checksum of keys and prices over all intervals, whatever the order of rows."""
    text = " ".join(
        f"{interval}:{check['checksums'].get(column)}"
        for interval, check in sorted(found.checks.items())
        for column in _PRICE_COLUMNS
    )
    return hashlib.sha256(text.encode()).hexdigest()[:10] if found.checks else ""


def _memory(entry: Entry, found: Found) -> str:
    if entry.peer in _OUTSIDE:
        return "not measured"
    return f"{found.memory_peak_bytes / _MIB:,.0f} MiB"


def _bars(found: Found) -> str:
    if not found.checks:
        return "none"
    expected = sum(check["rows_expected"] for check in found.checks.values())
    if found.equal:
        return f"{found.bars:,}"
    wrong = sorted({name for c in found.checks.values() for name in c["columns_wrong"]})
    if "key" in wrong:
        return f"**wrong**: {found.bars:,}, not {expected:,}"
    return f"**wrong** in {', '.join(wrong)}"


def _sums(found: Found) -> str:
    if not found.checks or not found.equal:
        return ""
    if found.sums_exact:
        return "exact"
    return f"within {found.sum_error_max:.0e}"


def _ratio(entry: Entry, found: Found, results: Results) -> str:
    """How many times as fast klineagg is with as many threads."""
    subject = results.get(Entry(SUBJECT, entry.threads, entry.intervals))
    if subject is None or not subject.rate or not found.rate:
        return ""
    return "1" if entry.peer == SUBJECT else f"{subject.rate / found.rate:.2f}x"


def rows(results: Results, which: str) -> list[tuple[str, ...]]:
    """The table of one interval set, fastest kind of peer in the order of the registry."""
    made: list[tuple[str, ...]] = []
    for entry, found in results.items():
        if entry.intervals != which or not found.seconds:
            continue
        peer = all_peers()[entry.peer]
        marks = " (a)" if peer.missing else ""
        marks += " (b)" if found.rows < max(other.rows for other in results.values()) else ""
        low, high = found.rates
        digits = 1 if found.rate >= 1e6 else 3
        made.append(
            (
                peer.label + marks,
                str(entry.threads),
                f"{found.rate / 1e6:.{digits}f}",
                f"{low / 1e6:.{digits}f} - {high / 1e6:.{digits}f}",
                _ratio(entry, found, results),
                _memory(entry, found),
                _bars(found),
                checksum(found),
                _sums(found),
            )
        )
    return made


def markdown_table(head: tuple[str, ...], body: list[tuple[str, ...]]) -> str:
    """A Markdown table, padded so that it is one in a terminal too."""
    widths = [max(len(row[k]) for row in [head, *body]) for k in range(len(head))]
    right = {1, 2, 3, 4, 5, 6}
    lines = []
    for row in [head, *body]:
        cells = [
            cell.rjust(width) if k in right else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("| " + " | ".join(cells) + " |")
    rule = [("-" * (w - 1) + ":") if k in right else "-" * w for k, w in enumerate(widths)]
    lines.insert(1, "| " + " | ".join(rule) + " |")
    return "\n".join(lines)


def table(results: Results, which: str) -> str:
    """The Markdown table of one interval set."""
    return markdown_table(_HEAD, rows(results, which))


def _best_engine_ratio(results: Results, threads: int) -> str:
    engines = ("duckdb", "polars", "chdb", "questdb", "pandas")
    rated = [
        (found.rate, entry.peer)
        for entry, found in results.items()
        if entry.intervals == "8" and entry.threads == threads and entry.peer.startswith(engines)
    ]
    subject = results.get(Entry(SUBJECT, threads, "8"))
    if not rated or subject is None or not subject.rate or not max(rated)[0]:
        return ""
    rate, name = max(rated)
    label = all_peers()[name].label
    return f"- {threads} thread(s): {subject.rate / rate:.1f}x the best engine ({label})"


def headlines(results: Results, imported: tuple[float, list[str]]) -> list[str]:
    """The figures that the project holds itself to, one line each."""
    lines = [line for n in (1, 2) if (line := _best_engine_ratio(results, n))]
    for threads in (1, 2):
        one, eight, sixteen = (
            results.get(Entry(SUBJECT, threads, which), Found()) for which in ("1m", "8", "16")
        )
        if one.rate:
            lines.append(
                f"- one interval (1m), {threads} thread(s): {one.rate / 1e6:.0f} million/s"
            )
        if eight.rate and sixteen.rate:
            cost = eight.rate / sixteen.rate
            lines.append(f"- 16 intervals cost {cost:.2f}x of 8, {threads} thread(s)")
        if eight.memory_output_bytes:
            allowed = eight.memory_output_bytes + MEMORY_SLACK_BYTES
            verdict = "within" if eight.memory_peak_bytes <= allowed else "**above**"
            lines.append(
                f"- memory beyond the input, {threads} thread(s): "
                f"{eight.memory_peak_bytes / _MIB:,.0f} MiB, {verdict} the output's "
                f"{eight.memory_output_bytes / _MIB:,.0f} MiB + {MEMORY_SLACK_BYTES // _MIB} MiB"
            )
    seconds, packages = imported
    if seconds:
        others = sorted(set(packages) & _HEAVY)
        extra = f", and loads {', '.join(others)}" if others else ", and loads nothing heavy"
        lines.append(f"- `import klineagg` takes {seconds * 1000:.1f} ms beyond NumPy{extra}")
    return lines


_HEAVY: Final = {
    "pandas",
    "pyarrow",
    "polars",
    "duckdb",
    "matplotlib",
    "tqdm",
    "IPython",
    "asyncio",
}


def notes(results: Results) -> list[str]:
    """What each peer is, which columns it lacks, and why others were left out."""
    peers = all_peers()
    lines, seen = [], set()
    for entry, found in results.items():
        peer = peers[entry.peer]
        if entry.peer in seen or not (found.seconds or found.problem):
            continue
        seen.add(entry.peer)
        if found.problem and not found.seconds:
            lines.append(f"- **{peer.label}**: left out: {found.problem}")
            continue
        text = f"- **{peer.label}** {found.version}: {peer.note}"
        if peer.missing:
            text += f"; (a) without {', '.join(peer.missing)}"
        if peer.rows_max is not None:
            text += f"; (b) on the first {peer.rows_max:,} trades only"
        lines.append(text)
    return lines


def document(
    results: Results, facts: dict[str, str], imported: tuple[float, list[str]], how: str
) -> str:
    """The whole of docs/BENCHMARKS.md."""
    total = max(found.rows for found in results.values())
    hours = seconds_of(total) / 3600
    day = "one day" if hours == 24 else f"{hours:.1f} hours"
    parts = [
        "# Benchmarks",
        "Written by `make bench` (`python -m benchmarks`); change the command, not this page.",
        "![Million trades per second, klineagg and peers](benchmarks.png)",
        "## What is measured",
        f"{total:,} trades of {day} in {SYMBOLS} symbols (sizes by Zipf's law, exponent "
        f"{ZIPF_EXPONENT}), in bursts, sorted by time, symbols as integers, in NumPy columns. Each "
        "peer makes all bars of a set of intervals. The clock runs from columns in memory to bars "
        "in memory: for klineagg it is the one public call, with every column of the result "
        "touched; other peers get their own input form made before the clock starts. Every visit "
        "is a process of its own after a warm-up on a slice; the rounds go through all peers side "
        "by side, and the table has the median of all runs.",
        "Only equal work is compared: each peer's bars are checked, row by row, against a slow "
        "reference with integer sums. Keys, prices, counts, ids and times must be the same bits; "
        "sums too, or the largest relative error is given. Memory is the peak of resident memory "
        "beyond the process with its input loaded.",
        how,
        "## The machine",
        "\n".join(f"- {name}: {value}" for name, value in facts.items()),
        "## In short",
        "\n".join(headlines(results, imported)),
    ]
    for which in ("8", "1m", "16"):
        if any(entry.intervals == which and found.seconds for entry, found in results.items()):
            parts.append(f"## Intervals {' '.join(INTERVAL_SETS[which])}")
            parts.append(table(results, which))
    parts.append("## The peers")
    parts.append("\n".join(notes(results)))
    return "\n\n".join(part for part in parts if part) + "\n"


def as_json(
    results: Results, facts: dict[str, str], imported: tuple[float, list[str]]
) -> dict[str, Any]:
    """Everything that was found, as plain values."""
    return {
        "machine": facts,
        "import_seconds_beyond_numpy": imported[0],
        "import_packages": imported[1],
        "results": [
            asdict(entry) | asdict(found) | {"trades_per_second": found.rate, "equal": found.equal}
            for entry, found in results.items()
        ],
    }
