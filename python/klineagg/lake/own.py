"""What a lake writes of its own accord: bars that come from no snapshot of an engine."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from klineagg.bars import Bars
from klineagg.lake.state import CommitResult

if TYPE_CHECKING:
    from klineagg.lake.lake import Lake

__all__ = ["commit_bars"]


@dataclass(frozen=True)
class _Delivery:
    id: tuple[int, int]
    closed: Bars
    open: Bars
    watermark: None = None


def commit_bars(lake: Lake, bars: Bars, consumer: str) -> CommitResult:
    """Commits closed bars, later than all that this consumer has committed before.

    Raises:
        LakeError, LakeBusyError: as :meth:`klineagg.Lake.commit`.
    """
    return lake.commit(_Delivery((time.time_ns(), 0), bars, Bars.empty(bars.intervals)), consumer)
