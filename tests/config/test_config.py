"""Configuration files: defaults, refusals with their line, secrets, changes while running."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from cli.harness import json_of, run
from klineagg import errors
from klineagg.config import Config, Watcher, default_text, load, loads, text_of
from klineagg.config.secrets import expand, scrub
from klineagg.config.sections import SECTIONS


def test_the_written_defaults_are_the_defaults() -> None:
    assert loads(default_text()) == Config() == loads("")


def test_every_key_is_written_with_a_comment() -> None:
    text = default_text()
    for section, kind in SECTIONS.items():
        assert f"[{section}]" in text
        for each in fields(kind):
            line = next(n for n in text.splitlines() if n.startswith(f"{each.name} ="))
            assert len(line) <= 120
            assert each.metadata["doc"] in text


def test_what_is_set_comes_back_from_its_own_text() -> None:
    config = loads(
        """
        [engine]
        intervals = ["1s", "1d@America/New_York"]
        amend_horizon = "none"
        [source]
        kind = "stdin"
        format = "jsonl"
        columns = { time = "ts", "price" = "a \\"quoted\\" name" }
        [persist]
        persistence_interval_ms = 50
        [tasks]
        retention = { "1s" = "7d" }
        """
    )
    assert config.engine.amend_horizon is None
    assert config.source.columns["price"] == 'a "quoted" name'
    assert loads(text_of(config)) == config
    assert set(Config().changes(config)) == {
        "engine.intervals", "engine.amend_horizon", "source.kind", "source.format",
        "source.columns", "persist.persistence_interval_ms", "tasks.retention",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[engine]\nworkers = 0", 2, "an integer in 1 ... 64, not 0"),
        ("[engine]\n\nworkers = true", 3, "an integer"),
        ('[engine]\nworkers = "2"', 2, "not '2'"),
        ('# a\n[engine]\nintervals = ["1m", "7x"]', 3, "7x"),
        ('[engine]\nintervals = ["1m", "60s"]', 2, "60s"),
        ("[engine]\nintervals = []", 2, "interval"),
        ('[engine]\npolicy = "lose"', 2, '"drop_newest"'),
        ('[engine]\nlateness = "5 parsecs"', 2, "a length of time"),
        ('[engine]\nlease = "0s"', 2, 'longer than "0s"'),
        ('[wal]\nage_max = "0s"', 2, 'longer than "0s"'),
        ('[lake]\ncatalog = ""', 2, "not an empty one"),
        ('[source]\npattern = " "', 2, "not an empty one"),
        ("[engine]\nworker = 1", 2, "no such key; did you mean workers?"),
        ("[engin]\nworkers = 1", 1, "did you mean engine?"),
        ("engine = 1", 1, "a section"),
        ("[persist]\npersistence_interval_ms = 9", 2, "10 ..."),
        ("[persist]\npersistence_interval_ms = 1.5", 2, "an integer"),
        ("[engine]\nworkers = 2\ncores = [1]", 3, "2 cores"),
        ("[source]\nkind = \"file\"\npaths = []", 3, "needs a path"),
        ('[source]\npaths = ["a", "b"]', 2, "one folder"),
        ('[source]\ncolumns = { time = 1 }', 2, "a table of texts"),
        ('[runtime]\nname = "../x"', 2, "letters"),
        ("persist.persistence_interval_ms = -1", 1, "10 ..."),
        ("[engine]\nworkers = 1\nworkers = 2", 3, "not TOML"),
        ("[engine]\nworkers = ", 2, "not TOML"),
        ('[logging]\nlevel = "loud"', 2, '"warning"'),
        ('[tasks]\nretention = "1s=7d"', 2, "a table of intervals"),
        ('[tasks]\nretention = { "7x" = "7d" }', 2, "7x"),
        ('[tasks]\nretention = { "1m" = "7d", "60s" = "7d" }', 2, "60s"),
        ('[tasks]\nretention = { "1s" = "0s" }', 2, "of '1s' it has to be longer"),
        ('[tasks]\nretention = { "1s" = 7 }', 2, "a length of time"),
        ('[tasks.retention]\n"1s" = "7 parsecs"', 1, "a length of time"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_with_line_and_reason(
    tmp_path: Path, text: str, line: int, words: str
) -> None:
    path = tmp_path / "kla.toml"
    path.write_text(text)
    with pytest.raises(errors.ConfigError) as caught:
        load(path)
    assert caught.value.name == "config_invalid"
    assert caught.value.fields["line"] == line
    assert f"{path}:{line}:" in str(caught.value)
    assert words in str(caught.value)


def test_a_file_that_is_no_text_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "kla.toml"
    path.write_bytes(b"[engine]\nworkers = 1\nwait = '\xff'\n")
    with pytest.raises(errors.ConfigError, match="UTF-8") as caught:
        load(path)
    assert caught.value.fields["line"] == 3
    with pytest.raises(errors.FileError):
        load(tmp_path / "other.toml")


@pytest.mark.parametrize("text", ["x:${A B}@h", "${A", "${}", "${1A}", "${OK}${"])
def test_a_variable_that_is_misspelt_is_no_part_of_a_password(text: str) -> None:
    with pytest.raises(errors.ConfigError, match="names no variable") as caught:
        expand(text, "lake.catalog", {"OK": "1"})
    assert caught.value.fields["key"] == "lake.catalog"
    # What a variable holds may look like one.
    assert expand("${OK}-$x", "lake.catalog", {"OK": "a${b"}) == "a${b-$x"


def test_secrets_come_from_the_environment_and_are_never_shown() -> None:
    config = loads('[lake]\ncatalog = "postgresql://me:${KLA_TEST_PW}@db/x"')
    assert "hunter2" not in repr(config)
    found = expand(config.lake.catalog, "lake.catalog", {"KLA_TEST_PW": "hunter2"})
    assert found == "postgresql://me:hunter2@db/x"
    assert scrub(f"cannot connect to {found}") == "cannot connect to postgresql://me:***@db/x"
    with pytest.raises(errors.ConfigError, match="no variable KLA_TEST_PW") as caught:
        expand(config.lake.catalog, "lake.catalog", {})
    assert caught.value.fields["key"] == "lake.catalog"


def test_a_watched_file_gives_good_changes_and_refuses_bad_ones(tmp_path: Path) -> None:
    path = tmp_path / "kla.toml"
    path.write_text("[persist]\npersistence_interval_ms = 500\n")
    watcher = Watcher(load(path))
    assert watcher.look() is None

    path.write_text("[persist]\npersistence_interval_ms = 250\n")
    change = watcher.look()
    assert change is not None
    assert change.changes == {"persist.persistence_interval_ms": (500, 250)}
    assert watcher.current.persist.persistence_interval_ms == 500  # until it is in use
    watcher.accept(change)
    assert watcher.look() is None

    path.write_text("# oops\n[persist]\npersistence_interval_ms = -250\n")
    with pytest.raises(errors.ConfigError) as caught:
        watcher.look()
    assert caught.value.fields["line"] == 3
    assert watcher.look() is None  # told once
    assert watcher.current.persist.persistence_interval_ms == 250

    path.write_text("[persist]\npersistence_interval_ms = 250\n[engine]\nworkers = 2\n")
    with pytest.raises(errors.ConfigError, match="cannot change while running") as caught:
        watcher.look()
    assert (caught.value.name, caught.value.fields["line"]) == ("config_restart", 4)

    path.unlink()
    with pytest.raises(errors.FileError):
        watcher.look()
    path.write_text("[persist]\npersistence_interval_ms = 100\n")
    assert watcher.look() is not None


def test_the_command_writes_and_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "kla.toml"
    assert run("config", "init", path) == 0
    assert load(path) == Config()
    assert run("config", "init", path) == 2  # it is there
    assert run("config", "init", path, "--force") == 0
    capsys.readouterr()
    path.write_text("[engine]\nworkers = 3\n")
    found = json_of(capsys, 0, "config", "check", path)
    assert found["changed"] == {"engine.workers": "3"}
    path.write_text("[engine]\nworkers = 99\n")
    failed = json_of(capsys, 2, "config", "check", path)
    assert failed["error"]["fields"]["line"] == 2
    assert run("config", "init") == 0
    assert capsys.readouterr().out.strip() == default_text().strip()


def test_the_document_shows_what_init_writes() -> None:
    document = Path(__file__).resolve().parents[2] / "docs/CONFIG.md"
    block = document.read_text(encoding="utf-8").partition("```toml\n")[2].partition("```\n")[0]
    assert block == default_text()
