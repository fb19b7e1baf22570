"""``klineagg info``: what files are and what is in them."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from klineagg import errors
from klineagg.cli.options import HelpFormatter, add_common, add_input, wanted_of
from klineagg.cli.output import BAD_INPUT, OK, Output, few

if TYPE_CHECKING:
    from klineagg.bars import Bars
    from klineagg.io.readers import FileFacts

__all__ = ["add_parser"]

_EPILOG: Final = """\
examples:
  klineagg info BTCUSDT-trades-2024-01.zip
  klineagg info *.csv.gz --json
  klineagg info bars.parquet

The whole of each file is read; rows that are no trades are counted. Exit code 3 when a file cannot
be read at all.
"""


def add_parser(commands: Any) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "info",
        help="what files are: format, rows, symbols, times, order",
        description="Tells what files of trades or bars hold, and how they would be read.",
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="trades or bars")
    add_input(parser)
    add_common(parser)
    parser.set_defaults(run=run, on_bad="count")


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Does the work; returns the exit code."""
    results: list[dict[str, Any]] = []
    code = OK
    for path in arguments.files:
        facts = _of_file(path, arguments)
        results += facts
        if any("error" in each for each in facts):
            code = BAD_INPUT
    output.result({"files": results, "exit_code": code}, "\n\n".join(map(_text, results)))
    return code


