"""Which column is what: usual names, venues' short names, and the user's map."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from klineagg import errors
from klineagg.symbols import symbol_names
from unit.columns_factory import START, check, columns, only


@pytest.mark.parametrize(
    ("names", "options"),
    [
        ("symbol time price quantity side trade_id", {}),
        ("Symbol Timestamp Price Qty Side ID", {}),
        ("sym ts px size taker_side tradeId", {}),
        ("ticker datetime rate amount direction trade_seq", {}),
        ("instId ts px sz side tradeId", {}),
        ("pair transact_time price base_qty aggressor_side agg_trade_id", {}),
        ("market trade-time price vol Taker Side id", {"split": ("Taker Side",)}),
        ("a b c d e f", {"columns": dict(zip(columns(), "abcdef", strict=True))}),
    ],
)
def test_the_usual_names(names: str, options: dict[str, Any]) -> None:
    for phrase in options.pop("split", ()):
        names = names.replace(phrase, phrase.replace(" ", "\0"))
    keys = [name.replace("\0", " ") for name in names.split()]
    check(only(dict(zip(keys, columns().values(), strict=True)), **options))


def test_dicts_of_binance() -> None:
    trade = {
        "e": "trade", "E": 1_600_000_000_100, "s": "BTCUSDT", "t": 12, "p": 1.5, "q": 2.0,
        "b": 1, "a": 2, "T": 1_600_000_000_050, "m": True, "M": True,
    }  # fmt: skip
    chunk = only(trade, unit="ms")
    assert (chunk.time.tolist(), chunk.time_scale) == ([1_600_000_000_050], 10**6)
    assert chunk.trade_id is not None
    assert chunk.side is not None
    assert (chunk.trade_id.tolist(), chunk.last_trade_id) == ([12], None)
    assert (chunk.side.tolist(), chunk.side_rule) == ([True], "maker")
    assert symbol_names(chunk.symbol) == ["BTCUSDT"]
    aggregated = {
        "a": 5,
        "p": 1.5,
        "q": 2.0,
        "f": 100,
        "l": 104,
        "T": 1_600_000_000_050,
        "m": False,
    }
    chunk = only([aggregated, aggregated], unit="ms", symbol="BTCUSDT")
    assert chunk.trade_id is not None
    assert chunk.last_trade_id is not None
    assert (chunk.trade_id.tolist(), chunk.last_trade_id.tolist()) == ([100, 100], [104, 104])


def test_dicts_of_bybit() -> None:
    trade = {
        "T": 1_600_000_000_050, "s": "BTCUSDT", "S": "Sell", "v": 0.5, "p": 100.0,
        "L": "PlusTick", "i": "20f43950-d8dd-5b31-9112-a178eb6023af", "BT": False,
    }  # fmt: skip
    chunk = only(trade, unit="ms")
    assert chunk.side is not None
    assert (chunk.quantity.tolist(), chunk.side.tolist()) == ([0.5], [-1])
    assert chunk.trade_id is None


def test_single_letters_mean_nothing_alone() -> None:
    # A feed in which "s" is the size.
    with pytest.raises(errors.ColumnError, match="time"):
        only({"t": [START], "p": [1.0], "s": [5.0]}, symbol="A")
    chunk = only({"t": [START], "p": [1.0], "q": [5.0], "s": ["A"], "m": [True]})
    assert chunk.side is None


def test_aggregated_trades() -> None:
    data = columns()
    del data["trade_id"]
    ids = {"agg_trade_id": [1, 2, 3, 4, 5], "first_trade_id": [10, 11, 14, 15, 20]}
    chunk = only({**data, **ids, "last_trade_id": [10, 13, 14, 19, 20]})
    assert chunk.trade_id is not None
    assert chunk.last_trade_id is not None
    assert chunk.trade_id.tolist() == [10, 11, 14, 15, 20]
    assert chunk.last_trade_id.tolist() == [10, 13, 14, 19, 20]
    plain = only({**data, "trade_id": [1, 2, 3, 4, 5], "last_trade_id": [1, 2, 3, 4, 5]})
    assert plain.last_trade_id is not None
    with pytest.raises(errors.ColumnError, match="last trade id"):
        only({**data, **ids})
    with pytest.raises(errors.ColumnError, match="first trade id"):
        only({**data, "agg_trade_id": [1] * 5, "last_trade_id": [1] * 5})


@pytest.mark.parametrize(
    ("extra", "role"),
    [
        ("ts", "time"),
        ("qty", "quantity"),
        ("PX", "price"),
        ("is_buyer_maker", "side"),
        ("id", "trade_id"),
    ],
)
def test_two_candidates_are_ambiguous(extra: str, role: str) -> None:
    trades = {**columns(), extra: columns()[role]}
    with pytest.raises(errors.ColumnError, match=extra) as raised:
        only(trades)
    assert raised.value.name == "ambiguous_column"
    assert set(raised.value.fields["candidates"]) == {role, extra}
    assert raised.value.fields["column"] == role
    mapped = only(trades, columns={role: role})
    assert mapped.price.tolist() == columns()["price"].tolist()


def test_a_frame_with_two_columns_of_one_name() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.concat([pd.DataFrame(columns()), pd.DataFrame({"price": np.zeros(5)})], axis=1)
    for options in ({}, {"columns": {"price": "price"}}):
        with pytest.raises(errors.ColumnError) as raised:
            only(frame, **options)
        assert raised.value.name == "ambiguous_column"


def test_columns_that_are_not_there() -> None:
    for role in ("time", "price", "quantity"):
        data = columns()
        del data[role]
        with pytest.raises(errors.ColumnError, match=f"no column holds the {role}") as raised:
            only(data)
        assert raised.value.name == "missing_column"
        assert raised.value.fields["known"] == list(data)
    with pytest.raises(errors.ColumnError, match="'nope'") as raised:
        only(columns(), columns={"side": "nope"})
    assert raised.value.hint == "map it with columns={'side': 'its_name'}"
    with pytest.raises(errors.OptionError, match="'prize'"):
        only(columns(), columns={"prize": "price"})


def test_a_role_may_be_left_out() -> None:
    chunk = only(columns(), columns={"side": None, "trade_id": None})
    assert chunk.side is None
    assert chunk.trade_id is None


def test_an_index_of_times() -> None:
    pd = pytest.importorskip("pandas")
    data = columns()
    stamps = pd.to_datetime(data.pop("time"), utc=True)
    for name in (None, "ts", "time"):
        chunk = only(pd.DataFrame(data, index=pd.DatetimeIndex(stamps, name=name)))
        scale = chunk.time_scale
        assert [t * scale for t in chunk.time.tolist()] == columns()["time"].tolist()
