"""The CSV parser of the core against Python's own csv, float and decimal."""

from __future__ import annotations

import csv
import io
import math
import threading
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klineagg import _core, errors

ROLES = [
    (0, "symbol"),
    (1, "time"),
    (2, "price"),
    (3, "quantity"),
    (4, "side"),
    (5, "trade_id"),
    (6, "last_trade_id"),
    (7, "flags"),
    (8, "conditions"),
]
SCALES = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def parser(**options: Any) -> Any:
    return _core.CsvParser(ROLES, **{"field_count": 9, "unit": "ms", **options})


def read(data: bytes, cuts: tuple[int, ...] = (), **options: Any) -> tuple[dict[str, Any], Any]:
    """All columns of ``data``, fed in pieces that end at ``cuts``, taken after each."""
    p = parser(**options)
    parts = []
    ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    for begin, end in zip([0, *ends], ends, strict=False):
        p.feed(data[begin:end])
        parts.append(p.take())
    p.finish()
    parts.append(p.take())
    columns = {
        name: np.concatenate([part[1][name] for part in parts if part[0]] or [np.empty(0)])
        for _, name in ROLES
    }
    return columns, p


def lines(part: tuple[int, dict[str, Any], int, list[tuple[int, int]]]) -> list[int]:
    rows, _, first, steps = part
    return [first + k + sum(n for at, n in steps if at <= k) for k in range(rows)]


amounts = st.decimals(
    min_value=Decimal("-1e15"), max_value=Decimal("1e15"), allow_nan=False, allow_infinity=False
)


@st.composite
def number_texts(draw: st.DrawFn) -> str:
    value = draw(amounts | st.decimals(min_value=0, max_value=10**6, places=8))
    return draw(st.sampled_from([f"{value:f}", f"{value:e}", str(value), f"{value:f}0"]))


@st.composite
def dumps(draw: st.DrawFn) -> tuple[list[list[str]], bytes]:
    """Records, and one of the many ways to write them."""
    name = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=5)
    record = st.tuples(
        name.filter(lambda text: text.strip(" ") == text),
        st.integers(-(10**12), 9 * 10**12).map(str),
        number_texts(),
        number_texts(),
        st.sampled_from(["buy", "Sell", "", "1", "-1", "0", "b", "true"]),
        st.sampled_from(["", "0", "17", str(2**63 - 1), "-1"]),
        st.integers(0, 2**62).map(str),
        st.integers(0, 255).map(str),
        st.text(st.sampled_from('ab,"\n\r ;'), max_size=6),
    )
    rows = [list(row) for row in draw(st.lists(record, max_size=6))]
    out = io.StringIO()
    end = draw(st.sampled_from(["\n", "\r\n"]))
    # Unquoted at the end of a line, a carriage return is a part of the line's end.
    quotings = [1] if any(row[-1].endswith("\r") for row in rows) else [0, 1]
    writer = csv.writer(out, quoting=draw(st.sampled_from(quotings)), lineterminator=end)
    for row in rows:
        writer.writerow(row)
        out.write(end * draw(st.integers(0, 2)))
    text = out.getvalue()
    if draw(st.booleans()):
        text = text[: -len(end)] if text.endswith(end) and not text.endswith(end * 2) else text
    mark = b"\xef\xbb\xbf" if draw(st.booleans()) else b""
    return rows, mark + text.encode()


@given(dumps(), st.lists(st.integers(0, 300), max_size=4))
def test_any_way_of_writing_and_cutting_gives_the_same_columns(
    dump: tuple[list[list[str]], bytes], cuts: list[int]
) -> None:
    rows, data = dump
    columns, p = read(data, tuple(cuts))
    assert p.rows() == len(rows)
    names = p.symbols()
    assert [names[int(code)] for code in columns["symbol"]] == [row[0] for row in rows]
    assert columns["time"].tolist() == [int(row[1]) * 10**6 for row in rows]
    # repr tells apart what == does not: -0.0.
    for name, at in (("price", 2), ("quantity", 3)):
        assert list(map(repr, columns[name].tolist())) == [repr(float(row[at])) for row in rows]
    sides = {"buy": 1, "Sell": -1, "": 0, "1": 1, "-1": -1, "0": 0, "b": 1, "true": 1}
    assert columns["side"].tolist() == [sides[row[4]] for row in rows]
    assert columns["trade_id"].tolist() == [int(row[5] or -1) for row in rows]
    assert columns["last_trade_id"].tolist() == [int(row[6]) for row in rows]
    assert columns["flags"].tolist() == [int(row[7]) for row in rows]
    marks = p.conditions()
    assert [marks[int(code)] for code in columns["conditions"]] == [r[8].strip(" ") for r in rows]
    assert len(set(marks)) == len(marks)


@given(st.binary(max_size=400), st.integers(0, 400))
def test_any_bytes_are_rows_or_counted_faults(data: bytes, cut: int) -> None:
    whole, p = read(data, (), count_faults=True)
    parted, q = read(data, (cut,), count_faults=True)
    for name in whole:
        assert whole[name].tobytes() == parted[name].tobytes()
    assert p.faults() == q.faults()
    assert p.samples() == q.samples()
    assert p.rows() + sum(p.faults().values()) <= data.count(b"\n") + 1


