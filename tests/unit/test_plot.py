"""Pictures: what is drawn where, in few artists; looked at as data, not as pixels."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from klineagg.bars import BarFlag, Bars
from klineagg.errors import OptionError, ResultError
from unit.bars_factory import START, bars_of

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
GAP = int(BarFlag.GAP | BarFlag.CLOSED)


@pytest.fixture(autouse=True)
def closed_figures() -> Iterator[None]:
    import matplotlib.pyplot as plt

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    plt.close("all")


def market() -> Bars:
    rows: list[dict[str, Any]] = [
        {"at": 0, "open": 10.0, "high": 13.0, "low": 9.0, "close": 12.0, "volume": 4.0},
        {"at": 1, "run_length": 3, "flags": GAP, "close": 12.0},
        {"at": 4, "open": 12.0, "high": 12.5, "low": 7.0, "close": 8.0, "volume": 2.0, "flags": 0},
        {"symbol": 1, "at": 0, "trade_count": 1},
    ]
    return bars_of(rows, {0: "BTC", 1: "ETH"}, ("1m", "5m"))


def parts_of(axes: Any) -> tuple[Any, Any, Any]:
    gaps, wicks, bodies = axes.collections
    return gaps, wicks, bodies


def minutes(days: Any) -> list[float]:
    return np.round((np.asarray(days) * 86_400e9 - START) / 60e9, 3).tolist()  # type: ignore[no-any-return]


def test_candles_wicks_and_gaps_are_where_the_bars_are() -> None:
    from matplotlib.colors import to_rgba

    price = market().plot(up="green", down="red")
    gaps, wicks, bodies = parts_of(price)
    first, second = (path.vertices for path in bodies.get_paths())
    assert (first[:, 1].min(), first[:, 1].max()) == (10.0, 12.0)
    assert (second[:, 1].min(), second[:, 1].max()) == (8.0, 12.0)
    assert minutes([first[:, 0].min(), first[:, 0].max()]) == [0.15, 0.85]
    assert minutes([second[:, 0].min(), second[:, 0].max()]) == [4.15, 4.85]
    assert [s[:, 1].tolist() for s in wicks.get_segments()] == [[9.0, 13.0], [7.0, 12.5]]
    (run,) = gaps.get_segments()
    assert run[:, 1].tolist() == [12.0, 12.0]
    assert minutes(run[:, 0]) == [1.0, 4.0]
    faces = bodies.get_facecolors()
    assert faces[0].tolist() == list(to_rgba("green"))
    assert faces[1, :3].tolist() == list(to_rgba("red"))[:3]
    assert faces[1, 3] < 1  # not closed yet
    low, high = price.get_ylim()
    assert low < 7.0 < 13.0 < high
    left, right = minutes(price.get_xlim())
    assert left < 0 < 5 < right


def test_volume_is_below_and_shares_the_time() -> None:
    price = market().plot()
    below = price.figure.axes[1]
    columns: Any = below.collections[0]
    assert len(below.collections) == 1
    assert [path.vertices[:, 1].max() for path in columns.get_paths()] == [4.0, 2.0]
    assert below.get_ylim()[0] == 0
    assert below.get_ylim()[1] > 4.0
    assert below.get_xlim() == price.get_xlim()
    assert below.get_position().y1 <= price.get_position().y0
    assert price.get_title(loc="left") == "BTC  1m"
    assert len(market().plot(volume=False).figure.axes) == 1


def test_series_is_chosen_or_given() -> None:
    assert market().plot("ETH").get_title(loc="left") == "ETH  1m"
    assert market().plot(1, "1m", title="mine").get_title(loc="left") == "mine"
    with pytest.raises(ResultError, match="BTX"):
        market().plot("BTX")
    with pytest.raises(ResultError, match="no bars to show"):
        market().plot("ETH", "5m")
    with pytest.raises(ResultError, match="no bars to show"):
        Bars.empty(["1m"]).plot()


def test_side_by_side_leaves_no_room() -> None:
    price = market().plot(x="index")
    gaps, _, bodies = parts_of(price)
    assert [np.round(p.vertices[:, 0].min(), 2) for p in bodies.get_paths()] == [0.15, 4.15]
    assert gaps.get_segments()[0][:, 0].tolist() == [1.0, 4.0]
    sparse = bars_of([{"at": 0}, {"at": 1_000}]).plot(x="index")
    bodies = parts_of(sparse)[2]
    assert bodies.get_paths()[1].vertices[:, 0].min() == pytest.approx(1.15)
    label = sparse.figure.axes[1].xaxis.get_major_formatter()
    assert label(1.5, 0) == "Jan 01\n16:40"
    assert label(7, 0) == label(-1, 0) == ""
    with pytest.raises(OptionError, match="'time' nor 'index'"):
        market().plot(x="rows")


def test_axes_of_the_caller() -> None:
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, layout="constrained")
    assert market().plot(ax=left) is left
    assert len(figure.axes) == 3
    figure.canvas.draw()
    assert figure.axes[2].get_position().y1 <= left.get_position().y0
    assert market().plot(ax=right, volume=False) is right
    assert len(figure.axes) == 3
    pair = plt.subplots(2)[1]
    assert market().plot(ax=pair) is pair[0]
    assert len(pair[1].collections) == 1
    alone = plt.figure().add_axes((0.1, 0.1, 0.8, 0.8))
    assert market().plot(ax=alone) is alone
    assert len(alone.figure.axes) == 2
    with pytest.raises(OptionError, match="3 axes"):
        market().plot(ax=plt.subplots(3)[1])


def test_many_bars_are_few_artists() -> None:
    count = 5_000
    rows = [{"at": k, "close": 100.0 + k % 7, "high": 110.0, "low": 90.0} for k in range(count)]
    price = bars_of(rows, intervals=("1s",)).plot()
    assert sum(len(axes.collections) for axes in price.figure.axes) == 4
    assert len(price.collections[2].get_paths()) == count
    assert not price.lines
    assert not price.patches
    price.figure.canvas.draw()


@pytest.mark.parametrize(
    "rows",
    [
        [{"at": 0, "open": 5.0, "high": 5.0, "low": 5.0, "close": 5.0}],
        [{"at": 0, "run_length": 4, "flags": GAP, "close": 5.0}],
        [{"at": 0, "open": np.nan, "high": np.nan, "low": np.nan, "close": np.nan}],
        [{"at": 0, "open": -2.0, "high": -1.0, "low": -3.0, "close": -2.5, "volume": 0.0}],
    ],
    ids=["one price", "only gaps", "no price", "below zero"],
)
def test_odd_series_can_be_drawn(rows: list[dict[str, Any]]) -> None:
    for x in ("time", "index"):
        bars_of(rows).plot(x=x).figure.canvas.draw()
