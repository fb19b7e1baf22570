"""What a ``with`` statement does with the objects of the bus."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Closing"]


class Closing:
    """Ends at the end of its block, by :meth:`_leave`."""

    def _leave(self, error: BaseException | None) -> None:
        """At the end of the block; ``error``: what it raised."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave(error)
