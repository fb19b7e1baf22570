"""States that an engine begins with or hands out: checkpoints, and bars of an earlier run."""

from __future__ import annotations

import numpy as np

from klineagg import errors
from klineagg._bars_concat import only_bars
from klineagg._engine_options import name_of
from klineagg._engine_reach import Reaching
from klineagg._options import check_bytes
from klineagg.bars import Bars
from klineagg.symbols import intern

__all__ = ["States"]


class States(Reaching):
    """The part of :class:`klineagg.Engine` that goes on where another one was."""

    def checkpoint(self) -> bytes:
        """The state of the whole engine at one moment, while trades flow.

        Open bars with their exact sums, what late trades can change, watermarks, ids of trades
        seen, kept bars and counts. Equal states are equal bytes, for any number of workers.
        Closed bars that a consumer has not acknowledged are not in it: to store both at one
        moment, take them together, ``engine.take("lake", checkpoint=True)``.

        Raises:
            EngineError: ``worker_failed``, ``forked``.
            WalHaltedError: the log has halted and is not on the disk up to here: after a power cut
                no engine could go on with both.
        """
        return self._core.checkpoint()

    def restore(self, checkpoint: bytes | bytearray | memoryview) -> int:
        """Goes on where :meth:`checkpoint` was called; before :meth:`start`, all or nothing.

        The engine may have other workers, and other intervals and rules: these are changed to as
        :meth:`reconfigure` does. A simulated clock that stands before the checkpoint's is moved.

        Returns:
            How many symbols it knows by it.

        Raises:
            EngineError: ``checkpoint_format`` for damaged bytes, ``checkpoint_version``,
                ``checkpoint_mismatch``, ``engine_state`` after the start or when symbols have
                come already.
            OptionError: ``invalid_option`` for what holds no bytes.
        """
        check_bytes(checkpoint, "checkpoint")
        with self._changing:
            symbols = self._restore(checkpoint)
            self._outputs += self._core.interval_names()[len(self._outputs) :]
            return symbols

    def _restore(self, checkpoint: bytes | bytearray | memoryview) -> int:
        try:
            return self._core.restore(checkpoint)
        except errors.EngineError as error:
            wider = self._reach.for_error(error)
            if wider == self._reach:
                raise
            self._use_reach(wider)
        return self._restore(checkpoint)

    def warm_start(self, bars: Bars) -> int:
        """Goes on behind bars of an earlier run; before :meth:`start`.

        Each symbol's watermark is the end of its last closed bar: earlier trades are late, bars
        that this end cuts are PARTIAL, flat bars follow at the last close, and ``keep_bars`` holds
        the rows. Open bars, and intervals that the engine does not have, are left out.

        Args:
            bars: closed bars, for example of :func:`klineagg.io.read_bars`.

        Returns:
            How many symbols it knows by them.

        Raises:
            ColumnError: ``unsupported_input`` for what is no Bars.
            EngineError: ``engine_state`` after the start.
        """
        only_bars([bars], "pass bars such as those of klineagg.io.read_bars()")
        if len(bars):
            opens, closes = bars.column("open_time"), bars.column("close_time")
            self._reach_times(int(opens.min().view(np.int64)), int(closes.max().view(np.int64)))
        numbers = {name_of(each): k for k, each in enumerate(self._outputs)}
        rows = bars.resolve()
        parts = [
            (symbol, numbers[name], part) for symbol, name, part in rows.series() if name in numbers
        ]
        if not parts:
            return 0
        whole = {
            name: np.concatenate([part.column(name) for _, _, part in parts])
            for name in bars.columns
        }
        sizes = np.array([len(part) for _, _, part in parts])
        ends = np.cumsum(sizes)
        ids = np.array([_id_of(symbol, part) for symbol, _, part in parts], np.int32)
        outputs = np.array([number for _, number, _ in parts], np.int16)
        whole["symbol"] = np.repeat(ids, sizes)
        whole["interval"] = np.repeat(outputs, sizes)
        return self._core.warm_start(whole, (ids, outputs, ends - sizes, ends))


def _id_of(symbol: str, part: Bars) -> int:
    """The id of a name in this process; bars from elsewhere have ids of their own."""
    number = int(part.column("symbol")[0])
    return int(intern(symbol)[0]) if number in part.symbol_table else number
