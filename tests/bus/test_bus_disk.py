"""A bus whose folder is full: an error where something is made, and never a signal (SIGBUS)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bus.records import CHECKED, checked, damaged
from disks import filled
from klineagg.bus import Bus
from klineagg.errors import BusError

COUNT = 2_000  # several times what the ring holds


def test_what_has_its_room_goes_on_and_nothing_new_is_made(small_disk: Path) -> None:
    bus = Bus(small_disk / "bus")
    with (
        bus.publisher("ticks", record=CHECKED, ring_bytes=1 << 16) as publisher,
        bus.subscriber("ticks", record=CHECKED) as subscriber,
    ):
        filler = filled(small_disk, 0)
        for first in range(1, COUNT, 100):
            publisher.publish(checked(first, 100))
            records = subscriber.receive()
            assert damaged(records) == 0
            assert np.array_equal(records["number"], np.arange(first, first + 100))
        before = sorted(path.name for path in Path(bus.path).iterdir())
        with pytest.raises(BusError) as caught:
            bus.publisher("more", record=CHECKED, ring_bytes=1 << 16)
        assert caught.value.name == "bus_unavailable"
        assert sorted(path.name for path in Path(bus.path).iterdir()) == before
        filler.unlink()
        with bus.publisher("more", record=CHECKED, ring_bytes=1 << 16) as more:
            more.publish(checked(1, 5))
