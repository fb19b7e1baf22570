"""klineagg config: what it prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.harness import run


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
