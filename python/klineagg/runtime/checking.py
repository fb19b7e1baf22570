"""What `klineagg run` would refuse of a configuration, found without starting anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Final

from klineagg import _core, errors
from klineagg._columns_roles import ROLES
from klineagg._options import duration_ns
from klineagg.config import BusConfig, EngineConfig
from klineagg.config.reading import invalid_key, lines_of
from klineagg.config.secrets import expand
from klineagg.runtime.control import check_path
from klineagg.runtime.setup import make_engine, place_of
from klineagg.sources.base import check_circle
from klineagg.sources.files import files_of
from klineagg.tasks import load_modules, registered

if TYPE_CHECKING:
    from klineagg.config import Config

__all__ = ["missing_inputs", "problems", "refuse_problems"]

Check = Callable[[], object]

# What the parts of a run call what the file has under another name.
_KEYS: Final = {
    "catalog": "lake.catalog",
    "data_path": "lake.data_path",
    "segment_bytes": "wal.segment_mb",
    "size_max": "wal.size_max_mb",
    "interval": "wal.interval",
    "age_max": "wal.age_max",
}
# Whoever reads topics of these names takes their records for that; another kind is refused there.
_TOPICS: Final = {"trade_events": "trades", "bars": "bars", "open_bars": "open_bars"}
_ENGINE: Final = {each.name for each in fields(EngineConfig)}


def problems(config: Config) -> list[errors.KlineaggError]:
    """Everything that is wrong, each with its place in the file; empty: it can be run.

    Modules of tasks are imported, nothing else is begun: no file is made, no engine runs. What can
    be told only then is not found: rights, a disk without room, a lake of somebody else.

    Raises:
        MissingExtraError: ``missing_extra``: an optional package is needed to tell.
    """
    lines = lines_of(config.path)
    out = []
    for section, check in _checks(config):
        try:
            check()
        except errors.MissingExtraError:  # noqa: PERF203 - a few
            raise
        except errors.KlineaggError as error:
            key, hint = _place(section, error), _hint(config, error)
            reason = str(error.fields.get("reason") or error.message)
            out.append(invalid_key(config.path, lines, key, reason, hint, cause=error.name))
    return out


def refuse_problems(config: Config) -> None:
    """Raises the first one.

    Raises:
        ConfigError: ``config_invalid``.
    """
    for error in problems(config):
        raise error


def missing_inputs(config: Config) -> list[str]:
    """Files and folders of the source that are not there: they may come before it is run."""
    of, out = config.source, []
    for path in of.paths if of.kind in ("file", "directory") else ():
        place = config.at(path)
        if of.kind == "directory" and not place.is_dir():
            out.append(f"there is no folder {place}")
        if of.kind == "file":
            try:
                files_of(place)
            except errors.FileError as error:
                out.append(error.message)
    return out


def _checks(config: Config) -> Iterator[tuple[str, Check]]:
    """Each with the section, or the key, that it is about."""
    yield "runtime.folder", lambda: check_path(config.socket)
    yield "engine", lambda: _engine(config)
    for core in config.engine.cores:
        yield "engine.cores", lambda core=core: _core.check_core(core)  # type: ignore[misc]
    yield from _source(config)
    yield from _bus(config)
    yield from _lake(config)
    if config.wal.fsync != "off":
        yield "wal", lambda: _log(config)
    for name in config.tasks.modules:
        yield "tasks.modules", lambda name=name: load_modules([name], config.at("."))  # type: ignore[misc]
    yield "tasks.modules", _schedules


def _engine(config: Config) -> None:
    of = config.engine
    # Whether there is room for what is evicted says the log, which is not opened here.
    if config.wal.fsync != "off":
        of = replace(of, on_bound="block")
    make_engine(replace(config, engine=of, bus=BusConfig()))


def _source(config: Config) -> Iterator[tuple[str, Check]]:
    from klineagg.io.presets import find

    of = config.source
    if of.kind == "bus":
        yield "source.topic", lambda: _core.bus_check_topic(of.topic)
        yield "source.topic", lambda: check_circle(config)
        if of.core is not None:
            yield "source.core", lambda: _core.check_core(int(of.core or 0))
    if of.preset is not None:
        yield "source.preset", lambda: find(str(of.preset))
    for role in of.columns:
        if role not in ROLES:
            text = f"{role!r} is none of {', '.join(ROLES)}"
            yield "source.columns", lambda text=text: _fail(text)  # type: ignore[misc]


def _bus(config: Config) -> Iterator[tuple[str, Check]]:
    of = config.bus
    topics = {"trades": of.trades, "bars": of.bars, "open_bars": of.open_bars}
    named = {key: topic for key, topic in topics.items() if topic}
    for key, topic in named.items():
        yield f"bus.{key}", lambda topic=topic: _core.bus_check_topic(topic)  # type: ignore[misc]
    if of.trades and of.trades in (of.bars, of.open_bars):
        text = f"trades and bars cannot share the topic {of.trades}"
        yield "bus.trades", lambda: _fail(text)
    for key, topic in named.items():
        if (kind := _TOPICS.get(topic, key)) != key and {kind, key} != {"bars", "open_bars"}:
            text = f"the topic {topic} is by its name one of {kind.replace('_', ' ')}, not of {key}"
            yield f"bus.{key}", lambda text=text: _fail(text)  # type: ignore[misc]
    if named:
        last = of.name if of.publishers == 1 else f"{of.name}-{of.publishers - 1}"
        yield "bus.name", lambda: _core.bus_check_name(last)


def _lake(config: Config) -> Iterator[tuple[str, Check]]:
    from klineagg.lake.catalog import Catalog

    of = config.lake
    yield "lake.catalog", lambda: Catalog.of(place_of(config, "catalog"), None)
    # As it is written: s3:/bucket would be a folder beside the file.
    yield "lake.data_path", lambda: Catalog.of("lake", expand(of.data_path, "lake.data_path"))


def _log(config: Config) -> None:
    of = config.wal
    _core.wal_check_options(
        fsync=of.fsync,
        interval_ns=duration_ns(of.interval, "interval"),
        segment_bytes=of.segment_mb << 20,
        size_max=of.size_max_mb << 20,
        age_max_ns=0 if of.age_max is None else duration_ns(of.age_max, "age_max"),
    )


def _schedules() -> None:
    from klineagg.tasks.queues import crontab_of

    for task in registered().values():
        crontab_of(task)


def _fail(text: str) -> None:
    raise errors.make("invalid_option", text, hint="")


def _place(section: str, error: errors.KlineaggError) -> str:
    """The key that an error is about."""
    if "." in section:
        return section
    option = str(error.fields.get("option", ""))
    if section == "engine":
        return f"engine.{option}" if option in _ENGINE else section
    return _KEYS.get(option, section)


def _hint(config: Config, error: errors.KlineaggError) -> str | None:
    """What to do, in the words of the file; None: the general advice."""
    table: dict[str, Any] = {name: hint for _, name, _, hint in _core.error_table()}
    if error.fields.get("option") == "size_max":
        least = 2 * config.wal.segment_mb
        return f"give it {least} at least, lower segment_mb ({config.wal.segment_mb}), or 0"
    if error.name == "core_unavailable":
        return "name cores that are allowed here, or leave it empty: not pinned"
    own = error.hint and error.hint != table.get("invalid_option")
    return error.hint if own else None
