"""The numbers of a run for Prometheus: its engine's, and those of what stores its bars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from klineagg._metrics_text import MetricsText, Sample

if TYPE_CHECKING:
    from klineagg.engine import Engine
    from klineagg.lake import Lake
    from klineagg.runtime.daily import Upkeep
    from klineagg.runtime.lending import Lender
    from klineagg.runtime.persist import Persister
    from klineagg.tasks.queues import PersistQueue

__all__ = ["metrics_text"]

_END: Final = "# EOF\n"


def metrics_text(
    engine: Engine,
    persister: Persister,
    lender: Lender,
    queue: PersistQueue | None,
    lake: Lake,
    upkeep: Upkeep,
) -> str:
    """In the OpenMetrics text format; what a worker does is known by what it was lent."""
    text = MetricsText({})
    _persist(text, persister)
    _lake(text, lake, upkeep)
    for name, what, count in (
        ("enqueued", "Rounds of persistence that were put into the queue.", "enqueued"),
        ("coalesced", "Rounds left out because one waited already.", "coalesced"),
    ):
        value = 0 if queue is None else getattr(queue, count)
        text.family(f"persist_{name}", "counter", what, [("_total", {}, value)])
    counts = lender.describe()
    ends = ("acked", "nacked", "empty", "expired", "abandoned")
    text.family(
        "loans", "counter", "Snapshots lent to workers, by how the loan ended.",
        [("_total", {"end": end}, counts[end]) for end in ends],
    )  # fmt: skip
    text.family(
        "loans_stored_rows", "counter", "Closed bars that workers acknowledged.",
        [("_total", {}, counts["rows"])],
    )  # fmt: skip
    text.family("loans_outstanding", "gauge", "Loans now.", [("", {}, lender.outstanding)])
    return engine.metrics_text().removesuffix(_END) + text.end()


def _persist(text: MetricsText, of: Persister) -> None:
    for name, what, value in (
        ("commits", "Snapshots that this process has committed to the lake.", of.commits),
        ("rows", "Closed bars in these commits.", of.rows),
        ("failures", "Rounds that have failed; their bars come again.", of.failures),
        ("lost_rows", "Closed bars given up before they were stored.", of.rows_lost),
    ):
        text.family(f"persist_{name}", "counter", what, [("_total", {}, value)])
    text.family(
        "persist_commit_seconds", "summary", "Of commits, waiting for other writers included.",
        [("_sum", {}, of.commit_s), ("_count", {}, of.commits)], unit="seconds",
    )  # fmt: skip
    # Without a sample before the first commit: 0 would be one of 1970.
    at: list[Sample] = [] if of.last_commit_s is None else [("", {}, of.last_commit_s)]
    text.family(
        "persist_last_commit_timestamp_seconds", "gauge", "When the last one ended, Unix time.",
        at, unit="seconds",
    )  # fmt: skip


def _lake(text: MetricsText, lake: Lake, upkeep: Upkeep) -> None:
    text.family(
        "lake_wait_seconds", "counter", "What this process has waited for other writers.",
        [("_total", {}, lake.waited_s)], unit="seconds",
    )  # fmt: skip
    for name, what, value in (
        ("rounds", "Rounds of maintenance that this process has done.", upkeep.rounds),
        ("failures", "Rounds of maintenance that have failed.", upkeep.failures),
    ):
        text.family(f"maintenance_{name}", "counter", what, [("_total", {}, value)])
    text.family(
        "maintenance_seconds", "counter", "What these rounds took.",
        [("_total", {}, upkeep.seconds)], unit="seconds",
    )  # fmt: skip
    text.family(
        "maintenance_done", "counter", "Bars, files and snapshots that they have dealt with.",
        [("_total", {"what": name}, count) for name, count in upkeep.done.items()],
    )  # fmt: skip
    files: list[Sample] = []
    size: list[Sample] = []
    if upkeep.last is not None:
        files, size = [("", {}, upkeep.last.files)], [("", {}, upkeep.last.bytes)]
    text.family("lake_files", "gauge", "Data files of the lake after the last round.", files)
    text.family("lake_bytes", "gauge", "Bytes of these files.", size, unit="bytes")
