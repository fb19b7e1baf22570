"""Bars in a lake of Parquet files that other processes read while it is written.

The catalog is kept by DuckLake, the files are Parquet, and everything is read and written through
DuckDB. :class:`Lake` is all that users need; see ``docs/GUIDE-LAKE.md``.
"""

from __future__ import annotations

from klineagg.lake.lake import Lake
from klineagg.lake.maintain import Maintenance
from klineagg.lake.query import QueryResult
from klineagg.lake.state import CommitResult, Fence

__all__ = ["CommitResult", "Fence", "Lake", "Maintenance", "QueryResult"]
