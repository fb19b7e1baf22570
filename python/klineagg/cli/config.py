"""``klineagg config``: writes and checks configuration files."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any, Final

from klineagg import errors
from klineagg.cli.options import HelpFormatter, add_common
from klineagg.cli.output import OK, Output

__all__ = ["add_parser"]

_EPILOG: Final = """\
examples:
  klineagg config init klineagg.toml      (every key, its default, and what it means)
  klineagg config check klineagg.toml     (exit code 2, with line and reason, when it is wrong)
"""

_PASSWORD: Final = re.compile(r"(://[^:/@\s]*:)[^@\s]+@")


def add_parser(commands: Any) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "config",
        help="write and check the configuration of `klineagg run`",
        description="Writes a configuration file with every default, or checks one.",
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    init = actions.add_parser("init", help="write a file with every key and its default")
    init.add_argument(
        "file", nargs="?", default="-", metavar="FILE", help="where to (default: standard output)"
    )
    init.add_argument("--force", action="store_true", help="replace a file that is there")
    add_common(init)
    init.set_defaults(run=run_init)
    check = actions.add_parser(
        "check",
        help="say whether a file can be used",
        description="Tells everything that `klineagg run` would refuse, with line, reason and what "
        "to do. Imports the modules of tasks, and begins nothing else.",
    )
    check.add_argument("file", metavar="FILE", help="the configuration, a TOML file")
    add_common(check)
    check.set_defaults(run=run_check)


def run_init(arguments: argparse.Namespace, output: Output) -> int:
    """Writes the defaults; returns the exit code."""
    from klineagg._bars_files import not_written
    from klineagg.config import default_text

    text = default_text()
    if arguments.file == "-":
        output.result({"file": None, "text": text}, text.rstrip("\n"))
        return OK
    target = Path(arguments.file)
    try:
        with target.open("w" if arguments.force else "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        if not isinstance(error, FileExistsError) or target.is_dir():
            reason = "that is a directory" if target.is_dir() else error
            raise not_written(target, reason) from error
        message = f"{target} is there already"
        hint = "name another file, or pass --force to replace it"
        raise errors.make("invalid_option", message, hint=hint, option="file") from error
    output.note(f"wrote {target}; start it with: klineagg run {target}")
    output.result({"file": str(target), "text": text})
    return OK


def run_check(arguments: argparse.Namespace, output: Output) -> int:
    """Checks a file; returns the exit code."""
    from klineagg.config import Config, load
    from klineagg.runtime.checking import missing_inputs, problems

    config = load(arguments.file)
    if wrong := problems(config):
        return output.fail(*wrong)
    for text in missing_inputs(config):
        output.note(f"source.paths: {text}, which `klineagg run` needs")
    changed = {key: new for key, (_, new) in Config().changes(config).items()}
    shown = {key: _plain(value) for key, value in changed.items()}
    lines = [f"  {key} = {value}" for key, value in shown.items()]
    rest = "other than the defaults:\n" + "\n".join(lines) if lines else "all defaults"
    output.result({"file": arguments.file, "changed": shown}, f"{arguments.file}: good; {rest}")
    return OK


def _plain(value: Any) -> Any:
    # What is printed is pasted into reports: a password in a URL must not go along.
    return list(value) if isinstance(value, tuple) else _PASSWORD.sub(r"\1***@", str(value))
