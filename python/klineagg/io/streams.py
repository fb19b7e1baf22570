"""Files as streams of bytes: plain, gzip, zip and zstd, from disk or standard input."""

from __future__ import annotations

import importlib
import io
import os
import shutil
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from klineagg import errors
from klineagg.io.held import Held, is_once

__all__ = ["Stream", "damaged", "held", "open_streams", "seekable"]

_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = b"PK\x03\x04"
_ZIP_EMPTY: Final = b"PK\x05\x06"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE: Final = b"\x2a\x4d\x18"  # behind one byte of 0x50 to 0x5f
_STDIN: Final = "<stdin>"
_BUFFER_BYTES: Final = 1 << 18
# Small, since what comes out may be a thousand times as large.
_PACKED_BYTES: Final = 1 << 16
# Archives hold these beside the data.
_NOT_DATA: Final = (".checksum", ".md5", ".sha256", ".txt", ".pdf", ".ds_store")


@dataclass
class Stream:
    """One uncompressed stream.

    Attributes:
        label: how messages call it: the path, and the member of an archive behind a colon.
        names: names that may tell the symbol, the most telling first, without directories.
        data: its bytes, buffered.
        raw: the outermost file, whose position tells how far the work is.
        path: the file, when ``data`` is just that and not compressed.
        compression: ``gzip``, ``zip``, ``zstd`` or empty.
    """

    label: str
    names: tuple[str, ...]
    data: io.BufferedReader
    raw: IO[bytes]
    path: Path | None
    compression: str = ""

    def peek(self, size: int) -> bytes:
        """The next bytes, up to ``size``, without reading them."""
        with damaged(self.label):
            return self.data.peek(size)[:size]

    def text(self) -> str:
        """All of it as text; bytes that are not UTF-8 become replacement characters."""
        return self.read(-1).decode("utf-8-sig", errors="replace")

    @contextmanager
    def lines(self) -> Iterator[Iterator[str]]:
        """Its lines with their ends, as :mod:`csv` wants them, decoded like :meth:`text`.

        Raises:
            FileError: ``file_truncated`` when the compressed data is damaged.
        """
        reader = io.TextIOWrapper(self.data, "utf-8-sig", errors="replace", newline="")
        try:
            with damaged(self.label):
                yield reader
        finally:
            reader.detach()  # else it would close what it was given

    def no_csv(self, error: Exception) -> errors.KlineaggError:
        """The error for text that the csv module cannot read."""
        return errors.make("file_format", f"{self.label} is not CSV: {error}", file=self.label)

    def read(self, size: int) -> bytes:
        """The next bytes; fewer than ``size`` only at the end, -1: all.

        Raises:
            FileError: ``file_truncated`` when the compressed data is damaged.
        """
        with damaged(self.label):
            return self.data.read(size)


class damaged:
    """Turns the errors of decompression within it into typed ones that name the file."""

    def __init__(self, label: str) -> None:
        self._label = label

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        broken = (EOFError, zlib.error, zipfile.BadZipFile, _Damage)
        if isinstance(error, broken):
            text = f"{self._label} is damaged or truncated: {error}"
            raise errors.make("file_truncated", text, file=self._label) from error
        if isinstance(error, errors.KlineaggError):
            return
        if isinstance(error, RuntimeError):
            # zipfile says so of encrypted members and of unknown methods.
            text = f"{self._label} cannot be unpacked: {error}"
            raise errors.make("file_format", text, file=self._label) from error
        if isinstance(error, OSError):
            text = f"{self._label} cannot be read: {error.strerror or error}"
            raise errors.make("file_format", text, hint="", file=self._label) from error


@contextmanager
def held(path: str | os.PathLike[str]) -> Iterator[str | os.PathLike[str]]:
    """The path as it is, or what is to be opened instead where it can be read only once.

    For who looks at an input before reading it, see :func:`klineagg.io.barfiles.is_bars_file`.

    Raises:
        FileError: ``file_not_found``.
    """
    if not is_once(path):
        yield path
        return
    with ExitStack() as stack:
        raw = _standard_input(_STDIN) if os.fspath(path) == "-" else _open(Path(path))
        if os.fspath(path) != "-":
            stack.enter_context(raw)
        found = Held(path, raw)
        stack.callback(found.close)
        yield found


def open_streams(path: str | os.PathLike[str], *, again: bool = False) -> Iterator[Stream]:
    """The streams in a file: one, or each member of a zip archive.

    A stream is closed when the next one is asked for.

    Args:
        path: a file; ``-`` is standard input.
        again: whether it will be opened again; possible for files and what :func:`held` gives.

    Raises:
        FileError: ``file_not_found``, ``file_format``, ``file_truncated``.
        MissingExtraError: ``missing_extra`` for zstd without a package that reads it.
    """
    with ExitStack() as stack:
        is_stdin = os.fspath(path) == "-"
        target = Path(path)
        raw: Any
        if isinstance(path, Held):
            raw = path.reading(again=again)
        elif is_stdin:
            raw = _standard_input(_STDIN)
        else:
            raw = stack.enter_context(_open(target))
        label = _STDIN if is_stdin else str(target)
        names = () if is_stdin else (target.name,)
        # What can be read only once is no file that could be opened by its name, or sought.
        file = None if is_once(path) else target
        yield from _unpack(stack, Stream(label, names, _buffered(raw), raw, file))


