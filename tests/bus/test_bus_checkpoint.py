"""The file of a resumable subscriber's positions, as C++ and Python both read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from klineagg.bus import Checkpoint
from klineagg.errors import FileError

NO_CHECKPOINTS = [
    "",
    "{",
    "[]",
    "7",
    "null",
    '{"a": 1',
    '{"a": 1} x',
    '{"a" 1}',
    '{"a": 1,}',
    '{"a": null}',
    '{"a": [1]}',
    '{"a": true}',
    '{"a": "1"}',
    '{"a": 1.5}',
    '{"a": -1}',
    '{"a": 18446744073709551616}',
    '{"a": ' + "[" * 100_000,
    "[" * 100_000,
    '{"\u00e9": 1}',
]


@pytest.mark.parametrize("text", NO_CHECKPOINTS, ids=lambda text: text[:30] or "empty")
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, text: str) -> None:
    place = tmp_path / "at.json"
    place.write_text(text, encoding="utf-8")
    with pytest.raises(FileError) as caught:
        Checkpoint(place).load()
    assert caught.value.name == "file_format"
    assert caught.value.fields["path"] == str(place)
    Path(f"{place}.seen").write_text(text, encoding="utf-8")
    assert Checkpoint(place).load_seen() == {}  # it is only for the marks


def test_positions_come_back_with_any_blanks_between(tmp_path: Path) -> None:
    place = tmp_path / "at.json"
    assert Checkpoint(place).load() == {}
    most = {"feed-1": (1 << 64) - 1, "other_2": 0}
    Checkpoint(place).save(most)
    assert Checkpoint(place).load() == most
    place.write_text(' {\t"a"\r\n: 1 , "b":2}\n ')
    assert Checkpoint(place).load() == {"a": 1, "b": 2}
