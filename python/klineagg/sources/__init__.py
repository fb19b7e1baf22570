"""Where an engine's trades come from: files, a followed directory, standard input.

All sources have one interface, :class:`Source`; :func:`make` gives the one of a configuration.
"""

from __future__ import annotations

from klineagg.sources.base import Batch, Source, make

__all__ = ["Batch", "Source", "make"]
