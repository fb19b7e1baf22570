"""Tables of sale conditions, and columns of their codes."""

from __future__ import annotations

import string
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klineagg import conditions, errors
from klineagg.columns import iter_chunks
from klineagg.conditions import TABLES, US_CTA, US_UTP, ConditionTable, TradeFlag, flags_from

ALL, LAST, VOLUME_ONLY, NOTHING = 0, 1, 3, 7


def test_trade_flags_are_the_core_s() -> None:
    assert [(flag.name, flag.value) for flag in TradeFlag] == [
        ("NO_OPEN_CLOSE", 1),
        ("NO_HIGH_LOW", 2),
        ("NO_VOLUME", 4),
        ("CANCEL", 8),
        ("CORRECT", 16),
    ]


@pytest.mark.parametrize("table", [US_CTA, US_UTP], ids=lambda table: table.name)
@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("@", ALL),
        ("", ALL),
        (" ", ALL),
        ("    ", ALL),
        ("@  I", VOLUME_ONLY),  # odd lot
        ("@ TI", VOLUME_ONLY),
        ("@F I", VOLUME_ONLY),
        ("@F", ALL),
        ("@,F", ALL),
        ("@ Z ", LAST),
        ("@4", LAST),
        ("@4 I", VOLUME_ONLY),
        ("@  M", NOTHING),
        ("@  Q", NOTHING),
        ("@6 X", ALL),
        ("9", 4),
    ],
)
def test_texts_of_the_us_tape(table: ConditionTable, text: str, flags: int) -> None:
    assert table.flags_of(text) == flags
    assert flags_from([text], table).tolist() == [flags]


def test_letters_that_differ_between_the_tapes() -> None:
    assert (US_CTA.flags_of("B"), US_UTP.flags_of("B")) == (VOLUME_ONLY, ALL)
    assert (US_CTA.flags_of("L"), US_UTP.flags_of("L")) == (LAST, ALL)
    assert US_CTA.flags_of("E") == ALL
    assert US_UTP.flags_of("W") == VOLUME_ONLY
    for table, code in ((US_UTP, "E"), (US_CTA, "W"), (US_CTA, "e")):
        with pytest.raises(errors.ColumnError, match=repr(code)):
            table.flags_of(code)


def test_no_print_without_prices_loses_its_volume_but_those_reported_twice() -> None:
    for table in (US_CTA, US_UTP):
        no_volume = {code for code, (_, flags) in table.codes.items() if flags & 4}
        assert no_volume == {"M", "Q", "9"}
        # Whatever may set the last price may set high and low too.
        assert all(flags & 1 or not flags & 2 for _, flags in table.codes.values())


@pytest.mark.parametrize("name", list(TABLES))
def test_ready_tables_are_complete(name: str) -> None:
    table = TABLES[name]
    assert table.name == name
    assert table.title
    assert table.source
    assert conditions.table(name) is table
    assert conditions.table(table) is table
    for code, (meaning, flags) in table.codes.items():
        assert meaning
        assert 0 <= flags <= 7
        assert table.flags_of(code) == flags
        assert len(code) == 1 or not table.per_character
    with pytest.raises(TypeError):
        table.codes["?"] = conditions.Condition("x", TradeFlag(0))  # type: ignore[index]


@pytest.mark.parametrize(
    ("name", "codes", "flags"),
    [
        ("gate_internal", [True, False], [NOTHING, ALL]),
        ("gate_internal", ["true", None], [NOTHING, ALL]),
        ("kraken_futures", ["fill", "liquidation", "Block"], [ALL, ALL, VOLUME_ONLY]),
        ("bybit_block", [False, True], [ALL, VOLUME_ONLY]),
        ("binance_options", ["MARKET", "BLOCK"], [ALL, VOLUME_ONLY]),
        ("deribit_block", [None, "154", ""], [ALL, VOLUME_ONLY, ALL]),
        ("deribit_liquidation", ["none", "MT", None], [ALL, ALL, ALL]),
        ("okx_source", ["0", "1"], [ALL, ALL]),
        ("okx_source", [0, 1], [ALL, ALL]),
        ("rpi", [True, False], [ALL, ALL]),
    ],
)
def test_marks_of_crypto_venues(name: str, codes: Any, flags: list[int]) -> None:
    assert flags_from(codes, name).tolist() == flags


def test_a_table_can_be_changed() -> None:
    extended = US_UTP.with_flags({"T": 0, "U": TradeFlag.NO_OPEN_CLOSE, "?": 4})
    assert [extended.flags_of(code) for code in "TU?I"] == [0, 1, 4, 3]
    assert US_UTP.flags_of("T") == VOLUME_ONLY
    rpi = conditions.RPI.with_flags({"TRUE": 3})
    assert flags_from([True, False], rpi).tolist() == [3, 0]