def _of_file(path: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Facts of a file, or of each member of an archive; of one that cannot be read its error."""
    from klineagg.io.barfiles import is_bars_file, read_bars
    from klineagg.io.streams import held

    try:
        with held(path) as input:
            if is_bars_file(input):
                return [_of_bars(path, read_bars(input))]
            return _of_trades(input, arguments)
    except errors.MissingExtraError:
        raise
    except errors.KlineaggError as error:
        return [{"file": path, "error": f"{error.message} [{error.code} {error.name}]"}]


def _of_bars(path: str, bars: Bars) -> dict[str, Any]:
    from klineagg._bars_columns import BarFlag

    flags = {flag.name or "": int(np.count_nonzero(bars.flags & flag)) for flag in BarFlag}
    return {
        "file": path,
        "holds": "bars",
        "rows": len(bars),
        "symbols": list(bars.symbols),
        "intervals": {name: len(bars[:, name]) for name in bars.intervals},
        "first": _time(bars.open_time.min()) if len(bars) else None,
        "end": _time(bars.close_time.max()) if len(bars) else None,
        "flags": {name.lower(): count for name, count in flags.items() if count},
    }


def _time(time: Any) -> str | None:
    if np.isnat(time):
        return None
    whole, _, fraction = str(time).partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole}.{fraction}Z" if fraction else f"{whole}Z"


@dataclass
class _Scan:
    """What the rows of one file add up to."""

    rows: int = 0
    first_ns: int = np.iinfo(np.int64).max
    last_ns: int = np.iinfo(np.int64).min
    steps_back: int = 0
    steps_forward: int = 0
    ties: int = 0
    buys: int = 0
    sells: int = 0
    with_ids: int = 0
    bad_amounts: int = 0
    newest: dict[int, int] = field(default_factory=dict)
    trades: dict[int, int] = field(default_factory=dict)

    def add(self, chunk: Any) -> None:
        """Adds a chunk of columns."""
        time = chunk.time * chunk.time_scale
        self.rows += len(time)
        self.first_ns = min(self.first_ns, int(time.min()))
        self.last_ns = max(self.last_ns, int(time.max()))
        good = (chunk.price > 0) & (chunk.quantity > 0)
        good &= np.isfinite(chunk.price) & np.isfinite(chunk.quantity)
        self.bad_amounts += int(np.count_nonzero(~good))
        if chunk.trade_id is not None:
            self.with_ids += int(np.count_nonzero(chunk.trade_id >= 0))
        if chunk.side is not None:
            bought = chunk.side > 0 if chunk.side_rule == "sign" else chunk.side == 0
            sold = chunk.side < 0 if chunk.side_rule == "sign" else chunk.side != 0
            self.buys += int(np.count_nonzero(bought))
            self.sells += int(np.count_nonzero(sold))
        self._add_order(np.asarray(chunk.symbol), time)

    def _add_order(self, symbol: NDArray[np.int32], time: NDArray[np.int64]) -> None:
        by_symbol = np.argsort(symbol, kind="stable")
        ids, begins = np.unique(symbol[by_symbol], return_index=True)
        for id_, part in zip(ids.tolist(), np.split(time[by_symbol], begins[1:]), strict=True):
            before = self.newest.get(id_)
            steps = np.diff(part) if before is None else np.diff(part, prepend=before)
            self.steps_back += int(np.count_nonzero(steps < 0))
            self.steps_forward += int(np.count_nonzero(steps > 0))
            self.ties += int(np.count_nonzero(steps == 0))
            self.newest[id_] = int(part[-1])
            self.trades[id_] = self.trades.get(id_, 0) + len(part)

    @property
    def order(self) -> str:
        """Whether the file can be aggregated as it is."""
        if not self.steps_back:
            return "sorted by time"
        if not self.steps_forward:
            return "runs backwards in time (aggregate --sort turns it around)"
        return f"not sorted: {self.steps_back:,} steps back in time (--lateness or --sort)"


def _of_trades(path: str | os.PathLike[str], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    from klineagg.columns import iter_chunks
    from klineagg.io.readers import TradeReader

    reader = TradeReader([path], wanted_of(arguments), on_bad="count")
    scans: dict[str, _Scan] = {}

    def data() -> Any:
        for batch in reader:
            current[0] = batch.file
            yield batch.data

    current = [""]
    for chunk in iter_chunks(data()):
        scans.setdefault(current[0], _Scan()).add(chunk)
    return [_facts(facts, scans.get(facts.file, _Scan())) for facts in reader.files]


def _facts(facts: FileFacts, scan: _Scan) -> dict[str, Any]:
    from klineagg.symbols import symbol_names

    ids = list(scan.trades)
    symbols = dict(zip(symbol_names(ids), scan.trades.values(), strict=True)) if ids else {}
    first = np.datetime64(scan.first_ns, "ns") if scan.rows else np.datetime64("NaT")
    last = np.datetime64(scan.last_ns, "ns") if scan.rows else np.datetime64("NaT")
    return {
        "file": facts.file,
        "holds": "trades",
        "format": facts.format,
        "compression": facts.compression or None,
        "read_as": facts.why,
        "preset": facts.preset,
        "unit": facts.unit,
        "columns": facts.columns,
        "rows": scan.rows,
        "unreadable": facts.faults,
        "bad_amounts": scan.bad_amounts,
        "symbols": symbols,
        "first": _time(first),
        "last": _time(last),
        "order": scan.order,
        "same_stamp_as_before": scan.ties,
        "taker_bought": scan.buys,
        "taker_sold": scan.sells,
        "with_ids": scan.with_ids,
    }


def _text(facts: dict[str, Any]) -> str:
    """The facts for people."""
    if "error" in facts:
        return f"{facts['file']}\n  error: {facts['error']}"
    lines = {"holds": facts["holds"]}
    if facts["holds"] == "bars":
        lines |= {
            "rows": f"{facts['rows']:,}",
            "symbols": few(facts["symbols"]),
            "intervals": few([f"{name} ({n:,})" for name, n in facts["intervals"].items()]),
            "time": f"{facts['first']} to {facts['end']}" if facts["rows"] else "",
            "flags": ", ".join(f"{name} {count:,}" for name, count in facts["flags"].items()),
        }
    else:
        format = facts["format"] + (f", {facts['compression']}" if facts["compression"] else "")
        lines |= {
            "format": format,
            "read as": facts["read_as"],
            "rows": f"{facts['rows']:,}",
            "symbols": few([f"{name} ({count:,})" for name, count in facts["symbols"].items()]),
            "time": f"{facts['first']} to {facts['last']}" if facts["first"] else "",
            "order": facts["order"],
            "ties": f"{facts['same_stamp_as_before']:,} trades have the stamp of the one before",
            "sides": f"{facts['taker_bought']:,} bought, {facts['taker_sold']:,} sold, "
            f"{facts['rows'] - facts['taker_bought'] - facts['taker_sold']:,} unknown",
            "ids": f"{facts['with_ids']:,} trades have one",
        }
        bad = dict(facts["unreadable"])
        if facts["bad_amounts"]:
            bad["price or quantity not positive"] = facts["bad_amounts"]
        if bad:
            lines["bad rows"] = ", ".join(f"{name} {count:,}" for name, count in bad.items())
    width = max(map(len, lines))
    body = "\n".join(f"  {name:<{width}}  {value}" for name, value in lines.items() if value)
    return f"{facts['file']}\n{body}"
