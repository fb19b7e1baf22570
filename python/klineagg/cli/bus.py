"""``klineagg bus``: who publishes, who listens, how fast, how far behind, how well."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from klineagg import errors
from klineagg._options import invalid
from klineagg.cli import bus_bridge
from klineagg.cli.options import HelpFormatter, add_common
from klineagg.cli.output import OK, Output

if TYPE_CHECKING:
    from klineagg.bus.core import Bus
    from klineagg.bus.health import Monitor

__all__ = ["add_parser"]

_EPILOG: Final = """\
examples:
  klineagg bus top                      (a live table; Ctrl-C ends it)
  klineagg bus top --once --json        (one look, for programs)
  klineagg bus clean --older-than 60    (removes what dead publishers left)
  klineagg bus bridge --help            (topics to and from another machine)
"""
_TOP: Final = """\
Shows topics, publishers and subscribers: rates, lag, loss, and health. A publisher is Healthy,
Degraded (late with its heartbeat), Failed (very late, or its process has died), Closed (by its
program) or Damaged (something has overwritten its segment).
"""
_COLORS: Final = {
    "Healthy": "32",
    "Degraded": "33",
    "Failed": "31",
    "Closed": "90",
    "Damaged": "31",
}


def add_parser(commands: Any) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "bus",
        help="the shared-memory bus: topics, publishers, subscribers, health",
        description="Looks at the bus of this user, or at another one.",
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    top = actions.add_parser(
        "top",
        help="a live table",
        description=_TOP,
        formatter_class=HelpFormatter,
    )
    top.add_argument("--once", action="store_true", help="look twice, print once, end")
    top.add_argument(
        "--interval",
        type=float,
        default=1.0,
        metavar="S",
        help="seconds between two looks (default: 1)",
    )
    top.add_argument(
        "--timeout",
        type=float,
        default=0.8,
        metavar="S",
        help="seconds without a heartbeat until a publisher is Degraded; twice as many: Failed "
        "(default: 0.8)",
    )
    top.add_argument(
        "--topic", action="append", metavar="NAME", help="show only this topic; repeatable"
    )
    top.set_defaults(run=run_top)
    clean = actions.add_parser(
        "clean",
        help="removes what dead publishers left",
        description="Removes the segments of publishers that have ended, and topics that nobody "
        "uses; the next publishers of their names go on with their sequences all the same.",
        formatter_class=HelpFormatter,
    )
    clean.add_argument(
        "--older-than",
        type=float,
        default=60.0,
        metavar="S",
        help="only of those that ended so many seconds ago (default: 60)",
    )
    clean.add_argument(
        "--forget",
        type=float,
        metavar="S",
        help="forget where the sequences of publishers go on that were removed so many seconds "
        "ago, in topics that nobody has open: they begin anew (default: never)",
    )
    clean.set_defaults(run=run_clean)
    bus_bridge.add_actions(actions)
    for action in (top, clean):
        action.add_argument("--path", metavar="FOLDER", help=bus_bridge.PATH_HELP)
        add_common(action)


def _existing(path: str | None) -> Bus:
    from klineagg.bus import Bus

    if path is not None and not Path(path).is_dir():  # looking makes no folder of a typing error
        raise errors.make("bus_unavailable", f"there is no folder {path}", path=path)
    return Bus(path)


def run_clean(arguments: argparse.Namespace, output: Output) -> int:
    """Removes what dead publishers left; returns the exit code."""
    for option, seconds in (("--older-than", arguments.older_than), ("--forget", arguments.forget)):
        if seconds is not None and not seconds >= 0:
            raise invalid(option, seconds, "a number of seconds of at least 0")
    bus = _existing(arguments.path)
    removed = {t: bus.remove_orphans(t, older_than=arguments.older_than) for t in bus.topics()}
    others = bus.clean(older_than=arguments.older_than, forget=arguments.forget)
    total = sum(removed.values()) + others
    output.result({"removed": removed, "others": others}, f"{total} files removed")
    return OK


def run_top(arguments: argparse.Namespace, output: Output) -> int:
    """Shows the table; returns the exit code."""
    from klineagg.bus import Monitor

    bus = _existing(arguments.path)
    monitor = Monitor(
        bus, topics=arguments.topic, timeout=arguments.timeout, interval=arguments.interval
    )
    monitor.check()
    live = not arguments.once and not output.json
    while True:
        time.sleep(min(arguments.interval, 0.2) if arguments.once else arguments.interval)
        values = _look(bus, monitor, arguments.topic)
        if not live:
            output.result(values, _table(values, color=False))
            return OK
        color = sys.stdout.isatty()
        # Back to the top, so that the table stands still; what is left of the old one goes.
        start, end = ("\x1b[H", "\x1b[J") if color else ("", "")
        print(f"{start}{_table(values, color=color)}{end}", flush=True)


def _look(bus: Bus, monitor: Monitor, topics: list[str] | None) -> dict[str, Any]:
    publishers = [
        {
            "topic": one.topic,
            "name": one.name,
            "health": one.health.value,
            "generation": one.generation,
            "pid": one.pid,
            "last_sequence": one.last_sequence,
            "heartbeat_age_s": round(one.heartbeat_age, 3),
            "rate_per_s": round(one.rate, 1),
        }
        for one in monitor.check()
    ]
    damaged = {each["topic"] for each in publishers if not each["name"]}
    subscribers = [
        {"topic": topic, **info}
        for topic in topics or bus.topics()
        if topic not in damaged
        for info in bus.inspect(topic)["subscribers"]
    ]
    return {"path": bus.path, "publishers": publishers, "subscribers": subscribers}


def _table(values: dict[str, Any], *, color: bool) -> str:
    lines = [f"bus {values['path']}", ""]
    lines.append(
        f"{'TOPIC':<20} {'PUBLISHER':<16} {'HEALTH':<9} {'GEN':>4} {'PID':>8} "
        f"{'LAST SEQUENCE':>15} {'MSG/S':>12} {'BEAT':>7}"
    )
    for each in values["publishers"]:
        health = f"{each['health']:<9}"
        if color:
            health = f"\x1b[{_COLORS[each['health']]}m{health}\x1b[0m"
        lines.append(
            f"{each['topic']:<20.20} {each['name']:<16} {health} {each['generation']:>4} "
            f"{each['pid']:>8} {each['last_sequence']:>15,} {each['rate_per_s']:>12,.0f} "
            f"{each['heartbeat_age_s']:>6.1f}s"
        )
    lines += ["", f"{'TOPIC':<20} {'SUBSCRIBER':<16} {'PID':>8} {'RECEIVED':>15} {'LAG':>9} "]
    lines[-1] += f"{'LOST':>12} {'REPEATS':>9}"
    for each in values["subscribers"]:
        lines.append(
            f"{each['topic']:<20.20} {each['name']:<16} {each['pid']:>8} {each['received']:>15,} "
            f"{each['behind']:>9,} {each['lost']:>12,} {each['duplicates']:>9,}"
        )
    return "\n".join(lines)
