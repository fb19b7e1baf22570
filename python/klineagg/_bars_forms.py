"""Results in other forms: NumPy, pandas, polars, Arrow, Parquet, pictures and text."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from numpy.typing import NDArray

from klineagg._bars_columns import ColumnProperties

if TYPE_CHECKING:
    import numpy as np
    import pandas
    import polars
    import pyarrow
    from matplotlib.axes import Axes

    from klineagg.bars import Bars

__all__ = ["Forms"]


class Forms(ColumnProperties):
    """The conversions of :class:`klineagg.Bars`."""

    __slots__ = ()

    def _bars(self) -> Bars:
        return cast("Bars", self)

    def to_numpy(self, *, names: bool = False) -> NDArray[np.void]:
        """A structured array ``(n,)`` with the columns as fields; always a copy.

        Args:
            names: ``symbol`` and ``interval`` as fixed-width text instead of the id and the index,
                which are for :attr:`symbol_table` and :attr:`intervals`.
        """
        from klineagg import _bars_export

        return _bars_export.to_numpy(self._bars(), names=names)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("columns become a structured array only by a copy")
        array = self.to_numpy()
        return array if dtype is None else array.astype(dtype)

    def to_pandas(self, *, index: str | Sequence[str] | None = None) -> pandas.DataFrame:
        """A pandas DataFrame: symbol and interval categorical, times in UTC.

        Args:
            index: column or columns to become the index, for example ``"open_time"``.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        from klineagg import _bars_export

        frame: pandas.DataFrame = _bars_export.to_pandas(self._bars(), index=index)
        return frame

    def to_polars(self) -> polars.DataFrame:
        """A polars DataFrame: symbol and interval categorical, times in UTC.

        Raises:
            MissingExtraError: polars is not installed.
        """
        from klineagg import _bars_export

        frame: polars.DataFrame = _bars_export.to_polars(self._bars())
        return frame

    def to_arrow(self) -> pyarrow.Table:
        """A pyarrow Table over the memory of these bars: symbol and interval dictionaries of text,
        times in UTC (null where NumPy has NaT).

        Raises:
            MissingExtraError: pyarrow is not installed.
        """
        from klineagg import _bars_export

        table: pyarrow.Table = _bars_export.to_arrow(self._bars())
        return table

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """The Arrow PyCapsule interface: DuckDB, polars, pyarrow and others read bars directly.

        ``requested_schema`` is a wish that the interface allows to leave unfulfilled.
        """
        from klineagg import _bars_export

        return _bars_export.arrow_stream(self._bars())

    def __arrow_c_schema__(self) -> Any:
        """The schema of :meth:`__arrow_c_stream__`."""
        from klineagg import _bars_export

        return _bars_export.arrow_schema()

    def to_parquet(self, path: str | os.PathLike[str], *, compression: str = "zstd") -> None:
        """Writes a Parquet file that :meth:`read_parquet` and others can read.

        The file appears when it is complete; an older one is replaced then.

        Raises:
            MissingExtraError: pyarrow is not installed.
            FileError: ``file_not_written``; nothing is left behind then.
        """
        from klineagg import _bars_files

        _bars_files.to_parquet(self._bars(), path, compression)

    @staticmethod
    def read_parquet(path: str | os.PathLike[str]) -> Bars:
        """The bars of a file written by :meth:`to_parquet`.

        Raises:
            MissingExtraError: pyarrow is not installed.
            FileError: ``file_not_found``, ``file_format`` or ``file_truncated``.
            ColumnError: it is not a file of bars.
            ResultError: ``record_version`` when a later klineagg has written it.
        """
        from klineagg import _bars_files

        return _bars_files.read_parquet(path)

    @staticmethod
    def from_arrow(data: Any) -> Bars:
        """The bars in Arrow data with the columns of :meth:`to_arrow`, in any order.

        Args:
            data: anything with ``__arrow_c_stream__`` or ``__arrow_c_array__``.

        Raises:
            MissingExtraError: pyarrow is not installed.
            ColumnError: a column is missing or has a type that cannot be converted.
            ResultError: ``record_version`` when a later klineagg has made it.
        """
        from klineagg import _bars_files

        return _bars_files.from_arrow(data)

    def plot(
        self, symbol: str | int | None = None, interval: str | None = None, **options: Any
    ) -> Axes:
        """Candles and volume of one series; see :func:`klineagg.plot.plot` for the options."""
        from klineagg.plot import plot

        return plot(self._bars(), symbol, interval, **options)

    def __repr__(self) -> str:
        from klineagg.terminal import repr_text

        return repr_text(self._bars())

    def _repr_html_(self) -> str:
        from klineagg._bars_html import bars_html

        return bars_html(self._bars())
