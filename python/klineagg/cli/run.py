"""``klineagg run``, ``worker`` and ``status``: a live engine that stores its bars."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

from klineagg.cli.options import HelpFormatter, add_common
from klineagg.cli.output import OK, Output

__all__ = ["add_parser"]

_EPILOG: Final = """\
examples:
  klineagg config init klineagg.toml
  klineagg run klineagg.toml          (Ctrl-C or SIGTERM: stores the rest, then ends)
  klineagg status klineagg.toml
  klineagg worker klineagg.toml       (with [persist] by = "worker")
"""
_LOOK_S: Final = 0.2


class Service(Protocol):
    """What runs until it is told to end."""

    def start(self) -> None:
        """Begins."""

    def step(self) -> bool:
        """A look at everything; False when it is time to end."""

    def stop(self) -> None:
        """Ends."""

    def line(self) -> str:
        """How it is doing."""


def add_parser(commands: Any) -> None:
    """Adds the commands to the command line."""
    for name, run, text in (
        ("run", run_run, "run an engine: trades in, bars into the lake"),
        ("worker", run_worker, "store the bars of an engine in another process"),
        ("status", run_status, "ask a running engine how it is doing"),
    ):
        parser = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=_EPILOG,
            formatter_class=HelpFormatter,
        )
        parser.add_argument("config", metavar="CONFIG", help="the configuration, a TOML file")
        if name == "run":
            parser.add_argument(
                "--salvage",
                action="store_true",
                help="go on past damage in the log and its checkpoints; bars that it concerns are "
                "INCOMPLETE",
            )
        if name == "status":
            parser.add_argument(
                "--metrics", action="store_true", help="print the metrics, as text for Prometheus"
            )
        add_common(parser)
        parser.set_defaults(run=run)


def run_run(arguments: argparse.Namespace, output: Output) -> int:
    """Runs an engine until it is told to end, or its source ends; returns the exit code."""
    from klineagg.config import load
    from klineagg.runtime.app import App
    from klineagg.runtime.checking import refuse_problems
    from klineagg.runtime.logs import start_logging

    config = load(arguments.config)
    refuse_problems(config)
    with _ending() as ask:
        start_logging(config)
        app = App(config, salvage=arguments.salvage)
        _serve(app, output, ask)
    counts = {"rows_read": app.host.rows, **app.persister.describe()}
    output.result(counts)
    return OK


def run_worker(arguments: argparse.Namespace, output: Output) -> int:
    """Stores bars until it is told to end; returns the exit code."""
    from klineagg.config import load
    from klineagg.runtime.logs import start_logging
    from klineagg.runtime.worker import Worker

    config = load(arguments.config)
    with _ending() as ask:
        start_logging(config)
        worker = Worker(config)
        _serve(worker, output, ask)
    output.result(worker.describe())
    return OK


def run_status(arguments: argparse.Namespace, output: Output) -> int:
    """Prints the status of a running engine; returns the exit code."""
    from klineagg.config import load
    from klineagg.runtime import Client

    config = load(arguments.config)
    with Client(config.socket) as client:
        if arguments.metrics:
            found, _ = client.request("metrics")
            output.result(found, found["text"].rstrip("\n"))
            return OK
        status, _ = client.request("status")
    width = max(len(key) for key in status)
    lines = [f"{key:<{width}}  {_shown(value, key)}" for key, value in status.items()]
    output.result(status, "\n".join(lines))
    return OK


def _shown(value: Any, key: str = "") -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(each, key)}" for key, each in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(_shown(each) for each in value) or "none"
    if value is None or value == "":
        return "none"
    if key == "process":  # to be pasted behind `kill`
        return str(value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


@contextmanager
def _ending() -> Iterator[threading.Event]:
    """Set by SIGTERM and SIGINT; a second signal ends at once.

    From before the first line is told: who has seen one may tell the process to end, and a lake
    that is being made, or a log that is being read, is brought to its end first.
    """
    ask = threading.Event()

    def asked(number: int, frame: object) -> None:
        if ask.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        ask.set()

    before = {number: signal.signal(number, asked) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield ask
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _serve(service: Service, output: Output, ask: threading.Event) -> None:
    live = sys.stderr.isatty() and not output.quiet
    try:
        service.start()
        while service.step() and not ask.wait(_LOOK_S):
            if live:
                print(f"\r\x1b[K{service.line()}", end="", file=sys.stderr, flush=True)
        if live:
            print(f"\r\x1b[K{service.line()}", file=sys.stderr)
    finally:
        service.stop()
