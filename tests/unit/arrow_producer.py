"""An Arrow producer made by hand: it counts what is released and can break every promise."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

RELEASE = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class ArrowSchema(ctypes.Structure):
    _fields_ = (
        ("format", ctypes.c_char_p),
        ("name", ctypes.c_char_p),
        ("metadata", ctypes.c_char_p),
        ("flags", ctypes.c_int64),
        ("n_children", ctypes.c_int64),
        ("children", ctypes.c_void_p),
        ("dictionary", ctypes.c_void_p),
        ("release", ctypes.c_void_p),
        ("private_data", ctypes.c_void_p),
    )


class ArrowArray(ctypes.Structure):
    _fields_ = (
        ("length", ctypes.c_int64),
        ("null_count", ctypes.c_int64),
        ("offset", ctypes.c_int64),
        ("n_buffers", ctypes.c_int64),
        ("n_children", ctypes.c_int64),
        ("buffers", ctypes.c_void_p),
        ("children", ctypes.c_void_p),
        ("dictionary", ctypes.c_void_p),
        ("release", ctypes.c_void_p),
        ("private_data", ctypes.c_void_p),
    )


class ArrowStream(ctypes.Structure):
    _fields_ = (
        ("get_schema", ctypes.c_void_p),
        ("get_next", ctypes.c_void_p),
        ("get_last_error", ctypes.c_void_p),
        ("release", ctypes.c_void_p),
        ("private_data", ctypes.c_void_p),
    )


def address(thing: Any) -> int:
    return int(ctypes.cast(thing, ctypes.c_void_p).value or 0)


def capsule(struct: ctypes.Structure, name: bytes) -> Any:
    make = ctypes.pythonapi.PyCapsule_New
    make.restype = ctypes.py_object
    make.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    return make(ctypes.addressof(struct), name, None)


@dataclass
class Producer:
    """Keeps everything that it hands out alive, and counts the releases of arrays and streams."""

    arrays_released: int = 0
    streams_released: int = 0
    keep: list[Any] = field(default_factory=list)

    def callback(self, function: Callable[..., Any], *types: Any) -> int:
        thing = ctypes.CFUNCTYPE(*types)(function)
        self.keep.append(thing)
        return address(thing)

    def pointers(self, values: Sequence[int | None]) -> int:
        block = (ctypes.c_void_p * max(len(values), 1))(*values)
        self.keep.append(block)
        return ctypes.addressof(block)

    def memory(self, data: bytes) -> int:
        block = ctypes.create_string_buffer(data, len(data) + 64)
        self.keep.append(block)
        return ctypes.addressof(block)

    def schema(
        self, format_: bytes, name: bytes = b"", children: Sequence[ArrowSchema] = ()
    ) -> ArrowSchema:
        out = ArrowSchema(format=format_, name=name, flags=2, n_children=len(children))
        out.children = self.pointers([ctypes.addressof(child) for child in children])

        def release(pointer: int) -> None:
            ArrowSchema.from_address(pointer).release = None

        out.release = self.callback(release, None, ctypes.c_void_p)
        self.keep.append(out)
        return out

    def array(
        self,
        length: int,
        buffers: Sequence[int | None],
        *,
        null_count: int = 0,
        offset: int = 0,
        children: Sequence[ArrowArray] = (),
    ) -> ArrowArray:
        out = ArrowArray(
            length=length, null_count=null_count, offset=offset, n_buffers=len(buffers)
        )
        out.n_children = len(children)
        out.buffers = self.pointers(buffers)
        out.children = self.pointers([ctypes.addressof(child) for child in children])

        def release(pointer: int) -> None:
            self.arrays_released += 1
            ArrowArray.from_address(pointer).release = None

        out.release = self.callback(release, None, ctypes.c_void_p)
        self.keep.append(out)
        return out

    def pair(self, schema: ArrowSchema, array: ArrowArray) -> tuple[Any, Any]:
        return capsule(schema, b"arrow_schema"), capsule(array, b"arrow_array")

    def stream(
        self, schema: ArrowSchema, batches: Sequence[ArrowArray | int], message: bytes | None = None
    ) -> Any:
        """A number instead of a batch is the error code of that call."""
        left = list(batches)
        text = None if message is None else self.memory(message)

        def move(source: ctypes.Structure, target: int) -> None:
            ctypes.memmove(target, ctypes.addressof(source), ctypes.sizeof(source))
            source.release = None

        def get_schema(_: int, out: int) -> int:
            move(schema, out)
            return 0

        def get_next(_: int, out: int) -> int:
            if not left:
                ArrowArray.from_address(out).release = None
                return 0
            batch = left.pop(0)
            if isinstance(batch, int):
                return batch
            move(batch, out)
            return 0

        def release(pointer: int) -> None:
            self.streams_released += 1
            ArrowStream.from_address(pointer).release = None

        call = (ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
        out = ArrowStream(
            get_schema=self.callback(get_schema, *call),
            get_next=self.callback(get_next, *call),
            get_last_error=self.callback(lambda _: text, ctypes.c_void_p, ctypes.c_void_p),
            release=self.callback(release, None, ctypes.c_void_p),
        )
        self.keep.append(out)
        return capsule(out, b"arrow_array_stream")
