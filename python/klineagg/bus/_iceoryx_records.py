"""Records as iceoryx2 knows them."""

from __future__ import annotations

import ctypes
from typing import Any, Final

import numpy as np

from klineagg import errors
from klineagg.bus._waiting import Records
from klineagg.bus.records import RecordType

__all__ = ["ctypes_type", "records_of"]

_PLAIN: Final[dict[str, Any]] = {
    "i1": ctypes.c_int8,
    "i2": ctypes.c_int16,
    "i4": ctypes.c_int32,
    "i8": ctypes.c_int64,
    "u1": ctypes.c_uint8,
    "u2": ctypes.c_uint16,
    "u4": ctypes.c_uint32,
    "u8": ctypes.c_uint64,
    "f4": ctypes.c_float,
    "f8": ctypes.c_double,
    "b1": ctypes.c_bool,
    "M8": ctypes.c_int64,
    "m8": ctypes.c_int64,
}


def ctypes_type(record: RecordType) -> Any:
    """The record as a ``ctypes.Structure`` with the type name that iceoryx2 compares.

    Size and alignment are those of the C++ struct; times are int64 nanoseconds, texts are bytes
    padded with zeros, and padding has fields ``_0``, ``_1``, ...
    """
    fields: list[tuple[str, Any]] = []
    end = 0
    parts = record.dtype.fields
    assert parts is not None

    def pad(to: int) -> None:
        if to > end:
            fields.append((f"_{len(fields)}", ctypes.c_uint8 * (to - end)))

    for name in record.dtype.names or ():
        dtype, offset = parts[name][:2]
        pad(offset)
        item, shape = dtype.subdtype or (dtype, ())
        kind: Any = (
            ctypes.c_char * item.itemsize
            if item.kind == "S"
            else _PLAIN[f"{item.kind}{item.itemsize}"]
        )
        for length in reversed(shape):
            kind = kind * length
        fields.append((name, kind))
        end = offset + dtype.itemsize
    pad(record.dtype.itemsize)
    made = type(
        record.name,
        (ctypes.Structure,),
        {"_fields_": fields, "type_name": staticmethod(lambda: record.name)},
    )
    if ctypes.sizeof(made) != record.dtype.itemsize:
        raise errors.make("record_mismatch", f"{record.name} has another layout in C")
    return made


def records_of(sample: Any, record: RecordType) -> Records:
    """A copy of a received slice as a structured array.

    Goes by the element count of the header: ``Slice.as_memory_view`` of iceoryx2 0.10.0 takes
    bytes for elements and reads beyond the end.
    """
    count = int(sample.header.number_of_elements)
    out = np.empty(count, record.dtype)
    ctypes.memmove(out.ctypes.data, sample.payload_ptr, out.nbytes)
    return out
