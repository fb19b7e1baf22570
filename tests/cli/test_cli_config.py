"""klineagg config: what it prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.harness import json_of, run


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_check_prints_no_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    file = tmp_path / "run.toml"
    file.write_text('lake.catalog = "postgresql://bob:s3cr@et@db:5432/bars"\n')
    assert run("config", "check", file, *more) == 0
    out = capsys.readouterr().out
    assert "postgresql://bob:***@" in out and "db:5432/bars" in out
    assert "s3cr" not in out


WRONG = [
    ("[wal]\nsegment_mb = 64\nsize_max_mb = 100", "wal.size_max_mb", 3, "128", "invalid_option"),
    ('[wal]\ninterval = "2h"', "wal.interval", 2, "1 ms and 1 h", "invalid_option"),
    ('[lake]\ncatalog = "mysql://me:s3cret@h/b"', "lake.catalog", 2, "postgresql://", None),
    ('[lake]\ndata_path = "s3:/bucket"', "lake.data_path", 2, "s3://bucket/prefix", None),
    (
        '[lake]\ncatalog = "postgresql://me:${KLINEAGG_NO_SUCH}@h/b"',
        "lake.catalog", 2, "export KLINEAGG_NO_SUCH=", "config_invalid",
    ),
    ("[engine]\ncores = [9999]", "engine.cores", 2, "the allowed cores", "core_unavailable"),
    ('[engine]\nlateness = "400d"', "engine.lateness", 2, "366 days", "invalid_option"),
    (
        '[engine]\non_bound = "evict"\n[wal]\nfsync = "off"',
        "engine.on_bound", 2, "without a log", "invalid_option",
    ),
    ('[tasks]\nmodules = ["no_such_tasks"]', "tasks.modules", 2, "no_such_tasks", "task_invalid"),
    ('[source]\npreset = "mybroker"', "source.preset", 2, "binance-trades", "invalid_option"),
    ('[source]\ncolumns = { prize = "px" }', "source.columns", 2, "price", "invalid_option"),
    (
        '[source]\nkind = "bus"\n[bus]\ntrades = "trade_events"',
        "source.topic", 1, "publishes to trade_events itself", "config_invalid",
    ),
    ('[bus]\nbars = "my bars"', "bus.bars", 2, "1 to 47 letters", "bus_name"),
    ('[bus]\nbars = "b"\nname = "a-name-too-long-for-it"', "bus.name", 3, "1 to 16", "bus_name"),
    ('[lake]\ndata_path = "gs://bucket/bars"', "lake.data_path", 2, "s3://bucket/prefix", None),
    ('[bus]\ntrades = "bars"', "bus.trades", 2, "one of bars, not of trades", "invalid_option"),
    ('[bus]\nbars = "trade_events"', "bus.bars", 2, "one of trades, not of", "invalid_option"),
    ('[bus]\ntrades = "x"\nbars = "x"', "bus.trades", 2, "cannot share", "invalid_option"),
    (f'[runtime]\nfolder = "{"x" * 120}"', "runtime.folder", 2, "too long", "config_invalid"),
]  # fmt: skip


@pytest.mark.usefixtures("all_of_run")
@pytest.mark.parametrize(("text", "key", "line", "told", "cause"), WRONG)
def test_check_finds_what_a_run_would_refuse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, key: str, line: int,
    told: str, cause: str | None,
) -> None:  # fmt: skip
    file = tmp_path / "run.toml"
    file.write_text(text + "\n")
    error = json_of(capsys, 2, "config", "check", file)["error"]
    assert (error["code"], error["name"]) == ("KLA-741", "config_invalid")
    assert error["message"].startswith(f"{file}:{line}: {key}: ")
    assert told in error["message"] + error["hint"] and "s3cret" not in error["message"]
    assert cause is None or error["fields"]["cause"] == cause
    # A run says the same, before it has made anything.
    assert run("run", file) == 2
    assert f"{file}:{line}: {key}: " in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["run.toml"]


@pytest.mark.usefixtures("all_of_run")
def test_check_names_every_fault_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run.toml"
    (tmp_path / "broken_tasks.py").write_text("1 / 0\n")
    file.write_text(
        'engine.cores = [9999]\nlake.catalog = "mysql://h/b"\nwal.size_max_mb = 1\n'
        'tasks.modules = ["broken_tasks", "no_such_tasks"]\n'
    )
    found = json_of(capsys, 2, "config", "check", file)
    told = [(each["fields"]["key"], each["fields"]["line"]) for each in found["errors"]]
    modules = ("tasks.modules", 4)
    assert sorted(told) == sorted(
        [("engine.cores", 1), ("lake.catalog", 2), ("wal.size_max_mb", 3), modules, modules]
    )
    assert run("config", "check", file) == 2
    err = capsys.readouterr().err
    assert err.count("KLA-741") == 5 and err.count("hint:") == 5
    assert "ZeroDivisionError" in err and "mend the module" in err


@pytest.mark.usefixtures("all_of_run")
def test_check_tells_of_input_that_is_not_there_yet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run.toml"
    assert run("config", "init", file) == 0
    assert run("config", "check", file) == 0
    assert f"there is no folder {tmp_path / 'trades'}" in capsys.readouterr().err
    (tmp_path / "trades").mkdir()
    assert run("config", "check", file) == 0
    assert "there is no" not in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.toml", "trades"]


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_a_configuration_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], force: tuple[str, ...]
) -> None:
    (tmp_path / "file").write_text("")
    cases = {"none/x": "No such file", "file/x": "Not a directory", ".": "director"}
    for name, reason in cases.items():
        error = json_of(capsys, 4, "config", "init", tmp_path / name, *force)["error"]
        assert (error["code"], error["name"]) == ("KLA-406", "file_not_written")
        assert str(tmp_path / name) in error["message"] and reason in error["message"]
        assert "rights" in error["hint"]
