"""Tables and charts in the terminal, their plain forms, and repr and HTML."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from klineagg._bars_axis import price_ticks, time_labels, volume_text
from klineagg._bars_chart import fold
from klineagg.bars import BarFlag, Bars
from klineagg.errors import ResultError
from klineagg.terminal import Style, chart, show, table
from unit.bars_factory import DAY, MINUTE, START, bars_of

GAP = int(BarFlag.GAP | BarFlag.CLOSED)
PLAIN = Style(80, 20, color=False, unicode=True)
ASCII = Style(80, 20, color=False, unicode=False)
COLOR = Style(80, 20, color=True, unicode=True)
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def wave(count: int, **more: Any) -> Bars:
    rows = []
    for k in range(count):
        price = 100 + 10 * np.sin(k / 5)
        after = 100 + 10 * np.sin((k + 1) / 5)
        highest, lowest = max(price, after) + 1, min(price, after) - 1
        values = {"open": price, "close": after, "high": highest, "low": lowest}
        rows.append({"at": k, "volume": 1.0 + k % 4, **values, **more})
    return bars_of(rows, {0: "BTCUSDT"})


# -- the table -----------------------------------------------------------------------------------


def test_table_shows_first_and_last_rows() -> None:
    lines = table(wave(50), rows=4, style=PLAIN).splitlines()
    assert lines[0] == "Bars: 50 rows, BTCUSDT, 1m, 2018-01-01 00:00:00 to 2018-01-01 00:50:00 UTC"
    assert len(lines) == 7
    assert lines[4] == "… 46 more rows"
    assert "00:00:00" in lines[2]
    assert "00:49:00" in lines[6]
    assert len(table(wave(4), rows=4, style=PLAIN).splitlines()) == 6


def test_cells_say_what_the_bar_is() -> None:
    rows: list[dict[str, Any]] = [
        {"at": 0, "close": 0.5, "volume": 1_234.25, "trade_count": 1_234},
        {"at": 1, "run_length": 12, "flags": GAP, "close": 0.5},
        {"at": 13, "flags": 0},
        {"at": 14, "flags": 1 | 8 | 16},
        {"at": 15, "flags": 33, "revision": 2},
        {"at": 16, "flags": 7, "close": np.nan},
    ]
    lines = table(bars_of(rows), style=Style(120)).splitlines()
    heads = re.split(r"\s{2,}", lines[1])
    assert heads == [
        *("symbol", "interval", "open time", "open", "high", "low", "close", "volume", "trades"),
        "state",
    ]
    first = re.split(r"\s{2,}", lines[2])
    assert first[6:] == ["0.5", "1234.25", "1,234"]
    states = [line[lines[1].index("state") :] for line in lines[2:]]
    assert states == ["", "gap x12", "open", "partial incomplete", "rev 2", "gap genesis"]
    assert " - " in lines[7]  # no price


@pytest.mark.parametrize("width", [40, 60, 75, 90, 140])
def test_table_fits_the_width(width: int) -> None:
    bars = bars_of([{"at": 0, "flags": GAP, "run_length": 3}, {"at": 3, "symbol": 1}])
    lines = table(bars, style=Style(width)).splitlines()[1:]
    assert max(map(len, lines)) <= width
    assert "close" in lines[0]
    assert ("volume" in lines[0]) == (width >= 60)
    assert lines[0].count("high") == lines[0].count("low")


def test_small_and_large_numbers_are_readable() -> None:
    values = {"open": 1.5e-7, "high": 2e-7, "low": 1e-7, "close": 1.25e-7, "volume": 4e9}
    text = table(bars_of([{"at": 0, **values}]), style=Style(120))
    assert "0.000000125" in text
    assert "4000000000" in text
    assert "e-0" not in text


def test_names_cannot_move_the_cursor_or_break_lines() -> None:
    evil = "BTC\x1b[2J\nUSD"
    bars = bars_of([{"at": 0}, {"at": 0, "symbol": 1}], {0: evil, 1: "日本"})
    for text in (table(bars, style=PLAIN), chart(bars, 0, style=PLAIN), repr(bars)):
        assert "\x1b" not in text
        assert "BTC\ufffd[2J\ufffdUSD" in text
    # A wide character takes two columns, so columns behind it still stand below each other.
    lines = table(bars, style=PLAIN).splitlines()
    assert lines[3].index("1m") == lines[2].index("1m") - 2


def test_empty() -> None:
    empty = Bars.empty(["1m", "5m"])
    assert table(empty, style=PLAIN) == "Bars: empty, 2 intervals: 1m, 5m"
    assert repr(empty) == table(empty, style=PLAIN)
    assert "empty" in empty._repr_html_()
    with pytest.raises(ResultError, match="no bars to show"):
        chart(empty, style=PLAIN)


# -- the chart -----------------------------------------------------------------------------------


def test_chart_fits_and_is_the_same_text_with_and_without_colours() -> None:
    for count in (1, 5, 30, 500):
        bars = wave(count)
        for width, height in ((40, 10), (80, 20), (132, 40)):
            plain = chart(bars, style=Style(width, height, color=False))
            lines = plain.splitlines()
            assert len(lines) == height
            assert max(map(len, lines)) <= width
            colored = ESCAPES.sub("", chart(bars, style=Style(width, height, color=True)))
            heads = [text.splitlines()[0] for text in (plain, colored)]
            assert heads[0] == heads[1]
            assert list(map(len, colored.splitlines())) == list(map(len, lines))


def test_candles_by_hand() -> None:
    rows: list[dict[str, Any]] = [
        {"at": 0, "open": 10.0, "high": 20.0, "low": 0.0, "close": 20.0, "volume": 8.0},
        {"at": 1, "open": 20.0, "high": 20.0, "low": 0.0, "close": 0.0, "volume": 4.0},
        {"at": 2, "run_length": 2, "flags": GAP, "close": 0.0},
        {"at": 5, "open": 10.0, "high": 20.0, "low": 10.0, "close": 10.0, "volume": 1.0},
    ]
    text = chart(bars_of(rows, {0: "X"}), style=Style(40, 11, color=False))
    assert text.splitlines() == [
        "X 1m  10 (+0.00 %)",
        "║  ┃           │  ┤ 20",
        "║  ┃           │  │",
        "║  ┃           │  │",
        "╿  ┃           ╹  ◂ 10",
        "│  ┃              │",
        "│  ┃  ──────      ┤ 0",  # two gaps; what was in minute 4 nobody knows
        "█                 ┤ 8",
        "█  █           ▂  │",
        "┬──────────────┬──┘",
        "Jan 01         00:05",
    ]
    colored = chart(bars_of(rows, {0: "X"}), style=Style(40, 11, color=True)).splitlines()
    assert colored[1].startswith("\x1b[0;32m█  \x1b[0;31m█")  # rising, falling
    assert colored[6].count("\x1b[0;90m──────") == 1


def test_ascii_is_ascii() -> None:
    bars = bars_of([{"at": 0}, {"at": 1, "flags": GAP, "run_length": 2}, {"at": 3}], {0: "Bé"})
    for text in (chart(bars, style=ASCII), table(bars, rows=2, style=ASCII)):
        assert text.isascii()
    assert "B\\xe9 1m" in chart(bars, style=ASCII)
    assert "=" in chart(bars, style=ASCII)  # rising
    lines = table(bars, rows=2, style=ASCII).splitlines()
    assert lines[3] == "... 1 more row"
    assert lines[1].index("interval") == lines[2].index("1m")


def test_more_bars_than_columns_are_put_together() -> None:
    bars = wave(1_000)
    candles = fold(bars, "1m", 60)
    assert candles.bars_each == 17
    assert len(candles.times) == 59
    assert candles.open[0] == bars.open[0]
    assert candles.close[0] == bars.close[16]
    assert candles.high[1] == bars.high[17:34].max()
    assert candles.low[1] == bars.low[17:34].min()
    assert candles.volume.sum() == bars.volume.sum()
    assert candles.times[1] == START + 17 * MINUTE
    assert candles.close[-1] == bars.close[-1]
    assert "17 bars a candle" in chart(bars, style=Style(72))


def test_holes_and_gaps_keep_their_place() -> None:
    rows: list[dict[str, Any]] = [
        {"at": 2},
        {"at": 4, "flags": GAP, "run_length": 3, "close": 50.0},
        {"at": 9},
    ]
    candles = fold(bars_of(rows), "1m", 50)
    assert candles.traded.tolist() == [True, *[False] * 6, True]
    assert candles.flat.tolist() == [False, False, True, True, True, False, False, False]
    assert candles.close[2:5].tolist() == [50.0] * 3
    assert ((candles.times - START) // MINUTE).tolist() == [2, 3, 4, 5, 6, 7, 8, 9]
    # Bars of no fixed length stand side by side.
    months = [(0, 31), (31, 59), (90, 120)]
    rows = [{"open_time": START + a * DAY, "close_time": START + b * DAY} for a, b in months]
    assert fold(bars_of(rows, intervals=("1M",)), "1M", 50).traded.tolist() == [True] * 3


def test_first_series_shown_is_a_legible_one() -> None:
    rows = [{"at": k, "interval": 0, "trade_count": 1} for k in range(300)]
    rows += [{"at": k, "interval": 1, "trade_count": 5} for k in range(60)]
    rows += [{"symbol": 1, "at": k, "interval": 0, "trade_count": 9} for k in range(300)]
    rows += [{"symbol": 1, "at": k, "interval": 1, "trade_count": 45} for k in range(60)]
    bars = Bars.concat([bars_of(rows, {0: "QUIET", 1: "BUSY"}, ("1m", "5m"))])
    assert chart(bars, style=PLAIN).startswith("BUSY 5m")
    assert chart(bars, "QUIET", style=PLAIN).startswith("QUIET 5m")
    assert chart(bars, "QUIET", "1m", style=PLAIN).startswith("QUIET 1m")
    with pytest.raises(ResultError, match="QUIET"):
        chart(bars, "quiet", style=PLAIN)


@pytest.mark.parametrize(
    "values",
    [
        {"open": 5.0, "high": 5.0, "low": 5.0, "close": 5.0},
        {"open": -5.0, "high": -4.0, "low": -6.0, "close": -5.5},
        {"open": 1e-9, "high": 3e-9, "low": 1e-9, "close": 2e-9, "volume": 1e12},
        {"run_length": 5, "flags": GAP, "close": 3.0},
    ],
    ids=["one price", "below zero", "tiny", "only gaps"],
)
def test_odd_series_can_be_drawn(values: dict[str, Any]) -> None:
    for style in (PLAIN, ASCII, COLOR):
        assert len(chart(bars_of([{"at": 0, **values}]), style=style).splitlines()) == 20
    nan = {"open": np.nan, "high": np.nan, "low": np.nan, "close": np.nan}
    assert chart(bars_of([{"at": 0, **nan}], {0: "X"}), style=PLAIN) == "X 1m: no prices"


def test_prices_on_the_axis_are_round_and_in_reach() -> None:
    for low, high in ((13_036.5, 14_010.0), (0.00012, 0.00019), (-5.0, 3.0), (99.999, 100.001)):
        ticks, decimals = price_ticks(low, high, 6)
        assert 2 <= len(ticks) <= 8
        assert low - 1e-9 <= ticks[0]
        assert ticks[-1] <= high + 1e-9
        assert len({f"{tick:.{decimals}f}" for tick in ticks}) == len(ticks)
        assert all(abs(round(tick, decimals) - tick) < 1e-9 * high for tick in ticks)


def test_times_on_the_axis_have_room_and_tell_days() -> None:
    minutes = START + np.arange(0, 3 * 1_440, 10) * MINUTE
    labels = time_labels(minutes, 12)
    assert labels[0] == (0, "Jan 01")
    assert "Jan 02" in dict(labels).values()
    places = [at for at, _ in labels]
    assert min(np.diff(places)) >= 12
    for at, text in labels:
        stamp = minutes[at].astype("datetime64[ns]").astype("datetime64[m]").item()
        assert text in (f"{stamp:%H:%M}", f"{stamp:%b %d}")
    years = START + np.arange(60) * 30 * DAY
    assert time_labels(years, 10)[1][1].startswith("20")
    assert time_labels(np.empty(0, np.int64), 10) == []


def test_volumes_are_short() -> None:
    values = [0.0, 0.05, 950.0, 1_234.0, 34_000_000.0, 5.6e9, 7e12]
    assert [volume_text(v) for v in values] == [
        *("0", "0.05", "950", "1.23k", "34M", "5.6B", "7T"),
    ]


# -- where it is written to ------------------------------------------------------------------------


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_colours_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    terminal, file = Terminal(), io.StringIO()
    show(wave(30), file=terminal)
    show(wave(30), file=file)
    assert "\x1b[" in terminal.getvalue()
    assert "\x1b" not in file.getvalue()
    assert "BTCUSDT" in file.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not Style.of(Terminal()).color
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not Style.of(Terminal()).color
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert Style.of(io.StringIO()).color


def test_an_output_without_unicode_gets_ascii() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    show(wave(30), file=stream)
    stream.flush()
    assert raw.getvalue().isascii()
    assert not Style.of(io.TextIOWrapper(io.BytesIO(), encoding="cp437")).unicode


def test_style_follows_the_terminal_and_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "133")
    monkeypatch.setenv("LINES", "50")
    assert (Style.of().width, Style.of().height) == (133, 30)
    assert Style.of(width=60, height=15, color=True, unicode=False) == Style(60, 15, True, False)
    assert Style.of(width=5).width == 40


# -- repr and HTML -------------------------------------------------------------------------------


def test_repr_is_short_and_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "110")
    text = repr(wave(1_000))
    assert len(text.splitlines()) == 13
    assert text.startswith("Bars: 1,000 rows, BTCUSDT, 1m, 2018-01-01 00:00:00 to")
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 110


class Tags(HTMLParser):
    """Checks that tags are balanced and collects them with the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)
        self.seen.append(tag)
        assert not {"src", "href"} & {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + "\n"


def test_html_is_escaped_and_needs_nothing_from_elsewhere() -> None:
    evil = "<script>alert('x')</script>"
    rows = [{"at": k, "symbol": k % 2} for k in range(40)]
    bars = Bars.concat([bars_of(rows, {0: evil, 1: "A&B"})])
    page = bars._repr_html_()
    tags = Tags()
    tags.feed(page)
    tags.close()
    assert not tags.open
    assert set(tags.seen) == {"div", "table", "thead", "tbody", "tr", "th", "td"}
    assert "<script" not in page
    assert evil in tags.text
    assert "A&B" in tags.text
    assert "30 more rows" in tags.text
    assert tags.seen.count("tr") == 12
