"""``klineagg bus bridge``: topics of one machine on the bus of another one."""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from klineagg import _core, errors
from klineagg.cli.options import HelpFormatter, add_common
from klineagg.cli.output import OK, Output

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from klineagg.bus.bridge import BridgeClient, Security

__all__ = ["PATH_HELP", "add_actions"]

_EPILOG: Final = """\
examples:
  klineagg bus bridge serve --topic bars --wal log              (where the publishers are)
  klineagg bus bridge connect --topic bars 127.0.0.1:7411       (where the bars are to be)

The two sides share the secret in KLINEAGG_BRIDGE_SECRET (16 bytes or more), which does not travel.
Without it, and without TLS, a bridge only listens to its own machine: take an SSH tunnel.
"""
PATH_HELP: Final = "folder of the bus (default: the user's own one in shared memory)"
_PORT: Final = 7411
_LOOK_S: Final = 5.0
_GLANCE_S: Final = 0.1


def add_actions(actions: Any) -> None:
    """Adds ``bridge`` to the actions of ``klineagg bus``."""
    bridge = actions.add_parser(
        "bridge",
        help="topics of one machine on the bus of another one, over TCP",
        description="Carries topics to another machine: serve here, connect there.",
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
    )
    sides = bridge.add_subparsers(dest="side", metavar="SIDE", required=True)
    serve = sides.add_parser("serve", help="send topics to who connects")
    serve.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)"
    )
    serve.add_argument(
        "--port", type=int, default=_PORT, help=f"to listen on; 0: any free one (default: {_PORT})"
    )
    serve.add_argument("--wal", metavar="FOLDER", help="the publishers' logs, for what is missed")
    serve.set_defaults(run=_run_serve)
    connect = sides.add_parser("connect", help="publish topics of the other side here")
    connect.add_argument("address", metavar="HOST:PORT", help="where the other side listens")
    connect.add_argument(
        "--latest", action="store_true", help="begin new publishers with what they send from now on"
    )
    connect.set_defaults(run=_run_connect)
    for side in (serve, connect):
        side.add_argument(
            "--topic",
            action="append",
            required=True,
            metavar="NAME",
            help="topic to carry; repeatable",
        )
        side.add_argument("--path", metavar="FOLDER", help=PATH_HELP)
        side.add_argument("--core", type=int, metavar="N", help="stay on this core")
        side.add_argument("--cert", type=Path, metavar="FILE", help="TLS: own certificate (PEM)")
        side.add_argument("--key", type=Path, metavar="FILE", help="TLS: its key")
        side.add_argument("--ca", type=Path, metavar="FILE", help="TLS: whom to trust")
        add_common(side)


def _security(arguments: argparse.Namespace) -> Security:
    from klineagg.bus.bridge import Security

    return Security.from_environment(
        certificate=arguments.cert, key=arguments.key, authority=arguments.ca
    )


def _run_serve(arguments: argparse.Namespace, output: Output) -> int:
    from klineagg.bus import Bus
    from klineagg.bus.bridge import BridgeServer

    server = BridgeServer(
        Bus(arguments.path),
        arguments.topic,
        wal=arguments.wal,
        host=arguments.host,
        port=arguments.port,
        security=_security(arguments),
    )

    async def main() -> None:
        try:
            await server.start()
        except OSError as error:
            text = f"cannot listen on {arguments.host}:{arguments.port}: {error.strerror}"
            raise errors.make("bus_unavailable", text) from error
        output.note(f"serves on {arguments.host}:{server.port}")
        try:
            await _report(output, lambda: server.stats)
        finally:
            await server.close()

    return _run(main, output, lambda: server.stats, arguments.core)


def _run_connect(arguments: argparse.Namespace, output: Output) -> int:
    from klineagg.bus import Bus
    from klineagg.bus.bridge import BridgeClient

    host, colon, port = arguments.address.rpartition(":")
    if not colon or not port.isdigit():
        text = f"{arguments.address!r} is not HOST:PORT"
        raise errors.make("invalid_option", text, option="address", value=arguments.address)
    client = BridgeClient(
        Bus(arguments.path),
        arguments.topic,
        host.strip("[]"),
        int(port),
        security=_security(arguments),
        latest=arguments.latest,
    )

    async def main() -> None:
        output.note(f"connects to {arguments.address}")
        reports = [
            asyncio.ensure_future(_report(output, lambda: client.stats)),
            asyncio.ensure_future(_tell_connection(output, client)),
        ]
        try:
            await client.run()
        finally:
            for each in reports:
                each.cancel()

    return _run(main, output, lambda: client.stats, arguments.core)


async def _tell_connection(output: Output, client: BridgeClient) -> None:
    """Whether it is connected, and why not: whenever that has changed."""
    told = ""
    while True:
        await asyncio.sleep(_GLANCE_S)
        now = told
        if client.connected:
            now = "connected"
        elif client.trouble:
            now = f"not connected, tries again: {client.trouble}"
        if now != told:
            output.note(now)
            told = now


async def _report(output: Output, stats: Callable[[], Mapping[str, float]]) -> None:
    before: Mapping[str, float] = {}
    while True:
        await asyncio.sleep(_LOOK_S)
        if (now := stats()) != before:
            output.note(", ".join(f"{name} {value:,.9g}" for name, value in now.items()))
            before = now


def _run(
    main: Callable[[], Awaitable[None]],
    output: Output,
    stats: Callable[[], Mapping[str, float]],
    core: int | None,
) -> int:
    """Until SIGTERM or Ctrl-C, which both end it orderly."""

    async def until_told() -> None:
        task = asyncio.ensure_future(main())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            if not task.cancelled():
                raise

    if core is not None:
        _core.pin_thread(core)
    asyncio.run(until_told())
    values = dict(stats())
    output.result(values, ", ".join(f"{name} {value:,.9g}" for name, value in values.items()))
    return OK
