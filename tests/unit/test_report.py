"""Counts of trades: balance, sums, text."""

from __future__ import annotations

import pickle

import pytest

from klineagg.report import Report


def some() -> Report:
    return Report(
        offered=1_000,
        accepted=980,
        rejected={"price_not_finite": 12, "time_missing": 0},
        dropped={"late": 8},
        outside_sessions={"rth<1>": 5},
    )


def test_balance() -> None:
    assert some().balanced
    assert (some().rejected_total, some().dropped_total) == (12, 8)
    assert Report().balanced
    assert not Report(offered=1).balanced
    assert not Report(offered=10, accepted=9, dropped={"late": 2}).balanced


def test_sum_adds_each_reason() -> None:
    other = Report(10, 7, {"price_not_finite": 1, "id_invalid": 2}, {}, {"other": 1})
    both = some() + other
    assert (both.offered, both.accepted) == (1_010, 987)
    assert both.rejected == {"price_not_finite": 13, "time_missing": 0, "id_invalid": 2}
    assert both.dropped == {"late": 8}
    assert both.outside_sessions == {"rth<1>": 5, "other": 1}
    assert both.balanced
    with pytest.raises(TypeError):
        some() + 1  # type: ignore[operator]


def test_it_cannot_be_changed() -> None:
    counts = {"late": 1}
    report = Report(1, 0, {}, counts)
    counts["late"] = 5
    assert report.dropped == {"late": 1}
    with pytest.raises(TypeError):
        report.dropped["late"] = 2  # type: ignore[index]
    with pytest.raises(AttributeError):
        report.offered = 2  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(some())) == some()
    assert Report(**some().to_dict()) == some()


def test_text_shows_what_happened_only() -> None:
    assert str(some()).splitlines() == [
        "offered                         1,000",
        "accepted                          980",
        "rejected                           12",
        "  price_not_finite                 12",
        "dropped                             8",
        "  late                              8",
        "outside the sessions of rth<1>      5",
    ]
    assert repr(some()) == (
        "Report(offered=1000, accepted=980, rejected={'price_not_finite': 12}, "
        "dropped={'late': 8}, outside_sessions={'rth<1>': 5})"
    )
    assert "NOT BALANCED" in str(Report(offered=1))
    page = some()._repr_html_()
    assert "rth&lt;1&gt;" in page
    assert "<1>" not in page
    assert "1,000" in page
    assert "Not balanced" in Report(offered=1)._repr_html_()
