"""Trades of the files on a command line, aggregated; errors name the file and the row."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from klineagg import errors
from klineagg.cli.options import symbols_of, wanted_of
from klineagg.cli.output import Output

if TYPE_CHECKING:
    from klineagg.bars import Bars
    from klineagg.io.readers import FileFacts, TradeBatch, TradeReader
    from klineagg.progress import Progress
    from klineagg.report import Report

__all__ = ["bars_of", "located"]

# As many trades at a time give the core's threads enough to do.
_ROWS_AT_ONCE: Final = 1 << 18


def bars_of(
    arguments: argparse.Namespace, output: Output, intervals: str | None = None
) -> tuple[Bars, TradeReader, Report]:
    """Aggregates the files of a command line.

    Args:
        arguments: with ``files`` and the options of :func:`add_bars` and :func:`add_input`.
        output: for notes and progress.
        intervals: instead of those on the command line.

    Returns:
        The bars, the reader with what is known about the files, and the report that also counts
        rows that were no trades at all.
    """
    from klineagg import Aggregator, Bars
    from klineagg.io.readers import TradeReader

    by_time = arguments.by == "time"
    if not by_time and arguments.intervals is not None:
        text = f"--intervals and --by {arguments.by} exclude each other"
        raise errors.make("invalid_option", text, hint="leave one out", option="by")
    if arguments.last_price and not (arguments.coverage and arguments.coverage[0]):
        text = "--last-price needs the start of the coverage"
        hint = "pass --coverage START.., the time up to which it was the last price"
        raise errors.make("invalid_option", text, hint=hint, option="last_price")
    if intervals is None:
        intervals = "1m" if arguments.intervals is None else arguments.intervals
    _check_letters(intervals)
    aggregator = Aggregator(
        intervals if by_time else None,
        by=arguments.by,
        threshold=arguments.threshold,
        gaps=arguments.gaps,
        lateness=arguments.lateness,
        late=arguments.late,
        amend_horizon=arguments.amend_horizon,
        coverage=arguments.coverage,
        include_open=not arguments.closed_only,
        last_prices=dict(arguments.last_price) or None,
        on_bad=arguments.on_bad,
        allow_nonpositive_prices=arguments.allow_nonpositive_prices,
        threads=arguments.threads,
        progress=False,
    )
    reader = TradeReader(
        arguments.files,
        wanted_of(arguments),
        on_bad=arguments.on_bad,
        read_ahead=arguments.threads > 1,
        notify=lambda facts: _tell_file(facts, output),
    )
    with located(reader):
        parts = [aggregator.update(group) for group in _groups(arguments, reader, output)]
        parts.append(aggregator.finish())
    bars = Bars.concat([part for part in parts if len(part)] or parts[-1:])
    if arguments.late == "amend":
        bars = bars.resolve()  # a file holds the newest revision of each bar, and only that
    if arguments.symbol is not None and any(facts.symbol is None for facts in reader.files):
        bars = bars[symbols_of(arguments.symbol, bars.symbols), :]
    return bars, reader, _with_faults(aggregator.report, reader)


def _check_letters(intervals: str) -> None:
    """Refuses what no interval has before the core does, which shows it as question marks."""
    for name in intervals.split(","):
        odd = next((at for at, char in enumerate(name) if not char.isascii()), None)
        if odd is not None:
            reason = f"{name[odd]!r} is no letter or digit of ASCII"
            text = f"{name!r} is not an interval: {reason}"
            raise errors.make("invalid_interval", text, text=name, position=str(odd), reason=reason)


def _groups(
    arguments: argparse.Namespace, reader: TradeReader, output: Output
) -> Iterator[list[Any]]:
    """What is handed to the aggregator at a time, with a progress bar by the bytes of the files."""
    from klineagg.progress import Progress

    option = False if output.quiet else None
    with Progress(reader.bytes_total, option=option, desc="aggregate", unit="B") as progress:
        batches = _watched(reader, progress)
        if arguments.sort:
            from klineagg.io.ordering import sorted_trades

            yield [sorted_trades(batch.data for batch in batches)]
            return
        group: list[Any] = []
        rows = 0
        for batch in batches:
            group.append(batch.data)
            rows += batch.rows
            if rows >= _ROWS_AT_ONCE:
                yield group
                group, rows = [], 0
        if group:
            yield group


def _watched(reader: TradeReader, progress: Progress) -> Iterator[TradeBatch]:
    for batch in reader:
        progress.update(max(reader.bytes_done - progress.done, 0))
        yield batch


def _tell_file(facts: FileFacts, output: Output) -> None:
    output.note(f"{facts.file}: {facts.why}")


def _with_faults(report: Report, reader: TradeReader) -> Report:
    """The report with the rows that did not even get to the aggregator, so that it is complete."""
    from klineagg.report import Report

    faults = reader.faults
    return report + Report(offered=sum(faults.values()), rejected=faults)


class located:
    """Adds file and row to the errors of rows within it, which the core counts over all files."""

    def __init__(self, reader: TradeReader) -> None:
        self._reader = reader

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if not isinstance(error, errors.KlineaggError) or "file" in error.fields:
            return
        row = str(error.fields.get("row", ""))
        place = self._reader.locate(int(row)) if row.isdigit() else None
        if place is None:
            return
        file, line = place
        message = error.message.removeprefix(f"row {row}: ").replace(f"row {row} ", "the trade ", 1)
        fields = {**error.fields, "file": file, "row": line}
        hint = error.hint.replace("pass on_bad='count'", "pass --on-bad count").replace(
            "pass a lateness", "pass --sort, or --lateness TIME (how late trades may come)"
        )
        raise errors.make(error.name, f"{file}:{line}: {message}", hint=hint, **fields) from error
