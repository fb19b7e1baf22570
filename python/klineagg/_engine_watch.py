"""Waiting for closed bars on an event loop, without a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

__all__ = ["Watch"]

# A look takes a microsecond, however many wait.
LOOK_EVERY_S: Final = 0.002

News = tuple[int, str]


class Watch:
    """Looks for news of one engine for all tasks of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, news: Callable[[], News]) -> None:
        self._loop = loop
        self._news = news
        self._waiting: list[tuple[News, asyncio.Future[None]]] = []

    async def wait(self, seen: News) -> None:
        """Until the news are other ones than ``seen``.

        Raises:
            EngineError: what asking for them raises.
        """
        future = self._loop.create_future()
        if not self._waiting:
            self._loop.call_soon(self._look)
        self._waiting.append((seen, future))
        await future

    def _look(self) -> None:
        waiting = [(seen, future) for seen, future in self._waiting if not future.done()]
        try:
            news = self._news()
        except Exception as error:
            for _, future in waiting:
                future.set_exception(error)
            waiting = []
        else:
            for seen, future in waiting:
                if seen != news:
                    future.set_result(None)
            waiting = [(seen, future) for seen, future in waiting if not future.done()]
        self._waiting = waiting
        if waiting:
            self._loop.call_later(LOOK_EVERY_S, self._look)
