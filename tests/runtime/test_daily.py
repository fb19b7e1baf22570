"""The daily update: what the lake lacks is added, what differs is told, nothing is done twice."""

from __future__ import annotations

import csv
import http.server
import io
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klineagg
from klineagg import Bars, Lake, tasks
from klineagg.config import load
from klineagg.errors import LakeError, TaskError
from klineagg.runtime.daily import Upkeep, daily_update
from klineagg.runtime.setup import open_lake
from klineagg.tasks import registry
from runtime.runs import write_config, write_trades

for needed in ("duckdb", "huey", "pyarrow"):
    pytest.importorskip(needed)

DAY = datetime(2018, 1, 1)


class Delivered:
    """Closed bars, as a snapshot brings them."""

    watermark = None

    def __init__(self, closed: Bars) -> None:
        self.id, self.closed = (1, 1), closed
        self.open = Bars.empty(closed.intervals)


def counts(lake: Lake) -> dict[int, int]:
    bars = lake.bars("XBTUSD", "1m")
    traded = bars.trade_count > 0
    opens = bars.open_time[traded].astype(np.int64).tolist()
    return dict(zip(opens, bars.trade_count[traded].tolist(), strict=True))


def test_it_completes_a_day_and_tells_what_differs(tmp_path: Path) -> None:
    (path,) = write_trades(tmp_path / "trades", 30_000, files=1)
    path.rename(tmp_path / "trades/2018-01-01.csv")
    config = load(write_config(
        tmp_path, engine__intervals='["1m"]', tasks__daily_files='["trades/{date}.csv", "no.csv"]'
    ))  # fmt: skip
    trades = list(klineagg.io.read_trades(tmp_path / "trades/2018-01-01.csv"))
    whole = klineagg.aggregate(iter(trades), "1m", include_open=False, progress=False)
    keep = np.ones(len(whole), np.bool_)
    keep[10:15] = False  # as if they had never been stored
    part = whole[keep]
    wrong = {name: part.column(name).copy() for name in part.columns}
    wrong["volume"][3] += 1
    with open_lake(config) as lake:
        lake.commit(Delivered(part._with(wrong)))
        first = daily_update(config, lake, DAY)
        assert (first.date, first.different) == ("2018-01-01", 1)
        assert first.checked >= len(whole)
        assert first.added == first.checked - len(part)
        again = daily_update(config, lake, DAY)
        assert (again.checked, again.added, again.different) == (first.checked, 0, 1)
        found = counts(lake)
    for opens, count in zip(whole.open_time.astype(np.int64).tolist(), whole.trade_count.tolist(),
                            strict=True):  # fmt: skip
        assert found[opens] == count


class Archive:
    """A connector: the days of an archive, as files behind a small server of HTTP."""

    def __init__(self, address: str) -> None:
        self.address = address

    def trades(self, day: datetime) -> Any | None:
        try:
            with urllib.request.urlopen(f"{self.address}/{day:%Y-%m-%d}.csv") as answer:
                text = io.StringIO(answer.read().decode())
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise
        rows = list(csv.DictReader(text))
        return {name: np.array([row[name] for row in rows]).astype(kind) for name, kind in KINDS}


KINDS = [("symbol", "U"), ("time", "i8"), ("price", "f8"), ("quantity", "f8"), ("side", "U")]


