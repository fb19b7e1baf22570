"""What a lake knows about its consumers: fences and checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from klineagg._options import TIME_MIN_NS

if TYPE_CHECKING:
    from klineagg.lake.lake import Lake

__all__ = [
    "CommitResult",
    "Fence",
    "all_fences",
    "closed_until",
    "fences",
    "revised_rows",
    "write_fences",
]


@dataclass(frozen=True, slots=True)
class Fence:
    """The last snapshot of a consumer that the lake holds.

    Attributes:
        epoch: first part of the snapshot's id.
        number: second part of the snapshot's id.
        position: the engine's log up to here is in the lake; None without a log.
        watermark: up to here the clock had closed all bars; None when it was never raised.
    """

    epoch: int
    number: int
    position: int | None
    watermark: np.datetime64 | None

    @property
    def id(self) -> tuple[int, int]:
        """The id of the snapshot."""
        return self.epoch, self.number


@dataclass(frozen=True, slots=True)
class CommitResult:
    """What a commit did.

    Attributes:
        applied: False when the lake had this snapshot, or a newer one, already.
        rows: closed rows written.
        replaced: closed rows of older revisions that they took the place of.
        open_rows: open bars written.
        snapshot: the lake's snapshot that now holds them; for ``as_of=``.
        fence: the consumer's last snapshot in the lake.
        seconds: how long it took, waiting for other writers included.
    """

    applied: bool
    rows: int
    replaced: int
    open_rows: int
    snapshot: int
    fence: Fence
    seconds: float


def fences(cursor: Any) -> tuple[dict[str, Fence], int]:
    """The fence of each consumer, and the number of commits so far; within the transaction."""
    rows = cursor.execute(
        "SELECT consumer, epoch, number, position, epoch_ns(watermark), commits FROM fence"
    ).fetchall()
    out = {}
    commits = 0
    for consumer, epoch, number, position, watermark, count in rows:
        mark = None if watermark is None else np.datetime64(watermark, "ns")
        out[consumer] = Fence(epoch, number, position, mark)
        commits = max(commits, count)
    return out, commits


def revised_rows(cursor: Any, since_ns: int) -> list[tuple[str, str, int, int, int]]:
    """Symbol, interval, span and revision of the revised rows that end behind a time."""
    rows: list[tuple[str, str, int, int, int]] = cursor.execute(
        'SELECT symbol, "interval", epoch_ns(open_time), epoch_ns(close_time), revision '
        "FROM closed WHERE revision > 0 AND close_time > make_timestamp_ns(?)",
        [since_ns],
    ).fetchall()
    return rows


def write_fences(cursor: Any, known: dict[str, Fence], commits: int) -> None:
    """Writes all fences anew.

    All of them and not one row: so two commits that run at the same time always conflict, whoever
    they are for, and what one has read to find older revisions cannot change under it.
    """
    cursor.execute("DELETE FROM fence")
    rows = [
        (
            consumer,
            fence.epoch,
            fence.number,
            fence.position,
            None
            if fence.watermark is None
            else int(fence.watermark.astype("datetime64[ns]").astype(np.int64)),
            commits,
        )
        for consumer, fence in known.items()
    ]
    values = ", ".join(["(?, ?, ?, ?, make_timestamp_ns(?), ?, now()::TIMESTAMP)"] * len(rows))
    cursor.execute(f"INSERT INTO fence VALUES {values}", [value for row in rows for value in row])


def all_fences(lake: Lake) -> dict[str, Fence]:
    """The last snapshot of each consumer that a lake holds."""
    return lake._session.reading(lambda cursor: fences(cursor)[0])


def closed_until(lake: Lake, symbol: str) -> np.datetime64 | None:
    """Up to here the engine of a lake has closed a symbol's bars; None: no engine writes to it.

    It is the mark of the engine's clock, or where that stands still (bars close by their trades)
    the end of the newest closed bar: what comes behind is the engine's still.
    """
    fence = lake.fence()
    if fence is None:
        return None
    if fence.watermark is not None:
        mark: np.datetime64 = fence.watermark.astype("datetime64[ns]")
        return mark
    query = "SELECT epoch_ns(max(close_time)) FROM closed WHERE symbol = ?"
    (found,) = lake._session.reading(lambda cursor: cursor.execute(query, [symbol]).fetchone())
    return np.datetime64(TIME_MIN_NS if found is None else int(found), "ns")
