"""The package as a user meets it: names that load when they are used, errors that travel."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

import klineagg
from klineagg import _core, errors
from klineagg.aggregation import PARTIAL_DTYPE

TABLE = {name: (number, cls, hint) for number, name, cls, hint in _core.error_table()}


def run(code: str) -> str:
    """What a fresh interpreter prints; with the package of this one."""
    path = [str(Path(klineagg.__file__).parents[1])]
    begin = f"import sys; sys.path[:0] = {path!r}; "
    done = subprocess.run(
        [sys.executable, "-c", begin + code], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


# -- names ---------------------------------------------------------------------------------------


def test_every_public_name_is_there() -> None:
    assert dir(klineagg) == sorted(klineagg.__all__)
    for name in klineagg.__all__:
        assert getattr(klineagg, name) is getattr(klineagg, name), name
    assert run("from klineagg import *; print(callable(aggregate), Bars.__name__)") == "True Bars"
    with pytest.raises(AttributeError, match="no attribute 'agregate'"):
        _ = klineagg.agregate  # type: ignore[attr-defined]


def test_no_name_is_also_that_of_a_module() -> None:
    # Importing a submodule sets an attribute of its name, which would replace the function.
    folder = Path(klineagg.__file__).parent
    modules = {path.stem for path in folder.iterdir() if path.suffix in (".py", "")}
    assert {"aggregation", "bars", "errors", "io"} <= modules
    both = modules & (set(klineagg.__all__) - {"conditions", "data", "errors", "io"})
    assert both == set()


@pytest.mark.parametrize("module", ["aggregation", "_sessions", "bars", "intervals", "symbols"])
def test_names_are_the_same_whatever_was_imported_first(module: str) -> None:
    said = run(
        f"import klineagg.{module}; import klineagg; "
        "names = 'aggregate merge sessions intern symbol_names Bars Interval Aggregator'.split(); "
        "print(*(getattr(klineagg, name).__module__ for name in names))"
    )
    assert said.split() == [
        "klineagg.aggregation", "klineagg.aggregation", "klineagg._sessions", "klineagg.symbols",
        "klineagg.symbols", "klineagg.bars", "klineagg.intervals", "klineagg.aggregation",
    ]  # fmt: skip


def test_an_import_loads_nothing_before_it_is_used() -> None:
    loaded = "print(*sorted(name for name in sys.modules if name.startswith('klineagg.')))"
    assert run(f"import klineagg; {loaded}") == "klineagg._core"
    after = run(f"import klineagg; klineagg.intern; {loaded}").split()
    assert "klineagg.symbols" in after
    assert "klineagg.aggregation" not in after


# -- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TABLE)
def test_an_error_has_what_the_table_says(name: str) -> None:
    number, cls, hint = TABLE[name]
    error = errors.make(name, "what happened", row=3, column="price")
    assert type(error) is getattr(errors, cls)
    assert isinstance(error, errors.KlineaggError)
    assert (error.code, error.name, error.hint) == (f"KLA-{number}", name, hint)
    assert error.fields == {"row": 3, "column": "price"}
    assert str(error) == f"[KLA-{number} {name}] what happened ({hint})"


@pytest.mark.parametrize("name", TABLE)
def test_an_error_survives_pickling(name: str) -> None:
    error = errors.make(name, "what happened", hint="do this", at=np.datetime64(5, "ns"))
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert vars(copy) == vars(error)
    assert str(copy) == str(error)
    assert (copy.name, copy.code, copy.message) == (error.name, error.code, error.message)


def fail_in_the_core(price: float) -> None:
    trade = {"symbol": ["X"], "time": [np.datetime64("2024-01-01")], "quantity": [1.0]}
    klineagg.aggregate({**trade, "price": [price]}, "1m")


def fail_at_an_option(price: float) -> None:
    klineagg.Aggregator("1m", threads=price)


@pytest.mark.parametrize(
    ("call", "cls", "code"),
    [
        (fail_in_the_core, errors.TradeError, "KLA-301"),
        (fail_at_an_option, errors.OptionError, "KLA-103"),
    ],
)
def test_an_error_crosses_a_process_pool(
    call: Callable[[float], None], cls: type[errors.KlineaggError], code: str
) -> None:
    with pytest.raises(cls) as here:
        call(-1.5)
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        pytest.raises(cls) as there,
    ):
        pool.submit(call, -1.5).result()
    assert there.value.code == code
    assert there.value.fields == here.value.fields
    assert str(there.value) == str(here.value)


def test_codes_and_names_are_unique() -> None:
    rows = _core.error_table()
    assert len({number for number, *_ in rows}) == len(rows) == len(TABLE)
    assert all(hint and cls in errors.__all__ for _, _, cls, hint in rows)


# -- records -------------------------------------------------------------------------------------


def test_the_layout_of_partial_records_is_that_of_the_core() -> None:
    assert PARTIAL_DTYPE.itemsize == _core.PARTIAL_BAR_SIZE
    trade = {
        "symbol": ["X", "X"],
        "time": np.array(["2024-01-01T00:00:01", "2024-01-01T00:00:02"], "datetime64[ns]"),
        "price": [2.0, 3.0],
        "quantity": [5.0, 7.0],
        "trade_id": [10, 12],
    }
    bars = klineagg.aggregate(trade, "1m", partials=True)
    assert bars.partials is not None
    (record,) = bars.partials
    (bar,) = bars
    for name in ("open", "high", "low", "close", "trade_count", "run_length", "revision", "flags"):
        assert record[name] == getattr(bar, name), name
    for name in ("open_time", "close_time"):
        assert record[name] == bars.column(name)[0].astype(np.int64), name
    assert (record["first_id"], record["last_id"]) == (10, 12)
    assert record["last_time"] - record["first_time"] == 10**9
    assert record["sums_hi"].tolist()[:2] == [12.0, 31.0]
    assert (record["version"], record["sum_form"]) == (_core.PARTIAL_BAR_VERSION, 0)