@contextmanager
def served(folder: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    handler = partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_connector_of_a_module_of_tasks_completes_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_backfills", {})
    (path,) = write_trades(tmp_path / "archive", 30_000, files=1)
    path.rename(tmp_path / "archive/2018-01-01.csv")
    config = load(write_config(tmp_path, engine__intervals='["1m"]'))
    with served(tmp_path / "archive") as address, open_lake(config) as lake:
        tasks.backfill(Archive(address))
        with pytest.raises(TaskError, match="two backfills"):
            tasks.backfill(Archive(address))
        with pytest.raises(TaskError, match="no object with a method"):
            tasks.backfill(Archive)  # type: ignore[type-var]
        assert daily_update(config, lake, datetime(2018, 1, 2)).checked == 0  # it has none
        done = daily_update(config, lake, DAY)
        assert done.added == done.checked > 0 and (done.different, done.failed) == (0, 0)
        again = daily_update(config, lake, DAY)
        assert (again.checked, again.added, again.different) == (done.checked, 0, 0)
        found = counts(lake)
    trades = klineagg.io.read_trades(tmp_path / "archive/2018-01-01.csv")
    whole = klineagg.aggregate(trades, "1m", include_open=False, progress=False)
    opens = whole.open_time.astype(np.int64).tolist()
    assert all(found[at] == n for at, n in zip(opens, whole.trade_count.tolist(), strict=True))


def test_one_that_fails_is_told_and_the_others_are_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(registry, "_backfills", {})
    first, second = write_trades(tmp_path / "2018-01-01", 30_000, files=2)
    (tmp_path / "bad-2018-01-01.csv").write_text("no,trades\n1,2\n")
    config = load(write_config(
        tmp_path, engine__intervals='["1m"]',
        tasks__daily_files='["bad-{date}.csv", "{date}/*.csv"]',
    ))  # fmt: skip
    tasks.backfill(Archive("http://127.0.0.1:1"))
    with open_lake(config) as lake:
        done = daily_update(config, lake, DAY)
        found = counts(lake)
    assert done.failed == 2 and done.added == done.checked > 0
    assert "bad-2018-01-01.csv gives no trades" in caplog.text and "Archive gives no" in caplog.text
    # A day in several files is one day: the bar that both have a part of is whole.
    trades = klineagg.io.read_trades(first, second)
    whole = klineagg.aggregate(trades, "1m", include_open=False, progress=False)
    opens = whole.open_time.astype(np.int64).tolist()
    assert all(found[at] == n for at, n in zip(opens, whole.trade_count.tolist(), strict=True))


def test_maintenance_fills_an_interval_that_is_new_to_the_configuration(tmp_path: Path) -> None:
    (path,) = write_trades(tmp_path / "trades", 30_000, files=1)
    path.rename(tmp_path / "trades/2018-01-01.csv")
    options = {"tasks__daily_files": '["trades/{date}.csv"]'}
    config = load(write_config(tmp_path, engine__intervals='["1m"]', **options))
    with open_lake(config) as lake:
        daily_update(config, lake, DAY)
        upkeep = Upkeep()
        upkeep(config, lake)
        assert lake.intervals() == ("1m",)
        config = load(write_config(tmp_path, engine__intervals='["1m", "5m"]', **options))
        upkeep(config, lake)
        found = lake.bars("XBTUSD", "5m")
    trades = klineagg.io.read_trades(tmp_path / "trades/2018-01-01.csv")
    whole = klineagg.aggregate(trades, "5m", include_open=False, progress=False)
    opens = whole.open_time.astype(np.int64).tolist()
    known = dict(zip(found.open_time.astype(np.int64).tolist(), found.trade_count.tolist(),
                      strict=True))  # fmt: skip
    assert all(known[at] == n for at, n in zip(opens[1:], whole.trade_count.tolist()[1:],
                                                strict=True))  # fmt: skip


def test_retention_of_the_configuration_drops_old_bars_and_none_come_back(tmp_path: Path) -> None:
    (path,) = write_trades(tmp_path / "trades", 30_000, files=1)
    path.rename(tmp_path / "trades/2018-01-01.csv")
    options = {
        "engine__intervals": '["1s", "1m", "5m"]',
        "tasks__daily_files": '["trades/{date}.csv"]',
    }
    config = load(write_config(tmp_path, **options))
    with open_lake(config) as lake:
        assert daily_update(config, lake, DAY).added
        counts = {name: len(lake.bars("XBTUSD", name)) for name in lake.intervals()}
        assert set(counts) == {"1s", "1m", "5m"}
        kept = '{ "1s" = "7d", "5m" = "30d" }'
        config = load(write_config(tmp_path, **options, tasks__retention=kept))
        upkeep = Upkeep()
        upkeep(config, lake)
        told = upkeep.describe()
        assert (told["rounds"], told["failures"]) == (1, 0)
        assert told["bars_expired"] == told["last"]["bars_expired"] > 0
        left = {name: len(lake.bars("XBTUSD", name)) for name in lake.intervals()}
        assert left == {"1s": 0, "1m": counts["1m"], "5m": 0}
        # Neither the files of the day nor the finer bars that are there bring back what is old.
        again = daily_update(config, lake, DAY)
        assert (again.added, again.different) == (0, 0) and again.checked > 0
        Upkeep()(config, lake)
        assert lake.fill(["1m", "5m"], retention={"5m": "30d"}) == 0
        assert lake.fill(["1m", "5m"]) > 0


def test_a_daily_update_without_anything_to_verify_with_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(registry, "_backfills", {})
    config = load(write_config(tmp_path, engine__intervals='["1m"]'))
    upkeep = Upkeep()
    with open_lake(config) as lake:
        found = daily_update(config, lake, DAY)
    with pytest.raises(LakeError):
        upkeep(config, lake)  # it is closed
    assert (upkeep.describe()["failures"], upkeep.describe()["last"]) == (1, None)
    assert (found.sources, found.checked) == (0, 0)
    assert "the bars of 2018-01-01 are not verified" in caplog.text
    assert "daily_files" in caplog.text
