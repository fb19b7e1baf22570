"""Arguments of a log, and of an engine, that nobody can mean: which, what it was, what goes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from klineagg import Engine, SimulatedClock, Wal, errors
from klineagg.wal import replay

WRONG: list[tuple[str, Callable[[Wal], Any]]] = [
    ("topic=5 is not one of 'account'", lambda wal: wal.append(5, b"x")),  # type: ignore[arg-type]
    ("data='x' is not bytes", lambda wal: wal.append("command", "x")),  # type: ignore[arg-type]
    ("data=5 is not bytes", lambda wal: wal.append("command", 5)),  # type: ignore[arg-type]
    ("durable='no' is not True", lambda wal: wal.flush(durable="no")),  # type: ignore[arg-type]
    ("damages=5 is not a list", lambda wal: replay(wal.path, damages=5)),  # type: ignore[arg-type]
    ("speed='x' is not a number above 0", lambda wal: wal.replay(speed="x")),  # type: ignore[arg-type]
    ("speed=nan is not a number above 0", lambda wal: wal.replay(speed=float("nan"))),
    ("speed=True is not a number above 0", lambda wal: wal.replay(speed=True)),
    ("from_seq='x' is not a sequence", lambda wal: wal.replay("x")),  # type: ignore[arg-type]
    ("to_seq=1.5 is not a sequence", lambda wal: wal.replay(1, 1.5)),  # type: ignore[arg-type]
    ("topics=5 is not a topic", lambda wal: wal.replay(topics=5)),  # type: ignore[arg-type]
    ("topic=5 is not one of 'trade'", lambda wal: wal.replay(topics=[5])),  # type: ignore[list-item]
    ("salvage='no' is not True", lambda wal: wal.replay(salvage="no")),  # type: ignore[arg-type]
    ("fsync=5 is not one of", lambda wal: Wal(wal.path + "2", 5)),  # type: ignore[arg-type]
    (
        "keep_uncommitted='no' is not True",
        lambda wal: Wal(wal.path + "2", keep_uncommitted="no"),  # type: ignore[arg-type]
    ),
    (
        "checkpoint='x' is not bytes",
        lambda wal: Engine("1m", wal=wal, checkpoint="x"),  # type: ignore[arg-type]
    ),
    ("checkpoint='x' is not bytes", lambda wal: Engine("1m").restore("x")),  # type: ignore[arg-type]
    ("data='x' is not bytes", lambda wal: Engine("1m", wal=wal).note("x")),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("told", "call"), WRONG)
def test_what_cannot_be_meant_is_refused(
    tmp_path: Path, told: str, call: Callable[[Wal], Any]
) -> None:
    with Wal(tmp_path / "log") as wal:
        with pytest.raises(errors.OptionError) as caught:
            call(wal)
        assert caught.value.name == "invalid_option"
        assert caught.value.message.startswith(told)
        assert wal.next_sequence <= 3  # what an engine begins with, and nothing else
    assert not (tmp_path / "log2").exists()


def test_a_topic_that_there_is_not_names_those_that_there_are(tmp_path: Path) -> None:
    with Wal(tmp_path / "log") as wal:
        for call in (lambda: wal.append("orders", b"x"), lambda: wal.replay(topics="orders")):
            with pytest.raises(errors.WalError) as caught:
                call()
            assert caught.value.name == "wal_record" and "'orders'" in caught.value.message
            assert "account, l2, bar" in caught.value.hint
        assert wal.append("command", bytearray(b"x")) == wal.append("command", b"y") - 1


@pytest.mark.parametrize("path", ["", "log\0"])
def test_what_is_no_path_makes_no_log(
    tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.OptionError) as caught:
        Wal(path)
    assert caught.value.fields["option"] == "path" and not list(tmp_path.iterdir())


def test_a_path_may_be_bytes(tmp_path: Path) -> None:
    path: Any = bytes(tmp_path / "log")
    with Wal(path) as wal:
        assert wal.append("command", b"x") == 1
    assert (tmp_path / "log").is_dir()


def test_an_engine_that_was_never_started_says_how_to_start_it() -> None:
    engine = Engine("1m", clock=SimulatedClock())
    for call in (engine.flush, engine.drain):
        with pytest.raises(errors.EngineError) as caught:
            call()
        assert caught.value.name == "engine_state"
        assert "was not started" in caught.value.message
        assert "call start()" in caught.value.hint and "stopped" not in caught.value.hint
    with pytest.raises(errors.EngineError) as caught:
        engine.note(b"x")
    assert "Engine(wal=" in caught.value.hint
    engine.start()
    assert engine.flush()
    engine.stop()
    with pytest.raises(errors.EngineError) as caught:
        engine.flush()
    assert "stopped engine stays stopped" in caught.value.hint
