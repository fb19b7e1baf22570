"""Computes ``golden.json`` with the reference: ``python tests/golden/make_golden.py DATA_FOLDER``.

Run it only when the meaning of bars changes, and say why in the commit that changes the file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import reference as ref  # noqa: E402
from golden.digest import COVERAGES, GAPS, PLANS, digest, samples  # noqa: E402

SHIPPED = HERE.parents[1] / "python/klineagg/data/bitmex_xbtusd_trades.npz"


def shipped_trades() -> list[ref.Trade]:
    """The shipped slice, decoded on its own."""
    with np.load(SHIPPED) as stored:
        time = int(stored["first_time_ms"])
        half_usd = int(stored["first_price_half_usd"])
        steps = [stored[name].tolist() for name in ("time_step_ms", "price_step_half_usd")]
        rest = [stored[name].tolist() for name in ("quantity", "side")]
    trades = []
    for time_step, price_step, quantity, side in zip(*steps, *rest, strict=True):
        time += time_step
        half_usd += price_step
        trades.append(ref.Trade("XBTUSD", time * 10**6, half_usd / 2, float(quantity), side))
    return trades


def file_trades(path: Path) -> list[ref.Trade]:
    """The trades of one of the Parquet files."""
    table = pq.read_table(path)
    names = ("symbol", "ts", "price", "qty", "side", "trade_id")
    return [ref.Trade(*row) for row in zip(*(table[n].to_pylist() for n in names), strict=True)]


def pin(name: str, trades: list[ref.Trade]) -> dict[str, Any]:
    """Everything pinned of one set of trades, with and without a known coverage."""
    series: dict[str, Any] = {}
    for interval in PLANS[name]:
        series[interval] = {}
        for gaps in GAPS:
            for label, coverage in ((gaps, (None, None)), (f"{gaps}, covered", COVERAGES[name])):
                options = ref.Options(gaps=gaps, coverage=coverage)
                found = ref.aggregate(trades, [ref.parse(interval)], options)
                rows = [tuple(row[column] for column in ref.COLUMNS[2:]) for row in found]
                entry: dict[str, Any] = {"rows": len(rows), "sha256": digest(rows)}
                if gaps == "runs" and coverage == COVERAGES[name]:
                    entry["samples"] = samples(rows)
                series[interval][label] = entry
        print(name, interval, flush=True)
    return {"trades": len(trades), "series": series}


def main(folder: Path) -> None:
    pinned = {"shipped_xbtusd": pin("shipped_xbtusd", shipped_trades())}
    for name in ("bitmex_xbtusd", "binance_xrpeth"):
        pinned[name] = pin(name, file_trades(folder / f"{name}_trades.parquet"))
    text = json.dumps(pinned, indent=1)
    # One line for each sample row keeps the file small and its changes readable.
    lines: list[str] = []
    for line in text.splitlines():
        if lines and lines[-1].count("[") > lines[-1].count("]") and '"samples"' not in lines[-1]:
            lines[-1] += line.strip()
        else:
            lines.append(line)
    (HERE / "golden.json").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