@given(
    st.integers(-(2**63) + 1, 2**63 - 1),  # the smallest one is no time
    st.sampled_from(["s", "ms", "us", "ns"]),
    st.integers(0, 3),
    st.booleans(),
)
def test_stamps_with_decimals_are_exact(ns: int, unit: str, zeros: int, exponent: bool) -> None:
    value = Decimal(ns) / SCALES[unit]
    text = f"{value:e}" if exponent else f"{value:f}"
    if "." in text and "e" not in text:
        text += "0" * zeros
    columns, _ = read(f"A,{text},1,1,b,,,0,".encode(), unit=unit)
    assert columns["time"].tolist() == [ns]


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_iso_stamps_agree_with_numpy(ns: int) -> None:
    time = np.datetime64(ns, "ns")
    year = int(str(time)[:4])
    for text in (str(time), f"{time}Z", str(time).replace("T", " "), str(time).replace("T", "D")):
        parsed = _core.parse_iso_time(text)
        if 1700 <= year <= 2250:
            assert parsed == ns
        else:
            assert parsed in (-(2**63), 2**63 - 1)


@given(st.text(max_size=30))
def test_any_text_is_an_iso_stamp_or_not(text: str) -> None:
    parsed = _core.parse_iso_time(text)
    assert parsed is None or isinstance(parsed, int)


def test_a_raised_fault_names_its_place() -> None:
    good = b"A,1,1.5,1,b,1,2,0,\n"
    p = parser()
    with pytest.raises(errors.FileError) as caught:
        p.feed(good + b"\n" + good + b"A,1,1.5,zero,b,1,2,0,\n")
    assert caught.value.code == "KLA-404"
    assert caught.value.fields == {
        "row": "4",
        "column": "quantity",
        "reason": "quantity_unreadable",
        "excerpt": "zero",
    }
    assert "line 4" in str(caught.value)
    rows, columns, *_ = p.take()
    assert rows == 2
    assert columns["price"].tolist() == [1.5, 1.5]
    with pytest.raises(errors.OptionError):
        p.feed(good)


def test_lines_of_rows() -> None:
    p = parser(header=True, count_faults=True)
    p.feed(b'a,b,c,d,e,f,g,h,"i\ni"\n')  # lines 1 and 2
    p.feed(b"A,1,1,1,b,1,2,0,\n\n\nA,1,?,1,b,1,2,0,\n")  # lines 3 to 6
    p.feed(b'A,1,1,1,b,1,2,0,"\n"\nA,1,1,1,b,1,2,0,\n')  # 7 and 8, then 9
    assert lines(p.take()) == [3, 7, 9]
    p.feed(b"\nA,1,1,1,b,1,2,0,\nA,1,1,1,b,1,2,0,")
    p.finish()
    assert lines(p.take()) == [11, 12]
    assert p.samples() == [("price_unreadable", 6, "price", "?")]


def test_special_numbers_are_left_to_the_rules_of_trades() -> None:
    columns, _ = read(b"A,1,nan,inf,b,1,2,0,\nA,1,-1,0,b,1,2,0,\n")
    assert math.isnan(columns["price"][0])
    assert columns["quantity"].tolist() == [math.inf, 0.0]
    assert columns["price"][1] == -1.0


def test_columns_outlive_the_parser_and_later_batches() -> None:
    p = parser()
    p.feed(b"A,1,1.5,1,b,1,2,0,\n" * 5000)
    _, columns, *_ = p.take()
    p.feed(b"A,2,2.5,2,s,3,4,1,\n" * 5000)
    _, later, *_ = p.take()
    del p
    assert np.unique(columns["price"]).tolist() == [1.5]
    assert np.unique(later["price"]).tolist() == [2.5]
    assert columns["price"].dtype == np.float64
    assert columns["side"].dtype == np.int8


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_contiguous_bytes_are_taken(kind: Any) -> None:
    p = parser()
    p.feed(kind(b"A,1,1.5,1,b,1,2,0,\n"))
    assert p.take()[0] == 1
    with pytest.raises(errors.OptionError):
        p.feed(memoryview(b"A,1,1.5,1,b,1,2,0,\n")[::2])


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"unit": "h"}, "time_unit"),
        ({"side": "left"}, "invalid_option"),
        ({"field_count": 3}, "invalid_option"),
        ({"delimiter": "x"}, "invalid_option"),
        ({"line_bytes_max": 0}, "invalid_option"),
    ],
)
def test_wrong_options(options: dict[str, Any], error: str) -> None:
    with pytest.raises(errors.KlineaggError) as caught:
        parser(**options)
    assert caught.value.name == error


def test_threads_that_share_a_parser_lose_nothing() -> None:
    p = parser(unit="ns")
    record = b"A,%d,1,1,b,1,2,0,\n"
    seen: list[int] = []

    def work(start: int) -> None:
        for k in range(200):
            # Whole records, so that any order of the pieces is a dump.
            p.feed(b"".join(record % (start + k) for _ in range(50)))

    threads = [threading.Thread(target=work, args=(n * 1000,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    p.finish()
    rows, columns, *_ = p.take()
    seen = columns["time"].tolist()
    assert rows == 4 * 200 * 50
    assert sorted(set(seen)) == sorted(n * 1000 + k for n in range(4) for k in range(200))
