"""The picture for the docs: million trades per second on the full set of intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from benchmarks.peer import PeerUnavailable, need
from benchmarks.peers import SUBJECT, all_peers
from benchmarks.report import Results

_COLOURS: Final = {
    (True, 1): "#1f6fb4",
    (True, 2): "#0b3d66",
    (False, 1): "#b9bfc6",
    (False, 2): "#7d858e",
}


def save_plot(results: Results, path: Path) -> bool:
    """Write the picture; False when matplotlib is not installed or there is nothing to show."""
    shown = [
        (found.rate / 1e6, entry)
        for entry, found in results.items()
        if entry.intervals == "8" and found.rate and found.equal
    ]
    try:
        matplotlib = need("matplotlib")
        matplotlib.use("Agg")
        pyplot = need("matplotlib.pyplot")
    except PeerUnavailable:
        return False
    if not shown:
        return False
    shown.sort(key=lambda pair: pair[0])
    peers = all_peers()
    labels = [
        f"{peers[e.peer].label}{' *' if peers[e.peer].missing else ''}, {e.threads} thread"
        + ("s" if e.threads > 1 else "")
        for _, e in shown
    ]
    figure, axes = pyplot.subplots(figsize=(9, 0.34 * len(shown) + 1.2))
    colours = [_COLOURS[(e.peer == SUBJECT, min(e.threads, 2))] for _, e in shown]
    axes.barh(labels, [rate for rate, _ in shown], color=colours)
    for at, (rate, _) in enumerate(shown):
        axes.text(
            rate, at, f" {rate:.1f}" if rate >= 1 else f" {rate:.3f}", va="center", fontsize=8
        )
    axes.set_xlabel("million trades per second, 8 intervals (* not all columns)")
    axes.margins(x=0.1)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return True
