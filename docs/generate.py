"""Writes the parts of the documentation that are made by the code.

``python docs/generate.py`` writes docs/ERRORS.md and docs/images/candles.png; with ``--check`` it
changes nothing and fails when docs/ERRORS.md is not up to date.
"""

from __future__ import annotations

import sys
from pathlib import Path

import klineagg
from klineagg import _core, demo, errors
from klineagg.data import BITMEX_COVERAGE, load_bitmex

DOCS = Path(__file__).resolve().parent

# Name of an error -> when it happens. What to do about it comes from the table itself.
WHEN = {
    "invalid_interval": "the text of an interval cannot be read, or there are none or too many",
    "duplicate_interval": "an interval is given twice, perhaps under two names (`60s`, `1m`)",
    "invalid_option": "an argument has a value outside its range, or two exclude each other",
    "unknown_time_zone": "the time zone database has no zone of that name",
    "invalid_session_table": "a table of sessions is unsorted, overlaps, or is not on seconds",
    "missing_extra": "a function needs an optional package that is not installed",
    "missing_column": "no column holds a role that is needed, such as the price",
    "ambiguous_column": "several columns could hold the same role",
    "column_type": "a column, or one value in it, has a type that the role cannot have",
    "column_length": "columns of one table differ in length",
    "unsupported_input": "the trades are in a form that klineagg does not read",
    "time_unit": "integer times look like those of another unit (ms read as ns)",
    "unknown_symbol": "the name of a symbol is empty or too long, or an integer is no symbol id",
    "bad_trade": "a row cannot be a trade; `fields` has the row, the column and the reason",
    "unsorted": "time steps back within a symbol, and no lateness was given",
    "late_trade": "a trade lies further back than the lateness allows, and `late='raise'`",
    "count_overflow": "kept, not raised: more than 2^32 trades in one are a reason of `bad_trade`",
    "file_not_found": "a file or a folder does not exist, or may not be read",
    "file_format": "a file is not what its name or its options say, or its layout is unknown",
    "file_truncated": "a file ends too early or is damaged",
    "csv_row": "a record of a CSV file cannot be read; `fields` has its line and the reason",
    "file_not_written": "a file cannot be written: no such folder, no right to it, or no room",
    "stream_failed": "the producer of Arrow data reported an error",
    "partials_needed": "results are merged that were made without `partials=True`",
    "merge_mismatch": "results do not belong together, or rows overlap that are not revisions",
    "no_such_series": "a result has no such symbol or interval",
    "record_version": "partial bars, or a file of bars, of a version that is not known here",
    "engine_state": "an engine is not in a state for that call: not started, draining, stopped",
    "core_unavailable": "a worker is to run on a core that is not there or may not be used",
    "lane_full": "a push waited for longer than its timeout; `fields` says how many rows went in",
    "snapshot_outstanding": "a consumer takes a snapshot before it has settled its last one",
    "snapshot_over": "an ack or a nack comes too late: the lease has expired, or it came before",
    "worker_failed": "a worker came upon an error, which has stopped the engine; `fields` has it",
    "forked": "an engine, a log or a publisher is used in a process that was forked from its own",
    "clock_backwards": "a simulated clock is to go back",
    "unknown_name": "there is no consumer, producer, worker or symbol of that name",
    "checkpoint_format": "the bytes of a checkpoint are damaged, or are none",
    "checkpoint_version": "a checkpoint was written in another format",
    "checkpoint_mismatch": "a checkpoint was made with another rule for late trades or calendar",
    "recovery_mismatch": "the checkpoint is not of the engine's log, or is ahead of it",
    "recovery_hole": "the log no longer has what came after the checkpoint",
    "journal_record": "the log has a record of the engine that it cannot read",
    "correction_needs_log": "a trade is cancelled, or bars repaired, in an engine without a log",
    "correction_unknown_trade": "a trade is cancelled that the log does not have (any more)",
    "correction_pending": "the bar of a cancelled trade is open and has no other, or changes",
    "correction_log_gone": "the log does not reach back to the start of a repair",
    "bus_unavailable": "a segment or the folder of a bus cannot be made, opened or trusted",
    "publisher_exists": "a living publisher of that name holds the topic",
    "record_mismatch": "a record has no fixed layout, or two sides do not mean the same one",
    "segment_damaged": "a file in the folder of a bus is no segment",
    "batch_too_large": "a loan is larger than half of the ring, or more is committed than lent",
    "bus_closed": "something is published, lent or received after `close()`",
    "delivery_failed": "a message was not acknowledged after all retries; `fields` says by whom",
    "too_many_publishers": "a topic has ten living publishers already",
    "bus_name": "a topic, publisher or subscriber has an empty, long or impossible name",
    "loan_outstanding": "something is published, lent or peeked at while a loan or a peek is open",
    "resume_hole": "a resumed subscriber needs messages that the log no longer has",
    "peer_failed": "iceoryx2 refuses a service",
    "bridge_refused": "the other side of a bridge has another secret, version or record",
    "bridge_damaged": "what came over a bridge is not what was sent",
    "resume_ahead": "a subscriber is to go on behind all that its publisher has ever sent",
    "delivery_timeout": "the outcome of a message is not known within the timeout of `publish`",
    "config_invalid": "a configuration file has an unknown key or a value that cannot be used",
    "config_restart": "a key was changed while running that only a new start can change",
    "control_unavailable": "no engine listens on the control socket, or it went away",
    "control_refused": "a running engine refused a request; the message has its reason",
    "already_running": "an engine of that name runs already, with the same runtime folder",
    "source_failed": "a source of trades cannot go on: its folder is gone, its input broke",
    "task_invalid": "a module of tasks cannot be loaded, or a task is registered twice",
    "internal": "a defect of klineagg",
    "wal_locked": "another writer has the log open, in this process or in another one",
    "wal_damaged": "bytes inside a log are not what was written, and no crash explains it",
    "wal_halted": "a call to the disk failed; nothing is accepted until `resume()`",
    "wal_io": "a file of a log cannot be opened, read or written",
    "wal_full": "the log has reached its limit, and nothing in it is committed elsewhere",
    "wal_record": "a record is larger than a frame may be, or of a topic that there is not",
    "wal_closed": "a log is used after it was closed",
    "wal_format": "a segment was written by another version, or is none",
    "wal_timeout": "no room, no write or no sync within the timeout",
    "wal_range": "records are asked for that the log does not have any more",
    "wal_no_times": "records are asked for by time or at a speed, and those of the log have none",
    "lake_catalog": "the catalog or the files of a lake cannot be opened or read",
    "lake_version": "the schema of a lake is newer than this klineagg, or has no way to it",
    "lake_busy": "another writer held the lake for longer than the timeout",
    "lake_read_only": "something was to be written to a lake that is open for reading only",
    "lake_query": "a query is not one statement that reads, or DuckDB refuses it",
    "lake_snapshot": "the snapshot or time asked for is not kept any more, or never was",
    "lake_commit": "a commit or a round of maintenance failed; the lake is as it was before",
    "lake_extension": "DuckDB has not the extensions that a lake needs",
    "lake_closed": "a lake was closed, or opened in the process that this one forked from",
    "take_timeout": "a snapshot was not begun within the timeout: the workers are held up",
}

