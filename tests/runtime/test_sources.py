"""Sources: every row once, however files grow, move and come, and wherever a run was cut off."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from klineagg import errors
from klineagg.io.roles import Wanted
from klineagg.sources import Batch, Source
from klineagg.sources.directory import DirectorySource
from klineagg.sources.files import FileSource
from klineagg.sources.stdin import StdinSource

HEADER = "symbol,time,price,quantity,trade_id\n"
START_MS = 1_700_000_000_000


def line(number: int) -> str:
    return f"BTCUSDT,{START_MS + number},{100 + number % 7}.5,{1 + number % 3},{number}\n"


def lines(numbers: Iterable[int]) -> str:
    return "".join(map(line, numbers))


def ids(batch: Batch) -> list[int]:
    """The trades of a batch, by their ids."""
    parts = batch.data if isinstance(batch.data, list) else [batch.data]
    out: list[int] = []
    for part in parts:
        column = part["trade_id"]
        out += column.tolist() if isinstance(part, dict) else column.to_pylist()
    assert len(out) == batch.rows
    return out


def some(source: Source, looks: int = 3) -> list[int]:
    """What there is now: until the source has had nothing that many times."""
    found: list[int] = []
    idle = 0
    for batch in source.batches():
        if batch is None:
            idle += 1
            if idle == looks:
                break
            continue
        found += ids(batch)
        source.done(batch)
    return found


def again(position: dict[str, Any] | None) -> dict[str, Any]:
    assert position is not None
    return dict(json.loads(json.dumps(position)))


# -- files ---------------------------------------------------------------------------------------


def write(path: Path, text: str, kind: str) -> Path:
    if kind == "gz":
        path = path.with_suffix(".csv.gz")
        path.write_bytes(gzip.compress(text.encode()))
    elif kind == "parquet":
        pa = pytest.importorskip("pyarrow")
        csv = pytest.importorskip("pyarrow.csv")
        parquet = pytest.importorskip("pyarrow.parquet")
        table = csv.read_csv(pa.BufferReader(text.encode()))
        path = path.with_suffix(".parquet")
        parquet.write_table(table, path, row_group_size=7)
    else:
        path = path.with_suffix(".csv")
        path.write_text(text)
    return path


@pytest.mark.parametrize("kind", ["csv", "gz", "parquet"])
def test_a_file_source_goes_on_from_every_position(tmp_path: Path, kind: str) -> None:
    names = [
        write(tmp_path / f"part{k}", HEADER + lines(range(k * 20, k * 20 + 20)), kind)
        for k in range(3)
    ]
    whole = FileSource(names, Wanted())
    positions = [whole.position()]
    seen: list[list[int]] = [[]]
    for batch in whole.batches():
        assert batch is not None
        whole.done(batch)
        positions.append(whole.position())
        seen.append(seen[-1] + ids(batch))
    assert seen[-1] == list(range(60))
    assert len(positions) >= 4
    for position, before in zip(positions, seen, strict=True):
        rest = some(FileSource(names, Wanted(), position=again(position)))
        assert before + rest == list(range(60))


def test_a_position_within_a_batch_is_cut_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a", HEADER + lines(range(10)), "csv")
    for row in range(11):
        position = {"kind": "file", "file": str(path), "rows": row}
        assert some(FileSource([path], Wanted(), position=position)) == list(range(row, 10))


def test_files_by_pattern_and_a_position_elsewhere(tmp_path: Path) -> None:
    for k in (2, 0, 1):
        write(tmp_path / f"day{k}", HEADER + lines(range(k * 5, k * 5 + 5)), "csv")
    assert some(FileSource([tmp_path / "day*.csv"], Wanted())) == list(range(15))
    with pytest.raises(errors.FileError):
        FileSource([tmp_path / "none*.csv"], Wanted())
    with pytest.raises(errors.FileError):
        FileSource([tmp_path / "none.csv"], Wanted())
    elsewhere = {"kind": "file", "file": "day9.csv", "rows": 3}
    with pytest.raises(errors.SourceError, match=r"day9\.csv"):
        FileSource([tmp_path / "day0.csv"], Wanted(), position=elsewhere)


def test_a_file_that_was_read_and_is_gone_may_be_its_header_alone(tmp_path: Path) -> None:
    """As the error of a position elsewhere says: else there was no way on."""
    gone = write(tmp_path / "jan", HEADER + lines(range(5)), "csv")
    source = FileSource([gone], Wanted())
    assert some(source) == list(range(5))
    position = again(source.position())
    following = write(tmp_path / "feb", HEADER + lines(range(5, 9)), "csv")
    with pytest.raises(errors.SourceError, match="its header alone"):
        FileSource([following], Wanted(), position=position)
    gone.write_text(HEADER)
    assert some(FileSource([gone, following], Wanted(), position=position)) == list(range(5, 9))


def test_bad_rows_are_counted_by_reason(tmp_path: Path) -> None:
    bad = f"BTCUSDT,{START_MS},none,1,77\nBTCUSDT,soon,1.5,1,78\n"
    path = write(tmp_path / "a", HEADER + lines(range(5)) + bad + lines(range(5, 9)), "csv")
    source = FileSource([path], Wanted())
    assert some(source) == list(range(9))
    assert sum(source.faults.values()) == 2
    assert all("price" in reason or "time" in reason for reason in source.faults)
    assert source.first_fault.startswith(f"{path}:7: price 'none'")


# -- a directory ---------------------------------------------------------------------------------


_followed: list[DirectorySource] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """What a test followed is closed behind it: a file left open would be blamed on another one."""
    yield
    while _followed:
        _followed.pop().close()


def follow(folder: Path, **options: Any) -> DirectorySource:
    settle_s = options.pop("settle_s", 0.0)
    source = DirectorySource(folder, Wanted(), settle_s=settle_s, **options)
    _followed.append(source)
    return source


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_half_written_lines_are_left_until_they_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    text = HEADER + lines(range(40))
    source = follow(tmp_path)
    found: list[int] = []
    rng = random.Random(1)
    at = 0
    while at < len(text):
        step = rng.randint(1, 60)
        append(path, text[at : at + step])
        at += step
        found += some(source, looks=1)
        whole = text[:at].count("\n") - 1
        assert found == list(range(max(whole, 0)))
    assert source.describe()["unfinished_lines"] == 0
    append(path, line(40)[:-5])
    assert some(source) == []
    assert source.describe()["unfinished_lines"] == 1


def test_new_files_are_found_and_others_left_alone(tmp_path: Path) -> None:
    source = follow(tmp_path, pattern="*.csv")
    assert some(source) == []
    (tmp_path / "b.csv").write_text(HEADER + lines(range(10, 15)))
    (tmp_path / "a.csv").write_text(HEADER + lines(range(5)))
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / ".hidden.csv").write_text("nothing")
    (tmp_path / "c.csv.tmp").write_text("nothing")
    assert some(source) == [*range(5), *range(10, 15)]
    write(tmp_path / "d", HEADER + lines(range(20, 25)), "csv")
    assert some(source) == list(range(20, 25))
    assert source.faults == {}


def test_packed_files_are_read_when_they_have_settled(tmp_path: Path) -> None:
    source = follow(tmp_path, settle_s=3_600.0)
    write(tmp_path / "a", HEADER + lines(range(8)), "gz")
    write(tmp_path / "b", HEADER + lines(range(8, 20)), "parquet")
    assert some(source) == []
    for path in tmp_path.iterdir():
        long_ago = path.stat().st_mtime - 3_600
        os.utime(path, (long_ago, long_ago))
    assert some(source) == list(range(20))
    assert some(source) == []
    later = follow(tmp_path, settle_s=0.0, position=again(source.position()))
    assert some(later) == []


@pytest.mark.parametrize("pattern", ["*.csv", "*"])
def test_rotation_by_renaming_loses_and_doubles_nothing(tmp_path: Path, pattern: str) -> None:
    path = tmp_path / "trades.csv"
    path.write_text(HEADER + lines(range(5)))
    source = follow(tmp_path, pattern=pattern)
    assert some(source) == list(range(5))
    append(path, lines(range(5, 8)) + line(8)[:-4])
    path.rename(tmp_path / "trades.csv.1")
    append(tmp_path / "trades.csv.1", line(8)[-4:])
    path.write_text(HEADER + lines(range(9, 12)))
    assert sorted(some(source)) == list(range(5, 12))
    position = again(source.position())
    append(path, lines(range(12, 14)))
    assert some(source) == [12, 13]
    assert some(follow(tmp_path, pattern=pattern, position=position)) == [12, 13]


def test_rotation_by_copying_and_emptying(tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    path.write_text(HEADER + lines(range(50)))
    source = follow(tmp_path)
    assert some(source) == list(range(50))
    append(path, lines(range(50, 53)))
    shutil.copy(path, tmp_path / "trades.csv.1")
    path.write_text(HEADER + lines(range(60, 63)))
    found = some(source)
    assert sorted(found) == [50, 51, 52, 60, 61, 62]
    later = follow(tmp_path, position=again(source.position()))
    assert some(later) == []


def test_a_file_that_is_removed_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    path.write_text(HEADER + lines(range(5)))
    source = follow(tmp_path)
    assert some(source) == list(range(5))
    append(path, lines(range(5, 7)) + line(7).rstrip("\n"))
    path.unlink()
    assert some(source) == [5, 6, 7]
    assert source.describe()["open"] == 0


def test_a_file_that_is_replaced_by_a_longer_one_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    path.write_text(HEADER + lines(range(5)))
    source = follow(tmp_path)
    assert some(source) == list(range(5))
    (tmp_path / ".new").write_text(HEADER + lines(range(9)))
    os.replace(tmp_path / ".new", path)
    assert some(source) == [5, 6, 7, 8]
    (tmp_path / ".new").write_text(HEADER + lines(range(100, 120)))
    os.replace(tmp_path / ".new", path)
    assert some(source) == list(range(100, 120))


def test_a_file_that_is_no_trades_does_not_end_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("<html>\nno such page\n</html>\n")
    (tmp_path / "b.csv").write_text(HEADER + lines(range(3)))
    source = follow(tmp_path)
    assert some(source) == [0, 1, 2]
    assert some(source) == []
    assert source.faults == {"file_format": 1}  # told once
    (tmp_path / "a.csv").write_text(HEADER + lines(range(10, 12)))
    assert some(source) == [10, 11]


def test_the_folder_may_be_missing_or_go(tmp_path: Path) -> None:
    with pytest.raises(errors.FileError):
        follow(tmp_path / "none")
    folder = tmp_path / "trades"
    folder.mkdir()
    source = follow(folder)
    folder.rmdir()
    with pytest.raises(errors.SourceError):
        some(source)


def steps(folder: Path, rng: random.Random) -> Iterator[int]:
    """Changes a folder as writers do; gives the number of trades written so far."""
    count = 0
    rotated = 0
    path = folder / "live.csv"
    path.write_text(HEADER)
    while True:
        kind = rng.random()
        rows = rng.randint(1, 30)
        if kind < 0.7:
            text = lines(range(count, count + rows))
            cut = rng.randint(0, len(text))
            append(path, text[:cut])
            yield count  # rows of a line that is not whole do not count
            append(path, text[cut:])
            count += rows
        elif kind < 0.85:
            rotated += 1
            path.rename(folder / f"live.csv.{rotated}")
            path.write_text(HEADER)
        else:
            rotated += 1
            (folder / ".packed").write_bytes(
                gzip.compress((HEADER + lines(range(count, count + rows))).encode())
            )
            (folder / ".packed").rename(folder / f"z{rotated:03}.csv.gz")
            count += rows
        yield count


@pytest.mark.parametrize("seed", range(12))
def test_a_run_that_is_cut_off_anywhere_goes_on_without_loss_or_doubling(
    tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    writer = steps(tmp_path, rng)
    kept: list[int] = []  # what was committed together with its position
    position: dict[str, Any] | None = None
    written = 0
    for _ in range(25):
        source = follow(tmp_path, position=position)
        taken: list[int] = []
        idle = 0
        for batch in source.batches():
            for _ in range(rng.randint(0, 2)):
                written = next(writer)
            if batch is None:
                idle += 1
            else:
                taken += ids(batch)
                source.done(batch)
            if rng.random() < 0.4:  # a commit
                kept, taken, position = kept + taken, [], again(source.position())
            if rng.random() < 0.2 or idle > 3:  # a kill
                break
        source.close()
    for _ in range(2):
        written = next(writer)
    last = follow(tmp_path, position=position)
    kept += some(last)
    assert len(set(kept)) == len(kept)
    assert written <= len(kept)
    assert sorted(kept) == list(range(len(kept)))


# -- standard input ------------------------------------------------------------------------------


def piped(data: bytes, format: str, wanted: Wanted | None = None, piece: int = 37) -> StdinSource:
    inner, outer = os.pipe()

    def write_all() -> None:
        for at in range(0, len(data), piece):
            os.write(outer, data[at : at + piece])
        os.close(outer)

    threading.Thread(target=write_all, daemon=True).start()
    return StdinSource(wanted or Wanted(), format=format, file=inner)


def test_csv_from_a_pipe_in_any_pieces() -> None:
    text = (HEADER + lines(range(200))).rstrip("\n").encode()
    for piece in (1, 37, 100_000):
        source = piped(text, "csv", piece=piece)
        assert some(source, looks=1_000) == list(range(200))
        assert source.position() is None
        assert source.describe()["rows"] == 200


def test_json_lines_keep_every_digit_and_count_what_is_none() -> None:
    rows: list[Any] = [
        '{"symbol": "A", "time": 1700000000000, "price": "0.1", "quantity": 3, "side": "buy"}',
        '{"side": "sell", "price": 0.30000000000000004, "time": 1700000000001, "quantity": "2",'
        ' "symbol": "B, \\"C\\"", "more": [1]}',
        "no json",
        "[1, 2]",
        '{"symbol": "A", "time": 1700000000002, "price": "x", "quantity": 3, "side": "buy"}',
        '{"symbol": "A", "time": 1700000000003, "quantity": 3, "side": "buy"}',
    ]
    source = piped("\n".join(rows).encode(), "jsonl")
    batches = [batch for batch in source.batches() if batch is not None]
    from klineagg import symbol_names

    data = {
        name: np.concatenate([batch.data[name] for batch in batches])
        for name in ("symbol", "price", "quantity", "side")
    }
    assert symbol_names(data["symbol"]) == ["A", 'B, "C"']
    assert data["price"].tolist() == [0.1, 0.30000000000000004]
    assert data["quantity"].tolist() == [3.0, 2.0]
    assert data["side"].tolist() == [1, -1]
    assert source.faults["json_unreadable"] == 2
    assert sum(source.faults.values()) == 4
    assert source.first_fault == "<stdin>:3: 'no json' (json_unreadable)"


def test_the_first_bad_value_of_json_lines_is_named_by_its_own_line() -> None:
    good = '{"symbol": "A", "time": 1700000000000, "price": "0.1", "quantity": 3}\n'
    source = piped(f"\n{good}\n{good.replace('0.1', 'x')}{good}".encode(), "jsonl", piece=90)
    assert sum(batch.rows for batch in source.batches() if batch is not None) == 2
    assert source.first_fault.startswith("<stdin>:4: price 'x'")


def test_what_is_packed_or_has_no_columns_is_refused() -> None:
    with pytest.raises(errors.SourceError, match="packed"):
        some(piped(gzip.compress(b"x" * 100), "csv"), looks=1_000)
    with pytest.raises(errors.ColumnError):
        some(piped(b"a,b,c\n1,2,3\n4,5,6\n", "csv"), looks=1_000)
    assert some(piped(b"", "csv"), looks=1_000) == []
    assert some(piped(HEADER.encode(), "csv"), looks=1_000) == []
