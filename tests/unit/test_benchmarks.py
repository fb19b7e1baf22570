"""The benchmarks compare equal work: workload, reference, checks and every peer's bars."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks import report, workload
from benchmarks.__main__ import main
from benchmarks.checksum import check_interval
from benchmarks.peer import EXACT_COLUMNS, SUM_COLUMNS, Bars, IntervalBars
from benchmarks.peers import SUBJECT, all_peers
from benchmarks.reference import reference_bars, saved_reference
from benchmarks.runner import Entry, Found, plan, visit
from benchmarks.workload import INTERVAL_SETS, Columns, generate

ROWS = 20_000
# These fetch and compile for a minute; the first makes other bars besides.
NOT_HERE = {"trade_aggregation", "tickbar", "questdb"}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("bench")
        patch.setenv("KLINEAGG_BENCH_CACHE", str(path))
        yield path


@pytest.fixture(scope="module")
def trades() -> Columns:
    return generate(ROWS, symbols=workload.SYMBOLS)


@pytest.fixture(scope="module")
def bars(trades: Columns) -> Bars:
    return reference_bars(trades, INTERVAL_SETS["8"])


def test_workload_is_the_same_each_time(trades: Columns) -> None:
    again = generate(ROWS)
    assert all(np.array_equal(again[name], values) for name, values in trades.items())
    other = generate(ROWS, seed=1)
    assert not np.array_equal(other["price"], trades["price"])


def test_workload_is_what_it_says(trades: Columns) -> None:
    assert {name: values.dtype.name for name, values in trades.items()} == workload.DTYPES
    assert all(values.shape == (ROWS,) and values.flags.c_contiguous for values in trades.values())
    assert np.all(np.diff(trades["time"]) >= 0)
    assert set(np.unique(trades["side"])) == {-1, 1}
    assert trades["price"].min() > 0
    assert trades["quantity"].min() > 0
    counts = np.bincount(trades["symbol"], minlength=workload.SYMBOLS)
    zipf = np.arange(1, workload.SYMBOLS + 1) ** -workload.ZIPF_EXPONENT
    assert np.all(np.abs(counts - zipf / zipf.sum() * ROWS) <= 1)
    for symbol in (0, 50, 99):
        assert np.all(np.diff(trades["trade_id"][trades["symbol"] == symbol]) == 1)


def test_smaller_workload_has_as_many_trades_to_a_bar() -> None:
    full_share = 2_905_005 / workload.ROWS
    made = generate(200_000)
    share = workload.bar_count(made, INTERVAL_SETS["8"]) / 200_000
    assert share == pytest.approx(full_share, rel=0.1)


def test_reference_against_fsum(trades: Columns, bars: Bars) -> None:
    table = bars["1m"]
    assert table["open_time"].size == workload.bar_count(trades, ("1m",))
    assert table["trade_count"].sum() == ROWS
    for row in range(0, table["symbol"].size, 7):
        begin = table["open_time"][row]
        inside = (trades["symbol"] == table["symbol"][row]) & (trades["time"] >= begin)
        inside &= trades["time"] < begin + workload.interval_ns("1m")
        price, quantity = trades["price"][inside], trades["quantity"][inside]
        bought = trades["side"][inside] > 0
        assert table["open"][row] == price[0]
        assert table["close"][row] == price[-1]
        assert table["high"][row] == price.max()
        assert table["low"][row] == price.min()
        assert table["trade_count"][row] == inside.sum()
        assert table["last_trade_id"][row] == trades["trade_id"][inside][-1]
        assert table["volume"][row] == math.fsum(quantity)
        assert table["quote_volume"][row] == math.fsum(price * quantity)
        assert table["taker_buy_volume"][row] == math.fsum(quantity[bought])
        assert table["taker_buy_quote_volume"][row] == math.fsum((price * quantity)[bought])


def _copy(table: IntervalBars) -> IntervalBars:
    return {name: values.copy() for name, values in table.items()}


def test_check_accepts_rows_in_any_order(bars: Bars) -> None:
    table = bars["5s"]
    order = np.random.default_rng(0).permutation(table["symbol"].size)
    check = check_interval({name: values[order] for name, values in table.items()}, table)
    assert check.equal
    assert check.sums_exact
    assert check.trades == ROWS


@pytest.mark.parametrize("name", EXACT_COLUMNS)
def test_check_finds_two_values_that_changed_places(bars: Bars, name: str) -> None:
    wrong = _copy(bars["1m"])
    column = wrong[name]
    other = int(np.flatnonzero(column != column[0])[0])
    column[0], column[other] = column[other], column[0]
    check = check_interval(wrong, bars["1m"])
    assert not check.equal
    assert check.columns_wrong == [name]


@pytest.mark.parametrize("name", SUM_COLUMNS)
def test_check_measures_sums(bars: Bars, name: str) -> None:
    close, far = _copy(bars["1m"]), _copy(bars["1m"])
    row = int(bars["1m"][name].argmax())
    close[name][row] = np.nextafter(close[name][row], np.inf)
    far[name][row] *= 1 + 1e-6
    near = check_interval(close, bars["1m"])
    assert near.equal
    assert not near.sums_exact
    assert 0 < near.sum_error_max < 1e-15
    assert check_interval(far, bars["1m"]).columns_wrong == [name]
    far[name][row] = np.nan
    assert check_interval(far, bars["1m"]).columns_wrong == [name]


def test_check_finds_lost_rows(bars: Bars) -> None:
    table = bars["1s"]
    check = check_interval({name: values[1:] for name, values in table.items()}, table)
    assert not check.equal
    assert "key" in check.columns_wrong


@pytest.fixture(scope="module")
def places() -> tuple[Path, dict[str, Path]]:
    """The directories of the tiny workload and of its reference bars."""
    path = workload.workload_dir(ROWS)
    columns = workload.load(path)
    return path, {
        which: saved_reference(path, columns, INTERVAL_SETS[which]) for which in INTERVAL_SETS
    }


@pytest.fixture(scope="module")
def results() -> dict[Entry, Found]:
    return {}


ENTRIES = [
    *plan([name for name in all_peers() if name not in {*NOT_HERE, "cpp-read"}], ["8"]),
    Entry(SUBJECT, 1, "16"),
    Entry(SUBJECT, 2, "1m"),
]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: f"{e.peer}-{e.threads}-{e.intervals}")
def test_peers_make_the_reference_bars(
    entry: Entry,
    places: tuple[Path, dict[str, Path]],
    results: dict[Entry, Found],
) -> None:
    path, references = places
    found = Found()
    found.add(visit(entry, path, references[entry.intervals], check=True))
    if found.skipped and entry.peer != SUBJECT:
        pytest.skip(found.problem)
    assert not found.problem
    results[entry] = found
    assert found.equal, {text: check["columns_wrong"] for text, check in found.checks.items()}
    assert found.rate > 0
    if entry.peer in (SUBJECT, "cpp-exact"):
        assert found.sums_exact
        assert found.sum_error_max == 0.0


def test_report_tells_equal_from_wrong(bars: Bars) -> None:
    wrong = _copy(bars["1m"])
    wrong["high"][0] += 1
    right = check_interval(bars["1m"], bars["1m"]).as_json()
    results = {
        Entry(SUBJECT, 1, "1m"): Found(rows=ROWS, seconds=[0.1], bars=9, checks={"1m": right}),
        Entry("duckdb", 1, "1m"): Found(rows=ROWS, seconds=[0.4, 0.2, 0.3], bars=9),
        Entry("numba", 1, "1m"): Found(problem="not installed", skipped=True),
    }
    results[Entry("duckdb", 1, "1m")].checks = {"1m": check_interval(wrong, bars["1m"]).as_json()}
    text = report.document(results, {"CPU": "any"}, (0.01, ["klineagg"]), "")
    row = next(line for line in text.splitlines() if line.startswith("| DuckDB"))
    assert "3.00x" in row
    assert "**wrong** in high" in row
    assert "left out: not installed" in text
    sums = [report.checksum(found) for found in results.values()]
    assert len(set(sums)) == 3


def test_command_writes_the_page_and_the_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("benchmarks.__main__.ROOT", tmp_path)
    (tmp_path / "benchmarks").mkdir()
    chosen = ["--rows", str(ROWS), "--rounds", "1", "--sets", "8", "--peers", "cpp-exact"]
    assert main([*chosen, "--write"]) == 0
    page = (tmp_path / "docs" / "BENCHMARKS.md").read_text()
    table = [line for line in page.splitlines() if line.startswith("|")]
    assert len(table) == 2 + 3  # two lines of head, klineagg with one and two threads, the loop
    assert "wrong" not in "".join(table)
    (kept,) = (tmp_path / "benchmarks" / "results").glob("*.json")
    found = json.loads(kept.read_text())
    assert {row["peer"] for row in found["results"]} == {SUBJECT, "cpp-exact"}
    assert all(row["equal"] and row["rows"] == ROWS for row in found["results"])
    assert table[2] in capsys.readouterr().out


def test_command_lists_peers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines()}
    assert listed == set(all_peers())


def test_command_refuses_unknown_peers() -> None:
    with pytest.raises(SystemExit, match="no such peer: fastest"):
        main(["--peers", "fastest"])


def test_the_log_and_the_lake_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("duckdb_extension_ducklake")
    from benchmarks import wal

    monkeypatch.setattr(wal, "PAGE", tmp_path / "page.md")
    wal.main(["--rows", str(ROWS), "--rounds", "1", "--bars", "2000", "--large", "720000",
              "--folder", str(tmp_path), "--write"])  # fmt: skip
    text = (tmp_path / "page.md").read_text()
    assert text in capsys.readouterr().out
    for what in ("by itself", "interval", "always", "bytes a trade", "recovery", "cancel",
                 "commit of 2,000 bars", "one day of one symbol out of 720,000 bars"):  # fmt: skip
        assert what in text
    assert [path.name for path in tmp_path.iterdir()] == ["page.md"]
