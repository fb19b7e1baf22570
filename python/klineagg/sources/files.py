"""Trades of files, one after the other, from any row on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from klineagg import errors
from klineagg.io.readers import TradeReader
from klineagg.io.roles import Wanted
from klineagg.sources.base import Batch, Source

__all__ = ["FileSource", "behind", "files_of", "rows_of"]


def rows_of(path: Path, wanted: Wanted, skip: int, counts: Source) -> Iterator[tuple[Any, int]]:
    """The trades of a file behind the first ``skip`` ones, as ``(data, rows)``.

    Bad records are counted where ``counts`` is asked for them. Those of the part that is skipped
    were counted when it was read first.
    """
    reader = TradeReader([path], wanted, on_bad="count")
    told: dict[str, int] = {}
    skipped = False
    for batch in reader:
        left = max(skip - batch.start, 0)
        if not skipped and left < batch.rows:
            skipped = True
            told = reader.faults if skip else {}
        if left < batch.rows:
            yield behind(batch.data, left), batch.rows - left
    for reason, count in reader.faults.items():
        if count > told.get(reason, 0):
            # Those of a part that was skipped are not the first ones of this run.
            first = reader.samples[0] if reader.samples and not told else ""
            counts.count(reason, count - told.get(reason, 0), first)


def behind(data: Any, rows: int) -> Any:
    """A chunk without its first rows."""
    if rows == 0:
        return data
    if isinstance(data, dict):
        return {name: column[rows:] for name, column in data.items()}
    return data.slice(rows)


class FileSource(Source):
    """Files in a given order; CSV (plain, gz, zip, zst), Parquet and Arrow.

    Args:
        paths: files, in the order of their trades; names may have ``*`` and ``?``, and files that
            one of those stands for are read by name.
        wanted: what the user says about the columns.
        position: of an earlier run.

    Raises:
        FileError: ``file_not_found``.
        SourceError: ``source_failed``: the position is in a file that is not among these.
    """

    def __init__(
        self, paths: Sequence[Path], wanted: Wanted, *, position: dict[str, Any] | None = None
    ) -> None:
        super().__init__()
        self._wanted = wanted
        self._paths = [found for path in paths for found in files_of(path)]
        names = [str(path) for path in self._paths]
        self._at, self._row = 0, 0
        if position is not None:
            file = position.get("file")
            if file is not None and file not in names:
                text = f"trades up to row {position.get('rows')} of {file} are stored already"
                hint = (
                    "list that file, and those behind it, in [source] paths; if it is gone, "
                    "a file of that name with its header alone will do"
                )
                raise errors.make("source_failed", text, hint=hint, file=file)
            if file is not None:
                self._at, self._row = names.index(file), int(position["rows"])
                self.goes_on = self._at + self._row > 0
            self.faults = dict(position.get("faults", {}))

    def batches(self) -> Iterator[Batch | None]:
        """The rest of the files."""
        first = self._at
        for number, path in enumerate(self._paths[first:], first):
            start = self._row if number == first else 0
            for data, rows in rows_of(path, self._wanted, start, self):
                if self._stopping:
                    return
                start += rows
                yield Batch(data, rows, (number, start))

    def done(self, batch: Batch) -> None:
        """The batch was taken over."""
        self._at, self._row = batch.mark

    def position(self) -> dict[str, Any] | None:
        """File and number of good rows in it."""
        file = str(self._paths[self._at]) if self._paths else None
        return {"kind": "file", "file": file, "rows": self._row, "faults": dict(self.faults)}

    def describe(self) -> dict[str, Any]:
        """Which file it is at."""
        return {
            "file": str(self._paths[self._at]) if self._paths else None,
            "row": self._row,
            "files": len(self._paths),
            "faults": dict(self.faults),
        }


def files_of(path: Path) -> list[Path]:
    """The files that a path or a pattern names, in order.

    Raises:
        FileError: ``file_not_found``.
    """
    if path.exists() or not set("*?[") & set(str(path)):
        if not path.is_file():
            raise errors.make("file_not_found", f"there is no file {path}", file=str(path))
        return [path]
    base = Path(path.anchor or ".")
    found = sorted(base.glob(str(path.relative_to(base)) if path.anchor else str(path)))
    if not found:
        text = f"no file is called like {path}"
        raise errors.make("file_not_found", text, file=str(path))
    return [each for each in found if each.is_file()]