def test_unknown_codes() -> None:
    with pytest.raises(errors.ColumnError, match="row 2: '@ !'") as raised:
        flags_from(["@", "@I", "@ !"], US_CTA)
    assert raised.value.name == "column_type"
    assert raised.value.fields == {"code": "@ !", "row": 2, "table": "us_cta"}
    assert "with_unknown" in raised.value.hint
    lenient = US_CTA.with_unknown(0)
    assert flags_from(["@", "@I", "@!I"], lenient).tolist() == [0, 3, 3]
    assert flags_from(["!"], US_CTA.with_unknown(7)).tolist() == [7]
    with pytest.raises(errors.ColumnError, match="row 1: 2"):
        flags_from([0, 2], "okx_source")
    with pytest.raises(errors.OptionError, match="us_cta, us_utp"):
        flags_from([], "nyse")


CODES = ["@", "@ TI", None, "", "@F", "@ Z"]
FLAGS = [0, 3, 0, 0, 0, 1]


@pytest.mark.parametrize("kind", ["list", "object", "arrow", "dictionary", "polars", "pandas"])
def test_columns_of_text(kind: str) -> None:
    data: Any = CODES
    if kind == "object":
        data = np.array(CODES, object)
    elif kind in ("arrow", "dictionary"):
        data = pytest.importorskip("pyarrow").array(CODES)
        data = data.dictionary_encode() if kind == "dictionary" else data
    elif kind == "polars":
        data = pytest.importorskip("polars").Series(CODES)
    elif kind == "pandas":
        data = pytest.importorskip("pandas").Series(CODES)
    got = flags_from(data, "us_utp")
    assert got.dtype == np.uint8
    assert got.tolist() == FLAGS


LISTS = [["@"], ["@", "T", "I"], None, [], ["@", "F"], ["Z", "@"]]


@pytest.mark.parametrize("kind", ["list", "arrow", "large", "polars", "slice"])
def test_columns_of_lists(kind: str) -> None:
    data: Any = LISTS
    if kind in ("arrow", "large", "slice"):
        pa = pytest.importorskip("pyarrow")
        make = pa.large_list if kind == "large" else pa.list_
        data = pa.array(LISTS, make(pa.string()))
        if kind == "slice":
            data = pa.array([["M"], *LISTS, ["M"]]).slice(1, 6)
    elif kind == "polars":
        data = pytest.importorskip("polars").Series(LISTS)
    assert flags_from(data, US_UTP).tolist() == FLAGS


@given(st.lists(st.one_of(st.none(), st.lists(st.sampled_from(sorted(US_UTP.codes))))))
def test_the_codes_of_a_row_are_or_ed(rows: list[list[str] | None]) -> None:
    expected = []
    for row in rows:
        flags = 0
        for code in row or []:
            flags |= US_UTP.codes[code].flags
        expected.append(flags)
    assert flags_from(rows, US_UTP).tolist() == expected
    joined = [None if row is None else " ".join(row) for row in rows]
    assert flags_from(joined, US_UTP).tolist() == expected


def test_an_unknown_code_in_a_list_is_named_with_its_row() -> None:
    with pytest.raises(errors.ColumnError, match=r"row 3: '!'") as raised:
        flags_from([["@"], [], ["I", "T"], ["@", "!"]], US_UTP)
    assert raised.value.fields["row"] == 3


@pytest.mark.parametrize("codes", [[1.5], np.array(["2020"], "datetime64[Y]")], ids=repr)
def test_codes_of_another_type(codes: Any) -> None:
    with pytest.raises(errors.ColumnError):
        flags_from(codes, US_UTP)


def trades(**extra: Any) -> dict[str, Any]:
    times = 1_600_000_000 * 10**9 + np.arange(6)
    return {"symbol": "A", "time": times, "price": np.ones(6), "quantity": np.ones(6), **extra}


def test_conditions_of_trades() -> None:
    (chunk,) = list(iter_chunks(trades(conditions=CODES), conditions="us_utp"))
    assert chunk.flags is not None
    assert chunk.flags.tolist() == FLAGS
    (chunk,) = list(iter_chunks(trades(sale_condition=LISTS), conditions=US_UTP))
    assert chunk.flags is not None
    assert chunk.flags.tolist() == FLAGS
    own = np.array([4, 4, 4, 0, 0, 0], np.uint8)
    (chunk,) = list(iter_chunks(trades(conditions=CODES, flags=own), conditions="us_utp"))
    assert chunk.flags is not None
    assert chunk.flags.tolist() == [4, 7, 4, 0, 0, 1]


def test_conditions_without_a_table_are_ignored_and_without_a_column_an_error() -> None:
    (chunk,) = list(iter_chunks(trades(conditions=["nobody knows"] * 6)))
    assert chunk.flags is None
    with pytest.raises(errors.ColumnError, match="no column holds the conditions"):
        list(iter_chunks(trades(), conditions="us_utp"))
    mapped = {"conditions": "marks"}
    (chunk,) = list(iter_chunks(trades(marks=CODES), conditions="us_utp", columns=mapped))
    assert chunk.flags is not None


def test_every_letter_of_the_tapes_is_known_or_refused() -> None:
    for table in (US_CTA, US_UTP):
        for code in string.ascii_letters + string.digits + string.punctuation:
            if code == ",":
                continue
            if code in table.codes:
                assert 0 <= table.flags_of(code) <= 7
            else:
                with pytest.raises(errors.ColumnError):
                    table.flags_of(code)
