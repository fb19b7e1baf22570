"""Changes of an engine while trades flow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from klineagg import _core, errors
from klineagg._engine_options import LANE_CAPACITY_MAX, count, horizon_ns, name_of, span_ns
from klineagg._engine_reach import Reaching
from klineagg._engine_stats import duration_text
from klineagg._options import choice, invalid
from klineagg.intervals import Interval, IntervalLike, parse_intervals

if TYPE_CHECKING:
    from klineagg._core import Producer as CoreProducer

__all__ = ["Changes", "ConfigReport"]


class _Keep:
    def __repr__(self) -> str:
        return "KEEP"


KEEP: Final[Any] = _Keep()
"""Stands for "as it is", where None has a meaning of its own."""


@dataclass(frozen=True, slots=True)
class ConfigReport:
    """What :meth:`klineagg.Engine.reconfigure` changed; false when all was as asked for already.

    Attributes:
        changed: ``(before, after)`` by option; lengths of time in ns, None for no limit.
        added: names of the intervals that came.
        removed: names of those that went.
        has_new_base: whether trades are now added to finer bars than before.
    """

    changed: Mapping[str, tuple[Any, Any]]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    has_new_base: bool

    def __bool__(self) -> bool:
        return bool(self.changed or self.added or self.removed)

    def __repr__(self) -> str:
        parts = [f"{name} {_told(a)} -> {_told(b)}" for name, (a, b) in self.changed.items()]
        parts += [f"interval {name} added" for name in self.added]
        parts += [f"interval {name} removed" for name in self.removed]
        return f"<ConfigReport: {'; '.join(parts) or 'nothing changed'}>"


def _told(value: Any) -> str:
    return duration_text(value) if isinstance(value, _Span) else f"{value!r}"


class _Span(int):
    """Nanoseconds, which read better as a length of time."""


def _value(option: str, text: str) -> Any:
    if option in ("gaps", "policy"):
        return text
    number = int(text)
    if number == _core.HORIZON_UNLIMITED:
        return None
    return number if option == "lane_capacity" else _Span(number)


class Changes(Reaching):
    """The part of :class:`klineagg.Engine` that changes its configuration."""

    _intervals: tuple[Interval, ...]
    _producers: dict[str, CoreProducer]
    _timeout_ns: int

    def reconfigure(
        self,
        *,
        intervals: IntervalLike | Iterable[IntervalLike] = KEEP,
        add: IntervalLike | Iterable[IntervalLike] = (),
        remove: str | Iterable[str] = (),
        lateness: Any = KEEP,
        amend_horizon: Any = KEEP,
        gaps: str = KEEP,
        close_delay: Any = KEEP,
        lease: Any = KEEP,
        policy: str = KEEP,
        lane_capacity: int = KEEP,
        push_timeout: Any = KEEP,
        timeout: Any = "1s",
    ) -> ConfigReport:
        """Changes what is named, all of it or nothing, while trades flow.

        An interval that comes is made of the finer bars that the engine holds, open ones and those
        that late trades can still change; bars that began before them are PARTIAL. One that comes
        back begins anew. The bars of other intervals do not change by it. Rows of an interval
        that went can still be taken.

        Args:
            intervals: all that are wanted, in place of the present ones.
            add: intervals to come, beside the present ones.
            remove: names of intervals to go.
            lateness: as in :class:`klineagg.Engine`, like all that follow.
            amend_horizon: None: any. A longer one does not bring back what is forgotten by now:
                trades that come behind that stay ``beyond_horizon``.
            gaps: from now on.
            close_delay: of the clock.
            lease: of snapshots to come.
            policy: of full lanes.
            lane_capacity: at least 1,024 rows, for lanes that are changed while they are used.
            push_timeout: of calls that name none.
            timeout: for producers to come to rest, when lanes are changed.

        Raises:
            IntervalError: also for a name that was there before with other bounds.
            OptionError: ``invalid_option``.
            EngineError: ``engine_state`` when the engine has stopped, or a producer does not come
                to rest. After each of these nothing has changed.
        """
        change: dict[str, Any] = {}
        spans = {"lateness": lateness, "close_delay": close_delay, "lease": lease}
        for name, value in spans.items():
            if value is not KEEP:
                change[f"{name}_ns"] = span_ns(value, name)
        if amend_horizon is not KEEP:
            change["amend_horizon_ns"] = horizon_ns(amend_horizon, "amend_horizon")
        if gaps is not KEEP:
            change["gaps"] = getattr(_core.GapMode, choice(gaps, "gaps", ("none", "runs", "flat")))
        if policy is not KEEP:
            policies = ("block", "drop_newest", "drop_oldest")
            change["policy"] = getattr(_core.LanePolicy, choice(policy, "policy", policies))
        if lane_capacity is not KEEP:
            change["lane_capacity"] = count(lane_capacity, "lane_capacity", 1, LANE_CAPACITY_MAX)
        waits = None if push_timeout is KEEP else span_ns(push_timeout, "push_timeout")
        with self._changing:
            wanted = self._wanted(intervals, add, remove)
            report = self._change(change, wanted, span_ns(timeout, "timeout"))
            if waits is None or waits == self._timeout_ns:
                return report
            before = _Span(self._timeout_ns)
            self._timeout_ns = waits
            for producer in list(self._producers.values()):
                producer.timeout_ns = waits
            changed = {**report.changed, "push_timeout": (before, _Span(waits))}
            return ConfigReport(changed, report.added, report.removed, report.has_new_base)

    def _wanted(self, intervals: Any, add: Any, remove: Any) -> tuple[Interval, ...]:
        asked = self._intervals if intervals is KEEP else parse_intervals(intervals)
        is_one = isinstance(remove, str) or not isinstance(remove, Iterable)
        going = [remove] if is_one else list(remove)  # once: an iterator has nothing for a second
        if not all(isinstance(each, str) for each in going):
            raise invalid("remove", remove, "a name of an interval, or some")
        names = [str(each.name) for each in asked]
        for name in going:
            if name not in names:
                text = f"there is no interval {name!r} to remove"
                raise errors.make("invalid_option", text, option="remove", known=names)
        coming = () if isinstance(add, tuple) and not add else parse_intervals(add)
        wanted = [each for each in (*asked, *coming) if each.name not in going]
        return parse_intervals(wanted)  # refuses none at all, and those that come twice

    def _change(
        self, change: dict[str, Any], wanted: tuple[Interval, ...], timeout_ns: int
    ) -> ConfigReport:
        """Of who has ``_changing``."""
        try:
            self._reach_present(wanted)
            return self._change_core(change, wanted, timeout_ns)
        finally:  # of what is there now, whether or not it has changed
            self._set_reach(self._reach.for_intervals(self._intervals))

    def _change_core(
        self, change: dict[str, Any], wanted: tuple[Interval, ...], timeout_ns: int
    ) -> ConfigReport:
        cores = dict(self._core_intervals)
        for each, made in zip(wanted, self._reach.intervals(wanted), strict=True):
            known = cores.setdefault(str(each.name), made)
            if known != made:
                text = f"interval {each.name!r} was there before, with other bounds"
                raise errors.make("duplicate_interval", text, interval=str(each.name))
        change["intervals"] = [cores[str(each.name)] for each in wanted]
        told = self._core.reconfigure(change, timeout_ns)
        by_name = {each.name: each for each in wanted}
        new = self._core.interval_names()[len(self._outputs) :]
        self._outputs += [by_name[name] for name in new]
        self._intervals, self._core_intervals = wanted, cores
        return ConfigReport(
            {
                option.removesuffix("_ns"): (_value(option, before), _value(option, after))
                for option, before, after in told["changed"]
            },
            tuple(name_of(self._outputs[k]) for k in told["added"]),
            tuple(name_of(self._outputs[k]) for k in told["removed"]),
            told["has_new_base"],
        )
