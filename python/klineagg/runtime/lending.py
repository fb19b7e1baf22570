"""Snapshots lent to other processes, and what becomes of those that do not come back."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from klineagg import errors
from klineagg._engine_snapshot import Snapshot
from klineagg.runtime.control import Reply
from klineagg.runtime.host import Host
from klineagg.runtime.sharing import describe, share_bytes

__all__ = ["Lender"]


@dataclass
class _Loan:
    snapshot: Snapshot
    state: int | None  # file of the checkpoint
    connection: int
    until: float
    rows: int  # closed
    empty: bool


@dataclass
class _Borrower:
    consumer: str
    process: int | None  # None: it did not say
    seen: float
    lent: int = 0
    stored: int = 0


class Lender:
    """Lends snapshots over the control socket.

    A loan ends with its ack or nack, with its connection, or when ``lease_s`` is over, by a clock
    of its own: the engine's may be a simulated one. Its memory is never written to again; it goes
    when the borrower lets go of it.

    Args:
        host: makes the snapshots.
        lease_s: may be set at any time, for loans to come.
    """

    def __init__(self, host: Host, lease_s: float) -> None:
        self._host = host
        self.lease_s = lease_s
        self._loans: dict[tuple[int, int], _Loan] = {}
        self._borrowers: dict[int, _Borrower] = {}  # by connection
        self._guard = threading.Lock()
        self.lent = self.expired = self.abandoned = 0
        self.acked = self.nacked = self.empty = self.rows = 0

    def take(
        self, connection: int, consumer: str, *, checkpoint: bool, process: int | None = None
    ) -> Reply:
        """A snapshot as a message, with the files of its memory."""
        self.expire()
        with self._guard:
            found = _Borrower(consumer, process, time.monotonic())
            borrower = self._borrowers.setdefault(connection, found)
            borrower.seen = time.monotonic()
        snapshot, state = self._host.freeze(consumer, checkpoint=checkpoint)
        file: int | None = None
        try:
            rows, empty = len(snapshot.closed), not (len(snapshot.closed) or len(snapshot.open))
            message, files = describe(snapshot)
            message["position"] = snapshot.position
            if state is not None:
                file = share_bytes(state)
                message["checkpoint"] = len(files)
                files.append(file)
        except BaseException:
            snapshot.nack()
            raise
        with self._guard:
            until = time.monotonic() + self.lease_s
            self._loans[snapshot.id.epoch, snapshot.id.number] = _Loan(
                snapshot, file, connection, until, rows, empty
            )
            self.lent += 1
            borrower.lent += 1
        return message, files

    def settle(self, how: str, number: tuple[int, ...]) -> None:
        """Ends a loan.

        Raises:
            SnapshotError: ``snapshot_over`` when there is none of that id (any more).
        """
        loan = self._pop(number)
        if loan is None:
            if how == "nack":
                return
            raise errors.make("snapshot_over", "the lease of this snapshot is over")
        if how == "ack":
            try:
                self._host.stored(loan.snapshot)
            except BaseException:
                loan.snapshot.nack()
                raise
            loan.snapshot.ack()
            self.seen(loan.connection, stored=1)
        else:
            loan.snapshot.nack()
        with self._guard:
            if how == "ack":
                self.acked += 1
                self.rows += loan.rows
            elif loan.empty:  # there was nothing to store, and nothing failed
                self.empty += 1
            else:
                self.nacked += 1

    def seen(self, connection: int, *, stored: int = 0) -> None:
        """A sign of life of who has borrowed before."""
        with self._guard:
            borrower = self._borrowers.get(connection)
            if borrower is not None:
                borrower.seen = time.monotonic()
                borrower.stored += stored

    def borrowers(self) -> list[dict[str, Any]]:
        """Who is connected and takes snapshots, for JSON."""
        with self._guard:
            now = time.monotonic()
            return [
                {
                    "consumer": one.consumer,
                    "process": one.process,
                    "lent": one.lent,
                    "stored": one.stored,
                    "seen_s": round(now - one.seen, 3),
                }
                for one in self._borrowers.values()
            ]

    def describe(self) -> dict[str, int]:
        """Loans by how they ended, and the closed rows of those that were acknowledged."""
        names = ("acked", "nacked", "empty", "expired", "abandoned", "rows")
        with self._guard:
            return {name: getattr(self, name) for name in names}

    def expire(self) -> None:
        """Takes back what is overdue."""
        now = time.monotonic()
        with self._guard:
            overdue = [number for number, loan in self._loans.items() if loan.until <= now]
        for number in overdue:
            if self._give_back(number):
                self.expired += 1

    def left(self, connection: int) -> None:
        """Takes back what a connection has that ended: its process is gone, or done."""
        with self._guard:
            self._borrowers.pop(connection, None)
            its = [n for n, loan in self._loans.items() if loan.connection == connection]
        for number in its:
            if self._give_back(number):
                self.abandoned += 1

    def close(self) -> None:
        """Takes everything back."""
        with self._guard:
            numbers = list(self._loans)
        for number in numbers:
            self._give_back(number)

    @property
    def outstanding(self) -> int:
        """Loans at the moment."""
        return len(self._loans)

    def _give_back(self, number: tuple[int, ...]) -> bool:
        loan = self._pop(number)
        if loan is not None:
            loan.snapshot.nack()
        return loan is not None

    def _pop(self, number: tuple[int, ...]) -> _Loan | None:
        with self._guard:
            loan = self._loans.pop((number[0], number[1]), None)
        if loan is not None and loan.state is not None:
            with suppress(OSError):
                os.close(loan.state)
        return loan
