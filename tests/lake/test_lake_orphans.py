"""Files that no snapshot knows, because their writer was killed between them and its commit."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from klineagg.lake import Lake
from lake.lakes import Model, content, delivery
from lake.test_lake_files import listing_of, parquet_files
from lake.test_lake_servers import start

DAY_S = 86_400
# Its rows are in files, and the catalog does not know of them.
KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import klineagg.lake.commit
from klineagg.lake import Lake
from lake.lakes import delivery

def killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)

with Lake(sys.argv[2]) as lake:
    klineagg.lake.commit.write_fences = killed
    lake.commit(delivery(3, [{"at": 3}, {"at": 1440}], [{"at": 4}]))
"""


def known_files(lake: Lake) -> set[Path]:
    """Of the newest snapshot."""
    tables = listing_of(lake).tables.values()
    return {Path(file.path) for files in tables for file in files}


def test_files_of_a_killed_writer_are_counted_and_removed_when_they_are_old(
    lake: Lake, tmp_path: Path
) -> None:
    model = Model()
    for number in (1, 2):
        snapshot = delivery(number, [{"at": number}], [{"at": number + 1}])
        model.commit(snapshot)
        lake.commit(snapshot)
    before = parquet_files(tmp_path)
    for _ in range(2):
        writer = start(KILLED, str(tmp_path / "lake"))
        _, complaint = writer.communicate(timeout=240)
        assert writer.returncode == -signal.SIGKILL, complaint
    orphans = sorted(parquet_files(tmp_path) - before)
    assert len(orphans) >= 4, "both of the writers had written closed and open bars"
    with Lake(tmp_path / "lake") as other:
        assert content(other) == model.rows(), "nobody reads them"
        # Those of a writer that is at work have no commit yet either.
        assert other.maintain().orphans_removed == 0
        assert set(orphans) <= parquet_files(tmp_path)
        two_days_ago = time.time() - 2 * DAY_S
        for path in orphans[:3]:
            os.utime(path, (two_days_ago, two_days_ago))
        assert other.maintain().orphans_removed == 3
        assert not any(path.exists() for path in orphans[:3])
        assert other.maintain(orphan_age="1ns").orphans_removed == len(orphans) - 3
        assert not any(path.exists() for path in orphans)
        assert known_files(other) <= parquet_files(tmp_path)
        again = delivery(3, [{"at": 3}, {"at": 1440}], [{"at": 4}])
        model.commit(again)
        assert other.commit(again).applied and content(other) == model.rows()
        assert other.maintain(orphan_age="1ns").orphans_removed == 0