GROUPS = {
    1: "Configuration",
    2: "Shape of the input",
    3: "Trades",
    4: "Files and streams",
    5: "Results",
    6: "The live engine",
    8: "The bus",
    7: "Running, storing, scheduling",
    9: "Defects",
}

HEAD = """\
# Errors

Written by `docs/generate.py` from the table in `cpp/include/klineagg/error.hpp`; a test compares
the two.

Every error of klineagg is a `klineagg.KlineaggError`. It has

- `code`: stable, for programs and for searching: `"KLA-202"`. A number never changes its meaning.
- `name`: stable too, for reading: `"ambiguous_column"`.
- `hint`: what to do about it. A more fitting one may replace the one in this table.
- `fields`: facts about this occurrence (column, row, value, file, ...), so that nobody needs to
  parse the text.

The text itself may get better from version to version. Each class below also is the built-in class
that one would expect, so `except ValueError` works where it should:

| class | also is | what it says |
|---|---|---|
"""

FOOT = """
## One bad row

`bad_trade` stops at the first row that cannot be a trade. With `on_bad="count"` such rows are left
out and counted by reason in `bars.report.rejected`; [SEMANTICS.md](SEMANTICS.md#acceptance) lists
the reasons.

An update that raises has changed nothing: an `Aggregator` goes on as if the call had never been
made.

The command line prints the code and the name behind the message, and maps errors to exit codes,
which `klineagg --help` lists. With `--json` the error is one JSON object with the same fields.
"""


def errors_page() -> str:
    """The text of docs/ERRORS.md."""
    table = _core.error_table()
    lines = [HEAD.rstrip("\n")]
    for cls in dict.fromkeys(getattr(errors, name) for _, _, name, _ in table):
        built_in = ", ".join(f"`{base.__name__}`" for base in cls.__bases__[1:])
        what = (cls.__doc__ or "").strip().splitlines()[0].rstrip(".")
        lines.append(f"| `{cls.__name__}` | {built_in} | {what[0].lower()}{what[1:]} |")
    group = 0
    for number, name, cls_name, hint in table:
        if number // 100 != group:
            group = number // 100
            lines += ["", f"## {GROUPS[group]} (KLA-{group}xx)", ""]
            lines += ["| code | name | class | when | what to do |", "|---|---|---|---|---|"]
        lines.append(f"| KLA-{number} | `{name}` | `{cls_name}` | {WHEN[name]} | {hint} |")
    return "\n".join(lines) + "\n" + FOOT


def main(arguments: list[str]) -> int:
    """Writes or checks; returns the exit code."""
    page = DOCS / "ERRORS.md"
    if arguments == ["--check"]:
        if page.read_text(encoding="utf-8") == errors_page():
            return 0
        print(f"{page.name} is not what the table of errors says; run python docs/generate.py")
        return 1
    page.write_text(errors_page(), encoding="utf-8")
    picture = DOCS / "images" / "candles.png"
    picture.parent.mkdir(exist_ok=True)
    demo.picture(klineagg.aggregate(load_bitmex(), "5m", coverage=BITMEX_COVERAGE), picture)
    print(f"written: {page.name}, images/{picture.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