def _standard_input(label: str) -> IO[bytes]:
    if sys.stdin is None:
        text = "standard input is closed"
        raise errors.make("file_not_found", text, hint="pipe trades into it", file=label)
    return sys.stdin.buffer


def _open(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise errors.make("file_not_found", f"there is no file {path}", file=str(path)) from error
    except IsADirectoryError as error:
        text = f"{path} is a directory"
        hint = f"name its files, for example {path}/*.zip"
        raise errors.make("file_format", text, hint=hint, file=str(path)) from error
    except OSError as error:
        text = f"{path} cannot be opened: {error.strerror or error}"
        raise errors.make("file_not_found", text, hint="", file=str(path)) from error


def _buffered(raw: Any) -> Any:
    return raw if hasattr(raw, "peek") else io.BufferedReader(raw, _BUFFER_BYTES)


def _unpack(stack: ExitStack, stream: Stream) -> Iterator[Stream]:
    magic = stream.peek(4)
    if magic.startswith(_GZIP):
        inner = _Unpacked(stream.data, _gzip_decompressor, zlib.error)
        yield from _unpack(stack, _inside(stream, inner, "gzip", ".gz"))
    elif magic == _ZSTD or (magic[1:] == _ZSTD_SKIPPABLE and 0x50 <= magic[0] <= 0x5F):
        inner = _Unpacked(stream.data, *_zstd_decompressor(stream.label))
        yield from _unpack(stack, _inside(stream, inner, "zstd", ".zst"))
    elif magic in (_ZIP, _ZIP_EMPTY):
        yield from _members(stack, stream)
    else:
        yield stream


def _inside(stream: Stream, inner: Any, compression: str, suffix: str) -> Stream:
    names = tuple(
        name[: -len(suffix)] if name.lower().endswith(suffix) else name for name in stream.names
    )
    data = io.BufferedReader(inner, _BUFFER_BYTES)
    return Stream(stream.label, names, data, stream.raw, None, compression)


def _members(stack: ExitStack, stream: Stream) -> Iterator[Stream]:
    """Each file of an archive in its order, which is by time in archives that hold several days."""
    with damaged(stream.label):
        archive = stack.enter_context(zipfile.ZipFile(seekable(stack, stream)))
    found = [
        info
        for info in archive.infolist()
        if not info.is_dir()
        and not info.filename.startswith("__MACOSX/")
        and not info.filename.lower().endswith(_NOT_DATA)
    ]
    if not found:
        text = f"the archive {stream.label} has no data files"
        raise errors.make("file_format", text, hint="fetch the file again", file=stream.label)
    for info in found:
        label = f"{stream.label}:{info.filename}"
        with damaged(label):
            member: Any = archive.open(info)
        with member:
            names = (Path(info.filename).name, *stream.names)
            data = io.BufferedReader(member, _BUFFER_BYTES)
            yield from _unpack(stack, Stream(label, names, data, stream.raw, None, "zip"))


def seekable(stack: ExitStack, stream: Stream) -> IO[bytes]:
    """The stream as a file that can be sought, by way of a temporary file where it must be."""
    if stream.path is not None:
        return stream.raw
    copy: IO[bytes] = stack.enter_context(tempfile.TemporaryFile(prefix="klineagg-"))  # noqa: SIM115
    with damaged(stream.label):
        shutil.copyfileobj(stream.data, copy, _BUFFER_BYTES)
    copy.seek(0)
    return copy


class _Damage(Exception):
    pass


class _Unpacked(io.RawIOBase):
    """Decompresses frame by frame, and notices when the last one is cut off.

    Python's own gzip reads in steps that are too small to be fast, and the zstd readers take the
    end of the file for the end of the data.

    Args:
        source: the compressed bytes.
        new: makes a decompressor of one frame, with ``decompress``, ``eof`` and ``unused_data``.
        failures: what it raises for damaged data.
    """

    def __init__(self, source: Any, new: Callable[[], Any], failures: Any) -> None:
        super().__init__()
        self._source = source
        self._new = new
        self._failures = failures
        self._frame: Any = None
        self._rest = b""
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer with the next bytes; 0 at the end."""
        while not self._ready:
            self._rest = self._rest or self._source.read(_PACKED_BYTES)
            if self._frame is None:
                # Tapes and some servers fill up the last block with zeros.
                self._rest = self._rest.lstrip(b"\0") or self._source.read(_PACKED_BYTES)
            if not self._rest:
                if self._frame is not None:
                    raise _Damage("the compressed data has no end")
                return 0
            self._frame = self._frame or self._new()
            try:
                self._ready = memoryview(self._frame.decompress(self._rest))
            except self._failures as error:
                raise _Damage(str(error)) from error
            self._rest = self._frame.unused_data
            if self._frame.eof:
                self._frame = None
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size


def _gzip_decompressor() -> Any:
    return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)


def _zstd_decompressor(label: str) -> tuple[Callable[[], Any], Any]:
    """A factory of decompressors for one frame, and the errors that they raise."""
    for name in ("compression.zstd", "zstandard"):  # the first is part of Python 3.14
        try:
            module: Any = importlib.import_module(name)
        except ImportError:
            continue
        if name == "zstandard":
            return module.ZstdDecompressor().decompressobj, module.ZstdError
        return module.ZstdDecompressor, module.ZstdError
    text = f"{label} is compressed with zstd, which needs a package"
    hint = "pip install zstandard, use Python 3.14, or unpack it with: zstd -d"
    raise errors.make("missing_extra", text, hint=hint, module="zstandard")
