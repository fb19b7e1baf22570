"""The command ``klineagg``: trades in files into K-lines, and a look at both.

Exit codes: see :data:`klineagg.cli.output.EXIT_CODES`.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

from klineagg import errors
from klineagg.cli import (
    aggregate,
    bus,
    cancel,
    config,
    info,
    lake,
    repair,
    run,
    show,
    standard,
    task,
    verify,
    wal,
)
from klineagg.cli.options import HelpFormatter
from klineagg.cli.output import (
    EXIT_CODES,
    INTERNAL,
    INTERRUPTED,
    PIPE_CLOSED,
    USAGE,
    Output,
)

__all__ = ["main", "make_parser"]

_COMMANDS: Final = (
    aggregate,
    show,
    verify,
    info,
    config,
    run,
    bus,
    wal,
    lake,
    repair,
    cancel,
    task,
)

_EPILOG: Final = """\
examples:
  klineagg aggregate BTCUSDT-trades-2024-01.zip -i 1m,5m,1h -o bars.parquet
  klineagg show bars.parquet --symbol BTCUSDT -i 1h
  klineagg verify bars.parquet BTCUSDT-1m-2024-01.zip
  klineagg info *.csv.gz

`klineagg COMMAND --help` tells more, with examples.

exit codes:
{codes}
"""


class _Parser(argparse.ArgumentParser):
    """Tells wrong usage as JSON, too, where that was asked for."""

    _json = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self._json = "--json" in (sys.argv[1:] if args is None else args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        if self._json:
            _, _, command = self.prog.partition(" ")
            error = errors.make("invalid_option", message, hint=f"see {self.prog} --help")
            Output(command, json=True, quiet=True).fail(error)
            sys.exit(USAGE)
        super().error(message)


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    from klineagg import __version__

    codes = "\n".join(f"  {code:<4}{meaning}" for code, meaning in EXIT_CODES.items())
    parser = _Parser(
        prog="klineagg",
        description="Real trades into K-lines (OHLCV bars), exactly and fast.",
        epilog=_EPILOG.format(codes=codes),
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"klineagg {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in _COMMANDS:
        module.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        argv: arguments without the program's name; None: those of the process.

    Returns:
        The exit code; see :data:`klineagg.cli.output.EXIT_CODES`. Wrong usage and ``--help`` raise
        ``SystemExit``, as argparse does.
    """
    standard.keep_places()
    arguments = make_parser().parse_args(argv)
    standard.refuse_output()  # only now: argparse prints help to standard error instead
    output = Output(arguments.command, json=arguments.json, quiet=arguments.quiet)
    run: Callable[[Any, Output], int] = arguments.run
    try:
        code = run(arguments, output)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        output.say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # Who read has read enough. What is left in the buffer must not fail again at exit.
        _forget_stdout()
        return PIPE_CLOSED
    except errors.KlineaggError as error:
        return output.fail(error)
    except OSError as error:
        # Whoever reads a file says what is wrong with it: this is about one that is written.
        place = f"{error.filename}: " if error.filename else ""
        text = f"{place}{error.strerror or error}"
        return output.fail(errors.make("file_not_written", text, file=str(error.filename or "")))
    except MemoryError:
        output.say("error: not enough memory")
        return INTERNAL
    except Exception:
        # Python's own exit code would be 1, which says that bars differ.
        traceback.print_exc()
        output.say("error: this is a defect of klineagg; please report it with the lines above")
        return INTERNAL


def _forget_stdout() -> None:
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
    except (OSError, ValueError):  # no file descriptor: nothing that could fail at exit
        pass
