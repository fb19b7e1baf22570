"""``python -m benchmarks``: klineagg beside its peers, in one run."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path
from typing import Final

from benchmarks import report
from benchmarks.machine import facts, load_average
from benchmarks.peers import SUBJECT, all_peers
from benchmarks.plot import save_plot
from benchmarks.reference import saved_reference
from benchmarks.runner import ROOT, Entry, Found, import_cost, measure, plan
from benchmarks.workload import INTERVAL_SETS, ROWS, load, workload_dir

QUICK_ROWS: Final = 1_000_000
_BAR_WIDTH: Final = 30


def _arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a million trades, one round")
    parser.add_argument("--rows", type=int, default=None, help=f"trades (default {ROWS:,})")
    parser.add_argument("--rounds", type=int, default=None, help="visits to each peer (default 5)")
    parser.add_argument("--peers", default="", help="names, with commas (default: all); see --list")
    parser.add_argument("--sets", default="8,1m,16", help="interval sets, with commas")
    parser.add_argument("--list", action="store_true", help="list the peers and stop")
    parser.add_argument(
        "--write",
        action="store_true",
        help="write docs/ and benchmarks/results/ though the run is a partial one",
    )
    return parser.parse_args(given)


def _list_peers() -> None:
    for peer in all_peers().values():
        threads = ", ".join(map(str, peer.threads))
        print(f"{peer.name:20} {peer.label} (threads: {threads})")


def _progress(done: int, planned: int, text: str, started: float) -> None:
    """One line that is written over on a terminal, and one line for each tenth elsewhere."""
    full = _BAR_WIDTH * done // max(planned, 1)
    elapsed = time.monotonic() - started
    line = f"[{'#' * full}{'.' * (_BAR_WIDTH - full)}] {done}/{planned} {elapsed:4.0f} s  {text}"
    if sys.stderr.isatty():
        sys.stderr.write("\r" + line[:110].ljust(110) + ("\n" if done == planned else ""))
    elif done == planned or done % max(1, planned // 10) == 0:
        sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _chosen(text: str, known: list[str], what: str) -> list[str]:
    names = [name for name in re.split(r"[,\s]+", text) if name] or known
    for name in names:
        if name not in known:
            raise SystemExit(f"no such {what}: {name}; there are {', '.join(known)}")
    return names


def _write(
    results: dict[Entry, Found], about: dict[str, str], imported: tuple[float, list[str]], how: str
) -> None:
    docs, kept = ROOT / "docs", ROOT / "benchmarks" / "results"
    docs.mkdir(exist_ok=True)
    kept.mkdir(exist_ok=True)
    text = report.document(results, about, imported, how)
    if not save_plot(results, docs / "benchmarks.png"):
        text = "\n".join(line for line in text.splitlines() if not line.startswith("![")) + "\n"
    (docs / "BENCHMARKS.md").write_text(text)
    slug = re.sub(r"[^a-z0-9]+", "-", f"{about['CPU']} {about['cores']} cores".lower()).strip("-")
    target: Path = kept / f"{slug}.json"
    target.write_text(json.dumps(report.as_json(results, about, imported), indent=1) + "\n")
    print(f"written: docs/BENCHMARKS.md, docs/benchmarks.png, {target.relative_to(ROOT)}")


def main(given: list[str] | None = None) -> int:
    """Run the comparison and print (and, for a full run, write) the tables."""
    options = _arguments(given)
    if options.list:
        _list_peers()
        return 0
    count = options.rows or (QUICK_ROWS if options.quick else ROWS)
    rounds = options.rounds or (1 if options.quick else 5)
    names = _chosen(options.peers, list(all_peers()), "peer")
    sets = _chosen(options.sets, list(INTERVAL_SETS), "interval set")
    if SUBJECT not in names:
        names.insert(0, SUBJECT)

    print(f"workload: {count:,} trades (generated once and kept)", file=sys.stderr)
    workload = workload_dir(count)
    columns = load(workload)
    references = {which: saved_reference(workload, columns, INTERVAL_SETS[which]) for which in sets}
    del columns

    load_before, started = load_average(), time.monotonic()
    results: dict[Entry, Found] = {}
    for done, planned, entry, found in measure(plan(names, sets), rounds, workload, references):
        results = found
        _progress(
            done, planned, f"{entry.peer}, {entry.threads} thread(s), {entry.intervals}", started
        )
    about = facts()
    imported = import_cost()
    how = (
        f"{rounds} round(s) on {time.strftime('%Y-%m-%d')}, {time.monotonic() - started:.0f} s; "
        f"load average of the machine before: {load_before:.1f}."
    )
    print("\n".join(f"{name}: {value}" for name, value in about.items()))
    for which in sets:
        print(f"\nintervals {' '.join(INTERVAL_SETS[which])}\n{report.table(results, which)}")
    print("\n" + "\n".join([*report.headlines(results, imported), "", *report.notes(results)]))
    if options.write or (count == ROWS and len(names) == len(all_peers())):
        _write(results, about, imported, how)
    wrong = [entry for entry, found in results.items() if entry.peer == SUBJECT and not found.equal]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
