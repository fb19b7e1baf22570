"""What happened to the trades that were offered."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

__all__ = ["Report"]


def _frozen(counts: Mapping[str, int]) -> Mapping[str, int]:
    return MappingProxyType({str(key): int(value) for key, value in counts.items()})


def _sum(left: Mapping[str, int], right: Mapping[str, int]) -> dict[str, int]:
    return {key: left.get(key, 0) + right.get(key, 0) for key in {**left, **right}}


def _difference(now: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    return {key: n - before.get(key, 0) for key, n in now.items() if n != before.get(key, 0)}


@dataclass(frozen=True, repr=False)
class Report:
    """Counts of the trades of one aggregation; every offered trade is in exactly one of them.

    Attributes:
        offered: trades that were passed in (rows, also for aggregated trades).
        accepted: trades that are in the bars.
        rejected: trades with a bad value, by reason: ``symbol_missing``, ``time_missing``,
            ``time_out_of_range``, ``price_not_finite``, ``price_not_positive``,
            ``price_out_of_range``, ``quantity_not_finite``, ``quantity_not_positive``,
            ``quantity_out_of_range``, ``value_out_of_range``, ``id_invalid``, ``count_overflow``
            (an aggregated trade of more than 2**32 trades), ``flags_invalid``.
        dropped: good trades that came too late, by reason (``late``, ``beyond_horizon``).
        outside_sessions: accepted trades that fell outside every session, by interval. They are in
            no bar of that interval, and may be in bars of the others.
    """

    offered: int = 0
    accepted: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    outside_sessions: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("rejected", "dropped", "outside_sessions"):
            object.__setattr__(self, name, _frozen(getattr(self, name)))

    @property
    def rejected_total(self) -> int:
        """Number of rejected trades, whatever the reason."""
        return sum(self.rejected.values())

    @property
    def dropped_total(self) -> int:
        """Number of dropped trades, whatever the reason."""
        return sum(self.dropped.values())

    @property
    def balanced(self) -> bool:
        """True when ``offered == accepted + rejected + dropped``: no trade got lost silently."""
        return self.offered == self.accepted + self.rejected_total + self.dropped_total

    def __add__(self, other: Report) -> Report:
        if not isinstance(other, Report):
            return NotImplemented
        return Report(
            self.offered + other.offered,
            self.accepted + other.accepted,
            _sum(self.rejected, other.rejected),
            _sum(self.dropped, other.dropped),
            _sum(self.outside_sessions, other.outside_sessions),
        )

    def since(self, before: Report) -> Report:
        """What came after an earlier report of the same stream."""
        return Report(
            self.offered - before.offered,
            self.accepted - before.accepted,
            _difference(self.rejected, before.rejected),
            _difference(self.dropped, before.dropped),
            _difference(self.outside_sessions, before.outside_sessions),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # A mapping proxy cannot be pickled.
        return Report, tuple(self.to_dict().values())

    def to_dict(self) -> dict[str, Any]:
        """The counts as plain dictionaries and numbers, for JSON."""
        values = ((item.name, getattr(self, item.name)) for item in fields(self))
        return {name: value if isinstance(value, int) else dict(value) for name, value in values}

    def _rows(self) -> list[tuple[str, int, int]]:
        """Label, count and depth of each line; reasons that never happened are left out."""
        rows = [("offered", self.offered, 0), ("accepted", self.accepted, 0)]
        groups = (
            ("rejected", self.rejected_total, self.rejected),
            ("dropped", self.dropped_total, self.dropped),
        )
        for label, total, reasons in groups:
            rows.append((label, total, 0))
            rows += [(reason, count, 1) for reason, count in sorted(reasons.items()) if count]
        outside = {name: count for name, count in self.outside_sessions.items() if count}
        rows += [(f"outside the sessions of {name}", n, 0) for name, n in outside.items()]
        return rows

    def __str__(self) -> str:
        rows = self._rows()
        label_width = max(len(label) + 2 * depth for label, _, depth in rows)
        count_width = max(len(f"{count:,}") for _, count, _ in rows)
        lines = [
            f"{'  ' * depth + label:<{label_width}}  {count:>{count_width},}"
            for label, count, depth in rows
        ]
        if not self.balanced:
            lines.append("NOT BALANCED: offered is not accepted + rejected + dropped")
        return "\n".join(lines)

    def __repr__(self) -> str:
        parts = [f"offered={self.offered}", f"accepted={self.accepted}"]
        for name in ("rejected", "dropped", "outside_sessions"):
            counts = {key: value for key, value in getattr(self, name).items() if value}
            if counts:
                parts.append(f"{name}={counts}")
        return f"Report({', '.join(parts)})"

    def _repr_html_(self) -> str:
        cells = "".join(
            f'<tr><td style="text-align:left;padding-left:{0.5 + 1.2 * depth}em">'
            f'{html.escape(label)}</td><td style="text-align:right">{count:,}</td></tr>'
            for label, count, depth in self._rows()
        )
        state = "" if self.balanced else "<p><strong>Not balanced</strong></p>"
        return f"<table><thead><tr><th>trades</th><th></th></tr></thead>{cells}</table>{state}"
