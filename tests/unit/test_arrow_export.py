"""Columns as Arrow data for others."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

from klineagg import _core, errors
from unit.arrow_tools import data_address

pa = pytest.importorskip("pyarrow")


def test_exported_columns_share_their_memory() -> None:
    price = np.arange(5.0)
    times = np.arange(5).astype("datetime64[ns]")
    codes = np.array([1, 0, 1, 1, 0], np.int32)
    valid = np.array([True, True, False, True, True])
    capsule = _core.arrow_stream(
        [
            ("price", "g", price, None, None),
            ("time", "tsn:UTC", times, None, valid),
            ("symbol", "i", codes, ["BTC", "ETH"], None),
            ("flag", "b", valid, None, None),
        ],
        5,
    )
    (batch,) = list(pa.RecordBatchReader._import_from_c_capsule(capsule))
    batch.validate(full=True)
    assert batch.column("price").buffers()[1].address == data_address(price)
    assert batch.column("time").buffers()[1].address == data_address(times)
    assert batch.column("symbol").indices.buffers()[1].address == data_address(codes)
    assert batch.schema.field("time").type == pa.timestamp("ns", "UTC")
    assert batch.column("time").null_count == 1
    assert batch.column("time").to_pylist()[2] is None
    assert batch.column("symbol").to_pylist() == ["ETH", "BTC", "ETH", "ETH", "BTC"]
    assert batch.column("flag").to_pylist() == valid.tolist()


@pytest.mark.parametrize("batch_rows", [1, 3, 7, 100])
def test_exported_batches(batch_rows: int) -> None:
    values = np.arange(17, dtype=np.int64)
    valid = values % 3 != 0
    columns: list[Any] = [
        ("v", "l", values, None, valid),
        ("d", "s", (values % 2).astype(np.int16), ["a", "b"], None),
    ]
    reader = pa.RecordBatchReader._import_from_c_capsule(
        _core.arrow_stream(columns, 17, batch_rows)
    )
    table = reader.read_all()
    table.validate(full=True)
    expected = [None if v % 3 == 0 else v for v in range(17)]
    assert table.column("v").to_pylist() == expected
    assert table.column("v").null_count == 6
    assert table.column("d").to_pylist() == ["ab"[v % 2] for v in range(17)]
    assert {len(b) for b in table.to_batches()[:-1]} <= {batch_rows}


def test_an_empty_export_has_its_types() -> None:
    columns: list[Any] = [
        ("p", "g", np.empty(0), None, None),
        ("s", "i", np.empty(0, np.int32), [], np.empty(0, bool)),
    ]
    table = pa.RecordBatchReader._import_from_c_capsule(_core.arrow_stream(columns, 0)).read_all()
    assert len(table) == 0
    assert table.schema.types == [pa.float64(), pa.dictionary(pa.int32(), pa.string())]
    assert pa.RecordBatchReader._import_from_c_capsule(_core.arrow_stream([], 0)).schema.names == []


def test_the_exported_schema_is_that_of_the_stream() -> None:
    capsule = _core.arrow_schema([("t", "tsn:UTC", False), ("s", "i", True)])
    schema = pa.Schema._import_from_c_capsule(capsule)
    assert schema.types == [pa.timestamp("ns", "UTC"), pa.dictionary(pa.int32(), pa.string())]
    assert schema.names == ["t", "s"]


def test_exported_memory_lives_until_it_is_released() -> None:
    values = np.arange(1000.0)
    before = sys.getrefcount(values)
    capsule = _core.arrow_stream([("v", "g", values, None, None)], 1000)
    assert sys.getrefcount(values) > before
    table = pa.RecordBatchReader._import_from_c_capsule(capsule).read_all()
    del capsule
    assert sys.getrefcount(values) > before
    part = table.column("v").chunk(0)
    del table
    gc.collect()
    assert sys.getrefcount(values) > before
    del part
    gc.collect()
    assert sys.getrefcount(values) == before
    _core.arrow_stream([("v", "g", values, None, None)], 1000)  # never imported
    gc.collect()
    assert sys.getrefcount(values) == before


def test_consumers_may_release_from_other_threads() -> None:
    duckdb = pytest.importorskip("duckdb")
    rows = 50_000
    values = np.arange(rows, dtype=np.float64)
    before = sys.getrefcount(values)

    class Exported:
        def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
            return _core.arrow_stream([("v", "g", values, None, None)], rows, 1000)

    def read() -> None:
        exported = Exported()  # noqa: F841 (DuckDB finds it by its name)
        with duckdb.connect() as connection:
            connection.execute("set threads = 2")
            (total,) = connection.execute("select sum(v) from exported").fetchone()
            sums.append(total)

    sums: list[float] = []
    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    assert sums == [values.sum()] * 4
    assert sys.getrefcount(values) == before


# Releases in daemon threads without the GIL, as other libraries do, until the process ends.
RELEASING = """
import ctypes, threading, time
import numpy as np
from klineagg import _core

