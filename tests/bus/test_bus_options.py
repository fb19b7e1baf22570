"""Arguments that cannot be meant are refused, with what is allowed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bus.records import CHECKED
from klineagg.bus import Bus, Monitor, ResumableSubscriber, record_type
from klineagg.bus.bridge import BridgeServer
from klineagg.cli import main
from klineagg.errors import BusNameError, OptionError, RecordTypeError, WalError

NAN = float("nan")
ANY_SERVER: Any = BridgeServer
CALLS: dict[str, tuple[str, Callable[[Any], object]]] = {
    "a RecordType": ("RecordType", lambda bus: bus.register("foo", 3)),
    "a default topic": ("are given", lambda bus: bus.register("bars", CHECKED)),
    "record": ("RecordType", lambda bus: bus.subscriber("ticks", record="foo")),
    "nan": ("above 0", lambda bus: Monitor(bus, timeout=float("nan"))),
    "topics": ("list of names", lambda bus: Monitor(bus, topics="ticks")),
    "publisher": (
        "log's numbers are the sequence",
        lambda bus: bus.publisher("bars", wal=bus.path + "/wal", first_sequence=100),
    ),
    "sync": ("one of 'none'", lambda bus: bus.publisher("bars", sync="bogus")),
    "reliable sync": ("one of 'none'", lambda bus: bus.reliable_publisher("bars", sync="bogus")),
    "acks": ("1 to 1000", lambda bus: bus.reliable_publisher("bars", acks=10_000)),
    "first sequence": ("2\\*\\*62", lambda bus: bus.publisher("bars", first_sequence=2**63)),
    "a large position": ("mapping", lambda bus: bus.subscriber("bars", positions={"a": 2**64})),
    "a timeout of text": (
        "number of seconds",
        lambda bus: bus.subscriber("bars").receive(timeout="x"),
    ),
    "an interval of text": ("number of seconds", lambda bus: bus.delayed("bars", interval="x")),
    "metrics": ("list of names", lambda bus: bus.metrics_text("bars")),
    "label": ("letters, digits", lambda bus: bus.metrics_text(**{"a b": "c"})),
    "publisher name": ("16 bytes", lambda bus: bus.publisher("bars", None)),
    "subscriber name": ("16 bytes", lambda bus: bus.subscriber("bars", 3)),
    "reliable name": ("16 bytes", lambda bus: bus.reliable_publisher("bars", 3)),
    "core": ("number of a core", lambda bus: bus.publisher("bars", core="0")),
    "core of a subscriber": ("number of a core", lambda bus: bus.subscriber("bars", core=1.5)),
    "waits": ("one of 'spin'", lambda bus: bus.subscriber("bars", wait=None)),
    "reliable waits": ("one of 'spin'", lambda bus: bus.reliable_subscriber("bars", wait=1)),
    "half a record": ("count_max", lambda bus: bus.subscriber("bars").receive(1.5)),
    "less than none": ("count", lambda bus: bus.publisher("bars").loan(2).commit(-1)),
    "conflate": ("name of a field", lambda bus: bus.delayed("bars", conflate=3)),
    "topics of a bridge": ("list of names", lambda bus: ANY_SERVER(bus, "bars")),
    "half a sequence": (
        "sequence of a message",
        lambda bus: list(bus.history("bars", bus.path).replay("feed", start=1.5)),
    ),
    "no folder": ("own one", lambda bus: Bus("")),
    "version": ("at least 1", lambda bus: record_type("Own", [("a", "<f8")], version=0)),
    "record name": ("letters, digits", lambda bus: record_type(bus, [("a", "<f8")])),
    "reliable publisher": (
        "log's numbers are the sequence",
        lambda bus: bus.reliable_publisher("bars", wal=bus.path + "/wal", first_sequence=100),
    ),
    "ring_bytes": ("ring_bytes", lambda bus: bus.publisher("bars", ring_bytes=-1)),
    "first_sequence": ("first_sequence", lambda bus: bus.publisher("bars", first_sequence=0)),
    "orphan_after": ("orphan_after", lambda bus: bus.publisher("bars", orphan_after=-1)),
    "publishers_max": ("publishers_max", lambda bus: bus.publisher("bars", publishers_max=0)),
    "retries": ("retries", lambda bus: bus.reliable_publisher("bars", retries=-1)),
    "pending_max": ("pending_max", lambda bus: bus.reliable_publisher("bars", pending_max="a")),
    "never repeated": ("timeout", lambda bus: bus.reliable_publisher("bars", timeout=NAN)),
    "positions": ("positions", lambda bus: bus.subscriber("bars", positions={"feed": -1})),
    "positions as a list": ("positions", lambda bus: bus.subscriber("bars", positions=[1])),
    "count_max": ("count_max", lambda bus: bus.subscriber("bars").receive(-1)),
    "timeout": ("timeout", lambda bus: bus.subscriber("bars").receive(timeout=NAN)),
    "wait": ("timeout", lambda bus: bus.subscriber("bars").wait(NAN)),
    "peek": ("count_max", lambda bus: bus.subscriber("bars").peek(-1)),
    "batch_size": ("batch_size", lambda bus: bus.delayed("bars", batch_size=0)),
    "interval": ("interval", lambda bus: bus.delayed("bars", interval=NAN)),
    "older_than": ("older_than", lambda bus: bus.remove_orphans("bars", older_than=-1)),
    "loan": ("count", lambda bus: bus.publisher("bars").loan(-1)),
    "start_time": (
        "start_time",
        lambda bus: list(bus.history("bars", bus.path).replay("feed", start_time="soon")),
    ),
    "history": ("a History", lambda bus: ResumableSubscriber(bus, "bars", history=bus.path)),
}


@pytest.mark.parametrize("call", CALLS)
def test_refused(bus: Bus, call: str) -> None:
    text, refused = CALLS[call]
    with pytest.raises(OptionError, match=text):
        refused(bus)


def test_one_place_says_where_a_subscriber_goes_on(bus: Bus, tmp_path: Path) -> None:
    history = bus.history("ticks", tmp_path, record=CHECKED)
    for positions in ({"a": 3}, {}):
        options: dict[str, Any] = {"checkpoint": tmp_path / "c.json", "positions": positions}
        with pytest.raises(OptionError, match="exclude each other"):
            ResumableSubscriber(bus, "ticks", history=history, record=CHECKED, **options)
    with pytest.raises(OptionError, match="the name of a file"):
        ResumableSubscriber(bus, "ticks", history=history, record=CHECKED, checkpoint="")


@pytest.mark.parametrize(
    "arguments", [["clean", "--older-than", "-1"], ["top", "--once", "--interval", "0"]]
)
def test_refused_on_the_command_line(
    bus: Bus, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bus", *arguments, "--path", bus.path]) == 2
    assert "seconds" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (["top"], ["seconds between two looks", "until a publisher is Degraded", "this topic"]),
        (["clean"], ["ended so many seconds ago"]),
        (["bridge", "serve"], ["topic to carry", "any free one"]),
        (["bridge", "connect"], ["topic to carry"]),
    ],
)
def test_the_help_says_what_the_options_are(
    action: list[str], said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bus", *action, "--help"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for part in [*said, "folder of the bus (default: the user's own one in shared memory)"]:
        assert part in text


def test_names_that_nobody_can_have_are_refused(bus: Bus, tmp_path: Path) -> None:
    with pytest.raises(BusNameError):
        bus.reliable_publisher("bars", acks=["x" * 40])
    with pytest.raises(BusNameError):
        BridgeServer(bus, ["bars", "a/b"])
    with pytest.raises(WalError, match="is no folder"):
        BridgeServer(bus, ["bars"], wal=tmp_path / "nosuch")
    with pytest.raises(RecordTypeError, match="one dimension"):
        record_type("Own", [("a", "<f8", (2, 2))])
    assert bus.topics() == []


def test_a_bus_stays_where_it_was_made(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    bus = Bus("own")
    monkeypatch.chdir("/")
    assert bus.path == os.path.join(folder, "own")
    bus.publisher("ticks", record=CHECKED).close()
    assert Bus(Path(folder, "own")).topics() == ["ticks"]


def test_looking_makes_nothing(bus: Bus, tmp_path: Path) -> None:
    for topic in ("nosuch", "n" * 47):  # the longest name that a topic can have
        assert bus.inspect(topic) == {"publishers": [], "subscribers": []}
    with pytest.raises(BusNameError):
        bus.inspect("n" * 48)
    assert bus.monitor(topics=["nosuch"]).check() == []
    assert bus.remove_orphans("nosuch") == 0
    assert main(["bus", "top", "--once", "--topic", "typo", "--path", bus.path]) == 0
    assert bus.topics() == []
    for action in (["top", "--once"], ["clean"]):
        assert main(["bus", *action, "--path", str(tmp_path / "nosuch")]) != 0
    assert list(tmp_path.iterdir()) == []
