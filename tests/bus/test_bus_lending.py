"""Loans and peeks: one at a time, and what becomes of those that are lost."""

from __future__ import annotations

import pytest

from bus.records import CHECKED, checked
from klineagg.bus import Bus
from klineagg.errors import BusError


def test_a_loan_that_is_lost_is_given_back(bus: Bus) -> None:
    subscriber = bus.subscriber("ticks", record=CHECKED)
    publisher = bus.publisher("ticks", record=CHECKED)
    arrays = publisher.loan(3).arrays  # the loan itself is gone, but somebody may write still
    with pytest.raises(BusError, match="a loan of 3 records of the publisher publisher") as caught:
        publisher.publish(checked(1, 1))
    assert caught.value.name == "loan_outstanding"
    arrays.clear()
    assert publisher.publish(checked(1, 1)) == 1
    publisher.loan(5)
    with publisher.loan(2) as loan:
        loan.arrays[0][:] = checked(2, 2)
    assert subscriber.receive()["number"].tolist() == [1, 2, 3]


def test_arrays_of_a_loan_that_is_settled_end_no_other_loan(bus: Bus) -> None:
    publisher = bus.publisher("ticks", record=CHECKED)
    with publisher.loan(3) as first:
        arrays = list(first.arrays)
    second = publisher.loan(2)
    arrays.clear()  # the last of the first loan
    with pytest.raises(BusError, match="a loan of 2 records"):
        publisher.publish(checked(1, 1))
    assert second.commit(0) == 3
    assert publisher.publish(checked(1, 1)) == 4


def test_one_peek_at_a_time(bus: Bus) -> None:
    subscriber = bus.subscriber("ticks", record=CHECKED)
    empty = subscriber.peek()  # lends nothing
    bus.publisher("ticks", record=CHECKED).publish(checked(1, 10))
    first = subscriber.peek(3)
    with pytest.raises(BusError, match="a peek at 3 records of ticks is not released") as caught:
        subscriber.peek(5)
    assert caught.value.name == "loan_outstanding"
    assert first.release()
    assert empty.release()
    lost = subscriber.peek(4)
    assert lost.arrays[0]["number"].tolist() == [4, 5, 6, 7]
    del lost  # moves nothing
    with subscriber.peek(2) as second:
        assert second.arrays[0]["number"].tolist() == [4, 5]
        assert subscriber.receive(1)["number"].tolist() == [4]
    assert second.valid
    assert subscriber.receive()["number"].tolist() == [5, 6, 7, 8, 9, 10]
    assert (subscriber.received, subscriber.lost) == (10, 0)


def test_a_peek_at_what_a_loop_has_left_loses_nothing(bus: Bus) -> None:
    subscriber = bus.subscriber("ticks", record=CHECKED)
    bus.publisher("ticks", record=CHECKED).publish(checked(1, 10))
    for _ in subscriber:
        break
    with subscriber.peek(3) as peek:
        assert peek.arrays[0]["number"].tolist() == [2, 3, 4]
        with pytest.raises(BusError, match="is not released"):
            subscriber.peek()
        assert subscriber.receive(1)["number"].tolist() == [2]
    assert subscriber.receive()["number"].tolist() == list(range(3, 11))
    assert (subscriber.received, subscriber.lost) == (10, 0)
