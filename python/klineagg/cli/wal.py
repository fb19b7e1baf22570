"""``klineagg wal``: what is in a write-ahead log, whether it is whole, and its records."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from klineagg._wal_content import TOPICS
from klineagg.cli.options import HelpFormatter, add_common
from klineagg.cli.output import BAD_INPUT, OK, Output
from klineagg.cli.wal_lines import json_lines, moment, text_lines

if TYPE_CHECKING:
    from klineagg.wal import WalContent, WalDamage

__all__ = ["add_parser"]

_EPILOG: Final = """\
examples:
  klineagg wal inspect log                 (segments, records, times)
  klineagg wal verify log && echo whole    (reads every byte; exit code 3: damaged)
  klineagg wal replay log --topic command --json
  klineagg wal replay log --from 1000 --to 2000
  klineagg wal replay log -i 1m -o bars.parquet    (bars of its trades)

A log may be looked at while it is written. Bytes behind its last record that are none (a writer
was killed, or is at work) are no damage: they were never accepted, and opening cuts them off.
"""


def add_parser(commands: Any) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "wal",
        help="write-ahead logs: what is in them, whether they are whole, their records",
        description="Looks at a write-ahead log and changes nothing.",
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    inspect = actions.add_parser(
        "inspect", help="segments, records by topic, times, checkpoints beside it"
    )
    inspect.set_defaults(run=run_inspect)
    verify = actions.add_parser("verify", help="reads all of it; exit code 3 when it is damaged")
    verify.add_argument(
        "--salvage",
        action="store_true",
        help="exit code 0 as long as something can be read, whatever is lost",
    )
    verify.set_defaults(run=run_verify)
    replay = actions.add_parser(
        "replay", help="its records, or bars of its trades", formatter_class=HelpFormatter
    )
    _add_replay(replay)
    replay.set_defaults(run=run_replay)
    for action in (inspect, verify, replay):
        action.add_argument("path", metavar="FOLDER", help="of the log")
        add_common(action)


def _add_replay(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--from", type=int, dest="first", metavar="N", help="first record")
    parser.add_argument("--to", type=int, dest="last", metavar="N", help="last record, included")
    parser.add_argument(
        "--topic",
        action="append",
        metavar="NAME",
        help=f"only this; repeatable; there are {', '.join(TOPICS)}",
    )
    parser.add_argument("--start", metavar="TIME", help="earliest time of appending, UTC")
    parser.add_argument("--end", metavar="TIME", help="where it ends, not included")
    parser.add_argument(
        "--speed", type=float, metavar="X", help="times as fast as it was appended (default: all)"
    )
    parser.add_argument(
        "--salvage", action="store_true", help="go on behind damage, and tell what is lost"
    )
    parser.add_argument(
        "-i", "--intervals", metavar="LIST", help="bars of the trades instead of the records"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="where the bars go (with -i)")


def _check_is_log(path: str) -> None:
    """A mistyped folder would pass for a log without records, and so for a whole one."""
    from klineagg import errors

    folder = Path(path)
    if folder.is_dir() and next(folder.glob("*.kwal"), None) is None:
        hint = "name the folder of a log; its files end in .kwal"
        raise errors.make("wal_io", f"{folder} holds no log", hint=hint, path=str(folder))


def _check_topics(names: Iterable[str]) -> None:
    from klineagg import errors

    for name in names:
        if name not in TOPICS:
            hint = f"the topics are {', '.join(TOPICS)}"
            text = f"a log has no topic {name!r}"
            raise errors.make("invalid_option", text, hint=hint, option="topic", value=name)


def run_inspect(arguments: argparse.Namespace, output: Output) -> int:
    """Shows what is in a log; returns the exit code."""
    from klineagg.wal import inspect

    _check_is_log(arguments.path)
    content = inspect(arguments.path)
    output.result(_values(content), _text(content))
    return OK


def run_verify(arguments: argparse.Namespace, output: Output) -> int:
    """Reads all of a log; returns the exit code."""
    from klineagg.wal import inspect

    _check_is_log(arguments.path)
    content = inspect(arguments.path)
    unreadable = [each for each in content.checkpoints if each.position is None]
    whole = not content.damages and not unreadable  # an engine starts with neither of them
    readable = bool(content.records) and arguments.salvage
    code = OK if whole or readable else BAD_INPUT
    total = sum(content.records.values())
    lines = [str(damage) for damage in content.damages]
    lines += [f"the checkpoint of {each.consumer!r} cannot be read" for each in unreadable]
    if not content.damages:
        what = "no damage in them" if unreadable else "no damage"
        lines.append(f"{content.path}: {total:,} records, {what}")
    else:
        lines.append(f"{content.path}: {content.lost_records:,} records lost, {total:,} readable")
    if content.torn_bytes:
        lines.append(f"{content.torn_bytes:,} bytes behind the last record were never whole")
    output.result({**_values(content), "whole": whole, "exit_code": code}, "\n".join(lines))
    return code


def run_replay(arguments: argparse.Namespace, output: Output) -> int:
    """Prints records, or makes bars; returns the exit code."""
    from klineagg import errors

    if arguments.intervals is None and arguments.output is not None:
        text = "-o is for bars; name their intervals with -i"
        raise errors.make("invalid_option", text, option="output")
    if arguments.intervals is not None and (arguments.topic or arguments.speed):
        text = "-i reads the trades as fast as it can; --topic and --speed are for records"
        raise errors.make("invalid_option", text, option="intervals")
    _check_topics(arguments.topic or ())
    first, last = arguments.first, arguments.last
    if first is not None and last is not None and first > last:
        text = f"there is no record from {first} to {last}"
        raise errors.make("invalid_option", text, hint="--from comes first", option="to")
    _check_is_log(arguments.path)
    lost: list[WalDamage] = []
    code = (_bars if arguments.intervals is not None else _records)(arguments, output, lost)
    for damage in lost:
        output.say(str(damage))
    return code


def _records(arguments: argparse.Namespace, output: Output, lost: list[WalDamage]) -> int:
    from klineagg.wal import replay

    # Records are one JSON object a line: a log does not fit into memory.
    lines_of = json_lines if output.json else text_lines
    for record in replay(
        arguments.path, arguments.first, arguments.last, arguments.topic, arguments.start,
        arguments.end, arguments.speed, salvage=arguments.salvage, damages=lost,
    ):  # fmt: skip
        for line in lines_of(record):
            sys.stdout.write(line + "\n")
        if arguments.speed is not None:
            sys.stdout.flush()
    return OK


def _bars(arguments: argparse.Namespace, output: Output, lost: list[WalDamage]) -> int:
    import klineagg
    from klineagg import terminal
    from klineagg.io.barfiles import format_for, write_bars
    from klineagg.wal import trades

    if arguments.output is not None:
        format_for(arguments.output, None)  # a wrong name is told before the work, not after
    bars = klineagg.aggregate(
        trades(
            arguments.path, arguments.first, arguments.last, arguments.start, arguments.end,
            salvage=arguments.salvage, damages=lost,
        ),
        arguments.intervals,
        on_bad="count",
    )  # fmt: skip
    report = bars.report
    assert report is not None
    if arguments.output is not None:
        write_bars(bars, arguments.output)
    rejected = sum(report.rejected.values())
    output.note(f"{report.offered:,} trades ({rejected:,} rejected) -> {len(bars):,} bars")
    if output.json and arguments.output == "-":
        return OK
    values = {
        "path": arguments.path,
        "output": arguments.output,
        "rows": len(bars),
        "report": report.to_dict(),
        "damages": [_damage(one) for one in lost],
    }
    shown = arguments.output is None and not output.json
    output.result(values, terminal.table(bars) if shown else "")
    return OK


def _damage(one: WalDamage) -> dict[str, Any]:
    return {
        "path": one.path, "offset": one.offset, "bytes": one.bytes,
        "first": one.first, "last": one.last, "records": one.records,
    }  # fmt: skip


def _values(content: WalContent) -> dict[str, Any]:
    return {
        "path": content.path,
        "log": content.segments[-1].log if content.segments else None,
        "fsync": content.segments[-1].fsync if content.segments else None,
        "first": content.first,
        "last": content.last,
        "start": moment(content.start),
        "end": moment(content.end),
        "records": content.records,
        "events": content.events,
        "payload_bytes": content.bytes,
        "segments": [
            {"path": one.path, "first": one.first, "bytes": one.bytes, "created": str(one.created)}
            for one in content.segments
        ],
        "checkpoints": [
            {"consumer": one.consumer, "position": one.position, "bytes": one.bytes}
            for one in content.checkpoints
        ],
        "sealed": content.is_sealed,
        "torn_bytes": content.torn_bytes,
        "lost_records": content.lost_records,
        "damages": [_damage(one) for one in content.damages],
    }


def _text(content: WalContent) -> str:
    values = _values(content)
    lines = [f"log {content.path} ({values['log']})"]
    when = f"{values['start']} ... {values['end']}" if values["start"] else "without times"
    lines.append(f"records {content.first} ... {content.last}, {when}")
    lines += [f"  {topic:<12} {count:>15,}" for topic, count in content.records.items()]
    if content.events:
        counts = (f"{kind} {count:,}" for kind, count in content.events.items())
        lines.append(f"of engines beside trades: {', '.join(counts)}")
    for one in content.checkpoints:
        where = "cannot be read" if one.position is None else f"up to record {one.position}"
        lines.append(f"checkpoint of {one.consumer!r} {where} ({one.bytes:,} bytes)")
    size = sum(one.bytes for one in content.segments)
    closed = "closed" if content.is_sealed else "not closed"
    lines.append(f"{len(content.segments)} segments, {size:,} bytes, {closed}")
    lines += [f"  {one.path}  {one.created}  fsync={one.fsync}" for one in content.segments]
    if content.torn_bytes:
        lines.append(f"{content.torn_bytes:,} bytes behind the last record were never whole")
    lines += [f"DAMAGED {damage}" for damage in content.damages]
    return "\n".join(lines)
