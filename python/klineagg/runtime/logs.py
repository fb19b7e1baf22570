"""What a long run tells: text or JSON lines, never a secret."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING

from klineagg.config.secrets import scrub

if TYPE_CHECKING:
    from klineagg.config import Config

__all__ = ["set_level", "start_logging"]


class _Text(logging.Formatter):
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """UTC, whatever the zone of the machine is."""
        return time.strftime(datefmt or "%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))

    def format(self, record: logging.LogRecord) -> str:
        """A line, and the traceback below it when there is one."""
        return scrub(super().format(record))


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """One object."""
        line = {
            "time": f"{record.created:.3f}",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return scrub(json.dumps(line))


class _Once(logging.Filter):
    """Without Huey's word on a task that failed: klineagg.tasks has told it, by the task's name."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith("Unhandled exception in task")


def start_logging(config: Config) -> logging.Handler:
    """Sends what klineagg tells to where the configuration says; returns the handler."""
    of = config.logging
    handler: logging.Handler = logging.StreamHandler()
    if of.file:
        path = config.at(of.file)
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(path, encoding="utf-8")
    text = _Text("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ")
    handler.setFormatter(_Json() if of.format == "json" else text)
    logger = logging.getLogger("klineagg")
    logger.addHandler(handler)
    logger.propagate = False
    huey = logging.getLogger("huey")
    huey.addFilter(_Once())
    huey.addHandler(handler)
    huey.propagate = False
    set_level(config)
    return handler


def set_level(config: Config) -> None:
    """Takes over the level; Huey tells of every task, so of it only what is wrong."""
    level = config.logging.level.upper()
    logging.getLogger("klineagg").setLevel(level)
    logging.getLogger("huey").setLevel("ERROR" if level == "ERROR" else "WARNING")
