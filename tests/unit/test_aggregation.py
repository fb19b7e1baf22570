"""Arguments of an aggregation, reports of a stream, errors that change nothing."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest

import klineagg
from klineagg import Aggregator, Bars, Report, aggregate, errors, merge
from klineagg._options import Options
from klineagg.bars import BarFlag

START = np.datetime64("2024-01-01T00:00:00", "ns")
S = 10**9
PLUS_5 = timezone(timedelta(hours=5))


def trades(*seconds: float, symbol: str = "X", price: float = 100.0) -> dict[str, Any]:
    """Trades of one symbol, so many seconds behind START."""
    time = START + (np.array(seconds) * S).astype("timedelta64[ns]")
    n = len(seconds)
    return {
        "symbol": [symbol] * n,
        "time": time,
        "price": np.full(n, price),
        "quantity": np.ones(n),
    }


ONE = trades(1)


# -- options -------------------------------------------------------------------------------------

LATE = {"lateness": "5s", "late": "amend"}
TICKS = {"by": "tick", "threshold": 3}


@pytest.mark.parametrize(
    ("option", "options"),
    [
        ("threads", {"threads": 0}),
        ("threads", {"threads": 257}),
        ("threads", {"threads": 2**40}),
        ("threads", {"threads": 1.5}),
        ("threads", {"threads": True}),
        ("threads", {"threads": "all"}),
        ("late", {"late": "later"}),
        ("late", {"late": None}),
        ("late", {"late": "drop"}),  # without a lateness
        ("gaps", {"gaps": "all"}),
        ("gaps", {"gaps": True}),
        ("on_bad", {"on_bad": "skip"}),
        ("by", {"by": "renko"}),
        ("lateness", {"lateness": -1}),
        ("lateness", {"lateness": 5.0}),
        ("lateness", {"lateness": True}),
        ("lateness", {"lateness": "1M"}),
        ("lateness", {"lateness": "soon"}),
        ("lateness", {"lateness": np.timedelta64(1, "M")}),
        ("lateness", {"lateness": np.timedelta64(2**62, "s")}),  # wraps around to 0 ns
        ("lateness", {"lateness": timedelta(days=367)}),
        ("lateness", {"lateness": np.timedelta64("NaT", "ns")}),
        ("amend_horizon", {"amend_horizon": "1h"}),
        ("amend_horizon", {"amend_horizon": "1h", "lateness": "5s", "late": "drop"}),
        ("amend_horizon", {"amend_horizon": -1, **LATE}),
        ("coverage", {"coverage": ("2024-01-02", "2024-01-01")}),
        ("coverage", {"coverage": ("noon", None)}),
        ("coverage", {"coverage": (None, 1.5)}),
        ("coverage", {"coverage": "2024-01-01"}),
        ("coverage", {"coverage": ("2024-01-01",)}),
        ("coverage", {"coverage": (np.datetime64("NaT"), None)}),
        ("coverage", {"coverage": (None, "2300-01-01")}),  # wraps around to 1715
        ("coverage", {"coverage": ("1899-12-31", None)}),
        ("coverage", {"coverage": (np.datetime64(2**64 // 86_400 + 19_000, "D"), None)}),  # 2022
        ("coverage", {"coverage": (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))), None)}),
        ("coverage", {"coverage": (None, 2**63)}),
        ("last_prices", {"last_prices": {"X": 1.0}}),  # without a coverage start
        ("last_prices", {"last_prices": {"X": 0.0}, "coverage": ("2024-01-01", None)}),
        ("last_prices", {"last_prices": {"X": np.inf}, "coverage": ("2024-01-01", None)}),
        ("last_prices", {"last_prices": {"X": 2.0**101}, "coverage": ("2024-01-01", None)}),
        ("last_prices", {"last_prices": {"X": "1.5"}, "coverage": ("2024-01-01", None)}),
        ("last_prices", {"last_prices": {-1: 1.5}, "coverage": ("2024-01-01", None)}),
        ("last_prices", {"last_prices": {2**31: 1.5}, "coverage": ("2024-01-01", None)}),
        ("last_prices", {"last_prices": [("X", 1.5)], "coverage": ("2024-01-01", None)}),
        ("last_prices", {"last_prices": [], "coverage": ("2024-01-01", None)}),
        ("partials", {"partials": True, "gaps": "runs"}),
        ("partials", {"partials": "no"}),
        ("include_open", {"include_open": "no"}),
        ("allow_nonpositive_prices", {"allow_nonpositive_prices": 2}),
        ("gaps", {"gaps": ["flat"]}),
        ("progress", {"progress": "x"}),
        ("progress", {"progress": 1}),
        ("threshold", {"threshold": 5}),
        ("unit", {"unit": "minutes"}),
        ("side", {"side": "buyer"}),
        ("columns", {"columns": {"cost": "price"}}),
        ("conditions", {"conditions": "no such table"}),
    ],
)
def test_an_option_that_cannot_be_is_refused_by_name(option: str, options: dict[str, Any]) -> None:
    with pytest.raises(errors.OptionError) as caught:
        aggregate(ONE, "1m", **options)
    assert (caught.value.code, caught.value.name) == ("KLA-103", "invalid_option")
    assert caught.value.fields["option"] == option
    assert option in str(caught.value)


@pytest.mark.parametrize(
    ("option", "options"),
    [
        ("threshold", {"by": "tick"}),
        ("threshold", {"by": "tick", "threshold": 0}),
        ("threshold", {"by": "volume", "threshold": -1.0}),
        ("threshold", {"by": "value", "threshold": np.nan}),
        ("threshold", {"by": "value", "threshold": np.inf}),
        ("threshold", {"by": "volume", "threshold": "5"}),
        ("threshold", {"by": "volume", "threshold": 10**400}),
        ("threshold", {"by": "tick", "threshold": True}),
        ("threads", {"threads": 0, **TICKS}),
        ("lateness", {"lateness": "5s", **TICKS}),
        ("late", {"late": "drop", **TICKS}),
        ("amend_horizon", {"amend_horizon": "1h", **TICKS}),
        ("gaps", {"gaps": "flat", **TICKS}),
        ("coverage", {"coverage": ("2024-01-01", None), **TICKS}),
        ("coverage", {"coverage": np.array(["2024-01-01", "2024-01-02"], "M8[D]"), **TICKS}),
        ("last_prices", {"last_prices": {"X": 1.0}, **TICKS}),
        ("partials", {"partials": True, **TICKS}),
        ("intervals", {"intervals": "1m", **TICKS}),
    ],
)
def test_what_bars_of_activity_cannot_have(option: str, options: dict[str, Any]) -> None:
    with pytest.raises(errors.OptionError) as caught:
        aggregate(ONE, **options)
    assert caught.value.fields["option"] == option


def test_a_threshold_that_is_missing_is_told() -> None:
    with pytest.raises(errors.OptionError, match="a positive number, which by='tick' needs"):
        aggregate(ONE, by="tick")


def test_what_is_no_result_is_refused() -> None:
    bars = aggregate(ONE, "1m", partials=True)
    cases: list[Any] = [None, 5, [bars]]
    for case in cases:
        with pytest.raises(errors.ColumnError, match=r"merge\(\*parts\)") as caught:
            merge(bars, case)
        assert caught.value.name == "unsupported_input"
        with pytest.raises(errors.ColumnError, match=r"Bars\.concat\(\[first, second\]\)"):
            Bars.concat([case])
    with pytest.raises(errors.ColumnError, match="a Bar is no Bars"):
        Bars.concat(bars)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("intervals", "code"),
    [(None, 101), ("", 101), ([], 101), (5, 101), ("1q", 101), ("1m,1m", 102), ("1m,60s", 102)],
)
def test_intervals_that_cannot_be(intervals: Any, code: int) -> None:
    with pytest.raises(errors.IntervalError) as caught:
        aggregate(ONE, intervals)
    assert caught.value.code == f"KLA-{code}"


@pytest.mark.parametrize(
    "call", [lambda **o: aggregate(ONE, "1m", **o), lambda **o: Aggregator("1m", **o)]
)
def test_an_unknown_option_is_refused_by_name(call: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=r"^[aA]ggregat(e|or)\(\) .*'thread'"):
        call(thread=2)


def test_a_stream_has_the_options_of_a_single_call() -> None:
    of_call = set(inspect.signature(aggregate).parameters) - {"trades"}
    of_stream = set(inspect.signature(Aggregator).parameters) - {"options"}
    of_options = set(inspect.signature(Options).parameters)
    assert of_stream | of_options == of_call
    assert of_stream & of_options == set()
    for name, parameter in inspect.signature(Options).parameters.items():
        assert parameter.default == inspect.signature(aggregate).parameters[name].default, name


@pytest.mark.parametrize(
    "start",
    [
        np.datetime64("2024-01-01T00:00:30"),
        np.datetime64("2024-01-01T00:00:30", "ms"),
        datetime(2024, 1, 1, 0, 0, 30),
        datetime(2024, 1, 1, 5, 0, 30, tzinfo=PLUS_5),
        "2024-01-01T00:00:30",
        "2024-01-01T00:00:30Z",
        "2023-12-31T22:00:30-02:00",
        int((START + np.timedelta64(30, "s")).astype(np.int64)),
        (START + np.timedelta64(30, "s")).astype(np.int64),
    ],
)
def test_forms_of_a_time(start: Any) -> None:
    bars = aggregate(trades(31, 61), "1m", coverage=(start, "2024-01-01T00:03:00"), gaps="flat")
    assert bars.open_time.tolist() == [
        (START + k * 60 * np.timedelta64(S, "ns")).item() for k in range(3)
    ]
    partial = (bars.flags & BarFlag.PARTIAL) != 0
    assert partial.tolist() == [True, False, False]
    # A moment earlier the coverage would start with the bar.
    whole = aggregate(trades(31), "1m", coverage=(START, None))
    assert not (whole.flags & BarFlag.PARTIAL).any()


@pytest.mark.parametrize(
    "two_seconds",
    ["2s", timedelta(seconds=2), np.timedelta64(2, "s"), np.timedelta64(2000, "ms"), 2 * S],
)
def test_forms_of_a_length_of_time(two_seconds: Any) -> None:
    # Judged on whole seconds: 8 is 2 behind 10, 7 is more.
    kept = aggregate(trades(10, 8.5), "1s", lateness=two_seconds, late="drop")
    assert kept.report == Report(offered=2, accepted=2)
    late = aggregate(trades(10, 7.0), "1s", lateness=two_seconds, late="drop")
    assert late.report == Report(offered=2, accepted=1, dropped={"late": 1})
    assert late.trade_count.tolist() == [1]


def test_integer_times_need_their_unit() -> None:
    stamps = trades(0.5, 61.5)["time"].astype("datetime64[ms]").astype(np.int64)
    data = {**trades(0.5, 61.5), "time": stamps}
    with pytest.raises(errors.TimeUnitError) as caught:
        aggregate(data, "1m")
    assert (caught.value.code, caught.value.name) == ("KLA-206", "time_unit")
    assert caught.value.fields == {"column": "time", "given": "ns", "likely": "ms"}
    with pytest.raises(errors.TimeUnitError) as caught:
        aggregate(data, "1m", unit="us")
    assert caught.value.fields == {"column": "time", "given": "us", "likely": "ms"}
    assert aggregate(data, "1m", unit="ms").equals(aggregate(trades(0.5, 61.5), "1m"))


# -- reports of a stream -------------------------------------------------------------------------


def mixed() -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, Any]]:
    """Trades of every fate, and the options that let them have it."""
    rng = np.random.default_rng(7)
    n = 1_000
    seconds = np.arange(n) * 7.0 - rng.integers(0, 3, n) * 40.0 * (rng.random(n) < 0.2)
    data = trades(*seconds)
    data["symbol"] = klineagg.intern(["MIXED-A", "MIXED-B", "MIXED-C"])[rng.integers(0, 3, n)]
    data["price"][rng.random(n) < 0.03] = np.nan
    data["quantity"][rng.random(n) < 0.02] = -1.0
    hours = klineagg.sessions(
        "desk", [START + np.timedelta64(20, "m")], [START + np.timedelta64(60, "m")]
    )
    return data, {"intervals": ["1m", hours], "lateness": "10s", "late": "drop", "on_bad": "count"}


def rows(data: dict[str, Any], start: int, stop: int) -> dict[str, Any]:
    return {name: column[start:stop] for name, column in data.items()}


def test_reports_of_updates_add_up() -> None:
    data, options = mixed()
    whole = aggregate(data, **options)
    assert isinstance(whole.report, Report)
    assert whole.report.balanced
    assert set(whole.report.rejected) == {"price_not_finite", "quantity_not_positive"}
    assert whole.report.dropped["late"] > 20
    assert whole.report.outside_sessions["desk"] > 100

    aggregator = Aggregator(**options)
    parts: list[Bars] = []
    total = Report()
    for start in range(0, 1_000, 150):
        parts.append(aggregator.update(rows(data, start, min(start + 150, 1_000))))
        report = parts[-1].report
        assert report is not None
        assert report.balanced
        assert report.offered == min(150, 1_000 - start)
        total += report
        assert total == aggregator.report
    parts.append(aggregator.finish())
    assert parts[-1].report is not None
    assert parts[-1].report.offered == 0
    joined = Bars.concat(parts)
    assert joined.report == aggregator.report == whole.report
    assert joined.equals(whole)


def test_an_aggregated_trade_of_too_many_trades() -> None:
    most = 2**32
    last = np.array([most - 1, most, 2**63 - 1])
    data = {**trades(1, 2, 3), "first_trade_id": np.zeros(3, np.int64), "last_trade_id": last}
    with pytest.raises(errors.TradeError) as caught:
        aggregate(data, "1m")
    fields = caught.value.fields
    assert (fields["reason"], fields["column"], int(fields["row"])) == (
        "count_overflow",
        "last_trade_id",
        1,
    )
    bars = aggregate(data, "1m", on_bad="count")
    assert bars.trade_count.tolist() == [most]
    assert bars.report == Report(offered=3, accepted=1, rejected={"count_overflow": 2})


def test_a_report_is_there_before_the_first_trade() -> None:
    for intervals in ("1m", "1d@Asia/Tokyo"):
        aggregator = Aggregator(intervals)
        assert aggregator.report == Report()
        assert len(aggregator.finish()) == 0
        assert aggregator.report == Report()


def test_a_report_does_not_change_afterwards() -> None:
    aggregator = Aggregator("1m")
    first = aggregator.update(trades(1, 2))
    before = aggregator.report
    aggregator.update(trades(3))
    assert first.report == before == Report(offered=2, accepted=2)
    assert aggregator.report == Report(offered=3, accepted=3)


# -- errors in a stream --------------------------------------------------------------------------

BAD = {**trades(70, 71), "price": np.array([1.0, np.nan])}


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (BAD, "KLA-301"),
        (trades(70, 69), "KLA-302"),
        ({"symbol": ["X"], "time": [START], "price": [1.0]}, "KLA-201"),
        ({**trades(70), "price": ["dear"]}, "KLA-203"),
        ({**trades(70, 71), "price": [1.0]}, "KLA-204"),
        (5, "KLA-205"),
        ([trades(70), 5], "KLA-205"),
        ([trades(70), BAD], "KLA-301"),
    ],
)
@pytest.mark.parametrize(
    "kind", [{"intervals": "1m,1h@Asia/Kolkata"}, {"by": "tick", "threshold": 2}]
)
def test_an_update_that_raises_has_changed_nothing(data: Any, code: str, kind: Any) -> None:
    aggregator, untouched = Aggregator(**kind), Aggregator(**kind)
    for each in (aggregator, untouched):
        each.update(trades(1, 2, 65))
    before = aggregator.report
    with pytest.raises(errors.KlineaggError) as caught:
        aggregator.update(data)
    assert caught.value.code == code
    assert aggregator.report == before
    after = [each.update(trades(66, 130, 131)) for each in (aggregator, untouched)]
    assert after[0].equals(after[1])
    assert after[0].report == after[1].report == Report(offered=3, accepted=3)
    assert aggregator.finish().equals(untouched.finish())


def test_where_a_bad_trade_is() -> None:
    many = {name: np.tile(column, 10) for name, column in trades(5).items()}
    many["price"][7] = -1.0
    with pytest.raises(errors.TradeError) as caught:
        aggregate([trades(1, 2, 3), many], "1m")
    assert caught.value.fields["reason"] == "price_not_positive"
    assert int(caught.value.fields["row"]) == 10  # of all that was passed in


@pytest.mark.parametrize("kind", [{"intervals": "1m"}, {"by": "tick", "threshold": 2}])
def test_a_finished_stream_takes_no_more(kind: Any) -> None:
    aggregator = Aggregator(**kind)
    aggregator.update(ONE)
    assert len(aggregator.finish()) == 1
    calls: list[Callable[[], Bars]] = [lambda: aggregator.update(ONE), aggregator.finish]
    for call in calls:
        with pytest.raises(errors.OptionError, match="finished") as caught:
            call()
        assert caught.value.code == "KLA-103"
    with Aggregator(**kind) as closed:
        closed.update(ONE)
    with pytest.raises(errors.OptionError, match="finished"):
        closed.update(ONE)
    assert (repr(aggregator).count("finished"), repr(closed).count("finished")) == (1, 1)


def test_results_that_cannot_be_merged() -> None:
    minute, hour = (aggregate(ONE, text, partials=True) for text in ("1m", "1h"))
    with pytest.raises(errors.ResultError) as caught:
        klineagg.merge()
    assert caught.value.code == "KLA-502"
    with pytest.raises(errors.ResultError) as caught:
        klineagg.merge(minute, hour)
    assert caught.value.code == "KLA-502"
    assert caught.value.fields["intervals"] == [("1m",), ("1h",)]
    with pytest.raises(errors.ResultError) as caught:
        klineagg.merge(minute, aggregate(ONE, "1m"))
    assert caught.value.code == "KLA-501"


def test_automatic_threads_are_those_that_the_process_may_use() -> None:
    assert aggregate(trades(1, 2, 61), "1m", threads="auto").equals(
        aggregate(trades(1, 2, 61), "1m")
    )
    allowed = sorted(os.sched_getaffinity(0))
    for cores in ({allowed[0]}, set(allowed)):
        counted = (
            f"import os; os.sched_setaffinity(0, {cores}); "
            "from klineagg._options import threads_of; print(threads_of('auto'))"
        )
        shown = subprocess.run([sys.executable, "-c", counted], capture_output=True, check=True)
        assert int(shown.stdout) == len(cores)
