"""The demonstration: what it prints, what it writes, and what it does where an extra is missing."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

import klineagg
from klineagg import demo
from klineagg.data import BITMEX_COVERAGE, load_bitmex

WITHOUT = """
import sys
for name in {missing!r}:
    sys.modules[name] = None
from klineagg.demo import main
sys.exit(main({arguments!r}))
"""


def run(folder: Path, *, missing: tuple[str, ...] = (), **env: str) -> tuple[int, str]:
    """The demonstration in a process of its own, in a folder of its own."""
    code = WITHOUT.format(missing=missing, arguments=["out"])
    plain = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**plain, "COLUMNS": "100", "LINES": "40", **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=240,
        check=False,
    )
    assert done.stderr == b""
    return done.returncode, done.stdout.decode(env.get("PYTHONIOENCODING", "utf-8"))


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    pytest.importorskip("pyarrow")
    pytest.importorskip("matplotlib")
    folder = tmp_path_factory.mktemp("demo")
    code, text = run(folder, PYTHONIOENCODING="utf-8")
    assert code == 0
    return text, folder / "out"


def test_it_shows_trades_bars_and_checks(shown: tuple[str, Path]) -> None:
    text, _ = shown
    assert "89,728 trades" in text
    # The first and the last hour, by the exchange's own trades.
    assert re.search(r"2018-01-01 00:00:00 +13873.0 +13920.0 +13596.0 +13670.5 +32834682 ", text)
    assert re.search(r"2018-01-01 10:00:00 +13605.5 +13617.0 +13455.5 +13579.5 +9644750 ", text)
    assert "XBTUSD 15m" in text
    assert "FAIL" not in text
    checks = re.findall(r"^ok +(.*)", text, re.M)
    assert len(checks) == 3 + ("the lake holds the 1h bars from above" in checks)
    assert "\x1b[" not in text, "colours belong on a terminal only"
    assert max(map(len, text.splitlines())) <= 100


def test_the_parquet_file_holds_all_bars(shown: tuple[str, Path]) -> None:
    text, folder = shown
    assert str(Path("out") / "bars.parquet") in text
    bars = klineagg.Bars.read_parquet(folder / "bars.parquet")
    expected = klineagg.aggregate(load_bitmex(), demo.INTERVALS, coverage=BITMEX_COVERAGE)
    assert bars.equals(expected)
    assert f"{len(bars):,} bars of 5 intervals" in text


def test_the_picture_is_a_png_with_candles_in_both_colours(shown: tuple[str, Path]) -> None:
    text, folder = shown
    path = folder / "XBTUSD-5m.png"
    assert str(Path("out") / path.name) in text
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", head[16:24]) == (1600, 832)
    assert path.stat().st_size < 200_000
    image = pytest.importorskip("matplotlib.image").imread(path)[..., :3]
    green, red = (image[..., 1] - image[..., 0] > 0.3), (image[..., 0] - image[..., 1] > 0.3)
    assert green.sum() > 5_000
    assert red.sum() > 5_000


def test_a_second_process_reads_the_lake(shown: tuple[str, Path]) -> None:
    pytest.importorskip("duckdb_extension_ducklake")
    pytest.importorskip("huey")
    text, folder = shown
    assert re.search(r"2018-01-01 10:00 +13605.5 +13617.0 +13455.5 +13579.5 +9644750 ", text)
    lake = folder / "live" / "lake"
    with klineagg.Lake(lake / "catalog.sqlite", lake / "data", read_only=True) as stored:
        found = stored.bars("XBTUSD", "1h")
    assert found.trade_count.sum() == 89_728
    # And they had gone through the log.
    with klineagg.Wal(folder / "live" / "wal") as log:
        assert sum(len(batch) for batch in log.trades()) == 89_728


def test_it_says_which_extras_are_missing(tmp_path: Path) -> None:
    code, text = run(tmp_path, missing=("pyarrow", "matplotlib"), PYTHONIOENCODING="utf-8")
    assert code == 0
    assert "pip install 'klineagg[charts]'" in text
    assert "pip install 'klineagg[parquet]'" in text
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["bars.csv"]
    lines = (tmp_path / "out" / "bars.csv").read_text().splitlines()
    assert f"{len(lines) - 1:,} bars, all intervals" in text


def test_it_works_where_the_output_takes_ascii_only(tmp_path: Path) -> None:
    code, text = run(tmp_path, missing=("pyarrow", "matplotlib"), PYTHONIOENCODING="ascii")
    assert code == 0
    assert len(re.findall(r"^ok ", text, re.M)) == 3


def test_it_colours_a_terminal(tmp_path: Path) -> None:
    missing = ("pyarrow", "matplotlib")
    code, text = run(tmp_path, missing=missing, PYTHONIOENCODING="utf-8", FORCE_COLOR="1")
    assert code == 0
    assert "\x1b[1m2. Bars\x1b[0m" in text
    assert "\x1b[32m" in text


def test_a_folder_that_cannot_be_made_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert demo.main([str(tmp_path / "file" / "out")]) == 1
    assert f"cannot write to {tmp_path / 'file' / 'out'}" in capsys.readouterr().out


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    done = subprocess.run(
        f'"{sys.executable}" -m klineagg.demo out | head -n 3',
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.stderr == ""
    assert "1. Real trades" in done.stdout


def test_help_tells_where_the_files_go(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        demo.main(["--help"])
    assert stop.value.code == 0
    assert demo.FOLDER in capsys.readouterr().out


def test_the_default_folder_is_ignored_by_git(project: Path) -> None:
    lines = (project / ".gitignore").read_text().splitlines()
    assert f"/{demo.FOLDER}/" in lines