class Stream(ctypes.Structure):
    pass

Release = ctypes.CFUNCTYPE(None, ctypes.POINTER(Stream))
before = [(name, ctypes.c_void_p) for name in ("schema", "next", "error")]
Stream._fields_ = [*before, ("release", Release), ("private", ctypes.c_void_p)]
content = ctypes.pythonapi.PyCapsule_GetPointer
content.restype, content.argtypes = ctypes.POINTER(Stream), [ctypes.py_object, ctypes.c_char_p]
values = np.arange(10.0)

def work():
    while True:
        capsule = _core.arrow_stream([("v", "g", values, None, None)], 10)
        stream = content(capsule, b"arrow_array_stream")
        stream.contents.release(stream)

for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.2)
"""


def test_a_release_at_the_end_of_the_process_does_not_abort_it() -> None:
    for _ in range(3):
        run = [sys.executable, "-c", RELEASING]
        done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=240)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("column_", "reason"),
    [
        (("v", "l", np.zeros(3), None, None), "does not fit"),
        (("v", "g", np.zeros(3, np.float32), None, None), "does not fit"),
        (("v", "L", np.zeros(3, np.int64), None, None), "does not fit"),
        (("v", "nonsense", np.zeros(3), None, None), "does not fit"),
        (("v", "g", np.zeros(3, ">f8" if sys.byteorder == "little" else "<f8"), None, None), "fit"),
        (("v", "g", np.zeros(6)[::2], None, None), "contiguous"),
        (("v", "g", np.zeros(2), None, None), "3 rows"),
        (("v", "g", np.zeros((3, 1)), None, None), "contiguous"),
        (("v", "tsn:UTC", np.zeros(3, "datetime64[ms]"), None, None), "another unit"),
        (("v", "g", np.zeros(3), ["a"], None), "codes"),
        (("v", "g", np.zeros(3), None, np.ones(2, bool)), "mask"),
    ],
)
def test_columns_that_would_be_misread_are_not_exported(column_: Any, reason: str) -> None:
    with pytest.raises(errors.ColumnError, match=reason) as raised:
        _core.arrow_stream([column_], 3)
    assert raised.value.fields["column"] == "v"


def test_a_round_trip_keeps_every_value() -> None:
    rng = np.random.default_rng(7)
    values = rng.normal(size=1000)
    mask = rng.random(1000) < 0.5
    capsule = _core.arrow_stream([("v", "g", values, None, mask)], 1000, 64)
    got: list[float | None] = []
    for (piece,) in _core.read_arrow(capsule):
        valid = piece.valid()
        for row, value in enumerate(piece.values().tolist()):
            got.append(value if valid is None or valid[row] else None)
    assert got == [v if m else None for v, m in zip(values.tolist(), mask.tolist(), strict=True)]
