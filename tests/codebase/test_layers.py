"""Dependencies of the core point downward, and Python stays out of it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from codebase.tree import sources, text

INCLUDE = "cpp/include/klineagg/"

# A header may include headers of its own layer and of those above it in this table, never of one
# below it. A new header goes into the first layer that has all it needs.
LAYERS: tuple[tuple[str, frozenset[str]], ...] = (
    (
        "values",
        frozenset(
            {
                "bus/batches", "bus/checkpoint", "bus/record_type", "bus/records", "bus/ring",
                "bus/segment", "bus/stamp_clock",
                "bus/tombstone", "bus/topic", "bus/words",
                "arena", "arrow_c", "block_pool", "arrow_decimal", "arrow_type", "bar",
                "detail/csv_fields",
                "detail/csv_text", "detail/csv_time", "detail/missing_times", "detail/time_list",
                "detail/packed_bars",
                "detail/fork_lock", "detail/huge_pool", "detail/prefetch", "detail/printable",
                "detail/transpose",
                "detail/span_table", "detail/symbol_router",
                "detail/symbol_sorter", "engine/clock", "engine/hole_table",
                "engine/lane_record", "engine/metrics", "engine/keeper", "engine/thread",
                "engine/wait", "error", "exact_sum", "factorize", "file", "fixed_grid",
                "interval", "symbol_table", "time", "trade", "trade_columns",
            }
        ),
    ),
    (
        "parts",
        frozenset(
            {
                "bus/cleanup", "bus/delayed", "bus/publisher", "bus/subscriber", "bus/tracker",
                "bus/trade_columns",
                "admission", "builder", "csv", "detail/roll_bars", "detail/row_counter",
                "detail/row_errors", "engine/lane", "history", "rollup", "time_bar",
            }
        ),
    ),
    (
        "one symbol",
        frozenset(
            {
                "aggregator", "bar_table", "detail/aggregator", "detail/aggregator_amend",
                "detail/aggregator_rows", "detail/aggregator_slices",
            }
        ),
    ),
    (
        "many symbols",
        frozenset({"activity", "batch", "detail/layout", "detail/slice", "merge", "roll_rows"}),
    ),
    (
        "log",
        frozenset(
            {
                "bus/feed_outlet", "bus/log_replay", "bus/logged", "bus/posted",
                "bus/record_history", "bus/reliable", "bus/resumable",
                "wal/crc32c", "wal/damage", "wal/format", "wal/log", "wal/names", "wal/reader",
                "wal/recovery", "wal/ring", "wal/segment", "wal/trade_codec",
            }
        ),
    ),
    (
        "engine tables",
        frozenset(
            {
                "engine/bar_row", "engine/block_sorter", "engine/capture", "engine/capture_rows",
                "engine/row_sink",
                "bus/published",
                "engine/closed_log", "engine/row_file", "engine/observer", "engine/open_table",
                "engine/worker_metrics",
                "engine/command", "engine/core", "engine/cut_board", "engine/dirty_table",
                "engine/due_heap", "engine/duplicates", "engine/growing_array", "engine/intake",
                "engine/open_view",
                "engine/options", "engine/route_table", "engine/spare_blocks", "engine/snapshot",
                "engine/symbol_slot",
                "engine/kept_rows", "engine/plan_generation", "engine/reconfigure",
                "engine/replan", "engine/table_builder", "engine/transfer",
                "engine/checkpoint", "engine/checkpoint_bytes", "engine/checkpoint_records",
                "engine/correction",
                "engine/checkpoint_slot", "engine/checkpoint_state", "engine/state_capture",
                "engine/accepted", "engine/journal", "engine/journal_records",
                "engine/past_intervals",
                "engine/waiting_blocks", "engine/recovered_tail",
            }
        ),
    ),
    (
        "engine",
        frozenset(
            {
                "bus/engine_feed",
                "engine", "engine/producer", "engine/snapshotter", "engine/stats",
                "engine/worker", "engine/worker_journal",
            }
        ),
    ),
)  # fmt: skip

LAYER_OF = {stem: number for number, (_, stems) in enumerate(LAYERS) for stem in stems}


def headers() -> dict[str, Path]:
    return {
        path.relative_to(INCLUDE).with_suffix("").as_posix(): path
        for path in sources(".hpp", ".ipp", under=INCLUDE)
    }


@cache
def includes(path: Path) -> frozenset[str]:
    found = re.findall(r'#\s*include\s*["<]klineagg/([\w/]+)\.[hi]pp[">]', text(path))
    own = path.relative_to(INCLUDE).with_suffix("").as_posix() if "include" in path.parts else ""
    return frozenset(found) - {own}


def test_every_header_has_a_layer() -> None:
    listed, there = set(LAYER_OF), set(headers())
    assert there - listed == set(), "add these headers to LAYERS"
    assert listed - there == set(), "these headers of LAYERS do not exist"


def test_no_header_is_listed_twice() -> None:
    assert sum(len(stems) for _, stems in LAYERS) == len(LAYER_OF)


def test_headers_include_downward_only() -> None:
    wrong = [
        f"{stem} includes {other}"
        for stem, path in headers().items()
        for other in includes(path)
        if LAYER_OF.get(other, -1) > LAYER_OF.get(stem, len(LAYERS))
    ]
    assert wrong == []


def test_headers_do_not_include_each_other_in_a_circle() -> None:
    # An implementation file and its header are one node of the graph.
    graph: dict[str, set[str]] = {}
    for stem, path in headers().items():
        name = stem.removeprefix("detail/") if path.suffix == ".ipp" else stem
        ends = {o.removeprefix("detail/") if f"detail/{name}" == o else o for o in includes(path)}
        graph.setdefault(name, set()).update(ends - {name})
    while True:
        leaves = {name for name, ends in graph.items() if not ends & graph.keys()}
        if not leaves:
            break
        for name in leaves:
            del graph[name]
    assert graph == {}, "these headers include each other in a circle"


def owner(source: Path) -> str | None:
    """The header that a source belongs to: of the same stem, or of the first words of it."""
    folder = source.relative_to("cpp/src").parent
    words = source.stem.split("_")
    names = ["_".join(words[:n]) for n in range(len(words), 0, -1)]
    # A folder's sources may belong to the header that the folder is named after.
    stems = [(folder / name).as_posix() for name in names] + names
    known = headers()
    return next((c for s in stems for c in (s, f"detail/{s}") if c in known), None)


def test_every_source_belongs_to_a_header() -> None:
    assert [str(p) for p in sources(".cpp", under="cpp/src/") if owner(p) is None] == []


def test_sources_include_downward_only() -> None:
    wrong = []
    for source in sources(".cpp", under="cpp/src/"):
        header = owner(source)
        # Internals of a header may be of a higher layer than it, never higher than its sources.
        layer = LAYER_OF.get(header or "", len(LAYERS))
        wrong += [f"{source}: {o}" for o in includes(source) if LAYER_OF.get(o, -1) > layer]
    assert wrong == []


def test_python_stays_in_the_bindings() -> None:
    outside = [
        path
        for path in sources(".hpp", ".ipp", ".cpp", under="cpp/")
        if not path.as_posix().startswith("cpp/bindings/")
    ]
    assert outside, "no C++ files found"
    wrong = [
        f"{path}:{number}"
        for path in outside
        for number, line in enumerate(text(path).splitlines(), 1)
        if re.search(r'#\s*include\s*[<"](pybind11/|Python\.h|numpy/)', line)
        or re.search(r"\b(pybind11|PyObject)\b", line.partition("//")[0])
    ]
    assert wrong == []


def test_each_category_of_bindings_has_one_file() -> None:
    for path in sources(".cpp", under="cpp/bindings/register_"):
        name = re.escape(path.stem)
        pattern = rf"void {name}\((?:py|pybind11)::module_& \w+\) \{{"
        assert re.search(pattern, text(path)), path
